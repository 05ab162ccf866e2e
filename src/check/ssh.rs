//! Stage 1: the machine can be administered over SSH, and only by whom it should be.

use std::collections::BTreeSet;

use super::table::{Check, Finding, Subject, list};
use super::{Stage, Target, Verdict, module};
use crate::probe::{Answer, Probe, SshOffer};
use crate::system::Ssh;

/// A user every Debian system has and that must not log in.
const OTHER_USER: &str = "nobody";

/// Names in the list of key exchange algorithms that are signals, not algorithms (RFC 8308, 2.1; OpenSSH
/// PROTOCOL, 1.9 and 1.10).
const MARKERS: [&str; 2] = ["ext-info-s", "kex-strict-s-v00@openssh.com"];

/// The checks of the stage. Together they cost the machine five connections: a firewall that limits new ones, and
/// sshd's penalties for failed logins, must not be provoked.
pub static CHECKS: [Check; 11] = [
    Check {
        id: "ssh.port",
        about: "an SSH 2.0 server answers",
        unreachable: Verdict::Unhealthy,
        ask: |target| subject(target, |_| vec![Probe::SshOffer]),
        judge: judge_port,
    },
    Check {
        id: "ssh.login",
        about: "the machine's key logs in and runs a command",
        unreachable: Verdict::Unhealthy,
        ask: |target| subject(target, |ssh| vec![login(ssh)]),
        judge: judge_login,
    },
    Check {
        id: "ssh.host-key",
        about: "the host key seen from outside is the one inside",
        unreachable: Verdict::Skipped,
        ask: |target| subject(target, |ssh| vec![login(ssh), Probe::HostKey { path: ssh.host_key_file.clone() }]),
        judge: judge_host_key,
    },
    Check {
        id: "ssh.root.refused",
        about: "root is refused",
        unreachable: Verdict::Skipped,
        ask: |target| subject(target, |_| vec![Probe::SshRefusal { user: "root".to_owned(), key: true }]),
        judge: judge_refusal,
    },
    Check {
        id: "ssh.other-users.refused",
        about: "other users are refused",
        unreachable: Verdict::Skipped,
        ask: |target| subject(target, |_| vec![Probe::SshRefusal { user: OTHER_USER.to_owned(), key: true }]),
        judge: judge_refusal,
    },
    Check {
        id: "ssh.password.refused",
        about: "nothing but a key is accepted",
        unreachable: Verdict::Skipped,
        ask: |target| subject(target, |ssh| vec![Probe::SshRefusal { user: ssh.user.clone(), key: false }]),
        judge: judge_password,
    },
    Check {
        id: "ssh.algorithms.kex",
        about: "key exchange algorithms are those configured",
        unreachable: Verdict::Skipped,
        ask: |target| subject(target, |_| vec![Probe::SshOffer]),
        judge: |target, _, answers| algorithms(target, answers, |ssh| &ssh.kex, |offer| vec![&offer.kex]),
    },
    Check {
        id: "ssh.algorithms.host-keys",
        about: "host key algorithms are among those configured",
        unreachable: Verdict::Skipped,
        ask: |target| subject(target, |_| vec![Probe::SshOffer]),
        judge: judge_host_key_algorithms,
    },
    Check {
        id: "ssh.algorithms.ciphers",
        about: "ciphers are those configured",
        unreachable: Verdict::Skipped,
        ask: |target| subject(target, |_| vec![Probe::SshOffer]),
        judge: |target, _, answers| {
            algorithms(target, answers, |ssh| &ssh.ciphers, |offer| vec![&offer.ciphers_in, &offer.ciphers_out])
        },
    },
    Check {
        id: "ssh.algorithms.macs",
        about: "message authentication codes are those configured",
        unreachable: Verdict::Skipped,
        ask: |target| subject(target, |_| vec![Probe::SshOffer]),
        judge: |target, _, answers| {
            algorithms(target, answers, |ssh| &ssh.macs, |offer| vec![&offer.macs_in, &offer.macs_out])
        },
    },
    module::check("ssh", |target| module::subjects(Stage::Ssh, target)),
];

fn subject(target: &Target, probes: impl Fn(&Ssh) -> Vec<Probe>) -> Vec<Subject> {
    let subject = |ssh: &Ssh| Subject { name: String::new(), option: Some(ssh.option.clone()), probes: probes(ssh) };
    target.expect.ssh.iter().map(subject).collect()
}

fn login(ssh: &Ssh) -> Probe {
    Probe::SshLogin { user: ssh.user.clone(), command: vec!["/usr/bin/id".to_owned(), "-un".to_owned()] }
}

