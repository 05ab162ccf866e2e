//! Feeds parsers, and tells which of them fail.

use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::damage::{Random, damage};

/// A small input that takes more of a processor's time is a failure, too. Code that is not optimised gets more.
const LONGEST: Duration = Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 1 });

/// One that takes so much longer is not waited for.
const HANGS: Duration = Duration::from_secs(60);

/// Reads bytes and throws away what they mean.
type Parse = dyn Fn(&[u8]) + Send + Sync;

/// What is tried.
pub struct Parser {
    /// Its name, for messages and files.
    pub name: &'static str,
    /// Inputs as they should be.
    pub seeds: Vec<Vec<u8>>,
    /// Pieces of its language.
    pub words: &'static [&'static str],
    /// How many inputs are tried, unless told otherwise.
    pub rounds: u64,
    /// Reads an input. Whatever it thinks of it is fine.
    pub parse: Box<Parse>,
}

impl Parser {
    /// A parser without words of its own.
    pub fn new(
        name: &'static str,
        rounds: u64,
        seeds: impl IntoIterator<Item = impl Into<Vec<u8>>>,
        parse: impl Fn(&[u8]) + Send + Sync + 'static,
    ) -> Self {
        let seeds = seeds.into_iter().map(Into::into).collect();
        Self { name, seeds, words: &[], rounds, parse: Box::new(parse) }
    }

    /// The same for a text.
    pub fn text(
        name: &'static str,
        rounds: u64,
        seeds: impl IntoIterator<Item = impl Into<Vec<u8>>>,
        parse: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, rounds, seeds, move |bytes| parse(&String::from_utf8_lossy(bytes)))
    }

    /// Adds pieces of its language.
    pub fn words(self, words: &'static [&'static str]) -> Self {
        Self { words, ..self }
    }
}

/// How long to search.
#[derive(Clone, Copy, Default)]
struct Plan {
    first: u64,
    time: Option<Duration>,
}

/// An input that a parser fails on.
struct Find {
    round: u64,
    input: Vec<u8>,
    what: String,
}

/// Tries all of them.
///
/// # Panics
/// With a list of the inputs on which one fails.
pub fn all(parsers: Vec<Parser>) {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
    };
    let plan = Plan {
        first: number("RAVE_FUZZ_ROUND").unwrap_or(0),
        time: number("RAVE_FUZZ_SECONDS").map(Duration::from_secs),
    };
    let only = std::env::var("RAVE_FUZZ_PARSER").unwrap_or_default();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    std::fs::create_dir_all(&folder).unwrap();
    let mut failures = Vec::new();
    for mut parser in parsers.into_iter().filter(|parser| parser.name.starts_with(&only)) {
        parser.seeds.extend(found(parser.name));
        assert!(!parser.seeds.is_empty(), "{} has no seed", parser.name);
        let name = parser.name;
        if let Some(find) = search(parser, plan, &folder) {
            let input = folder.join(format!("{name}.{}", find.round));
            std::fs::write(&input, &find.input).unwrap();
            failures.push(format!(
                "RAVE_FUZZ_PARSER={name} RAVE_FUZZ_ROUND={}: {}\n  input: {}",
                find.round,
                find.what,
                input.display()
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What once made a parser fail.
fn found(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/found").join(name);
    let mut paths: Vec<PathBuf> = match std::fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        Err(_) => Vec::new(),
    };
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Tries a parser in a thread of its own, and does not wait for ever.
fn search(parser: Parser, plan: Plan, folder: &Path) -> Option<Find> {
    let (name, last) = (parser.name, folder.join(format!("{}.last", parser.name)));
    let round = Arc::new(AtomicU64::new(0));
    let (tell, told) = mpsc::channel();
    let (at, file) = (Arc::clone(&round), last.clone());
    let work = move || {
        let find = rounds(&parser, plan, &file, &at);
        let _ = tell.send(find);
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(work).unwrap();
    let mut before = u64::MAX;
    loop {
        match told.recv_timeout(HANGS) {
            Ok(find) => return find,
            Err(mpsc::RecvTimeoutError::Disconnected) => panic!("{name}: the search itself failed"),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let now = round.load(Ordering::SeqCst);
                if now == before {
                    let what = format!("it does not end within {} seconds", HANGS.as_secs());
                    return Some(Find { round: now, input: std::fs::read(last).unwrap(), what });
                }
                before = now;
            }
        }
    }
}

/// The seeds as they are, and then one damaged input after the other.
fn rounds(parser: &Parser, plan: Plan, last: &Path, at: &AtomicU64) -> Option<Find> {
    let begin = Instant::now();
    let seeds = parser.seeds.len() as u64;
    // Kept open: closing a file that was cut short can wait for the disk.
    let kept = std::fs::File::create(last).unwrap();
    for round in plan.first.. {
        let over = plan.time.map_or(round >= plan.first + seeds + parser.rounds, |time| begin.elapsed() >= time);
        if over {
            break;
        }
        let input = match parser.seeds.get(usize::try_from(round).unwrap_or(usize::MAX)) {
            Some(seed) => seed.clone(),
            None => damage(&mut Random::new(parser.name, round - seeds), &parser.seeds, parser.words),
        };
        at.store(round, Ordering::SeqCst);
        kept.write_all_at(&input, 0).unwrap();
        kept.set_len(input.len() as u64).unwrap();
        if let Some(what) = fails(parser, &input) {
            return Some(Find { round, input, what });
        }
    }
    let _ = std::fs::remove_file(last);
    None
}

/// In which way a parser fails on an input, if it does.
fn fails(parser: &Parser, input: &[u8]) -> Option<String> {
    let begin = spent();
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (parser.parse)(input))) {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        return Some(format!("it panics: {}", text.unwrap_or_default()));
    }
    let took = spent().saturating_sub(begin);
    (took > LONGEST).then(|| format!("it takes {} ms", took.as_millis()))
}

/// Time of a processor that this thread has had: a machine that is busy with something else is not a parser's fault.
fn spent() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

/// What a search of a few hundred rounds tells of a parser.
#[cfg(test)]
fn told_of(parse: impl Fn(&[u8]) + Send + Sync + 'static) -> Option<Find> {
    let folder = tempfile::tempdir().unwrap();
    search(Parser::new("self", 500, [&b"hello: 12\n"[..]], parse), Plan::default(), folder.path())
}

#[test]
fn a_parser_that_panics_is_found_and_its_input_fails_again() {
    let parse = |bytes: &[u8]| assert!(bytes.is_ascii(), "not for the likes of you");
    let find = told_of(parse).expect("no damage made the parser panic");
    assert!(find.what.contains("it panics: not for the likes of you"), "{}", find.what);
    assert!(find.round > 0 && !find.input.is_ascii());
    let again = damage(&mut Random::new("self", find.round - 1), &[b"hello: 12\n".to_vec()], &[]);
    assert_eq!(again, find.input, "the round alone says which input it was");
    assert!(told_of(|_| ()).is_none(), "a parser that does nothing cannot fail");
}

#[test]
fn a_parser_that_takes_long_is_found() {
    let parse = |bytes: &[u8]| {
        if !bytes.starts_with(b"hello") {
            let begin = spent();
            while spent().saturating_sub(begin) < LONGEST + Duration::from_millis(20) {}
        }
    };
    let find = told_of(parse).expect("nobody noticed the time");
    assert!(find.what.starts_with("it takes "), "{}", find.what);
}
