//! What the service manager says: `systemctl show` once for all units, and `journalctl` once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use super::{Machine, Trouble, assignments, kernel};
use crate::probe::{Answer, Cgroup, JournalEntry, Probe, Unit};
use crate::tool::Tool;

/// The longest output that is read, in bytes.
const OUTPUT: usize = 8 << 20;

/// Properties that every unit is asked for; the last two lead to its control group and its process.
const PROPERTIES: [&str; 9] =
    ["Id", "Names", "LoadState", "ActiveState", "SubState", "Result", "NRestarts", "ControlGroup", "MainPID"];

/// How much of a property is kept, in characters: a filter of system calls lists hundreds of names.
const VALUE: usize = 1024;

/// The kinds of units that can fail or be expected. Of the others, devices, there are more than of all these, and each
/// costs systemctl a question.
const KINDS: [&str; 10] = [
    "*.service",
    "*.socket",
    "*.timer",
    "*.target",
    "*.path",
    "*.mount",
    "*.automount",
    "*.swap",
    "*.scope",
    "*.slice",
];

/// Journal entries that are read, at most, and how much of a message is kept, in characters.
const ENTRIES: usize = 500;
const MESSAGE: usize = 400;

/// Files of a control group that tell limits or use.
const FILES: [&str; 13] = [
    "cpu.max",
    "cpu.weight",
    "cpuset.cpus",
    "io.weight",
    "memory.current",
    "memory.high",
    "memory.low",
    "memory.max",
    "memory.min",
    "memory.swap.max",
    "memory.zswap.max",
    "pids.current",
    "pids.max",
];

/// The units as one run of `systemctl` gave them, for all probes of one list.
pub struct Systemd {
    properties: BTreeSet<String>,
    time: Duration,
    shown: OnceLock<Result<Vec<BTreeMap<String, String>>, String>>,
}

impl Systemd {
    /// Prepares the question that answers all of `probes`; nothing is run before the first of them is answered. A program
    /// may take `time`.
    pub fn about(probes: &[Probe], time: Duration) -> Self {
        let properties = probes.iter().filter_map(|probe| match probe {
            Probe::Units { properties } => Some(properties),
            _ => None,
        });
        let is_name = |name: &&String| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric());
        Self { properties: properties.flatten().filter(is_name).cloned().collect(), time, shown: OnceLock::new() }
    }

    /// State of the manager.
    pub fn state(&self) -> Result<Answer, Trouble> {
        let text = output(Tool::new("systemctl").args(["show", "--property=SystemState,NJobs"]), self.time)?;
        state(&text)
    }

    /// All loaded units but devices.
    pub fn units(&self, properties: &BTreeSet<String>) -> Result<Answer, Trouble> {
        let units = self.shown()?.iter().filter_map(|shown| unit(shown, properties));
        Ok(Answer::Units { units: units.collect() })
    }

    /// Control groups of units, by the name they were asked for.
    pub fn cgroups(&self, units: &BTreeSet<String>, machine: &Machine) -> Result<Answer, Trouble> {
        let mut groups = BTreeMap::new();
        for shown in self.shown()? {
            let get = |name: &str| shown.get(name).map_or("", String::as_str);
            let group = get("ControlGroup");
            if !group.starts_with('/') || group.split('/').any(|part| part == "..") {
                continue;
            }
            let directory = machine.sys.join("fs/cgroup").join(group.trim_start_matches('/'));
            let process = machine.proc.join(get("MainPID"));
            for name in get("Names").split(' ').filter(|name| units.contains(*name)) {
                groups.insert(name.to_owned(), cgroup(&directory, &process));
            }
        }
        Ok(Answer::Cgroups { groups })
    }

    fn shown(&self) -> Result<&Vec<BTreeMap<String, String>>, Trouble> {
        let show = || {
            let names: Vec<&str> = PROPERTIES.into_iter().chain(self.properties.iter().map(String::as_str)).collect();
            let properties = format!("--property={}", names.join(","));
            let text = output(Tool::new("systemctl").args(["show", "--no-pager", &properties]).args(KINDS), self.time);
            text.map(|text| blocks(&text)).map_err(|trouble| trouble.to_string())
        };
        self.shown.get_or_init(show).as_ref().map_err(|reason| reason.clone().into())
    }
}

