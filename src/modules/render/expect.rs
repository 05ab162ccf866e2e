//! What the running machine is held against, and what modules claim.

use regex::Regex;

use crate::modules::fields;
use crate::modules::scalars::Scalar;
use crate::modules::yaml::{Key, Node, Style, shorten};
use crate::name::{self, GuestPath, OptionPath};
use crate::origin::{Diagnostic, Origin, Severity};
use crate::quantity;
use crate::system::{Bans, Ssh, SuiteAllowance};
use crate::tree::Entry;

use super::{By, Render};

/// The file that holds every setting of the kernel.
const SYSCTL: &str = "/etc/sysctl.d/50-rave.conf";

const STAGES: [&str; 6] = ["ssh", "https", "services", "monitoring", "resources", "security"];

impl Render<'_> {
    /// A socket that may listen: open to the outside, on loopback only, or on all addresses behind the firewall.
    pub(super) fn port(&mut self, section: &str, text: String, origin: &Origin, by: &By) {
        let good = text.split_once('/').is_some_and(|(protocol, port)| {
            ["tcp", "udp", "raw"].contains(&protocol)
                && Scalar::named("port").is_some_and(|ty| ty.read(port, Style::Rendered).is_ok())
        });
        if !good {
            let error = Diagnostic::error(origin, format!("{text:?} is not a port"));
            self.errors.push(error.help("write the protocol (tcp, udp or raw) and the number, such as tcp/22"));
            return;
        }
        if let Some((_, first)) = self.ports.insert(text.clone(), ((), origin.clone())) {
            let error = Diagnostic::error(origin, format!("port {text} is used twice")).remark("here");
            self.errors.push(error.label(&first, "and here"));
            return;
        }
        if section == "open" {
            match text.split_once('/') {
                Some(("raw", _)) => {
                    let error = Diagnostic::error(origin, "a raw socket has no port that a firewall could open");
                    self.errors.push(error.help("write it below `behind-firewall`"));
                }
                Some((protocol, port)) => {
                    self.opened.entry(protocol.to_owned()).or_default().extend(port.parse::<u16>())
                }
                None => {}
            }
        }
        let set = if section == "local" { &mut self.expect.local } else { &mut self.expect.open };
        set.insert(text, by.option.clone());
    }

    pub(super) fn stage(&mut self, text: String, origin: &Origin) {
        if self.is_stage(&text, origin) {
            self.expect.stages.insert(text);
        }
    }

    pub(super) fn is_stage(&mut self, text: &str, origin: &Origin) -> bool {
        let known = STAGES.contains(&text);
        if !known {
            let error = Diagnostic::error(origin, format!("there is no stage `{text}`"));
            self.errors.push(error.help(format!("the stages are {}", STAGES.join(", "))));
        }
        known
    }

    /// A setting of the kernel; two modules may ask for the same value.
    pub(super) fn kernel_setting(&mut self, key: &Key, node: &Node, by: &By) {
        let Some(value) = fields::text(node, "a setting of the kernel", &mut self.errors) else { return };
        let good = key.text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/*:".contains(&b));
        if !good || !key.text.contains(['.', '/']) {
            let name = shorten(&key.text);
            return self.refuse(&key.origin, format!("`{name}` is not a setting of the kernel (sysctl)"));
        }
        if value.contains(char::is_control) {
            return self.refuse(&node.origin, format!("the value of `{}` must be one line", key.text));
        }
        match self.sysctl.get(&key.text) {
            Some(((other, _), first)) if *other != value => {
                let message = format!("`{}` is set to {value} and to {other}", key.text);
                self.errors.push(Diagnostic::error(&key.origin, message).remark("here").label(first, "and here"));
            }
            Some(_) => {}
            None => drop(self.sysctl.insert(key.text.clone(), ((value, by.option.clone()), key.origin.clone()))),
        }
        self.made.add("files", SYSCTL, &key.origin);
    }

    /// Writes all settings of the kernel into one file.
    pub(super) fn write_sysctl(&mut self) {
        let Some(((_, option), origin)) = self.sysctl.values().next().cloned() else { return };
        let lines = self.sysctl.iter().map(|(key, ((value, _), _))| format!("{key} = {value}\n"));
        let entry = Entry::file(lines.collect::<String>(), 0o644);
        let by = By { scope: crate::modules::template::Scope::default(), option, folder: String::new() };
        if let Ok(path) = SYSCTL.parse::<GuestPath>() {
            self.put(path, entry, &origin, &by);
            // Whoever set something has been noted as its maker.
            self.made.forget();
        }
    }

    pub(super) fn ssh(&mut self, node: &Node, by: &By) {
        let tries: Option<u16> = self.number(node, "bans", 0).filter(|tries| *tries > 0);
        let option = node.get("bans-option").and_then(|node| self.option_named(node, "`bans-option`", by));
        let errors = &mut self.errors;
        let mut texts = |key: &str| {
            let found = node.get(key).map(|node| fields::texts(node, &format!("`{key}`"), errors));
            found.into_iter().flatten().map(|(text, _)| text).collect()
        };
        let (kex, host_keys, ciphers, macs) = (texts("kex"), texts("host-keys"), texts("ciphers"), texts("macs"));
        let pardon: Vec<String> = texts("pardon");
        if tries.is_some() && pardon.is_empty() {
            errors.push(Diagnostic::error(
                &node.origin,
                "`bans` needs `pardon`, the command that lets an address in again",
            ));
        }
        let bans = tries.map(|tries| Bans { tries, pardon, option });
        let user = node.get("user").and_then(|node| fields::text(node, "`user`", errors));
        let file = node.get("host-key-file").and_then(|node| fields::name(node, "`host-key-file`", errors));
        let (Some(user), Some(host_key_file)) = (user, file) else { return };
        if let Some(first) = self.ssh.replace(node.origin.clone()) {
            let error = Diagnostic::error(&node.origin, "two modules say what SSH offers").remark("here");
            self.errors.push(error.label(&first, "and here"));
        }
        self.expect.ssh =
            Some(Ssh { user, kex, host_keys, ciphers, macs, host_key_file, bans, option: by.option.clone() });
    }

    /// The name of an option, or of something within its value; none where rave's own module names what a module of the
    /// project, in the place of one of theirs, does not declare.
    fn option_named(&mut self, node: &Node, what: &str, by: &By) -> Option<OptionPath> {
        let path: OptionPath = fields::name(node, what, &mut self.errors)?;
        let (text, catalogue) = (path.as_str(), &self.around.catalogue);
        let known = name::ancestry(text).any(|path| catalogue.get(path).is_some());
        let library = by.scope.prefix().is_some_and(|module| catalogue.is_library(module));
        if !(known || library && catalogue.is_projects(text)) {
            self.refuse(&node.origin, format!("there is no option `{path}`"));
        }
        known.then_some(path)
    }

    /// A journal entry that is known to be harmless.
    pub(super) fn allow(&mut self, node: &Node) {
        let errors = &mut self.errors;
        let mut text = |key: &str| fields::text(node.get(key)?, &format!("`{key}`"), errors);
        let (Some(pattern), Some(reason)) = (text("pattern"), text("reason")) else { return };
        if Regex::new(&pattern).is_err() {
            self.refuse(
                node.get("pattern").map_or(&node.origin, |node| &node.origin),
                "this is not a regular expression",
            );
            return;
        }
        self.expect.journal_allow.push((pattern, reason));
    }

    /// What an outside suite may find.
    pub(super) fn allow_suite(&mut self, node: &Node) {
        let errors = &mut self.errors;
        let mut text = |key: &str| fields::text(node.get(key)?, &format!("`{key}`"), errors);
        let (Some(suite), Some(finding), Some(reason)) = (text("suite"), text("finding"), text("reason")) else {
            return;
        };
        let at_most = text("at-most");
        let origin = |key: &str| node.get(key).map_or(&node.origin, |node| &node.origin);
        let suite = match suite.parse() {
            Ok(suite) => suite,
            Err(error) => return self.refuse(origin("suite"), format!("{error}")),
        };
        let tenths = at_most.as_deref().map(quantity::tenths);
        if tenths == Some(None) {
            return self.refuse(origin("at-most"), "`at-most` is a figure with one decimal, such as 9.6");
        }
        self.expect.suite_allow.push(SuiteAllowance { suite, finding, reason, at_most: tenths.flatten() });
    }

    /// Files that may hold a key or hash which is no secret.
    pub(super) fn allow_key(&mut self, node: &Node) {
        let errors = &mut self.errors;
        let mut text = |key: &str| fields::text(node.get(key)?, &format!("`{key}`"), errors);
        let (Some(pattern), Some(reason)) = (text("pattern"), text("reason")) else { return };
        if !pattern.starts_with('/') || pattern.split('/').all(|part| part.is_empty() || part.starts_with('*')) {
            let origin = node.get("pattern").map_or(&node.origin, |node| &node.origin);
            self.refuse(
                origin,
                "a pattern of files is an absolute path with a name in it, such as /usr/lib/**/libx.so.*",
            );
            return;
        }
        self.key_allow.push((pattern, reason));
    }

    /// An assertion or a warning: what `that` says should hold.
    pub(super) fn claim(&mut self, node: &Node, by: &By, warning: bool) {
        let Some(that) = node.get("that") else { return };
        if self.around.holds(that, &by.scope) != Ok(false) {
            return;
        }
        let Some(message) = node.get("message").and_then(|node| fields::text(node, "`message`", &mut self.errors))
        else {
            return;
        };
        let told = Diagnostic::error(&that.origin, message.trim());
        match warning {
            true => {
                self.made.add("warnings", message.trim(), &node.origin);
                self.warnings.push(Diagnostic { severity: Severity::Warning, ..told });
            }
            false => self.errors.push(told.remark("this does not hold")),
        }
    }
}
