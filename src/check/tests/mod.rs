mod again;
mod certificates;
mod keys;
mod own;
mod pairs;
mod scan;
mod site;
mod suite;
mod world;

use std::collections::BTreeMap;

use super::*;
use crate::probe::{Answer, Answered, Probe};
use world::{World, healthy, target};

/// Checks `world`; each answer took 7 ms.
fn check(target: &Target, wanted: &Wanted, world: &World) -> Report {
    let mut answer = |_: Stage, probes: &[Probe]| -> Vec<Answered> {
        let known = |probe| world.get(probe).cloned().unwrap_or_else(|| Answer::unavailable("unknown"));
        probes.iter().map(|probe| Answered { answer: known(probe), ms: 7 }).collect()
    };
    run(target, wanted, &mut answer, &mut |_| false)
}

fn all_pairs() -> impl Iterator<Item = &'static pairs::Pair> {
    pairs::PAIRS.iter().chain(site::PAIRS).chain(scan::PAIRS).chain(suite::PAIRS)
}

fn verdicts(report: &Report) -> BTreeMap<String, Verdict> {
    let checks = report.stages.iter().flat_map(|stage| &stage.checks);
    checks.map(|check| (check.id.clone(), check.verdict)).collect()
}

#[test]
fn a_healthy_machine_is_healthy() {
    let target = target();
    let report = check(&target, &Wanted::default(), &healthy(&target));
    for check in report.stages.iter().flat_map(|stage| &stage.checks) {
        assert_eq!(check.verdict, Verdict::Healthy, "{check:?}");
        assert!(!check.expected.is_empty() && !check.observed.is_empty(), "{check:?}");
        assert_eq!(check.ms, 7);
    }
    assert!(report.healthy);
    assert_eq!((report.exit_status(false), report.exit_status(true)), (0, 0));
    assert_eq!(report.stages.iter().map(|stage| stage.stage).collect::<Vec<_>>(), Stage::ALL);
}

#[test]
fn every_check_turns_alone_when_its_answer_breaks() {
    let target = target();
    let before = verdicts(&check(&target, &Wanted::default(), &healthy(&target)));
    for (id, verdict, spoil) in all_pairs() {
        let mut world = healthy(&target);
        spoil(&mut world);
        let after = verdicts(&check(&target, &Wanted::default(), &world));
        let turned: Vec<_> = after.iter().filter(|(id, verdict)| before.get(*id) != Some(verdict)).collect();
        assert_eq!(turned, [(&(*id).to_owned(), verdict)], "{id}");
    }
}

#[test]
fn no_check_is_without_a_broken_answer() {
    let target = target();
    let ids = verdicts(&check(&target, &Wanted::default(), &healthy(&target)));
    let unbroken: Vec<&String> = ids
        .keys()
        .filter(|id| !all_pairs().any(|(broken, verdict, _)| broken == id && *verdict > Verdict::Healthy))
        .collect();
    assert_eq!(unbroken, Vec::<&String>::new());
    // Every record of the table has a subject in the sample.
    for record in Stage::ALL.iter().flat_map(|stage| checks(*stage)) {
        assert!(ids.keys().any(|id| id == record.id || id.starts_with(&format!("{}.", record.id))), "{}", record.id);
    }
}

#[test]
fn what_a_start_adds_to_the_command_line_is_accepted() {
    let target = target();
    for extra in ["BOOT_IMAGE=/vmlinuz", "initrd=/initrd.img", "console=tty0", "rave.break"] {
        let mut world = healthy(&target);
        for answer in world.values_mut() {
            if let Answer::CommandLine { line } = answer {
                *line = format!("{extra} {line}");
            }
        }
        let after = verdicts(&check(&target, &Wanted::default(), &world));
        assert_eq!(after["security.cmdline"], Verdict::Healthy, "{extra}");
    }
}

#[test]
fn silence_is_never_healthy() {
    let target = target();
    let silent = run(&target, &Wanted::default(), &mut |_, _| Vec::new(), &mut |_| false);
    assert!(!silent.healthy);
    assert_eq!((silent.exit_status(false), silent.exit_status(true)), (2, 2));
    assert!(silent.stages.iter().all(|stage| stage.verdict == Verdict::Skipped));
    let unreachable = |_: Stage, probes: &[Probe]| -> Vec<Answered> {
        let answer = Answer::Unreachable { reason: "connection refused".to_owned() };
        probes.iter().map(|_| Answered { answer: answer.clone(), ms: 0 }).collect()
    };
    let report = run(&target, &Wanted::default(), &mut { unreachable }, &mut |_| false);
    assert_eq!(report.stages[0].verdict, Verdict::Unhealthy);
    assert!(verdicts(&report).values().all(|verdict| *verdict > Verdict::Warning));
    assert_eq!(report.exit_status(false), 1);
}

