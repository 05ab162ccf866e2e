//! Progress: bars on a terminal, a line per finished piece of work everywhere.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use crate::event::{Amount, Event, Task};

use super::Tone;

struct Running {
    top: bool,
    verb: &'static str,
    subject: String,
    bar: Option<ProgressBar>,
}

/// What is going on right now.
pub struct Progress {
    bars: Option<MultiProgress>,
    running: BTreeMap<Task, Running>,
}

impl Progress {
    /// With bars on standard error, or without.
    pub fn new(bars: bool) -> Self {
        let bars = bars.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(12)));
        Self { bars, running: BTreeMap::new() }
    }

    /// Takes bars off the screen while something is printed.
    pub fn suspend(&self, print: impl FnOnce()) {
        match &self.bars {
            Some(bars) => bars.suspend(print),
            None => print(),
        }
    }

    /// Takes note of an event; returns the line that it is worth. Parts are worth one only if `detailed`.
    pub fn take(&mut self, event: Event, detailed: bool) -> Option<String> {
        match event {
            Event::Started { task, parent, verb, subject, total } => {
                let bar = self.bars.as_ref().map(|bars| start_bar(bars, parent.is_some(), verb, &subject, total));
                self.running.insert(task, Running { top: parent.is_none(), verb, subject, bar });
                None
            }
            Event::Progress { task, done } => {
                if let Some(bar) = self.running.get(&task).and_then(|running| running.bar.as_ref()) {
                    bar.set_position(done);
                }
                None
            }
            Event::Finished { task, took, outcome } => {
                let running = self.end(task)?;
                (running.top || detailed).then(|| {
                    let verb = Tone::Good.paint(format!("{:>9}", running.verb));
                    let time = Tone::Dim.paint(duration(took));
                    let subject = running.subject;
                    if outcome.is_empty() {
                        format!("{verb}  {subject}  {time}")
                    } else {
                        format!("{verb}  {subject}: {outcome}  {time}")
                    }
                })
            }
            Event::Failed { task } => {
                let running = self.end(task)?;
                running.top.then(|| format!("{}  {}", Tone::Bad.paint(format!("{:>9}", running.verb)), running.subject))
            }
            Event::Note(_) | Event::Warning(_) => None,
        }
    }

    fn end(&mut self, task: Task) -> Option<Running> {
        let running = self.running.remove(&task)?;
        if let Some(bar) = &running.bar {
            bar.finish_and_clear();
        }
        Some(running)
    }
}

fn start_bar(bars: &MultiProgress, part: bool, verb: &str, subject: &str, total: Option<Amount>) -> ProgressBar {
    let indent = if part { "  " } else { "" };
    let (length, template) = match total {
        Some(Amount::Bytes(n)) => (Some(n), "{prefix:>9.cyan}  {msg:32!} {bar:24} {bytes:>10}/{total_bytes:<10} {eta}"),
        Some(Amount::Items(n)) => (Some(n), "{prefix:>9.cyan}  {msg:32!} {bar:24} {pos}/{len}"),
        None => (None, "{prefix:>9.cyan}  {msg} {spinner} {elapsed}"),
    };
    let bar = bars.add(match length {
        Some(length) => ProgressBar::new(length),
        None => ProgressBar::new_spinner(),
    });
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸ "));
    }
    bar.set_prefix(verb.to_owned());
    bar.set_message(format!("{indent}{subject}"));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// `83 ms`, `1.3 s`, `2 min 5 s`.
pub fn duration(time: Duration) -> String {
    match time.as_millis() {
        ms @ 0..=999 => format!("{ms} ms"),
        ms @ 1000..=99_999 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        ms => format!("{} min {} s", ms / 60_000, ms / 1000 % 60),
    }
}

/// The event as machines read it; progress itself is left out, being of no use in a log.
pub fn as_json(event: &Event) -> Option<Value> {
    Some(match event {
        Event::Started { task, parent, verb, subject, .. } => {
            json!({"event": "started", "task": task.0, "parent": parent.map(|p| p.0), "verb": verb, "subject": subject})
        }
        Event::Progress { .. } => return None,
        Event::Finished { task, took, outcome } => {
            json!({"event": "finished", "task": task.0, "ms": took.as_millis() as u64, "outcome": outcome})
        }
        Event::Failed { task } => json!({"event": "failed", "task": task.0}),
        Event::Note(text) => json!({"event": "note", "text": text}),
        Event::Warning(text) => json!({"event": "warning", "text": text}),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_work_is_worth_a_line_unless_details_are_wanted() {
        let start =
            |task, parent| Event::Started { task: Task(task), parent, verb: "fetch", subject: "x".into(), total: None };
        let finish =
            |task| Event::Finished { task: Task(task), took: Duration::from_millis(1500), outcome: "ok".into() };
        for detailed in [false, true] {
            let mut progress = Progress::new(false);
            assert_eq!(progress.take(start(1, None), detailed), None);
            assert_eq!(progress.take(start(2, Some(Task(1))), detailed), None);
            assert_eq!(progress.take(finish(2), detailed).is_some(), detailed);
            let line = progress.take(finish(1), detailed).unwrap();
            assert_eq!(anstream::adapter::strip_str(&line).to_string(), "    fetch  x: ok  1.5 s");
        }
    }

    #[test]
    fn durations_have_units() {
        let text = |ms| duration(Duration::from_millis(ms));
        assert_eq!([text(83), text(1340), text(125_000)], ["83 ms", "1.3 s", "2 min 5 s"]);
    }
}
