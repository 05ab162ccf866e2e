//! What cloud-init says of itself (`cloud-init status --format json`), and whether that is what was to happen.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::system::Cloud;

/// How many messages are told, and how long each may be, in characters.
const MESSAGES: usize = 10;
const LENGTH: usize = 300;

/// As cloud-init 23.4 and later have it; what is not known is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Status {
    /// `done`, `error`, `running`, `disabled`, `not started`.
    pub status: String,
    /// The same with `degraded` in front if something came in the way.
    pub extended_status: String,
    /// The datasource that was found, in lower case.
    pub datasource: String,
    /// Whether cloud-init was started, and why.
    pub boot_status_code: String,
    /// The datasource in long, or why there is none.
    pub detail: String,
    /// What went wrong.
    pub errors: Vec<String>,
    /// What came in the way, by level.
    pub recoverable_errors: BTreeMap<String, Vec<String>>,
}

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// As it is to be.
    Good,
    /// To be looked at.
    Doubtful,
    /// Wrong.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Last part of its id.
    pub id: &'static str,
    /// How it is.
    pub grade: Grade,
    /// How it is to be.
    pub expected: String,
    /// How it is, and what to do about it.
    pub observed: String,
    /// Where that comes from.
    pub evidence: String,
}

impl Status {
    /// Reads what cloud-init says; nothing if that is no status.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().filter(|status: &Self| !status.status.is_empty())
    }

    /// Holds it against what a rehearsal of `cloud` is to come to.
    pub fn judge(&self, cloud: Cloud) -> [Finding; 2] {
        [self.judge_datasource(cloud), self.judge_outcome()]
    }

    fn judge_datasource(&self, cloud: Cloud) -> Finding {
        // One that brings up the network itself calls itself local.
        let found = self.datasource.strip_suffix("local").unwrap_or(&self.datasource);
        let hint = match found {
            "" if self.status == "disabled" => {
                ": cloud-init did not start, for no datasource of `cloud.datasources` was found"
            }
            "" | "none" => ": the metadata service was not found or gave no instance; the log is in /run/cloud-init",
            _ => "",
        };
        let said = if found.is_empty() { "none" } else { found };
        Finding {
            id: "datasource",
            grade: if found == cloud.name() { Grade::Good } else { Grade::Bad },
            expected: cloud.name().to_owned(),
            observed: format!("{said}{hint}"),
            evidence: [self.detail.as_str(), self.boot_status_code.as_str()].join(", "),
        }
    }

    fn judge_outcome(&self) -> Finding {
        let recoverable = self.recoverable_errors.iter();
        let told: Vec<(&str, &String)> =
            recoverable.flat_map(|(level, texts)| texts.iter().map(|text| (level.as_str(), text))).collect();
        // Something that will not be so for ever works all the same.
        let bad = told.iter().any(|(level, _)| *level != "DEPRECATED");
        let grade = if self.status != "done" || !self.errors.is_empty() || bad {
            Grade::Bad
        } else if told.is_empty() {
            Grade::Good
        } else {
            Grade::Doubtful
        };
        let errors = self.errors.iter().map(|text| format!("error: {}", short(text)));
        let others = told.iter().map(|(level, text)| format!("{}: {}", short(level), short(text)));
        let messages: Vec<String> = errors.chain(others).take(MESSAGES).collect();
        let state = if self.extended_status.is_empty() { &self.status } else { &self.extended_status };
        let observed = match messages.as_slice() {
            [] => state.clone(),
            messages => format!("{state}: {}", messages.join("; ")),
        };
        Finding {
            id: "cloud-init",
            grade,
            expected: "done without errors or warnings".to_owned(),
            observed,
            evidence: "cloud-init status --format json".to_owned(),
        }
    }
}

fn short(text: &str) -> String {
    hosts_only(text).chars().take(LENGTH).collect()
}

/// The text with nothing of an address by https but its host: who has one that was signed needs no more.
fn hosts_only(text: &str) -> String {
    let mut parts = text.split("https://");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (address, rest) =
            part.split_at(part.find(|c: char| c.is_whitespace() || "\"'<>".contains(c)).unwrap_or(part.len()));
        let end = address.find(['/', '?', '#']).unwrap_or(address.len());
        let host = address[..end].rsplit('@').next().unwrap_or_default();
        plain.push_str(&format!("https://{host}{}{rest}", if end < address.len() { "/..." } else { "" }));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str) -> Vec<(Grade, String)> {
        let status = Status::parse(text).unwrap();
        status.judge(Cloud::Ec2).into_iter().map(|finding| (finding.grade, finding.observed)).collect()
    }

    #[test]
    fn all_is_well_if_it_is_done_and_has_the_right_datasource() {
        let text = r#"{"status": "done", "extended_status": "done", "datasource": "ec2local", "errors": [],
                       "recoverable_errors": {}, "detail": "DataSourceEc2Local", "v1": {"stage": null}}"#;
        assert_eq!(judged(text), [(Grade::Good, "ec2".to_owned()), (Grade::Good, "done".to_owned())]);
    }

    #[test]
    fn no_datasource_another_one_and_errors_are_bad() {
        let text = r#"{"status": "disabled", "boot_status_code": "disabled-by-generator", "datasource": ""}"#;
        let [(first, said), (second, _)] = judged(text).try_into().unwrap();
        assert_eq!((first, second), (Grade::Bad, Grade::Bad));
        assert!(said.contains("cloud.datasources"), "{said}");
        let text = r#"{"status": "done", "datasource": "nocloud"}"#;
        assert_eq!(judged(text)[0], (Grade::Bad, "nocloud".to_owned()));
        let text =
            r#"{"status": "error", "extended_status": "error - done", "datasource": "ec2", "errors": ["runcmd"]}"#;
        assert_eq!(judged(text)[1], (Grade::Bad, "error - done: error: runcmd".to_owned()));
    }

    #[test]
    fn what_came_in_the_way_is_bad_and_what_will_go_is_doubtful() {
        let with = |level: &str| {
            let text = r#"{"status": "done", "extended_status": "degraded done", "datasource": "ec2",
                           "recoverable_errors": {"LEVEL": ["x"]}}"#;
            judged(&text.replace("LEVEL", level))[1].0
        };
        assert_eq!(["DEPRECATED", "WARNING", "ERROR"].map(with), [Grade::Doubtful, Grade::Bad, Grade::Bad]);
    }

    #[test]
    fn of_an_address_that_opens_something_the_host_is_told() {
        for (text, told) in [
            (
                "source \"https://a.example:8443/b/c?X-Signature=s3\"; falling back",
                "source \"https://a.example:8443/...\"; falling back",
            ),
            (
                "https://a.example?s=s3 and https://me:s3@b.example/s3",
                "https://a.example/... and https://b.example/...",
            ),
            ("url=https://a.example, https://", "url=https://a.example, https://"),
            ("http://169.254.169.254/openstack/latest", "http://169.254.169.254/openstack/latest"),
        ] {
            let status = Status { errors: vec![text.to_owned()], status: "error".to_owned(), ..Status::default() };
            let [_, finding] = status.judge(Cloud::Ec2);
            assert_eq!(finding.observed, format!("error: error: {told}"));
        }
    }

    #[test]
    fn what_is_no_status_is_none() {
        for text in ["", "{}", "[]", "status: done", "{\"status\": 1}"] {
            assert_eq!(Status::parse(text), None, "{text}");
        }
    }
}
