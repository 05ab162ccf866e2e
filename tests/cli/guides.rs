//! The guides: their commands run, their files are what they say, and what they list is what there is.
//!
//! A block of `console` runs here, each line by itself. A block of `sh` needs a machine, a mirror or another host: it is
//! held against the grammar of the shell and the command line of rave; `tests/machine/guides.rs` runs those for operation
//! and troubleshooting. A block of `yaml` is that file of the project which its first line names. There are no others.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

use clap::CommandFactory as _;
use rave::cli::Cli;
use rave::secrets::generate;

use super::world::{NOBODY, Ran, World, ran};

const CLOUD: &str = include_str!("../../docs/cloud.md");
const CONFIGURATION: &str = include_str!("../../docs/configuration.md");
const DEPLOY: &str = include_str!("../../docs/deploy.md");
const EXPORT: &str = include_str!("../../docs/export.md");
const INSTALLATION: &str = include_str!("../../docs/installation.md");
const HARDENING: &str = include_str!("../../docs/hardening.md");
const OPERATION: &str = include_str!("../../docs/operation.md");
const REHEARSAL: &str = include_str!("../../docs/rehearsal.md");
const TROUBLESHOOTING: &str = include_str!("../../docs/troubleshooting.md");
const UPGRADE: &str = include_str!("../../docs/upgrade.md");
const GUIDES: [&str; 10] =
    [CLOUD, CONFIGURATION, DEPLOY, EXPORT, HARDENING, INSTALLATION, OPERATION, REHEARSAL, TROUBLESHOOTING, UPGRADE];

/// The blocks of a guide: language and text.
fn blocks(guide: &str) -> Vec<(&str, &str)> {
    assert_eq!(guide.matches("```").count() % 2, 0, "a block does not end");
    guide.split("```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap()).collect()
}

fn lines_of<'a>(guide: &'a str, language: &str) -> Vec<&'a str> {
    let blocks = blocks(guide).into_iter().filter(|(of, _)| *of == language);
    blocks.flat_map(|(_, text)| text.lines()).collect()
}

/// The project that the guide to configuration describes, with locks that fit.
fn shop() -> World {
    let world = World::new();
    for (language, text) in blocks(CONFIGURATION) {
        if language == "yaml" {
            let (path, _) = text.strip_prefix("# ").and_then(|text| text.split_once('\n')).unwrap();
            world.write(&format!("project/{path}"), text);
        }
    }
    world.lock("shop", &[]);
    world
}

fn shell(world: &World, command: &str) -> Ran {
    let folder = Path::new(env!("CARGO_BIN_EXE_rave")).parent().unwrap();
    let mut shell = world.program("/bin/sh");
    shell.env("PATH", format!("{}:/usr/bin:/bin", folder.display())).env("RAVE_MIRROR", NOBODY);
    ran(shell.args(["-ec", command]))
}

#[track_caller]
fn run_all(world: &World, guide: &str, at_least: usize) {
    let lines = lines_of(guide, "console");
    assert!(lines.len() >= at_least, "{lines:?}");
    for line in lines {
        let command = line.strip_prefix("$ ").unwrap_or_else(|| panic!("not a command: {line}"));
        let ran = shell(world, command);
        assert_eq!(ran.status, 0, "{command}\n{}{}", ran.stdout, ran.stderr);
    }
}

#[test]
fn the_commands_for_installation_work() {
    let world = World::new();
    // In the place of what cargo makes.
    world.write("project/target/x86_64-unknown-linux-gnu/release/rave", "#!/bin/sh\n");
    run_all(&world, INSTALLATION, 11);
    assert!(world.path("home/.local/bin/rave").exists());
    assert!(world.path("project/images/shop.yaml").exists());
    assert!(world.path("home/.local/share/man/man1/rave.1").exists());
}

#[test]
fn the_commands_for_configuration_work() {
    let world = shop();
    // What a public authority sends is for one name, and then the image has no other.
    let (all, forced) = ("hosts: [shop.example.org]", "hosts: !force [shop.example.org]");
    assert!(CONFIGURATION.contains(&format!("`{forced}`")));
    let image = std::fs::read_to_string(world.path("project/images/shop.yaml")).unwrap();
    world.write("project/images/shop.yaml", image.replace(all, forced));
    let (now, hosts) = (SystemTime::now(), ["shop.example.org".to_owned()]);
    let (authority, key) = (generate::authority("public", now).unwrap(), generate::tls_key().unwrap());
    let chain = generate::server_certificate(&hosts, &key, &authority, now).unwrap();
    world.write("project/key.pem", key.expose());
    world.write("project/chain.pem", &chain);
    run_all(&world, CONFIGURATION, 12);
    let kept = world.run(&["secrets", "get", "secrets/shop.yaml", "tls-certificate-main"]);
    assert_eq!(kept.clean(), chain);
    let nginx = world.run(&["eval", "shop", "--file", "/etc/nginx/nginx.conf"]);
    assert!(nginx.clean().contains("shop.example.org") && nginx.stdout.contains("proxy_pass http://127.0.0.1:8000;"));
    assert_eq!(world.run(&["fmt", "--check"]).clean(), "");
}

