//! `rave explain`: from an option to all that it does, and from anything in an image back to who put it there.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cli;
use crate::debian::Lock;
use crate::modules::{self, Contribution, Evaluation};
use crate::name::{OptionPath, PackageName};
use crate::ui::Tone;

use super::project::{self, Named};
use super::{Context, Failure, Result, Status, locking, options};

/// Says what is known of one thing in an image.
pub fn run(arguments: &cli::Explain, context: &Context) -> Result<Status> {
    let (project, named) = project::read(&context.project, &arguments.image)?;
    let evaluation = modules::evaluate(&project, &named.name, &arguments.variant.set, arguments.variant.mode)?;
    let explainer = Explainer { evaluation: &evaluation, lock: locking::read(&named.lock())?, context };
    let subject = arguments.subject.as_str();
    if let Some(option) = explainer.option(subject) {
        explainer.explain_option(&option);
        return Ok(Status::Done);
    }
    let service = format!("{subject}.service");
    let made: Vec<&Contribution> =
        [subject, &service].into_iter().flat_map(|name| evaluation.provenance.of(name)).collect();
    let why = explainer.why(subject);
    if made.is_empty() && why.is_empty() {
        return Err(explainer.unknown(subject, &named));
    }
    explainer.explain_thing(subject, &made, &why);
    Ok(Status::Done)
}

struct Explainer<'a> {
    evaluation: &'a Evaluation,
    lock: Option<Lock>,
    context: &'a Context,
}

