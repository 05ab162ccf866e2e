//! Stage 6: the machine runs the image and nothing else, and is closed.

use std::collections::{BTreeMap, BTreeSet};

use super::sockets::{Difference, compare};
use super::table::{Check, Finding, Subject, list, with_options};
use super::{Stage, Target, Verdict, bans, module, sandbox, scan, suite};
use crate::name::{GuestPath, OptionPath};
use crate::probe::{Answer, Probe, Scan};
use crate::system::ExpectedSecret;
use crate::tree::Globs;

/// Directories in which nothing may ever be written.
const READ_ONLY: [&str; 2] = ["/etc", "/usr"];

/// How kernel parameters begin that depend on how the machine is started, not on the image: those of boot loaders, of
/// `rave run --break`, which does nothing in an image without a shell for it, and the root hash, which is looked at on its
/// own.
const START_PARAMETERS: [&str; 5] = ["BOOT_IMAGE=", "console=", "initrd=", rave_init::BREAK, "roothash="];

/// The checks of the stage.
pub static CHECKS: [Check; 16] = [
    Check {
        id: "security.root.read-only",
        about: "the root file system is EROFS",
        unreachable: Verdict::Skipped,
        ask: |_| Subject::only(Probe::Mounts),
        judge: judge_root,
    },
    Check {
        id: "security.root.verity",
        about: "the root device is verified by the manifest's root hash",
        unreachable: Verdict::Skipped,
        ask: |_| Subject::only(Probe::Verity),
        judge: judge_verity,
    },
    Check {
        id: "security.write",
        about: "nothing can be written there",
        unreachable: Verdict::Skipped,
        ask: |_| READ_ONLY.iter().filter_map(|text| text.parse().ok()).map(ask_write).collect(),
        judge: judge_write,
    },
    Check {
        id: "security.sockets",
        about: "exactly the expected sockets wait for peers",
        unreachable: Verdict::Skipped,
        ask: |_| Subject::only(Probe::Sockets),
        judge: judge_sockets,
    },
    scan::CHECK,
    bans::CHECK,
    Check {
        id: "security.sysctl",
        about: "the kernel setting is as configured",
        unreachable: Verdict::Skipped,
        ask: ask_sysctls,
        judge: judge_sysctl,
    },
    Check {
        id: "security.cmdline",
        about: "the kernel was started as the image says",
        unreachable: Verdict::Skipped,
        ask: |_| Subject::only(Probe::CommandLine),
        judge: judge_cmdline,
    },
    Check {
        id: "security.mount",
        about: "the file system is mounted as configured",
        unreachable: Verdict::Skipped,
        ask: |target| {
            let subject =
                |(point, (_, option)): (&GuestPath, &(_, _))| Subject::of(point.as_str(), option, Probe::Mounts);
            target.expect.mounts.iter().map(subject).collect()
        },
        judge: judge_mount,
    },
    sandbox::CHECK,
    Check {
        id: "security.keys",
        about: "no private key on the root file system",
        unreachable: Verdict::Skipped,
        ask: |_| Subject::only(Probe::Scan),
        judge: |target, _, answers| {
            // The build has searched every file, and let these pass.
            let allowed = Globs::new(target.expect.key_allow.iter().map(|(pattern, _)| pattern));
            let wrong = |scan: &Scan| {
                let others = scan.keys.iter().filter(|(path, _)| !allowed.matches(path));
                others.map(|(path, kind)| format!("{path} ({kind})")).collect()
            };
            judge_scan(answers, "no private key", Verdict::Unhealthy, wrong)
        },
    },
    Check {
        id: "security.passwords",
        about: "no password on the root file system",
        unreachable: Verdict::Skipped,
        ask: |_| Subject::only(Probe::Scan),
        judge: |_, _, answers| {
            let passwords = |scan: &Scan| scan.passwords.iter().cloned().collect();
            judge_scan(answers, "every account locked", Verdict::Unhealthy, passwords)
        },
    },
    Check {
        id: "security.set-id",
        about: "few programs change the user when run",
        unreachable: Verdict::Skipped,
        ask: |_| Subject::only(Probe::Scan),
        judge: |target, _, answers| {
            let known = |path: &&String| target.expect.set_id.iter().any(|kept| kept.as_str() == path.as_str());
            let surplus = |scan: &Scan| scan.set_id.iter().filter(|path| !known(path)).cloned().collect();
            let kept =
                target.expect.set_id.iter().map(|path| (path.as_str(), target.expect.asked_by.get(path.as_str())));
            let expected = format!("no set-id program besides: {}", with_options(kept));
            judge_scan(answers, &expected, Verdict::Unhealthy, surplus)
        },
    },
    Check {
        id: "security.secrets",
        about: "the secret is there, in memory only, for its owner",
        unreachable: Verdict::Skipped,
        ask: |target| {
            let probe = Probe::Secrets { names: target.expect.secrets.keys().cloned().collect() };
            let subject = |(name, secret): (&String, &ExpectedSecret)| Subject::of(name, &secret.option, probe.clone());
            target.expect.secrets.iter().map(subject).collect()
        },
        judge: judge_secret,
    },
    suite::CHECK,
    module::check("security", |target| module::subjects(Stage::Security, target)),
];

