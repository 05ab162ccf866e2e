//! `rave options` and `rave eval`: what there is to set, and what it comes to.

use serde_json::{Value, json};

use super::world::World;

fn world() -> World {
    let world = World::new();
    world.write(
        "project/images/web.yaml",
        "name: web\nversion: 1.0.0\nextends: minimal\nconfig:\n  system.hostname: web-7\n  greeting.text: hello\n",
    );
    world.write(
        "project/modules/greeting.yaml",
        "description: Greets.\noptions:\n  text: { type: string, default: \"\", example: hi, description: What /etc/motd says. }\n\
         files:\n  /etc/motd: { text: \"{{ text }}\" }\n",
    );
    world
}

fn named<'a>(all: &'a Value, name: &str) -> &'a Value {
    all.as_array().unwrap().iter().find(|option| option["name"] == name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn every_option_of_library_and_project_is_listed_with_all_that_is_known() {
    let world = world();
    let all = world.run(&["options", "--json"]).json();
    let greeting = json!({
        "name": "greeting.text",
        "type": "string",
        "default": "",
        "description": "What /etc/motd says.",
        "example": "hi",
        "declared": "modules/greeting.yaml:3:3",
        "module": "greeting",
        "required": false,
    });
    assert_eq!(*named(&all, "greeting.text"), greeting);
    let hostname = named(&all, "system.hostname");
    assert!(hostname["declared"].as_str().unwrap().starts_with("<rave>/modules/system.yaml:"), "{hostname}");
    assert_eq!(named(&all, "environment.files.<name>.mode")["default"], "0644");
    for option in all.as_array().unwrap() {
        for key in ["name", "type", "description", "declared"] {
            assert!(option[key].as_str().is_some_and(|text| !text.is_empty()), "{key} of {option}");
        }
    }
}

#[test]
fn a_query_finds_by_name_and_by_description_the_best_first() {
    let world = world();
    let names = |query: &[&str]| {
        let ran = world.run(&[&["options", "--json"], query].concat());
        let all = ran.json();
        all.as_array().unwrap().iter().map(|option| option["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&["greeting.text"]), ["greeting.text"]);
    assert_eq!(names(&["MOTD"]), ["greeting.text"]);
    assert_eq!(names(&["motd says"]), names(&["says", "motd"]), "words count, not their order or quotes");
    assert!(names(&["system.hostname"]).starts_with(&["system.hostname".to_owned()]));
    let none = world.run(&["options", "no such thing"]);
    assert_eq!((none.status, none.stdout.as_str()), (0, ""));
    assert!(none.stderr.contains("no option has \"no such thing\""), "{}", none.stderr);
}

#[test]
fn an_image_adds_the_value_and_who_set_it() {
    let world = world();
    let all = world.run(&["options", "--image", "web", "--json"]).json();
    let hostname = named(&all, "system.hostname");
    assert_eq!(hostname["value"], "web-7");
    let image = json!({"file": "images/web.yaml", "line": 5, "column": 20, "level": "image", "used": true});
    assert_eq!(hostname["set_by"][0], image);
    assert_eq!((&hostname["set_by"][1]["level"], &hostname["set_by"][1]["used"]), (&json!("default"), &json!(false)));
    let shown = world.run(&["options", "system.hostname", "--image", "web"]);
    for part in ["value     \"web-7\"", "set       images/web.yaml:5:20 by the image", "default   \"\""] {
        assert!(shown.clean().contains(part), "{part:?} is not in\n{}", shown.stdout);
    }
}

#[test]
fn what_is_wrong_with_a_module_is_told() {
    let world = World::new();
    world.write("project/modules/bad.yaml", "description: B.\noptions: { x: { type: strnig } }\n");
    world.run(&["options"]).refused(1, &["modules/bad.yaml:2:23", "did you mean `string`?"]);
    world.run(&["options", "--markdown", "--json"]).refused(1, &["--markdown"]);
    world.run(&["options", "--image", "wbe"]).refused(1, &["there is no image `wbe`"]);
}

/// The reference in docs/ is what the library says today.
#[test]
fn the_reference_is_up_to_date() {
    let ran = World::new().run(&["options", "--markdown"]);
    let remedy = "run `rave options --markdown > docs/options.md`";
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/options.md")).unwrap();
    assert!(ran.clean() == docs, "docs/options.md is not what the modules say: {remedy}");
}

#[test]
fn a_configuration_is_an_image_that_comes_to_itself() {
    let world = world();
    let ran = world.run(&["eval", "web", "--mode", "full-pipe", "--set", "greeting.text='no'"]);
    let text = ran.clean();
    for line in
        ["name: web", "mode: full-pipe", "  system.hostname: web-7", "  machine.memory: 4G", "  greeting.text: \"no\""]
    {
        assert!(text.lines().any(|other| other == line), "{line:?} is not in\n{text}");
    }
    world.write("project/images/again.yaml", text);
    assert_eq!(world.run(&["eval", "again"]).clean(), text);
    assert_eq!(world.run(&["fmt", "--check", "images/again.yaml"]).clean(), "");
    assert_eq!(world.run(&["eval", "web", "--file", "/etc/hostname"]).clean(), "web-7\n");
    world.run(&["eval", "web", "--file", "/etc/mtab"]).refused(1, &["/etc/mtab is no regular file"]);
    world
        .run(&["eval", "web", "--file", "/etc/nowhere"])
        .refused(1, &["no module writes /etc/nowhere", "rave explain"]);
    let json = world.run(&["eval", "web", "--json"]).json();
    assert_eq!((&json["name"], &json["mode"]), (&json!("web"), &json!("safe")));
    assert_eq!((&json["config"]["system.hostname"], &json["config"]["machine.vcpus"]), (&json!("web-7"), &json!(2)));
}
