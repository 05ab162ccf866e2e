use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use super::*;
use crate::check::{CheckReport, Report, Verdict};
use crate::probe::Ended;
use crate::secrets::generate;
use crate::system::{ModuleProbe, Query};

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 24 * 60 * 60;

/// What auditctl prints.
const STATUS: &str = "enabled 2\nfailure 1\npid 311\nrate_limit 0\nbacklog_limit 8192\nlost 3\nbacklog 4\n\
                      backlog_wait_time 60000\nbacklog_wait_time_actual 0\nloginuid_immutable 0 unlocked\n";

/// What nft prints.
const RULES: &str = "table inet rave {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\
    \t\tiif \"lo\" accept\n\t\ttcp dport 22 counter packets 7 bytes 420 accept comment \"ssh\"\n\
    \t\tcounter packets 12 bytes 1 comment \"refused\"\n\t\tcounter packets 5 bytes 1\n\
    \t\tcounter packets x bytes 1 comment \"no number\"\n\t}\n}\n";

fn check(id: &str, verdict: Verdict) -> CheckReport {
    CheckReport {
        id: id.to_owned(),
        verdict,
        expected: "good".to_owned(),
        observed: "bad".to_owned(),
        option: None,
        evidence: String::new(),
        ms: 1,
    }
}

fn report(checks: Vec<CheckReport>) -> Report {
    let stages = Stage::ALL.map(|stage| match stage {
        Stage::Services => StageReport::new(stage, checks.clone()),
        Stage::Security => StageReport::new(stage, vec![check("security.sockets", Verdict::Healthy)]),
        _ => StageReport::not_applicable(stage),
    });
    Report::new(stages.into())
}

fn outcome(checks: Vec<CheckReport>, certificates: &[(&str, Option<u64>)]) -> Outcome {
    let certificates = certificates.iter().map(|(path, end)| Certificate { path: (*path).to_owned(), end: *end });
    let failed = vec!["a\"b.service".to_owned()];
    let kernel = Kernel { audit: Audit::read(STATUS), packets: outcome::packets(RULES).collect() };
    Outcome::new(&report(checks), certificates.collect(), failed, kernel, NOW, Duration::from_millis(1234))
}

#[test]
fn what_was_not_asked_is_wrong_and_a_warning_is_not() {
    let of = |verdict| outcome(vec![check("services.a", verdict), check("services.b", Verdict::Healthy)], &[]);
    for (verdict, healthy, wrong, told) in [
        (Verdict::Healthy, true, 0, 0),
        (Verdict::NotApplicable, true, 0, 0),
        (Verdict::Warning, true, 0, 1),
        (Verdict::Skipped, false, 1, 1),
        (Verdict::Unhealthy, false, 1, 1),
    ] {
        let outcome = of(verdict);
        assert_eq!((outcome.healthy, outcome.wrong, outcome.troubles.len()), (healthy, wrong, told), "{verdict}");
    }
}

