//! Build script: embeds the module library, rave's own images and the initrd's init, and records the commit.
#![expect(clippy::disallowed_methods, reason = "a build script has neither crate::disk nor crate::tool")]

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR"));
    println!("cargo::rustc-env=RAVE_INIT={}", init(&root, &out.join("init")).display());
    println!("cargo::rustc-env=RAVE_COMMIT={}", commit(&root));
    let mut files = Vec::new();
    for folder in ["images", "modules"] {
        println!("cargo::rerun-if-changed={folder}");
        walk(&root.join(folder), &mut files);
    }
    files.retain(|path| path.extension().is_none_or(|extension| extension != "lock"));
    files.sort();
    let mut code = fs::File::create(out.join("library.rs")).expect("OUT_DIR is writable");
    writeln!(code, "pub static LIBRARY: &[(&str, &[u8])] = &[").expect("OUT_DIR is writable");
    for path in files {
        let name = path.strip_prefix(&root).expect("walked below the root");
        writeln!(code, "({:?}, include_bytes!({:?})),", name, path).expect("OUT_DIR is writable");
    }
    writeln!(code, "];").expect("OUT_DIR is writable");
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

/// What the compiler and the linker of init may know of the environment: where they are, and how many may run.
const KEPT: [&str; 8] =
    ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "RUSTC", "TMPDIR", "CARGO_MAKEFLAGS"];

/// Builds the program of src/init below `target` and returns where it is. It is the same in every profile, for a few
/// packages that rave has too, so nothing is fetched.
///
/// A directory of its own spares the wait for the lock that the outer cargo holds. Flags and wrappers for rave, such
/// as clippy's, are not for init: it is always static and optimised, and has no path of this machine in it.
fn init(root: &Path, target: &Path) -> PathBuf {
    for input in ["src/init", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={input}");
    }
    let triple = env::var("TARGET").expect("cargo sets TARGET");
    let mut command = Command::new(env::var_os("CARGO").expect("cargo sets CARGO"));
    command.env_clear().current_dir(root);
    let linker = format!("CARGO_TARGET_{}_LINKER", triple.to_uppercase().replace('-', "_"));
    for name in KEPT.into_iter().chain([linker.as_str()]) {
        command.envs(env::var_os(name).map(|value| (name, value)));
    }
    // Packages may bring a rust-toolchain.toml; without this, rustup would change the user's toolchain for it.
    command.env("RUSTUP_AUTO_INSTALL", "0");
    command.env("CARGO_ENCODED_RUSTFLAGS", flags(root).join("\x1f"));
    command.args(["build", "--quiet", "--frozen", "--package=rave-init", "--bin=init", "--profile=init"]);
    command.arg("--target").arg(&triple).arg("--target-dir").arg(target);
    let output = command.output().expect("cargo starts");
    if !output.status.success() {
        panic!("init cannot be built ({}):\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    target.join(triple).join("init/init")
}

/// A static executable, in which sources are called the same wherever they are.
fn flags(root: &Path) -> Vec<String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    // Each registry, and each mirror of one, has a directory with a name of its own.
    let registries = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok());
    let registries = registries.into_iter().flatten().flatten().map(|entry| entry.path());
    let called = |path: &Path, name: &str| format!("--remap-path-prefix={}={name}", path.display());
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned(), called(root, "rave")];
    flags.extend(registries.map(|path| called(&path, "registry")));
    flags.sort();
    flags
}