#[test]
fn one_missing_answer_makes_only_its_checks_skipped() {
    let target = target();
    let mut world = healthy(&target);
    world.remove(&Probe::Journal { seconds: None });
    let report = check(&target, &Wanted::default(), &world);
    let skipped: Vec<_> = verdicts(&report).into_iter().filter(|(_, verdict)| *verdict == Verdict::Skipped).collect();
    assert_eq!(skipped, [("services.journal".to_owned(), Verdict::Skipped)]);
    assert_eq!((report.healthy, report.exit_status(false)), (false, 2));
}

#[test]
fn an_answer_to_another_question_is_never_healthy() {
    let target = target();
    let other =
        [Answer::SystemState { state: "running".to_owned(), jobs: 0 }, Answer::CommandLine { line: String::new() }];
    for stranger in other {
        let world: World = healthy(&target)
            .into_iter()
            .map(|(probe, answer)| {
                let same = std::mem::discriminant(&answer) == std::mem::discriminant(&stranger);
                (probe, if same { Answer::unavailable("") } else { stranger.clone() })
            })
            .collect();
        for (id, verdict) in verdicts(&check(&target, &Wanted::default(), &world)) {
            assert!(verdict > Verdict::Warning, "{id}");
        }
    }
}

#[test]
fn an_image_takes_part_in_the_stages_it_names() {
    let mut target = target();
    let world = healthy(&target);
    target.expect.https.clear();
    target.expect.stages.clear();
    target.expect.probes.clear();
    let report = check(&target, &Wanted::default(), &world);
    let verdict = |report: &Report, stage: Stage| report.stages.iter().find(|s| s.stage == stage).map(|s| s.verdict);
    assert_eq!(verdict(&report, Stage::Https), Some(Verdict::NotApplicable));
    assert_eq!(verdict(&report, Stage::Monitoring), Some(Verdict::NotApplicable));
    assert!(report.healthy);
    // A module's probe is enough to take part.
    target.expect.ssh = None;
    assert_eq!(verdict(&check(&target, &Wanted::default(), &world), Stage::Ssh), Some(Verdict::NotApplicable));
    let probe = world::target().expect.probes.into_iter().find(|probe| probe.stage == "ssh").unwrap();
    target.expect.probes.push(probe);
    assert!(verdicts(&check(&target, &Wanted::default(), &world)).contains_key("ssh.nftables.ssh"));
    target.expect.probes.clear();
    // A stage without anything to ask cannot pass.
    target.expect.stages.insert("https".to_owned());
    let report = check(&target, &Wanted::default(), &world);
    assert_eq!((verdict(&report, Stage::Https), report.healthy), (Some(Verdict::Skipped), false));
    // A probe for a stage that does not exist is asked all the same.
    target.expect.stages.clear();
    let stray = crate::system::ModuleProbe { stage: "htps".to_owned(), ..world::target().expect.probes[0].clone() };
    target.expect.probes.push(stray);
    assert!(verdicts(&check(&target, &Wanted::default(), &world)).contains_key("services.nftables.ssh"));
}

#[test]
fn what_a_module_has_no_use_for_is_not_asked_and_says_why() {
    let mut target = target();
    let probe = target.expect.probes.iter_mut().find(|probe| probe.id == "alertmanager.delivery").unwrap();
    probe.inapplicable = Some("no receiver is configured".to_owned());
    let wanted = Wanted::default();
    assert!(!wanted.probes(Stage::Monitoring, &target).iter().any(|probe| matches!(probe, Probe::Alert { .. })));
    let report = check(&target, &wanted, &healthy(&target));
    assert_eq!(left_out(&report), [("no receiver is configured", vec!["monitoring.alertmanager.delivery"])]);
    assert!(report.healthy);
}

