//! How what a cluster has differs from what it was told, and that from what is declared. Pure.

use serde_json::Value;

use super::found::Found;
use super::manifests::name_of;

/// How many differences of an object are told, and how long a value may be, in characters.
const MOST: usize = 3;
const LENGTH: usize = 40;
/// What `rave target stop` says of a machine, whatever it was told before.
const STOPPED: (&str, &str) = ("spec.runStrategy", "Halted");

/// Fields that an object has otherwise than it was told, with both values. What else it has is the cluster's own: defaults,
/// what is written down about it, its status.
pub fn changed(told: &Value, object: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    compare("", told, object, &mut differences);
    let all = differences.len();
    differences.truncate(MOST);
    if all > MOST {
        differences.push(format!("and {} more", all - MOST));
    }
    differences
}

fn compare(path: &str, told: &Value, object: &Value, differences: &mut Vec<String>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (told, object) {
        (Value::Object(told), Value::Object(object)) => {
            for (key, told) in told {
                compare(&below(key), told, object.get(key).unwrap_or(&Value::Null), differences);
            }
        }
        (Value::Array(told), Value::Array(object)) if told.len() == object.len() => {
            for (at, (told, object)) in told.iter().zip(object).enumerate() {
                compare(&format!("{path}[{at}]"), told, object, differences);
            }
        }
        _ if told == object || quantity(told).is_some_and(|quantity| Some(quantity) == self::quantity(object)) => {}
        _ if (path, object) == (STOPPED.0, &Value::from(STOPPED.1)) => {}
        // Keys are the cluster's word as well, where they come from what is written down there.
        _ => differences.push(format!("{} is {}, not {}", path.escape_debug(), shown(object), shown(told))),
    }
}

/// A value for people: its JSON, in which no control character is left as it is.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => "nothing".to_owned(),
        Value::Array(entries) => format!("a list of {}", entries.len()),
        Value::Object(_) => "a map".to_owned(),
        value => value.to_string(),
    };
    if text.chars().count() > LENGTH { text.chars().take(LENGTH).chain("...".chars()).collect() } else { text }
}

/// A number of bytes or processors (resource.Quantity), which the API writes in a form of its own: 2048Mi as 2Gi.
fn quantity(value: &Value) -> Option<u128> {
    let text = value.as_str()?;
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    let shift = match unit {
        "" => 0,
        "Ki" => 10,
        "Mi" => 20,
        "Gi" => 30,
        "Ti" => 40,
        _ => return None,
    };
    // The shift loses nothing of 64 bits.
    digits.parse::<u64>().ok().map(|number| u128::from(number) << shift)
}

/// What is to be said of a machine of `target`; `declared` is what the target has it be told, as far as that is known.
pub fn of_machine(target: &str, found: &Found, declared: Option<&Value>) -> Vec<String> {
    match &found.target {
        Some(other) if other != target => return vec![format!("belongs to target `{other}`")],
        Some(_) => {}
        None => return vec!["no rave made it".to_owned()],
    }
    let mut drift = Vec::new();
    if !found.confirmed {
        drift.push("its deployment has not come to its end".to_owned());
    }
    match (&found.applied, declared) {
        (None, _) => drift.push("what it was told is not written down any more".to_owned()),
        (Some(applied), Some(declared)) if applied != declared => {
            let differences = changed(declared, applied);
            let what = if differences.is_empty() { String::new() } else { format!(": {}", differences.join(", ")) };
            drift.push(format!("declared otherwise{what}"));
        }
        (Some(_), _) => {}
    }
    if !found.changed.is_empty() {
        drift.push(format!("changed in the cluster: {}", found.changed.join(", ")));
    }
    drift
}

/// What is to be said of what all machines have in common: `told` is what the target has the cluster be told, `answer` a list
/// as `kubectl get --output json` prints it.
///
/// # Errors
/// The text is not what kubectl prints.
pub fn of_shared(told: &[Value], answer: &[u8]) -> Result<Vec<String>, serde_json::Error> {
    let list: Value = serde_json::from_slice(answer)?;
    let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let same = |a: &Value, b: &Value| a["kind"] == b["kind"] && name_of(a) == name_of(b);
    let one = |told: &Value| {
        let title = format!("{} {}", told["kind"].as_str().unwrap_or_default(), name_of(told));
        match items.iter().find(|item| same(item, told)) {
            None => Some(format!("{title} is not there")),
            Some(item) => {
                let differences = changed(told, item);
                (!differences.is_empty()).then(|| format!("{title}: {}", differences.join(", ")))
            }
        }
    };
    Ok(told.iter().filter_map(one).collect())
}

#[cfg(test)]
#[path = "drift_tests.rs"]
mod tests;
