//! Contributions of active modules, put together to a machine.

mod expect;
mod files;
mod fixed;
mod kernel;
mod mounts;
mod people;
mod probe;
mod secrets;
mod state;
mod units;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::fields;
use super::image::Image;
use super::module::Module;
use super::provenance::{Contribution, Made, Read};
use super::resolve::Evaluator;
use super::shape::{self, Shape};
use super::template::{Scope, is_dynamic};
use super::value::Value;
use super::yaml::{Key, Kind, Node};
use super::{Failed, Project};
use crate::name::{GuestPath, OptionPath, PackageName};
use crate::origin::{Diagnostic, Origin};
use crate::system::{Certificate, Expect, Mode, OptionValue, Secret, State, System};
use crate::tree::Entry;

use kernel::Fate;

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

/// Sections that are rendered first, so that templates of the others may look at what all modules ask for.
const GATHERED: [&str; 6] = ["open", "local", "behind-firewall", "kernel-modules", "secrets", "secret-files"];

/// A machine in the making.
pub(super) struct Render<'a> {
    around: &'a Arc<Evaluator>,
    project: &'a Project,
    profiles: BTreeMap<String, Node>,
    packages: BTreeSet<PackageName>,
    build_only: BTreeSet<PackageName>,
    exclude: BTreeSet<String>,
    cmdline: Vec<String>,
    kernel_modules: Vec<kernel::KernelModule>,
    set_id: BTreeSet<GuestPath>,
    files: BTreeMap<GuestPath, (Entry, Origin)>,
    users: Claims<crate::system::User>,
    groups: Claims<crate::system::Group>,
    /// Users and groups that others name.
    wanted: Vec<people::Wanted>,
    secrets: Claims<Secret>,
    secret_files: Claims<secrets::SecretFile>,
    certificates: Claims<Certificate>,
    key_allow: Vec<(String, String)>,
    /// Secrets that others name.
    needed: Vec<secrets::Needed>,
    /// Units of packages that shall not start.
    disabled: Claims<()>,
    /// Where something is mounted on the read-only root.
    mount_points: Vec<(GuestPath, Origin, By)>,
    /// Ports that the firewall opens, by protocol.
    opened: BTreeMap<String, BTreeSet<u16>>,
    sysctl: Claims<(String, OptionPath)>,
    ports: Claims<()>,
    probes: Claims<()>,
    state: BTreeMap<GuestPath, (State, Origin, OptionPath)>,
    ssh: Option<Origin>,
    expect: Expect,
    warnings: Vec<Diagnostic>,
    errors: Vec<Diagnostic>,
    made: Made,
}

/// What comes of the modules.
pub(super) struct Rendered {
    pub system: System,
    pub warnings: Vec<Diagnostic>,
    pub made: Vec<Contribution>,
}

