//! `rave explain`: from an option to all that it does, and from anything in an image back to who put it there.

mod file;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cli;
use crate::debian::Lock;
use crate::disk;
use crate::images::Manifest;
use crate::modules::{self, Contribution, Evaluation};
use crate::name::{self, OptionPath, PackageName};
use crate::ui::Tone;

use super::generations::Generations;
use super::project::{self, Named};
use super::{Context, Failure, Result, Status, locking, options, store};

use file::BuiltFile;
use options::compact;

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
    let built = match made.is_empty() && subject.starts_with('/') {
        true => explainer.built(&named)?,
        false => None,
    };
    let file = built.as_ref().and_then(|manifest| BuiltFile::find(manifest, subject));
    let package = file.as_ref().map_or(Some(subject), BuiltFile::package);
    let thing = Thing { subject, made, why: package.map_or(vec![], |name| explainer.why(name)), file };
    if thing.is_known() {
        explainer.explain_thing(&thing);
    } else if let group @ [_, ..] = explainer.group(subject).as_slice() {
        explainer.explain_group(subject, group);
    } else {
        return Err(explainer.unknown(subject, &named, built.as_ref()));
    }
    Ok(Status::Done)
}

/// Something other than an option, and all that is known of it.
struct Thing<'a> {
    subject: &'a str,
    /// What modules and image made by that name.
    made: Vec<&'a Contribution>,
    /// The file of the newest build, if it is one that packages brought.
    file: Option<BuiltFile<'a>>,
    /// Name and version of the packages because of which the package is in the lock, and its own.
    why: Vec<(String, String)>,
}

impl Thing<'_> {
    fn is_known(&self) -> bool {
        !self.made.is_empty() || self.file.is_some() || !self.why.is_empty()
    }
}

struct Explainer<'a> {
    evaluation: &'a Evaluation,
    lock: Option<Lock>,
    context: &'a Context,
}

