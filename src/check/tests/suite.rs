//! What outside suites said of real machines, recorded on 2026-11-28: good once the image was mended, bad before.

use super::pairs::Pair;
use super::world::{World, healthy, target};
use super::{check, verdicts};
use crate::check::suite::{RECORDS, fill};
use crate::check::{CheckReport, Target, Verdict, Wanted};
use crate::probe::{Answer, Ended, Probe, Suite};
use crate::system::SuiteAllowance;

/// Good and bad output, by suite.
fn recorded(suite: Suite) -> (&'static str, &'static str) {
    match suite {
        Suite::SshAudit => (include_str!("suites/ssh-audit.good.json"), include_str!("suites/ssh-audit.bad.json")),
        Suite::Sslyze => (include_str!("suites/sslyze.good.txt"), include_str!("suites/sslyze.bad.txt")),
        Suite::Testssl => (include_str!("suites/testssl.good.json"), include_str!("suites/testssl.bad.json")),
        Suite::Nmap => (include_str!("suites/nmap.good.txt"), include_str!("suites/nmap.bad.txt")),
        Suite::Gixy => (include_str!("suites/gixy.good.json"), include_str!("suites/gixy.bad.json")),
        Suite::KernelHardeningChecker => {
            (include_str!("suites/kernel.good.json"), include_str!("suites/kernel.bad.json"))
        }
        Suite::SystemdAnalyze => (include_str!("suites/systemd.good.txt"), include_str!("suites/systemd.bad.txt")),
    }
}

pub fn allowances() -> Vec<SuiteAllowance> {
    let plain = [
        (Suite::Sslyze, "maximum_certificate_lifespan"),
        (Suite::Testssl, "cert_revocation"),
        (Suite::Testssl, "Content-Security-Policy_multiple"),
        (Suite::KernelHardeningChecker, "mitigations"),
        (Suite::KernelHardeningChecker, "nosmt"),
        (Suite::KernelHardeningChecker, "pti"),
        (Suite::KernelHardeningChecker, "cfi"),
        (Suite::KernelHardeningChecker, "kernel.modules_disabled"),
    ];
    let figures = [
        ("modprobe@x.service", 95),
        ("ssh.service", 96),
        ("chrony.service", 19),
        ("systemd-networkd.service", 29),
        ("systemd-resolved.service", 22),
        ("systemd-udevd.service", 71),
    ];
    let reason = || "known".to_owned();
    let plain = plain.map(|(suite, finding)| (suite, finding, None));
    let figures = figures.map(|(finding, tenths)| (Suite::SystemdAnalyze, finding, Some(tenths)));
    let all = plain.into_iter().chain(figures);
    all.map(|(suite, finding, at_most)| SuiteAllowance {
        suite,
        finding: finding.to_owned(),
        reason: reason(),
        at_most,
    })
    .collect()
}

fn said(stdout: &str) -> Answer {
    let ended = Ended { code: Some(1), stdout: stdout.to_owned(), stderr: "Traceback\nbroken".to_owned() };
    Answer::Suite { command: "suite host".to_owned(), ended }
}

pub fn good(suite: Suite) -> Answer {
    said(recorded(suite).0)
}

fn spoil(world: &mut World, suite: Suite) {
    assert!(world.insert(Probe::Suite { suite }, said(recorded(suite).1)).is_some());
}

pub const PAIRS: &[Pair] = &[
    ("security.suite.gixy", Verdict::Unhealthy, |world| spoil(world, Suite::Gixy)),
    ("security.suite.kernel-hardening-checker", Verdict::Unhealthy, |world| {
        spoil(world, Suite::KernelHardeningChecker);
    }),
    ("security.suite.nmap", Verdict::Unhealthy, |world| spoil(world, Suite::Nmap)),
    ("security.suite.ssh-audit", Verdict::Unhealthy, |world| spoil(world, Suite::SshAudit)),
    ("security.suite.sslyze", Verdict::Unhealthy, |world| spoil(world, Suite::Sslyze)),
    ("security.suite.systemd-analyze", Verdict::Unhealthy, |world| spoil(world, Suite::SystemdAnalyze)),
    ("security.suite.testssl", Verdict::Unhealthy, |world| spoil(world, Suite::Testssl)),
];

/// What is reported of a suite that gave this answer.
fn report(target: &Target, suite: Suite, answer: Answer) -> CheckReport {
    let mut world = healthy(target);
    world.insert(Probe::Suite { suite }, answer);
    let wanted = Wanted { only: vec![format!("security.suite.{suite}")], ..Wanted::default() };
    let report = check(target, &wanted, &world);
    report.stages.into_iter().flat_map(|stage| stage.checks).next().unwrap()
}

