//! YAML modules and images: parse, resolve, render. Pure: texts come in, a [`System`] or all that is wrong
//! with the texts comes out.

mod calendar;
mod compare;
mod declare;
mod escape;
pub(crate) mod fields;
mod format;
mod gathered;
mod image;
mod imports;
mod lint;
mod merge;
mod module;
mod names;
mod provenance;
mod recipient;
mod reference;
mod render;
mod resolve;
mod scalars;
mod schema;
mod shape;
mod template;
mod types;
mod value;
mod write;
pub(crate) mod yaml;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

pub use format::format;
use image::Image;
use imports::{Catalogue, Closure};
pub use lint::{Finding, LINTS, lint};
use module::Module;
pub use provenance::{Contribution, Provenance};
pub use reference::{Reference, descriptions, reference, search};
use render::Rendered;
use resolve::Evaluator;
pub use schema::{image_schema, module_schema};
pub use write::write;

use crate::name::OptionPath;
use crate::origin::{Diagnostic, Origin, Source};
use crate::system::{Mode, System};

/// The texts of a project, read by the caller: the library's own, with the project's put over them by path.
#[derive(Debug, Clone, Default)]
pub struct Project {
    /// Image files by name: `web` for images/web.yaml.
    pub images: BTreeMap<String, Arc<Source>>,
    /// Module files by path: `services/nginx` for modules/services/nginx.yaml.
    pub modules: BTreeMap<String, Arc<Source>>,
    /// Files that modules and images name as `template:`, `source:` or `key:`, by path from the project's top:
    /// `modules/services/prometheus.yml`, `images/motd`.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Project {
    /// Makes its images trees of packages that never boot: these take no part in what every bootable image has, nor in what a
    /// mode says of it.
    pub fn never_boots(&mut self) {
        for (module, imports) in [("default", "system"), ("mode/safe", ""), ("mode/full-pipe", "")] {
            let text = format!("description: nothing\nimports: [{imports}]\n");
            self.modules.insert(module.to_owned(), Source::new(format!("<rave>/modules/{module}.yaml"), text));
        }
    }
}

/// What an image comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The machine.
    pub system: System,
    /// What the modules warn of.
    pub warnings: Vec<Diagnostic>,
    /// Every option of the imported modules: where it is declared and who set it.
    pub settings: BTreeMap<OptionPath, Trail>,
    /// What each part of the machine was made from.
    pub provenance: Provenance,
}

/// How one option came to its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trail {
    /// The place of the declaration.
    pub declared: Origin,
    /// What the option is for.
    pub description: String,
    /// Every definition, strongest first.
    pub definitions: Vec<Definition>,
}

/// One place that gives an option a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// How strong it is.
    pub level: Level,
    /// The place of the value.
    pub origin: Origin,
    /// Whether it is, or is a part of, the final value.
    pub used: bool,
}

/// How strong a definition is; later ones win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `!default`.
    WeakDefault,
    /// The option's own default.
    Default,
    /// `set:` of a module.
    Module,
    /// `config:` of an image.
    Image,
    /// `set:` of the mode.
    Mode,
    /// `--set`.
    CommandLine,
    /// `!force`.
    Force,
}

impl Level {
    /// Its name, for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::WeakDefault => "weak-default",
            Self::Default => "default",
            Self::Module => "module",
            Self::Image => "image",
            Self::Mode => "mode",
            Self::CommandLine => "command-line",
            Self::Force => "force",
        }
    }

    /// Where such a definition stands, for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::WeakDefault => "marked !default",
            Self::Default => "as defaults",
            Self::Module => "by modules",
            Self::Image => "by the image",
            Self::Mode => "by the mode",
            Self::CommandLine => "on the command line",
            Self::Force => "marked !force",
        }
    }
}

/// A value that could not be had; why has been told in a diagnostic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Failed;

/// Stack for an evaluation: options refer to options, and each step runs a template.
const STACK: usize = 64 << 20;

/// Evaluates one image of the project. `overrides` are the command line's `--set option=value`, the value in YAML;
/// `mode` is stronger than what the image says.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn evaluate(
    project: &Project,
    image: &str,
    overrides: &[(String, String)],
    mode: Option<Mode>,
) -> Result<Evaluation, Vec<Diagnostic>> {
    std::thread::scope(|scope| {
        let run = || run(project, image, overrides, mode);
        match std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run) {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(_) => run(),
        }
    })
}

