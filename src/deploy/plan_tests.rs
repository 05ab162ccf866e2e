use super::*;
use crate::deploy::Target;
use crate::deploy::record::{FORMAT, Record};
use crate::images::fixture;
use crate::origin::Source;

fn release(version: &str) -> Release {
    Release {
        image: "shop".parse().unwrap(),
        version: version.parse().unwrap(),
        mode: crate::system::Mode::Safe,
        root_hash: Digest::of(version.as_bytes()),
        disk: Digest::of(format!("disk {version}").as_bytes()),
        container: None,
        tools: Digest::of(b"tools"),
        units: [("rave-a.service".to_owned(), format!("runs {version}"))].into(),
    }
}

fn facts(version: &str) -> Facts {
    let record = Record {
        format: FORMAT,
        target: "edge".to_owned(),
        current: release(version),
        previous: None,
        confirmed: true,
        failure: None,
    };
    let machine = MachineFacts { record, state: "active".to_owned(), changed: vec![], health: None };
    Facts {
        format: FORMAT,
        tools: [release(version).tools].into(),
        images: [release(version).disk].into(),
        controllers: None,
        machines: [("a".parse().unwrap(), machine)].into(),
    }
}

fn planned(facts: &Facts, version: &str) -> Vec<&'static str> {
    let word = |action: &Action| match action {
        Action::SendTools => "tools",
        Action::SendImage => "image",
        Action::Create { .. } => "create",
        Action::Upgrade { .. } => "upgrade",
        Action::Restart { .. } => "restart",
        Action::Check => "check",
    };
    plan("edge", &"a".parse().unwrap(), &release(version), facts).unwrap().iter().map(word).collect()
}

#[test]
fn only_what_is_missing_is_done() {
    assert_eq!(planned(&Facts::default(), "1"), ["tools", "image", "create"]);
    assert_eq!(planned(&facts("1"), "1"), [""; 0]);
    assert_eq!(planned(&facts("1"), "2"), ["image", "upgrade"]);
    let mut sent = facts("1");
    sent.images.insert(release("2").disk);
    assert_eq!(planned(&sent, "2"), ["upgrade"]);
}

#[test]
fn a_machine_that_was_changed_stopped_or_left_half_done_is_seen_to() {
    let with = |change: &dyn Fn(&mut MachineFacts)| {
        let mut facts = facts("1");
        facts.machines.values_mut().for_each(change);
        planned(&facts, "1")
    };
    assert_eq!(with(&|machine| machine.changed = vec!["rave-a.service".to_owned()]), ["restart"]);
    assert_eq!(with(&|machine| machine.state = "failed".to_owned()), ["restart"]);
    assert_eq!(with(&|machine| machine.record.current.units.clear()), ["restart"]);
    assert_eq!(with(&|machine| machine.record.confirmed = false), ["check"]);
}

#[test]
fn nobody_elses_machine_is_touched() {
    let mut other = facts("1");
    other.machines.values_mut().for_each(|machine| machine.record.target = "lab".to_owned());
    let wanted = |release: &Release| plan("edge", &"a".parse().unwrap(), release, &other).unwrap_err().to_string();
    assert_eq!(wanted(&release("1")), "there is a machine a already, of target `lab`");
    let mail = Release { image: "mail".parse().unwrap(), ..release("1") };
    let error = plan("edge", &"a".parse().unwrap(), &mail, &facts("1")).unwrap_err();
    assert!(matches!(error, Clash::Image { .. }), "{error}");
}

#[test]
fn a_container_needs_a_host_that_limits_it() {
    let container = Release { container: Some("localhost/shop@sha256:0".to_owned()), ..release("1") };
    let there = |controllers: &str| Facts {
        controllers: Some(controllers.split(' ').map(str::to_owned).collect()),
        ..Facts::default()
    };
    let planned = |wanted: &Release, facts: &Facts| plan("edge", &"a".parse().unwrap(), wanted, facts);
    for (controllers, missing) in [
        ("cpuset cpu io memory hugetlb pids rdma misc", &[][..]),
        ("cpu memory pids", &[]),
        ("cpu pids", &["memory"]),
        ("cpuset io hugetlb memory_recursiveprot", &["cpu", "memory", "pids"]),
        ("", &["cpu", "memory", "pids"]),
    ] {
        let facts = there(controllers);
        let expected = if missing.is_empty() { None } else { Some(Clash::Controllers { missing: missing.to_vec() }) };
        assert_eq!(planned(&container, &facts).err(), expected, "{controllers}");
        // A machine of its own has control groups of its own.
        assert!(planned(&release("1"), &facts).is_ok(), "{controllers}");
    }
    assert!(planned(&container, &Facts::default()).is_ok(), "nobody has asked");
    let clash = planned(&container, &there("cpu io")).unwrap_err();
    assert_eq!(clash.to_string(), "its control groups lack memory, pids, by which a container is limited");
    let origin = crate::origin::Origin::new(&Source::new("targets/edge.yaml", "a: 1\n"), 0..1);
    assert!(clash.remedy(&origin).contains("systemd.unified_cgroup_hierarchy=1"));
}

#[test]
fn drift_is_told_in_words() {
    let mut facts = facts("1");
    let told = |facts: &Facts, wanted: Option<&Release>| {
        drift("edge", facts.machines.values().next().unwrap(), wanted.map(|wanted| &wanted.units))
    };
    assert_eq!(told(&facts, Some(&release("1"))), [""; 0]);
    assert_eq!(told(&facts, Some(&release("2"))), ["the target or rave has changed"]);
    let machine = facts.machines.values_mut().next().unwrap();
    (machine.record.confirmed, machine.changed) = (false, vec!["rave-a.service".to_owned()]);
    assert_eq!(
        told(&facts, None),
        ["rave-a.service was changed on the host", "its deployment has not come to its end"]
    );
}

#[test]
fn what_the_target_says_otherwise_now_is_seen_without_a_build() {
    let (manifest, given) = (fixture::manifest(), Digest::of(b"given"));
    let qemu = "kind: qemu\nmachines: { a: { ports: { 22: 2200 } } }";
    let podman = "kind: podman\nmachines: { a: { ports: { 22: 2200 } } }";
    let container = format!("localhost/shop@sha256:{}", Digest::of(b"image"));
    let now = |text: &str, current: &Release, identity: bool, given: &Digest| {
        let target = Target::parse("edge", &Source::new("targets/edge.yaml", text)).unwrap();
        units_now(&target.machines[0], &manifest, current, identity, given).unwrap()
    };
    for (text, other, container) in [(qemu, podman, None), (podman, qemu, Some(container))] {
        let mut current = Release { container, ..release("1") };
        current.units = now(text, &current, false, &given);
        assert_eq!(now(text, &current, false, &given), current.units);
        let differs = [
            now(&text.replace("2200", "2201"), &current, false, &given),
            now(&text.replace("ports", "health: 7m, ports"), &current, false, &given),
            now(text, &current, true, &given),
            now(text, &current, false, &Digest::of(b"other keys")),
            now(other, &current, false, &given),
        ];
        for units in differs {
            assert_ne!(units, current.units);
            let mut known = facts("1").machines.into_values().next().unwrap();
            known.record.current = current.clone();
            assert_eq!(drift("edge", &known, Some(&units)), ["the target or rave has changed"]);
            assert_eq!(drift("lab", &known, Some(&units)), ["belongs to target `edge`"]);
        }
    }
}