#[test]
fn what_suites_find_is_told() {
    let target = target();
    for (suite, good, bad) in [
        (Suite::Gixy, "0 findings; found nothing", "2 findings; found ssl_ecdh_curve (HIGH: "),
        (
            Suite::KernelHardeningChecker,
            "5 accepted; found nothing else",
            "net.ipv6.conf.all.accept_ra (sysctl should be 0: ",
        ),
        (Suite::Nmap, "1 open; found nothing", "2 open; found tcp/2223 (open), tcp/3003 (open), tcp/22 (not open)"),
        (Suite::SshAudit, "15 algorithms; found nothing", "curve25519-sha256 (warn: does not provide"),
        (Suite::Sslyze, "not compliant; 1 accepted; found nothing else", "found certificate_path_validation (Cert"),
        (Suite::SystemdAnalyze, "9.6 at worst; 5 accepted; found nothing else", "found dbus.service (9.3)"),
        (Suite::Testssl, "A+, 100; 2 accepted; found nothing else", "A+, 96; 2 accepted; found final_score (96)"),
    ] {
        let (kept, lost) = recorded(suite);
        for (text, wanted, verdict) in [(kept, good, Verdict::Healthy), (lost, bad, Verdict::Unhealthy)] {
            let report = report(&target, suite, said(text));
            assert!(report.verdict == verdict && report.observed.contains(wanted), "{report:?}");
            assert!(report.evidence.starts_with("suite host"), "{report:?}");
            assert_eq!(report.evidence.contains(": known"), report.observed.contains("accepted"), "{report:?}");
        }
    }
}

#[test]
fn what_is_accepted_is_accepted_up_to_its_figure_and_of_its_suite_only() {
    let verdict = |change: &dyn Fn(&mut SuiteAllowance)| {
        let mut target = target();
        target.expect.suite_allow.iter_mut().for_each(change);
        report(&target, Suite::SystemdAnalyze, good(Suite::SystemdAnalyze)).verdict
    };
    assert_eq!(verdict(&|_| {}), Verdict::Healthy);
    assert_eq!(verdict(&|allowance| allowance.at_most = allowance.at_most.map(|most| most - 1)), Verdict::Unhealthy);
    assert_eq!(verdict(&|allowance| allowance.at_most = None), Verdict::Healthy);
    assert_eq!(verdict(&|allowance| allowance.suite = Suite::Nmap), Verdict::Unhealthy);
    assert_eq!(verdict(&|allowance| allowance.finding.push('x')), Verdict::Unhealthy);
}

#[test]
fn what_a_suite_does_not_say_is_never_healthy() {
    let target = target();
    let nested = "[".repeat(100_000);
    let texts = ["", "\n", "[]x", "{}", "null", "[{}]", "[1]", "\u{0}", "# Nmap done", "Ports: \tPorts: ", &nested];
    for suite in Suite::ALL {
        let (good, _) = recorded(suite);
        let half: String = good.chars().take(good.chars().count() / 2).collect();
        for text in texts.into_iter().chain([half.as_str(), "[]", "COMPLIANCE AGAINST: OK - Compliant.\n * x: y"]) {
            // No finding at all is what gixy says of a good configuration; half of some texts is whole again.
            if (suite == Suite::Gixy && ["[]", &half].contains(&text))
                || (suite == Suite::SystemdAnalyze && text == half)
            {
                continue;
            }
            let report = report(&target, suite, said(text));
            assert_eq!(report.verdict, Verdict::Skipped, "{suite} {text:?}: {report:?}");
            assert!(report.observed.ends_with("broken"), "{report:?}");
        }
        let late = match said(good) {
            Answer::Suite { command, ended } => Answer::Suite { command, ended: Ended { code: None, ..ended } },
            other => other,
        };
        assert_eq!(report(&target, suite, late).verdict, Verdict::Skipped);
        let missing = report(&target, suite, Answer::unavailable("x is not installed"));
        assert_eq!((missing.verdict, missing.observed.as_str()), (Verdict::Skipped, "x is not installed"));
    }
}

#[test]
fn suites_are_asked_on_request_only_and_each_has_one_record() {
    let plain = Target { suites: Vec::new(), ..target() };
    assert!(verdicts(&check(&plain, &Wanted::default(), &healthy(&plain))).keys().all(|id| !id.contains("suite")));
    assert_eq!(RECORDS.each_ref().map(|record| record.suite), Suite::ALL);
}

#[test]
fn arguments_are_filled_in() {
    let fill = |argument: &str, host: &str| fill(argument, "/tmp/{host}", host, 443);
    for (argument, host, wanted) in [
        ("{site}", "127.0.0.1", "127.0.0.1:443"),
        ("{site}", "::1", "[::1]:443"),
        ("{host}", "::1", "::1"),
        ("{dir}/ca.pem", "x", "/tmp/{host}/ca.pem"),
        ("{port}", "x", "443"),
        ("plain", "x", "plain"),
    ] {
        assert_eq!(fill(argument, host), wanted, "{argument}");
    }
}
