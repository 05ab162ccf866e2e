use axum::http::{HeaderName, HeaderValue};

use super::*;

const ALL: [Scheme; 3] = [Scheme::Github, Scheme::Gitlab, Scheme::Standard];

fn headers(all: &[(&str, &str)]) -> HeaderMap {
    let one =
        |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    all.iter().map(one).collect()
}

fn key(text: &str) -> Key {
    Key::parse(&Secret::from(text)).unwrap()
}

fn at(now: i64) -> Clock {
    Clock { now, window: 300 }
}

/// A signature of Standard Webhooks.
pub fn sign(key: &Key, id: &str, time: &str, body: &str) -> String {
    let parts = [id.as_bytes(), b".", time.as_bytes(), b".", body.as_bytes()];
    format!("v1,{}", STANDARD.encode(mac(&key.standard, &parts)))
}

/// The values that GitHub's documentation gives to test an implementation ("Validating webhook deliveries").
#[test]
fn githubs_published_signature_is_good_and_no_other() {
    const GOOD: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let keys = [key("It's a Secret to Everybody")];
    let ask = |signature: &str, body: &str, schemes: &[Scheme]| {
        verify(&headers(&[("x-hub-signature-256", signature)]), body.as_bytes(), schemes, &keys, at(0))
    };
    assert_eq!(ask(GOOD, "Hello, World!", &ALL), Ok(Scheme::Github));
    assert_eq!(ask(GOOD, "Hello, World?", &ALL), Err(Rejection::Forged));
    for wrong in ["", "sha256=", &GOOD[7..], &GOOD[..70], &format!("{GOOD}0"), "sha1=757107ea", &GOOD.to_uppercase()] {
        assert_eq!(ask(wrong, "Hello, World!", &ALL), Err(Rejection::Forged), "{wrong}");
    }
    assert_eq!(ask(GOOD, "Hello, World!", &[Scheme::Gitlab, Scheme::Standard]), Err(Rejection::Unsigned));
}

