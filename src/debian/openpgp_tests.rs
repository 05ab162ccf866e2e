use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{RevocationCode, SignatureType, Subpacket, SubpacketData};
use pgp::types::{Duration, Password};

use super::super::test_archive::{DAY, MADE, Signer, armored, clearsign, config, flagged};
use super::*;

const TEXT: &str = "Suite: test\n-----dashes\nend\n";
const CANONICAL: &str = "Suite: test\r\n-----dashes\r\nend\r\n";

fn at(seconds: u32) -> Timestamp {
    Timestamp::from_second(i64::from(seconds)).unwrap()
}

fn ring(armored: &str) -> Keyring {
    Keyring::parse(armored).unwrap()
}

fn refusal(keyring: &Keyring, message: &str) -> String {
    keyring.verify(message.as_bytes(), at(MADE + 9 * DAY)).unwrap_err().to_string()
}

#[test]
fn a_trusted_signature_gives_the_canonical_text_and_the_signer() {
    let signer = Signer::new(1);
    let message = signer.sign(TEXT, MADE + DAY);
    let other = Signer::new(2);
    let both = ring(&(other.armored() + &signer.armored()));
    let verified = both.verify(message.as_bytes(), at(MADE + DAY)).unwrap();
    assert_eq!(verified.text, CANONICAL);
    assert_eq!(verified.signed_by, [fingerprint(&signer.public())]);
    let trailing = message.replace("\nend\n", "\nend \t\n");
    assert_eq!(both.verify(trailing.as_bytes(), at(MADE + DAY)).unwrap(), verified);
}

#[test]
fn a_signing_subkey_counts_for_its_certificate() {
    let signer = Signer::new(1);
    let subkey = &signer.0.secret_subkeys[0].key;
    let message = clearsign(subkey, TEXT, MADE + DAY, HashAlgorithm::Sha256, SignatureType::Text);
    let verified = ring(&signer.armored()).verify(message.as_bytes(), at(MADE + DAY)).unwrap();
    assert_eq!(verified.signed_by, [fingerprint(&signer.public())]);

    let mut unbound = signer.public();
    unbound.public_subkeys[0].signatures = Signer::new(2).public().public_subkeys[0].signatures.clone();
    assert!(refusal(&ring(&armored(&unbound)), &message).contains("is not bound to its certificate"));
}

#[test]
fn unsigned_and_tampered_messages_are_refused() {
    let signer = Signer::new(1);
    let keyring = ring(&signer.armored());
    let message = signer.sign(TEXT, MADE + DAY);
    assert!(refusal(&keyring, TEXT).contains("not an OpenPGP signed message"));
    assert!(refusal(&keyring, &message.replace("Suite: test", "Suite: evil")).contains("no trusted key made it"));
    assert!(refusal(&keyring, &message.replace("Suite: test", "Suite:  test")).contains("no trusted key made it"));
    assert!(refusal(&keyring, &format!("Suite: evil\n{message}")).contains("not an OpenPGP signed message"));
    assert!(refusal(&keyring, &format!("{message}Suite: evil\n")).contains("outside the signed part"));
    assert!(keyring.verify(b"\xff", at(MADE)).is_err());

    let armor = message.find("-----BEGIN PGP SIGNATURE").unwrap();
    let emptied = format!("{}-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n", &message[..armor]);
    assert!(keyring.verify(emptied.as_bytes(), at(MADE + DAY)).is_err());
    for garbage in ["!!!!", "AAAA", "wsB5BAAB", &"A".repeat(4000)] {
        let text =
            format!("{}-----BEGIN PGP SIGNATURE-----\n\n{garbage}\n-----END PGP SIGNATURE-----\n", &message[..armor]);
        assert!(keyring.verify(text.as_bytes(), at(MADE + DAY)).is_err(), "{garbage}");
    }
}

#[test]
fn every_changed_byte_of_a_message_is_noticed() {
    let signer = Signer::new(1);
    let keyring = ring(&signer.armored());
    let message = signer.sign("Suite: test\n", MADE + DAY);
    let body = message.find("Suite").unwrap();
    for at_byte in body..body + "Suite: test".len() {
        let mut bytes = message.clone().into_bytes();
        bytes[at_byte] ^= 1;
        assert!(keyring.verify(&bytes, at(MADE + DAY)).is_err(), "byte {at_byte}");
    }
}

#[test]
fn another_key_is_refused_and_named() {
    let message = Signer::new(2).sign(TEXT, MADE + DAY);
    let text = refusal(&ring(&Signer::new(1).armored()), &message);
    assert!(text.contains(&fingerprint(&Signer::new(2).public())), "{text}");
}

