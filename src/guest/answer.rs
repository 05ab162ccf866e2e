//! Answers probes inside a machine, for `rave guest answer`.
//!
//! Whoever starts this may live in namespaces of its own, as a service does; what counts is the machine as
//! process 1 sees it, so files are looked up below `/proc/1/root` and sockets and mounts in `/proc/1`. Programs are
//! started sparingly: under software emulation each costs a good part of a second.

mod alert;
mod dm;
mod https;
mod kernel;
mod scan;
mod secrets;
mod services;
mod sockets;
mod systemd;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::disk;
use crate::name::GuestPath;
use crate::probe::{Answer, Answered, Ended, Probe, Request, Service};
use crate::tool::Tool;

/// The longest list of probes that is read, in bytes.
const QUESTIONS: u64 = 1 << 20;

/// How long one program may run if nothing else is said, and how much of its output is kept, in bytes.
const TIME: Duration = Duration::from_secs(60);
const OUTPUT: usize = 16 * 1024;

/// Between two looks at a service that is waited for.
const PAUSE: Duration = Duration::from_millis(200);

/// A public key file is shorter than this, in bytes.
const KEY: u64 = 16 * 1024;

/// Why probes could not be answered at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The questions could not be read.
    #[error("cannot read the probes")]
    Read(#[source] io::Error),
    /// The questions are not a list of probes.
    #[error("the probes are not valid")]
    Parse(#[source] serde_json::Error),
    /// The answers could not be written.
    #[error("cannot write the answers")]
    Write(#[source] io::Error),
    /// A service that was waited for did not answer in time.
    #[error("{service} does not answer: {reason}")]
    Silence {
        /// Where it should.
        service: String,
        /// What happened the last time.
        reason: String,
    },
}

/// Answers that are looked for at the same time, at most: programs, the disk and the network make each other wait.
const WORKERS: usize = 4;

/// Reads a JSON array of [`Probe`] and writes one of [`Answered`], in the same order; see [`answer`].
pub fn serve(input: impl Read, mut output: impl Write, limit: Option<Duration>) -> Result<(), Error> {
    let mut bytes = Vec::new();
    input.take(QUESTIONS).read_to_end(&mut bytes).map_err(Error::Read)?;
    let asked: Vec<serde_json::Value> = serde_json::from_slice(&bytes).map_err(Error::Parse)?;
    // A newer rave may ask what this one does not know; the rest is answered all the same.
    let asked: Vec<Result<Probe, serde_json::Error>> = asked.into_iter().map(serde_json::from_value).collect();
    let probes: Vec<Probe> = asked.iter().flatten().cloned().collect();
    let mut known = answer(&probes, limit).into_iter();
    let told = |asked: &Result<Probe, serde_json::Error>| match asked {
        Ok(_) => known.next().unwrap_or_else(|| Answered::unavailable("no answer")),
        Err(error) => Answered::unavailable(format!("the rave of this machine does not know the question: {error}")),
    };
    let answers: Vec<Answered> = asked.iter().map(told).collect();
    serde_json::to_writer(&mut output, &answers).map_err(|e| Error::Write(e.into()))?;
    output.write_all(b"\n").and_then(|()| output.flush()).map_err(Error::Write)
}

/// Answers probes about this machine, one answer for each, in order. What cannot be answered is
/// [`Answer::Unavailable`]. Each takes no longer than `limit` or, without one, than its kind needs.
pub fn answer(probes: &[Probe], limit: Option<Duration>) -> Vec<Answered> {
    Machine { limit, ..Machine::this() }.answer_all(probes)
}

/// Waits until a service answers: HTTP with a status of success, other services by accepting a connection. May run in
/// the sandbox of that service, which sees the files that the service does.
pub fn wait(service: &Service, time: Duration) -> Result<(), Error> {
    let machine = Machine { root: "/".into(), ..Machine::this() };
    let deadline = Instant::now() + time;
    loop {
        let reason = match services::answers(&machine, service) {
            Ok(()) => return Ok(()),
            Err(reason) => reason,
        };
        if Instant::now() >= deadline {
            return Err(Error::Silence { service: service.to_string(), reason });
        }
        std::thread::sleep(PAUSE);
    }
}

/// Why one probe could not be answered.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{error}: {}", error.source)]
    File { error: disk::Error },
    #[error(transparent)]
    Tool(#[from] crate::tool::Error),
    #[error("{0}")]
    Other(String),
}

impl From<disk::Error> for Trouble {
    fn from(error: disk::Error) -> Self {
        Self::File { error }
    }
}

impl From<String> for Trouble {
    fn from(text: String) -> Self {
        Self::Other(text)
    }
}

/// Where a machine can be looked at; another place than the real one only in tests.
struct Machine {
    proc: PathBuf,
    sys: PathBuf,
    root: PathBuf,
    /// How long one answer may take, if less than its kind does.
    limit: Option<Duration>,
}

impl Machine {
    fn this() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into(), root: "/proc/1/root".into(), limit: None }
    }

    /// How long an answer may take that usually has `usual`.
    fn within(&self, usual: Duration) -> Duration {
        self.limit.map_or(usual, |limit| limit.min(usual))
    }

    /// A path of the machine as process 1 sees it.
    fn inside(&self, path: &GuestPath) -> PathBuf {
        self.root.join(path.relative())
    }

    fn answer_all(&self, probes: &[Probe]) -> Vec<Answered> {
        let systemd = systemd::Systemd::about(probes, self.within(TIME));
        let timed = |probe: &Probe| {
            let started = Instant::now();
            let answer = self.answer(probe, &systemd).unwrap_or_else(Answer::unavailable);
            Answered { answer, ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX) }
        };
        let answers = probes.iter().map(|_| OnceLock::new()).collect::<Vec<_>>();
        // A question may have systemd start who answers it, and only then there is something to tell of that unit.
        let tells_of_units = |probe: &Probe| matches!(probe, Probe::Units { .. } | Probe::Cgroups { .. });
        let (last, first): (Vec<_>, Vec<_>) = probes.iter().zip(&answers).partition(|(probe, _)| tells_of_units(probe));
        for round in [first, last] {
            let next = AtomicUsize::new(0);
            let work = || {
                while let Some((probe, place)) = round.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let _ = place.set(timed(probe));
                }
            };
            std::thread::scope(|scope| {
                let workers = WORKERS.min(round.len());
                (1..workers).for_each(|_| drop(scope.spawn(work)));
                work();
            });
        }
        let silence = || Answered::unavailable("no answer");
        answers.into_iter().map(|place| place.into_inner().unwrap_or_else(silence)).collect()
    }

    fn answer(&self, probe: &Probe, systemd: &systemd::Systemd) -> Result<Answer, Trouble> {
        Ok(match probe {
            Probe::SystemState => systemd.state()?,
            Probe::Units { properties } => systemd.units(properties)?,
            Probe::Cgroups { units } => systemd.cgroups(units, self)?,
            Probe::Journal { seconds } => systemd::journal(*seconds, self.within(TIME))?,
            Probe::Sockets => Answer::Sockets { sockets: sockets::read(&self.proc)? },
            Probe::Mounts => Answer::Mounts { mounts: kernel::mounts(&self.proc)? },
            Probe::Sysctls { names } => kernel::sysctls(&self.proc, names),
            Probe::CommandLine => {
                Answer::CommandLine { line: kernel::text(self.proc.join("cmdline"))?.trim().to_owned() }
            }
            Probe::Resources => kernel::resources(self)?,
            Probe::Space => kernel::space(self)?,
            Probe::Verity => dm::verity(self)?,
            Probe::Write { directory } => self.write(directory)?,
            Probe::Clock => self.clock()?,
            Probe::Scan => scan::scan(&self.root, self.limit)?,
            Probe::HostKey { path } => self.host_key(path)?,
            Probe::Secrets { names } => secrets::files(self, names)?,
            Probe::Http { url } => services::http(self, url),
            Probe::Alert { place, messages } => alert::alert(self, place, *messages)?,
            Probe::Connect { place, send, listen } => services::connect(self, place, send.as_deref(), *listen),
            Probe::Certificate { path } => https::certificate(self, path)?,
            Probe::Deliver { port, name, path, secret, scheme } => {
                https::deliver(self, *port, &Request::post(name, path), secret, *scheme)?
            }
            Probe::Forge { port, name, path, schemes } => {
                https::forged(self, *port, &Request::post(name, path), schemes)?
            }
            Probe::Run { command } => run(command, self.within(TIME))?,
            Probe::SshOffer
            | Probe::SshLogin { .. }
            | Probe::SshRefusal { .. }
            | Probe::HostClock
            | Probe::Tls { .. }
            | Probe::Suite { .. }
            | Probe::TlsOlder { .. }
            | Probe::PlainHttp { .. }
            | Probe::Https { .. }
            | Probe::Slow { .. }
            | Probe::Burst { .. }
            | Probe::TcpPorts { .. }
            | Probe::BruteForce { .. }
            | Probe::UdpPorts { .. } => {
                return Err("this has to be asked from outside".to_owned().into());
            }
        })
    }

    /// Only the kernel's word that the file system is read-only is a good answer: any other failure may be that
    /// of the sandbox this runs in.
    fn write(&self, directory: &GuestPath) -> Result<Answer, Trouble> {
        let path = self.inside(directory).join(format!(".rave-check-{}", std::process::id()));
        match disk::create_new(&path) {
            Ok(_) => {
                disk::remove_file(&path)?;
                Ok(Answer::Write { written: true, said: "a file was made and removed again".to_owned() })
            }
            Err(error) if error.source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                Ok(Answer::Write { written: false, said: error.source.to_string() })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn clock(&self) -> Result<Answer, Trouble> {
        let now = SystemTime::now();
        let unix_seconds = match now.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |seconds| -seconds),
        };
        let uptime = kernel::text(self.proc.join("uptime"))?;
        let uptime_seconds = uptime.split(['.', ' ']).next().and_then(|seconds| seconds.parse().ok());
        let uptime_seconds = uptime_seconds.ok_or_else(|| format!("the uptime is {uptime:?}"))?;
        Ok(Answer::Clock { unix_seconds, uptime_seconds })
    }

    fn host_key(&self, path: &GuestPath) -> Result<Answer, Trouble> {
        let bytes = disk::read_start(self.inside(path), KEY)?;
        let text = String::from_utf8_lossy(&bytes);
        let mut key = ssh_key::PublicKey::from_openssh(&text).map_err(|e| format!("{path} is no public key: {e}"))?;
        key.set_comment("");
        let key = key.to_openssh().map_err(|e| format!("{path} cannot be written as a key: {e}"))?;
        Ok(Answer::HostKey { key: key.trim().to_owned() })
    }
}

fn run(command: &[String], time: Duration) -> Result<Answer, Trouble> {
    let Some((program, arguments)) = command.split_first() else {
        return Err("the command is empty".to_owned().into());
    };
    let ended = Tool::new(program).args(arguments).bounded(time, OUTPUT)?;
    Ok(Answer::Run(Ended {
        code: ended.status.and_then(|status| status.code()),
        stdout: String::from_utf8_lossy(&ended.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
    }))
}

/// Lines of names and values with a separator between; of equal names the first.
fn assignments(text: &str, separator: char) -> BTreeMap<&str, &str> {
    let mut map = BTreeMap::new();
    for (name, value) in text.lines().filter_map(|line| line.split_once(separator)) {
        map.entry(name.trim()).or_insert_with(|| value.trim());
    }
    map
}

#[cfg(test)]
mod tests;
