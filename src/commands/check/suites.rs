//! Runs the outside suites that the user has installed. What they say is judged by [`check::suite`](crate::check::suite).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::check::suite::{Place, Record, fill, record};
use crate::check::{Stage, Wanted};
use crate::disk;
use crate::event::Work;
use crate::probe::{Answer, Answered, Ended, Probe, Suite};
use crate::tool::Tool;

use super::super::{Context, Failure, Result};
use super::asking::Subject;
use super::limits::Limits;

/// The longest output that is read, in bytes, and how much of a complaint is kept.
const OUTPUT: usize = 8 << 20;
const COMPLAINT: usize = 2000;
/// How long the machine may take for one file.
const FILE: Duration = Duration::from_secs(60);
/// Where programs are looked for.
const DIRECTORIES: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// How a certificate begins (RFC 7468).
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// The suites that were asked for, each with the program to run if that was said.
#[derive(Debug, Clone, Default)]
pub struct Programs(BTreeMap<Suite, Option<PathBuf>>);

impl Programs {
    /// Reads what was typed: names, or `NAME=PROGRAM`.
    pub fn parse(typed: &[String], wanted: &Wanted) -> Result<Self> {
        let mut programs = BTreeMap::new();
        for text in typed {
            let (name, program) = match text.split_once('=') {
                Some((name, program)) => (name, Some(Path::new(program))),
                None => (text.as_str(), None),
            };
            let suite: Suite = name.parse().map_err(|error| Failure::request(format!("{error}")))?;
            if program.is_some() && record(suite).is_some_and(|record| record.place == Place::Inside) {
                return Err(Failure::request(format!(
                    "{suite} runs inside the machine, with the program that is there"
                )));
            }
            let program = match program.map(disk::canonical).transpose() {
                Ok(program) => program,
                Err(_) => return Err(Failure::request(format!("--suite {text}: there is no such program"))),
            };
            programs.insert(suite, program);
        }
        if !programs.is_empty() && !wanted.stages.is_empty() && !wanted.stages.contains(&Stage::Security) {
            return Err(Failure::request("--suite belongs to the stage security, which --stage leaves out"));
        }
        Ok(Self(programs))
    }

    /// The suites, in the order in which they run.
    pub fn suites(&self) -> Vec<Suite> {
        Suite::ALL.into_iter().filter(|suite| self.0.contains_key(suite)).collect()
    }
}

/// Otherwise why a suite has nothing to say.
type Tried<T> = std::result::Result<T, String>;

/// Runs suites against one machine, each once.
pub struct Suites<'a> {
    context: &'a Context,
    subject: &'a Subject<'a>,
    programs: &'a Programs,
    limits: Limits,
    until: Instant,
    known: BTreeMap<Suite, Answered>,
}

impl<'a> Suites<'a> {
    /// Nothing runs after `until`.
    pub fn new(
        context: &'a Context,
        subject: &'a Subject<'a>,
        programs: &'a Programs,
        limits: Limits,
        until: Instant,
    ) -> Self {
        Self { context, subject, programs, limits, until, known: BTreeMap::new() }
    }

    /// What the suites say of the machine that `probes` name, in the order of [`Suite::ALL`].
    pub fn answers(&mut self, probes: &[Probe]) -> Vec<(Probe, Answered)> {
        let asked = Suite::ALL.map(|suite| Probe::Suite { suite }).into_iter().filter(|probe| probes.contains(probe));
        asked.filter_map(|probe| Some((probe.clone(), self.answer(&probe)?))).collect()
    }