/// From the reference libraries of Standard Webhooks, and from the description of its signature scheme.
const VECTORS: [(&str, &str, i64, &str, &str); 3] = [
    (
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
        1_649_367_553,
        r#"{"email":"test@example.com","username":"test_user"}"#,
        "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
    ),
    (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        r#"{"test": 2432232314}"#,
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
    (
        "whsec_plJ3nmyCDGBKInavdOK15jsl",
        "msg_loFOjxBNrRLzqYUf",
        1_731_705_121,
        r#"{"event_type":"ping","data":{"success":true}}"#,
        "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
    ),
];

#[test]
fn the_published_signatures_of_standard_webhooks_are_good_and_no_others() {
    for (secret, id, time, body, signature) in VECTORS {
        let keys = [key(secret)];
        let ask = |id: &str, time: i64, body: &str, signature: &str, now: i64| {
            let time = time.to_string();
            let all = [("webhook-id", id), ("webhook-timestamp", &time), ("webhook-signature", signature)];
            verify(&headers(&all), body.as_bytes(), &ALL, &keys, at(now))
        };
        assert_eq!(ask(id, time, body, signature, time), Ok(Scheme::Standard));
        for late in [300, -300] {
            assert_eq!(ask(id, time, body, signature, time + late), Ok(Scheme::Standard));
        }
        for late in [301, -301] {
            assert_eq!(ask(id, time, body, signature, time + late), Err(Rejection::Stale));
        }
        assert_eq!(ask(id, time, &format!("{body} "), signature, time), Err(Rejection::Forged));
        assert_eq!(ask(id, time + 1, body, signature, time), Err(Rejection::Forged));
        assert_eq!(ask("msg_other", time, body, signature, time), Err(Rejection::Forged));
        let several = format!(
            "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg== v1,{} {signature}",
            "A".repeat(44)
        );
        assert_eq!(ask(id, time, body, &several, time), Ok(Scheme::Standard));
        assert_eq!(ask(id, time, body, &signature.replace("v1,", "v2,"), time), Err(Rejection::Forged));
        let buried = format!("{}{signature}", "v1,AAAA ".repeat(SIGNATURES));
        assert_eq!(ask(id, time, body, &buried, time), Err(Rejection::Forged));
    }
}

#[test]
fn what_standard_webhooks_needs_must_be_there_once() {
    let (secret, id, time, body, signature) = VECTORS[0];
    let keys = [key(secret)];
    let text = time.to_string();
    let ask = |all: &[(&str, &str)]| verify(&headers(all), body.as_bytes(), &ALL, &keys, at(time));
    assert_eq!(
        ask(&[("webhook-timestamp", &text), ("webhook-signature", signature)]),
        Err(Rejection::Malformed("no delivery id"))
    );
    assert_eq!(ask(&[("webhook-id", id), ("webhook-signature", signature)]), Err(Rejection::Unsigned));
    assert_eq!(ask(&[("webhook-id", id), ("webhook-timestamp", &text)]), Err(Rejection::Unsigned));
    let twice =
        [("webhook-id", id), ("webhook-id", id), ("webhook-timestamp", &text), ("webhook-signature", signature)];
    let mut repeated = HeaderMap::new();
    for (name, value) in twice {
        repeated.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let told = verify(&repeated, body.as_bytes(), &ALL, &keys, at(time));
    assert_eq!(told, Err(Rejection::Malformed("a header comes twice")));
}

#[test]
fn a_time_that_is_none_is_stale_even_if_signed() {
    let keys = [key("a secret of some length")];
    for time in ["", "soon", "1649367553.5", "99999999999999999999", "-9223372036854775808"] {
        let signature = sign(&keys[0], "id", time, "{}");
        let all = [("webhook-id", "id"), ("webhook-timestamp", time), ("webhook-signature", signature.as_str())];
        assert_eq!(verify(&headers(&all), b"{}", &ALL, &keys, at(i64::MAX)), Err(Rejection::Stale), "{time}");
    }
}

#[test]
fn gitlabs_token_is_the_secret() {
    let keys = [key("a secret of some length"), key("the secret before that")];
    let ask = |token: &str| verify(&headers(&[("x-gitlab-token", token)]), b"{}", &ALL, &keys, at(0));
    assert_eq!(ask("a secret of some length"), Ok(Scheme::Gitlab));
    assert_eq!(ask("the secret before that"), Ok(Scheme::Gitlab));
    for wrong in ["", "a secret of some lengt", "a secret of some length ", "A secret of some length"] {
        assert_eq!(ask(wrong), Err(Rejection::Forged), "{wrong:?}");
    }
    assert_eq!(verify(&HeaderMap::new(), b"{}", &ALL, &keys, at(0)), Err(Rejection::Unsigned));
    assert_eq!(verify(&headers(&[("x-gitlab-token", "")]), b"{}", &ALL, &[], at(0)), Err(Rejection::Forged));
}

#[test]
fn a_secret_is_long_enough_or_none() {
    let parse = |text: &str| Key::parse(&Secret::from(text)).map(|key| key.standard.expose().to_vec());
    assert_eq!(parse("0123456789abcdef\n").unwrap(), b"0123456789abcdef");
    assert_eq!(parse("0123456789abcdef\r\n").unwrap(), b"0123456789abcdef");
    assert_eq!(parse("whsec_MDEyMzQ1Njc4OWFiY2RlZg==").unwrap(), b"0123456789abcdef");
    for short in ["", "\n", "0123456789abcde", "whsec_MDEyMzQ1Njc4OWFiY2Rl", "whsec_"] {
        assert_eq!(parse(short), Err(KeyError::Short), "{short:?}");
    }
    assert_eq!(parse("whsec_not base64 at all"), Err(KeyError::Base64));
    assert!(!format!("{:?}", key("0123456789abcdef")).contains("0123"));
}

proptest::proptest! {
    /// Whatever headers say, only who has the key gets in.
    #[test]
    fn nothing_gets_in_without_the_key(
        name in 0_usize..3,
        value in "[ -~]{0,100}",
        id in "[ -~]{0,20}",
        time in "[ -~]{0,20}",
        body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64),
    ) {
        let all = [(ALL[name].header(), value.as_str()), ("webhook-id", &id), ("webhook-timestamp", &time)];
        let keys = [key("a secret that no generator finds")];
        proptest::prop_assert!(verify(&headers(&all), &body, &ALL, &keys, at(0)).is_err());
    }

    /// What is signed gets in, and one changed bit does not.
    #[test]
    fn one_bit_is_enough(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..64), at_bit in 0_usize..512) {
        let keys = [key("a secret of some length")];
        let signature = format!("sha256={}", hex(&mac(&keys[0].text, &[&body])));
        let all = headers(&[("x-hub-signature-256", &signature)]);
        proptest::prop_assert_eq!(verify(&all, &body, &ALL, &keys, at(0)), Ok(Scheme::Github));
        let mut changed = body.clone();
        let bit = at_bit % (body.len() * 8);
        changed[bit / 8] ^= 1 << (bit % 8);
        proptest::prop_assert_eq!(verify(&all, &changed, &ALL, &keys, at(0)), Err(Rejection::Forged));
    }
}

#[test]
fn what_is_signed_here_is_good_with_its_key_and_time_only() {
    for secret in ["a secret of some length", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
        for (scheme, signed) in [(Scheme::Github, SigningScheme::Github), (Scheme::Standard, SigningScheme::Standard)] {
            let made = super::sign(&Secret::from(secret), signed, "rave-check-1", 1000, "{}").unwrap();
            let made = headers(&made.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>());
            let ask = |body: &[u8], key: Key, now| verify(&made, body, &ALL, &[key], at(now));
            assert_eq!(ask(b"{}", key(secret), 1000), Ok(scheme));
            assert_eq!(ask(b"[]", key(secret), 1000), Err(Rejection::Forged));
            assert_eq!(ask(b"{}", key("another secret of that kind"), 1000), Err(Rejection::Forged));
            let later = if signed == SigningScheme::Standard { Err(Rejection::Stale) } else { Ok(scheme) };
            assert_eq!(ask(b"{}", key(secret), 2000), later);
        }
    }
    assert_eq!(super::sign(&Secret::from("short"), SigningScheme::Github, "", 0, "").unwrap_err(), KeyError::Short);
}

#[test]
fn what_is_forged_here_is_refused_for_its_key_alone() {
    for scheme in Scheme::ALL {
        let made = forge(scheme, "rave-check-1", 1000, "{}").unwrap();
        let made = headers(&made.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>());
        let ask = |key: Key| verify(&made, b"{}", &[scheme], &[key], at(1000));
        assert_eq!(ask(key("a secret of some length")), Err(Rejection::Forged), "{scheme}");
        assert_eq!(ask(key(FORGERS)), Ok(scheme), "{scheme}");
    }
}