#[test]
fn a_site_that_is_gone_or_speaks_something_else_is_seen_once() {
    let target = target();
    let gone = [Answer::Unreachable { reason: "refused".to_owned() }, Answer::Silence { reason: "no TLS".to_owned() }];
    for answer in gone {
        let mut world = healthy(&target);
        let tls = world.iter_mut().find(|(probe, _)| matches!(probe, Probe::Tls { .. }));
        *tls.unwrap().1 = answer;
        let report = check(&target, &Wanted { stages: [Stage::Https].into(), ..Wanted::default() }, &world);
        let of = |wanted| verdicts(&report).into_iter().filter(move |(_, v)| *v == wanted).map(|(id, _)| id);
        assert_eq!(of(Verdict::Unhealthy).collect::<Vec<_>>(), ["https.tls.version.web"]);
        let others = ["https.certificate.", "https.http2."];
        assert!(of(Verdict::Skipped).all(|id| others.iter().any(|other| id.starts_with(other))));
    }
}

proptest::proptest! {
    #[test]
    fn no_certificate_makes_a_judge_fail(at in 0_usize..396, byte: u8) {
        use base64::Engine as _;
        let base64 = base64::prelude::BASE64_STANDARD;
        let mut der = base64.decode(certificates::SERVER).unwrap();
        der[at] = byte;
        let damaged = base64.encode(&der);
        let target = target();
        let mut world = healthy(&target);
        for answer in world.values_mut() {
            if let Answer::Tls(report) = answer {
                report.chain[0].clone_from(&damaged);
            }
        }
        let wanted = Wanted { only: vec!["https.certificate".to_owned()], ..Wanted::default() };
        let after = verdicts(&check(&target, &wanted, &world));
        // Every bit of it is signed.
        let good = damaged == certificates::SERVER;
        proptest::prop_assert_eq!(after["https.certificate.chain.web"] == Verdict::Healthy, good);
    }
}

/// Probes are answered in their order, and what the burst uses up others need.
#[test]
fn the_burst_comes_after_all_that_is_asked_from_outside() {
    let target = target();
    let probes: std::collections::BTreeSet<Probe> =
        ask(Stage::Https, &target).into_iter().flat_map(|question| question.probes).collect();
    let outside: Vec<&Probe> = probes.iter().filter(|probe| probe.side() == crate::probe::Side::Outside).collect();
    assert!(outside.len() > 10 && matches!(outside.last(), Some(Probe::Burst { .. })), "{outside:?}");
    assert_eq!(checks(Stage::Https).last().map(|check| check.id), Some("https.burst"));
}

#[test]
fn certificates_and_numbers_that_are_none_break_nothing() {
    let target = target();
    for text in ["", "!", "AAAA", "MIIBijCC", &certificates::SERVER[..100]] {
        let mut world = healthy(&target);
        for answer in world.values_mut() {
            match answer {
                Answer::Tls(report) => report.chain = vec![text.to_owned()],
                Answer::Clock { unix_seconds, .. } => *unix_seconds = i64::MIN,
                _ => {}
            }
        }
        let after = verdicts(&check(&target, &Wanted::default(), &world));
        for name in ["chain", "current", "names", "dates"] {
            assert_eq!(after[&format!("https.certificate.{name}.web")], Verdict::Unhealthy, "{text} {name}");
        }
    }
}

#[test]
fn what_one_option_sets_names_it() {
    let target = target();
    let report = check(&target, &Wanted::default(), &healthy(&target));
    for (id, option) in [
        ("resources.memory.size", "machine.memory"),
        ("resources.processors", "machine.vcpus"),
        ("resources.usage.ssh.service", "services.ssh.memory"),
        ("security.bans", "services.bans.tries"),
    ] {
        let found = report.stages.iter().flat_map(|stage| &stage.checks).find(|check| check.id == id).unwrap();
        assert_eq!(found.option.as_deref(), Some(option), "{id}");
    }
}

/// The check of that id, after `change` of each answer of a healthy machine.
fn found(id: &str, change: impl Fn(&mut Answer)) -> CheckReport {
    let target = target();
    let mut world = healthy(&target);
    world.values_mut().for_each(change);
    let report = check(&target, &Wanted::default(), &world);
    report.stages.into_iter().flat_map(|stage| stage.checks).find(|check| check.id == id).unwrap()
}

#[test]
fn what_many_options_ask_for_is_told_with_each_of_them() {
    for (id, expected) in [
        ("security.scan.tcp4", "open: tcp/22 (services.ssh.port); all others silent"),
        ("security.scan.udp6", "open: none but udp/68 (network.dhcp); all others silent"),
        ("security.set-id", "no set-id program besides: /usr/bin/sudo (services.ssh.enable)"),
        (
            "security.sockets",
            "open: tcp/22 (services.ssh.port), udp/68 (network.dhcp); local: tcp/9090 (services.prometheus.port)",
        ),
    ] {
        let found = found(id, |_| {});
        assert_eq!((found.expected.as_str(), found.option), (expected, None), "{id}");
    }
}

