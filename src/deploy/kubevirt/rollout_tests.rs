use std::cell::{Cell, RefCell};

use serde_json::json;

use super::super::manifests::{CONFIRMED, IMAGE, PREVIOUS};
use super::*;

/// A cluster with one machine, whose looks find versions well or not.
#[derive(Default)]
struct Fake {
    machine: RefCell<Option<Value>>,
    said: RefCell<Vec<String>>,
    unwell: Vec<&'static str>,
    /// Versions that never get ready.
    stuck: Vec<&'static str>,
    /// After how many pauses the user ends it.
    patience: Option<u32>,
    pauses: Cell<u32>,
    /// A kind of objects that may not be made.
    forbidden: Option<&'static str>,
}

impl Fake {
    fn disk(&self) -> String {
        let machine = self.machine.borrow();
        machine.as_ref().and_then(|all| disk_of(&all["spec"]["template"]["spec"])).unwrap_or_default().to_owned()
    }

    /// As a later deployment finds it.
    fn found(&self) -> Option<Found> {
        let items: Vec<Value> = self.machine.borrow().iter().cloned().collect();
        Found::list(json!({"items": items}).to_string().as_bytes()).unwrap().remove("a")
    }

    fn told(&self, key: &str) -> Value {
        self.machine.borrow().as_ref().unwrap()["metadata"]["annotations"][key].clone()
    }
}

impl Api for Fake {
    fn kubectl(&self, words: &[&str], input: &[u8]) -> Result<Vec<u8>> {
        self.said.borrow_mut().push(words.iter().take(2).copied().collect::<Vec<_>>().join(" "));
        match words[..2] {
            ["apply", _] => {
                let text = std::str::from_utf8(input).unwrap();
                if self.forbidden.is_some_and(|kind| text.contains(kind)) {
                    return Err(Error::Refused("forbidden".to_owned()));
                }
                *self.machine.borrow_mut() = Some(serde_yaml::from_str(text.trim_start_matches("---\n")).unwrap());
            }
            ["delete", "virtualmachine"] => *self.machine.borrow_mut() = None,
            ["get", _] => {
                let disk = self.disk();
                let ready = if self.stuck.contains(&disk.as_str()) { "False" } else { "True" };
                let status = json!({"conditions": [{"type": "Ready", "status": ready}]});
                let spec = json!({"volumes": [{"containerDisk": {"image": disk}}]});
                return Ok(json!({"spec": spec, "status": status}).to_string().into_bytes());
            }
            _ => {}
        }
        Ok(Vec::new())
    }

    fn look(&self, machine: &Value) -> Result<Vec<String>> {
        let told = disk_of(&machine["spec"]["template"]["spec"]);
        assert_eq!(told, Some(self.disk().as_str()), "it is held against what it runs");
        let is_unwell = self.unwell.contains(&self.disk().as_str());
        Ok(if is_unwell { vec!["https.page: expected 200, observed 500".to_owned()] } else { Vec::new() })
    }

    fn pause(&self, _: Duration) -> bool {
        self.pauses.set(self.pauses.get() + 1);
        self.patience == Some(self.pauses.get())
    }

    fn tell(&self, _: &str) {}
}

fn machine(version: &str) -> Value {
    json!({
        "kind": "VirtualMachine",
        "metadata": {"name": "a", "labels": {"rave.target": "edge"}, "annotations": {IMAGE: "shop", "rave.version": version}},
        "spec": {"template": {"spec": {"volumes": [{"containerDisk": {"image": version}}]}}},
    })
}

fn deploy(fake: &Fake, version: &str) -> Result<Outcome> {
    Rollout { api: fake }.perform(&machine(version), fake.found().as_ref())
}