impl Explainer<'_> {
    /// The option that is meant, also by the name of something within its value.
    fn option(&self, subject: &str) -> Option<OptionPath> {
        let mut paths = name::ancestry(subject).filter_map(|path| path.parse::<OptionPath>().ok());
        paths.find(|path| self.evaluation.settings.contains_key(path))
    }

    /// Why a package is in the lock: name and version of each in the chain of those that need it.
    fn why(&self, subject: &str) -> Vec<(String, String)> {
        let name = subject.parse::<PackageName>().ok();
        let chain = name.zip(self.lock.as_ref()).map(|(name, lock)| lock.why(&name)).unwrap_or_default();
        chain.into_iter().map(|package| (package.name.to_string(), package.version.clone())).collect()
    }

    /// The places that ask for the first of the packages because of which another is there.
    fn asked<'a>(&'a self, thing: &'a Thing<'_>) -> impl Iterator<Item = &'a Contribution> {
        let package = thing.why.first().map(|(name, _)| name.as_str());
        let package = package.or_else(|| thing.file.as_ref()?.package());
        let provenance = &self.evaluation.provenance;
        package.into_iter().flat_map(|name| provenance.of(name)).filter(|made| made.section.ends_with("packages"))
    }

    /// The newest build of the image, if there is one.
    fn built(&self, named: &Named) -> Result<Option<Manifest>> {
        if !disk::exists(&self.context.store) {
            return Ok(None);
        }
        Generations::of(&store::open(self.context)?, named, &self.evaluation.system.name).newest()
    }

    /// The options of a group.
    fn group(&self, subject: &str) -> Vec<OptionPath> {
        let below = |option: &&OptionPath| {
            option.as_str().strip_prefix(subject).is_some_and(|rest| !subject.is_empty() && rest.starts_with('.'))
        };
        self.evaluation.settings.keys().filter(below).cloned().collect()
    }

    fn explain_group(&self, group: &str, all: &[OptionPath]) {
        let about = |option| self.evaluation.settings.get(option).map_or("", |trail| trail.description.as_str());
        let ui = &self.context.ui;
        if ui.is_json() {
            let told = all
                .iter()
                .map(|option| json!({"name": option, "value": self.value(option), "description": about(option)}));
            ui.print_json(&json!({"kind": "group", "name": group, "options": told.collect::<Vec<_>>()}));
            return;
        }
        ui.print(format!("{}: {} options", Tone::Strong.paint(group), all.len()));
        for option in all {
            ui.print(format!(
                "  {option} = {}  {}",
                compact(&self.value(option)),
                Tone::Dim.paint(one_line(about(option)))
            ));
        }
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
        ui.print(format!("{} = {}", Tone::Strong.paint(option), compact(&self.value(option))));
        if !trail.description.is_empty() {
            ui.print(format!("  {}", trail.description));
        }
        ui.print(format!("  {}  {}", Tone::Dim.paint("declared"), trail.declared));
        for definition in &trail.definitions {
            let what = if definition.used { Tone::Good.paint("set     ") } else { Tone::Dim.paint("unused  ") };
            ui.print(format!("  {what}  {} {}", definition.origin, Tone::Dim.paint(definition.level.describe())));
        }
        for source in &sources {
            ui.print(format!("  {}  {source} = {}", Tone::Dim.paint("from    "), compact(&self.value(source))));
        }
        for reader in &others {
            ui.print(format!("  {}  {reader} = {}", Tone::Dim.paint("read by "), compact(&self.value(reader))));
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

    fn explain_thing(&self, thing: &Thing<'_>) {
        let Thing { subject, made, why, file } = thing;
        let provenance = &self.evaluation.provenance;
        if self.context.ui.is_json() {
            let made = made.iter().map(|made| {
                let mut told = as_json(made);
                told["options"] = self.options_json(&provenance.options(made));
                told
            });
            let chain = why.iter().map(|(name, version)| json!({"package": name, "version": version}));
            self.context.ui.print_json(&json!({
                "kind": if file.is_some() { "file" } else { "made" },
                "name": subject,
                "made": made.collect::<Vec<_>>(),
                "needed_by": chain.collect::<Vec<_>>(),
                "asked": self.asked(thing).map(as_json).collect::<Vec<_>>(),
                "file": file,
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
                // Of a map, only the entry of that name has a part in it.
                let (name, value) = match value.get(&made.name) {
                    Some(entry) => (format!("{option}.{}", made.name), compact(entry)),
                    None => (option.to_string(), compact(&value)),
                };
                ui.print(format!("  {}  {name} = {value}  {}", Tone::Dim.paint("from    "), Tone::Dim.paint(set)));
            }
        }
        if let Some(file) = file {
            ui.print(format!("{}: {}", Tone::Strong.paint(subject), file.describe()));
            ui.print(format!("  {}  {}", Tone::Dim.paint("built   "), file.built()));
            if file.path != *subject {
                ui.print(format!("  {}  {}", Tone::Dim.paint("stored  "), file.path));
            }
        }
        if let Some((name, version)) = why.last() {
            ui.print(format!("{} {version} in the lock", Tone::Strong.paint(name)));
        }
        if why.len() > 1 {
            let chain: Vec<&str> = why.iter().map(|(name, _)| name.as_str()).collect();
            ui.print(format!("  {}  {}", Tone::Dim.paint("needed  "), chain.join(" -> ")));
        }
        // A package that is asked for by its own name was told of above.
        let asked: Vec<&Contribution> = self.asked(thing).filter(|_| made.is_empty()).collect();
        for made in &asked {
            ui.print(format!("  {}  {} at {}", Tone::Dim.paint("asked   "), made.name, made.origin));
        }
        if why.len() == 1 && asked.is_empty() && made.is_empty() {
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

    fn unknown(&self, subject: &str, named: &Named, built: Option<&Manifest>) -> Failure {
        let files = built.into_iter().flat_map(|manifest| manifest.files.keys().cloned());
        let made = self.evaluation.provenance.contributions.iter().map(|made| made.name.clone());
        let options = self.evaluation.settings.keys().map(ToString::to_string);
        let locked = self.lock.iter().flat_map(|lock| &lock.packages).map(|package| package.name.to_string());
        // Of a path, what counts is its last part: /usr/bin/su is near to any program.
        let limit = match subject.rsplit_once('/') {
            Some((_, name)) => (name.chars().count() / 3).min(4),
            None => (subject.chars().count() / 3).clamp(1, 4),
        };
        let known = made.chain(options).chain(locked).chain(files);
        let measured = known.map(|name| (strsim::damerau_levenshtein(&name, subject), name));
        let near = measured.filter(|(distance, _)| *distance <= limit).min();
        let failure = Failure::request(format!("nothing in {} is called `{subject}`", named.name));
        match near {
            Some((_, name)) => failure.hint(format!("did you mean `{name}`?")),
            None if subject.starts_with('/') && built.is_none() => failure.hint(format!(
                "no module writes it; after `rave build {}` it is known which package brings a file",
                named.typed
            )),
            None if subject.starts_with('/') => {
                failure.hint(format!("neither the newest build of {} nor a module has it", named.name))
            }
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
