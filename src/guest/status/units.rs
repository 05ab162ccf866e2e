//! The units of the service manager, as it tells everybody.

use std::time::Duration;

use serde::Deserialize;

use crate::tool::Tool;

/// How long the service manager may take, and how much it may say, in bytes.
const TIME: Duration = Duration::from_secs(10);
const OUTPUT: usize = 2 << 20;

/// One loaded unit (the JSON of systemctl(1), `list-units`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Unit {
    /// Its name.
    pub unit: String,
    /// `active`, `inactive`, `failed`, `activating` ...
    pub active: String,
    /// State in words of its kind: `running`, `exited`, `waiting` ...
    pub sub: String,
    /// What it is.
    pub description: String,
}

impl Unit {
    /// Whether it is failed.
    pub fn has_failed(&self) -> bool {
        self.active == "failed"
    }
}

/// All loaded units; the error is for people.
pub fn all() -> Result<Vec<Unit>, String> {
    let tool = Tool::new("systemctl").args(["list-units", "--all", "--no-pager", "--output=json"]);
    let silent = || "the service manager does not answer".to_owned();
    let ended = tool.bounded(TIME, OUTPUT).map_err(|_| silent())?;
    if !ended.status.is_some_and(|status| status.success()) {
        return Err(silent());
    }
    parse(&ended.stdout)
}

fn parse(bytes: &[u8]) -> Result<Vec<Unit>, String> {
    serde_json::from_slice(bytes).map_err(|_| "the service manager says nothing that is understood".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemctl_writes_is_read() {
        let text = r#"[{"unit":"nginx.service","load":"loaded","active":"failed","sub":"failed","description":"nginx"},
            {"unit":"a.timer","load":"loaded","active":"active","sub":"waiting","description":"<b>"}]"#;
        let units = parse(text.as_bytes()).unwrap();
        assert_eq!((units[0].has_failed(), units[1].has_failed()), (true, false));
        assert_eq!(units[1].description, "<b>");
        for bad in ["", "{}", "[1]", r#"[{"unit":"x"}]"#, "nginx.service loaded active running"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