#[test]
fn where_something_is_refused_no_identity_is_left() {
    let mut fake = Fake { forbidden: Some("NetworkPolicy"), ..Fake::default() };
    let (policy, secret) = (json!({"kind": "NetworkPolicy"}), json!({"kind": "Secret"}));
    let prepare = |fake: &Fake| Rollout { api: fake }.prepare(std::slice::from_ref(&policy), &secret, false);
    assert!(matches!(prepare(&fake), Err(Error::Refused(_))));
    assert_eq!((fake.machine.borrow().clone(), fake.said.borrow().len()), (None, 1));
    fake.forbidden = None;
    prepare(&fake).unwrap();
    assert_eq!((fake.machine.borrow().clone(), fake.said.borrow().len()), (Some(secret.clone()), 3));
}

#[test]
fn what_machines_have_in_common_is_before_the_first_of_them_and_changes_after_the_last() {
    let (policy, secret) = (json!({"kind": "NetworkPolicy"}), json!({"kind": "Secret"}));
    // The last object that the cluster was told of, and how many.
    let told = |others: bool, settle: bool| {
        let fake = Fake::default();
        let rollout = Rollout { api: &fake };
        let shared = std::slice::from_ref(&policy);
        rollout.prepare(shared, &secret, others).unwrap();
        if settle {
            rollout.settle(shared, others).unwrap();
        }
        let count = fake.said.borrow().len();
        (fake.machine.take().unwrap()["kind"].clone(), count)
    };
    for (others, settle, expected) in [
        (false, false, ("Secret", 2)),
        (false, true, ("Secret", 2)),
        (true, false, ("Secret", 1)),
        (true, true, ("NetworkPolicy", 2)),
    ] {
        assert_eq!(told(others, settle), (expected.0.into(), expected.1), "{others} {settle}");
    }
}

#[test]
fn a_version_that_is_well_is_said_to_be() {
    let fake = Fake::default();
    assert!(deploy(&fake, "1").unwrap().healthy);
    assert_eq!(fake.told(CONFIRMED), "true");
    let said =
        ["apply --server-side", "delete virtualmachineinstance", "get virtualmachineinstance", "apply --server-side"];
    assert_eq!(*fake.said.borrow(), said);
    assert!(deploy(&fake, "2").unwrap().healthy);
    assert_eq!(fake.told(PREVIOUS), machine("1").to_string());
}

#[test]
fn a_version_that_is_not_well_is_taken_back() {
    let fake = Fake { unwell: vec!["2"], stuck: vec!["3"], ..Fake::default() };
    deploy(&fake, "1").unwrap();
    for (version, reason) in [("2", "https.page: expected 200, observed 500"), ("3", "not ready within 30 minutes")] {
        let outcome = deploy(&fake, version).unwrap();
        assert!(!outcome.healthy && outcome.reason.contains(reason), "{outcome:?}");
        assert!(outcome.instead.unwrap().1);
        assert_eq!((fake.disk().as_str(), fake.told(CONFIRMED)), ("1", "true".into()));
    }
}

#[test]
fn a_first_version_that_is_not_well_is_taken_away() {
    let fake = Fake { unwell: vec!["2"], ..Fake::default() };
    let outcome = deploy(&fake, "2").unwrap();
    assert_eq!((outcome.healthy, outcome.instead), (false, None));
    assert_eq!(fake.found(), None);
}

#[test]
fn a_deployment_that_was_cut_short_goes_on() {
    let mut fake = Fake { stuck: vec!["2"], ..Fake::default() };
    deploy(&fake, "1").unwrap();
    fake.patience = Some(2);
    assert!(matches!(deploy(&fake, "2"), Err(Error::Interrupted)));
    assert_eq!((fake.disk().as_str(), fake.told(CONFIRMED)), ("2", Value::Null), "nobody says that it is well");
    (fake.patience, fake.unwell, fake.stuck) = (None, vec!["2"], vec![]);
    assert_eq!(deploy(&fake, "2").unwrap().instead.map(|(_, well)| well), Some(true));
    assert_eq!(fake.disk(), "1");
}