fn judge_root(_: &Target, _: &str, answers: &[&Answer]) -> Finding {
    let [Answer::Mounts { mounts }] = answers else { return Finding::misfit() };
    let expected = "erofs, read-only";
    match mounts.iter().rfind(|mount| mount.point == "/") {
        None => Finding::new(Verdict::Unhealthy, expected, "no root file system"),
        Some(root) => {
            let access = if root.options.contains("ro") { "read-only" } else { "read-write" };
            let holds = root.fs == "erofs" && root.options.contains("ro") && !root.options.contains("rw");
            Finding::hold(holds, expected, format!("{}, {access}", root.fs)).because(&root.source)
        }
    }
}

/// The table's parameters are those of Documentation/admin-guide/device-mapper/verity.rst; the ninth is the root
/// hash.
fn judge_verity(target: &Target, _: &str, answers: &[&Answer]) -> Finding {
    let [Answer::Verity(verity)] = answers else { return Finding::misfit() };
    let wanted = target.outside.as_ref().map(|outside| outside.root_hash.to_string());
    let expected = match &wanted {
        Some(wanted) => format!("verity, valid, root hash {wanted}"),
        None => "verity, valid; which root hash is known outside only".to_owned(),
    };
    let hash = verity.table.get(8).map_or("", String::as_str);
    let state = if verity.status == "V" { "valid" } else { "corrupted" };
    let holds = verity.target == "verity" && verity.status == "V" && wanted.is_none_or(|wanted| hash == wanted);
    Finding::hold(holds, expected, format!("{}, {state}, root hash {hash}", verity.target))
        .because(format!("device-mapper table of {}", verity.name))
}

fn ask_write(directory: GuestPath) -> Subject {
    Subject { name: directory.to_string(), option: None, probes: vec![Probe::Write { directory }] }
}

fn judge_write(_: &Target, subject: &str, answers: &[&Answer]) -> Finding {
    let [Answer::Write { written, said }] = answers else { return Finding::misfit() };
    let observed = if *written { "a file was made" } else { said.as_str() };
    Finding::hold(!written, "writing fails", observed).because(format!("tried to make a file in {subject}"))
}

/// Sockets, each with the option that asks for it.
fn named(sockets: &BTreeMap<String, OptionPath>) -> impl Iterator<Item = (&str, Option<&OptionPath>)> {
    sockets.iter().map(|(name, option)| (name.as_str(), Some(option)))
}

fn judge_sockets(target: &Target, _: &str, answers: &[&Answer]) -> Finding {
    let [Answer::Sockets { sockets }] = answers else { return Finding::misfit() };
    let (open, local) = (&target.expect.open, &target.expect.local);
    let difference = compare(sockets, open, local);
    let expected = format!("open: {}; local: {}", with_options(named(open)), with_options(named(local)));
    if difference == Difference::default() {
        return Finding::new(Verdict::Healthy, expected, "exactly these").because(format!("{} sockets", sockets.len()));
    }
    let parts = [("open", &difference.open), ("local", &difference.local), ("missing", &difference.missing)];
    let told = parts.iter().filter(|(_, set)| !set.is_empty()).map(|(what, set)| format!("{what}: {}", list(*set)));
    let option = difference.missing.first().and_then(|name| open.get(name).or_else(|| local.get(name)));
    Finding::new(Verdict::Unhealthy, expected, told.collect::<Vec<_>>().join("; "))
        .because("/proc/net")
        .asked_by(option)
}

fn ask_sysctls(target: &Target) -> Vec<Subject> {
    let probe = Probe::Sysctls { names: target.expect.sysctl.keys().cloned().collect() };
    let subject = |(name, (_, option)): (&String, &(_, _))| Subject::of(name, option, probe.clone());
    target.expect.sysctl.iter().map(subject).collect()
}

fn judge_sysctl(target: &Target, subject: &str, answers: &[&Answer]) -> Finding {
    let (Some((value, _)), [Answer::Sysctls { values, unread }]) = (target.expect.sysctl.get(subject), answers) else {
        return Finding::misfit();
    };
    let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some(reason) = unread.get(subject) {
        return Finding::new(Verdict::Skipped, value, reason);
    }
    match values.get(subject) {
        None => Finding::new(Verdict::Unhealthy, value, "the kernel has no such setting"),
        Some(observed) => Finding::hold(*observed == value, value, observed),
    }
}

