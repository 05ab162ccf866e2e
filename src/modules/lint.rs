//! What is allowed in images and modules, and yet better done otherwise. Each finding has a name, by which a comment
//! silences it on its line or on the line below: `# rave: allow default-value`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::format::format;
use super::imports::{Catalogue, Closure};
use super::module::Module;
use super::reference::plain;
use super::yaml::{self, Kind, Node};
use super::{Definition, Evaluation, Level, Project, Trail, evaluate, fields, tidy};
use crate::name::OptionPath;
use crate::origin::{Diagnostic, Origin, Severity, Source};

/// The sign of a comment that silences.
const ALLOW: &str = "# rave: allow ";

/// The lint that evaluation also speaks of.
const NEVER_WINS: &str = "never-wins";

/// The lints, each with what it is about.
pub const LINTS: [(&str, &str); 9] = [
    ("format", "the file is not as `rave fmt` writes it"),
    ("unused-import", "an import that changes nothing"),
    ("default-value", "an option is set to its default"),
    (NEVER_WINS, "a value that a stronger one always replaces"),
    ("no-description", "an option without a description"),
    ("no-example", "a module of the library: an option whose default shows nothing has no example"),
    ("no-probe", "a module of the library: services, but no probe that tells whether they work"),
    ("no-sandbox", "a module of the library: a service without a `sandbox` profile"),
    ("no-limit", "a module of the library: a service that goes on and has no `MemoryMax`"),
];

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its name, one of [`LINTS`].
    pub lint: &'static str,
    /// What, where and what to do.
    pub diagnostic: Diagnostic,
}

/// Looks at every file of a project that is not rave's own. `library` are the paths of modules of which more is asked.
///
/// # Errors
/// Whatever is wrong with the files; nothing else is looked for then.
pub fn lint(project: &Project, library: &BTreeSet<String>) -> Result<Vec<Finding>, Vec<Diagnostic>> {
    let mut modules = Module::parse_all(project);
    let catalogue = Catalogue::new(&mut modules);
    let mut linter = Linter { modules: &modules, catalogue: &catalogue, found: Vec::new() };
    let mut errors: Vec<Diagnostic> = modules.values().flat_map(|module| module.errors.clone()).collect();
    let mut closure = Closure::new(&modules, &catalogue);
    closure.take("default");
    closure.complete("");
    for (name, source) in own(&project.images) {
        match evaluate(project, name, &[], None) {
            Ok(evaluation) => linter.image(source, &evaluation, &closure.imported),
            Err(found) => errors.extend(found),
        }
    }
    for (path, source) in own(&project.modules) {
        linter.format(source);
        if let Some(module) = modules.get(path) {
            linter.module(module, &closure.imported, library.contains(path));
        }
    }
    if !errors.is_empty() {
        return Err(tidy(errors));
    }
    let mut found = linter.found;
    found.retain(|finding| !is_allowed(finding.lint, &finding.diagnostic));
    found.sort_by_cached_key(|finding| {
        let place = finding.diagnostic.labels.first();
        place.map(|(origin, _)| (origin.source.name.clone(), origin.span.start, finding.lint))
    });
    Ok(found)
}

/// The files that the project brings itself.
fn own(files: &BTreeMap<String, Arc<Source>>) -> impl Iterator<Item = (&String, &Arc<Source>)> {
    files.iter().filter(|(_, source)| !source.is_library())
}

/// Values of the project's images that the mode replaces by others: who wrote one thinks that it counts. `agrees` says
/// whether what is written at a place is the option's value all the same.
pub(super) fn lost_to_mode(
    settings: &BTreeMap<OptionPath, Trail>,
    agrees: impl Fn(&OptionPath, &Origin) -> bool,
) -> Vec<Diagnostic> {
    let of_mode = |trail: &&Trail| trail.definitions.iter().any(|other| other.used && other.level == Level::Mode);
    let lost = |(option, trail): (&OptionPath, &Trail)| {
        let ours = trail.definitions.iter().filter(|set| set.level == Level::Image && !set.origin.source.is_library());
        let lost = ours.filter(|set| !agrees(option, &set.origin)).filter_map(|set| never_wins(option, trail, set));
        lost.collect::<Vec<_>>()
    };
    let lost = settings.iter().filter(|(_, trail)| of_mode(trail)).flat_map(lost);
    lost.filter(|told| !is_allowed(NEVER_WINS, told)).collect()
}

/// What is said of a value that a stronger one replaces.
fn never_wins(option: &OptionPath, trail: &Trail, set: &Definition) -> Option<Diagnostic> {
    let other = trail.definitions.iter().find(|other| other.used).filter(|_| !set.used)?;
    let help = format!("{} {} says otherwise; !force makes it count", other.origin, other.level.describe());
    let told = Diagnostic::error(&set.origin, format!("this value of `{option}` never counts")).help(help);
    Some(Diagnostic { severity: Severity::Warning, ..told })
}

/// Whether a comment silences what a lint says.
fn is_allowed(lint: &str, told: &Diagnostic) -> bool {
    let Some((origin, _)) = told.labels.first() else { return false };
    let number = origin.position().0;
    let mut lines = origin.source.text.lines().skip(number.saturating_sub(2));
    let above = if number > 1 { lines.next() } else { None };
    let above = above.filter(|line| line.trim_start().starts_with('#'));
    let comments = [above, lines.next()].into_iter().flatten().filter_map(|line| line.split_once(ALLOW));
    let mut names = comments.flat_map(|(_, names)| names.split([',', ' ']));
    names.any(|name| name == lint)
}

