//! `rave explain`: from options to what they do, and back.

use serde_json::{Value, json};

use super::world::{World, package};

/// An image whose value goes through two options and a template file before it is a file.
fn world() -> World {
    let world = World::new();
    world.write(
        "project/images/web.yaml",
        "name: web\nversion: 1.0.0\nextends: minimal\nconfig:\n  site.domain: example.org\n  system.packages: [jq]\n",
    );
    world.write(
        "project/modules/site.yaml",
        "description: A site.\noptions:\n  enable: { type: bool, default: true, description: Serve it. }\n  \
         domain: { type: host-name, default: localhost, description: Where it is. }\n  \
         greeting: { type: string, default: \"Welcome to {{ domain }}\", description: What it says. }\n\
         when: \"{{ enable }}\"\npackages: [nginx]\nopen: [tcp/80]\n\
         files:\n  /etc/site.conf: { template: site.conf }\n  /etc/fixed: { text: x }\n\
         units:\n  site.service:\n    service: { ExecStart: \"/bin/echo {{ domain }}\", User: www-data }\n\
         probes:\n  - { stage: services, id: site.up, command: [curl, \"{{ domain }}\"] }\n",
    );
    world.write("project/modules/site.conf", "say {{ greeting }}\n");
    world
}

fn names(list: &Value, key: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|made| made[key].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_option_leads_to_everything_that_it_touches() {
    let world = world();
    let domain = world.run(&["explain", "web", "site.domain", "--json"]).json();
    assert_eq!((&domain["kind"], &domain["value"]), (&json!("option"), &json!("example.org")));
    assert_eq!(domain["read_by"], json!(["site.greeting"]));
    let made = names(&domain["makes"], "name");
    let wanted = ["/etc/site.conf", "site.service", "/etc/systemd/system/site.service", "site.up"];
    assert_eq!(made.len(), wanted.len(), "{made:?}");
    assert!(wanted.iter().all(|name| made.contains(&(*name).to_owned())), "{made:?}");
    assert_eq!(domain["definitions"][0]["file"], "images/web.yaml");
    // A condition has a part in all that its module makes.
    let enable = names(&world.run(&["explain", "web", "site.enable", "--json"]).json()["makes"], "name");
    for name in ["nginx", "tcp/80", "/etc/fixed", "/etc/site.conf", "site.up"] {
        assert!(enable.contains(&name.to_owned()), "{name} is not in {enable:?}");
    }
}

#[test]
fn a_file_leads_back_to_its_module_and_to_all_options_behind_it() {
    let world = world();
    let file = world.run(&["explain", "web", "/etc/site.conf", "--json"]).json();
    let made = &file["made"][0];
    assert_eq!(
        (&made["section"], &made["module"], &made["file"], &made["line"]),
        (&json!("files"), &json!("site"), &json!("modules/site.yaml"), &json!(10))
    );
    assert_eq!(names(&made["options"], "name"), ["site.domain", "site.enable", "site.greeting"]);
    assert_eq!(made["options"][0]["definitions"][0]["file"], "images/web.yaml");
    let fixed = world.run(&["explain", "web", "/etc/fixed", "--json"]).json();
    assert_eq!(names(&fixed["made"][0]["options"], "name"), ["site.enable"], "it reads nothing else");
    let unit = world.run(&["explain", "web", "site", "--json"]).json();
    assert_eq!(unit["made"][0]["name"], "site.service", "a unit without its kind");
    let jq = world.run(&["explain", "web", "jq", "--json"]).json();
    assert_eq!((&jq["made"][0]["file"], &jq["made"][0]["module"]), (&json!("images/web.yaml"), &Value::Null));
    assert_eq!(names(&jq["made"][0]["options"], "name"), ["system.packages"]);
}

#[test]
fn what_is_told_is_for_people() {
    let world = world();
    let mut text = String::new();
    for subject in ["site.domain", "/etc/site.conf", "nginx", "tcp/80"] {
        text += &format!("$ rave explain web {subject}\n{}\n", world.run(&["explain", "web", subject]).clean());
    }
    insta::with_settings!({ prepend_module_to_snapshot => false, snapshot_path => "snapshots", omit_expression => true }, {
        insta::assert_snapshot!("explain", text);
    });
}

#[test]
fn a_package_that_nobody_names_is_traced_through_the_lock() {
    let world = world();
    world.lock("web", &[package("libssl3t64", b"ssl"), package("libzstd1", b"zstd")]);
    let path = world.path("project/images/web.lock");
    let text = std::fs::read_to_string(&path).unwrap();
    let needed = |text: String, name: &str, by: &str| {
        let line = text.lines().find(|line| line.contains(&format!("name: {name},"))).unwrap().to_owned();
        text.replace(&line, &line.replace('}', &format!(", needed-by: {by}}}")))
    };
    let text = needed(needed(text, "libzstd1", "libssl3t64"), "libssl3t64", "nginx");
    std::fs::write(&path, text).unwrap();
    assert_eq!(world.run(&["lock", "web", "--check"]).status, 0);
    let told = world.run(&["explain", "web", "libzstd1", "--json"]).json();
    assert_eq!(names(&told["needed_by"], "package"), ["nginx", "libssl3t64", "libzstd1"]);
    let ran = world.run(&["explain", "web", "libzstd1"]);
    assert!(ran.clean().contains("needed    nginx -> libssl3t64 -> libzstd1"), "{}", ran.stdout);
    assert!(ran.stdout.contains("asked     nginx at modules/site.yaml:7:"), "{}", ran.stdout);
}

#[test]
fn a_file_of_a_package_leads_to_who_asked_for_the_package() {
    let world = world();
    let before = world.files();
    let hint = "after `rave build web` it is known which package brings a file";
    world.run(&["explain", "web", "/usr/bin/jq"]).refused(1, &["nothing in web is called `/usr/bin/jq`", hint]);
    assert_eq!(world.files(), before, "a store was made");
    world.lock("web", &[package("jq", b"jq"), package("libjq1", b"libjq1")]);
    let path = world.path("project/images/web.lock");
    let lock = std::fs::read_to_string(&path).unwrap();
    let line = lock.lines().find(|line| line.contains("name: libjq1,")).unwrap();
    std::fs::write(&path, lock.replace(line, &line.replace('}', ", needed-by: jq}"))).unwrap();
    world.build(
        1,
        &[
            ("/bin", None, Some("usr/bin")),
            ("/etc/passwd", None, None),
            ("/usr/bin/jq", Some("jq"), None),
            ("/usr/lib/libjq.so.1", Some("libjq1"), Some("libjq.so.1.0.4")),
            ("/usr/share/factory/var/lib/jq", Some("jq"), None),
        ],
    );
    let told = world.run(&["explain", "web", "/usr/bin/jq", "--json"]).json();
    assert_eq!((&told["kind"], &told["file"]["package"]), (&json!("file"), &json!("jq")));
    assert_eq!(told["file"]["package_version"], "1.7");
    assert_eq!(told["asked"][0]["file"], "images/web.yaml");
    assert_eq!((&told["asked"][0]["line"], &told["asked"][0]["column"]), (&json!(6), &json!(21)));
    let mut shown = String::new();
    for subject in ["/usr/bin/jq", "/bin/jq", "/usr/lib/libjq.so.1", "/var/lib/jq", "/etc/passwd"] {
        shown += &format!("$ rave explain web {subject}\n{}\n", world.run(&["explain", "web", subject]).clean());
    }
    insta::with_settings!({ prepend_module_to_snapshot => false, snapshot_path => "snapshots", omit_expression => true }, {
        insta::assert_snapshot!("explain-built", shown);
    });
    let refused = |subject: &str, parts: &[&str]| world.run(&["explain", "web", subject]).refused(1, parts);
    refused("/usr/lib/libqj.so.1", &["did you mean `/usr/lib/libjq.so.1`?"]);
    refused("/usr/bin/none", &["neither the newest build of web nor a module has it"]);
}

#[test]
fn a_group_lists_its_options() {
    let world = world();
    let told = world.run(&["explain", "web", "site", "--json"]).json();
    assert_eq!(told["kind"], "made", "a unit of that name comes first");
    let told = world.run(&["explain", "web", "base.ssh", "--json"]).json();
    assert_eq!(told["kind"], "group");
    let options = names(&told["options"], "name");
    assert!(options.contains(&"base.ssh.enable".to_owned()) && options.len() > 2, "{options:?}");
    assert!(options.iter().all(|name| name.starts_with("base.ssh.")), "{options:?}");
    let ran = world.run(&["explain", "web", "base.ssh"]);
    assert!(ran.clean().contains("base.ssh.enable = true"), "{}", ran.stdout);
}

#[test]
fn an_option_leads_to_nothing_that_only_looks_at_things_of_other_kinds() {
    let world = world();
    world.write(
        "project/modules/site.yaml",
        "description: A site.\noptions:\n  domain: { type: host-name, default: localhost, description: Where it is. }\n  \
         port: { type: port, default: 8080, description: Which. }\nopen: [\"tcp/{{ port }}\"]\n\
         warnings: [{ that: \"{{ port > 1 }}\", message: odd }]\nassertions: [{ that: \"{{ port > 2 }}\", message: odd }]\n",
    );
    let told = world.run(&["explain", "web", "site.port", "--json"]).json();
    assert_eq!(names(&told["makes"], "name"), ["tcp/8080", "/etc/nftables.conf"]);
}

#[test]
fn the_examples_of_the_help_work() {
    let world = World::new();
    assert_eq!(world.run(&["new", ".", "--no-lock"]).status, 0);
    world.lock("web", &[package("libssl3t64", b"ssl")]);
    world.build(1, &[("/usr/bin/ssh", Some("openssh-client"), None)]);
    let help = world.run(&["explain", "--help"]);
    let examples = help.clean().lines().filter_map(|line| line.strip_prefix("  rave explain web "));
    let subjects: Vec<&str> = examples.filter_map(|line| line.split("  ").next()).collect();
    assert!(subjects.len() > 3, "{subjects:?}");
    for subject in subjects {
        let ran = world.run(&["explain", "web", subject]);
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{subject}");
    }
}

#[test]
fn a_slip_is_answered_with_what_was_meant() {
    let world = world();
    let refused = |subject: &str, parts: &[&str]| world.run(&["explain", "web", subject]).refused(1, parts);
    refused("site.domian", &["nothing in web is called `site.domian`", "did you mean `site.domain`?"]);
    refused("/etc/site.cnof", &["did you mean `/etc/site.conf`?"]);
    refused("/usr/lib/nowhere", &["no module writes it"]);
    refused("zzzzzzzz", &["`rave options --image web` lists the options"]);
}

/// Two hundred modules, each with a unit, files and options that refer to another module's.
#[test]
fn a_large_project_is_explained_at_once() {
    let world = world();
    for number in 0..200 {
        let other = if number == 0 { "site.domain".to_owned() } else { format!("many.m{}.name", number - 1) };
        let other = if number % 20 == 0 { "site.domain".to_owned() } else { other };
        let module = format!(
            "description: M.\noptions:\n  enable: {{ type: bool, default: false, description: E. }}\n  \
             name: {{ type: string, default: \"{{{{ {other} }}}}\", description: N. }}\n\
             when: \"{{{{ enable }}}}\"\nfiles:\n  /etc/many/{number}: {{ text: \"{{{{ name }}}}\" }}\n\
             units:\n  many-{number}.service:\n    service: {{ ExecStart: \"/bin/echo {{{{ name }}}}\" }}\n"
        );
        world.write(&format!("project/modules/many/m{number}.yaml"), module);
    }
    let enable: String = (0..200).map(|number| format!("  many.m{number}.enable: true\n")).collect();
    world.write("project/images/many.yaml", format!("name: many\nversion: 1.0.0\nextends: web\nconfig:\n{enable}"));
    let told = world.run(&["explain", "many", "site.domain", "--json"]).json();
    assert!(told["makes"].as_array().unwrap().len() >= 600);
    assert_eq!(told["read_by"].as_array().unwrap().len(), 201);
}
