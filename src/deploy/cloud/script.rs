//! All calls of a deployment as a script for a shell, as if nothing of it were there yet. Comments say what is found to be
//! there, and how a step is undone.

use super::blocks::{BLOCK, Block};
use super::step::{Body, Call, Part, Slot, Step, Values, Wait, Word};
use super::{Calls, Declared, ENVIRONMENT, Release, Removal, Wanted};
use crate::tool::quote;

/// What is deployed, and how.
pub struct Script<'a> {
    /// The calls.
    pub calls: &'a dyn Calls,
    /// The target, for people.
    pub title: String,
    /// What it says.
    pub declared: &'a Declared,
    /// Machines of it, each as it shall be.
    pub machines: &'a [Wanted<'a>],
    /// What shall run.
    pub release: &'a Release,
    /// The file that is uploaded.
    pub file: &'a str,
    /// The blocks of the disk, if that is what is uploaded, and what is known of them.
    pub blocks: &'a [Block],
    /// What is known of them all.
    pub totals: Values,
}

/// The script.
pub fn render(script: &Script<'_>) -> String {
    let Script { calls, declared, machines, release, .. } = script;
    let mut lines = vec![
        "#!/bin/sh".to_owned(),
        format!("# {} to {}", release.title(), script.title),
        "set -eu".to_owned(),
        "umask 077".to_owned(),
        format!("export {}", ENVIRONMENT.map(|(name, value)| format!("{name}={value}")).join(" ")),
        format!("file={}", quote(script.file)),
        format!("public_key={}", quote(&format!("{}.pub", declared.ssh_key))),
    ];
    for (slot, value) in &script.totals {
        lines.push(format!("{}={}", slot.variable(), quote(value)));
    }
    for step in calls.image(release) {
        lines.extend(self::step(&step, script.blocks));
    }
    for removal in calls.leftovers(release) {
        lines.extend(self::removal("what was uploaded is not needed any more", &removal));
    }
    for wanted in *machines {
        let machine = wanted.machine;
        lines.extend([String::new(), format!("# machine {}", machine.name)]);
        lines.push(format!("user_data={}", quote(&machine.user_data)));
        let launch = calls.launch(wanted);
        if !launch.iter().any(|step| step.gives == Some(Slot::Instance)) {
            lines.push(format!("instance={}", wanted.instance()));
        }
        lines.extend(launch.iter().flat_map(|step| self::step(step, script.blocks)));
        lines.push("# its addresses".to_owned());
        lines.push(line(&calls.instances()));
        lines.push("# its host key".to_owned());
        let id = "INSTANCE";
        let named = |call: Call| line(&replaced(call, id));
        lines.push(named(calls.console(id)));
        let key = quote(&declared.ssh_key);
        lines.push(format!("# rave check {} --ssh ADDRESS --host-key KEY --ssh-key {key}", release.image));
        // A script checks nothing, and one that ran through would say of all it has launched that it is well.
        lines.push(
            "# if it is well, and only then: the next deployment removes what ran before one that is marked".to_owned(),
        );
        lines.extend(calls.instance(super::Verb::Mark, id).into_iter().map(named).map(|line| format!("# {line}")));
        lines.push("# the instance before it goes; if it is not well, the new one goes".to_owned());
        lines.extend(calls.remove(id).into_iter().map(named).map(|line| format!("# {line}")));
    }
    lines.join("\n")
}

/// The id of an instance as a variable.
fn replaced(call: Call, id: &str) -> Call {
    let part = |part: Part| match part {
        Part::Text(text) => match text.split_once(id) {
            Some((before, after)) => {
                let text = |text: &str| Part::Text(text.to_owned());
                vec![text(before), Part::Slot(Slot::Instance), text(after)]
            }
            None => vec![Part::Text(text)],
        },
        slot => vec![slot],
    };
    Call(call.0.into_iter().map(|word| Word(word.0.into_iter().flat_map(part).collect())).collect())
}

fn step(step: &Step, blocks: &[Block]) -> Vec<String> {
    let mut lines = vec![String::new(), format!("# {}", step.title)];
    lines.extend(step.find.iter().map(|call| format!("# is it done?  {}", line(call))));
    match (&step.body, step.told()) {
        (Body::Once(call), Some(slot)) => lines.push(format!("{}=$({})", slot.variable(), line(call))),
        (Body::Once(call), _) => lines.push(line(call)),
        (Body::Blocks(call), _) => lines.extend([
            "block=$(mktemp)".to_owned(),
            "trap 'rm -f \"$block\"' EXIT".to_owned(),
            format!("for index in {}; do", ranges(blocks)),
            format!("  dd if=\"$file\" of=\"$block\" bs={BLOCK} skip=\"$index\" count=1 conv=sync status=none"),
            "  checksum=$(openssl dgst -sha256 -binary \"$block\" | base64)".to_owned(),
            format!("  {} > /dev/null", line(call)),
            "done".to_owned(),
        ]),
    }
    if let Some(Wait { call, good, every, .. }) = &step.wait {
        let good = good.iter().map(|state| quote(state)).collect::<Vec<_>>().join("|");
        lines.push(format!(
            "until case $({}) in {good}) true ;; *) false ;; esac; do sleep {}; done",
            line(call),
            every.as_secs()
        ));
    }
    lines.extend(step.undo.iter().map(|call| format!("# undone by  {}", line(call))));
    lines
}

fn removal(title: &str, removal: &Removal) -> Vec<String> {
    let mut lines = vec![String::new(), format!("# {title}")];
    lines.push(format!("if [ -n \"$({})\" ]; then {}; fi", line(&removal.find), line(&removal.call)));
    lines
}

/// Runs of numbers for a shell.
fn ranges(blocks: &[Block]) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for Block { index, .. } in blocks {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => runs.push((*index, *index)),
        }
    }
    let run = |(first, last): &(u64, u64)| match first == last {
        true => first.to_string(),
        false => format!("$(seq {first} {last})"),
    };
    runs.iter().map(run).collect::<Vec<_>>().join(" ")
}

/// A call as a line for a shell.
pub fn line(call: &Call) -> String {
    let word = |word: &Word| {
        let is_plain = word.0.iter().all(|part| matches!(part, Part::Text(_)));
        let part = |part: &Part| match part {
            Part::Text(text) if is_plain => quote(text),
            // Between double quotes.
            Part::Text(text) => text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$").replace('`', "\\`"),
            Part::Slot(slot) => format!("${{{}}}", slot.variable()),
        };
        let text: String = word.0.iter().map(part).collect();
        if is_plain { text } else { format!("\"{text}\"") }
    };
    call.0.iter().map(word).collect::<Vec<_>>().join(" ")
}