#[test]
fn what_is_missing_names_the_option_that_asked_for_it() {
    let spoilt = |id: &str| {
        found(id, |answer| match answer {
            Answer::Sockets { sockets } => sockets.retain(|socket| socket.port != 9090),
            Answer::Ports(ports) => ports.open.clear(),
            Answer::CommandLine { line } => *line = line.replace("init_on_alloc=1", ""),
            _ => {}
        })
    };
    for (id, option) in [
        ("security.sockets", "services.prometheus.port"),
        ("security.scan.tcp4", "services.ssh.port"),
        ("security.cmdline", "kernel.wipe"),
    ] {
        let found = spoilt(id);
        assert_eq!((found.verdict, found.option.as_deref()), (Verdict::Unhealthy, Some(option)), "{id}");
    }
}

#[test]
fn a_key_that_the_build_let_pass_is_none() {
    let with = |path: &'static str| {
        let change = move |answer: &mut Answer| {
            if let Answer::Scan(scan) = answer {
                scan.keys.insert(path.to_owned(), "RSA PRIVATE KEY".to_owned());
            }
        };
        found("security.keys", change).verdict
    };
    assert_eq!(with("/usr/lib/x86_64-linux-gnu/libx.pem"), Verdict::Healthy);
    assert_eq!(with("/usr/lib/liby.pem"), Verdict::Unhealthy);
}

#[test]
fn a_number_of_tries_that_no_option_is_named_for_is_of_ssh() {
    let mut target = target();
    target.expect.ssh.as_mut().unwrap().bans.as_mut().unwrap().option = None;
    let asked = ask(Stage::Security, &target);
    let bans = asked.iter().find(|question| question.id == "security.bans").unwrap();
    assert_eq!(bans.option.as_ref().unwrap().as_str(), "services.ssh.enable");
}

#[test]
fn the_user_may_ask_for_a_part() {
    let target = target();
    let world = healthy(&target);
    let wanted =
        Wanted { stages: [Stage::Security].into(), only: vec!["security.sysctl".to_owned()], ..Wanted::default() };
    let report = check(&target, &wanted, &world);
    assert_eq!(verdicts(&report).into_keys().collect::<Vec<_>>(), ["security.sysctl.kernel.sysrq"]);
    assert_eq!((report.healthy, report.stages.len()), (true, 6));
    let wanted = Wanted { only: vec!["security.sys".to_owned(), "ssh".to_owned()], ..Wanted::default() };
    assert_eq!(wanted.unknown(&target), ["security.sys"]);
    // Asking for nothing that exists proves nothing.
    let wanted = Wanted { only: vec!["nonsense".to_owned()], ..Wanted::default() };
    let report = check(&target, &wanted, &world);
    assert_eq!((report.healthy, report.exit_status(false)), (false, 2));
}

#[test]
fn what_is_left_out_is_reported_and_neither_passes_nor_fails() {
    let target = target();
    let mut world = healthy(&target);
    world.insert(Probe::Journal { seconds: None }, Answer::unavailable("broken"));
    let skip = |ids: &[&str]| Wanted { skip: ids.iter().map(|id| (*id).to_owned()).collect(), ..Wanted::default() };
    let wanted = skip(&["services.journal", "security.root"]);
    let mut asked = BTreeMap::new();
    let mut answer = |stage: Stage, probes: &[Probe]| -> Vec<Answered> {
        asked.insert(stage, probes.to_vec());
        probes.iter().map(|probe| Answered { answer: world[probe].clone(), ms: 1 }).collect()
    };
    let report = run(&target, &wanted, &mut answer, &mut |_| false);
    let expected = vec!["services.journal", "security.root.read-only", "security.root.verity"];
    assert_eq!(left_out(&report), [("left out on request", expected)]);
    assert_eq!((report.healthy, report.exit_status(true)), (true, 0));
    assert_eq!(report.stages[2].verdict, Verdict::Healthy);
    let left_out = report.stages[2].checks.iter().find(|check| check.id == "services.journal").unwrap();
    assert_eq!((left_out.verdict, left_out.observed.as_str()), (Verdict::NotApplicable, "left out on request"));
    for stage in Stage::ALL {
        assert_eq!(asked[&stage], wanted.probes(stage, &target));
        assert!(asked[&stage].iter().all(|probe| !matches!(probe, Probe::Journal { .. }) && *probe != Probe::Verity));
    }
    // Without anything that was judged, nothing is healthy.
    let stages: Vec<&str> = Stage::ALL.iter().map(|stage| stage.name()).collect();
    let report = check(&target, &skip(&stages), &world);
    assert_eq!((report.healthy, report.exit_status(false)), (false, 2));
    assert_eq!(left_out_of(&report), verdicts(&report).len());
    assert_eq!(skip(&["services.jornal"]).unknown(&target), ["services.jornal"]);
}

