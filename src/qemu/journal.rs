//! A machine's journal as people read it. It comes as journalctl(1) writes it with `--output=json`, an object a line,
//! and is a guest's own word: whatever is in it, it neither ends the reader nor reaches a terminal's controls.

use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};

/// Longest line that is read, in bytes; journald splits longer messages itself.
const LONGEST: usize = 1 << 20;

/// Which entries are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Of this unit, or about it; none: of any.
    pub unit: Option<String>,
    /// As urgent as this or more so, 0 to 7 (syslog(3)).
    pub priority: u8,
}

impl Wanted {
    fn is(&self, entry: &Entry) -> bool {
        let of = |unit: &String| ["_SYSTEMD_UNIT", "UNIT"].into_iter().any(|name| entry.text(name) == Some(unit));
        entry.priority() <= self.priority && self.unit.as_ref().is_none_or(of)
    }
}

/// One entry of the journal; `Display` is one line, or several of which all but the first are indented.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry(Map<String, Value>);

impl Entry {
    /// All its fields.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.0
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// What does not say has the priority of most.
    fn priority(&self) -> u8 {
        self.text("PRIORITY").and_then(|text| text.parse().ok()).unwrap_or(6)
    }

    /// Bytes that are no UTF-8 come as numbers.
    fn message(&self) -> String {
        match self.0.get("MESSAGE") {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(bytes)) => {
                let byte = |value: &Value| value.as_u64().and_then(|byte| u8::try_from(byte).ok());
                String::from_utf8_lossy(&bytes.iter().filter_map(byte).collect::<Vec<_>>()).into_owned()
            }
            _ => String::new(),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.text("__REALTIME_TIMESTAMP").and_then(|text| text.parse().ok());
        match time.and_then(|time| Timestamp::from_microsecond(time).ok()) {
            Some(time) => write!(f, "{time:.3} ")?,
            None => f.write_str("- ")?,
        }
        let who = self.text("SYSLOG_IDENTIFIER").or_else(|| self.text("_COMM")).unwrap_or("unknown");
        f.write_str(&plain(who))?;
        if let Some(pid) = self.text("_PID") {
            write!(f, "[{}]", plain(pid))?;
        }
        f.write_str(":")?;
        let message = self.message();
        for (number, line) in message.trim_end().lines().enumerate() {
            write!(f, "{}{}", if number == 0 { " " } else { "\n    " }, plain(line))?;
        }
        Ok(())
    }
}

/// Text without what a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// Takes a journal in pieces as they come.
#[derive(Debug)]
pub struct Reader {
    wanted: Wanted,
    /// A line whose end has not come yet.
    begun: Vec<u8>,
    /// Whether its beginning was too long, so that the rest of it is nothing.
    lost: bool,
}

impl Reader {
    /// Reads what is wanted.
    pub fn new(wanted: Wanted) -> Self {
        Self { wanted, begun: Vec::new(), lost: false }
    }

    /// The wanted entries that end in this piece. Lines that are no entries are left out.
    pub fn take(&mut self, piece: &[u8]) -> Vec<Entry> {
        let mut entries = Vec::new();
        for part in piece.split_inclusive(|&byte| byte == b'\n') {
            if self.begun.len() + part.len() > LONGEST {
                self.begun.clear();
                self.lost = true;
            }
            if !self.lost {
                self.begun.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                if let Ok(Value::Object(fields)) = serde_json::from_slice(&self.begun) {
                    entries.extend(Some(Entry(fields)).filter(|entry| self.wanted.is(entry)));
                }
                self.begun.clear();
                self.lost = false;
            }
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Reader {
        Reader::new(Wanted { unit: None, priority: 7 })
    }

    /// As journalctl of systemd 257 writes it, but for most of the fields.
    const LINES: &str = concat!(
        r#"{"__REALTIME_TIMESTAMP":"1764357000123456","PRIORITY":"6","SYSLOG_IDENTIFIER":"systemd","_PID":"1","UNIT":"ssh.service","MESSAGE":"Started ssh.service"}"#,
        "\n",
        r#"{"__REALTIME_TIMESTAMP":"1764357001000000","PRIORITY":"3","_COMM":"sshd","_PID":"77","_SYSTEMD_UNIT":"ssh.service","MESSAGE":[98,27,255]}"#,
        "\n",
        r#"{"__REALTIME_TIMESTAMP":"1764357002000000","SYSLOG_IDENTIFIER":"kernel","MESSAGE":"one\ntwo\u001b[2J"}"#,
        "\n"
    );

    #[test]
    fn entries_are_read_as_people_do() {
        let told: Vec<String> = all().take(LINES.as_bytes()).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "2025-11-28T19:10:00.123Z systemd[1]: Started ssh.service",
                "2025-11-28T19:10:01.000Z sshd[77]: b\u{fffd}\u{fffd}",
                "2025-11-28T19:10:02.000Z kernel: one\n    two\u{fffd}[2J",
            ]
        );
    }

    #[test]
    fn only_what_is_wanted_comes() {
        let count = |unit: Option<&str>, priority| {
            let unit = unit.map(str::to_owned);
            Reader::new(Wanted { unit, priority }).take(LINES.as_bytes()).len()
        };
        assert_eq!(
            [count(None, 7), count(None, 3), count(Some("ssh.service"), 7), count(Some("ssh"), 7)],
            [3, 1, 2, 0]
        );
    }

    #[test]
    fn what_is_no_entry_is_left_out_and_what_follows_is_read() {
        let mut reader = all();
        let rest = format!("[]\nnot json\n\n{}\n{LINES}{{\"MESSAGE\":", "x".repeat(3 * LONGEST));
        let entries: Vec<Entry> = rest.as_bytes().chunks(1000).flat_map(|piece| reader.take(piece)).collect();
        assert_eq!(entries.len(), 3);
        let last = reader.take(b"null}\n");
        assert_eq!(last.iter().map(ToString::to_string).collect::<Vec<_>>(), ["- unknown:"]);
    }

    proptest::proptest! {
        #[test]
        fn nothing_reaches_the_terminal_but_text(text in "\\PC{0,40}|[\\x00-\\x1f]{0,9}", time in "-?[0-9]{0,25}|\\PC{0,3}") {
            let line = serde_json::json!({
                "MESSAGE": text, "__REALTIME_TIMESTAMP": time, "SYSLOG_IDENTIFIER": text, "_PID": text
            });
            for entry in all().take(format!("{line}\n").as_bytes()) {
                let shown = entry.to_string();
                proptest::prop_assert!(shown.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'), "{shown:?}");
            }
        }
    }
}
