use std::collections::BTreeSet;

use super::*;

#[test]
fn only_what_is_not_well_is_asked_again() {
    let target = target();
    let (good, mut bad) = (healthy(&target), healthy(&target));
    let (id, _, spoil) = pairs::PAIRS.iter().find(|(id, ..)| id.starts_with("security.sockets")).unwrap();
    spoil(&mut bad);
    let spoilt: Vec<&Probe> =
        good.iter().filter(|(probe, answer)| bad[*probe] != **answer).map(|(probe, _)| probe).collect();
    let mut asked: Vec<(Stage, Vec<Probe>)> = Vec::new();
    let mut answer = |stage: Stage, probes: &[Probe]| -> Vec<Answered> {
        let world = if asked.iter().any(|(known, _)| *known == stage) { &good } else { &bad };
        asked.push((stage, probes.to_vec()));
        probes.iter().map(|probe| Answered { answer: world[probe].clone(), ms: 7 }).collect()
    };
    let is_well = |report: &StageReport| report.checks.iter().all(|check| check.verdict == Verdict::Healthy);
    let (mut seen, mut stages) = (Vec::new(), BTreeSet::new());
    let report = run(&target, &Wanted::default(), &mut answer, &mut |report| {
        seen.extend(
            report.checks.iter().filter(|check| check.verdict != Verdict::Healthy).map(|check| check.id.clone()),
        );
        // Once more and no further: whoever asks until all is well never ends where it is not.
        stages.insert(report.stage) && !is_well(report)
    });
    assert!(report.healthy);
    assert_eq!(seen, [*id]);
    let again: Vec<_> = asked.iter().filter(|(stage, _)| *stage == Stage::Security).skip(1).collect();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].1.iter().collect::<Vec<_>>(), spoilt);
}

#[test]
fn a_stage_runs_although_an_earlier_one_failed() {
    let target = target();
    let mut seen = Vec::new();
    let report = run(&target, &Wanted::default(), &mut |_, _| Vec::new(), &mut |stage| {
        seen.push(stage.stage);
        // Once more, and then on.
        stage.stage == Stage::Https && seen.iter().filter(|stage| **stage == Stage::Https).count() < 2
    });
    let mut expected = Stage::ALL.to_vec();
    expected.insert(2, Stage::Https);
    assert_eq!(seen, expected);
    assert_eq!(report.stages.len(), 6);
}

#[test]
fn a_receiver_of_alerts_is_told_once() {
    let target = target();
    let again = Wanted { again: true, ..Wanted::default() };
    let report = check(&target, &again, &healthy(&target));
    let left = left_out(&report).into_iter().flat_map(|(_, ids)| ids).collect::<Vec<_>>();
    assert_eq!((left, report.healthy), (vec!["monitoring.alertmanager.delivery"], true));
}
