//! Which handlers an event goes to.

use std::collections::BTreeMap;

use super::config::{Handler, Name};

/// The type of the events that `rave check` delivers. They go to the handlers that name it: what takes everything in
/// would do its work for nothing, such as a deployment.
pub const CHECK: &str = "rave.check";

/// The handlers of an event, by name.
pub fn handlers<'a>(all: &'a BTreeMap<Name, Handler>, source: &str, kind: &str) -> Vec<&'a str> {
    let takes = |handler: &Handler| {
        let from = handler.sources.is_empty() || handler.sources.iter().any(|name| name.as_str() == source);
        from && handler.events.iter().any(|pattern| matches(pattern, kind))
    };
    all.iter().filter(|(_, handler)| takes(handler)).map(|(name, _)| name.as_str()).collect()
}

/// The first pattern that takes a type in, for metrics: types are the sender's words, patterns are the image's.
pub fn pattern<'a>(all: &'a BTreeMap<Name, Handler>, kind: &str) -> Option<&'a str> {
    all.values().flat_map(|handler| &handler.events).find(|pattern| matches(pattern, kind)).map(String::as_str)
}

/// Whether a type fits a pattern, in which `*` stands for any text, also for none. Takes no more steps than the product
/// of both lengths. A check is nothing that a pattern stands for.
fn matches(pattern: &str, kind: &str) -> bool {
    if kind == CHECK {
        return pattern == CHECK;
    }
    let (pattern, kind) = (pattern.as_bytes(), kind.as_bytes());
    let (mut p, mut k) = (0, 0);
    // Where to go on if the text behind the last star turns out to be longer.
    let mut star = None;
    while k < kind.len() {
        match (pattern.get(p), star) {
            (Some(b'*'), _) => {
                star = Some((p + 1, k));
                p += 1;
            }
            (Some(byte), _) if kind.get(k) == Some(byte) => {
                p += 1;
                k += 1;
            }
            (_, Some((behind, from))) => {
                star = Some((behind, from + 1));
                p = behind;
                k = from + 1;
            }
            (_, None) => return false,
        }
    }
    pattern.iter().skip(p).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, kind) in [
            ("push", "push"),
            ("*", ""),
            ("*", "anything at all"),
            ("invoice.*", "invoice.paid.late"),
            ("invoice.*", "invoice."),
            ("*.paid", "invoice.paid"),
            ("a*b*c", "a--b-b--c"),
            ("**", "x"),
            ("*Hook", "Push Hook"),
            ("", ""),
        ] {
            assert!(matches(pattern, kind), "{pattern} {kind}");
        }
        for (pattern, kind) in [
            ("push", "Push"),
            ("push", "pushed"),
            ("push", "pus"),
            ("invoice.*", "invoice"),
            ("invoice.*", "xinvoice.paid"),
            ("a*b*c", "a--c--b"),
            ("", "x"),
            ("pu?h", "push"),
        ] {
            assert!(!matches(pattern, kind), "{pattern} {kind}");
        }
        assert!(!matches(&"*a".repeat(60), &"a".repeat(59)));
    }

    #[test]
    fn a_check_reaches_only_who_names_it() {
        assert!(matches(CHECK, CHECK));
        assert!(["*", "rave.*", "*check", ""].iter().all(|pattern| !matches(pattern, CHECK)));
        assert!(matches("*", "rave.checks"));
    }

    proptest::proptest! {
        #[test]
        fn a_pattern_of_pieces_takes_them_with_anything_between(
            pieces in proptest::collection::vec("[a-c]{0,3}", 1..5), between in proptest::collection::vec("[a-d]{0,4}", 5)
        ) {
            let text: String = pieces.iter().zip(&between).map(|(piece, gap)| format!("{piece}{gap}")).collect();
            let begins = format!("{}*", pieces.join("*"));
            proptest::prop_assert!(matches(&begins, &text));
            let with_foreign = format!("{text}~");
            let ends = format!("{}*~", pieces.join("*"));
            proptest::prop_assert!(matches(&ends, &with_foreign) && !matches(&ends, &text));
        }
    }

    fn handler(events: &[&str], sources: &[&str]) -> Handler {
        Handler {
            events: events.iter().map(|text| (*text).to_owned()).collect(),
            sources: sources.iter().map(|text| text.parse().unwrap()).collect(),
            timeout: 60,
            concurrency: 1,
        }
    }

    #[test]
    fn an_event_goes_to_all_that_ask_for_it() {
        let all = BTreeMap::from([
            ("all".parse().unwrap(), handler(&["*"], &[])),
            ("deploy".parse().unwrap(), handler(&["push", "release"], &["github"])),
            ("bill".parse().unwrap(), handler(&["invoice.*"], &["default", "shop"])),
        ]);
        assert_eq!(handlers(&all, "github", "push"), ["all", "deploy"]);
        assert_eq!(handlers(&all, "default", "push"), ["all"]);
        assert_eq!(handlers(&all, "shop", "invoice.paid"), ["all", "bill"]);
        assert_eq!(handlers(&BTreeMap::new(), "shop", "invoice.paid"), [""; 0]);
        assert_eq!(pattern(&all, "invoice.paid"), Some("*"));
        let some = BTreeMap::from([("bill".parse().unwrap(), handler(&["invoice.*"], &[]))]);
        assert_eq!(pattern(&some, "invoice.paid"), Some("invoice.*"));
        assert_eq!(pattern(&some, "made-up"), None);
    }
}