#[test]
fn the_outcome_becomes_metrics_and_comes_back_from_json() {
    let checks = vec![check("services.a\"b", Verdict::Unhealthy), check("services.c", Verdict::Healthy)];
    let outcome = outcome(checks, &[("/c", Some(NOW + DAY))]);
    let text = outcome.metrics();
    for line in [
        "rave_health_checks{stage=\"services\",verdict=\"unhealthy\"} 1",
        "rave_health_checks{stage=\"services\",verdict=\"healthy\"} 1",
        "rave_health_checks{stage=\"security\",verdict=\"unhealthy\"} 0",
        "rave_health_check_trouble{check=\"services.a\\\"b\",verdict=\"unhealthy\"} 1",
        "rave_health_failed_units 1",
        "rave_health_unit_failed{unit=\"a\\\"b.service\"} 1",
        "rave_health_audit_lost 3",
        "rave_health_audit_backlog 4",
        "rave_health_firewall_packets{rule=\"ssh\"} 7",
        "rave_health_firewall_packets{rule=\"refused\"} 12",
        "rave_health_troubles 1",
        "rave_health_duration_seconds 1.234",
        &format!("rave_health_certificate_end_seconds{{path=\"/c\"}} {}", NOW + DAY),
        &format!("rave_health_time_seconds {NOW}"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    let json = serde_json::to_vec(&outcome).unwrap();
    assert_eq!(serde_json::from_slice::<Outcome>(&json).unwrap(), outcome);
}

#[test]
fn the_audit_record_is_told_of_where_there_is_one() {
    assert_eq!(Audit::read(STATUS), Some(Audit { lost: 3, backlog: 4 }));
    for other in ["", "lost 3\n", "lost x\nbacklog 4\n", "lost -1\nbacklog 4\n", "lost3\nbacklog 4\n"] {
        assert_eq!(Audit::read(other), None, "{other}");
    }
    let without = Outcome { kernel: Kernel::default(), ..outcome(Vec::new(), &[]) };
    assert!(!without.metrics().contains("\nrave_health_audit"), "{}", without.metrics());
}

#[test]
fn however_much_is_wrong_little_is_told() {
    let checks = (0..1000)
        .map(|at| check(&format!("services.{at}"), if at < 900 { Verdict::Warning } else { Verdict::Unhealthy }));
    let outcome = outcome(checks.collect(), &[]);
    assert_eq!((outcome.wrong, outcome.troubles.len()), (100, 50));
    assert!(outcome.troubles.iter().all(|trouble| trouble.verdict == Verdict::Unhealthy));
    assert!(outcome.metrics().lines().count() < 120);
}

fn empty() -> Baseline {
    Baseline {
        image: "test".parse().unwrap(),
        version: "1".parse().unwrap(),
        mode: crate::system::Mode::Safe,
        cmdline: Vec::new(),
        expect: crate::system::Expect::default(),
        versions: BTreeMap::new(),
    }
}

#[test]
fn all_is_asked_at_once_and_a_stage_anew_when_it_is_repeated() {
    let target = Target::of_itself(&empty(), 900);
    let wanted = Wanted { stages: STAGES.into(), inside: true, ..Wanted::default() };
    let mut lots: Vec<usize> = Vec::new();
    let failing = crate::probe::Unit { active: "failed".to_owned(), ..Default::default() };
    let mut asking = Asking::new(&target, &wanted, |probes: &[Probe]| {
        lots.push(probes.len());
        let units = || ["x.service", OWN].map(|name| (name.to_owned(), failing.clone())).into();
        let answer = |probe: &Probe| match probe {
            Probe::Units { .. } => Answer::Units { units: units() },
            _ => Answer::unavailable("no"),
        };
        probes.iter().map(|probe| Answered { answer: answer(probe), ms: 0 }).collect()
    });
    let probes = wanted.probes(Stage::Security, &target);
    for _ in 0..2 {
        assert_eq!(asking.answer(Stage::Security, &probes).len(), probes.len());
    }
    assert_eq!(asking.answer(Stage::Services, &[Probe::HostClock])[0].answer, Answer::unavailable("no answer"));
    assert_eq!(asking.failed(), ["x.service"]);
    assert_eq!(asking.audit(), None);
    let ended = Ended { code: Some(0), stdout: STATUS.to_owned(), stderr: String::new() };
    let probe = Probe::Run { command: ["/usr/sbin/auditctl", "-s"].map(str::to_owned).into() };
    asking.known.insert(probe, Answered { answer: Answer::Run(ended), ms: 0 });
    assert_eq!(asking.audit(), Some(Audit { lost: 3, backlog: 4 }));
    assert_eq!(asking.packets(), BTreeMap::new());
    let ended = Ended { code: Some(0), stdout: RULES.to_owned(), stderr: String::new() };
    let probe = Probe::Run { command: ["/usr/sbin/nft", "list", "table"].map(str::to_owned).into() };
    asking.known.insert(probe, Answered { answer: Answer::Run(ended), ms: 0 });
    assert_eq!(asking.packets(), [("refused".to_owned(), 12), ("ssh".to_owned(), 7)].into());
    assert!(lots.len() == 2 && lots[0] > probes.len() && lots[1] == probes.len(), "{lots:?}");
}

#[test]
fn what_answers_late_is_asked_again_before_it_is_news() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let query = Query::Http {
        url: format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap(),
        status: 200,
        headers: BTreeMap::new(),
        contains: None,
    };
    let mut baseline = empty();
    let id = "late".to_owned();
    let option = "services.late".parse().unwrap();
    baseline.expect.probes.push(ModuleProbe { stage: "monitoring".to_owned(), id, query, inapplicable: None, option });
    let path = folder.path().join("check.json");
    disk::write(&path, &serde_json::to_vec(&baseline).unwrap(), 0o644).unwrap();
    let others = [Stage::Services, Stage::Resources, Stage::Security].map(|stage| stage.name().to_owned());
    let settings = Settings { baseline: path, skip: others.into(), ..Settings::default() };
    let serving = std::thread::spawn(move || {
        for status in [503, 200, 503, 503] {
            let mut stream = listener.accept().unwrap().0;
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).unwrap() > 0);
            stream.write_all(format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n").as_bytes()).unwrap();
        }
    });
    let wrong = |outcome: Outcome| outcome.troubles.into_iter().map(|trouble| trouble.id).collect::<Vec<_>>();
    assert_eq!(wrong(look(&settings, SystemTime::now()).unwrap()), Vec::<String>::new());
    // What runs this test may be young, too; then it asks more often.
    if !settle::is_young() {
        assert_eq!(wrong(look(&settings, SystemTime::now()).unwrap()), ["monitoring.late"]);
        serving.join().unwrap();
    }
}

