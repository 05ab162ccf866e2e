//! Private keys in DER, by what their structure fixes: the bytes before the secret number and those behind it. A program
//! that makes keys has the same bytes without a number between them.

/// The fixed parts of a private key.
pub(super) struct Key {
    /// What kind of key it is.
    pub kind: &'static str,
    /// What stands before the number.
    pub begin: &'static [u8],
    /// Bytes of the number.
    number: usize,
    /// What stands behind it.
    end: &'static [u8],
}

/// Behind the modulus of RSA: the exponent 65537, and that a number follows, the private exponent. How long that is says
/// nothing: of one key in some hundred it is shorter than the modulus.
const EXPONENT: &[u8] = b"\x02\x03\x01\x00\x01\x02";

/// RSA in PKCS #1 (RFC 8017, A.1.2), which is within PKCS #8 too, by its modulus; the other kinds in SEC 1 (RFC 5915)
/// and in PKCS #8 (RFC 5958), by the private number. Not those of Ed25519 (RFC 8410): nothing fixed stands behind the
/// number, and every program that writes such keys has what stands before it.
pub(super) const KEYS: [Key; 7] = [
    Key { kind: "RSA", begin: b"\x02\x01\x00\x02\x82\x01\x01\x00", number: 256, end: EXPONENT },
    Key { kind: "RSA", begin: b"\x02\x01\x00\x02\x82\x01\x81\x00", number: 384, end: EXPONENT },
    Key { kind: "RSA", begin: b"\x02\x01\x00\x02\x82\x02\x01\x00", number: 512, end: EXPONENT },
    Key {
        kind: "EC",
        begin: b"\x30\x77\x02\x01\x01\x04\x20",
        number: 32,
        end: b"\xa0\x0a\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07",
    },
    Key {
        kind: "EC",
        begin: b"\x30\x81\xa4\x02\x01\x01\x04\x30",
        number: 48,
        end: b"\xa0\x07\x06\x05\x2b\x81\x04\x00\x22",
    },
    Key { kind: "EC", begin: b"\x30\x6b\x02\x01\x01\x04\x20", number: 32, end: b"\xa1\x44\x03\x42\x00\x04" },
    Key { kind: "EC", begin: b"\x30\x81\x9b\x02\x01\x01\x04\x30", number: 48, end: b"\xa1\x64\x03\x62\x00\x04" },
];

/// Different bytes that a random number of 32 has, except for one in a hundred million. Code and text have fewer.
const DIFFERENT: usize = 23;

impl Key {
    /// Whether `bytes`, which begin with [`Key::begin`], are such a key.
    pub fn confirm(&self, bytes: &[u8]) -> bool {
        let Some((number, rest)) = bytes.get(self.begin.len()..).and_then(|rest| rest.split_at_checked(self.number))
        else {
            return false;
        };
        let different = number.iter().collect::<std::collections::BTreeSet<_>>().len();
        rest.starts_with(self.end) && different >= DIFFERENT
    }
}

/// The identifier of PBES2 (RFC 8018, A.4) and what begins its parameters.
pub(super) const PBES2: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d\x30";
/// The identifier of a bag for a protected key (RFC 7292, 4.2.2) and what begins its content.
pub(super) const SHROUDED: &[u8] = b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01\x02\xa0";

/// Whether the element that the anchor's last byte begins is followed by ciphertext, or is the bag of it. Other things
/// than keys are encrypted the same way; their ciphertext has a tag of its own.
pub(super) fn is_protected(bytes: &[u8]) -> bool {
    const OCTETS: u8 = 4;
    if let Some(rest) = bytes.strip_prefix(SHROUDED) {
        return length(rest).is_some_and(|(size, rest)| size >= 64 && rest.first() == Some(&0x30));
    }
    let Some((size, rest)) = bytes.strip_prefix(PBES2).and_then(length) else { return false };
    let Some((parameters, rest)) = rest.split_at_checked(size) else { return false };
    // A sequence of the key's derivation and the cipher, each with an identifier.
    let derives = parameters.first() == Some(&0x30) && parameters.windows(2).filter(|tag| tag[0] == 6).count() >= 2;
    let cipher = rest.split_first().filter(|(tag, _)| **tag == OCTETS).and_then(|(_, rest)| length(rest));
    derives && cipher.is_some_and(|(size, _)| size >= 32)
}

