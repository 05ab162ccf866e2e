//! How fast files are searched for secrets, in bytes per second and core.
//!
//!     cargo bench --bench leaks
#![allow(missing_docs, clippy::missing_docs_in_private_items, reason = "a benchmark")]

use divan::Bencher;
use divan::counter::BytesCount;
use rave::leaks::{Bytes, Content, Patterns, search};

/// Bytes that are searched.
const SIZE: usize = 256 << 20;

fn main() {
    divan::main();
}

fn random(seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
}

fn content(bytes: Vec<u8>) -> [Content; 1] {
    [Content { name: "content".to_owned(), option: None, bytes: Bytes::Memory(bytes) }]
}

/// As an image is: compressed data, programs, text, and empty space.
fn mixed() -> Vec<u8> {
    let mut bytes: Vec<u8> = random(1).take(SIZE / 2).collect();
    let program = rave::disk::read(std::env::current_exe().unwrap()).unwrap();
    bytes.extend(program.iter().cycle().take(SIZE / 4));
    let text = include_str!("../src/leaks/patterns.rs");
    bytes.extend(text.bytes().cycle().take(SIZE / 8));
    bytes.resize(SIZE, 0);
    bytes
}

/// As many secrets as a large image has: random, in all their forms.
fn secrets(count: usize) -> Patterns {
    let values: Vec<(String, Vec<u8>)> = (0..count)
        .map(|number| {
            (format!("secret-{number}"), random(number as u64 + 7).map(|byte| b'!' + byte % 90).take(40).collect())
        })
        .collect();
    Patterns::secrets(values.iter().map(|(name, value)| (name.as_str(), value.as_slice())))
}

fn run(bencher: Bencher<'_, '_>, patterns: &Patterns, bytes: Vec<u8>) {
    let contents = content(bytes);
    bencher.counter(BytesCount::new(SIZE)).bench_local(|| search(patterns, &contents, 1).unwrap());
}

#[divan::bench(args = [1, 20, 100], sample_count = 5)]
fn values_in_an_image(bencher: Bencher<'_, '_>, count: usize) {
    run(bencher, &secrets(count), mixed());
}

#[divan::bench(args = [1, 20, 100], sample_count = 5)]
fn values_in_compressed_data(bencher: Bencher<'_, '_>, count: usize) {
    run(bencher, &secrets(count), random(3).take(SIZE).collect());
}

#[divan::bench(sample_count = 5)]
fn keys_and_hashes_in_an_image(bencher: Bencher<'_, '_>) {
    run(bencher, &Patterns::known(), mixed());
}