#[test]
fn the_commands_for_operation_upgrade_and_troubleshooting_work() {
    let world = shop();
    assert_eq!(shell(&world, "rave secrets init shop").status, 0);
    run_all(&world, OPERATION, 3);
    let commit = "git init -q; git add .; git -c user.name=t -c user.email=t@example.org commit -qm one";
    assert_eq!(shell(&world, commit).status, 0);
    // What a build leaves are links into the store.
    let disk = world.write("cache/disk", "disk");
    std::fs::create_dir_all(world.path("project/releases/1.0.1")).unwrap();
    std::os::unix::fs::symlink(disk, world.path("project/releases/1.0.1/disk.raw")).unwrap();
    run_all(&world, UPGRADE, 8);
    let copy = std::fs::symlink_metadata(world.path("home/releases/shop-1.0.1/disk.raw"));
    assert!(copy.unwrap().is_file());
    run_all(&world, TROUBLESHOOTING, 9);
}

/// Every call of `rave` that the shell would make, by its arguments. Nothing else is found, so nothing runs.
fn calls(world: &World, command: &str) -> Vec<Vec<String>> {
    let log = world.path("calls");
    let script = format!(
        "exec 3>'{}'; rave() {{ echo call >&3; for word; do printf '= %s\\n' \"$word\" >&3; done; }}\n{command}\n",
        log.display()
    );
    ran(world.program("/bin/sh").env("PATH", "/nonexistent").args(["-c", &script]));
    let mut calls: Vec<Vec<String>> = Vec::new();
    for line in std::fs::read_to_string(log).unwrap().lines() {
        match line.strip_prefix("= ") {
            Some(word) => calls.last_mut().unwrap().push(word.to_owned()),
            None => calls.push(Vec::new()),
        }
    }
    calls
}

/// Whether rave takes these arguments; and those of a `rave` that they run in a machine.
fn understood(words: &[String]) -> Result<(), clap::Error> {
    Cli::command().try_get_matches_from([&["rave".to_owned()], words].concat())?;
    let inside = words.iter().skip_while(|word| *word != "--").skip_while(|word| *word != "rave").skip(1);
    let inside: Vec<String> = inside.cloned().collect();
    if inside.is_empty() { Ok(()) } else { understood(&inside) }
}

#[test]
fn commands_that_need_a_machine_are_commands() {
    let world = World::new();
    for guide in GUIDES {
        for line in lines_of(guide, "sh") {
            let grammar = ran(world.program("/bin/sh").args(["-nc", line]));
            assert_eq!((grammar.status, grammar.stderr.as_str()), (0, ""), "{line}");
            let calls = calls(&world, line);
            assert_eq!(!calls.is_empty(), line.starts_with("rave "), "{line}: {calls:?}");
            for words in calls {
                assert!(understood(&words).is_ok(), "{line}: {}", understood(&words).unwrap_err());
            }
        }
    }
    let words = |line: &str| calls(&world, line).concat();
    assert!(understood(&words("rave vm ssh shop -- sudo rave guest dead-letters retry --al")).is_err());
    assert!(understood(&words("rave check shop --olny ssh.login")).is_err());
}

#[test]
fn guides_show_nothing_that_is_not_tried() {
    for guide in GUIDES {
        for (language, text) in blocks(guide) {
            assert!(["console", "sh", "yaml"].contains(&language), "{language}: {text}");
        }
    }
}

/// What the first column of a table names, by the beginning of its head.
fn told<'a>(guide: &'a str, head: &str) -> BTreeSet<&'a str> {
    let (_, table) = guide.split_once(head).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

/// The alerts of the table, and those of the image.
#[test]
fn the_alerts_of_the_guide_are_those_of_the_image() {
    let told = told(OPERATION, "| alert |");
    let evaluated = World::new().run(&["eval", "production", "--json"]).json();
    let rules = evaluated["config"]["services.prometheus.rules"].as_object().unwrap();
    assert_eq!(told, rules.keys().map(String::as_str).collect());
}

/// The directories of the table, and those that the image's modules keep.
#[test]
fn the_state_of_the_guide_is_that_of_the_image() {
    let told = told(UPGRADE, "| directory |");
    // Each entry of `state` is a line there.
    let world = World::new();
    let kept = world.run(&["eval", "production", "--file", "/etc/tmpfiles.d/30-rave-modules.conf"]).clean().to_owned();
    assert_eq!(told, kept.lines().filter_map(|line| line.split(' ').nth(1)).collect());
}

/// Links lead somewhere, and the README has one to each page.
#[test]
fn every_page_is_found() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    for entry in std::fs::read_dir(root.join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(page) = name.strip_suffix(".md") else { continue };
        assert!(readme.contains(&format!("](docs/{page}.md)")), "README.md has no link to docs/{page}.md");
        let text = std::fs::read_to_string(root.join("docs").join(&name)).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
        for link in links.filter(|link| !link.contains("://")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { name.as_str() } else { file };
            let target = std::fs::read_to_string(root.join("docs").join(target));
            let target = target.unwrap_or_else(|error| panic!("{name}: {link}: {error}"));
            let headings = target.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor);
            assert!(heading.is_empty() || headings.into_iter().any(|at| at == heading), "{name}: {link}");
        }
    }
}

/// What a heading is called in a link.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect()
}
