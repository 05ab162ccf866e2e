use super::*;

const BODY: &str = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtz";

#[test]
fn keys_are_known_by_their_armor_and_what_follows() {
    for header in ["\n", "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES,00\n\n", "\n\n", "\r\nVersion: x\r\n\r\n", "\\n", ""]
    {
        let text = format!("x -----BEGIN RSA PRIVATE KEY-----{header}{BODY}\n");
        assert_eq!(private_key(text.as_bytes()).as_deref(), Some("RSA PRIVATE KEY"), "{header:?}");
    }
    let age = format!("# key\nAGE-SECRET-KEY-1{}\n", "QPZRY9X8GF".repeat(6));
    assert_eq!(private_key(age.as_bytes()).as_deref(), Some("age identity"));
    assert_eq!(private_key(age.replace("KEY-1", "KEY-PQ-1").as_bytes()).as_deref(), Some("age identity"));
    use base64::Engine as _;
    for shift in ["", "x", "xy"] {
        let text = format!("{shift}-----BEGIN EC PRIVATE KEY-----\n{BODY}");
        let text = base64::prelude::BASE64_STANDARD.encode(text);
        assert_eq!(private_key(text.as_bytes()).as_deref(), Some("PRIVATE KEY in base64"), "{text}");
    }
    for wrong in [
        "-----BEGIN ".to_owned(),
        "\u{fffd}-----BEGIN PRIVATE KEY-----".to_owned(),
        format!("-----BEGIN PUBLIC KEY-----\n{BODY}\n-----END"),
        format!("-----BEGIN PRIVATE KEY-----\0-----END PRIVATE KEY-----\0{BODY}"),
        format!("-----BEGIN PRIVATE KEY-----\n{}\n", "x".repeat(64)),
        "AGE-SECRET-KEY-1\0".to_owned(),
        // As in a program that knows these texts.
        ANCHORS.iter().map(|(text, _)| *text).collect::<String>() + BODY,
        format!("AGE-PLUGIN-YUBIKEY-1{}", "Q".repeat(40)),
        format!("AGE-PLUGIN-YUBIKEY-{}", "QPZRY9X8GF".repeat(3)),
        "Private-Lines: 3\nsome words".to_owned(),
        format!("{{\"kty\": \"EC\", \"x\": \"{BODY}\"}}, {{\"d\": \"{BODY}\"}}"),
        "{\"kty\":\"EC\",\"d\":\"the private number\"}".to_owned(),
    ] {
        assert_eq!(private_key(wrong.as_bytes()), None, "{wrong}");
    }
}

#[test]
fn keys_of_other_programs_are_known() {
    let check = |text: String, kind: &str| assert_eq!(private_key(text.as_bytes()).as_deref(), Some(kind), "{text}");
    let data = "QPZRY9X8GF2TVDW0S3JN54";
    check(format!("x AGE-PLUGIN-YUBIKEY-1{data}\n"), "age identity of a plugin");
    check(format!("AGE-PLUGIN-A1-B-1{data}"), "age identity of a plugin");
    check(format!("PuTTY-User-Key-File-3: ssh-ed25519\r\nPrivate-Lines: 1\r\n{BODY}\r\n"), "PuTTY");
    for text in [
        format!("{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"d\":\"{BODY}\"}}"),
        format!("{{\"crv\": \"P-256\", \"d\" : \"{BODY}\", \"kty\": \"EC\"}}"),
        format!("{{\"d\":\"{BODY}\",\"e\":\"AQAB\",\"kty\":\"RSA\",\"n\":\"{BODY}\",\"p\":\"{BODY}\"}}"),
    ] {
        check(text, "JSON Web Key");
    }
}

#[test]
fn hashes_are_known_by_their_whole_form() {
    let check = |text: &str, expected: Option<&str>| {
        assert_eq!(password_hash(text.as_bytes()), expected, "{text}");
    };
    let word = |length: usize| "abcdefghijklmnop./0123456789QRSTUV".chars().cycle().take(length).collect::<String>();
    check(&format!("$6$salt${}:1:", word(86)), Some("SHA-512"));
    check(&format!("$6$rounds=5000$salt${}", word(86)), Some("SHA-512"));
    check(&format!("$5$salt${}\n", word(43)), Some("SHA-256"));
    check(&format!("$1$salt${}", word(22)), Some("MD5"));
    check(&format!("$apr1$salt${}", word(22)), Some("MD5"));
    check(&format!("$2b$12${}", word(53)), Some("bcrypt"));
    check(&format!("$2y$10${}", String::from_utf8_lossy(PUBLISHED[0])), None);
    check(&format!("$y$j9T$saltsalt${}", word(43)), Some("yescrypt"));
    check(&format!("$gy$j9T$saltsalt${}", word(43)), Some("gost-yescrypt"));
    check(&format!("$7$CU..../....salt${}", word(43)), Some("scrypt"));
    check(&format!("$argon2id$v=19$m=65536,t=3,p=4${}${}", word(22), word(43)), Some("Argon2"));
    check(&format!("$4096:c2FsdHNhbHQ=${}=:{}=", word(43), word(43)).replace('.', "+"), Some("SCRAM-SHA-256"));
    check(&format!("$P$B{}", word(30)), Some("phpass"));
    check(&format!("$scrypt$ln=16,r=8,p=1${}${}", word(22), word(43)).replace('.', "+"), Some("scrypt"));
    check(&format!("$pbkdf2-sha256$29000${}${}", word(22), word(43)).replace('.', "+"), Some("PBKDF2"));
    check(&format!("$260000$saltsaltsalt${}=", word(43)).replace('.', "+"), Some("PBKDF2"));
    check("*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19'", Some("MySQL"));
    check("*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19A", None);
    check("*2470c0c06dee42fd1618bb99005adca2ec9d1e19", None);
    check(&format!("{{SSHA}}{}", word(32)).replace('.', "+"), Some("LDAP"));
    check(&format!("{{SHA}}{}=", word(27)).replace('.', "+"), Some("LDAP"));
    check(&format!("{{SSHA512}}{}=", word(96)).replace('.', "+"), Some("LDAP"));
    for text in ["{SSHA}", "{SSHA}%s", "{SHA}hash", "{", "*", "$P$", "$P$BAR/$Q", "$pbkdf2-sha256$", "$scrypt$ln="] {
        check(text, None);
    }
    let postgres_ = |text: &str, before| postgres(text.as_bytes(), before);
    assert!(postgres_("md53175bce1d3201d16594cebf9d7eb3f9d\"", Some(b'"')));
    assert!(postgres_("md53175bce1d3201d16594cebf9d7eb3f9d", None));
    for (text, before) in [
        ("md53175bce1d3201d16594cebf9d7eb3f9", None),
        ("md53175bce1d3201d16594cebf9d7eb3f9d0", None),
        ("md53175bce1d3201d16594cebf9d7eb3f9d.so", Some(b' ')),
        ("md53175bce1d3201d16594cebf9d7eb3f9d", Some(b'/')),
        ("md500000000000000000000000000000000", None),
        ("md5", None),
    ] {
        assert!(!postgres_(text, before), "{text}");
    }
    check(&format!("$6$salt${}", word(85)), None);
    check(&format!("$6$salt${}", word(87)), None);
    check(&format!("$6$${}", word(86)), None);
    check(&format!("$6$salt${}", "x".repeat(86)), None);
    check(&format!("$2b$xx${}", word(53)), None);
    check(&format!("$6$sa lt${}", word(86)), None);
    for text in ["$", "$$", "$1", "$1$", "$6$salt$", "$HOME/$USER", "$argon2id$", "$9:$"] {
        check(text, None);
    }
}
