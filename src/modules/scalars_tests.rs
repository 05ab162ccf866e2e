use super::*;

fn read(name: &str, text: &str, style: Style) -> Result<String, Refusal> {
    let value = Scalar::named(name).expect("a known type").read(text, style)?;
    Ok(match value.json() {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    })
}

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f agent";

#[test]
fn accepted_values_become_canonical() {
    for (name, text, wanted) in [
        ("bool", "true", "true"),
        ("int", "-3", "-3"),
        ("int", "0", "0"),
        ("float", "1e3", "1000.0"),
        ("float", "-0.5", "-0.5"),
        ("string", "0755", "0755"),
        ("string", "1.10", "1.10"),
        ("path", "../x", "../x"),
        ("guest-path", "/etc/x", "/etc/x"),
        ("port", "65535", "65535"),
        ("duration", "168h", "7d"),
        ("duration", "1h30m", "90m"),
        ("duration", "2w", "14d"),
        ("duration", "60min", "1h"),
        ("duration", "0", "0s"),
        ("duration", "1500ms", "1500ms"),
        ("size", "1024M", "1G"),
        ("size", "1024MiB", "1G"),
        ("size", "1000", "1000"),
        ("size", "5B", "5"),
        ("percentage", "200%", "200%"),
        ("cidr", "10.0.0.0/8", "10.0.0.0/8"),
        ("cidr", "0.0.0.0/0", "0.0.0.0/0"),
        ("cidr", "FD00:0::/8", "fd00::/8"),
        ("cidr", "::1/128", "::1/128"),
        ("host-name", "Web.Example.ORG", "web.example.org"),
        ("url", "HTTPS://Example.org:8443/A?b#c", "https://example.org:8443/A?b#c"),
        ("url", "http://[::1]:80/", "http://[::1]:80/"),
        ("ssh-public-key", KEY, KEY),
        ("package-name", "libstdc++6", "libstdc++6"),
        ("unit-name", "getty@tty1.service", "getty@tty1.service"),
        ("unit-name", "dev-disk-by\\x2dlabel-var.mount", "dev-disk-by\\x2dlabel-var.mount"),
    ] {
        assert_eq!(read(name, text, Style::Plain), Ok(wanted.to_owned()), "{name} {text}");
    }
}

#[test]
fn canonical_values_stay_as_they_are() {
    for (name, text) in [("duration", "90m"), ("size", "3G"), ("percentage", "5%"), ("cidr", "fd00::/8")] {
        let once = read(name, text, Style::Plain).unwrap();
        assert_eq!(read(name, &once, Style::Plain), Ok(once.clone()));
    }
}

#[test]
fn refused_values_say_what_to_write() {
    for (name, text, hint) in [
        ("bool", "no", "write false"),
        ("bool", "Yes", "write true"),
        ("bool", "1", ""),
        ("int", "0755", "octal"),
        ("int", "0x1f", "decimal"),
        ("int", "1:30", "base 60"),
        ("int", "1_000", "without `_`"),
        ("int", "99999999999999999999", "too large"),
        ("int", "", ""),
        ("int", "-", ""),
        ("float", "nan", ""),
        ("float", "1e999", ""),
        ("string", "no", "write \"no\""),
        ("string", "a\0b", "NUL"),
        ("path", "", ""),
        ("guest-path", "/a/../b", "absolute"),
        ("port", "0", ""),
        ("port", "65536", ""),
        ("duration", "15", "15s"),
        ("duration", "1:30", "1h30m"),
        ("duration", "3M", "no fixed length"),
        ("duration", "99999999999999999d", "too long"),
        ("duration", "", ""),
        ("duration", "-5s", ""),
        ("size", "512MB", "write 512M"),
        ("size", "1.5G", ""),
        ("size", "99999999999999T", "too large"),
        ("percentage", "25", "write 25%"),
        ("cidr", "10.0.0.1/8", "the network is 10.0.0.0/8"),
        ("cidr", "10.0.0.1", "10.0.0.1/32"),
        ("cidr", "10.0.0.0/33", "at most 32"),
        ("host-name", "-a", "labels"),
        ("host-name", "a..b", "labels"),
        ("url", "example.org", ""),
        ("url", "https://", ""),
        ("url", "https://a b/", ""),
        ("url", "https://a:99999/", ""),
        ("url", "https://[::1", ""),
        ("ssh-public-key", "ssh-ed25519 AAAA", ""),
        ("package-name", "Bad_Name", "a-z"),
        ("unit-name", "foo", ".service"),
        ("unit-name", "a/b.service", "letters, digits"),
    ] {
        let refusal = read(name, text, Style::Plain).expect_err(&format!("{name} {text}"));
        assert!(refusal.clone().unwrap_or_default().contains(hint), "{name} {text}: {refusal:?}");
    }
}

#[test]
fn quotes_make_a_text() {
    assert_eq!(read("bool", "true", Style::Quoted), Err(Some("remove the quotes".into())));
    assert_eq!(read("port", "80", Style::Quoted), Err(Some("remove the quotes".into())));
    assert_eq!(read("bool", "true", Style::Rendered), Ok("true".into()));
    assert_eq!(read("string", "no", Style::Quoted), Ok("no".into()));
    assert_eq!(read("string", "no", Style::Rendered), Ok("no".into()));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_a_type_panic(text in "[0-9a-zA-Z:/%@.\\-\\[\\]é ]*") {
        for scalar in SCALARS {
            if let Ok(value) = scalar.read(&text, Style::Plain) {
                let again = value.json();
                let canonical = again.as_str().map_or(again.to_string(), str::to_owned);
                proptest::prop_assert!(scalar.read(&canonical, Style::Rendered).is_ok(), "{} {}", scalar.name, text);
            }
        }
    }
}
