//! What a request says, once its sender is known: the delivery's id, the event's type, and a body that is JSON.

use std::borrow::Cow;

use axum::http::HeaderMap;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::rejection::Rejection;
use super::signature::{Clock, Key, one, verify};
use crate::probe::Scheme;

/// The longest id of a delivery, and name of a type, in bytes.
const LONGEST: usize = 200;

/// What is known of an event besides its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The sender's id of the delivery, the same when it is sent again.
    pub delivery: String,
    /// What happened: `push`, `Merge Request Hook`, `invoice.paid`. Empty if the sender does not say.
    pub kind: String,
}

/// Reads a request.
///
/// # Errors
/// It is not signed as it should be, has no delivery id, or its body is not JSON (RFC 8259).
pub fn read(
    headers: &HeaderMap,
    body: &[u8],
    schemes: &[Scheme],
    keys: &[Key],
    clock: Clock,
) -> Result<Event, Rejection> {
    let scheme = verify(headers, body, schemes, keys, clock)?;
    let text = std::str::from_utf8(body).map_err(|_| Rejection::Malformed("the body is not JSON"))?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|_| Rejection::Malformed("the body is not JSON"))?;
    let id = match scheme {
        Scheme::Github => one(headers, "x-github-delivery")?,
        // A key of its own for each event and hook, kept when it is sent again; older versions have only the second.
        Scheme::Gitlab => match one(headers, "idempotency-key")? {
            None => one(headers, "x-gitlab-event-uuid")?,
            key => key,
        },
        Scheme::Standard => one(headers, "webhook-id")?,
    };
    let delivery = id.filter(|id| !id.is_empty()).ok_or(Rejection::Malformed("no delivery id"))?;
    let kind = match scheme {
        Scheme::Github => one(headers, "x-github-event")?.map(Cow::from),
        Scheme::Gitlab => one(headers, "x-gitlab-event")?.map(Cow::from),
        Scheme::Standard => kind_of(text)?,
    };
    let kind = kind.unwrap_or_default();
    if [delivery, kind.as_ref()].iter().any(|text| text.len() > LONGEST || text.contains(char::is_control)) {
        return Err(Rejection::Malformed("a delivery id or type that is no name"));
    }
    Ok(Event { delivery: delivery.to_owned(), kind: kind.into_owned() })
}

/// The `type` in a body (Standard Webhooks, "Payload structure").
fn kind_of(text: &str) -> Result<Option<Cow<'_, str>>, Rejection> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, default, rename = "type")]
        kind: Option<Cow<'a, str>>,
    }
    let is_object = text.trim_start().starts_with('{');
    if !is_object {
        return Ok(None);
    }
    let body: Body<'_> = serde_json::from_str(text).map_err(|_| Rejection::Malformed("a type that is no text"))?;
    Ok(body.kind)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;
    use crate::secrets::Secret;

    const TOKEN: &str = "a secret of some length";

    fn ask(headers: &[(&str, &str)], body: &[u8]) -> Result<Event, Rejection> {
        let one =
            |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        let headers = [("x-gitlab-token", TOKEN)].iter().chain(headers).map(one).collect();
        let keys = [Key::parse(&Secret::from(TOKEN)).unwrap()];
        read(&headers, body, &[Scheme::Gitlab], &keys, Clock { now: 0, window: 0 })
    }

    #[test]
    fn gitlab_says_what_and_which() {
        let all = [("x-gitlab-event", "Push Hook"), ("x-gitlab-event-uuid", "u"), ("idempotency-key", "k")];
        assert_eq!(ask(&all, b"{}"), Ok(Event { delivery: "k".into(), kind: "Push Hook".into() }));
        assert_eq!(ask(&all[..2], b" [1] "), Ok(Event { delivery: "u".into(), kind: "Push Hook".into() }));
        assert_eq!(ask(&all[..1], b"{}"), Err(Rejection::Malformed("no delivery id")));
        assert_eq!(ask(&[("idempotency-key", "")], b"{}"), Err(Rejection::Malformed("no delivery id")));
        let long = "k".repeat(LONGEST + 1);
        assert!(matches!(ask(&[("idempotency-key", &long)], b"{}"), Err(Rejection::Malformed(_))));
    }

    #[test]
    fn a_body_is_json_or_refused() {
        let all = [("idempotency-key", "k")];
        for good in ["{}", "[]", "null", "\"\\u0000\"", "{\"a\": [1, 2.5e3, true]}\n"] {
            assert!(ask(&all, good.as_bytes()).is_ok(), "{good}");
        }
        let deep = "[".repeat(1 << 20);
        for bad in ["", "{", "{}{}", "payload=%7B%7D", "{'a': 1}", "\u{feff}{}", &deep] {
            let told = ask(&all, bad.as_bytes());
            assert_eq!(told, Err(Rejection::Malformed("the body is not JSON")), "{}", bad.len());
        }
        assert_eq!(ask(&all, b"\"\xff\""), Err(Rejection::Malformed("the body is not JSON")));
    }

    #[test]
    fn the_type_of_standard_webhooks_stands_in_the_body() {
        let kind = |text| kind_of(text).map(|kind| kind.map(Cow::into_owned));
        assert_eq!(kind(r#"{"type": "invoice.paid", "data": {"type": 1}}"#), Ok(Some("invoice.paid".to_owned())));
        assert_eq!(kind(r#"{"type": "caf\u00e9"}"#), Ok(Some("café".to_owned())));
        for none in ["{}", "[]", "3", r#"["type"]"#, r#"{"type": null}"#] {
            assert_eq!(kind(none), Ok(None), "{none}");
        }
        for bad in [r#"{"type": 1}"#, r#"{"type": ["a"]}"#, r#"{"type": "a", "type": "b"}"#] {
            assert!(kind(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_request_makes_it_fail(
            id in "[ -~]{0,20}", kind in "[ -~]{0,20}",
            body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64),
        ) {
            let read = ask(&[("idempotency-key", &id), ("x-gitlab-event", &kind)], &body);
            if let Ok(event) = read {
                proptest::prop_assert_eq!(event, Event { delivery: id, kind });
            }
        }

        #[test]
        fn no_body_makes_the_search_for_a_type_fail(text in r#"\{?("type")?:?[ -~]{0,40}\}?"#) {
            let _ = kind_of(&text);
        }
    }
}