    fn answer(&mut self, probe: &Probe) -> Option<Answered> {
        let Probe::Suite { suite } = probe else { return None };
        if let Some(known) = self.known.get(suite) {
            return Some(known.clone());
        }
        let work = Work::start(self.context.ui.as_ref(), "run", suite.to_string(), None);
        let begin = Instant::now();
        let answer = match record(*suite) {
            Some(record) => self.run(record).unwrap_or_else(Answer::unavailable),
            None => Answer::unavailable("nobody knows how to run it"),
        };
        work.finish(String::new());
        let answered = Answered { answer, ms: u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX) };
        self.known.insert(*suite, answered.clone());
        Some(answered)
    }

    /// The time that is left, at most `time`.
    fn left(&self, time: Duration) -> Duration {
        let time = self.limits.each.map_or(time, |each| each.min(time));
        self.until.saturating_duration_since(Instant::now()).min(time)
    }

    fn run(&self, record: &Record) -> Tried<Answer> {
        let time = self.left(Duration::from_secs(record.seconds));
        if time.is_zero() {
            return Err("the deadline has passed".to_owned());
        }
        let (host, port) = self.place(record.place)?;
        if record.place == Place::Inside {
            return self.inside(record, time);
        }
        let program = self.program(record).ok_or_else(|| {
            let names = record.programs.join(" or ");
            format!("{names} is not installed: {}; or say --suite {}=PROGRAM", record.remedy, record.suite)
        })?;
        let directory = disk::temp_dir().map_err(|error| error.to_string())?;
        for (name, command) in record.inputs {
            self.input(&directory.path().join(name), command)?;
        }
        if record.place == Place::Https {
            self.authorities(&directory.path().join("ca.pem"))?;
        }
        let place = directory.path().to_string_lossy();
        let arguments = record.arguments.iter().map(|argument| fill(argument, &place, &host, port));
        let tool = Tool::new(program).args(arguments).current_dir(directory.path());
        let ended = tool.bounded(self.left(time), OUTPUT).map_err(|error| error.to_string())?;
        let said = match record.output {
            None => ended.stdout,
            // Without it there is nothing to read, and the complaint says why.
            Some(name) => disk::read_start(directory.path().join(name), OUTPUT as u64).unwrap_or_default(),
        };
        if said.len() >= OUTPUT {
            return Err("it said too much".to_owned());
        }
        // Which one was the temporary directory is of no use to anybody.
        let command = tool.display().replace(&*place, "DIRECTORY");
        let complaint = String::from_utf8_lossy(&ended.stderr).chars().take(COMPLAINT).collect();
        let code = ended.status.and_then(|status| status.code());
        let ended = Ended { code, stdout: String::from_utf8_lossy(&said).into_owned(), stderr: complaint };
        Ok(Answer::Suite { command, ended })
    }

    /// Where the machine is reached, as far as a suite needs that.
    fn place(&self, place: Place) -> Tried<(String, u16)> {
        let expect = &self.subject.manifest.expect;
        match place {
            Place::Ssh => self.subject.ssh().ok_or_else(|| "the machine has no SSH port".to_owned()),
            Place::Https => {
                let site = expect.https.values().next().ok_or("the image serves nothing over HTTPS")?;
                self.subject.site(site.port).ok_or_else(|| "no port leads to its site".to_owned())
            }
            Place::Direct => self.subject.direct().map(|host| (host, 0)).ok_or_else(|| {
                "only some ports lead to a machine that rave runs: security.scan scans it from beside it".to_owned()
            }),
            Place::FilesOf(unit) if !expect.units.contains_key(unit) => Err(format!("the image has no {unit}")),
            Place::Files | Place::FilesOf(_) | Place::Inside => Ok((String::new(), 0)),
        }
    }

    /// The program that was said, or the first that is there.
    fn program(&self, record: &Record) -> Option<PathBuf> {
        if let Some(Some(said)) = self.programs.0.get(&record.suite) {
            return Some(said.clone());
        }
        let mut places = record.programs.iter().flat_map(|name| DIRECTORIES.map(|place| Path::new(place).join(name)));
        places.find(|program| disk::exists(program))
    }

    fn inside(&self, record: &Record, time: Duration) -> Tried<Answer> {
        let command: Vec<&str> = record.programs.iter().chain(record.arguments).copied().collect();
        let said = self.subject.inside.run(&command, b"", time).map_err(|error| error.to_string())?;
        let stdout = String::from_utf8_lossy(&said).into_owned();
        let ended = Ended { code: Some(0), stdout, stderr: String::new() };
        Ok(Answer::Suite { command: format!("{} in the machine", record.suite), ended })
    }

    /// Makes a file of what a command says in the machine.
    fn input(&self, path: &Path, command: &[&str]) -> Tried<()> {
        let said = self.subject.inside.run(command, b"", self.left(FILE)).map_err(|error| error.to_string())?;
        disk::write_atomic(path, &said, 0o600).map_err(|error| error.to_string())
    }

    /// Makes a file of the authorities of the first site's certificate, as the machine has them: they follow it.
    fn authorities(&self, path: &Path) -> Tried<()> {
        let site = self.subject.manifest.expect.https.values().next();
        let file = site.map(|site| site.certificate.to_string()).unwrap_or_default();
        let command = ["/usr/bin/cat", "--", file.as_str()];
        let said = self.subject.inside.run(&command, b"", self.left(FILE)).map_err(|error| error.to_string())?;
        let chain = authorities(&String::from_utf8_lossy(&said));
        disk::write_atomic(path, chain.as_bytes(), 0o600).map_err(|error| error.to_string())
    }
}

/// The certificates after the first; that itself, if it is the only one.
fn authorities(chain: &str) -> String {
    let certificates: Vec<String> =
        chain.split(CERTIFICATE).skip(1).map(|rest| format!("{CERTIFICATE}{rest}")).collect();
    let own = usize::from(certificates.len() > 1);
    certificates.into_iter().skip(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_read_or_refused() {
        let parse = |typed: &[&str], wanted: &Wanted| {
            let typed: Vec<String> = typed.iter().map(|text| (*text).to_owned()).collect();
            Programs::parse(&typed, wanted)
        };
        let all = Wanted::default();
        let programs = parse(&["nmap", "gixy=/bin/sh", "nmap"], &all).unwrap();
        assert_eq!(programs.suites(), [Suite::Gixy, Suite::Nmap]);
        assert!(programs.0[&Suite::Gixy].as_ref().is_some_and(|program| program.is_absolute()));
        let part = Wanted { stages: [Stage::Ssh].into(), ..Wanted::default() };
        for (typed, wanted, reason) in [
            ("nessus", &all, "is not a suite: gixy,"),
            ("gixy=/nonexistent", &all, "there is no such program"),
            ("systemd-analyze=/bin/sh", &all, "runs inside the machine"),
            ("nmap", &part, "which --stage leaves out"),
        ] {
            let error = parse(&[typed], wanted).unwrap_err();
            assert!(format!("{error:?}").contains(reason), "{typed}: {error:?}");
        }
        assert!(parse(&[], &part).unwrap().suites().is_empty());
    }

    #[test]
    fn authorities_are_what_follows_the_first_certificate() {
        let block = |text: &str| format!("{CERTIFICATE}\n{text}\n-----END CERTIFICATE-----\n");
        let chain = format!("subject=x\n{}{}{}", block("a"), block("b"), block("c"));
        assert_eq!(authorities(&chain), format!("{}{}", block("b"), block("c")));
        assert_eq!((authorities(&block("a")), authorities("nothing")), (block("a"), String::new()));
    }
}
