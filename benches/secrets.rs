//! How long files of secrets take to open. The bounds that a user would notice are asserted before anything is timed.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use divan::Bencher;
use rave::secrets::prompt::{Nobody, Prompt};
use rave::secrets::{File, Format, Group, Identities, Mac, Metadata, Opened, identity};

static MACHINE: LazyLock<identity::New> = LazyLock::new(|| identity::generate(false).unwrap());

fn identities() -> Identities {
    Identities::parse("machine", MACHINE.identity.expose()).unwrap()
}

/// A file of `values` texts for `others` recipients and then the machine.
fn file(values: usize, others: usize) -> Vec<u8> {
    let text: String = (0..values).map(|n| format!("key{n}: value number {n}\n")).collect();
    let documents = Format::Yaml.read(text.as_bytes()).unwrap();
    let strangers = (0..others).map(|_| identity::generate(false).unwrap().recipient);
    let group = Group::of(strangers.chain([MACHINE.recipient.clone()]));
    let prompt: Arc<dyn Prompt> = Arc::new(Nobody);
    let metadata = Metadata::new(vec![group], None, None, false);
    Opened::create(Format::Yaml, documents, metadata, &prompt).unwrap().seal(jiff::Timestamp::now()).unwrap()
}

fn open(file: &[u8], identities: &Identities) -> Opened {
    File::read(Format::Yaml, file).unwrap().open(identities, Mac::Check).unwrap()
}

/// The same without knowing which recipient is one's own: every stanza has to be tried.
fn stranger(file: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(file).replace(&MACHINE.recipient, "age1unknown").into_bytes()
}

#[divan::bench]
fn ten_thousand_values(bencher: Bencher) {
    let (file, identities) = (file(10_000, 0), identities());
    bencher.bench(|| open(&file, &identities));
}

#[divan::bench]
fn fifty_recipients(bencher: Bencher) {
    let (file, identities) = (file(1, 49), identities());
    bencher.bench(|| open(&file, &identities));
}

#[divan::bench]
fn fifty_stanzas_tried(bencher: Bencher) {
    let (file, identities) = (stranger(&file(1, 49)), identities());
    bencher.bench(|| open(&file, &identities));
}

fn main() {
    let (large, many, identities) = (file(10_000, 0), file(1, 49), identities());
    let time = |file: &[u8]| {
        let start = Instant::now();
        drop(open(file, &identities));
        start.elapsed()
    };
    let least = |file: &[u8]| (0..5).map(|_| time(file)).min().unwrap_or_default();
    let opened = least(&large);
    assert!(opened < Duration::from_millis(500), "10,000 values took {opened:?}");
    let (known, tried) = (least(&many), least(&stranger(&many)));
    assert!(known <= tried, "a known recipient took {known:?}, trying 50 stanzas {tried:?}");
    divan::main();
}
