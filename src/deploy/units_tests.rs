use super::*;
use crate::deploy::Target;
use crate::deploy::target::Engine;
use crate::images::fixture;
use crate::origin::Source;
use crate::system::Https;

fn target(text: &str) -> Target {
    Target::parse("edge", &Source::new("targets/edge.yaml", text)).unwrap()
}

fn manifest() -> Manifest {
    let mut manifest = fixture::manifest();
    manifest.expect.ssh = Some(crate::system::Ssh {
        user: "agent".to_owned(),
        kex: vec![],
        host_keys: vec![],
        ciphers: vec![],
        macs: vec![],
        host_key_file: "/var/lib/sshd/key.pub".parse().unwrap(),
        bans: None,
        option: "services.ssh.enable".parse().unwrap(),
    });
    manifest
}

fn site(port: u16) -> Https {
    let text = format!(
        r#"{{"port":{port},"hosts":[],"certificate":"/etc/c.pem","headers":{{}},"csp":"","pages":{{}},"webhooks":{{}},"option":"a.b"}}"#
    );
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}"))
}

fn rendered(text: &str, manifest: &Manifest, identity: bool) -> BTreeMap<String, String> {
    let target = target(text);
    let declared = &target.machines[0];
    let form = match declared.engine {
        Engine::Qemu(accelerator) => Form::Machine { accelerator, disk: manifest.disk.sha256 },
        Engine::Podman => Form::Container { archive: Digest::of(b"archive"), image: Digest::of(b"image") },
    };
    let (tools, given) = (&Digest::of(b"tools"), &Digest::of(b"given"));
    let parts = Parts { declared, manifest, tools, form, identity, given };
    render(&parts).unwrap()
}

#[test]
fn units_of_a_machine() {
    let mut manifest = manifest();
    manifest.expect.https.insert("main".to_owned(), site(3002));
    let text = "kind: qemu\nmachines: { edge-1: { listen: 0.0.0.0, ports: { 3002: 443 }, health: 10m } }";
    let units = rendered(text, &manifest, true);
    let all: Vec<String> = units.iter().map(|(name, text)| format!("## {name}\n{text}")).collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn units_of_a_container() {
    let mut manifest = manifest();
    manifest.expect.https.insert("main".to_owned(), site(3002));
    // Those of the network are the container's own.
    let all =
        ["kernel.sysrq", "net.ipv4.ip_forward", "net.ipv4.conf.all.accept_redirects", "net.ipv4.conf.all.forwarding"];
    let option: crate::name::OptionPath = "base.sysctl.ptrace".parse().unwrap();
    manifest.expect.mounts.insert("/var".parse().unwrap(), (["noexec".to_owned()].into(), option.clone()));
    manifest.expect.sysctl.insert("net.ipv4.conf.*.send_redirects".to_owned(), ("0".to_owned(), option.clone()));
    manifest.expect.sysctl.extend(all.map(|name| (name.to_owned(), ("0".to_owned(), option.clone()))));
    let text = "kind: podman\nmachines: { edge-1: { listen: 0.0.0.0, ports: { 3002: 443 } } }";
    let units = rendered(text, &manifest, true);
    assert_eq!(
        units.keys().map(|name| place(name).display().to_string()).collect::<Vec<_>>(),
        [
            "/etc/systemd/system/rave-edge-1-health.service",
            "/etc/systemd/system/rave-edge-1-health.timer",
            "/etc/systemd/system/rave-edge-1-verify.service",
            "/etc/containers/systemd/rave-edge-1.container",
        ]
    );
    let look = &units["rave-edge-1-verify.service"];
    assert!(look.contains(" --full --container\n") && !look.contains("IPAddressDeny"), "{look}");
    insta::assert_snapshot!(units["rave-edge-1.container"]);
}

#[test]
fn software_emulation_needs_no_device_and_makes_code() {
    let units = rendered("kind: qemu\nmachines: { a: { accelerator: tcg } }", &manifest(), false);
    let service = &units["rave-a.service"];
    assert!(!service.contains("kvm") && !service.contains("MemoryDenyWriteExecute"), "{service}");
    assert!(service.contains("CapabilityBoundingSet=\n") && service.contains("hostfwd=tcp:127.0.0.1:2222-:22"));
    // The guest's 2048 MiB, 256 MiB of translated code, and QEMU's own.
    assert!(service.contains("MemoryMax=2816M\nCPUQuota=300%\n"), "{service}");
    assert!(!service.contains("LoadCredentialEncrypted"));
}

/// Whoever is told of alerts is no more told of each look than the machine's own looks tell.
#[test]
fn a_look_every_few_minutes_sends_no_test_alert() {
    let module = include_str!("../../modules/services/alertmanager.yaml");
    let id = module.lines().filter_map(|line| line.trim().strip_prefix("id: ")).next_back().unwrap();
    assert!(module.contains("alert: ") && SELDOM.contains(&format!("monitoring.{id}").as_str()), "{id}");
}

#[test]
fn nothing_is_expanded_in_a_word() {
    assert_eq!(quoted("-m"), "-m");
    assert_eq!(quoted("a b\"c\\d%e$f\n"), r#""a b\"c\\d%%e$$f\x0a""#);
    assert_eq!(quoted("\u{85}"), r#""\xc2\x85""#);
    assert_eq!(quoted(""), "\"\"");
}