#[test]
fn weak_hashes_and_other_kinds_of_signature_are_refused() {
    let signer = Signer::rsa(1);
    let keyring = ring(&signer.armored());
    let key = &signer.0.primary_key;
    let strong = clearsign(key, TEXT, MADE + DAY, HashAlgorithm::Sha256, SignatureType::Text);
    assert!(keyring.verify(strong.as_bytes(), at(MADE + DAY)).is_ok());
    for (hash, name) in [(HashAlgorithm::Sha1, "SHA1"), (HashAlgorithm::Md5, "MD5"), (HashAlgorithm::Sha224, "SHA224")]
    {
        let message = clearsign(key, TEXT, MADE + DAY, hash, SignatureType::Text);
        assert!(refusal(&keyring, &message).contains(&format!("weak hash {name}")), "{name}");
    }
    let binary = clearsign(key, TEXT, MADE + DAY, HashAlgorithm::Sha512, SignatureType::Binary);
    assert!(refusal(&keyring, &binary).contains("not a signature over text"));
}

#[test]
fn the_time_of_signing_must_be_possible() {
    let signer = Signer::new(1);
    let keyring = ring(&signer.armored());
    let message = signer.sign(TEXT, MADE + 3 * DAY);
    let verify = |now| keyring.verify(message.as_bytes(), at(now));
    assert!(verify(MADE + 2 * DAY).is_ok(), "a day of clock skew");
    assert!(verify(MADE + 2 * DAY - 1).unwrap_err().to_string().contains("in the future"));
    let early = signer.sign(TEXT, MADE - 1);
    assert!(refusal(&keyring, &early).contains("no valid self-signature when it signed"));
}

/// The certificate with one more signature over its primary key.
fn with_key_signature(signer: &Signer, kind: SignatureType, time: u32, more: SubpacketData) -> String {
    let key = &signer.0.primary_key;
    let mut config = config(key, kind, HashAlgorithm::Sha512, time);
    config.hashed_subpackets.push(Subpacket::regular(more).unwrap());
    let mut public = signer.public();
    let signature = flagged(config).sign_key(key, &Password::empty(), &public.primary_key).unwrap();
    match kind {
        SignatureType::KeyRevocation => public.details.revocation_signatures.push(signature),
        _ => public.details.direct_signatures.push(signature),
    }
    armored(&public)
}

#[test]
fn a_key_counts_until_it_expires() {
    let signer = Signer::new(1);
    let lifetime = SubpacketData::KeyExpirationTime(Duration::from_secs(5 * DAY));
    let keyring = ring(&with_key_signature(&signer, SignatureType::Key, MADE + 1, lifetime));
    let before = signer.sign(TEXT, MADE + 5 * DAY - 1);
    assert!(keyring.verify(before.as_bytes(), at(MADE + 9 * DAY)).is_ok(), "it was valid when it signed");
    let after = signer.sign(TEXT, MADE + 5 * DAY);
    assert!(refusal(&keyring, &after).contains("had expired when it signed"));
}

#[test]
fn a_revoked_key_counts_only_before_a_harmless_revocation() {
    let signer = Signer::new(1);
    let revoked = |code| {
        let reason = SubpacketData::RevocationReason(code, pgp::bytes::Bytes::new());
        ring(&with_key_signature(&signer, SignatureType::KeyRevocation, MADE + 5 * DAY, reason))
    };
    let (before, after) = (signer.sign(TEXT, MADE + 4 * DAY), signer.sign(TEXT, MADE + 6 * DAY));
    let retired = revoked(RevocationCode::KeyRetired);
    assert!(retired.verify(before.as_bytes(), at(MADE + 9 * DAY)).is_ok());
    assert!(refusal(&retired, &after).contains("is revoked"));
    for code in [RevocationCode::KeyCompromised, RevocationCode::NoReason] {
        assert!(refusal(&revoked(code), &before).contains("is revoked"), "{code:?}");
    }
}

#[test]
fn a_revocation_by_somebody_else_is_no_revocation() {
    let (signer, other) = (Signer::new(1), Signer::new(2));
    let key = &other.0.primary_key;
    let mut public = signer.public();
    let forged = config(key, SignatureType::KeyRevocation, HashAlgorithm::Sha512, MADE + DAY);
    let forged = forged.sign_key(key, &Password::empty(), &public.primary_key).unwrap();
    public.details.revocation_signatures.push(forged);
    let message = signer.sign(TEXT, MADE + 2 * DAY);
    assert!(ring(&armored(&public)).verify(message.as_bytes(), at(MADE + 2 * DAY)).is_ok());
}

#[test]
fn a_keyring_without_a_certificate_is_refused() {
    assert!(matches!(Keyring::parse(""), Err(KeyringError::Empty)));
    assert!(matches!(Keyring::parse("garbage"), Err(KeyringError::Empty)));
    let cut = &Signer::new(1).armored()[..120];
    assert!(Keyring::parse(cut).is_err());
}

#[test]
fn the_bundled_keys_are_those_of_the_readme() {
    let readme = include_str!("keyrings/README.md");
    let main = ring(super::super::keyrings::MAIN);
    let security = ring(super::super::keyrings::SECURITY);
    let fingerprints: Vec<_> = main.0.iter().chain(&security.0).map(fingerprint).collect();
    assert_eq!(fingerprints.len(), 6);
    for fingerprint in fingerprints {
        assert!(readme.contains(&fingerprint), "{fingerprint}");
    }
}
