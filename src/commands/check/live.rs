//! What is seen of a check while it runs: a row for each stage that has questions.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::check::{self, Stage, StageReport};
use crate::event::{Amount, Report, Work};
use crate::probe::{Answered, Probe};

/// The rows of the stages that are not judged yet, each with how many answers it has of those that it needs.
pub struct Table<'a> {
    rows: RefCell<BTreeMap<Stage, Row<'a>>>,
}

struct Row<'a> {
    work: Work<'a>,
    probes: Vec<Probe>,
}

impl<'a> Table<'a> {
    /// Shows all rows, for all is asked at once.
    pub fn new(report: &'a dyn Report, stages: impl IntoIterator<Item = (Stage, Vec<Probe>)>) -> Self {
        let row = |(stage, probes): (Stage, Vec<Probe>)| {
            let total = Some(Amount::Items(probes.len() as u64));
            (!probes.is_empty())
                .then(|| (stage, Row { work: Work::start(report, "check", stage.to_string(), total), probes }))
        };
        Self { rows: RefCell::new(stages.into_iter().filter_map(row).collect()) }
    }

    /// Counts the answers that are there.
    pub fn answered(&self, known: &BTreeMap<Probe, Answered>) {
        for row in self.rows.borrow().values() {
            row.work.progress(row.probes.iter().filter(|probe| known.contains_key(*probe)).count() as u64);
        }
    }

    /// Ends the row of a stage with its verdicts.
    pub fn judged(&self, report: &StageReport) {
        if let Some(row) = self.rows.borrow_mut().remove(&report.stage) {
            row.work.finish(check::stage_row(report).checks);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::event::Event;

    struct Lines(Mutex<Vec<String>>);

    impl Report for Lines {
        fn event(&self, event: Event) {
            let line = match event {
                Event::Started { subject, total, .. } => format!("{subject} {total:?}"),
                Event::Progress { done, .. } => done.to_string(),
                Event::Finished { outcome, .. } => outcome,
                other => format!("{other:?}"),
            };
            self.0.lock().unwrap().push(line);
        }
    }

    #[test]
    fn stages_are_seen_from_the_first_question_to_their_verdict() {
        let lines = Lines(Mutex::default());
        let stages = [
            (Stage::Ssh, vec![Probe::Clock, Probe::Resources]),
            (Stage::Https, Vec::new()),
            (Stage::Services, vec![Probe::SystemState]),
        ];
        let table = Table::new(&lines, stages);
        table.answered(&[(Probe::Clock, Answered::unavailable("late"))].into());
        table.judged(&StageReport::not_applicable(Stage::Https));
        table.judged(&StageReport::new(Stage::Ssh, Vec::new()));
        table.answered(&BTreeMap::new());
        let last = table.rows.borrow().keys().copied().collect::<Vec<_>>();
        assert_eq!(last, [Stage::Services]);
        let seen = lines.0.lock().unwrap();
        assert_eq!(seen[..4], ["ssh Some(Items(2))", "services Some(Items(1))", "1", "0"]);
        assert_eq!(seen[5..], ["0"], "{seen:?}");
    }
}
