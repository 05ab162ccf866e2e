//! What the running machine is held against, and what modules claim.

use std::collections::BTreeMap;

use regex::Regex;

use crate::modules::fields;
use crate::modules::scalars::{Scalar, unit_parts};
use crate::modules::value::{Quantity, Value};
use crate::modules::yaml::{Key, Node, Style, shorten};
use crate::name::{self, GuestPath, OptionPath};
use crate::origin::{Diagnostic, Origin, Severity};
use crate::quantity;
use crate::system::{Bans, Ssh, SuiteAllowance};
use crate::tree::Entry;

use super::units::Directive;
use super::{By, Render};

/// The file that holds every setting of the kernel.
const SYSCTL: &str = "/etc/sysctl.d/50-rave.conf";

const STAGES: [&str; 6] = ["ssh", "https", "services", "monitoring", "resources", "security"];

/// The value that the kernel shows for a limit of a unit: bytes, counts, and cpu.max's quota and period in
/// microseconds. None for other directives, and for amounts that depend on the machine.
fn limit(directive: &str, value: &str) -> Option<String> {
    let quantity = |name: &str| match Scalar::named(name)?.read(value, Style::Rendered) {
        Ok(Value::Quantity(Quantity { amount, .. })) => Some(amount),
        _ => None,
    };
    match directive {
        "MemoryMax" | "MemoryHigh" | "MemorySwapMax" | "TasksMax" if value == "infinity" => Some("max".into()),
        "MemoryMax" | "MemoryHigh" | "MemorySwapMax" | "MemoryMin" | "MemoryLow" => {
            quantity("size").map(|bytes| bytes.to_string())
        }
        "TasksMax" | "CPUWeight" | "IOWeight" => value.parse::<u64>().ok().map(|count| count.to_string()),
        "CPUQuota" => quantity("percentage").map(|percent| format!("{} 100000", percent * 1000)),
        "OOMScoreAdjust" => value.parse::<i32>().ok().map(|score| score.to_string()),
        _ => None,
    }
}

/// Directives of systemd.exec(5) that are on or off.
const SWITCHES: [&str; 18] = [
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "NoNewPrivileges",
    "PrivateDevices",
    "PrivateIPC",
    "PrivateNetwork",
    "PrivateTmp",
    "PrivateUsers",
    "ProtectClock",
    "ProtectControlGroups",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "RemoveIPC",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
];

/// Directives of which each line adds to those before, and an empty one takes them back.
const SETS: [&str; 4] = ["AmbientCapabilities", "CapabilityBoundingSet", "RestrictAddressFamilies", "SystemCallFilter"];

/// The words that one of [`SETS`] has after `values`, in the form in which systemd tells them. None for a set that lists
/// what is left out, and for one that adds to what is not known: `before` is what earlier files made of it, with nothing in
/// it at the beginning of the unit's own file.
fn set(directive: &str, values: &[String], before: Option<&str>) -> Option<String> {
    let reset = values.is_empty() || values.iter().any(String::is_empty);
    let before = if reset { "" } else { before? };
    let last = values.iter().rposition(String::is_empty).map_or(0, |at| at + 1);
    let words = before.split_whitespace().chain(values.iter().skip(last).flat_map(|value| value.split_whitespace()));
    let words: Vec<String> = match directive {
        "AmbientCapabilities" | "CapabilityBoundingSet" => words.map(str::to_ascii_lowercase).collect(),
        _ => words.map(str::to_owned).collect(),
    };
    match directive {
        // Not which calls, but that there is a filter at all: systemd tells each call by its name.
        "SystemCallFilter" => (!words.is_empty()).then(|| words.join(" ")),
        // Without a word there is no restriction.
        "RestrictAddressFamilies" if words.is_empty() => None,
        _ => words.iter().all(|word| !word.starts_with('~')).then(|| words.join(" ")),
    }
}

/// The value that systemd tells of a directive that keeps processes from something. None for other directives, and for
/// those that it tells in another form.
fn held(directive: &str, value: &str) -> Option<String> {
    if directive == "User" {
        return (!value.is_empty() && !value.contains('%')).then(|| value.to_owned());
    }
    let value = value.to_ascii_lowercase();
    let switch = match value.as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some("yes"),
        "0" | "no" | "n" | "false" | "f" | "off" => Some("no"),
        _ => None,
    };
    match directive {
        _ if SWITCHES.contains(&directive) => switch.map(str::to_owned),
        // Nothing is systemd's own default.
        _ if value.is_empty() => None,
        "ProtectHome" | "ProtectSystem" => Some(switch.unwrap_or(&value).to_owned()),
        "KeyringMode" | "ProcSubset" | "ProtectProc" => Some(value),
        // By itself `auto` becomes another where devices are private.
        "DevicePolicy" => (value != "auto").then_some(value),
        "SystemCallArchitectures" => (value == "native").then_some(value),
        "UMask" => u32::from_str_radix(&value, 8).ok().map(|mask| format!("{mask:04o}")),
        _ => None,
    }
}

