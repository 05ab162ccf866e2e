//! `rave fmt` and `rave lint`.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::world::{World, text};

const MESSY: &str = "name: web   \nversion: 1.0.0\nextends: minimal\nconfig:\n    # of the machine\n    system:\n        hostname: web-7   # beside\n\n\n    system.packages:\n    - jq\n";
const TIDY: &str = "name: web\nversion: 1.0.0\nextends: minimal\nconfig:\n  # of the machine\n  system:\n    hostname: web-7   # beside\n\n  system.packages:\n    - jq\n";

#[test]
fn files_are_laid_out_once_and_say_what_they_said() {
    let world = World::new();
    let path = world.write("project/images/web.yaml", MESSY);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let value = world.run(&["eval", "web"]).stdout;
    let before = world.files();
    let check = world.run(&["fmt", "--check"]);
    assert_eq!((check.status, check.stdout.as_str()), (1, "images/web.yaml\n"), "{}", check.stderr);
    assert_eq!(world.files(), before, "--check wrote something");
    assert_eq!(world.run(&["fmt", "--json"]).json(), json!({"changed": ["images/web.yaml"], "written": true}));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), TIDY);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(world.run(&["eval", "web"]).stdout, value);
    assert_eq!(world.run(&["fmt"]).clean(), "");
}

#[test]
fn one_file_may_be_anywhere_and_a_broken_one_is_left_alone() {
    let world = World::new();
    let path = world.write("elsewhere/a.yaml", "a:\n    b: 1\n");
    let link = world.path("elsewhere/link.yaml");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    world.run(&["fmt", text(&link)]).clean();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a:\n  b: 1\n");
    assert!(link.is_symlink(), "the link was replaced, not the file");
    let broken = world.write("elsewhere/b.yaml", "a: [1\nb:   2   \n");
    let before = world.files();
    world.run(&["fmt", text(&broken), text(&path)]).refused(1, &["elsewhere/b.yaml:"]);
    world.run(&["fmt", "nowhere.yaml"]).refused(1, &["there is no file nowhere.yaml"]);
    assert_eq!(world.files(), before);
}

/// All YAML of this repository is laid out so, and has no finding that is not silenced where it stands.
#[test]
fn this_repository_is_tidy() {
    let world = World::new();
    let root = env!("CARGO_MANIFEST_DIR");
    for arguments in [&["fmt", "--check"][..], &["lint"]] {
        let ran = world.run(&[&["--project", root], arguments].concat());
        assert_eq!((ran.status, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
    }
    for folder in ["qemu", "src/commands/new"] {
        for entry in std::fs::read_dir(format!("{root}/{folder}")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                assert_eq!(world.run(&["fmt", "--check", text(&path)]).clean(), "");
            }
        }
    }
}

#[test]
fn findings_have_names_places_and_remedies() {
    let world = World::new();
    let image = "name: web\nversion: 1.0.0\nextends: minimal\nimports: [system]\nconfig:\n  system.locale: C.UTF-8\n";
    world.write("project/images/web.yaml", image);
    world.write("project/images/other.yaml", MESSY.replace("name: web   ", "name: other"));
    let all = world.run(&["lint", "--json"]);
    assert_eq!(all.status, 1, "{}", all.stderr);
    let found: Vec<String> = all
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            format!(
                "{}:{}:{} {}",
                one["file"].as_str().unwrap(),
                one["line"],
                one["column"],
                one["lint"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        found,
        ["images/other.yaml:5:3 format", "images/web.yaml:4:11 unused-import", "images/web.yaml:6:18 default-value",]
    );
    let ran = world.run(&["lint", "images/web.yaml"]);
    assert_eq!(ran.status, 1);
    assert_eq!(ran.stdout, "images/web.yaml:4:11: unused-import\nimages/web.yaml:6:18: default-value\n");
    for part in ["`system.locale` is set to its default", "help: remove the line", "6 |   system.locale: C.UTF-8"] {
        assert!(ran.stderr.contains(part), "{part:?} is not in\n{}", ran.stderr);
    }
    let silenced =
        image.replace("imports: [system]\n", "").replace("C.UTF-8", "C.UTF-8    # rave: allow default-value");
    world.write("project/images/web.yaml", silenced);
    assert_eq!(world.run(&["lint", "images/web.yaml"]).clean(), "");
    let list = world.run(&["lint", "--list", "--json"]).json();
    assert!(list.as_array().unwrap().iter().any(|lint| lint["lint"] == "default-value"), "{list}");
    world.run(&["lint", "../elsewhere"]).refused(1, &["is no image or module of the project"]);
    world.write("project/images/web.yaml", "name: web\nversion: 1.0.0\nconfig: { system.hostnam: x }\n");
    world.run(&["lint"]).refused(1, &["did you mean `system.hostname`?"]);
}
