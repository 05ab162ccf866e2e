//! What a cluster has, and what has to be done about it. Pure: from what `kubectl get --output json` prints.

use std::collections::BTreeMap;

use serde_json::Value;

use super::drift;
use super::manifests::{APPLIED, CONFIRMED, IMAGE, PREVIOUS, TARGET, disk_of, title};
use crate::deploy::Action;

/// A VirtualMachine as the cluster has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The target that it belongs to; none: no rave made it.
    pub target: Option<String>,
    /// Name of its image.
    pub image: Option<String>,
    /// What it was told.
    pub applied: Option<Value>,
    /// What it was told before, and was well with.
    pub previous: Option<Value>,
    /// What somebody else has told it instead; see [`drift::changed`].
    pub changed: Vec<String>,
    /// Whether the six stages have found it well.
    pub confirmed: bool,
    /// Its state in a word, as KubeVirt prints it.
    pub state: String,
    /// Whether it runs and its readiness probe passes.
    pub ready: bool,
}

/// Why a machine cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Clash {
    /// The namespace has one of that name already.
    #[error("there is a virtual machine {machine} already, {}", .target.as_ref().map_or("which no rave made".to_owned(), |target| format!("of target `{target}`")))]
    Name {
        /// The machine.
        machine: String,
        /// Whose it is.
        target: Option<String>,
    },
    /// The one that is there is of another image.
    #[error("machine {machine} runs the image {image}")]
    Image {
        /// The machine.
        machine: String,
        /// The image.
        image: String,
    },
}