/// The length of an element, and what follows it.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    match first {
        0..=0x7f => Some((usize::from(*first), rest)),
        0x81 => rest.split_first().map(|(size, rest)| (usize::from(*size), rest)),
        0x82 => rest.split_first_chunk().map(|(size, rest)| (usize::from(u16::from_be_bytes(*size)), rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::private_key;
    use crate::tool::Tool;

    /// Keys that OpenSSL makes are found, what it makes beside them is not.
    #[test]
    fn keys_in_der_are_known_and_certificates_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let openssl =
            |arguments: &str| Tool::new("openssl").args(arguments.split(' ')).current_dir(dir.path()).output().unwrap();
        let check = |bytes: &[u8], kind: Option<&str>| {
            let bytes = [b"\0something before", bytes, b"behind"].concat();
            assert_eq!(private_key(&bytes).as_deref(), kind);
        };
        let protected = Some("PKCS #8 with a password, in DER");
        let kinds = [
            ("rsa -pkeyopt rsa_keygen_bits:2048", "RSA in DER"),
            ("rsa -pkeyopt rsa_keygen_bits:3072", "RSA in DER"),
            ("rsa -pkeyopt rsa_keygen_bits:4096", "RSA in DER"),
            ("ec -pkeyopt ec_paramgen_curve:P-256", "EC in DER"),
            ("ec -pkeyopt ec_paramgen_curve:P-384", "EC in DER"),
        ];
        for (algorithm, kind) in kinds {
            openssl(&format!("genpkey -algorithm {algorithm} -out key"));
            check(&openssl("pkcs8 -topk8 -nocrypt -in key -outform DER"), Some(kind));
            check(&openssl("pkey -in key -traditional -outform DER"), Some(kind));
            check(&openssl("pkcs8 -topk8 -in key -outform DER -passout pass:x"), protected);
            check(&openssl("pkcs8 -topk8 -scrypt -in key -outform DER -passout pass:x"), protected);
            check(&openssl("pkey -in key -pubout -outform DER"), None);
            check(&openssl("req -x509 -new -key key -subj /CN=x -days 9 -outform DER"), None);
            openssl("req -x509 -new -key key -subj /CN=x -days 9 -out certificate");
            check(
                &openssl("pkcs12 -export -inkey key -in certificate -passout pass:x"),
                Some("PKCS #12 with a password, in DER"),
            );
            check(&openssl("pkcs12 -export -nokeys -in certificate -passout pass:x"), None);
        }
    }

    #[test]
    fn a_key_with_a_short_private_exponent_is_one() {
        let modulus: Vec<u8> = (0..=u8::MAX).collect();
        for length in [&b"\x82\x01\x00"[..], b"\x81\xff"] {
            let key = [super::KEYS[0].begin, &modulus, super::EXPONENT, length].concat();
            assert_eq!(private_key(&key).as_deref(), Some("RSA in DER"), "{length:x?}");
        }
    }

    /// A program that knows how keys are written has none.
    #[test]
    fn the_fixed_parts_alone_are_no_key() {
        for key in &super::KEYS {
            let number = vec![0; key.number];
            for bytes in [[key.begin, key.end].concat(), [key.begin, &number, key.end].concat(), key.begin.to_vec()] {
                assert_eq!(private_key(&bytes), None, "{}", key.kind);
            }
        }
        for bytes in [super::PBES2, super::SHROUDED] {
            assert_eq!(private_key(&[bytes, &[0x82, 0xff]].concat()), None);
        }
    }
}
