//! The way to a host: this one, or another one by the user's own ssh. Everything is done by the rave that is there; a
//! host needs no more than systemd.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use zeroize::Zeroizing;

use crate::deploy::host::{Goods, Outcome};
use crate::deploy::record::Order;
use crate::deploy::units::{self, container};
use crate::deploy::{Facts, Place, STATE};
use crate::digest::Digest;
use crate::disk;
use crate::event::{Work, bytes};
use crate::interrupt;
use crate::tool::{Tool, quote};

use super::super::{Context, Failure, Result};
use super::Wanted;

/// zstd's level for what is sent: fast, for the network is mostly a near one.
const LEVEL: i32 = 1;
/// How much of what a host says is shown when it fails, in bytes.
const SAID: u64 = 64 << 10;
/// How much a host may answer, in bytes.
const ANSWER: u64 = 64 << 20;

/// Puts down what comes, so many bytes, as a program: what is cut short ends as what is whole does, but for its size.
const INSTALL: &str = "set -e; umask 022; mkdir -p \"${1%/*}\"; trap 'rm -f \"$1.$$\"' EXIT; cat > \"$1.$$\"; \
                       test \"$(wc -c < \"$1.$$\")\" -eq \"$2\"; chmod 755 \"$1.$$\"; mv -f \"$1.$$\" \"$1\"; \
                       ln -sfn \"${1##*/}\" \"${1%/*}/rave\"";

/// The way to a host.
pub struct Way {
    place: Option<Place>,
    ssh: Tool,
    /// This very program, and how it is called on the host.
    rave: PathBuf,
    digest: Digest,
    size: u64,
}

impl Way {
    /// The way to `place`, or to this host.
    pub fn to(context: &Context, place: Option<&Place>) -> Result<Self> {
        if place.is_none() && !rustix::process::geteuid().is_root() {
            return Err(Failure::request("only root may deploy to this host")
                .hint("use sudo, or reach it as another one: `host: root@localhost`"));
        }
        let rave = disk::canonical("/proc/self/exe")?;
        let (digest, size) = disk::digest(&rave)?;
        let ssh = Tool::of_user("ssh", &context.environment.identities.environment);
        Ok(Self { place: place.cloned(), ssh, rave, digest, size })
    }

    /// What the host tells of itself; none: no rave was ever there.
    pub fn facts(&self) -> Result<Option<Facts>> {
        let answer = match &self.place {
            None => self.ask(self.rave(&["host", "facts"]), b"")?,
            Some(_) => {
                let script =
                    "for rave in \"$@\"; do if [ -x \"$rave\" ]; then exec \"$rave\" host facts; fi; done; echo null";
                let known = format!("{STATE}/bin/rave");
                self.ask(self.words(&["sh", "-c", script, "rave", &self.program(), &known]), b"")?
            }
        };
        let other = |error| Failure::error(format!("{}: another rave is there: {error}", self.name()));
        serde_json::from_slice(&answer).map_err(other)
    }

    /// Brings rave itself to the host, if this very one is not there.
    pub fn install(&self) -> Result<()> {
        if self.place.is_none() {
            return Ok(());
        }
        let program = self.program();
        let there =
            self.ask(self.words(&["sh", "-c", "if [ -x \"$1\" ]; then echo yes; fi", "rave", &program]), b"")?;
        if there == b"yes\n" {
            return Ok(());
        }
        let write =
            |stdin: &mut dyn Write| io::copy(&mut disk::open(&self.rave).map_err(io::Error::other)?, stdin).map(drop);
        self.stream(self.words(&["sh", "-c", INSTALL, "rave", &program, &self.size.to_string()]), &write).map(drop)
    }

