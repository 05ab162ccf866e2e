//! The only room that prints. Results go to standard output, everything else to standard error; colours
//! only where they are wanted; progress bars only on a terminal.

mod progress;
mod snippet;

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use zeroize::Zeroizing;

use crate::event::{Event, Report};
use crate::origin::Diagnostic;

use progress::Progress;

/// The six colours rave uses, by meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Done, healthy.
    Good,
    /// Worth attention.
    Warn,
    /// Wrong.
    Bad,
    /// A verb or heading.
    Strong,
    /// Detail.
    Dim,
    /// Nothing special.
    Plain,
}

impl Tone {
    /// The text in this tone, as ANSI escapes; the stream strips them where colours are off.
    pub fn paint(self, text: impl Display) -> String {
        let code = match self {
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "1;31",
            Self::Strong => "1",
            Self::Dim => "2",
            Self::Plain => return text.to_string(),
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// How much is said, and how.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// JSON on standard output.
    pub json: bool,
    /// Whether what happens on the way is told in JSON lines before the result; else JSON is one document.
    pub events: bool,
    /// Only results and errors.
    pub quiet: bool,
    /// Details too.
    pub verbose: u8,
}

/// The terminal, or what stands in for it.
pub struct Ui {
    style: Style,
    /// Why results could not be written, the first time.
    lost: Mutex<Option<io::Error>>,
    progress: Mutex<Progress>,
    /// What was said so far, up to [`SAID`].
    said: Mutex<Zeroizing<Vec<u8>>>,
}

/// The most diagnostics that are shown at once.
const DIAGNOSTICS: usize = 50;

/// How much is kept of what was said, in bytes.
const SAID: usize = 4 << 20;

impl Ui {
    /// A user interface on the process's own streams.
    pub fn new(style: Style) -> Self {
        let bars = std::io::stderr().is_terminal() && !style.quiet && !style.json;
        Self { style, lost: Mutex::default(), progress: Mutex::new(Progress::new(bars)), said: Mutex::default() }
    }

    /// Whether the result is wanted as JSON.
    pub fn is_json(&self) -> bool {
        self.style.json
    }

    /// One line of a result, to standard output. The work goes on where a reader went away: to stop here
    /// would leave it half done.
    pub fn print(&self, text: impl Display) {
        let text = text.to_string();
        self.note(&text);
        self.with_progress(|progress| {
            progress.suspend(|| {
                let mut out = anstream::stdout().lock();
                self.remember(writeln!(out, "{text}").and_then(|()| out.flush()));
            });
        });
    }

    /// Why results did not arrive, if that is anyone's loss: a reader that went away has seen enough.
    pub fn lost(&self) -> Option<io::Error> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn remember(&self, written: io::Result<()>) {
        if let Err(error) = written
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            self.lost.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }

    /// Clears the terminal that results go to, for a table that is drawn again and again (ECMA-48, CUP and ED). `false`
    /// where results go elsewhere, or the terminal is left as it is.
    pub fn redraw(&self) -> bool {
        let is_terminal = std::io::stdout().is_terminal() && !self.style.json;
        if is_terminal {
            self.print_bytes(b"\x1b[H\x1b[2J");
        }
        is_terminal
    }

    /// Bytes of a result, as they are.
    pub fn print_bytes(&self, bytes: &[u8]) {
        let mut out = std::io::stdout().lock();
        self.remember(out.write_all(bytes).and_then(|()| out.flush()));
    }

    /// One JSON value on one line of standard output.
    pub fn print_json(&self, value: &impl Serialize) {
        match serde_json::to_string(value) {
            Ok(text) => self.print(text),
            Err(e) => self.error(format!("cannot write the result as JSON: {e}")),
        }
    }

    /// A table for people; cells are (text, tone).
    pub fn table(&self, header: &[&str], rows: &[Vec<(String, Tone)>]) {
        self.print(render_table(header, rows));
    }

    /// A line of narration, to standard error.
    pub fn say(&self, text: impl Display) {
        if !self.style.quiet {
            self.line(&text.to_string());
        }
    }

    /// Something the user should know before it hurts.
    pub fn warn(&self, text: impl Display) {
        self.line(&format!("{}{text}", Tone::Warn.paint("warning: ")));
    }

    /// Why the command ends.
    pub fn error(&self, text: impl Display) {
        self.line(&format!("{}{text}", Tone::Bad.paint("error: ")));
    }

    /// A remedy, below an error.
    pub fn hint(&self, text: impl Display) {
        self.line(&format!("{}{text}", Tone::Strong.paint("hint: ")));
    }

    /// What is wrong with the input, each with its lines of source; the first 50 if there are many, since nobody mends
    /// more at once and a source may have thousands.
    pub fn diagnostics(&self, diagnostics: &[Diagnostic]) {
        let (shown, more) = diagnostics.split_at(diagnostics.len().min(DIAGNOSTICS));
        for diagnostic in shown {
            self.line(snippet::render(diagnostic).trim_end());
            self.line("");
        }
        if !more.is_empty() {
            self.line(&format!("and {} more", more.len()));
        }
    }

    /// All lines of both streams so far, for the search for secrets; the first megabytes if there are many.
    pub fn said(&self) -> Vec<u8> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).to_vec()
    }

    fn note(&self, text: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() < SAID {
            said.extend_from_slice(text.as_bytes());
            said.push(b'\n');
        }
    }

    fn line(&self, text: &str) {
        self.note(text);
        self.with_progress(|progress| {
            progress.suspend(|| {
                // Nobody is left to tell where standard error is closed.
                let _ = writeln!(anstream::stderr().lock(), "{text}");
            });
        });
    }

    fn with_progress(&self, act: impl FnOnce(&mut Progress)) {
        act(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Report for Ui {
    fn event(&self, event: Event) {
        if self.style.json && self.style.events {
            if let Some(value) = progress::as_json(&event) {
                self.print_json(&value);
            }
            return;
        }
        match event {
            Event::Warning(text) => self.warn(text),
            Event::Note(text) => self.say(text),
            other if self.style.quiet || self.style.json => drop(other),
            other => {
                let mut line = None;
                self.with_progress(|progress| line = progress.take(other, self.style.verbose > 0));
                if let Some(line) = line {
                    self.line(&line);
                }
            }
        }
    }
}

/// Has everything that rooms trace, such as the programs that are run, written to standard error.
pub fn trace() {
    let subscriber = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).without_time();
    subscriber.with_env_filter("rave=debug").init();
}

/// Columns as wide as their widest cell, two spaces apart, the last one unpadded.
fn render_table(header: &[&str], rows: &[Vec<(String, Tone)>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|(text, _)| text.chars().count());
        cells.chain(header.get(column).map(|text| text.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = (&str, Tone)>| {
        let mut line = String::new();
        for (column, (text, tone)) in cells.enumerate() {
            line.push_str(&tone.paint(text));
            if column + 1 < widths.len() {
                line.push_str(&" ".repeat(widths[column] + 2 - text.chars().count().min(widths[column])));
            }
        }
        line.trim_end().to_owned()
    };
    let mut lines = vec![line(&mut header.iter().map(|text| (*text, Tone::Dim)))];
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(|(text, tone)| (text.as_str(), *tone)))));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_aligns_its_columns() {
        let rows = [vec![("ssh".into(), Tone::Plain), ("healthy".into(), Tone::Plain)]];
        let text = anstream::adapter::strip_str(&render_table(&["STAGE", "VERDICT"], &rows)).to_string();
        assert_eq!(text, "STAGE  VERDICT\nssh    healthy");
    }
}
