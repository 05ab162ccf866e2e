//! What to ask a machine in each stage.

use super::table::Check;
use super::{Stage, Target, https, module, resources, security, services, ssh};
use crate::name::OptionPath;
use crate::probe::Probe;

/// One question to the machine: a check and the subject it is asked about.
#[derive(Clone)]
pub struct Question {
    /// The check that asks.
    pub check: &'static Check,
    /// Id of the check with the subject.
    pub id: String,
    /// The subject.
    pub subject: String,
    /// The option that asked for it.
    pub option: Option<OptionPath>,
    /// What has to be known.
    pub probes: Vec<Probe>,
}

/// The checks of a stage, in the order of their reports.
pub fn checks(stage: Stage) -> &'static [Check] {
    match stage {
        Stage::Ssh => &ssh::CHECKS,
        Stage::Https => &https::CHECKS,
        Stage::Services => &services::CHECKS,
        Stage::Monitoring => &module::MONITORING,
        Stage::Resources => &resources::CHECKS,
        Stage::Security => &security::CHECKS,
    }
}

/// Whether an image takes part in a stage.
pub fn applies(stage: Stage, target: &Target) -> bool {
    match stage {
        Stage::Ssh | Stage::Https | Stage::Monitoring => {
            (stage == Stage::Ssh && target.expect.ssh.is_some())
                || (stage == Stage::Https && !target.expect.https.is_empty())
                || target.expect.stages.contains(stage.name())
                || target.expect.probes.iter().any(|probe| probe.stage == stage.name())
        }
        Stage::Services | Stage::Resources | Stage::Security => true,
    }
}

/// All questions of a stage; none if the image does not take part in it.
pub fn ask(stage: Stage, target: &Target) -> Vec<Question> {
    if !applies(stage, target) {
        return Vec::new();
    }
    let questions = checks(stage).iter().flat_map(|check| {
        (check.ask)(target).into_iter().map(move |subject| Question {
            check,
            id: if subject.name.is_empty() { check.id.to_owned() } else { format!("{}.{}", check.id, subject.name) },
            subject: subject.name,
            option: subject.option,
            probes: subject.probes,
        })
    });
    questions.collect()
}

impl Question {
    /// Whether `only`, an id or the beginning of one up to a dot, names this question.
    pub fn is(&self, only: &str) -> bool {
        self.id.strip_prefix(only).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}
