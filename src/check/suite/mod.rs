//! Part of stage 6: what suites that nobody here wrote think of the machine. They run only on request.

mod read;

use std::collections::BTreeMap;

use super::table::{Check, Finding, Subject, list};
use super::{Target, Verdict};
use crate::probe::{Answer, Probe, Suite};
use crate::system::SuiteAllowance;

/// A suite: how it is run, and how its output is read.
pub struct Record {
    /// Which.
    pub suite: Suite,
    /// What it must say.
    pub target: &'static str,
    /// Where it runs, and what it needs there.
    pub place: Place,
    /// Program, by the names that it goes by, the usual one first.
    pub programs: &'static [&'static str],
    /// Arguments; [`fill`] says what stands in them.
    pub arguments: &'static [&'static str],
    /// Files that it judges, made of what commands say in the machine. The name `ca.pem` is taken.
    pub inputs: &'static [(&'static str, &'static [&'static str])],
    /// File that it writes its findings to; nothing: it prints them.
    pub output: Option<&'static str>,
    /// Longest time it may take, in seconds.
    pub seconds: u64,
    /// How to come by it.
    pub remedy: &'static str,
    /// Reads its findings.
    read: fn(&Target, &str) -> Result<Reading, String>,
}

/// Where a suite runs, and what of the machine it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Beside rave, with a connection to the SSH port.
    Ssh,
    /// The same to a site.
    Https,
    /// The same to all ports, which a machine behind QEMU's user network does not offer.
    Direct,
    /// Beside rave, with files of the machine.
    Files,
    /// Beside rave, with files of a machine that has this unit.
    FilesOf(&'static str),
    /// In the machine.
    Inside,
}

/// Lists every service that the image has a unit file of, or that systemd has loaded, with where its unit is, and systemd's
/// figure for it; of a template, those of an instance of it.
const SERVICES: &str = "{ systemctl list-units --all --plain --no-legend --type=service --state=loaded; \
     systemctl list-unit-files --no-legend --type=service \
     --state=enabled,enabled-runtime,linked,linked-runtime,disabled,static,indirect,generated,transient; } \
     | while read -r unit rest; do case $unit in *@.service) unit=${unit%.service}x.service;; esac; echo \"$unit\"; done \
     | sort -u | while read -r unit; do \
     printf '%s ' \"$(systemctl show --value --property=FragmentPath -- \"$unit\")\"; \
     systemd-analyze security --no-pager -- \"$unit\" | tail -n 1; done";

/// The suites, in the order of [`Suite::ALL`].
pub static RECORDS: [Record; 7] = [
    Record {
        suite: Suite::Gixy,
        target: "no finding",
        place: Place::FilesOf("nginx.service"),
        programs: &["gixy"],
        arguments: &["--format", "json", "--disable-includes", "{dir}/nginx.conf"],
        inputs: &[("nginx.conf", &["/usr/bin/cat", "/etc/nginx/nginx.conf"])],
        output: None,
        seconds: 60,
        remedy: "pip install gixy-ng",
        read: read::gixy,
    },
    Record {
        suite: Suite::KernelHardeningChecker,
        target: "no failure of the command line or a setting",
        place: Place::Files,
        programs: &["kernel-hardening-checker"],
        arguments: &["-m", "json", "-c", "{dir}/config", "-l", "{dir}/cmdline", "-s", "{dir}/sysctl"],
        inputs: &[
            ("config", &["/bin/sh", "-c", "cat /usr/lib/modules/$(uname -r)/config"]),
            ("cmdline", &["/usr/bin/cat", "/proc/cmdline"]),
            // A few settings cannot be read, whoever asks.
            ("sysctl", &["/bin/sh", "-c", "/usr/sbin/sysctl -a 2>/dev/null || true"]),
        ],
        output: None,
        seconds: 60,
        remedy: "it is at https://github.com/a13xp0p0v/kernel-hardening-checker",
        read: read::kernel,
    },
    Record {
        suite: Suite::SystemdAnalyze,
        target: "at most 1.5 for services of this project's modules and of the network, 5.0 for others of packages",
        place: Place::Inside,
        programs: &["/bin/sh"],
        arguments: &["-c", SERVICES],
        inputs: &[],
        output: None,
        seconds: 120,
        remedy: "it comes with systemd",
        read: read::systemd,
    },
    Record {
        suite: Suite::Sslyze,
        target: "compliant with Mozilla's modern configuration",
        place: Place::Https,
        programs: &["sslyze"],
        arguments: &["--mozilla_config=modern", "--certinfo_ca_file={dir}/ca.pem", "{site}"],
        inputs: &[],
        output: None,
        seconds: 120,
        remedy: "pip install sslyze",
        read: read::sslyze,
    },
    Record {
        suite: Suite::Testssl,
        target: "A+, 100, and no finding of medium severity or worse",
        place: Place::Https,
        programs: &["testssl", "testssl.sh"],
        arguments: &[
            "--quiet",
            "--color",
            "0",
            "--warnings",
            "batch",
            "--add-ca",
            "{dir}/ca.pem",
            "--jsonfile",
            "{dir}/testssl.json",
            "{site}",
        ],
        inputs: &[],
        output: Some("testssl.json"),
        seconds: 240,
        remedy: "apt install testssl.sh",
        read: read::testssl,
    },
    Record {
        suite: Suite::SshAudit,
        target: "no failure, no warning",
        place: Place::Ssh,
        programs: &["ssh-audit"],
        arguments: &["--json", "--port", "{port}", "{host}"],
        inputs: &[],
        output: None,
        seconds: 120,
        remedy: "pip install ssh-audit, or apt install ssh-audit",
        read: read::ssh_audit,
    },
    Record {
        suite: Suite::Nmap,
        target: "exactly the expected TCP ports are open",
        place: Place::Direct,
        programs: &["nmap"],
        arguments: &["-n", "-Pn", "-T4", "-p-", "-oG", "-", "{host}"],
        inputs: &[],
        output: None,
        seconds: 900,
        remedy: "apt install nmap",
        read: read::nmap,
    },
];