fn judge_port(_: &Target, _: &str, answers: &[&Answer]) -> Finding {
    let [Answer::SshOffer(offer)] = answers else { return Finding::misfit() };
    Finding::hold(offer.identification.starts_with("SSH-2.0-"), "an SSH 2.0 server", &offer.identification)
}

fn judge_login(target: &Target, _: &str, answers: &[&Answer]) -> Finding {
    let Some(ssh) = &target.expect.ssh else { return Finding::misfit() };
    let expected = format!("{} logs in with the machine's key and runs `id -un`", ssh.user);
    match answers {
        [Answer::SshLogin { ended, .. }] => {
            let observed = format!("{:?}, exit status {}", ended.stdout.trim(), module::code(ended));
            Finding::hold(ended.code == Some(0) && ended.stdout.trim() == ssh.user, expected, observed)
                .because(ended.stderr.trim())
        }
        [Answer::SshRefusal(refusal)] => {
            Finding::new(Verdict::Unhealthy, expected, "the login is refused").because(&refusal.said)
        }
        _ => Finding::misfit(),
    }
}

fn judge_host_key(_: &Target, _: &str, answers: &[&Answer]) -> Finding {
    match answers {
        [Answer::SshLogin { host_key, .. }, Answer::HostKey { key }] => {
            let key = if host_key.contains(" SHA256:") { fingerprint(key) } else { key.clone() };
            Finding::hold(!key.is_empty() && *host_key == key, key, host_key)
        }
        [Answer::SshRefusal(refusal), Answer::HostKey { key }] => {
            Finding::new(Verdict::Skipped, key, "no login, so no host key").because(&refusal.said)
        }
        _ => Finding::misfit(),
    }
}

/// A host key as ssh tells of it: its type and fingerprint.
fn fingerprint(key: &str) -> String {
    match ssh_key::PublicKey::from_openssh(key) {
        Ok(key) => format!("{} {}", key.algorithm(), key.fingerprint(ssh_key::HashAlg::Sha256)),
        Err(_) => key.to_owned(),
    }
}

fn judge_refusal(_: &Target, _: &str, answers: &[&Answer]) -> Finding {
    let [Answer::SshRefusal(refusal)] = answers else { return Finding::misfit() };
    let observed = if refusal.refused { "refused" } else { "logged in" };
    Finding::hold(refusal.refused, "refused", observed).because(&refusal.said)
}

fn judge_password(_: &Target, _: &str, answers: &[&Answer]) -> Finding {
    let [Answer::SshRefusal(refusal)] = answers else { return Finding::misfit() };
    let observed = if refusal.refused { list(&refusal.methods) } else { "logged in without a key".to_owned() };
    Finding::hold(refusal.refused && refusal.methods == ["publickey"], "publickey", observed).because(&refusal.said)
}

fn judge_host_key_algorithms(target: &Target, _: &str, answers: &[&Answer]) -> Finding {
    let (Some(ssh), [Answer::SshOffer(offer)]) = (&target.expect.ssh, answers) else { return Finding::misfit() };
    // A server offers only the algorithms it holds a key for.
    let allowed = !offer.host_keys.is_empty() && offer.host_keys.iter().all(|offered| ssh.host_keys.contains(offered));
    Finding::hold(allowed, format!("among {}", list(&ssh.host_keys)), list(&offer.host_keys)).because("KEXINIT")
}

/// Compares as sets: of two lists the client's order decides (RFC 4253, 7.1).
fn algorithms(
    target: &Target,
    answers: &[&Answer],
    configured: fn(&Ssh) -> &Vec<String>,
    offered: fn(&SshOffer) -> Vec<&Vec<String>>,
) -> Finding {
    let (Some(ssh), [Answer::SshOffer(offer)]) = (&target.expect.ssh, answers) else { return Finding::misfit() };
    let configured: BTreeSet<&str> = configured(ssh).iter().map(String::as_str).collect();
    let directions: Vec<BTreeSet<&str>> = offered(offer).into_iter().map(|names| without_markers(names)).collect();
    let same = directions.iter().all(|names| *names == configured);
    let observed = directions.into_iter().find(|names| !same && *names != configured);
    let observed = observed.unwrap_or_else(|| configured.clone());
    let surplus = list(observed.difference(&configured));
    let lacking = list(configured.difference(&observed));
    let evidence = if same { "KEXINIT".to_owned() } else { format!("too many: {surplus}; missing: {lacking}") };
    Finding::hold(same && !configured.is_empty(), list(&configured), list(&observed)).because(evidence)
}

fn without_markers(names: &[String]) -> BTreeSet<&str> {
    names.iter().map(String::as_str).filter(|name| !MARKERS.contains(name)).collect()
}