/// Notes what a directive says. What cannot be told beforehand, or nothing, takes the place of what stood there, too.
fn replace<T>(known: &mut BTreeMap<String, T>, directive: &str, value: Option<T>) {
    match value {
        Some(value) => drop(known.insert(directive.to_owned(), value)),
        None => drop(known.remove(directive)),
    }
}

/// What a file of a unit says.
pub(super) struct UnitFile {
    /// The option that asks for it.
    pub(super) option: OptionPath,
    /// Whether the kernel knows limits: of a unit that need not run, or that has run, it knows none.
    pub(super) limited: bool,
    pub(super) sections: Vec<(&'static str, Vec<Directive>)>,
}

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

    /// Expects the limits and sandboxes of units that all their files together make.
    pub(super) fn expect_of_units(&mut self) {
        let expect = &mut self.expect;
        for ((unit, dropin), UnitFile { option, limited, sections }) in std::mem::take(&mut self.unit_files) {
            let limits = expect.limits.entry(unit.clone()).or_default();
            let (sandbox, by) = expect.sandbox.entry(unit).or_insert_with(|| (BTreeMap::new(), option.clone()));
            if sandbox.is_empty() {
                *by = option.clone();
            }
            for (title, directives) in sections {
                for Directive { name, values, .. } in directives {
                    let value = values.last();
                    let held = if title != "Service" {
                        None
                    } else if SETS.contains(&name.as_str()) {
                        // What the file of a package says before a drop-in is not known here.
                        let before = if dropin.is_empty() { Some("") } else { sandbox.get(&name).map(String::as_str) };
                        set(&name, &values, before)
                    } else {
                        value.and_then(|value| held(&name, value))
                    };
                    replace(sandbox, &name, held);
                    let limit = value.filter(|_| limited).and_then(|value| limit(&name, value));
                    replace(limits, &name, limit.map(|limit| (limit, option.clone())));
                }
            }
        }
        expect.limits.retain(|_, limits| !limits.is_empty());
        expect.sandbox.retain(|_, (sandbox, _)| !sandbox.is_empty());
    }

    /// A unit that must be active although no module describes it.
    pub(super) fn active_unit(&mut self, text: String, origin: &Origin, by: &By) {
        match unit_parts(&text) {
            Some(_) => drop(self.expect.units.insert(text, by.option.clone())),
            None => self.refuse(origin, format!("{text:?} is not the name of a unit")),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directive_is_held_in_the_form_in_which_systemd_tells_it() {
        for (directive, value, told) in [
            ("NoNewPrivileges", "True", Some("yes")),
            ("RemoveIPC", "1", Some("yes")),
            ("RestrictNamespaces", "off", Some("no")),
            ("RestrictNamespaces", "user net", None),
            ("User", "Web-1", Some("Web-1")),
            ("User", "", None),
            ("User", "%i", None),
            ("UMask", "77", Some("0077")),
            ("UMask", "0022", Some("0022")),
            ("UMask", "u=rwx", None),
            ("UMask", "", None),
            ("KeyringMode", "private", Some("private")),
            ("DevicePolicy", "closed", Some("closed")),
            ("DevicePolicy", "auto", None),
            ("SystemCallArchitectures", "native", Some("native")),
            ("SystemCallArchitectures", "x86 x86-64", None),
            ("IPAddressDeny", "any", None),
        ] {
            assert_eq!(held(directive, value).as_deref(), told, "{directive}={value}");
        }
    }

    #[test]
    fn lines_of_a_set_add_up_until_an_empty_one() {
        for (directive, values, before, told) in [
            (
                "CapabilityBoundingSet",
                &["CAP_KILL CAP_CHOWN", "CAP_BPF"][..],
                Some(""),
                Some("cap_kill cap_chown cap_bpf"),
            ),
            ("CapabilityBoundingSet", &["CAP_KILL"], Some("cap_bpf"), Some("cap_bpf cap_kill")),
            ("CapabilityBoundingSet", &["CAP_KILL", "", "CAP_BPF"], Some("cap_chown"), Some("cap_bpf")),
            ("CapabilityBoundingSet", &["", "CAP_BPF"], None, Some("cap_bpf")),
            ("CapabilityBoundingSet", &["CAP_BPF"], None, None),
            ("CapabilityBoundingSet", &["~CAP_BPF"], Some(""), None),
            ("CapabilityBoundingSet", &[""], None, Some("")),
            ("AmbientCapabilities", &[], None, Some("")),
            ("RestrictAddressFamilies", &["AF_UNIX", "AF_INET"], Some(""), Some("AF_UNIX AF_INET")),
            ("RestrictAddressFamilies", &["~AF_PACKET"], Some(""), None),
            ("RestrictAddressFamilies", &[""], Some("AF_UNIX"), None),
            ("SystemCallFilter", &["@a", "~@b"], Some(""), Some("@a ~@b")),
            ("SystemCallFilter", &["@a", ""], Some("@c"), None),
        ] {
            let owned: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
            assert_eq!(set(directive, &owned, before).as_deref(), told, "{directive} {values:?} after {before:?}");
        }
    }
}