fn run(
    project: &Project,
    name: &str,
    overrides: &[(String, String)],
    mode: Option<Mode>,
) -> Result<Evaluation, Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let mut modules = Module::parse_all(project);
    let catalogue = Catalogue::new(&mut modules);
    let Some(image) = image::read(project, name, &mut errors) else { return Err(tidy(errors)) };
    let asked = mode.or(image.mode);
    let mode = asked.unwrap_or_default();
    let mode_module = format!("mode/{mode}");

    let mut closure = Closure::new(&modules, &catalogue);
    closure.take("default");
    match asked {
        Some(_) => closure.import(&mode_module, &image.origin),
        None => closure.take(&mode_module),
    }
    for (path, place) in &image.imports {
        closure.import(path, place);
    }
    for (depth, config) in image.files.iter().enumerate().filter_map(|(depth, file)| Some((depth, file.get("config")?)))
    {
        closure.image(config, depth);
    }
    for (option, value) in overrides {
        closure.command_line(option, value);
    }
    closure.complete(&mode_module);
    let Closure { imported, definitions, errors: found, .. } = closure;
    errors.extend(found);
    let taken: Vec<&Module> = imported.iter().filter_map(|path| modules.get(path)).collect();
    errors.extend(taken.iter().flat_map(|module| module.errors.iter().cloned()));

    let conditions = taken.iter().filter_map(|module| Some((module.path.clone(), module.get("when")?.clone())));
    let around = Arc::new(Evaluator {
        conditions: conditions.collect(),
        globals: globals(&image, mode),
        gathered: OnceLock::new(),
        engine: template::engine(),
        state: Mutex::default(),
        definitions,
        catalogue,
    });
    let settings = settings(&around, &taken);
    errors.append(&mut around.state().errors);
    // What is wrong with the rest is told in the same round.
    let sound: Vec<&Module> = taken.into_iter().filter(|module| module.errors.is_empty()).collect();
    match render::render(&around, project, &image, mode, &sound, &mut errors) {
        Some(Rendered { system, mut warnings, made }) => {
            let agrees = |option: &OptionPath, set: &Origin| around.comes_to(option, set, &system);
            warnings.extend(lint::lost_to_mode(&settings, agrees));
            let provenance = around.state().notes.provenance(made);
            Ok(Evaluation { system, warnings, settings, provenance })
        }
        None => Err(tidy(errors)),
    }
}

/// Names that templates know besides options.
fn globals(image: &Image, mode: Mode) -> BTreeMap<String, minijinja::Value> {
    let about = BTreeMap::from([("name", image.name.as_str()), ("version", image.version.as_str())]);
    BTreeMap::from([
        ("image".to_owned(), minijinja::Value::from_pairs(about)),
        ("mode".to_owned(), minijinja::Value::from(mode.to_string())),
    ])
}

/// Evaluates every option of the modules, and every condition. An option that nobody gives a value is an error
/// only where its module is active.
fn settings(around: &Arc<Evaluator>, modules: &[&Module]) -> BTreeMap<OptionPath, Trail> {
    let mut settings = BTreeMap::new();
    for module in modules {
        let active = around.active(&module.path) == Ok(true);
        for (path, declared) in &module.options {
            if !active && !around.has_value(path, declared) {
                continue;
            }
            if let (Ok(setting), Ok(option)) = (around.setting(path), path.parse()) {
                let (declared, description) = (declared.origin.clone(), declared.description.clone());
                let definitions = setting.definitions.clone();
                settings.insert(option, Trail { declared, description, definitions });
            }
        }
    }
    settings
}

/// Diagnostics in the order of files and places, each once.
fn tidy(mut errors: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let key = |diagnostic: &Diagnostic| {
        let place = diagnostic.labels.first().map(|(origin, _)| (origin.source.name.clone(), origin.span.start));
        (place, diagnostic.message.clone())
    };
    errors.sort_by_cached_key(key);
    errors.dedup();
    errors
}

#[cfg(test)]
mod tests;
