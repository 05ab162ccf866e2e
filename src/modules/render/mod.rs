//! Contributions of active modules, put together to a machine.

mod entries;
mod expect;
mod files;
mod fixed;
mod formed;
mod held;
mod https;
mod kernel;
mod mounts;
mod options;
mod people;
mod prepare;
mod probe;
mod secrets;
mod state;
mod units;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::image::Image;
use super::module::Module;
use super::provenance::{Contribution, Made, Read};
use super::resolve::Evaluator;
use super::template::Scope;
use super::yaml::{Kind, Node};
use super::{Failed, Project};
use crate::name::{GuestPath, OptionPath, PackageName};
use crate::origin::{Diagnostic, Origin};
use crate::system::{Certificate, Expect, Https, Mode, OptionValue, Secret, State, System, Validation};
use crate::tree::Entry;

use entries::parts;
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

impl By {
    /// The module's name as a part of the name of a file: `services-nginx`.
    fn name(&self) -> String {
        self.scope.prefix().unwrap_or("image").replace('.', "-")
    }
}

/// What is claimed by name, and where.
type Claims<T> = BTreeMap<String, (T, Origin)>;

/// Sections that are rendered first, so that templates of the others may look at what all modules ask for.
const GATHERED: [&str; 6] = ["open", "local", "behind-firewall", "kernel-modules", "secrets", "secret-files"];

/// A machine in the making.
pub(super) struct Render<'a> {
    around: &'a Arc<Evaluator>,
    project: &'a Project,
    /// Whether something is known to be wrong, so that parts of the machine are missing.
    partial: bool,
    profiles: BTreeMap<String, Node>,
    packages: BTreeSet<PackageName>,
    build_only: BTreeSet<PackageName>,
    starts: BTreeMap<PackageName, OptionPath>,
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
    /// By unit and drop-in, in the order in which systemd reads them: a unit's own has no name here.
    unit_files: BTreeMap<(String, String), held::UnitFile>,
    /// Where something is mounted on the read-only root.
    mount_points: Vec<(GuestPath, Origin, By)>,
    /// Ports that the firewall opens, by protocol.
    opened: BTreeMap<String, BTreeSet<u16>>,
    sysctl: Claims<(String, OptionPath)>,
    ports: Claims<()>,
    probes: Claims<()>,
    state: BTreeMap<GuestPath, (State, Origin, OptionPath)>,
    ssh: Option<Origin>,
    https: Claims<Https>,
    prepare: Claims<Vec<String>>,
    validate: Claims<Validation>,
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

/// Renders the active ones of `modules`; errors are added. Where there are some already, what would be found missing
/// may be missing because of these, and is not told.
pub(super) fn render(
    around: &Arc<Evaluator>,
    project: &Project,
    image: &Image,
    mode: Mode,
    modules: &[&Module],
    errors: &mut Vec<Diagnostic>,
) -> Option<Rendered> {
    let partial = !errors.is_empty();
    let mut render = Render { partial, ..Render::new(around, project) };
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
    render.expect_of_units();
    render.make_mount_points();
    render.write_sysctl();
    render.write_kernel_modules();
    render.write_state();
    render.write_secret_files();
    render.check_files();
    render.check_disabled();
    if !partial {
        render.check_set_id();
        render.check_options(modules);
        render.check_secrets();
        render.check_people();
    }
    let fixed = render.fixed();
    let system = fixed.map(|fixed| render.system(image, mode, modules, fixed));
    let failed = partial || !render.errors.is_empty() || !around.state().errors.is_empty();
    errors.append(&mut render.errors);
    errors.append(&mut around.state().errors);
    if failed { None } else { Some(Rendered { system: system?, warnings: render.warnings, made: render.made.take() }) }
}