fn output(tool: Tool, time: Duration) -> Result<String, Trouble> {
    let ended = tool.bounded(time, OUTPUT)?;
    match ended.status {
        None => Err(format!("`{}` took more than {} seconds", tool.display(), time.as_secs()).into()),
        Some(status) if !status.success() => Err(tool.failed(status, &ended.stderr).into()),
        Some(_) if ended.stdout.len() >= OUTPUT => Err(format!("`{}` said too much", tool.display()).into()),
        Some(_) => Ok(String::from_utf8_lossy(&ended.stdout).into_owned()),
    }
}

fn state(text: &str) -> Result<Answer, Trouble> {
    let values = assignments(text, '=');
    match (values.get("SystemState"), values.get("NJobs").and_then(|jobs| jobs.parse().ok())) {
        (Some(state), Some(jobs)) => Ok(Answer::SystemState { state: (*state).to_owned(), jobs }),
        _ => Err("systemctl does not tell the state of the system".to_owned().into()),
    }
}

/// One map for each unit; blank lines separate them.
fn blocks(text: &str) -> Vec<BTreeMap<String, String>> {
    let block = |block: &str| {
        assignments(block, '=').into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    text.split("\n\n").filter(|part| !part.trim().is_empty()).map(block).collect()
}

fn unit(shown: &BTreeMap<String, String>, wanted: &BTreeSet<String>) -> Option<(String, Unit)> {
    let get = |name: &str| shown.get(name).cloned().unwrap_or_default();
    let id = shown.get("Id").filter(|id| !id.is_empty())?;
    let properties =
        wanted.iter().filter_map(|name| Some((name.clone(), shown.get(name)?.chars().take(VALUE).collect::<String>())));
    let unit = Unit {
        names: get("Names").split_whitespace().map(str::to_owned).collect(),
        load: get("LoadState"),
        active: get("ActiveState"),
        sub: get("SubState"),
        result: get("Result"),
        // Only services have the property.
        restarts: get("NRestarts").parse().unwrap_or(0),
        properties: properties.collect(),
    };
    Some((id.clone(), unit))
}

/// Files that are missing, since their controller is off or the unit has no process, are left out: the judge
/// misses them.
fn cgroup(directory: &Path, process: &Path) -> Cgroup {
    let mut files = Cgroup::new();
    let mut put = |name: &str, path: PathBuf| {
        if let Ok(text) = kernel::text(path) {
            files.insert(name.to_owned(), text.trim().to_owned());
        }
    };
    for file in FILES {
        put(file, directory.join(file));
    }
    put("oom_score_adj", process.join("oom_score_adj"));
    let statistics = kernel::text(directory.join("memory.stat")).unwrap_or_default();
    if let Some(value) = assignments(&statistics, ' ').get("inactive_file") {
        files.insert("inactive_file".to_owned(), (*value).to_owned());
    }
    files
}

/// Journal entries of this boot, or of its last `seconds`, of priority error or worse. If there are none there must be
/// others: a journal that nobody writes has no errors either.
pub fn journal(seconds: Option<u64>, time: Duration) -> Result<Answer, Trouble> {
    let since = seconds.map(|seconds| format!("--since=-{seconds}s"));
    let text = output(journalctl(ENTRIES).arg("--priority=err").args(since), time)?;
    if text.trim().is_empty() && output(journalctl(1), time)?.trim().is_empty() {
        return Err("the journal has no entries of this boot".to_owned().into());
    }
    entries(&text)
}

fn journalctl(lines: usize) -> Tool {
    Tool::new("journalctl")
        .args(["--boot", "--quiet", "--no-pager", "--output=json", &format!("--lines={lines}")])
        .arg("--output-fields=SYSLOG_IDENTIFIER,_COMM,MESSAGE")
}

fn entries(text: &str) -> Result<Answer, Trouble> {
    let mut entries: Vec<JournalEntry> = Vec::new();
    let mut places = BTreeMap::new();
    let mut lines = 0;
    for line in text.lines() {
        let (identifier, message) = entry(line).ok_or_else(|| "journalctl wrote an unknown form".to_owned())?;
        lines += 1;
        let place = *places.entry((identifier.clone(), message.clone())).or_insert(entries.len());
        match entries.get_mut(place) {
            Some(entry) => entry.count += 1,
            None => entries.push(JournalEntry { identifier, message, count: 1 }),
        }
    }
    Ok(Answer::Journal { entries, truncated: lines >= ENTRIES })
}

/// Identifier and message of one line of the journal's JSON format.
fn entry(line: &str) -> Option<(String, String)> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    let fields = value.as_object()?;
    let field = |name: &str| fields.get(name).map(field_text);
    let identifier = field("SYSLOG_IDENTIFIER").or_else(|| field("_COMM")).unwrap_or_default();
    Some((identifier, field("MESSAGE").unwrap_or_default()))
}

