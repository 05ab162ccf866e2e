use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A small schema of the same make as cloud-init's.
fn rules() -> Rules {
    let cloud_config = json!({
        "$schema": "http://json-schema.org/draft-04/schema#",
        "$defs": {
            "user": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "ssh_authorized_keys": {"type": "array", "items": {"type": "string"}, "minItems": 1},
                    "passwd": {"type": "string"}
                },
                "required": ["name"],
                "additionalProperties": false
            },
            "cc_users_groups": {"type": "object", "properties": {"users": {"type": "array", "items": {
                "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"$ref": "#/$defs/user"}]
            }}}},
            "cc_runcmd": {"type": "object", "properties": {"runcmd": {"type": "array", "items": {
                "oneOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}, {"type": "null"}]
            }}}},
            "cc_write_files": {"type": "object", "properties": {"write_files": {"type": "array", "items": {
                "type": "object",
                "properties": {"path": {"type": "string"}, "permissions": {"type": "string"}, "encoding": {"enum": ["b64", "gz"]}},
                "required": ["path"],
                "additionalProperties": false
            }}}},
            "cc_package_update_upgrade_install": {"type": "object", "properties": {"packages": {"type": "array"}}}
        },
        "allOf": [
            {"$ref": "#/$defs/cc_users_groups"},
            {"$ref": "#/$defs/cc_runcmd"},
            {"$ref": "#/$defs/cc_write_files"},
            {"$ref": "#/$defs/cc_package_update_upgrade_install"}
        ],
        "properties": {"users": {}, "runcmd": {}, "write_files": {}, "packages": {}, "ssh_keys": {}},
        "additionalProperties": false
    });
    let network = json!({"type": "object", "properties": {"bonds": {"type": "object"}, "ethernets": {"type": "object"}, "version": {}}, "additionalProperties": false});
    Rules { cloud_config, network_1: network.clone(), network_2: network }
}

fn target() -> Target {
    let configuration = "datasource_list: [NoCloud, Ec2, Ec2]\ncloud_init_modules: [users-groups, write_files]\n\
                         cloud_config_modules:\n  - [runcmd, once]\n";
    let target = Target::read("web", configuration, ["agent".to_owned()].into()).unwrap();
    assert_eq!(target.modules, ["users_groups", "write_files", "runcmd"].map(str::to_owned).into());
    target
}

