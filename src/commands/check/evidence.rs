//! The evidence of a check: what it found, and what the machine says of the time before.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::check::Report;
use crate::disk;
use crate::event::{Work, bytes};
use crate::evidence::{FORMAT, Index, LeftOut, SigningKey, pack};
use crate::leaks::{self, Bytes, Content, Patterns};
use crate::qemu::console;

use super::super::secrets::signing;
use super::super::{Context, Failure, Result};
use super::asking::{Inside, Subject};

/// How long the machine may take for one member.
const PATIENCE: Duration = Duration::from_secs(60);
/// The newest entries of the journal that are taken, and bytes of the console.
const LINES: &str = "--lines=20000";
const CONSOLE: u64 = 4 << 20;

/// The member that a bundle is nothing without.
const REPORT: &str = "report.json";

/// Of what a bundle is made.
#[derive(Default)]
struct Gathered {
    members: BTreeMap<String, Vec<u8>>,
    left_out: Vec<LeftOut>,
}

impl Gathered {
    fn add(&mut self, name: &str, member: std::result::Result<Vec<u8>, String>) {
        match member {
            Ok(bytes) => drop(self.members.insert(name.to_owned(), bytes)),
            Err(reason) => self.left_out.push(LeftOut { name: name.to_owned(), reason }),
        }
    }
}

/// Writes a bundle, signed with `key`.
pub fn write(context: &Context, subject: &Subject<'_>, report: &Report, key: &SigningKey, path: &Path) -> Result<()> {
    let work = Work::start(context.ui.as_ref(), "gather", "evidence", None);
    let mut gathered = gather(subject, report)?;
    withhold(&mut gathered, &[Patterns::known(), signing::values(context)?])?;
    let now = jiff::Timestamp::now();
    let manifest = &subject.manifest;
    let index = Index {
        format: FORMAT.to_owned(),
        created: now.round(jiff::Unit::Second).unwrap_or(now).to_string(),
        rave: rave(),
        machine: subject.name.clone(),
        image: manifest.image.clone(),
        version: manifest.version.clone(),
        mode: manifest.mode,
        root_hash: manifest.root_hash,
        members: Vec::new(),
        left_out: gathered.left_out.clone(),
    };
    let bundle = pack(index, &gathered.members, key).map_err(Failure::error)?;
    disk::write_atomic(path, &bundle, 0o644)?;
    work.finish(format!("{} members, {}", gathered.members.len(), bytes(bundle.len() as u64)));
    for LeftOut { name, reason } in &gathered.left_out {
        context.ui.warn(format!("{name} is not in the bundle: {reason}"));
    }
    Ok(())
}

fn rave() -> String {
    format!("{} ({})", env!("CARGO_PKG_VERSION"), env!("RAVE_COMMIT"))
}

fn gather(subject: &Subject<'_>, report: &Report) -> Result<Gathered> {
    let mut gathered = Gathered::default();
    let mut text = serde_json::to_vec_pretty(report)?;
    text.push(b'\n');
    gathered.add(REPORT, Ok(text));
    gathered.add("manifest.json", Ok(subject.manifest.to_json()?));
    let journal =
        ["/usr/bin/journalctl", "--boot", "--quiet", "--no-pager", "--utc", "--output=short-iso-precise", LINES];
    gathered.add("journal.txt", subject.inside.run(&journal, b"", PATIENCE));
    gathered.add("console.log", console(&subject.inside));
    gathered.add("versions.json", Ok(versions(subject)?));
    Ok(gathered)
}

fn console(inside: &Inside<'_>) -> std::result::Result<Vec<u8>, String> {
    match inside {
        Inside::Ssh(_) => Err("SSH does not lead to it".to_owned()),
        Inside::Agent(vm) => {
            disk::tail(console::log(vm.directory()), CONSOLE).map_err(|e| format!("{e}: {}", e.source))
        }
    }
}

/// What ran, and what it was asked with.
fn versions(subject: &Subject<'_>) -> Result<Vec<u8>> {
    let say = |command: &[&str]| {
        let said = subject.inside.run(command, b"", PATIENCE);
        said.map(|said| String::from_utf8_lossy(&said).lines().next().unwrap_or_default().trim().to_owned())
    };
    let told = |said: std::result::Result<String, String>| said.unwrap_or_else(|reason| format!("unknown: {reason}"));
    let system = say(&["/bin/sh", "-c", ". /etc/os-release; echo \"$PRETTY_NAME\""]);
    let accelerator = match &subject.inside {
        Inside::Agent(vm) => Some(vm.state().accelerator.to_string()),
        Inside::Ssh(_) => None,
    };
    let mut text = serde_json::to_vec_pretty(&json!({
        "rave": rave(),
        "accelerator": accelerator,
        "machine": {
            "rave": told(say(&["/usr/bin/rave", "--version"])),
            "kernel": told(say(&["/usr/bin/uname", "-r"])),
            "systemd": told(say(&["/usr/bin/systemctl", "--version"])),
            "system": told(system),
        },
    }))?;
    text.push(b'\n');
    Ok(text)
}

/// Leaves out what has a secret in it, and says so. A report that has one is no evidence that can be handed on.
fn withhold(gathered: &mut Gathered, patterns: &[Patterns]) -> Result<()> {
    let content = |(name, bytes): (&String, &Vec<u8>)| Content {
        name: name.clone(),
        option: None,
        bytes: Bytes::Memory(bytes.clone()),
    };
    let contents: Vec<Content> = gathered.members.iter().map(content).collect();
    for patterns in patterns.iter().filter(|patterns| !patterns.is_empty()) {
        let found = leaks::search(patterns, &contents, 1).map_err(Failure::error)?;
        for finding in found.findings {
            let reason = format!("{} is in it, at byte {}", finding.what, finding.offset);
            if finding.place == REPORT {
                return Err(Failure::request(format!("the report cannot be bundled: {reason}"))
                    .hint("`rave check --json` shows it; a machine must not say its secrets"));
            }
            if gathered.members.remove(&finding.place).is_some() {
                gathered.left_out.push(LeftOut { name: finding.place, reason });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_secret_in_it_is_withheld_and_named() {
        let key = include_str!("../../../tests/vectors/sops/generated/keys/id_ed");
        let values = || Patterns::secrets([("db", &b"hunter2-very-secret"[..])]);
        let gathered = |journal: &str, report: &str| Gathered {
            members: [("journal.txt", journal), ("console.log", "boot"), (REPORT, report)]
                .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
                .into(),
            left_out: Vec::new(),
        };
        for (journal, what) in [(key, "a private key"), ("password is hunter2-very-secret\n", "secret `db`")] {
            let mut all = gathered(journal, "{}");
            withhold(&mut all, &[Patterns::known(), values()]).unwrap();
            assert_eq!(all.members.keys().collect::<Vec<_>>(), ["console.log", REPORT]);
            let [LeftOut { name, reason }] = &all.left_out[..] else { panic!("{:?}", all.left_out) };
            assert!(name == "journal.txt" && reason.starts_with(what) && !reason.contains("hunter2"), "{reason}");
        }
        let mut good = gathered("nothing", "{}");
        withhold(&mut good, &[Patterns::known(), values()]).unwrap();
        assert_eq!((good.members.len(), good.left_out.len()), (3, 0));
        assert!(withhold(&mut gathered("", "hunter2-very-secret"), &[values()]).is_err());
    }
}
