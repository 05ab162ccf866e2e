//! systemd units: files, drop-ins, links that enable and links that mask.

use std::collections::BTreeSet;

use crate::modules::fields;
use crate::modules::scalars::{Scalar, unit_parts};
use crate::modules::shape::Shape;
use crate::modules::template::Scope;
use crate::modules::yaml::{Key, Kind, Node, Style};
use crate::name::GuestPath;
use crate::origin::{Diagnostic, Origin};
use crate::tree::Entry;

use super::held::UnitFile;
use super::people::Wanted;
use super::{By, Render};

/// Where rave writes units, and where packages have theirs.
const OURS: &str = "/etc/systemd/system";
const PACKAGED: &str = "/usr/lib/systemd/system";

/// Where secrets are at run time, and the unit that puts them there.
const SECRETS: &str = "/run/secrets";
const SECRETS_UNIT: &str = "rave-secrets.service";

/// Sections in the order in which they are written, with their names in unit files.
const SECTIONS: [(&str, &str); 10] = [
    ("unit", "Unit"),
    ("service", "Service"),
    ("socket", "Socket"),
    ("timer", "Timer"),
    ("path", "Path"),
    ("mount", "Mount"),
    ("automount", "Automount"),
    ("swap", "Swap"),
    ("slice", "Slice"),
    ("install", "Install"),
];

/// Directives of `[Install]` and the folders of links that they stand for (systemd.unit(5)).
const INSTALL: [(&str, &str); 3] = [("WantedBy", "wants"), ("RequiredBy", "requires"), ("UpheldBy", "upholds")];

/// One directive: its name, its place and its values; no value clears it.
pub(super) struct Directive {
    pub(super) name: String,
    origin: Origin,
    pub(super) values: Vec<String>,
}

