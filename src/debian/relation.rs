//! Relations between packages (deb-control(5), Debian Policy 7.1): `a (>= 1) | b, c:any`.

use std::cmp::Ordering;
use std::fmt;

use debversion::Version;

use super::deb822::Malformed;

/// The longest version that is compared, in bytes.
const VERSION_LIMIT: usize = 256;

/// Reads a version; longer ones than anybody uses are refused before they cost time.
pub fn version(text: &str) -> Result<Version, Malformed> {
    let malformed = || Malformed::value("Version", text, "a version");
    if text.len() > VERSION_LIMIT {
        return Err(malformed());
    }
    text.parse().map_err(|_| malformed())
}

/// How a version must compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `<<`
    Earlier,
    /// `<=`
    EarlierOrEqual,
    /// `=`
    Equal,
    /// `>=`
    LaterOrEqual,
    /// `>>`
    Later,
}

impl Operator {
    /// The last two are of old: dpkg takes them so.
    const ALL: [(&'static str, Self); 7] = [
        ("<<", Self::Earlier),
        ("<=", Self::EarlierOrEqual),
        (">=", Self::LaterOrEqual),
        (">>", Self::Later),
        ("=", Self::Equal),
        ("<", Self::EarlierOrEqual),
        (">", Self::LaterOrEqual),
    ];

    fn admits(self, ordering: Ordering) -> bool {
        match self {
            Self::Earlier => ordering.is_lt(),
            Self::EarlierOrEqual => ordering.is_le(),
            Self::Equal => ordering.is_eq(),
            Self::LaterOrEqual => ordering.is_ge(),
            Self::Later => ordering.is_gt(),
        }
    }
}

/// One package and the versions of it that count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation<'a> {
    /// Package name, real or virtual.
    pub name: &'a str,
    /// Whether packages of another architecture than the image's are meant.
    pub foreign: bool,
    /// The bound on the version.
    pub bound: Option<(Operator, Version)>,
}

impl Relation<'_> {
    /// Whether `version` lies within the bound; what has no version satisfies only relations without bound.
    pub fn admits(&self, version: Option<&Version>) -> bool {
        match (&self.bound, version) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some((operator, bound)), Some(version)) => operator.admits(version.cmp(bound)),
        }
    }
}

impl fmt::Display for Relation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        let Some((operator, version)) = &self.bound else { return Ok(()) };
        let sign = Operator::ALL.iter().find(|(_, o)| o == operator).map_or("=", |(sign, _)| sign);
        write!(f, " ({sign} {version})")
    }
}

/// The entries of a relation field, each with its source text.
pub fn entries(field: &str) -> impl Iterator<Item = &str> {
    field.split(',').map(str::trim_ascii).filter(|entry| !entry.is_empty())
}

/// The alternatives of one entry, in order of preference.
pub fn alternatives(entry: &str) -> Result<Vec<Relation<'_>>, Malformed> {
    entry.split('|').map(relation).collect()
}

/// The relations of a field that concern this architecture: all of the outer list, one of each inner list. What is
/// malformed is left out: a package that states its relations badly cannot take over files or come first by them.
pub fn well_formed(field: &str) -> Vec<Vec<Relation<'_>>> {
    let of_entry = |entry| str::split(entry, '|').filter_map(|one| relation(one).ok()).filter(|one| !one.foreign);
    entries(field).map(|entry| of_entry(entry).collect()).collect()
}

/// One `name[:architecture] [(operator version)]`. A binary package's relations carry neither architecture
/// lists nor build profiles.
pub fn relation(text: &str) -> Result<Relation<'_>, Malformed> {
    let malformed = || Malformed::value("relation", text.trim_ascii(), "a relation");
    let (package, bound) = match text.split_once('(') {
        None => (text, None),
        Some((package, bound)) => {
            let bound = bound.trim_ascii_end().strip_suffix(')').ok_or_else(malformed)?.trim_ascii();
            let (operator, bound) = Operator::ALL
                .iter()
                .find_map(|(sign, operator)| Some((*operator, bound.strip_prefix(sign)?)))
                .ok_or_else(malformed)?;
            (package, Some((operator, version(bound.trim_ascii())?)))
        }
    };
    let (name, architecture) = match package.trim_ascii().split_once(':') {
        None => (package.trim_ascii(), "any"),
        Some((name, architecture)) => (name, architecture),
    };
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
    // Names that break policy exist; only what would confuse a reader is refused.
    if name.is_empty() || !name.bytes().all(|b| plain(b) || b.is_ascii_uppercase() || b == b'_') {
        return Err(malformed());
    }
    let foreign = match architecture {
        "any" | "native" | "all" | super::ARCHITECTURE => false,
        other if !other.is_empty() && other.bytes().all(plain) => true,
        _ => return Err(malformed()),
    };
    Ok(Relation { name, foreign, bound })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_read_back_as_written() {
        for text in ["a", "a (>= 1:2~rc1-3)", "lib++.x-1 (<< 2)", "a (= 1)", "a (>> 1)", "a (<= 1)"] {
            assert_eq!(relation(text).unwrap().to_string(), text);
        }
        let all = alternatives("a:any(>=1)|b:i386 | c ( = 2 )").unwrap();
        let text: Vec<_> = all.iter().map(|r| (r.to_string(), r.foreign)).collect();
        assert_eq!(text, [("a (>= 1)".into(), false), ("b".into(), true), ("c (= 2)".into(), false)]);
        assert_eq!(entries(" a,\n b ,, c").collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn bounds_follow_debian_order() {
        let admits = |relation_text, v| relation(relation_text).unwrap().admits(Some(&version(v).unwrap()));
        assert!(admits("a (>= 1.0)", "1.0"));
        assert!(!admits("a (>= 1.0)", "1.0~rc1"));
        assert!(admits("a (<< 1:0)", "999"));
        assert!(admits("a (= 1.0)", "1.0-0"));
        assert!(!admits("a (>> 1.0)", "1.0"));
        assert!(!relation("a (>= 1)").unwrap().admits(None));
        assert!(relation("a").unwrap().admits(None));
    }

    #[test]
    fn what_is_malformed_or_foreign_is_left_out() {
        let relations = well_formed("libc6 (>= 2.38), a:any | b (<<1.0~) | d:i386, c [amd64] (= 1:2-3),, bad (1");
        let names: Vec<Vec<_>> = relations.iter().map(|group| group.iter().map(|r| r.name).collect()).collect();
        assert_eq!(names, [vec!["libc6"], vec!["a", "b"], vec![], vec![]]);
    }

    #[test]
    fn malformed_relations_are_refused() {
        let long = format!("a (= {})", "1".repeat(300));
        let bad = [
            "",
            "a b",
            "a (",
            "a (1)",
            "a (>= )",
            "a (>= 1",
            "a (~ 1)",
            "a:",
            "a:b/c",
            "a\u{e9}",
            "a [amd64]",
            "a (>= 1) x",
        ];
        for text in bad.into_iter().chain([long.as_str()]) {
            assert!(relation(text).is_err(), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_field_makes_it_panic(text in "([a-z]|:any|:amd64| |,|\\||\\(|\\)|>=|<<|=|[0-9]{0,9}|[.:~+-]|\\PC){0,24}") {
            for entry in entries(&text) {
                for relation in alternatives(entry).unwrap_or_default() {
                    assert_eq!(super::relation(&relation.to_string()).map(|again| again.name), Ok(relation.name));
                }
            }
            let _ = (well_formed(&text), version(&text).map(|found| found.cmp(&found)));
        }
    }
}