impl Explainer<'_> {
    /// The option that is meant, also by the name of something within its value.
    fn option(&self, subject: &str) -> Option<OptionPath> {
        let ends = subject.match_indices('.').map(|(at, _)| at).chain([subject.len()]);
        let paths = ends.filter_map(|end| subject.get(..end)?.parse::<OptionPath>().ok());
        paths.into_iter().find(|path| self.evaluation.settings.contains_key(path))
    }

    /// Why a package is in the lock: name and version of each in the chain of those that need it.
    fn why(&self, subject: &str) -> Vec<(String, String)> {
        let name = subject.parse::<PackageName>().ok();
        let chain = name.zip(self.lock.as_ref()).map(|(name, lock)| lock.why(&name)).unwrap_or_default();
        chain.into_iter().map(|package| (package.name.to_string(), package.version.clone())).collect()
    }

    fn value(&self, option: &OptionPath) -> Value {
        self.evaluation.system.options.get(option).map_or(Value::Null, |value| value.value.clone())
    }

    fn explain_option(&self, option: &OptionPath) {
        let Some(trail) = self.evaluation.settings.get(option) else { return };
        let provenance = &self.evaluation.provenance;
        let (made, others) = provenance.touched(option);
        let sources = provenance.sources(option);
        if self.context.ui.is_json() {
            self.context.ui.print_json(&json!({
                "kind": "option",
                "name": option,
                "value": self.value(option),
                "description": trail.description,
                "declared": trail.declared.to_string(),
                "definitions": options::definitions(trail),
                "from": sources,
                "read_by": others,
                "makes": made.iter().map(|made| as_json(made)).collect::<Vec<_>>(),
            }));
            return;
        }
        let ui = &self.context.ui;
        ui.print(format!("{} = {}", Tone::Strong.paint(option), self.value(option)));
        if !trail.description.is_empty() {
            ui.print(format!("  {}", trail.description));
        }
        ui.print(format!("  {}  {}", Tone::Dim.paint("declared"), trail.declared));
        for definition in &trail.definitions {
            let what = if definition.used { Tone::Good.paint("set     ") } else { Tone::Dim.paint("unused  ") };
            ui.print(format!("  {what}  {} {}", definition.origin, Tone::Dim.paint(definition.level.describe())));
        }
        for source in &sources {
            ui.print(format!("  {}  {source} = {}", Tone::Dim.paint("from    "), self.value(source)));
        }
        for reader in &others {
            ui.print(format!("  {}  {reader} = {}", Tone::Dim.paint("read by "), self.value(reader)));
        }
        if made.is_empty() {
            ui.print(format!("  {}", Tone::Dim.paint("makes nothing in this image")));
            return;
        }
        let row = |made: &&Contribution| {
            vec![
                (made.section.clone(), Tone::Dim),
                (one_line(&made.name), Tone::Plain),
                (made.origin.to_string(), Tone::Plain),
            ]
        };
        ui.print("");
        ui.table(&["MAKES", "NAME", "AT"], &made.iter().map(row).collect::<Vec<_>>());
    }

    fn explain_thing(&self, subject: &str, made: &[&Contribution], why: &[(String, String)]) {
        let provenance = &self.evaluation.provenance;
        if self.context.ui.is_json() {
            let made = made.iter().map(|made| {
                let mut told = as_json(made);
                told["options"] = self.options_json(&provenance.options(made));
                told
            });
            let chain = why.iter().map(|(name, version)| json!({"package": name, "version": version}));
            self.context.ui.print_json(&json!({
                "kind": "made",
                "name": subject,
                "made": made.collect::<Vec<_>>(),
                "needed_by": chain.collect::<Vec<_>>(),
            }));
            return;
        }
        let ui = &self.context.ui;
        let mut last = String::new();
        for made in made {
            let module = made.module.as_deref().map_or("the image".to_owned(), |module| format!("module {module}"));
            let heading = format!("{}: {} of {module}", Tone::Strong.paint(one_line(&made.name)), made.section);
            if heading != last {
                ui.print(&heading);
                last = heading;
            }
            ui.print(format!("  {}  {}", Tone::Dim.paint("at      "), made.origin));
            for option in provenance.options(made) {
                let trail = self.evaluation.settings.get(&option);
                let set = trail.and_then(|trail| trail.definitions.iter().find(|definition| definition.used));
                let set = set.map_or(String::new(), |set| format!("{} {}", set.origin, set.level.describe()));
                let value = self.value(&option);
                ui.print(format!("  {}  {option} = {value}  {}", Tone::Dim.paint("from    "), Tone::Dim.paint(set)));
            }
        }
        let [needs @ .., (name, version)] = why else { return };
        ui.print(format!("{} {version} in the lock", Tone::Strong.paint(name)));
        if let [(first, _), ..] = needs {
            let chain: Vec<&str> = why.iter().map(|(name, _)| name.as_str()).collect();
            ui.print(format!("  {}  {}", Tone::Dim.paint("needed  "), chain.join(" -> ")));
            for made in self.evaluation.provenance.of(first).filter(|made| made.section.ends_with("packages")) {
                ui.print(format!("  {}  {first} at {}", Tone::Dim.paint("asked   "), made.origin));
            }
        } else if made.is_empty() {
            let essential = "nobody asks for it: it is essential, or the lock is older than the reasons in it";
            ui.print(format!("  {essential}"));
        }
    }

    fn options_json(&self, all: &BTreeSet<OptionPath>) -> Value {
        let told = all.iter().map(|option| {
            let definitions = self.evaluation.settings.get(option).map(options::definitions);
            json!({"name": option, "value": self.value(option), "definitions": definitions})
        });
        told.collect()
    }

    fn unknown(&self, subject: &str, named: &Named) -> Failure {
        let made = self.evaluation.provenance.contributions.iter().map(|made| made.name.clone());
        let options = self.evaluation.settings.keys().map(ToString::to_string);
        let locked = self.lock.iter().flat_map(|lock| &lock.packages).map(|package| package.name.to_string());
        let limit = (subject.chars().count() / 3).clamp(1, 4);
        let known = made.chain(options).chain(locked);
        let measured = known.map(|name| (strsim::damerau_levenshtein(&name, subject), name));
        let near = measured.filter(|(distance, _)| *distance <= limit).min();
        let failure = Failure::request(format!("nothing in {} is called `{subject}`", named.name));
        match near {
            Some((_, name)) => failure.hint(format!("did you mean `{name}`?")),
            None if subject.starts_with('/') => failure.hint("no module writes it; a package may bring it"),
            None => failure.hint(format!("`rave options --image {}` lists the options", named.typed)),
        }
    }
}

/// A name that may have been written over several lines.
fn one_line(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn as_json(made: &Contribution) -> Value {
    let (line, column) = made.origin.position();
    json!({
        "section": made.section,
        "name": made.name,
        "module": made.module,
        "file": made.origin.source.name,
        "line": line,
        "column": column,
    })
}