    /// Sends what a machine runs from.
    pub fn send(&self, context: &Context, goods: Goods, digest: &Digest, from: &Wanted) -> Result<()> {
        let (word, what) = match goods {
            Goods::Tools => ("tools", "programs"),
            Goods::Image => ("image", "image"),
        };
        let work = Work::start(context.ui.as_ref(), "send", format!("{what} to {}", self.name()), None);
        let sent = std::cell::Cell::new(0);
        let write = |stdin: &mut dyn Write| {
            let counted = Counted { inner: stdin, count: &sent };
            let mut archive = tar::Builder::new(zstd::Encoder::new(counted, LEVEL)?);
            archive.follow_symlinks(false);
            match goods {
                Goods::Tools => archive.append_dir_all(".", &from.bootable.tools)?,
                Goods::Image => {
                    let image = match &from.archive {
                        Some(archive) => (container::ARCHIVE, &archive.path),
                        None => (units::DISK, &from.bootable.disk),
                    };
                    for (name, path) in [("manifest.json", &from.bootable.manifest), image] {
                        archive.append_file(name, &mut disk::open(path).map_err(io::Error::other)?)?;
                    }
                }
            }
            archive.into_inner()?.finish().map(drop)
        };
        self.stream(self.rave(&["host", "receive", word, &digest.to_string()]), &write)?;
        work.finish(bytes(sent.get()));
        Ok(())
    }

    /// Has the host do what is ordered; that takes as long as a machine needs to shut down, start and be checked.
    pub fn apply(&self, context: &Context, order: &Order, identity: Option<&[u8]>) -> Result<Outcome> {
        let title = format!("{} on {}", order.machine, self.name());
        let work = Work::start(context.ui.as_ref(), "deploy", title, None);
        let order = serde_json::to_vec(order)?;
        let input = Zeroizing::new([order.as_slice(), b"\n", identity.unwrap_or_default()].concat());
        let answer = self.ask(self.rave(&["host", "apply"]), &input)?;
        let outcome: Outcome = serde_json::from_slice(&answer)?;
        work.finish(if outcome.healthy { "well" } else { "not well" });
        Ok(outcome)
    }

    /// Runs rave there; returns its standard output.
    pub fn run(&self, words: &[&str]) -> Result<Vec<u8>> {
        self.ask(self.rave(words), b"")
    }

    /// Runs a program there; returns its standard output.
    pub fn program_output(&self, words: &[&str]) -> Result<Vec<u8>> {
        self.ask(self.words(words), b"")
    }

    /// How rave is run there, to be pasted into a shell.
    pub fn shown(&self, words: &[&str]) -> String {
        let tool = match &self.place {
            Some(place) => {
                let at = format!("{}@{}", place.user, place.host);
                let sudo: &[&str] = if place.user == "root" { &[] } else { &["sudo", "-n", "--"] };
                let ssh = Tool::new("ssh").args(["-p", &place.port.to_string(), &at, "--"]);
                ssh.args(sudo).arg(self.program()).args(words)
            }
            None => Tool::new("rave").args(words),
        };
        tool.display()
    }

    fn name(&self) -> String {
        self.place.as_ref().map_or_else(|| "this host".to_owned(), |place| format!("{}@{}", place.user, place.host))
    }

    /// The name of this very rave on a host.
    fn program(&self) -> String {
        format!("{STATE}/bin/rave-{}", self.digest)
    }

    fn rave(&self, words: &[&str]) -> Tool {
        match &self.place {
            None => Tool::new(&self.rave).args(words).env("HOME", "/root"),
            Some(_) => self.words(&[&[self.program().as_str()], words].concat()),
        }
    }

    /// A program on the host, run as root.
    fn words(&self, words: &[&str]) -> Tool {
        let Some(place) = &self.place else {
            let (program, rest) = words.split_first().unwrap_or((&"true", &[]));
            return Tool::new(program).args(rest);
        };
        let sudo: &[&str] =
            if place.user == "root" { &["env", "HOME=/root"] } else { &["sudo", "-n", "--", "env", "HOME=/root"] };
        let line = sudo.iter().chain(words).map(|word| quote(word));
        let options = [
            "BatchMode=yes",
            "ClearAllForwardings=yes",
            "ConnectTimeout=30",
            "LogLevel=ERROR",
            "ServerAliveInterval=15",
        ];
        let options = options.iter().flat_map(|option| ["-o", *option]);
        let port = place.port.to_string();
        self.ssh.clone().arg("-T").args(options).args(["-p", &port, "-l", &place.user, "--", &place.host]).args(line)
    }