/// A field that is no text comes as an array of bytes, one too long as null, one that is repeated as an array of
/// values.
fn field_text(value: &serde_json::Value) -> String {
    let text = match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) => {
            let bytes: Option<Vec<u8>> = items.iter().map(|item| u8::try_from(item.as_u64()?).ok()).collect();
            bytes.map_or_else(|| value.to_string(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
        }
        other => other.to_string(),
    };
    text.chars().take(MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_from_blocks() {
        let text = "Id=ssh.service\nNames=ssh.service sshd.service\nLoadState=loaded\nActiveState=active\n\
                    SubState=running\nResult=success\nNRestarts=2\nLimitNOFILE=1024\nControlGroup=/a.slice\n\
                    \nId=-.mount\nNames=-.mount\nActiveState=active\n\nNames=x\n";
        let wanted: BTreeSet<String> = ["LimitNOFILE".to_owned(), "LimitCORE".to_owned()].into();
        let units: BTreeMap<String, Unit> = blocks(text).iter().filter_map(|shown| unit(shown, &wanted)).collect();
        assert_eq!(units.len(), 2);
        let ssh = &units["ssh.service"];
        assert!(ssh.names.contains("sshd.service"));
        assert_eq!((ssh.restarts, ssh.active.as_str()), (2, "active"));
        assert_eq!(ssh.properties, [("LimitNOFILE".to_owned(), "1024".to_owned())].into());
    }

    #[test]
    fn a_state_must_be_told() {
        let running = Answer::SystemState { state: "running".to_owned(), jobs: 0 };
        assert_eq!(state("NJobs=0\nSystemState=running\n").unwrap(), running);
        assert!(state("").is_err() && state("SystemState=running").is_err());
    }

    #[test]
    fn equal_entries_are_counted_and_odd_messages_are_text() {
        let text = "{\"SYSLOG_IDENTIFIER\":\"kernel\",\"MESSAGE\":\"a\"}\n{\"_COMM\":\"x\",\"MESSAGE\":[104,105]}\n\
                    {\"SYSLOG_IDENTIFIER\":\"kernel\",\"MESSAGE\":\"a\"}\n{\"MESSAGE\":null}\n";
        let Answer::Journal { entries, truncated } = entries(text).unwrap() else { panic!() };
        let told: Vec<_> = entries.iter().map(|e| (e.identifier.as_str(), e.message.as_str(), e.count)).collect();
        assert_eq!(told, [("kernel", "a", 2), ("x", "hi", 1), ("", "null", 1)]);
        assert!(!truncated);
        assert!(super::entries("not json").is_err());
        let many = "{\"MESSAGE\":\"a\"}\n".repeat(ENTRIES);
        assert!(matches!(super::entries(&many), Ok(Answer::Journal { truncated: true, .. })));
    }

    #[test]
    fn only_names_become_arguments() {
        let probe = Probe::Units { properties: ["LimitCORE".to_owned(), "--root=/x".to_owned(), String::new()].into() };
        assert_eq!(Systemd::about(&[probe], Duration::ZERO).properties, ["LimitCORE".to_owned()].into());
    }

    #[test]
    fn a_control_group_is_read_as_far_as_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in [("memory.max", "max\n"), ("memory.stat", "anon 5\ninactive_file 4096\n"), ("other", "x")] {
            crate::disk::write_atomic(dir.path().join(file), text.as_bytes(), 0o644).unwrap();
        }
        let group = cgroup(dir.path(), &dir.path().join("missing"));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(group, [pair("memory.max", "max"), pair("inactive_file", "4096")].into());
    }
}
