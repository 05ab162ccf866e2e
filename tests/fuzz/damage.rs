//! Damages inputs.

/// No damaged input is larger, in bytes, so that time tells of the parser.
pub const LIMIT: usize = 64 << 10;

/// Pieces that readers of many formats stumble over.
const PIECES: [&[u8]; 44] = [
    b"",
    b"\0",
    b"\n",
    b"\r\n",
    b"\t",
    b" ",
    b"\"",
    b"'",
    b"\\",
    b"\xff",
    b"\xc3",
    b"\xef\xbb\xbf",
    b"\xf0\x9f\x98\x80",
    "\u{85}".as_bytes(),
    "\u{2028}".as_bytes(),
    b"{",
    b"}",
    b"[",
    b"]",
    b"{{",
    b"}}",
    b"{%",
    b"%}",
    b"<<: *a\n",
    b"&a ",
    b"*a",
    b"!!binary ",
    b"!force ",
    b"- ",
    b": ",
    b"#",
    b"---\n",
    b"...\n",
    b"|2-\n",
    b"null",
    b"~",
    b"true",
    b"1e999",
    b"NaN",
    b"-",
    b"=",
    b"/../",
    b"%n",
    b"$(",
];

/// Numbers at the edges of what types hold.
const NUMBERS: [&str; 14] = [
    "0",
    "-1",
    "1",
    "255",
    "256",
    "65536",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999999999999999999",
];

/// Openings that nest, many times over.
const NESTED: [&str; 8] = ["[", "{a: ", "{\"a\":", "- ", "(", "{{", "? ", "[["];

/// Pseudo-random numbers (splitmix64): the same everywhere and always.
pub struct Random(u64);

impl Random {
    /// Those of one round of one parser.
    pub fn new(parser: &str, round: u64) -> Self {
        let name = parser
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        Self(name ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, or 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end.max(1) as u64)).unwrap()
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// A place in `length` bytes and one after it; most are near each other.
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        let reach = self.of(&[2, 9, 65, 1025, LIMIT]);
        start..(start + self.below(reach)).min(length)
    }
}

/// A damaged copy of one of the seeds, with pieces of others and of `words`.
pub fn damage(random: &mut Random, seeds: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    bytes.truncate(LIMIT);
    for _ in 0..=random.of(&[0, 0, 1, 2, 5]) {
        once(random, &mut bytes, seeds, words);
        bytes.truncate(LIMIT);
    }
    bytes
}

fn once(random: &mut Random, bytes: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[&str]) {
    let range = random.range(bytes.len());
    match random.below(12) {
        0 | 1 if !bytes.is_empty() => {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        2 if !bytes.is_empty() => {
            let at = random.below(bytes.len());
            bytes[at] = random.of(&[0, 1, 0x7f, 0x80, 0xff, b' ', b'\n', b'0', b'9']);
        }
        3 => bytes.truncate(range.start),
        4 => drop(bytes.drain(range)),
        5 => {
            let part = bytes[range.clone()].repeat(random.of(&[1, 1, 2, 50]));
            drop(bytes.splice(range.end..range.end, part));
        }
        6 => {
            let other = &seeds[random.below(seeds.len())];
            let part = other[random.range(other.len())].to_vec();
            drop(bytes.splice(range, part));
        }
        7 => drop(bytes.splice(range, random.of(&PIECES).iter().copied())),
        8 if !words.is_empty() => drop(bytes.splice(range, random.of(words).bytes())),
        9 => number(random, bytes),
        10 => {
            let deep = random.of(&NESTED).repeat(random.of(&[2, 20, 200, 10_000]));
            drop(bytes.splice(range, deep.bytes()));
        }
        _ => lines(random, bytes),
    }
}

/// Puts another number in the place of one.
fn number(random: &mut Random, bytes: &mut Vec<u8>) {
    let start = random.below(bytes.len() + 1);
    let Some(start) = (start..bytes.len()).find(|&at| bytes[at].is_ascii_digit()) else { return };
    let end = (start..bytes.len()).find(|&at| !bytes[at].is_ascii_digit()).unwrap_or(bytes.len());
    drop(bytes.splice(start..end, random.of(&NUMBERS).bytes()));
}

/// Puts a line in another place.
fn lines(random: &mut Random, bytes: &mut Vec<u8>) {
    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|&byte| byte == b'\n').collect();
    if lines.len() > 1 {
        let line = lines.remove(random.below(lines.len()));
        lines.insert(random.below(lines.len() + 1), line);
        *bytes = lines.concat();
    }
}

#[test]
fn damage_is_the_same_every_time_and_seldom_twice_the_same() {
    let seeds = [b"a: 1\nb: [2, 3]\n".to_vec(), b"{\"x\": 5}".to_vec()];
    let made = |round| damage(&mut Random::new("x", round), &seeds, &["word"]);
    let all: std::collections::BTreeSet<Vec<u8>> = (0..1000).map(made).collect();
    assert!(all.len() > 700, "{}", all.len());
    assert!((0..1000).all(|round| made(round) == made(round) && made(round).len() <= LIMIT));
    assert_ne!(Random::new("x", 1).next(), Random::new("y", 1).next());
}