/// What a suite found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Reading {
    /// Its summary in a few words.
    summary: String,
    /// What it found fault with.
    faults: Vec<Fault>,
}

/// One thing that a suite found fault with.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    /// The suite's name for it, which exceptions go by.
    id: String,
    /// What it says.
    said: String,
    /// Its figure in tenths, if it has one.
    tenths: Option<u32>,
}

/// The record of a suite.
pub fn record(suite: Suite) -> Option<&'static Record> {
    RECORDS.iter().find(|record| record.suite == suite)
}

/// An argument with what stands in it: `{dir}`, the directory of inputs and output; `{host}` and `{port}`, where the
/// machine is reached; `{site}`, both, with brackets around the address of IPv6.
pub fn fill(argument: &str, directory: &str, host: &str, port: u16) -> String {
    let site = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    // The directory comes last: it may hold anything.
    let filled = argument.replace("{site}", &site).replace("{host}", host).replace("{port}", &port.to_string());
    filled.replace("{dir}", directory)
}

/// The check.
pub const CHECK: Check = Check {
    id: "security.suite",
    about: "the suite finds nothing but what is accepted with a reason",
    unreachable: Verdict::Skipped,
    ask: |target| {
        let subject = |suite: &Suite| Subject {
            name: suite.to_string(),
            option: None,
            probes: vec![Probe::Suite { suite: *suite }],
        };
        target.suites.iter().map(subject).collect()
    },
    judge,
};

fn judge(target: &Target, subject: &str, answers: &[&Answer]) -> Finding {
    let (Some(record), [Answer::Suite { command, ended }]) = (subject.parse().ok().and_then(record), answers) else {
        return Finding::misfit();
    };
    if ended.code.is_none() {
        let observed = "it did not come to its end in time, or was killed";
        return Finding::new(Verdict::Skipped, record.target, observed).because(command);
    }
    let reading = match (record.read)(target, &ended.stdout) {
        Ok(reading) => reading,
        Err(reason) => {
            let last = ended.stderr.trim_end().rsplit('\n').next().unwrap_or_default();
            return Finding::new(Verdict::Skipped, record.target, format!("{reason}; {last}")).because(command);
        }
    };
    // By reason, for one may do for many.
    let mut accepted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut faults = Vec::new();
    for fault in &reading.faults {
        match target.expect.suite_allow.iter().find(|allowance| covers(allowance, record.suite, fault)) {
            Some(allowance) => accepted.entry(&allowance.reason).or_default().push(&fault.id),
            None => faults.push(format!("{} ({})", fault.id, fault.said)),
        }
    }
    let found = if faults.is_empty() { "nothing else".to_owned() } else { list(&faults) };
    let observed = match accepted.values().map(Vec::len).sum::<usize>() {
        0 => format!("{}; found {}", reading.summary, if faults.is_empty() { "nothing" } else { &found }),
        count => format!("{}; {count} accepted; found {found}", reading.summary),
    };
    let told = accepted.iter().map(|(reason, ids)| format!("accepted {}: {}", ids.join(", "), reason.trim()));
    let evidence = std::iter::once(command.clone()).chain(told);
    Finding::hold(faults.is_empty(), record.target, observed).because(evidence.collect::<Vec<_>>().join("\n"))
}

fn covers(allowance: &SuiteAllowance, suite: Suite, fault: &Fault) -> bool {
    let within = match (allowance.at_most, fault.tenths) {
        (Some(most), Some(tenths)) => tenths <= most,
        (Some(_), None) => false,
        (None, _) => true,
    };
    allowance.suite == suite && allowance.finding == fault.id && within
}
