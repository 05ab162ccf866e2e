//! Resource limits of units: where the kernel keeps each property, and one form for both spellings of a value.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::OptionPath;
use crate::probe::{Cgroup, Unit};
use crate::quantity;

/// Limits as the image expects them: unit, property, value and option.
type Limits = BTreeMap<String, BTreeMap<String, (String, OptionPath)>>;

/// What kind of value a property has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Bytes; the kernel keeps whole pages.
    Bytes,
    /// A number.
    Count,
    /// Share of a processor: per cent for systemd, quota and period in microseconds for the kernel.
    Quota,
    /// A weight; the kernel writes `default` before that of I/O.
    Weight,
}

/// Properties of systemd.resource-control(5) and systemd.exec(5), and the file that shows what the kernel made of
/// each (Documentation/admin-guide/cgroup-v2.rst).
const FILES: [(&str, &str, Kind); 12] = [
    ("MemoryMax", "memory.max", Kind::Bytes),
    ("MemoryHigh", "memory.high", Kind::Bytes),
    ("MemoryMin", "memory.min", Kind::Bytes),
    ("MemoryLow", "memory.low", Kind::Bytes),
    ("MemorySwapMax", "memory.swap.max", Kind::Bytes),
    ("MemoryZSwapMax", "memory.zswap.max", Kind::Bytes),
    ("TasksMax", "pids.max", Kind::Count),
    ("CPUQuota", "cpu.max", Kind::Quota),
    ("CPUWeight", "cpu.weight", Kind::Weight),
    ("IOWeight", "io.weight", Kind::Weight),
    ("AllowedCPUs", "cpuset.cpus", Kind::Count),
    ("OOMScoreAdjust", "oom_score_adj", Kind::Count),
];

/// Length of a processor quota's period where none is configured, in microseconds (systemd.resource-control(5)).
const PERIOD: u64 = 100_000;

fn file(property: &str) -> Option<(&'static str, Kind)> {
    FILES.iter().find(|(name, ..)| *name == property).map(|(_, file, kind)| (*file, *kind))
}

/// The properties that no kernel file shows: systemd has to be asked.
pub fn properties(limits: &Limits) -> BTreeSet<String> {
    limits.values().flat_map(BTreeMap::keys).filter(|property| file(property).is_none()).cloned().collect()
}

/// What a limit really is, and where that was read.
pub fn observed(property: &str, group: Option<&Cgroup>, unit: Option<&Unit>) -> Option<(String, String)> {
    match file(property) {
        Some((file, _)) => Some((group?.get(file)?.clone(), file.to_owned())),
        None => Some((unit?.properties.get(property)?.clone(), "systemctl show".to_owned())),
    }
}

/// Whether two spellings of a property mean the same value: `256M` and `268435456`, `25%` and `25000 100000`.
pub fn same(property: &str, expected: &str, observed: &str) -> bool {
    let kind = file(property).map(|(_, kind)| kind);
    canonical(kind, expected) == canonical(kind, observed)
}

fn canonical(kind: Option<Kind>, text: &str) -> String {
    let text = text.trim();
    let text = if text == "infinity" { "max" } else { text };
    let changed = match kind {
        Some(Kind::Bytes) => quantity::bytes(text).map(|bytes| (bytes & !4095).to_string()),
        Some(Kind::Quota) if text == "max" => Some(format!("max {PERIOD}")),
        Some(Kind::Quota) => quota(text),
        Some(Kind::Weight) => text.strip_prefix("default ").map(str::to_owned),
        Some(Kind::Count) | None => None,
    };
    changed.unwrap_or_else(|| text.to_owned())
}

fn quota(text: &str) -> Option<String> {
    let percent: u64 = text.strip_suffix('%')?.parse().ok()?;
    Some(format!("{} {PERIOD}", percent.checked_mul(PERIOD)? / 100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_value_are_the_same() {
        for (property, one, other) in [
            ("MemoryMax", "256M", "268435456"),
            ("MemoryMax", "5000", "4096"),
            ("MemoryHigh", "infinity", "max"),
            ("TasksMax", "64", "64"),
            ("CPUQuota", "25%", "25000 100000"),
            ("CPUQuota", "infinity", "max 100000"),
            ("IOWeight", "50", "default 50"),
            ("LimitNOFILE", "1024", "1024"),
        ] {
            assert!(same(property, one, other), "{property} {one} {other}");
        }
    }

    #[test]
    fn different_values_and_nonsense_are_not() {
        for (property, one, other) in [
            ("MemoryMax", "256M", "max"),
            ("MemoryMax", "99999999999T", "0"),
            ("MemoryMax", "", "0"),
            ("MemoryMax", "M", "0"),
            ("MemoryMax", "é", "0"),
            ("CPUQuota", "25%", "50000 100000"),
            ("CPUQuota", "18446744073709551615%", "0 100000"),
            ("TasksMax", "64", "max"),
        ] {
            assert!(!same(property, one, other), "{property} {one} {other}");
        }
    }
}