fn look(text: &str) -> Vec<String> {
    let found = user_data("u.yaml", text.as_bytes(), &rules(), &target(), None).unwrap();
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_right_is_quiet() {
    let text = "#cloud-config\nusers: [default, {name: agent, ssh_authorized_keys: [k]}]\nruncmd: [[a, b], c]\n\
                write_files:\n  - {path: /a, permissions: '0644'}\n";
    assert_eq!(look(text), [""; 0]);
    assert_eq!(look("#!/bin/sh\necho hello\n"), [""; 0]);
    assert_eq!(look("#cloud-config\n"), [""; 0]);
}

#[test]
fn mistakes_have_place_cause_and_remedy() {
    for (text, expected) in [
        ("runcmdd: [a]", "u.yaml:2:1: unknown key `runcmdd` (did you mean `runcmd`?)"),
        ("zzz: 1", "u.yaml:2:1: unknown key `zzz` (cloud-init knows no such key there: remove it)"),
        ("users:\n  - name: agent\n    paswd: x", "u.yaml:4:5: unknown key `paswd` (did you mean `passwd`?)"),
        ("users:\n  - passwd: x", "u.yaml:3:5: `name` is missing in an entry of `users`"),
        ("runcmd: a", "u.yaml:2:1: `runcmd` must be a list, not a text"),
        ("runcmd:\n  - {a: b}", "u.yaml:3:5: an entry of `runcmd` must be a list or a text or nothing, not a map"),
        (
            "runcmd:\n  - [chmod, 0644]",
            "u.yaml:3:13: an entry of `runcmd` must be a text, not a number (put it in quotes: without them YAML reads \
             yes, no, on, off and digits as something else)",
        ),
        ("write_files: [{path: a, encoding: x}]", "u.yaml:2:25: `encoding` must be one of \"b64\", \"gz\""),
        ("[a]", "u.yaml:1:1: user-data must be a map, not a list"),
        (
            "packages: [jq]",
            "u.yaml:2:1: `packages` does nothing: web does not run cloud-init's package_update_upgrade_install (packages are part of the image: system.packages)",
        ),
        (
            "users: [{name: ana, ssh_authorized_keys: [k]}]",
            "u.yaml:2:21: ana cannot log in over SSH to web (set base.ssh.users: [ana] in the image)",
        ),
        (
            "ssh_keys: {}",
            "u.yaml:2:1: the SSH server has its own host key, made at the first boot, and shows no other (remove it)",
        ),
        ("runcmd: [a\nx: 1", "not YAML"),
    ] {
        let found = look(&format!("#cloud-config\n{text}\n"));
        assert!(found.first().is_some_and(|told| told.contains(expected)), "{text}: {found:#?}");
    }
}

#[test]
fn what_cloud_init_ignores_or_a_cloud_refuses_is_told() {
    assert!(look("users: []\n")[0].contains("takes no notice of user-data that begins so"));
    assert!(look(" #cloud-config\n")[0].contains("takes no notice"));
    assert!(
        look("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"b\"\n\n--b--\n")[0]
            .contains("parts of MIME")
    );
    let long = format!("#cloud-config\n# {}\n", "x".repeat(16 << 10));
    assert!(look(&long)[0].contains("more than ec2 takes, 16384"));
    let strict = |cloud| user_data("u", long.as_bytes(), &rules(), &target(), Some(cloud)).unwrap();
    assert_eq!(strict(Cloud::Ec2)[0].severity, Severity::Error);
    assert_eq!(strict(Cloud::NoCloud), []);
    assert!(look("#cloud-config\n# AGE-SECRET-KEY-1ABC\n")[0].contains("a private key in plain text"));
    let raw = |bytes: &[u8]| user_data("u", bytes, &rules(), &target(), None).unwrap()[0].to_string();
    assert!(raw(b"#cloud-config\n\xff").contains("byte 14 is not UTF-8"));
    assert!(raw(&[0x1f, 0x8b, 8, 0]).contains("no whole gzip file"));
    assert!(raw(&vec![b'x'; LARGEST + 1]).contains("larger than 1024 KiB"));
}

#[test]
fn what_is_packed_is_looked_into() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut packed, b"#cloud-config\nruncmdd: [a]\n").unwrap();
    let found = user_data("u", &packed.finish().unwrap(), &rules(), &target(), None).unwrap();
    assert!(found[0].message.contains("unknown key"));
}

#[test]
fn networks_of_both_versions_are_held_against_theirs() {
    let look = |text: &str| -> Vec<String> {
        network_config("n", text.as_bytes(), &rules()).unwrap().iter().map(ToString::to_string).collect()
    };
    assert_eq!(look("version: 2\nethernets: {enp0s4: {dhcp4: true}}\n"), [""; 0]);
    assert!(look("version: 3\n")[0].contains("must be 1 or 2"));
    assert!(look("{}")[0].contains("must be 1 or 2"));
    assert!(look("version: 1\nethernet: {}\n")[0].contains("did you mean `ethernets`?"));
    assert!(
        look("version: 2\nethernets:\n  all:\n    match: {name: 'en*'}\n")[0].starts_with("n:4:5: networkd is told")
    );
    let route = |to: &str| format!("version: 2\nbonds: {{b0: {{routes: [{{to: {to}, via: 10.0.2.2}}]}}}}\n");
    assert_eq!(look(&route("0.0.0.0/0")), [""; 0]);
    assert_eq!(
        look(&route("default")),
        ["n:2:24: cloud-init fails at a route to `default` for networkd (`0.0.0.0/0`, or `::/0`)"]
    );
}

#[test]
fn a_schema_that_is_none_is_an_error() {
    let broken = Rules { cloud_config: json!({"type": "nothing"}), ..rules() };
    let error = user_data("u", b"#cloud-config\na: 1\n", &broken, &target(), None).unwrap_err().to_string();
    assert!(error.starts_with("cloud-init's schema-cloud-config-v1.json is no JSON schema"), "{error}");
}

proptest! {
    #[test]
    fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..300), cloud in any::<bool>()) {
        let text = if cloud { [b"#cloud-config\n".as_slice(), &bytes].concat() } else { bytes };
        user_data("u", &text, &rules(), &target(), None).unwrap();
        network_config("n", &text, &rules()).unwrap();
    }
}
