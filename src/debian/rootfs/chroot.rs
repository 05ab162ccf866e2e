//! Runs programs of the root file system inside of it, and keeps the end of what they say.

use std::io::{self, BufRead as _, BufReader};
use std::path::Path;
use std::process::ExitStatus;

use crate::disk;
use crate::sandbox::{Ids, Sandbox};
use crate::tool::{self, Tool};

/// How much of a failed script's output is kept, in bytes.
const TAIL: usize = 16 << 10;

/// Where scripts run: as root of the worker's own namespace, with a /run that vanishes and without waiting for disks.
pub fn sandbox(root: &Path) -> Sandbox {
    Sandbox::writable(root).ids(Ids::Keep).tmpfs("/run").sync(false)
}

/// A program with the environment of every script: no questions, one clock, one language, one order of hashes.
pub fn tool(sandbox: &Sandbox, program: &str, epoch: i64) -> Tool {
    sandbox
        .tool(program)
        .env("HOME", "/root")
        .env("TZ", "UTC")
        .env("TERM", "dumb")
        .env("SOURCE_DATE_EPOCH", epoch.to_string())
        .env("PYTHONHASHSEED", "0")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("DEBCONF_NONINTERACTIVE_SEEN", "true")
        .env("DEBCONF_NOWARNINGS", "yes")
        .env("SYSTEMD_OFFLINE", "1")
        .env("INITRD", "No")
}

/// Runs to the end, giving each line of output and errors to `watch`; returns the status and the end of the output.
pub fn run(tool: &Tool, mut watch: impl FnMut(&str)) -> Result<(ExitStatus, String), tool::Error> {
    let start = |source| tool::Error::Start { program: tool.display(), source };
    let (reader, writer) = io::pipe().map_err(start)?;
    let mut command = tool.command();
    command.stdout(writer.try_clone().map_err(start)?).stderr(writer);
    let mut child = command.spawn().map_err(start)?;
    // The command holds the pipe's other end, too.
    drop(command);
    let mut tail = String::new();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line is cut where a script prints without end.
        let read = io::Read::take(&mut reader, TAIL as u64).read_until(b'\n', &mut line).map_err(start)?;
        if read == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        watch(text.trim_end());
        tail.push_str(&text);
        if tail.len() > 2 * TAIL {
            tail = end(&tail).to_owned();
        }
    }
    let status = child.wait().map_err(start)?;
    Ok((status, end(&tail).to_owned()))
}

/// The last [`TAIL`] bytes, from the beginning of a line or at least of a character.
fn end(text: &str) -> &str {
    let mut from = text.len().saturating_sub(TAIL);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let rest = &text[from..];
    match rest.find('\n').filter(|_| from > 0) {
        Some(at) => &rest[at + 1..],
        None => rest,
    }
}

/// What dpkg says while it configures.
#[derive(Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// It begins with a package.
    SettingUp(&'a str),
    /// A package's script failed.
    Failed(&'a str),
    /// Something else.
    Other,
}

/// Understands a line of dpkg's.
pub fn said(line: &str) -> Said<'_> {
    let name = |rest: &'_ str| rest.split([' ', ':']).next().map(str::len).unwrap_or_default();
    if let Some(rest) = line.strip_prefix("Setting up ") {
        Said::SettingUp(&rest[..name(rest)])
    } else if let Some(rest) = line.strip_prefix("dpkg: error processing package ") {
        Said::Failed(&rest[..name(rest)])
    } else {
        Said::Other
    }
}

/// The part of dpkg's output that concerns a package: from where it was last set up or its triggers processed.
pub fn about<'a>(output: &'a str, package: &str) -> &'a str {
    let starts = ["Setting up ", "Processing triggers for "].map(|verb| output.rfind(&format!("{verb}{package} (")));
    output.get(starts.into_iter().flatten().max().unwrap_or(0)..).unwrap_or(output)
}

/// Makes the directories that a sandbox mounts onto, so that all builds have the same ones.
pub fn mount_points(root: &Path) -> disk::Result<()> {
    ["proc", "sys", "dev", "tmp", "run"].iter().try_for_each(|name| disk::create_dir_all(root.join(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dpkg_is_understood() {
        assert_eq!(said("Setting up libc6:amd64 (2.41-12) ..."), Said::SettingUp("libc6"));
        assert_eq!(said("dpkg: error processing package demo (--configure):"), Said::Failed("demo"));
        assert_eq!(said("Setting up "), Said::SettingUp(""));
        assert_eq!(said("anything"), Said::Other);
        let output = "Setting up a (1) ...\nx\nSetting up demo (1) ...\nit broke\ndpkg: error\n";
        assert_eq!(about(output, "demo"), "Setting up demo (1) ...\nit broke\ndpkg: error\n");
        assert_eq!(about(output, "other"), output);
    }

    #[test]
    fn the_end_of_long_output_is_kept_whole() {
        let text = "é line\n".repeat(TAIL);
        let kept = end(&text);
        assert!(kept.len() <= TAIL && kept.starts_with("é line\n") && kept.ends_with("é line\n"));
        assert_eq!(end("short"), "short");
        assert!(end(&"é".repeat(TAIL)).len() <= TAIL);
    }

    #[test]
    fn output_and_errors_come_in_one_stream() {
        let tool = Tool::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]);
        let mut lines = Vec::new();
        let (status, tail) = run(&tool, |line| lines.push(line.to_owned())).unwrap();
        assert_eq!((status.code(), tail.as_str()), (Some(3), "out\nerr\n"));
        assert_eq!(lines, ["out", "err"]);
    }
}