impl<'a> Render<'a> {
    fn new(around: &'a Arc<Evaluator>, project: &'a Project) -> Self {
        Self {
            around,
            project,
            partial: false,
            profiles: BTreeMap::new(),
            packages: BTreeSet::new(),
            build_only: BTreeSet::new(),
            starts: BTreeMap::new(),
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
            unit_files: BTreeMap::new(),
            mount_points: Vec::new(),
            opened: BTreeMap::new(),
            sysctl: Claims::new(),
            ports: Claims::new(),
            probes: Claims::new(),
            state: BTreeMap::new(),
            ssh: None,
            https: Claims::new(),
            prepare: Claims::new(),
            validate: Claims::new(),
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
        // Set once: one image is rendered by one evaluation.
        let _ = self.around.gathered.set(gathered);
        self.around.state().notes.gathered(&self.made);
    }

    fn section(&mut self, name: &str, node: &Node, by: &By) {
        match name {
            "packages" | "build-packages" | "exclude" | "set-id" | "certificate-files" | "cmdline" | "open"
            | "local" | "behind-firewall" | "stages" | "active" => {
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
            "prepare" => self.each(name, node, by, |this, key, node, _| this.prepare(&key, &node)),
            "validate" => self.each(name, node, by, |this, key, node, _| this.validate(&key, &node)),
            "ssh" => self.whole(name, node, by, |this, node| this.ssh(&node, by)),
            "https" => self.each(name, node, by, |this, key, node, by| this.https(&key, &node, by)),
            "state" => self.each_item(name, node, by, |this, node| this.state(&node, by)),
            "journal-allow" => self.each_item(name, node, by, |this, node| this.allow(&node)),
            "suite-allow" => self.each_item(name, node, by, |this, node| this.allow_suite(&node)),
            "key-allow" => self.each_item(name, node, by, |this, node| this.allow_key(&node)),
            "probes" => self.each_item(name, node, by, |this, node| this.probe(&node, by)),
            "assertions" if self.partial => {}
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
            "set-id" | "certificate-files" => match text.parse::<GuestPath>() {
                Ok(path) if section == "certificate-files" => {
                    self.expect.certificates.entry(path).or_insert_with(|| by.option.clone());
                }
                Ok(path) => {
                    self.expect.asked_by.entry(path.to_string()).or_insert_with(|| by.option.clone());
                    self.set_id.insert(path);
                }
                Err(error) => self.refuse(origin, error.to_string()),
            },
            "cmdline" if !is_one_parameter(&text) => {
                let error = Diagnostic::error(origin, format!("{text:?} is not one kernel parameter"));
                self.errors.push(error.help("a space may stand between double quotes only, such as a=\"b c\""));
            }
            "cmdline" if self.cmdline.contains(&text) => {}
            "cmdline" => {
                self.expect.asked_by.insert(text.clone(), by.option.clone());
                self.cmdline.push(text);
            }
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
        self.expect.key_allow = self.key_allow.clone();
        self.expect.secrets = self.expected_secrets();
        self.expect.https = std::mem::take(&mut self.https).into_iter().map(|(key, (site, _))| (key, site)).collect();
        self.expect.sysctl = std::mem::take(&mut self.sysctl).into_iter().map(|(key, (set, _))| (key, set)).collect();
        System {
            name: image.name.clone(),
            version: image.version.clone(),
            mode,
            archive: image.archive.clone(),
            packages: packages.clone(),
            recommends: fixed.recommends,
            build_only: std::mem::take(&mut self.build_only).difference(&packages).cloned().collect(),
            starts: std::mem::take(&mut self.starts),
            exclude: std::mem::take(&mut self.exclude).into_iter().collect(),
            prepare: std::mem::take(&mut self.prepare)
                .into_iter()
                .map(|(name, (command, _))| (name, command))
                .collect(),
            validate: std::mem::take(&mut self.validate)
                .into_iter()
                .map(|(name, (validation, _))| (name, validation))
                .collect(),
            users: std::mem::take(&mut self.users).into_iter().map(|(name, (user, _))| (name, user)).collect(),
            groups: std::mem::take(&mut self.groups).into_iter().map(|(name, (group, _))| (name, group)).collect(),
            tree: std::mem::take(&mut self.files).into_iter().map(|(path, (entry, _))| (path, entry)).collect(),
            cmdline: std::mem::take(&mut self.cmdline),
            initrd_modules: self.kernel_modules_of(Fate::Initrd).map(str::to_owned).collect(),
            debug: fixed.debug,
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
