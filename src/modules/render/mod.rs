//! Contributions of active modules, put together to a machine.

mod expect;
mod files;
mod fixed;
mod people;
mod probe;
mod state;
mod units;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::fields;
use super::image::Image;
use super::module::Module;
use super::resolve::Evaluator;
use super::shape::{self, Shape};
use super::template::{Scope, is_dynamic};
use super::value::Value;
use super::yaml::{Key, Kind, Node};
use super::{Failed, Project};
use crate::name::{GuestPath, OptionPath, PackageName};
use crate::origin::{Diagnostic, Origin};
use crate::system::{Expect, Mode, OptionValue, State, System};
use crate::tree::Entry;

/// Who contributes something.
#[derive(Clone)]
struct By {
    scope: Scope,
    /// The option that asks for it.
    option: OptionPath,
    /// Where the files that it names stand.
    folder: String,
}

/// What is claimed by name, and where.
type Claims<T> = BTreeMap<String, (T, Origin)>;

/// A machine in the making.
pub(super) struct Render<'a> {
    around: &'a Arc<Evaluator>,
    project: &'a Project,
    profiles: BTreeMap<String, Node>,
    packages: BTreeSet<PackageName>,
    build_only: BTreeSet<PackageName>,
    exclude: BTreeSet<String>,
    cmdline: Vec<String>,
    initrd_modules: BTreeSet<String>,
    set_id: BTreeSet<GuestPath>,
    files: BTreeMap<GuestPath, (Entry, Origin)>,
    users: Claims<crate::system::User>,
    groups: Claims<crate::system::Group>,
    /// Users and groups that units run as and that own state.
    wanted: Vec<people::Wanted>,
    sysctl: Claims<(String, OptionPath)>,
    ports: Claims<()>,
    probes: Claims<()>,
    state: BTreeMap<GuestPath, (State, Origin, OptionPath)>,
    ssh: Option<Origin>,
    expect: Expect,
    warnings: Vec<Diagnostic>,
    errors: Vec<Diagnostic>,
}

/// Renders the active ones of `modules`; errors are added.
pub(super) fn render(
    around: &Arc<Evaluator>,
    project: &Project,
    image: &Image,
    mode: Mode,
    modules: &[&Module],
    errors: &mut Vec<Diagnostic>,
) -> Option<(System, Vec<Diagnostic>)> {
    let mut render = Render::new(around, project);
    render.read_profiles(modules);
    for module in modules {
        if around.active(&module.path) == Ok(true) {
            render.module(module);
        }
    }
    render.image();
    render.check_files();
    render.check_people();
    render.write_sysctl();
    render.write_state();
    let fixed = fixed::read(around, &mut render.errors);
    let system = fixed.map(|fixed| render.system(image, mode, modules, fixed));
    let failed = !render.errors.is_empty() || !around.state().errors.is_empty();
    errors.append(&mut render.errors);
    errors.append(&mut around.state().errors);
    if failed { None } else { Some((system?, render.warnings)) }
}

