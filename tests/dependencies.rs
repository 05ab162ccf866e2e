//! Holds the graph of dependencies against what the project allows: licences, and packages with a better successor.
#![allow(clippy::disallowed_methods, reason = "tests look from outside")]

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

/// Licences that a static executable under MIT or Apache-2.0 can carry.
const LICENCES: [&str; 15] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Packages that must not come back, not even through others.
const BANNED: [&str; 18] = [
    "serde_yaml",
    "serde_yml",
    "libyml",
    "yaml-rust",
    "rops",
    "debrepo",
    "tokio-tar",
    "async-std",
    "atty",
    "structopt",
    "paste",
    "proc-macro-error",
    "humantime",
    "bincode",
    "backoff",
    "gpgme",
    "isahc",
    "openssl-sys",
];

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--filter-platform=x86_64-unknown-linux-gnu"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let used: BTreeSet<&str> =
        metadata["resolve"]["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap()).collect();
    let all = metadata["packages"].as_array().unwrap().iter();
    all.filter(|package| used.contains(package["id"].as_str().unwrap())).cloned().collect()
}

/// Whether an SPDX expression can be satisfied by the allowed licences: any alternative, all of its parts.
fn allowed(expression: &str) -> bool {
    let expression = expression.replace(['(', ')'], "").replace('/', " OR ");
    expression.split(" OR ").any(|side| side.split(" AND ").all(|one| LICENCES.contains(&one.trim())))
}

#[test]
fn licences_are_compatible() {
    let packages = packages();
    assert!(packages.len() > 100);
    let wrong: Vec<String> = packages
        .iter()
        .filter(|package| !package["license"].as_str().is_some_and(allowed))
        .map(|package| format!("{} {}: {}", package["name"], package["version"], package["license"]))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!allowed("GPL-3.0-only") && !allowed("MIT AND GPL-2.0") && allowed("GPL-2.0 OR MIT"));
}

#[test]
fn no_banned_package_is_used() {
    let found: Vec<String> = packages()
        .iter()
        .filter_map(|package| package["name"].as_str())
        .filter(|name| BANNED.contains(name))
        .map(str::to_owned)
        .collect();
    assert_eq!(found, [""; 0]);
}
