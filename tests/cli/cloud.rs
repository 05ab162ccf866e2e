//! `rave cloud-init`: user-data is held against the schema of the very package that the image's lock names.

use rave::digest::Digest;
use rave::store::{Kind, Store};
use serde_json::json;

use super::deb::Package;
use super::world::{World, package, text};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIIBtdDfs4+CJAsDJbqv19GhmBdlO4qdt7V2QCHol2BR ana\n";

/// A project with an image that clouds provision, and a small cloud-init in the store.
fn world() -> World {
    let world = World::new();
    let image = "name: shop\nversion: 1.0.0\nconfig:\n  cloud: { enable: true, datasources: [NoCloud, Ec2] }\n  base.ssh.users: [ana]\n";
    world.write("project/images/shop.yaml", image);
    world.write("project/ana.pub", KEY);
    let user = json!({
        "type": "object",
        "properties": {"name": {"type": "string"}, "ssh_authorized_keys": {}, "shell": {}, "sudo": {}, "lock_passwd": {}},
        "additionalProperties": false,
    });
    let text = |value: serde_json::Value| value.to_string().into_bytes();
    let cloud_config = json!({
        "$schema": "http://json-schema.org/draft-04/schema#",
        "$defs": {
            "cc_users_groups": {"properties": {"users": {"type": "array", "items": {"oneOf": [{"type": "string"}, user]}}}},
            "cc_apt_configure": {"properties": {"apt": {}}},
        },
        "allOf": [{"$ref": "#/$defs/cc_users_groups"}],
        "properties": {"users": {}, "hostname": {}, "ssh_authorized_keys": {}, "write_files": {}, "apt": {}},
        "additionalProperties": false,
    });
    let network = json!({"required": ["version"]});
    let folder = "./usr/lib/python3/dist-packages/cloudinit/config/schemas";
    let deb = Package::new("cloud-init", "")
        .file(&format!("{folder}/schema-cloud-config-v1.json"), text(cloud_config), 0o644)
        .file(&format!("{folder}/schema-network-config-v1.json"), text(network.clone()), 0o644)
        .file(&format!("{folder}/schema-network-config-v2.json"), text(network), 0o644)
        .write(&world.path("elsewhere"));
    let bytes = std::fs::read(deb).unwrap();
    let store = Store::open(world.path("cache/rave")).unwrap();
    store.put(Kind::blob("deb"), Digest::of(&bytes), |to| std::fs::write(to, &bytes)).unwrap();
    world.lock("shop", &[package("cloud-init", &bytes)]);
    world
}

#[test]
fn what_is_rendered_is_valid_and_becomes_the_same_seed_each_time() {
    let world = world();
    let render =
        ["cloud-init", "render", "shop", "--hostname", "web-7", "--ssh-key", "ana.pub", "--user", "ana=ana.pub"];
    let url = ["--identity-url", "https://store.example/x?s=1", "--cloud", "ec2"];
    let rendered = world.run(&[&render[..], &url[..]].concat());
    assert_eq!(rendered.status, 0, "{}", rendered.stderr);
    assert!(rendered.stdout.starts_with("#cloud-config\nhostname: \"web-7\"\n"), "{}", rendered.stdout);
    assert!(rendered.stdout.contains("uri: \"https://store.example/x?s=1\""), "{}", rendered.stdout);
    let looked_for = &world.run(&["eval", "shop", "--json"]).json()["config"]["base.secrets.identity-files"][0];
    assert!(rendered.stdout.contains(&format!("path: {}\n", looked_for.as_str().unwrap())), "{looked_for}");
    world.write("project/user-data", &rendered.stdout);
    let checked = world.run(&["cloud-init", "validate", "shop", "user-data", "--json"]);
    assert_eq!((checked.status, checked.json()), (0, json!({"valid": true, "findings": []})), "{}", checked.stderr);
    let sow = |name: &str| {
        let ran = world.run(&["cloud-init", "seed", "shop", "--user-data", "user-data", "--output", name]);
        assert_eq!((ran.status, ran.stdout.trim()), (0, name), "{}", ran.stderr);
        std::fs::read(world.path(&format!("project/{name}"))).unwrap()
    };
    let seed = sow("a.iso");
    assert!(seed == sow("b.iso"));
    let has = |text: &str| seed.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has("CD001") && has("cidata") && has("instance-id: \"iid-") && has(&rendered.stdout));
    // Another host name is another instance, unless the id says otherwise.
    let ran = world.run(&["cloud-init", "seed", "shop", "--user-data", "user-data", "--hostname", "b", "--json"]);
    assert_ne!(ran.json()["sha256"], json!(Digest::of(&seed)));
    assert!(world.path("project/shop.seed.iso").exists());
}

