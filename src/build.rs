//! Build script: embeds the module library and rave's own images, and records the commit.
#![expect(clippy::disallowed_methods, reason = "a build script has neither crate::disk nor crate::tool")]

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("library.rs");
    let mut files = Vec::new();
    for folder in ["images", "modules"] {
        println!("cargo::rerun-if-changed={folder}");
        walk(&root.join(folder), &mut files);
    }
    files.retain(|path| path.extension().is_none_or(|extension| extension != "lock"));
    files.sort();
    let mut code = fs::File::create(out).expect("OUT_DIR is writable");
    writeln!(code, "pub static LIBRARY: &[(&str, &[u8])] = &[").expect("OUT_DIR is writable");
    for path in files {
        let name = path.strip_prefix(&root).expect("walked below the root");
        writeln!(code, "({:?}, include_bytes!({:?})),", name, path).expect("OUT_DIR is writable");
    }
    writeln!(code, "];").expect("OUT_DIR is writable");
    println!("cargo::rustc-env=RAVE_COMMIT={}", commit(&root));
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { walk(&path, files) } else { files.push(path) }
    }
}

/// The short commit; `unknown` outside a checkout, as in a release archive.
fn commit(root: &Path) -> String {
    let ask = |what: &[&str]| {
        let output = Command::new("git").arg("-C").arg(root).arg("rev-parse").args(what).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    // In a worktree of its own, .git is a file that names the directory.
    if let Some(directory) = ask(&["--absolute-git-dir"]) {
        println!("cargo::rerun-if-changed={directory}/HEAD");
        println!("cargo::rerun-if-changed={directory}/logs/HEAD");
    }
    ask(&["--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned())
}