struct Linter<'a> {
    modules: &'a BTreeMap<String, Module>,
    catalogue: &'a Catalogue,
    found: Vec<Finding>,
}

impl Linter<'_> {
    fn find(&mut self, lint: &'static str, origin: &Origin, message: impl Into<String>, help: &str) {
        let told = Diagnostic::error(origin, message).help(help);
        self.found.push(Finding { lint, diagnostic: Diagnostic { severity: Severity::Warning, ..told } });
    }

    fn format(&mut self, source: &Arc<Source>) {
        let Ok(text) = format(source) else { return };
        if text == source.text {
            return;
        }
        let same = text.bytes().zip(source.text.bytes()).take_while(|(new, old)| new == old).count();
        let place = Origin::new(source, same..same);
        self.find("format", &place, "this is not laid out as `rave fmt` does it", "run `rave fmt`");
    }

    fn image(&mut self, source: &Arc<Source>, evaluation: &Evaluation, default: &BTreeSet<String>) {
        self.format(source);
        let Ok(node) = yaml::parse(source) else { return };
        let mut configured = Closure::new(self.modules, self.catalogue);
        if let Some(config) = node.get("config") {
            configured.image(config, 0);
        }
        let imports = node.get("imports").map(|node| fields::texts(node, "`imports`", &mut Vec::new()));
        self.imports(&imports.unwrap_or_default(), default, &configured.imported);
        let here = |origin: &Origin| origin.source.name == source.name;
        for (option, trail) in &evaluation.settings {
            for definition in trail.definitions.iter().filter(|definition| here(&definition.origin)) {
                let lost = never_wins(option, trail, definition);
                self.found.extend(lost.map(|diagnostic| Finding { lint: NEVER_WINS, diagnostic }));
            }
            let [set, default] = trail.definitions.as_slice() else { continue };
            let declared = self.catalogue.get(option.as_str());
            let value = evaluation.system.options.get(option).map(|value| &value.value);
            let is_default =
                || declared.and_then(|d| d.default.as_ref().map(|node| plain(&d.ty, node))).as_ref() == value;
            if set.used && here(&set.origin) && default.level == Level::Default && is_default() {
                let message = format!("`{option}` is set to its default");
                self.find("default-value", &set.origin, message, "remove the line");
            }
        }
    }

    fn module(&mut self, module: &Module, default: &BTreeSet<String>, library: bool) {
        let none = BTreeSet::new();
        let implied = if default.contains(&module.path) { &none } else { default };
        self.imports(&module.imports, implied, &none);
        for (path, declared) in &module.options {
            if declared.description.trim().is_empty() {
                let message = format!("`{path}` has no description");
                self.find("no-description", &declared.origin, message, "say in one sentence what the option is for");
            }
            let shows_nothing = declared.default.as_ref().is_none_or(is_empty);
            if library && shows_nothing && declared.example.is_none() {
                let message = format!("`{path}` has no example");
                self.find("no-example", &declared.origin, message, "its default does not show what a value looks like");
            }
        }
        let units = module.get("units").map(|node| fields::map(node, "`units`", &mut Vec::new()).to_vec());
        let own = |node: &Node| node.get("dropin").is_none() && node.get("mask").is_none();
        let services = units.into_iter().flatten().filter(|(key, node)| key.text.ends_with(".service") && own(node));
        for (number, (key, node)) in services.filter(|_| library).enumerate() {
            if number == 0 && module.get("probes").is_none() {
                let message = format!("nothing tells whether {} works", key.text);
                self.find("no-probe", &key.origin, message, "add `probes` that fail when the service is broken");
            }
            if node.get("sandbox").is_none() {
                let message = format!("{} runs without a sandbox", key.text);
                self.find(
                    "no-sandbox",
                    &key.origin,
                    message,
                    "name a profile of modules/sandbox.yaml: `sandbox: strict`",
                );
            }
            let directives = node.get("service");
            let ends = |node: &Node| matches!(&node.kind, Kind::Scalar { text, .. } if text == "oneshot");
            let ends = directives.and_then(|service| service.get("Type")).is_some_and(ends);
            if !ends && directives.and_then(|service| service.get("MemoryMax")).is_none() {
                let message = format!("{} may take all memory", key.text);
                self.find("no-limit", &key.origin, message, "say how much is its own: `MemoryMax: \"{{ memory }}\"`");
            }
        }
    }

    fn imports(&mut self, imports: &[(String, Origin)], default: &BTreeSet<String>, configured: &BTreeSet<String>) {
        for (at, (path, origin)) in imports.iter().enumerate() {
            let why = match () {
                () if imports.iter().take(at).any(|(other, _)| other == path) => "it is imported twice",
                () if default.contains(path) => "every image has it",
                () if configured.contains(path) => "a module whose options are set is imported on its own",
                () => continue,
            };
            self.find("unused-import", origin, format!("the import of `{path}` changes nothing"), why);
        }
    }
}

/// Whether a default is nothing that one could learn from.
fn is_empty(node: &Node) -> bool {
    match &node.kind {
        Kind::Scalar { text, .. } => text.is_empty() || node.is_null(),
        Kind::List(items) => items.is_empty(),
        Kind::Map(entries) => entries.is_empty(),
    }
}

#[cfg(test)]
#[path = "lint_tests.rs"]
mod tests;