/// Renders the active ones of `modules`; errors are added.
pub(super) fn render(
    around: &Arc<Evaluator>,
    project: &Project,
    image: &Image,
    mode: Mode,
    modules: &[&Module],
    errors: &mut Vec<Diagnostic>,
) -> Option<Rendered> {
    let mut render = Render::new(around, project);
    render.read_profiles(modules);
    let active: Vec<&Module> =
        modules.iter().copied().filter(|module| around.active(&module.path) == Ok(true)).collect();
    for module in &active {
        render.module(module, true);
    }
    render.gather();
    for module in &active {
        render.module(module, false);
    }
    render.image();
    render.make_mount_points();
    render.write_sysctl();
    render.write_kernel_modules();
    render.write_state();
    render.write_secret_files();
    render.check_files();
    render.check_disabled();
    render.check_options(modules);
    render.check_secrets();
    render.check_people();
    let fixed = render.fixed();
    let system = fixed.map(|fixed| render.system(image, mode, modules, fixed));
    let failed = !render.errors.is_empty() || !around.state().errors.is_empty();
    errors.append(&mut render.errors);
    errors.append(&mut around.state().errors);
    if failed { None } else { Some(Rendered { system: system?, warnings: render.warnings, made: render.made.take() }) }
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
            kernel_modules: Vec::new(),
            set_id: BTreeSet::new(),
            files: BTreeMap::new(),
            users: Claims::new(),
            groups: Claims::new(),
            wanted: Vec::new(),
            secrets: Claims::new(),
            secret_files: Claims::new(),
            certificates: Claims::new(),
            key_allow: Vec::new(),
            needed: Vec::new(),
            disabled: Claims::new(),
            mount_points: Vec::new(),
            opened: BTreeMap::new(),
            sysctl: Claims::new(),
            ports: Claims::new(),
            probes: Claims::new(),
            state: BTreeMap::new(),
            ssh: None,
            expect: Expect::default(),
            warnings: Vec::new(),
            errors: Vec::new(),
            made: Made::default(),
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

    /// Renders the sections that others may look at, or all the rest.
    fn module(&mut self, module: &Module, gathered: bool) {
        let Some(by) = self.by(module) else { return };
        for (key, node) in module.body.iter().filter(|(key, _)| GATHERED.contains(&key.text.as_str()) == gathered) {
            self.section(&key.text, node, &by);
        }
    }

    /// Makes what all modules together ask for known to templates, as `gathered`.
    fn gather(&mut self) {
        let ports = |protocol: &str| -> minijinja::Value {
            self.opened.get(protocol).into_iter().flatten().map(|port| minijinja::Value::from(*port)).collect()
        };
        let load: minijinja::Value = self.kernel_modules_of(Fate::Load).map(minijinja::Value::from).collect();
        let pairs = |pairs: [(&'static str, minijinja::Value); 2]| minijinja::Value::from_pairs(BTreeMap::from(pairs));
        let open = pairs([("tcp", ports("tcp")), ("udp", ports("udp"))]);
        let texts =
            |texts: BTreeSet<&str>| -> minijinja::Value { texts.into_iter().map(minijinja::Value::from).collect() };
        let secrets = pairs([
            ("names", texts(self.secrets.keys().map(String::as_str).collect())),
            ("units", texts(self.secret_units())),
        ]);
        let gathered = BTreeMap::from([("open", open), ("load", load), ("secrets", secrets)]);
        let gathered = minijinja::Value::from_pairs(gathered);
        // Set once: one image is rendered by one evaluation.
        let _ = self.around.gathered.set(gathered);
        self.around.state().notes.gathered(&self.made);
    }

    fn section(&mut self, name: &str, node: &Node, by: &By) {
        match name {
            "packages" | "build-packages" | "exclude" | "set-id" | "cmdline" | "open" | "local" | "behind-firewall"
            | "stages" | "active" => {
                for part in parts(node) {
                    self.make(by, &BTreeSet::new(), |this| {
                        for (text, origin) in this.words(&format!("`{name}`"), &part, by) {
                            this.made.add(name, text.as_str(), &origin);
                            this.word(name, text, &origin, by);
                        }
                    });
                }
            }
            "kernel-modules" => self.kernel_modules(node, by),
            "secrets" => self.each(name, node, by, |this, key, node, by| this.secret(&key, &node, by)),
            "secret-files" => self.each(name, node, by, |this, key, node, by| this.secret_file(&key, &node, by)),
            "certificates" => self.each(name, node, by, |this, key, node, by| this.certificate(&key, &node, by)),
            "files" => self.each(name, node, by, |this, key, node, by| this.file(&key, &node, by)),
            "units" => self.each(name, node, by, |this, key, node, by| this.unit(&key, &node, by)),
            "users" => self.each(name, node, by, |this, key, node, _| this.user(&key, &node)),
            "groups" => self.each(name, node, by, |this, key, node, _| this.group(&key, &node)),
            "sysctl" => self.each(name, node, by, |this, key, node, by| {
                if let Some(node) = this.plain(node, by) {
                    this.kernel_setting(&key, &node, by);
                }
            }),
            "mounts" => self.each(name, node, by, |this, key, node, by| this.mount(&key, &node, by)),
            "ssh" => self.whole(name, node, by, |this, node| this.ssh(&node, by)),
            "state" => self.each_item(name, node, by, |this, node| this.state(&node, by)),
            "journal-allow" => self.each_item(name, node, by, |this, node| this.allow(&node)),
            "key-allow" => self.each_item(name, node, by, |this, node| this.allow_key(&node)),
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
            "cmdline" if !is_one_parameter(&text) => {
                let error = Diagnostic::error(origin, format!("{text:?} is not one kernel parameter"));
                self.errors.push(error.help("a space may stand between double quotes only, such as a=\"b c\""));
            }
            "cmdline" if self.cmdline.contains(&text) => {}
            "cmdline" => self.cmdline.push(text),
            "open" | "local" | "behind-firewall" => {
                text.split_whitespace().for_each(|port| self.port(section, port.into(), origin, by));
            }
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
        let read = |option: &str| BTreeSet::from([Read::Option(option.to_owned())]);
        if let Some((Value::List(items), origin, _)) = self.option("system.packages") {
            for item in &items {
                let place = self.place_of("system.packages", item.as_text().unwrap_or(""), &origin);
                if let Some(name) = self.package(item.as_text().unwrap_or(""), &place) {
                    self.made.add("packages", name.as_str(), &place);
                    self.packages.insert(name);
                }
            }
            self.made.finish(None, &read("system.packages"));
        }
        if let Some((Value::Map(files), origin, option)) = self.option("environment.files") {
            let by = By { scope: Scope::default(), option, folder: "images".into() };
            for (path, value) in files {
                let place = self.place_of("environment.files", &path, &origin);
                let node = files::record(&value, &place);
                self.file(&Key { text: path, origin: place }, &node, &by);
            }
            self.made.finish(None, &read("environment.files"));
        }
    }

    /// Refuses values of active modules that name a secret which nobody declares.
    fn check_options(&mut self, modules: &[&Module]) {
        for module in modules.iter().filter(|module| self.around.active(&module.path) == Ok(true)) {
            for (path, declared) in &module.options {
                let Some((value, origin, _)) = self.option(path) else { continue };
                let names = declared.ty.secrets(&value).into_iter().map(str::to_owned);
                let needed = |name| secrets::Needed { name, by: format!("`{path}`"), origin: origin.clone() };
                self.needed.extend(names.map(needed));
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

    /// The words of a list. One that is an expression may give a list, whose words take its place.
    fn words(&mut self, what: &str, node: &Node, by: &By) -> Vec<(String, Origin)> {
        let whole = match node.kind {
            Kind::Scalar { .. } => self.around.expand(node, &by.scope),
            _ => Ok(node.clone()),
        };
        let Ok(whole) = whole else { return Vec::new() };
        let mut items = Vec::new();
        for item in fields::list(&whole, what, &mut self.errors) {
            let Some(item) = self.plain(item.clone(), by) else { continue };
            match self.around.expand(&item, &by.scope) {
                Ok(Node { kind: Kind::List(inner), .. }) => items.extend(inner),
                Ok(item) => items.push(item),
                Err(Failed) => {}
            }
        }
        fields::texts(&Node { kind: Kind::List(items), ..whole }, what, &mut self.errors)
    }

    /// The value of `{ value: ..., when: ... }` if its condition holds; other nodes as they are.
    fn plain(&self, node: Node, by: &By) -> Option<Node> {
        match node.get("value") {
            Some(value) if self.switched_on(&node, by) => Some(value.clone()),
            Some(_) => None,
            None => Some(node),
        }
    }

    /// A section that is one record with a condition of its own.
    fn whole(&mut self, name: &str, node: &Node, by: &By, mut take: impl FnMut(&mut Self, Node)) {
        let Some(shape) = shape::section(name) else { return };
        self.make(by, &BTreeSet::new(), |this| {
            if this.switched_on(node, by)
                && let Some(expanded) = this.expanded(node, shape, &format!("`{name}`"), &by.scope)
            {
                this.made.add(name, name, &node.origin);
                take(this, expanded);
            }
        });
    }

    /// The entries of a section that is a map, those whose conditions hold.
    fn each(&mut self, name: &str, node: &Node, by: &By, mut take: impl FnMut(&mut Self, Key, Node, &By)) {
        let Some(Shape::Map(shape)) = shape::section(name) else { return };
        let Some((node, read)) = self.top(node, by) else { return };
        for (key, node) in fields::map(&node, &format!("`{name}`"), &mut self.errors).to_vec() {
            self.make(by, &read, |this| {
                for by in this.repeated(&node, by) {
                    if !this.switched_on(&node, &by) {
                        continue;
                    }
                    let Ok(key) = this.around.expand_key(&key, &by.scope) else { continue };
                    let node = once(&node);
                    let node = match name {
                        "files" => this.written(&key, &node, shape, &by.scope),
                        _ => this.expanded(&node, shape, &format!("`{}`", key.text), &by.scope),
                    };
                    if let Some(node) = node {
                        this.made.add(name, key.text.as_str(), &key.origin);
                        take(this, key, node, &by);
                    }
                }
            });
        }
    }

    /// The entries of a section that is a list of records, those whose conditions hold.
    fn each_item(&mut self, name: &str, node: &Node, by: &By, mut take: impl FnMut(&mut Self, Node)) {
        let Some(Shape::List(shape)) = shape::section(name) else { return };
        let Some((node, read)) = self.top(node, by) else { return };
        for node in fields::list(&node, &format!("`{name}`"), &mut self.errors).to_vec() {
            self.make(by, &read, |this| {
                for by in this.repeated(&node, by) {
                    if this.switched_on(&node, &by)
                        && let Some(node) =
                            this.expanded(&once(&node), shape, &format!("an entry of `{name}`"), &by.scope)
                    {
                        this.made.add(name, item_name(&node), &node.origin);
                        take(this, node);
                    }
                }
            });
        }
    }

    /// Who contributes an entry: the module, once, or with each entry of what `each` names.
    fn repeated(&self, node: &Node, by: &By) -> Vec<By> {
        let Some(each) = node.get("each") else { return vec![by.clone()] };
        let entries = self.around.entries(each, &by.scope).unwrap_or_default();
        let with = |(key, value)| By { scope: by.scope.with_item(key, value), ..by.clone() };
        entries.into_iter().map(with).collect()
    }

    /// A section that is one template becomes its value, with what that reads; entries of others are left as they are.
    fn top(&self, node: &Node, by: &By) -> Option<(Node, BTreeSet<Read>)> {
        match node.kind {
            Kind::Scalar { .. } => {
                self.around.state().notes.open();
                let expanded = self.around.expand(node, &by.scope);
                let read = self.around.state().notes.close();
                Some((expanded.ok()?, read))
            }
            _ => Some((node.clone(), BTreeSet::new())),
        }
    }

    /// Makes something, and notes who did and what was read for it, `read` included.
    fn make(&mut self, by: &By, read: &BTreeSet<Read>, make: impl FnOnce(&mut Self)) {
        self.around.state().notes.open();
        make(self);
        let mut all = self.around.state().notes.close();
        all.extend(read.iter().cloned());
        self.made.finish(by.scope.prefix().map(|prefix| prefix.replace('.', "/")).as_deref(), &all);
    }

    /// What options say that rave itself reads.
    fn fixed(&mut self) -> Option<fixed::Fixed> {
        self.around.state().notes.open();
        let fixed = fixed::read(self.around, &mut self.errors);
        let read = self.around.state().notes.close();
        for read in read {
            if let Read::Option(path) = &read
                && let Some(declared) = self.around.catalogue.get(path)
            {
                self.made.add("rave", path.as_str(), &declared.origin);
                self.made.finish(None, &BTreeSet::from([read]));
            }
        }
        fixed
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
        self.expect.secrets = self.expected_secrets();
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
            initrd_modules: self.kernel_modules_of(Fate::Initrd).map(str::to_owned).collect(),
            secrets: std::mem::take(&mut self.secrets).into_iter().map(|(name, (secret, _))| (name, secret)).collect(),
            key_allow: std::mem::take(&mut self.key_allow),
            certificates: std::mem::take(&mut self.certificates).into_iter().map(|(name, (c, _))| (name, c)).collect(),
            set_id: self.set_id.clone(),
            disk: fixed.disk,
            machine: fixed.machine,
            state: std::mem::take(&mut self.state).into_iter().map(|(path, (state, ..))| (path, state)).collect(),
            expect: std::mem::take(&mut self.expect),
            options,
        }
    }
}

/// Whether a text is one parameter to the kernel, which splits its command line at spaces outside of double quotes.
fn is_one_parameter(text: &str) -> bool {
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_control() || (c.is_whitespace() && !quoted) => return false,
            _ => {}
        }
    }
    !text.is_empty() && !quoted
}

/// The entries of a list each on its own, so that it is known what each of them reads.
fn parts(node: &Node) -> Vec<Node> {
    match &node.kind {
        Kind::List(items) => {
            items.iter().map(|item| Node { kind: Kind::List(vec![item.clone()]), ..node.clone() }).collect()
        }
        _ => vec![node.clone()],
    }
}

/// What an entry of a list of records is known by.
fn item_name(node: &Node) -> &str {
    let named = ["id", "name", "path", "pattern", "message"].into_iter().find_map(|key| node.get(key));
    match named.map(|node| &node.kind) {
        Some(Kind::Scalar { text, .. }) => text.trim(),
        _ => "",
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