    fn ask(&self, tool: Tool, input: &[u8]) -> Result<Vec<u8>> {
        self.stream(tool, &|stdin: &mut dyn Write| stdin.write_all(input))
    }

    /// Runs a program with what `write` gives on its standard input; returns its standard output.
    fn stream(&self, tool: Tool, write: &dyn Fn(&mut dyn Write) -> io::Result<()>) -> Result<Vec<u8>> {
        let broken = |error: io::Error| Failure::error(format!("{}: {error}", self.name()));
        let mut command = tool.command();
        // A group of its own: what was begun on a host is not to be cut short by the keyboard.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().map_err(broken)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (written, answer, said) = std::thread::scope(|scope| {
            let read = |limit| {
                move |pipe: Option<Box<dyn Read + Send>>| {
                    let mut bytes = Vec::new();
                    pipe.map_or(Ok(0), |pipe| pipe.take(limit).read_to_end(&mut bytes)).map(|_| bytes)
                }
            };
            let stdout = stdout.map(|pipe| Box::new(pipe) as Box<dyn Read + Send>);
            let stderr = stderr.map(|pipe| Box::new(pipe) as Box<dyn Read + Send>);
            let answer = scope.spawn(move || read(ANSWER)(stdout));
            let said = scope.spawn(move || read(SAID)(stderr));
            let written = stdin.map_or(Ok(()), |mut stdin| write(&mut stdin));
            let joined = |thread: std::thread::ScopedJoinHandle<'_, io::Result<Vec<u8>>>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            (written, joined(answer), joined(said))
        });
        let status = child.wait().map_err(broken)?;
        if interrupt::heard() {
            return Err(Failure::Interrupted);
        }
        let said = String::from_utf8_lossy(&said.map_err(broken)?).trim().to_owned();
        if status.success() {
            written.map_err(broken)?;
            return answer.map_err(broken);
        }
        let failure = Failure::error(format!("{}: {}", self.name(), self.reason(&said)));
        Err(match said.as_str() {
            text if text.contains("Host key verification failed") => {
                failure.hint("the key of the host must be in known_hosts")
            }
            text if text.contains("Permission denied") => failure.hint("ssh must be able to log in without a question"),
            text if text.contains("sudo:") => failure.hint("the user must become root by sudo without a password"),
            _ => failure,
        })
    }

    /// What a failed program said, without the words that rave puts before errors.
    fn reason<'a>(&self, said: &'a str) -> &'a str {
        let said = said.strip_prefix("error: ").unwrap_or(said);
        if said.is_empty() { "the command failed and did not say why" } else { said }
    }
}

/// Counts what goes through.
struct Counted<'a> {
    inner: &'a mut dyn Write,
    count: &'a std::cell::Cell<u64>,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.count.set(self.count.get() + count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_program_arrives_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("bin/rave-1");
        let install = |size: &str| {
            let tool = Tool::new("sh").args(["-c", INSTALL, "rave"]).arg(&program).arg(size);
            tool.bounded_with_input(b"whole", Duration::from_secs(60), 100).unwrap().status.unwrap().success()
        };
        assert!(!install("6") && disk::list(folder.path().join("bin")).unwrap().is_empty());
        assert!(install("5"));
        assert_eq!(disk::read(folder.path().join("bin/rave")).unwrap(), b"whole");
    }

    #[test]
    fn what_is_sent_is_counted() {
        let (mut out, count) = (Vec::new(), std::cell::Cell::new(0));
        Counted { inner: &mut out, count: &count }.write_all(&[0; 5]).unwrap();
        assert_eq!((out.len(), count.get()), (5, 5));
    }
}