#[test]
fn a_look_leaves_its_outcome_and_says_what_it_cannot_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut baseline = empty();
    let none = "/none/of/this.pem";
    baseline.expect.certificates.insert(none.parse().unwrap(), "services.a".parse().unwrap());
    disk::write(path("check.json"), &serde_json::to_vec(&baseline).unwrap(), 0o644).unwrap();
    disk::write(path("wrong.json"), b"-----BEGIN CERTIFICATE-----\n", 0o644).unwrap();
    let settings = Settings {
        baseline: path("check.json"),
        // What this test runs on is no machine of this image.
        skip: ["monitoring", "resources", "security", "services.failures", "services.journal", "services.system"]
            .map(str::to_owned)
            .into(),
        metrics: vec![folder.path().to_owned()],
        report: Some(path("report.json")),
    };
    let outcome = look(&settings, SystemTime::now()).unwrap();
    assert!(!outcome.healthy && outcome.stages.len() == 6);
    assert_eq!(last(&path("report.json")).unwrap(), outcome);
    assert_eq!(disk::read_to_string(path("health.prom")).unwrap(), outcome.metrics());
    assert_eq!(outcome.certificates, [Certificate { path: none.to_owned(), end: None }]);
    let told: Vec<&str> = outcome.troubles.iter().map(|trouble| trouble.id.as_str()).collect();
    assert_eq!(told, [format!("services.certificate.{none}")]);
    let missing = Settings { baseline: path("missing"), ..settings.clone() };
    assert!(matches!(look(&missing, SystemTime::now()), Err(Error::Disk(_))));
    let wrong = Settings { baseline: path("wrong.json"), ..settings };
    assert!(matches!(look(&wrong, SystemTime::now()), Err(Error::Form(..))));
}

#[test]
fn certificates_end_when_the_first_of_a_chain_does() {
    let mut baseline = empty();
    for name in ["/bad.pem", "/good.pem", "/none.pem"] {
        baseline.expect.certificates.insert(name.parse().unwrap(), "services.a".parse().unwrap());
    }
    let pair = generate::authority("test", SystemTime::now()).unwrap();
    let good: String = pair.certificate.lines().filter(|line| !line.starts_with('-')).collect();
    let answer = |probe: &Probe| match probe {
        Probe::Certificate { path } if path.as_str() == "/good.pem" => {
            Answer::Certificate { chain: vec![good.clone()] }
        }
        Probe::Certificate { path } if path.as_str() == "/bad.pem" => {
            Answer::Certificate { chain: vec!["AAAA".to_owned()] }
        }
        _ => Answer::unavailable("no such file"),
    };
    let answers = |probes: &[Probe]| probes.iter().map(|probe| Answered { answer: answer(probe), ms: 0 }).collect();
    let wanted = Wanted { stages: [Stage::Services].into(), inside: true, ..Wanted::default() };
    let ends = Asking::new(&Target::of_itself(&baseline, JOURNAL), &wanted, answers).certificates();
    let [None, Some(end), None] = ends.iter().map(|certificate| certificate.end).collect::<Vec<_>>()[..] else {
        panic!("{ends:?}")
    };
    assert!((3640..3660).contains(&((end - seconds(SystemTime::now())) / DAY)), "{ends:?}");
}