#[test]
fn mistakes_are_shown_where_they_stand_and_end_with_1() {
    let world = world();
    world.write(
        "project/user-data",
        "#cloud-config\nhostnam: web\nusers:\n  - name: bo\n    ssh_authorized_keys: [k]\napt: {}\n",
    );
    let ran = world.run(&["cloud-init", "validate", "shop", "user-data"]);
    assert_eq!(ran.status, 1);
    for part in [
        "unknown key `hostnam`",
        "user-data:2:1",
        "did you mean `hostname`?",
        "bo cannot log in over SSH to shop",
        "base.ssh.users: [bo]",
        "`apt` does nothing: shop does not run cloud-init's apt_configure",
    ] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    let found = world.run(&["cloud-init", "validate", "shop", "user-data", "--json"]).json();
    assert_eq!((&found["valid"], &found["findings"][0]["line"]), (&json!(false), &json!(2)));
    let seed = world.run(&["cloud-init", "seed", "shop", "--user-data", "user-data"]);
    assert_eq!(seed.status, 1);
    assert!(!world.path("project/shop.seed.iso").exists());
    world.write("project/large", format!("#cloud-config\n#{}\n", "x".repeat(16 << 10)));
    let ran = world.run(&["cloud-init", "validate", "shop", "large", "--cloud", "ec2"]);
    ran.refused(1, &["more than ec2 takes, 16384", "gzip"]);
    assert_eq!(world.run(&["cloud-init", "validate", "shop", "large"]).status, 0);
    world.write("project/network", "version: 7\n");
    world.run(&["cloud-init", "validate", "shop", "--network-config", "network"]).refused(1, &["must be 1 or 2"]);
}

#[test]
fn what_makes_no_sense_is_refused_with_a_remedy() {
    let world = world();
    world.write("project/images/plain.yaml", "name: plain\nversion: 1.0.0\n");
    world.write("project/rsa.pub", "ssh-rsa AAAA x\n");
    world.write("project/web.key", "AGE-SECRET-KEY-1AAAA\n");
    let render = |more: &[&str]| world.run(&[&["cloud-init", "render"], more].concat());
    render(&["plain"]).refused(1, &["it has no cloud-init", "cloud.enable: true"]);
    render(&["shop", "--cloud", "azure"])
        .refused(1, &["does not look for user-data in azure", "add Azure to cloud.datasources"]);
    render(&["shop", "--ssh-key", "rsa.pub"]).refused(1, &["rsa.pub:1: this is no public key"]);
    render(&["shop", "--user", "Bo=ana.pub"]).refused(1, &["no name of a user"]);
    render(&["shop", "--user", "bo"]).refused(1, &["NAME=FILE"]);
    render(&["shop", "--identity-url", "http://a"]).refused(1, &["https only"]);
    render(&["shop", "--identity", "web.key", "--output", "u"]).refused(1, &["plain text", "--identity-url"]);
    render(&["shop", "--identity", "web.key", "--output", "u", "--cloud", "ec2"]).refused(1, &["can ask ec2 for it"]);
    assert!(!world.path("project/u").exists());
    let ran = render(&["shop", "--identity", "web.key", "--output", "u", "--cloud", "nocloud"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(world.path("project/u")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    world.run(&["cloud-init", "seed", "shop", "--instance-id", "../x"]).refused(1, &["no instance id"]);
    std::fs::remove_file(world.path("project/images/shop.lock")).unwrap();
    world.run(&["cloud-init", "validate", "shop", "u"]).refused(1, &["there is no lock", "rave lock shop"]);
}

/// A power cut can leave any file that was not synced without its content.
#[test]
fn what_ran_for_another_instance_runs_again_and_an_id_that_is_lost_stops_no_boot() {
    let world = World::new();
    world.write("project/images/shop.yaml", "name: shop\nversion: 1.0.0\nconfig:\n  cloud: { enable: true }\n");
    let unit = world.run(&["eval", "shop", "--file", "/etc/systemd/system/cloud-config.service.d/50-cloud.conf"]);
    let script =
        unit.clean().split_once("ExecStartPre=/bin/sh -ec '").unwrap().1.trim_end().strip_suffix('\'').unwrap();
    let (kept, run, state) = (world.path("kept"), world.path("run"), world.path("state"));
    std::fs::create_dir(&state).unwrap();
    let script = script.replace("$$", "$").replace("/var/lib/rave-cloud", text(&kept));
    let script = script.replace("/run/cloud-init", text(&run)).replace("/var/lib/cloud", text(&state));
    world.write("run/.instance-id", "i-2\n");
    let start = |about: &str| {
        let ran = std::process::Command::new("/bin/sh").args(["-ec", &script]).output().unwrap();
        assert!(ran.status.success(), "{about}: {ran:?}");
    };
    for (before, again) in
        [(None, true), (Some(""), true), (Some("i-"), true), (Some("i-1\n"), true), (Some("i-2\n"), false)]
    {
        let (semaphore, id) = (world.write("kept/config_scripts_user.once", ""), kept.join("instance-id"));
        match before {
            Some(before) => drop(world.write("kept/instance-id", before)),
            None => assert!(!id.exists()),
        }
        start(&format!("{before:?}"));
        assert_eq!(semaphore.exists(), !again, "{before:?}");
        assert_eq!(std::fs::read(&id).unwrap(), b"i-2\n", "{before:?}");
        let left: Vec<_> = std::fs::read_dir(&kept).unwrap().collect();
        assert_eq!(left.len(), if again { 1 } else { 2 }, "{left:?}");
    }
    // Nor does a boot at which the provider has not said which instance it is.
    for now in [None, Some(""), Some("iid-datasource-none\n")] {
        std::fs::remove_file(run.join(".instance-id")).unwrap();
        now.map(|now| world.write("run/.instance-id", now));
        start(&format!("{now:?}"));
        assert!(kept.join("config_scripts_user.once").exists(), "{now:?}");
        assert_eq!(std::fs::read(kept.join("instance-id")).unwrap(), b"i-2\n", "{now:?}");
        world.write("run/.instance-id", "");
    }
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&state).unwrap().permissions()) & 0o777,
        0o700
    );
}