impl<'a> Render<'a> {
    fn new(around: &'a Arc<Evaluator>, project: &'a Project) -> Self {
        Self {
            around,
            project,
            profiles: BTreeMap::new(),
            packages: BTreeSet::new(),
            build_only: BTreeSet::new(),
            exclude: BTreeSet::new(),
            cmdline: Vec::new(),
            initrd_modules: BTreeSet::new(),
            set_id: BTreeSet::new(),
            files: BTreeMap::new(),
            users: Claims::new(),
            groups: Claims::new(),
            wanted: Vec::new(),
            sysctl: Claims::new(),
            ports: Claims::new(),
            probes: Claims::new(),
            state: BTreeMap::new(),
            ssh: None,
            expect: Expect::default(),
            warnings: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn read_profiles(&mut self, modules: &[&Module]) {
        for module in modules {
            let profiles = module.get("profiles").map(|node| self.around.expand(node, &Scope::module(&module.path)));
            if let Some(Ok(Node { kind: Kind::Map(entries), .. })) = profiles {
                self.profiles.extend(entries.into_iter().map(|(key, node)| (key.text, node)));
            }
        }
    }

    fn by(&self, module: &Module) -> Option<By> {
        let prefix = module.path.replace('/', ".");
        let enable = format!("{prefix}.enable");
        let option = match module.options.contains_key(&enable) {
            true => enable,
            false => prefix,
        };
        let folder = module.path.rsplit_once('/').map_or("modules".to_owned(), |(dir, _)| format!("modules/{dir}"));
        // Module paths and option names were checked when they were read.
        Some(By { scope: Scope::module(&module.path), option: option.parse().ok()?, folder })
    }

    fn module(&mut self, module: &Module) {
        let Some(by) = self.by(module) else { return };
        for (key, node) in &module.body {
            self.section(&key.text, node, &by);
        }
    }

    fn section(&mut self, name: &str, node: &Node, by: &By) {
        match name {
            "packages" | "build-packages" | "exclude" | "set-id" | "cmdline" | "initrd-modules" | "open" | "local"
            | "stages" | "active" => {
                for (text, origin) in self.texts(name, node, by) {
                    self.word(name, text, &origin, by);
                }
            }
            "files" => self.each(name, node, by, |this, key, node, by| this.file(&key, &node, by)),
            "units" => self.each(name, node, by, |this, key, node, by| this.unit(&key, &node, by)),
            "users" => self.each(name, node, by, |this, key, node, _| this.user(&key, &node)),
            "groups" => self.each(name, node, by, |this, key, node, _| this.group(&key, &node)),
            "sysctl" => self.each(name, node, by, |this, key, node, by| this.kernel_setting(&key, &node, by)),
            "mounts" => self.each(name, node, by, |this, key, node, by| this.mount(&key, &node, by)),
            "ssh" => self.whole(name, node, by, |this, node| this.ssh(&node, by)),
            "state" => self.each_item(name, node, by, |this, node| this.state(&node, by)),
            "journal-allow" => self.each_item(name, node, by, |this, node| this.allow(&node)),
            "probes" => self.each_item(name, node, by, |this, node| this.probe(&node, by)),
            "assertions" => self.each_item(name, node, by, |this, node| this.claim(&node, by, false)),
            "warnings" => self.each_item(name, node, by, |this, node| this.claim(&node, by, true)),
            _ => {}
        }
    }

    /// One text of a list of texts.
    fn word(&mut self, section: &str, text: String, origin: &Origin, by: &By) {
        match section {
            "packages" => drop(self.package(&text, origin).map(|name| self.packages.insert(name))),
            "build-packages" => drop(self.package(&text, origin).map(|name| self.build_only.insert(name))),
            "exclude" if !text.starts_with('/') => self.refuse(origin, "a path that does not ship must begin with /"),
            "exclude" => drop(self.exclude.insert(text)),
            "set-id" => match text.parse::<GuestPath>() {
                Ok(path) => drop(self.set_id.insert(path)),
                Err(error) => self.refuse(origin, error.to_string()),
            },
            "cmdline" if text.chars().any(char::is_control) || text.is_empty() => {
                self.refuse(origin, "a word of the kernel command line must be one line");
            }
            "cmdline" if self.cmdline.contains(&text) => {}
            "cmdline" => self.cmdline.push(text),
            "initrd-modules" if !expect::is_kernel_module(&text) => {
                self.refuse(origin, format!("{text:?} is not the name of a kernel module"));
            }
            "initrd-modules" => drop(self.initrd_modules.insert(text)),
            "open" | "local" => text.split_whitespace().for_each(|port| self.port(section, port.into(), origin, by)),
            "active" => self.active_unit(text, origin, by),
            _ => self.stage(text, origin),
        }
    }

    fn package(&mut self, text: &str, origin: &Origin) -> Option<PackageName> {
        match text.parse() {
            Ok(name) => Some(name),
            Err(error) => {
                self.refuse(origin, format!("{error}"));
                None
            }
        }
    }

    fn refuse(&mut self, origin: &Origin, message: impl Into<String>) {
        self.errors.push(Diagnostic::error(origin, message));
    }

    /// What options of an image add besides modules: `system.packages` and `environment.files`.
    fn image(&mut self) {
        if let Some((Value::List(items), origin, _)) = self.option("system.packages") {
            for item in &items {
                let place = self.place_of("system.packages", item.as_text().unwrap_or(""), &origin);
                if let Some(name) = self.package(item.as_text().unwrap_or(""), &place) {
                    self.packages.insert(name);
                }
            }
        }
        if let Some((Value::Map(files), origin, option)) = self.option("environment.files") {
            let by = By { scope: Scope::default(), option, folder: "images".into() };
            for (path, value) in files {
                let place = self.place_of("environment.files", &path, &origin);
                let node = files::record(&value, &place);
                self.file(&Key { text: path, origin: place }, &node, &by);
            }
        }
    }

    /// The value of an option that may not be declared, and where it was set.
    fn option(&self, path: &str) -> Option<(Value, Origin, OptionPath)> {
        let declared = self.around.catalogue.get(path).filter(|declared| self.around.has_value(path, declared))?;
        let setting = self.around.setting(path).ok()?;
        let set = setting.definitions.first().map_or(&declared.origin, |definition| &definition.origin);
        Some((setting.value.clone(), set.clone(), path.parse().ok()?))
    }

    /// Where an image or module wrote a key or an entry of an option's value.
    fn place_of(&self, option: &str, word: &str, otherwise: &Origin) -> Origin {
        let defs = self.around.definitions.get(option).into_iter().flatten().rev();
        let found = defs.filter_map(|(def, _)| match &def.node.kind {
            Kind::Map(entries) => entries.iter().find(|(key, _)| key.text == word).map(|(key, _)| key.origin.clone()),
            Kind::List(items) => {
                let same = |node: &&Node| matches!(&node.kind, Kind::Scalar { text, .. } if text == word);
                items.iter().find(same).map(|node| node.origin.clone())
            }
            Kind::Scalar { .. } => None,
        });
        found.into_iter().next().unwrap_or_else(|| otherwise.clone())
    }

    /// A section without templates, checked once more if it held some.
    fn expanded(&mut self, node: &Node, shape: &Shape, what: &str, scope: &Scope) -> Option<Node> {
        let expanded = self.around.expand(node, scope).ok()?;
        if is_dynamic(node) {
            let before = self.errors.len();
            shape::check(&expanded, shape, what, &mut self.errors);
            if self.errors.len() > before {
                return None;
            }
        }
        Some(expanded)
    }

    fn texts(&mut self, name: &str, node: &Node, by: &By) -> Vec<(String, Origin)> {
        let Some(shape) = shape::section(name) else { return Vec::new() };
        let what = format!("`{name}`");
        let Some(expanded) = self.expanded(node, shape, &what, &by.scope) else { return Vec::new() };
        fields::texts(&expanded, &what, &mut self.errors)
    }

    /// A section that is one record with a condition of its own.
    fn whole(&mut self, name: &str, node: &Node, by: &By, mut take: impl FnMut(&mut Self, Node)) {
        let Some(shape) = shape::section(name) else { return };
        if self.switched_on(node, by)
            && let Some(node) = self.expanded(node, shape, &format!("`{name}`"), &by.scope)
        {
            take(self, node);
        }
    }

    /// The entries of a section that is a map, those whose conditions hold.
    fn each(&mut self, name: &str, node: &Node, by: &By, mut take: impl FnMut(&mut Self, Key, Node, &By)) {
        let Some(Shape::Map(shape)) = shape::section(name) else { return };
        let Ok(node) = self.top(node, by) else { return };
        for (key, node) in fields::map(&node, &format!("`{name}`"), &mut self.errors).to_vec() {
            for by in self.repeated(&node, by) {
                if !self.switched_on(&node, &by) {
                    continue;
                }
                let Ok(key) = self.around.expand_key(&key, &by.scope) else { continue };
                if let Some(node) = self.expanded(&once(&node), shape, &format!("`{}`", key.text), &by.scope) {
                    take(self, key, node, &by);
                }
            }
        }
    }

    /// The entries of a section that is a list of records, those whose conditions hold.
    fn each_item(&mut self, name: &str, node: &Node, by: &By, mut take: impl FnMut(&mut Self, Node)) {
        let Some(Shape::List(shape)) = shape::section(name) else { return };
        let Ok(node) = self.top(node, by) else { return };
        for node in fields::list(&node, &format!("`{name}`"), &mut self.errors).to_vec() {
            for by in self.repeated(&node, by) {
                if self.switched_on(&node, &by)
                    && let Some(node) = self.expanded(&once(&node), shape, &format!("an entry of `{name}`"), &by.scope)
                {
                    take(self, node);
                }
            }
        }
    }

    /// Who contributes an entry: the module, once, or with each entry of what `each` names.
    fn repeated(&self, node: &Node, by: &By) -> Vec<By> {
        let Some(each) = node.get("each") else { return vec![by.clone()] };
        let entries = self.around.entries(each, &by.scope).unwrap_or_default();
        let with = |(key, value)| By { scope: by.scope.with_item(key, value), ..by.clone() };
        entries.into_iter().map(with).collect()
    }

    /// A section that is one template becomes its value; entries of others are left as they are.
    fn top(&self, node: &Node, by: &By) -> Result<Node, Failed> {
        match node.kind {
            Kind::Scalar { .. } => self.around.expand(node, &by.scope),
            _ => Ok(node.clone()),
        }
    }

    fn switched_on(&self, node: &Node, by: &By) -> bool {
        node.get("when").is_none_or(|when| self.around.holds(when, &by.scope) == Ok(true))
    }

    fn system(&mut self, image: &Image, mode: Mode, modules: &[&Module], fixed: fixed::Fixed) -> System {
        let paths = modules.iter().flat_map(|module| module.options.keys());
        let options = paths.filter_map(|path| {
            let (value, origin, option) = self.option(path)?;
            Some((option, OptionValue { value: value.json(), origin: origin.to_string() }))
        });
        let options = options.collect();
        // What somebody asks for by name ships, although another module only configures with it.
        let packages = std::mem::take(&mut self.packages);
        self.expect.set_id = self.set_id.clone();
        self.expect.sysctl = std::mem::take(&mut self.sysctl).into_iter().map(|(key, (set, _))| (key, set)).collect();
        System {
            name: image.name.clone(),
            version: image.version.clone(),
            mode,
            archive: image.archive.clone(),
            packages: packages.clone(),
            recommends: fixed.recommends,
            build_only: std::mem::take(&mut self.build_only).difference(&packages).cloned().collect(),
            exclude: std::mem::take(&mut self.exclude).into_iter().collect(),
            users: std::mem::take(&mut self.users).into_iter().map(|(name, (user, _))| (name, user)).collect(),
            groups: std::mem::take(&mut self.groups).into_iter().map(|(name, (group, _))| (name, group)).collect(),
            tree: std::mem::take(&mut self.files).into_iter().map(|(path, (entry, _))| (path, entry)).collect(),
            cmdline: std::mem::take(&mut self.cmdline),
            initrd_modules: std::mem::take(&mut self.initrd_modules),
            set_id: self.set_id.clone(),
            disk: fixed.disk,
            machine: fixed.machine,
            state: std::mem::take(&mut self.state).into_iter().map(|(path, (state, ..))| (path, state)).collect(),
            expect: std::mem::take(&mut self.expect),
            options,
        }
    }
}

/// An entry without its condition and its `each`, which have been followed.
fn once(node: &Node) -> Node {
    let mut node = node.clone();
    if let Kind::Map(entries) = &mut node.kind {
        entries.retain(|(key, _)| !["each", "when"].contains(&key.text.as_str()));
    }
    node
}