impl Render<'_> {
    /// A unit's record without templates; values are written into its directives by the rules of units.
    pub(super) fn unit_written(&mut self, key: &Key, node: &Node, shape: &Shape, scope: &Scope) -> Option<Node> {
        let Kind::Map(entries) = &node.kind else {
            self.refuse(&node.origin, format!("{} cannot be one template: write its sections", key.text));
            return None;
        };
        let is_section = |(key, _): &&(Key, Node)| SECTIONS.iter().any(|(name, _)| *name == key.text);
        let (sections, others): (Vec<_>, Vec<_>) = entries.iter().partition(is_section);
        let others = Node { kind: Kind::Map(others.into_iter().cloned().collect()), ..node.clone() };
        let mut written = self.expanded(&others, shape, &format!("`{}`", key.text), scope)?;
        for (name, section) in sections {
            let section = self.section_written(section, scope)?;
            if let Kind::Map(entries) = &mut written.kind {
                entries.push((name.clone(), section));
            }
        }
        Some(written)
    }

    fn section_written(&mut self, section: &Node, scope: &Scope) -> Option<Node> {
        let Kind::Map(directives) = &section.kind else {
            self.refuse(&section.origin, "a section of a unit cannot be one template: write its directives");
            return None;
        };
        let mut written = Vec::with_capacity(directives.len());
        for (name, value) in directives {
            let name = self.around.expand_key(name, scope).ok()?;
            let value = self.around.directive(&name.text, value, scope).ok()?;
            written.push((name, value));
        }
        Some(Node { kind: Kind::Map(written), ..section.clone() })
    }

    /// Adds a unit; `node` is a record without templates.
    pub(super) fn unit(&mut self, key: &Key, node: &Node, by: &By) {
        let Some((_, kind)) = unit_parts(&key.text) else {
            let error = Diagnostic::error(&key.origin, format!("{:?} is not the name of a unit", key.text));
            self.errors.push(error.help("a unit's name ends with its kind, such as foo.service"));
            return;
        };
        let mut flag = |name: &str| node.get(name).and_then(|node| fields::flag(node, name, &mut self.errors));
        let (mask, dropin) = (flag("mask") == Some(true), flag("dropin") == Some(true));
        let (enabled, expected) = (flag("enable"), flag("expect"));
        let enable = enabled == Some(true);
        if mask {
            self.mask(key, node, by);
            return;
        }
        let mut sections = self.sections(kind, node);
        self.load_credentials(kind, key, node, &mut sections);
        let has_file = sections.iter().any(|(_, directives)| !directives.is_empty());
        let links = self.links(node, &sections, enable, key);
        let name = if dropin { format!("50-{}.conf", by.name()) } else { String::new() };
        if has_file {
            let text = unit_text(&sections);
            let path = match dropin {
                true => format!("{OURS}/{}.d/{name}", key.text),
                false => format!("{OURS}/{}", key.text),
            };
            self.put_at(&path, Entry::file(text, 0o644), &key.origin, by);
        }
        if enabled == Some(false) && (dropin || !has_file) {
            self.disable(key, !links.is_empty());
        }
        if !links.is_empty() && key.text.contains("@.") {
            let error = Diagnostic::error(&key.origin, format!("{} is a template, which nothing can start", key.text));
            let instance = key.text.replace("@.", "@NAME.");
            return self.errors.push(error.help(format!("enable an instance of it, such as {instance}")));
        }
        let home = if has_file && !dropin { OURS } else { PACKAGED };
        for (target, folder) in &links {
            let link = Entry::symlink(format!("{home}/{}", template_of(&key.text)));
            self.put_at(&format!("{OURS}/{target}.{folder}/{}", key.text), link, &key.origin, by);
        }
        if enable {
            self.aliases(key, &sections, by);
        }
        for (_, directives) in &sections {
            self.wanted.extend(directives.iter().flat_map(|d| wanted(d, directives)));
        }
        if expected.unwrap_or(!links.is_empty()) {
            self.expect.units.insert(key.text.clone(), by.option.clone());
        }
        // Of a template systemd knows nothing, but of its instances.
        if has_file && !key.text.contains("@.") {
            let limited = expected != Some(false) && !ends(&sections);
            let file = UnitFile { option: by.option.clone(), limited, sections };
            self.unit_files.insert((key.text.clone(), name), file);
        }
    }

    /// Adds the other names that an enabled unit has, as `systemctl enable` does.
    fn aliases(&mut self, key: &Key, sections: &[(&'static str, Vec<Directive>)], by: &By) {
        let install = sections.iter().filter(|(title, _)| *title == "Install");
        for directive in install.flat_map(|(_, directives)| directives) {
            match directive.name.as_str() {
                "Alias" => {
                    for alias in directive.values.iter().flat_map(|value| value.split_whitespace()) {
                        if unit_parts(alias).map(|(_, kind)| kind) != unit_parts(&key.text).map(|(_, kind)| kind) {
                            self.refuse(&directive.origin, format!("{alias:?} cannot be another name of {}", key.text));
                            continue;
                        }
                        let link = Entry::symlink(format!("{OURS}/{}", key.text));
                        self.put_at(&format!("{OURS}/{alias}"), link, &directive.origin, by);
                    }
                }
                "Also" | "DefaultInstance" => {
                    let error = Diagnostic::error(&directive.origin, format!("{} says nothing here", directive.name));
                    self.errors.push(error.help("give every unit that shall start an `enable` of its own"));
                }
                _ => {}
            }
        }
    }

    /// Adds the directives that hand secrets to the unit, which then waits for them (systemd.exec(5)).
    fn load_credentials(
        &mut self,
        kind: &str,
        key: &Key,
        node: &Node,
        sections: &mut [(&'static str, Vec<Directive>)],
    ) {
        let names = self.credentials(&key.text, node);
        let Some(credentials) = node.get("credentials").filter(|_| !names.is_empty()) else { return };
        if kind != "service" {
            return self.refuse(&credentials.origin, format!("a {kind} loads no credentials; a service does"));
        }
        let values = names.iter().map(|name| format!("{name}:{SECRETS}/{name}")).collect();
        let once = |value: &str| vec![value.to_owned()];
        let added = [
            ("Unit", "Wants", once(SECRETS_UNIT)),
            ("Unit", "After", once(SECRETS_UNIT)),
            ("Service", "LoadCredential", values),
        ];
        for (title, name, values) in added {
            if let Some((_, directives)) = sections.iter_mut().find(|(other, _)| *other == title) {
                directives.push(Directive { name: name.to_owned(), origin: credentials.origin.clone(), values });
            }
        }
    }

    /// Takes away the links by which a package enabled its unit, as `systemctl disable` does.
    fn disable(&mut self, key: &Key, wanted: bool) {
        if wanted {
            return self.refuse(&key.origin, format!("{} is disabled and wanted by another unit at once", key.text));
        }
        for (_, folder) in INSTALL {
            self.exclude.insert(format!("{OURS}/*.{folder}/{}", key.text));
        }
        self.disabled.insert(key.text.clone(), ((), key.origin.clone()));
    }

    /// Refuses units that one module disables and another enables.
    pub(super) fn check_disabled(&mut self) {
        for (path, (_, origin)) in &self.files {
            let folder = path.parent().unwrap_or_else(GuestPath::root);
            let enables = INSTALL.iter().any(|(_, kind)| folder.as_str().ends_with(&format!(".{kind}")));
            if let Some((_, first)) = self.disabled.get(path.file_name()).filter(|_| enables) {
                let error = Diagnostic::error(origin, format!("{} is enabled and disabled", path.file_name()));
                self.errors.push(error.remark("enabled here").label(first, "disabled here"));
            }
        }
    }

    pub(super) fn put_at(&mut self, path: &str, entry: Entry, origin: &Origin, by: &By) {
        match path.parse::<GuestPath>() {
            Ok(path) => self.put(path, entry, origin, by),
            Err(error) => self.refuse(origin, error.to_string()),
        }
    }

    fn mask(&mut self, key: &Key, node: &Node, by: &By) {
        if let Kind::Map(entries) = &node.kind
            && let Some((other, _)) = entries.iter().find(|(key, _)| !["mask", "when"].contains(&key.text.as_str()))
        {
            self.refuse(&other.origin, format!("`{}` says nothing of a unit that is masked", other.text));
        }
        self.put_at(&format!("{OURS}/{}", key.text), Entry::symlink("/dev/null"), &key.origin, by);
    }

    /// The sections that the unit has, directives of its sandbox profile first where it does not set them itself.
    fn sections(&mut self, kind: &str, node: &Node) -> Vec<(&'static str, Vec<Directive>)> {
        let profile = self.profile(kind, node);
        let mut sections = Vec::new();
        for (key, title) in SECTIONS {
            if let Some(section) = node.get(key)
                && !["unit", "install", kind].contains(&key)
            {
                self.refuse(&section.origin, format!("a {kind} has no section `{key}`"));
                continue;
            }
            let own = node.get(key).map(|section| self.directives(section)).unwrap_or_default();
            let from_profile = if key == kind { profile.as_ref() } else { None };
            let mut directives = from_profile.map(|profile| self.directives(profile)).unwrap_or_default();
            directives.retain(|directive| own.iter().all(|other| other.name != directive.name));
            directives.extend(own);
            sections.push((title, directives));
        }
        sections
    }

    fn profile(&mut self, kind: &str, node: &Node) -> Option<Node> {
        let asked = node.get("sandbox")?;
        let name = fields::text(asked, "`sandbox`", &mut self.errors)?;
        if !["service", "socket", "mount", "swap"].contains(&kind) {
            self.refuse(&asked.origin, format!("a {kind} runs nothing that a sandbox could hold"));
            return None;
        }
        let profile = self.profiles.get(&name).cloned();
        if profile.is_none() && !self.partial {
            let error = Diagnostic::error(&asked.origin, format!("there is no sandbox profile `{name}`"));
            let known: Vec<&str> = self.profiles.keys().map(String::as_str).collect();
            let error = match fields::nearest(&name, known.iter().copied()) {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None => error.help(format!("modules/sandbox.yaml has {}", known.join(", "))),
            };
            self.errors.push(error);
        }
        profile
    }

    fn directives(&mut self, section: &Node) -> Vec<Directive> {
        let mut directives = Vec::new();
        for (key, value) in fields::map(section, "a section of a unit", &mut self.errors) {
            let good = key.text.starts_with(|c: char| c.is_ascii_uppercase())
                && key.text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if !good {
                self.errors.push(Diagnostic::error(&key.origin, format!("{:?} is not a directive", key.text)));
                continue;
            }
            let values = match &value.kind {
                Kind::List(items) => {
                    items.iter().filter_map(|item| fields::text(item, "a directive", &mut self.errors)).collect()
                }
                _ if value.is_null() => Vec::new(),
                _ => fields::text(value, "a directive", &mut self.errors).into_iter().collect(),
            };
            let values: Vec<String> = values;
            let values: Vec<String> = values.iter().map(|value| value.trim().to_owned()).collect();
            // systemd.syntax(7): a line ends the value, and a backslash before its end joins the next one to it.
            if values.iter().any(|value| value.contains(char::is_control) || value.ends_with('\\')) {
                self.refuse(&value.origin, format!("the value of {} must be one line", key.text));
                continue;
            }
            let values = if key.text == "OnCalendar" { self.calendars(&value.origin, values) } else { values };
            directives.push(Directive { name: key.text.clone(), origin: value.origin.clone(), values });
        }
        directives
    }

    /// Calendar expressions in systemd's form, also those of cron. None clears those before.
    fn calendars(&mut self, origin: &Origin, values: Vec<String>) -> Vec<String> {
        let Some(calendar) = Scalar::named("calendar") else { return values };
        let mut canonical = Vec::with_capacity(values.len());
        for value in values {
            match calendar.read(&value, Style::Rendered) {
                _ if value.is_empty() => canonical.push(value),
                Ok(read) => canonical.extend(read.as_text().map(str::to_owned)),
                Err(help) => {
                    let error = Diagnostic::error(origin, format!("{value:?} is not {}", calendar.what));
                    self.errors.push(match help {
                        Some(help) => error.help(help),
                        None => error.help("systemd.time(7) explains these expressions"),
                    });
                }
            }
        }
        canonical
    }

    /// Links that enable the unit: the unit that wants it, and the kind of folder.
    fn links(
        &mut self,
        node: &Node,
        sections: &[(&str, Vec<Directive>)],
        enable: bool,
        key: &Key,
    ) -> BTreeSet<(String, &'static str)> {
        let mut links = BTreeSet::new();
        let wanted_by = node.get("wanted-by").map(|node| fields::texts(node, "`wanted-by`", &mut self.errors));
        let mut asked: Vec<(String, Origin, &'static str)> =
            wanted_by.into_iter().flatten().map(|(text, origin)| (text, origin, "wants")).collect();
        let install = sections.iter().filter(|(title, _)| enable && *title == "Install");
        for directive in install.flat_map(|(_, directives)| directives) {
            if let Some((_, folder)) = INSTALL.iter().find(|(name, _)| *name == directive.name) {
                let targets = directive.values.iter().flat_map(|value| value.split_whitespace());
                asked.extend(targets.map(|target| (target.to_owned(), directive.origin.clone(), *folder)));
            }
        }
        for (target, origin, folder) in asked {
            match unit_parts(&target) {
                Some(_) => drop(links.insert((target, folder))),
                None => self.refuse(&origin, format!("{target:?} is not the name of a unit")),
            }
        }
        let named = sections.iter().flat_map(|(_, directives)| directives).any(|directive| directive.name == "Alias");
        if enable && links.is_empty() && !named {
            let error = Diagnostic::error(&key.origin, format!("{} is enabled but nothing wants it", key.text));
            self.errors
                .push(error.help("add `install: { WantedBy: multi-user.target }`, or `wanted-by` to a packaged unit"));
        }
        links
    }
}

/// Whether the unit's processes end by themselves.
fn ends(sections: &[(&str, Vec<Directive>)]) -> bool {
    let mut directives = sections.iter().flat_map(|(_, directives)| directives);
    directives.any(|directive| directive.name == "Type" && directive.values.iter().any(|value| value == "oneshot"))
}

/// The file that an instance is a link to: `getty@.service` for `getty@tty1.service`.
fn template_of(unit: &str) -> String {
    match (unit.find('@'), unit.rfind('.')) {
        (Some(at), Some(dot)) if at < dot => format!("{}{}", &unit[..=at], &unit[dot..]),
        _ => unit.to_owned(),
    }
}

/// The text of a unit file (systemd.syntax(7)).
fn unit_text(sections: &[(&str, Vec<Directive>)]) -> String {
    let mut text = String::new();
    for (title, directives) in sections.iter().filter(|(_, directives)| !directives.is_empty()) {
        if !text.is_empty() {
            text.push('\n');
        }
        text += &format!("[{title}]\n");
        for Directive { name, values, .. } in directives {
            if values.is_empty() {
                text += &format!("{name}=\n");
            }
            for value in values {
                text += &format!("{name}={value}\n");
            }
        }
    }
    text
}

/// The user or group that a directive asks for, unless systemd makes it up.
fn wanted(directive: &Directive, all: &[Directive]) -> Vec<Wanted> {
    let dynamic = all.iter().any(|d| d.name == "DynamicUser" && d.values.iter().any(|v| v == "true" || v == "yes"));
    let user = match directive.name.as_str() {
        "User" if !dynamic => true,
        "SocketUser" => true,
        "SocketGroup" => false,
        "Group" | "SupplementaryGroups" if !dynamic => false,
        _ => return Vec::new(),
    };
    let names = directive.values.iter().flat_map(|value| value.split_whitespace());
    let named = names.filter(|name| !name.contains('%') && !name.bytes().all(|b| b.is_ascii_digit()));
    named.map(|name| Wanted::new(name, user, "the unit runs as", &directive.origin)).collect()
}