fn left_out_of(report: &Report) -> usize {
    let count: usize = left_out(report).iter().map(|(_, ids)| ids.len()).sum();
    assert_eq!(junit(report, false).matches("<skipped ").count(), count);
    assert!(markdown(report).contains("Not judged (left out on request): ssh.port"));
    count
}

#[test]
fn a_warning_is_healthy_unless_strict() {
    let target = target();
    let mut world = healthy(&target);
    let (_, _, spoil) = pairs::PAIRS.iter().find(|(_, verdict, _)| *verdict == Verdict::Warning).unwrap();
    spoil(&mut world);
    let report = check(&target, &Wanted::default(), &world);
    assert_eq!((report.healthy, report.exit_status(false), report.exit_status(true)), (true, 0, 1));
}

#[test]
fn a_service_that_its_socket_starts_need_not_run() {
    let target = target();
    let mut world = healthy(&target);
    pairs::waiting(&mut world, "success", "active");
    assert_eq!(verdicts(&check(&target, &Wanted::default(), &world))["services.unit.ssh.service"], Verdict::Healthy);
    for (socket, expected) in [("active", Verdict::Healthy), ("inactive", Verdict::Unhealthy)] {
        let mut world = healthy(&target);
        pairs::untold(&mut world, socket);
        let told = verdicts(&check(&target, &Wanted::default(), &world));
        assert_eq!(told["services.unit.ssh.service"], expected);
        // What does not run uses nothing, and whoever runs it sets its limits.
        let unused = if socket == "active" { Verdict::NotApplicable } else { Verdict::Skipped };
        for id in ["resources.limit.ssh.service.MemoryMax", "resources.usage.ssh.service"] {
            assert_eq!(told[id], unused, "{id}");
        }
    }
}

#[test]
fn equal_probes_are_put_to_the_machine_once() {
    let target = target();
    let mut answer = |_: Stage, probes: &[Probe]| -> Vec<Answered> {
        assert!(probes.windows(2).all(|pair| pair[0] < pair[1]), "{probes:?}");
        Vec::new()
    };
    run(&target, &Wanted::default(), &mut answer, &mut |_| false);
}

#[test]
fn what_a_machine_says_is_bounded_and_cannot_drive_a_terminal() {
    let target = target();
    let mut world = healthy(&target);
    world.insert(
        Probe::SystemState,
        Answer::SystemState { state: format!("\u{1b}[2J{}", "x".repeat(100_000)), jobs: 0 },
    );
    let wanted = Wanted { only: vec!["services.system".to_owned()], ..Wanted::default() };
    let report = check(&target, &wanted, &world);
    let observed = &report.stages[2].checks[0].observed;
    assert!(observed.starts_with("\u{fffd}[2Jx") && observed.ends_with('…') && observed.len() < 3000);
}

#[test]
fn waiting_ends_when_nothing_more_starts() {
    let state = |state: &str| progress(&Answer::SystemState { state: state.to_owned(), jobs: 3 });
    assert_eq!(state("starting"), Progress::Waiting("the system is starting, 3 jobs to do".to_owned()));
    assert_eq!(
        (state("running"), state("degraded"), state("maintenance")),
        (Progress::Done, Progress::Done, Progress::Done)
    );
    assert_eq!(progress(&Answer::unavailable("no agent")), Progress::Waiting("no agent".to_owned()));
}

#[test]
fn probes_and_answers_survive_json() {
    for (probe, answer) in healthy(&target()) {
        let text = serde_json::to_string(&probe).unwrap();
        assert_eq!(serde_json::from_str::<Probe>(&text).unwrap(), probe);
        let text = serde_json::to_string(&answer).unwrap();
        assert_eq!(serde_json::from_str::<Answer>(&text).unwrap(), answer);
    }
    assert!(serde_json::from_str::<Probe>(r#"{"ask":"sysctls","names":[],"extra":1}"#).is_err());
    assert!(serde_json::from_str::<Probe>(r#"{"ask":"write","directory":"/etc/../usr"}"#).is_err());
}
