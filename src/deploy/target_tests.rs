use super::*;

fn read(text: &str) -> Result<Target, Vec<String>> {
    let told = |errors: Vec<Diagnostic>| errors.iter().map(ToString::to_string).collect();
    Target::parse("edge", &Source::new("targets/edge.yaml", text)).map_err(told)
}

#[test]
fn a_target_says_where_machines_run() {
    let target = read(
        "description: The edge.\nkind: qemu\nidentity: keys/edge.txt\nmachines:\n  edge-1:\n    host: ops@edge-1:2200\n    \
         listen: 0.0.0.0\n    ports: { 3002: 443 }\n    accelerator: tcg\n    health: 10m\n  edge-2: {}\n",
    )
    .unwrap();
    let [first, second] = &target.machines[..] else { panic!("{target:?}") };
    assert_eq!((first.port(22), first.port(3002), first.port(8443)), (2222, 443, 8443));
    assert_eq!((first.host_name(), first.listen), ("ops@edge-1".to_owned(), Ipv4Addr::UNSPECIFIED));
    assert_eq!((first.engine, first.health), (Engine::Qemu(Accelerator::Tcg), Duration::from_secs(600)));
    assert_eq!((second.host.clone(), second.listen), (None, Ipv4Addr::LOCALHOST));
    assert_eq!((second.engine, second.health, second.origin.to_string()), {
        (Engine::Qemu(Accelerator::Kvm), HEALTH, "targets/edge.yaml:11:3".to_owned())
    });
}

#[test]
fn a_container_has_no_accelerator() {
    let target = read("kind: podman\nmachines: { a: { ports: { 3002: 443 } } }").unwrap();
    assert_eq!((target.kind, target.machines[0].engine), (Kind::Podman, Engine::Podman));
    let errors = read("kind: podman\nmachines: { a: { accelerator: tcg } }").unwrap_err();
    assert_eq!(
        errors,
        ["targets/edge.yaml:2:18: unknown key `accelerator` in a machine (the keys are host, listen, ports, health)"]
    );
}

#[test]
fn all_that_is_wrong_is_told_with_its_place() {
    let text = "kind: qmeu\nidentiy: x\nauthorized-keys: [ssh-rsa nonsense]\nmachines:\n  edge-1:\n    host: -oProxyCommand=x\n    \
                listen: ::1\n    ports: { 22: 0 }\n    accelerator: auto\n    health: 1s\n    memory: 1G\n  Edge: {}\n";
    insta::assert_snapshot!(read(text).unwrap_err().join("\n"));
}

#[test]
fn machines_of_one_host_share_no_port() {
    let two = |more: &str| read(&format!("kind: qemu\nmachines:\n  a: {{}}\n  b: {{{more}}}\n"));
    assert_eq!(
        two("").unwrap_err(),
        [
            "targets/edge.yaml:4:3: port 2222 of this host is taken twice (give one of them another with `ports: { 22: 2223 }`)"
        ]
    );
    assert!(two("ports: { 22: 2223 }").is_ok());
    assert!(two("host: root@other").is_ok());
}

#[test]
fn what_is_no_target_is_refused() {
    for text in
        ["", "[]", "kind: qemu", "kind: qemu\nmachines: {}", "kind: qemu\nmachines: [a]", "machines: {a: {}}", "a: *b"]
    {
        assert!(read(text).is_err(), "{text}");
    }
    let long = format!("kind: qemu\nmachines: {{ {}: {{}} }}", "a".repeat(NAME + 1));
    assert!(read(&long).is_err());
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[a-z0-9:{}\\[\\], \n@./-]{0,200}") {
        read(&text).ok();
        read(&format!("kind: qemu\nmachines:\n  a:\n    host: {text}")).ok();
    }
}
