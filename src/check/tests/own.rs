//! A machine that looks at itself.

use super::*;

/// What it is held against, and what it asks.
fn own() -> (Target, Wanted) {
    let Target { image, version, mode, cmdline, expect, .. } = target();
    let baseline = crate::system::Baseline { image, version, mode, cmdline, expect, versions: BTreeMap::new() };
    let stages = [Stage::Services, Stage::Monitoring, Stage::Resources, Stage::Security].into();
    (Target::of_itself(&baseline, 900), Wanted { stages, inside: true, ..Wanted::default() })
}

#[test]
fn a_machine_that_looks_at_itself_claims_nothing_that_only_others_know() {
    let (own, wanted) = own();
    let report = check(&own, &wanted, &healthy(&own));
    let unknown = [
        "monitoring.alertmanager.delivery",
        "resources.memory.size",
        "resources.processors",
        "security.bans",
        "security.keys",
        "security.passwords",
        "security.scan.tcp4",
        "security.scan.tcp6",
        "security.scan.udp4",
        "security.scan.udp6",
        "security.set-id",
        "services.clock",
    ];
    let mut left: Vec<&str> = left_out(&report).into_iter().flat_map(|(_, ids)| ids).collect();
    left.sort_unstable();
    assert_eq!(left, unknown);
    let asked: Vec<Stage> =
        report.stages.iter().filter(|s| s.verdict != Verdict::NotApplicable).map(|s| s.stage).collect();
    assert_eq!(asked, wanted.stages.iter().copied().collect::<Vec<_>>());
    assert!(report.healthy, "{report:?}");
    let probes: Vec<Probe> = Stage::ALL.into_iter().flat_map(|stage| wanted.probes(stage, &own)).collect();
    assert!(probes.iter().all(|probe| probe.side() == crate::probe::Side::Inside && *probe != Probe::Scan));
    assert!(probes.contains(&Probe::Journal { seconds: Some(900) }));
    // It does not know the root hash, but that the device is verified and that it was told one.
    let spoilt = |change: &dyn Fn(&mut Answer)| {
        let mut world = healthy(&own);
        world.values_mut().for_each(change);
        verdicts(&check(&own, &wanted, &world))
    };
    let corrupt = spoilt(&|answer| match answer {
        Answer::Verity(verity) => verity.status = "C".to_owned(),
        Answer::CommandLine { line } => line.push_str(" roothash=0"),
        _ => {}
    });
    assert_eq!(corrupt["security.root.verity"], Verdict::Unhealthy);
    assert_eq!(corrupt["security.cmdline"], Verdict::Unhealthy);
    // A look at the end of the start is a part of it; a look from outside is not.
    let starting = |target: &Target, wanted: &Wanted| {
        let mut world = healthy(target);
        world.insert(Probe::SystemState, Answer::SystemState { state: "starting".to_owned(), jobs: 2 });
        verdicts(&check(target, wanted, &world))["services.system"]
    };
    assert_eq!(starting(&own, &wanted), Verdict::NotApplicable);
    assert_eq!(starting(&target(), &Wanted::default()), Verdict::Unhealthy);
}
