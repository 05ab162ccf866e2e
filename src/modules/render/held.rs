//! What units are held to in the running machine: that they are active, their limits, and their sandboxes.

use std::collections::BTreeMap;

use crate::modules::scalars::{Scalar, unit_parts};
use crate::modules::value::{Quantity, Value};
use crate::modules::yaml::Style;
use crate::name::OptionPath;
use crate::origin::Origin;

use super::units::Directive;
use super::{By, Render};

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
