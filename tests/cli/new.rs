//! `rave new`: a project that builds at once.

use super::world::World;

fn started() -> World {
    let world = World::new();
    let ran = world.run(&["new", ".", "--no-lock"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(ran.stderr.ends_with("next: rave lock web\n"), "{}", ran.stderr);
    world
}

#[test]
fn a_new_project_is_whole_and_clean() {
    let world = started();
    for path in [
        "images/web.yaml",
        "modules/greeting.yaml",
        ".github/workflows/rave.yaml",
        ".vscode/settings.json",
        ".gitignore",
        ".sops.yaml",
        "README.md",
        "schema/image.schema.json",
        "schema/module.schema.json",
    ] {
        let text = std::fs::read_to_string(world.path("project").join(path)).unwrap();
        assert!(!text.contains("NAME"), "{path} still has a place holder");
    }
    let settings = std::fs::read(world.path("project/.vscode/settings.json")).unwrap();
    let settings: serde_json::Value = serde_json::from_slice(&settings).unwrap();
    for schema in settings["yaml.schemas"].as_object().unwrap().keys() {
        assert!(world.path("project").join(schema).exists(), "{schema}");
    }
    assert!(world.run(&["eval", "web"]).clean().contains("greeting.text"));
    assert_eq!(world.run(&["lint"]).clean(), "");
    assert_eq!(world.run(&["fmt", "--check"]).clean(), "");
    let told = world.run(&["explain", "web", "/etc/motd"]);
    assert!(told.clean().contains("greeting.text = \"This is web.\\n\""), "{}", told.stdout);
    world.lock("web", &[]);
    assert!(world.run(&["build", "web", "--plan"]).clean().contains("to be made"));
}

#[test]
fn nothing_is_overwritten() {
    let world = World::new();
    world.write("project/README.md", "mine\n");
    std::os::unix::fs::symlink("nowhere", world.path("project/.gitignore")).unwrap();
    let ran = world.run(&["new", ".", "--no-lock", "--image", "edge-1"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("README.md is there already"), "{}", ran.stderr);
    assert_eq!(std::fs::read_to_string(world.path("project/README.md")).unwrap(), "mine\n");
    assert!(!world.path("project/nowhere").exists());
    std::fs::remove_file(world.path("project/.gitignore")).unwrap();
    world.write("project/.gitignore", "mine\n");
    let before = world.files();
    let again = world.run(&["new", ".", "--no-lock", "--image", "edge-1", "--json"]);
    let told = again.json();
    assert_eq!(told["written"].as_array().unwrap().len(), 0, "{told}");
    assert_eq!(world.files(), before);
}

#[test]
fn without_a_mirror_the_project_is_there_and_the_remedy_is_named() {
    let world = World::new();
    let ran = super::world::ran(world.rave().env("RAVE_MIRROR", super::world::NOBODY).args(["new", "fresh"]));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("its packages are not locked yet"), "{}", ran.stderr);
    assert!(ran.stderr.contains("next: cd fresh && rave lock web"), "{}", ran.stderr);
    assert!(world.path("project/fresh/images/web.yaml").exists());
    assert!(!world.path("project/fresh/images/web.lock").exists());
}

#[test]
fn a_name_that_cannot_be_an_image_is_refused_before_anything_is_written() {
    let world = World::new();
    let before = world.files();
    world.run(&["new", "fresh", "--image", "../x"]).refused(1, &["--image: \"../x\" is not an image name"]);
    for ours in ["minimal", "tools"] {
        let parts = [format!("--image: `{ours}` is an image of rave's own"), "choose another name".to_owned()];
        world.run(&["new", "fresh", "--image", ours]).refused(1, &[&parts[0], &parts[1]]);
    }
    assert_eq!(world.files(), before);
}
