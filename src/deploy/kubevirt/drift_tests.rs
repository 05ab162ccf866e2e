use serde_json::json;

use super::*;
use crate::deploy::kubevirt::manifests::{TARGET, annotated};

#[test]
fn what_the_cluster_has_otherwise_is_told_and_what_it_adds_is_not() {
    let told = json!({
        "kind": "VirtualMachine",
        "spec": {"runStrategy": "Always", "memory": "2048Mi", "cpu": {"cores": 2}, "ports": [{"port": 22}], "rng": {}},
    });
    let with = |pointer: &str, value: Value| {
        let mut object = told.clone();
        object["status"] = json!({"ready": true});
        object["spec"]["cpu"]["model"] = "host-model".into();
        *object.pointer_mut(pointer).unwrap() = value;
        object
    };
    for (pointer, value, expected) in [
        ("/status", json!({}), None),
        ("/spec/memory", json!("2Gi"), None),
        ("/spec/memory", json!("2097152Ki"), None),
        ("/spec/memory", json!("4Gi"), Some(r#"spec.memory is "4Gi", not "2048Mi""#)),
        (
            "/spec/memory",
            json!("99999999999999999999Gi"),
            Some(r#"spec.memory is "99999999999999999999Gi", not "2048Mi""#),
        ),
        ("/spec/memory", Value::Null, Some(r#"spec.memory is nothing, not "2048Mi""#)),
        ("/spec/cpu/cores", json!(4), Some("spec.cpu.cores is 4, not 2")),
        ("/spec/cpu", json!(4), Some("spec.cpu is 4, not a map")),
        ("/spec/ports/0/port", json!(2222), Some("spec.ports[0].port is 2222, not 22")),
        ("/spec/ports", json!([]), Some("spec.ports is a list of 0, not a list of 1")),
        ("/spec/rng", Value::Null, Some("spec.rng is nothing, not a map")),
        // `rave target stop`.
        ("/spec/runStrategy", json!("Halted"), None),
        ("/spec/runStrategy", json!("Manual"), Some(r#"spec.runStrategy is "Manual", not "Always""#)),
    ] {
        let expected: Vec<&str> = expected.into_iter().collect();
        assert_eq!(changed(&told, &with(pointer, value.clone())), expected, "{pointer} {value}");
    }
}

#[test]
fn what_is_told_is_short_and_ends_on_a_terminal() {
    let told = json!({"a\u{1b}": 1, "b": 1, "c": 1, "d": 1, "e": 1});
    let object = json!({"a\u{1b}": "\u{1b}[2J".repeat(9), "b": 2});
    let differences = changed(&told, &object);
    assert_eq!((differences.len(), differences[3].as_str()), (4, "and 2 more"));
    assert!(differences[0].starts_with(r#"a\u{1b} is "\u001b[2J"#), "{differences:?}");
    assert!(differences.iter().all(|text| text.chars().count() < 80 && !text.chars().any(char::is_control)));
}

#[test]
fn a_machine_differs_from_what_is_declared_and_from_what_it_was_told() {
    let machine = |cores: u32| {
        json!({
            "kind": "VirtualMachine",
            "metadata": {"name": "a", "labels": {TARGET: "edge"}, "annotations": {"rave.image": "shop"}},
            "spec": {"cores": cores},
        })
    };
    let found = |all: &Value| {
        let list = json!({"items": [all]}).to_string();
        Found::list(list.as_bytes()).unwrap().remove("a").unwrap()
    };
    let well = annotated(&machine(2), None, true);
    let mut patched = well.clone();
    patched["spec"]["cores"] = 8.into();
    let mut untold = well.clone();
    untold["metadata"]["annotations"].as_object_mut().unwrap().remove("rave.applied");
    let mut foreign = patched.clone();
    foreign["metadata"]["labels"][TARGET] = "lab".into();
    let mut nobodys = patched.clone();
    nobodys["metadata"]["labels"] = json!({});
    let with_more = json!({"kind": "VirtualMachine", "metadata": machine(2)["metadata"], "spec": {}});
    for (object, declared, expected) in [
        (&well, Some(machine(2)), &[][..]),
        (&well, None, &[]),
        (&well, Some(machine(4)), &["declared otherwise: spec.cores is 2, not 4"]),
        // What is declared no longer.
        (&well, Some(with_more), &["declared otherwise"]),
        (&patched, Some(machine(2)), &["changed in the cluster: spec.cores is 8, not 2"]),
        (&annotated(&machine(2), None, false), None, &["its deployment has not come to its end"]),
        (&untold, Some(machine(2)), &["what it was told is not written down any more"]),
        (&foreign, Some(machine(2)), &["belongs to target `lab`"]),
        (&nobodys, Some(machine(2)), &["no rave made it"]),
    ] {
        assert_eq!(of_machine("edge", &found(object), declared.as_ref()), expected, "{object}");
    }
}

#[test]
fn what_machines_have_in_common_is_there_as_it_was_told() {
    let object =
        |kind: &str, ports: &[u16]| json!({"kind": kind, "metadata": {"name": "rave-edge"}, "spec": {"ports": ports}});
    let told = [object("NetworkPolicy", &[22, 3002]), object("Service", &[3002])];
    let now = |items: &[Value]| of_shared(&told, json!({"items": items}).to_string().as_bytes()).unwrap();
    assert_eq!(now(&told), [] as [&str; 0]);
    assert_eq!(now(&told[..1]), ["Service rave-edge is not there"]);
    let opened = [object("NetworkPolicy", &[22, 3002, 5432]), object("Service", &[3003])];
    let differences = [
        "NetworkPolicy rave-edge: spec.ports is a list of 3, not a list of 2",
        "Service rave-edge: spec.ports[0] is 3003, not 3002",
    ];
    assert_eq!(now(&opened), differences);
    assert!(of_shared(&told, b"Error").is_err());
}

proptest::proptest! {
    #[test]
    fn no_answer_makes_it_panic(text in "[\\[\\]{}\",:a-z0-9 .KMGi\n]{0,80}") {
        let told = [json!({"kind": "a", "metadata": {"name": "a"}, "spec": {"a": "9223372036854775808Ti", "b": [1]}})];
        of_shared(&told, text.as_bytes()).ok();
        let list = format!(r#"{{"items": [{{"kind": "a", "metadata": {{"name": "a"}}, "spec": {{"a": "{text}", {text}}}}}]}}"#);
        of_shared(&told, list.as_bytes()).ok();
        changed(&told[0], &Value::from(text.clone()));
        changed(&Value::from(text), &told[0]);
    }
}