fn judge_cmdline(target: &Target, _: &str, answers: &[&Answer]) -> Finding {
    let [Answer::CommandLine { line }] = answers else { return Finding::misfit() };
    let given: Vec<&str> = line.split_whitespace().collect();
    let hash = target.outside.as_ref().map(|outside| format!("roothash={}", outside.root_hash));
    let expected: Vec<&str> = target.cmdline.iter().flat_map(|part| part.split_whitespace()).collect();
    let count = expected.iter().collect::<BTreeSet<_>>().len();
    let wanted: BTreeSet<&str> = expected.into_iter().chain(hash.as_deref()).collect();
    let hashes: BTreeSet<&str> = given.iter().copied().filter(|part| part.starts_with("roothash=")).collect();
    let missing: Vec<&str> = wanted.iter().copied().filter(|part| !given.contains(part)).collect();
    let from_start = |part: &str| START_PARAMETERS.iter().any(|start| part.starts_with(start));
    let surplus: Vec<&str> = given.iter().copied().filter(|part| !wanted.contains(part) && !from_start(part)).collect();
    let whose = if hash.is_some() { "the manifest's root hash" } else { "one root hash, which is known outside only" };
    let expected = format!("{count} parameters and {whose}");
    let holds = missing.is_empty() && hashes.len() == 1 && surplus.is_empty();
    // A parameter may have spaces in it, and is written as a whole.
    let whole = |part: &&str| target.cmdline.iter().find(|text| text.split_whitespace().any(|word| word == *part));
    let option = missing.iter().find_map(whole).and_then(|text| target.expect.asked_by.get(text));
    Finding::hold(holds, expected, format!("missing: {}; besides: {}", list(&missing), list(surplus)))
        .because(line)
        .asked_by(option)
}

fn judge_mount(target: &Target, subject: &str, answers: &[&Answer]) -> Finding {
    let expected = target.expect.mounts.iter().find(|(point, _)| point.as_str() == subject);
    let (Some((_, (options, _))), [Answer::Mounts { mounts }]) = (expected, answers) else {
        return Finding::misfit();
    };
    match mounts.iter().rfind(|mount| mount.point == subject) {
        None => Finding::new(Verdict::Unhealthy, list(options), "not mounted"),
        Some(mount) => {
            let missing: Vec<&String> = options.difference(&mount.options).collect();
            let options_seen = mount.options.iter().map(String::as_str).collect::<Vec<_>>().join(",");
            Finding::hold(missing.is_empty(), list(options), format!("missing: {}", list(&missing)))
                .because(format!("{} on {}: {options_seen}", mount.fs, mount.source))
        }
    }
}

/// Options without which a file system does not keep what it is for.
const CLOSED: [&str; 3] = ["nodev", "noexec", "nosuid"];

fn judge_secret(target: &Target, subject: &str, answers: &[&Answer]) -> Finding {
    let (Some(wanted), [Answer::Secrets { files }]) = (target.expect.secrets.get(subject), answers) else {
        return Finding::misfit();
    };
    let tell = |owner: &str, group: &str, mode: u32| format!("{owner}:{group}, {mode:04o}");
    let expected = format!("{}, in memory only", tell(&wanted.owner, &wanted.group, wanted.mode));
    let Some(file) = files.get(subject) else {
        return Finding::new(Verdict::Unhealthy, expected, "it is not there")
            .because("the journal of rave-secrets.service says why");
    };
    let in_memory = file.fs == "ramfs" || (file.fs == "tmpfs" && file.options.contains("noswap"));
    let closed = CLOSED.iter().all(|option| file.options.contains(*option));
    let owned = (&file.owner, &file.group, file.mode) == (&wanted.owner, &wanted.group, wanted.mode);
    let storage = if in_memory { "in memory only" } else { "on a file system that may reach a disk" };
    let observed = format!("{}, {storage}", tell(&file.owner, &file.group, file.mode));
    let options = file.options.iter().map(String::as_str).collect::<Vec<_>>().join(",");
    Finding::hold(in_memory && closed && owned, expected, observed).because(format!("{}: {options}", file.fs))
}

fn judge_scan(answers: &[&Answer], expected: &str, bad: Verdict, find: impl Fn(&Scan) -> Vec<String>) -> Finding {
    let [Answer::Scan(scan)] = answers else { return Finding::misfit() };
    let found = find(scan);
    let evidence = format!("{} files seen, {} searched", scan.files, scan.searched);
    match (&scan.incomplete, found.is_empty()) {
        (_, false) => Finding::new(bad, expected, list(&found)).because(evidence),
        (Some(reason), true) => Finding::new(Verdict::Skipped, expected, reason).because(evidence),
        (None, true) if scan.files == 0 => Finding::new(Verdict::Skipped, expected, "no files").because(evidence),
        (None, true) => Finding::new(Verdict::Healthy, expected, "none").because(evidence),
    }
}