impl Found {
    fn read(machine: &Value) -> Self {
        let annotations = &machine["metadata"]["annotations"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        // Whoever may write to the object may have written anything: of another form it is as if there were nothing.
        let is_of_machine = |told: &Value| {
            told["kind"] == machine["kind"]
                && told["metadata"]["name"] == machine["metadata"]["name"]
                && told["metadata"]["annotations"].is_object()
        };
        let json = |key: &str| serde_json::from_str(annotations[key].as_str()?).ok().filter(is_of_machine);
        let applied = json(APPLIED);
        Self {
            target: text(&machine["metadata"]["labels"][TARGET]),
            image: text(&annotations[IMAGE]),
            changed: applied.as_ref().map(|told| drift::changed(told, machine)).unwrap_or_default(),
            applied,
            previous: json(PREVIOUS),
            confirmed: annotations[CONFIRMED] == "true",
            state: text(&machine["status"]["printableStatus"]).unwrap_or_else(|| "unknown".to_owned()),
            ready: machine["status"]["ready"] == true,
        }
    }

    /// All of a list, by name.
    ///
    /// # Errors
    /// The text is not what kubectl prints.
    pub fn list(text: &[u8]) -> Result<BTreeMap<String, Self>, serde_json::Error> {
        let list: Value = serde_json::from_slice(text)?;
        let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let named = |item: &Value| Some((item["metadata"]["name"].as_str()?.to_owned(), Self::read(item)));
        Ok(items.iter().filter_map(named).collect())
    }

    /// What the machine can go back to if it is told `wanted` and is not well with it.
    pub fn way_back(&self, wanted: &Value) -> Option<&Value> {
        // What was never found well is nothing to go back to.
        let current = self.applied.as_ref().filter(|applied| self.confirmed && *applied != wanted);
        current.or(self.previous.as_ref()).filter(|previous| *previous != wanted)
    }
}

/// What has to be done so that a machine of `target` is what is `wanted`; nothing if it is, and is well.
///
/// # Errors
/// The name is taken by another target or image, or by what no rave made.
pub fn plan(target: &str, wanted: &Value, found: Option<&Found>) -> Result<Vec<Action>, Clash> {
    let machine = wanted["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let Some(found) = found else { return Ok(vec![Action::Create { to: title(wanted) }]) };
    if found.target.as_deref() != Some(target) {
        return Err(Clash::Name { machine, target: found.target.clone() });
    }
    let image = found.image.as_ref().filter(|image| wanted["metadata"]["annotations"][IMAGE] != image.as_str());
    if let Some(image) = image {
        return Err(Clash::Image { machine, image: image.clone() });
    }
    let disk = |machine: &Value| disk_of(&machine["spec"]["template"]["spec"]).map(str::to_owned);
    Ok(match &found.applied {
        Some(applied) if disk(applied) != disk(wanted) => {
            vec![Action::Upgrade { from: title(applied), to: title(wanted) }]
        }
        Some(applied) if applied == wanted && !found.changed.is_empty() => {
            vec![Action::Restart { units: vec!["its manifest".to_owned()] }]
        }
        Some(applied) if applied == wanted && !found.ready => vec![Action::Restart { units: Vec::new() }],
        Some(applied) if applied == wanted && found.confirmed => Vec::new(),
        Some(applied) if applied == wanted => vec![Action::Check],
        _ => vec![Action::Restart { units: vec!["its manifest".to_owned()] }],
    })
}

/// How far a machine has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It runs what is wanted and is ready.
    Ready,
    /// It will come; what it does.
    Waiting(String),
}

/// How far a machine has come that is to run `disk`, from its VirtualMachineInstance; nothing: there is none yet.
///
/// # Errors
/// The text is not what kubectl prints.
pub fn progress(text: &[u8], disk: &str) -> Result<Progress, serde_json::Error> {
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(Progress::Waiting("there is no instance of it".to_owned()));
    }
    let instance: Value = serde_json::from_slice(text)?;
    if disk_of(&instance["spec"]) != Some(disk) {
        return Ok(Progress::Waiting("the version before is still there".to_owned()));
    }
    let conditions = instance["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is = |kind: &str| conditions.iter().find(|condition| condition["type"] == kind);
    let ready = is("Ready");
    if ready.is_some_and(|ready| ready["status"] == "True") {
        return Ok(Progress::Ready);
    }
    let phase = instance["status"]["phase"].as_str().unwrap_or("Pending");
    let why = [is("Synchronized").filter(|condition| condition["status"] == "False"), ready];
    let why = why.into_iter().flatten().filter_map(|condition| condition["message"].as_str());
    let why = why.filter(|message| !message.is_empty()).map(|message| format!(": {message}")).next();
    Ok(Progress::Waiting(format!("{phase}{}", why.unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::deploy::kubevirt::manifests::annotated;

    fn machine(version: &str) -> Value {
        json!({
            "kind": "VirtualMachine",
            "metadata": {
                "name": "a",
                "labels": {TARGET: "edge"},
                "annotations": {IMAGE: "shop", "rave.version": version, "rave.mode": "SAFE", "rave.root-hash": version},
            },
            "spec": {"template": {"spec": {"volumes": [{"containerDisk": {"image": version}}]}}},
        })
    }

    fn found(version: &str, previous: Option<&str>, confirmed: bool, ready: bool) -> Found {
        let mut all = annotated(&machine(version), previous.map(machine).as_ref(), confirmed);
        all["status"] = json!({"ready": ready, "printableStatus": "Running"});
        let list = json!({"items": [all]}).to_string();
        Found::list(list.as_bytes()).unwrap().remove("a").unwrap()
    }

    #[test]
    fn what_has_to_be_done_follows_from_what_there_is() {
        let now = |found: Option<&Found>| plan("edge", &machine("2"), found);
        let upgrade = |from: &str| Action::Upgrade {
            from: format!("shop {from} (SAFE, root hash {from})"),
            to: "shop 2 (SAFE, root hash 2)".to_owned(),
        };
        assert_eq!(now(None), Ok(vec![Action::Create { to: "shop 2 (SAFE, root hash 2)".to_owned() }]));
        assert_eq!(now(Some(&found("1", None, true, true))), Ok(vec![upgrade("1")]));
        assert_eq!(now(Some(&found("2", None, true, true))), Ok(Vec::new()));
        assert_eq!(now(Some(&found("2", None, false, true))), Ok(vec![Action::Check]));
        assert_eq!(now(Some(&found("2", None, true, false))), Ok(vec![Action::Restart { units: Vec::new() }]));
        let mut other = found("2", None, true, true);
        other.applied.as_mut().unwrap()["spec"]["runStrategy"] = "Manual".into();
        assert_eq!(now(Some(&other)), Ok(vec![Action::Restart { units: vec!["its manifest".to_owned()] }]));
        let by_hand = Found { applied: None, ..other.clone() };
        assert_eq!(now(Some(&by_hand)), now(Some(&other)));
        let patched = Found { changed: vec!["spec.a is 1, not 2".to_owned()], ..found("2", None, true, true) };
        assert_eq!(now(Some(&patched)), now(Some(&other)));
    }

    #[test]
    fn what_somebody_else_wrote_down_is_nothing() {
        let other = json!({"kind": "VirtualMachine", "metadata": {"name": "b", "annotations": {}}}).to_string();
        let nameless = json!({"kind": "VirtualMachine", "metadata": {"name": "a"}}).to_string();
        for text in ["", "nonsense", "\"x\"", "[]", "null", "{}", &other, &nameless] {
            let mut all = machine("1");
            all["metadata"]["annotations"][APPLIED] = text.into();
            all["metadata"]["annotations"][PREVIOUS] = text.into();
            let found = Found::list(json!({"items": [all, 1, {}]}).to_string().as_bytes()).unwrap();
            assert_eq!((found.len(), &found["a"].applied, &found["a"].previous), (1, &None, &None), "{text}");
        }
    }

    #[test]
    fn what_belongs_to_others_is_left_alone() {
        let of = |target: Option<&str>| Found { target: target.map(str::to_owned), ..found("1", None, true, true) };
        let told = |found: &Found| plan("edge", &machine("2"), Some(found)).unwrap_err().to_string();
        assert_eq!(told(&of(Some("lab"))), "there is a virtual machine a already, of target `lab`");
        assert_eq!(told(&of(None)), "there is a virtual machine a already, which no rave made");
        let image = Found { image: Some("web".to_owned()), ..of(Some("edge")) };
        assert_eq!(told(&image), "machine a runs the image web");
    }

    #[test]
    fn the_way_back_leads_to_what_was_well() {
        let back = |found: Found| found.way_back(&machine("2")).map(title);
        let one = Some("shop 1 (SAFE, root hash 1)".to_owned());
        assert_eq!(back(found("1", None, true, true)), one);
        assert_eq!(back(found("1", None, false, true)), None);
        assert_eq!(back(found("2", Some("1"), false, true)), one, "a deployment that was cut short goes on");
        assert_eq!(back(found("2", Some("1"), true, false)), one);
        assert_eq!(back(found("2", Some("2"), true, false)), None);
    }

    #[test]
    fn an_instance_is_ready_when_it_runs_what_is_wanted() {
        let instance = |disk: &str, conditions: Value| {
            let spec = json!({"volumes": [{"name": "root", "containerDisk": {"image": disk}}]});
            json!({"spec": spec, "status": {"phase": "Running", "conditions": conditions}}).to_string()
        };
        let waiting = |text: &str| Ok(Progress::Waiting(text.to_owned()));
        let progress = |text: &str| super::progress(text.as_bytes(), "new").map_err(drop);
        assert_eq!(progress("\n"), waiting("there is no instance of it"));
        let ready = |status: &str| json!([{"type": "Ready", "status": status, "message": "probe failed"}]);
        assert_eq!(progress(&instance("old", ready("True"))), waiting("the version before is still there"));
        assert_eq!(progress(&instance("new", ready("True"))), Ok(Progress::Ready));
        assert_eq!(progress(&instance("new", ready("False"))), waiting("Running: probe failed"));
        assert_eq!(progress(&instance("new", json!([]))), waiting("Running"));
        let unfit = json!([{"type": "Synchronized", "status": "False", "message": "no image"}, {"type": "Ready"}]);
        assert_eq!(progress(&instance("new", unfit)), waiting("Running: no image"));
        assert_eq!(progress("nonsense"), Err(()));
        assert_eq!(progress("[]"), waiting("the version before is still there"));
    }
}
