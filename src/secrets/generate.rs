//! New secrets: passwords, tokens, certificates with an authority of one's own, SSH keys.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use p256::ecdsa;
use p256::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, LineEnding};
use rustls::client::verify_server_name;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use ssh_key::private::{Ed25519Keypair, Ed25519PrivateKey, KeypairData};
use ssh_key::public::Ed25519PublicKey;
use x509_cert::Certificate;
use x509_cert::builder::{Builder as _, CertificateBuilder, Profile};
use x509_cert::der::asn1::{Ia5String, OctetString, UtcTime};
use x509_cert::der::oid::db::rfc5280::ID_KP_SERVER_AUTH;
use x509_cert::der::oid::{AssociatedOid, ObjectIdentifier};
use x509_cert::der::{DecodePem as _, Encode, EncodePem as _};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{ExtendedKeyUsage, SubjectAltName};
use x509_cert::ext::{AsExtension, Extension};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::SubjectPublicKeyInfoOwned;
use x509_cert::time::{Time, Validity};

use super::Secret;
use super::error::{Error, Result};

/// Characters of a password that look like no other.
const LETTERS: &[u8; 54] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ234567";
/// Of these, 24 have more than 128 bits.
const PASSWORD: usize = 24;
/// Random bytes of a token.
const TOKEN: usize = 32;
/// How long an authority is good, and a certificate: the longest that browsers accept is 398 days.
const AUTHORITY_DAYS: u64 = 3650;
const CERTIFICATE_DAYS: u64 = 397;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate or key that could not be made.
fn failed(what: &'static str) -> impl Fn(String) -> Error {
    move |reason| Error::Generate { what, reason }
}

/// Letters and digits that a person can type.
pub fn password() -> Result<Secret> {
    let mut text = Vec::with_capacity(PASSWORD);
    while text.len() < PASSWORD {
        let random = Secret::random(64)?;
        // Numbers beyond a multiple of the alphabet's length would favour its beginning.
        let limit = 256 / LETTERS.len() * LETTERS.len();
        let even = random.expose().iter().filter(|&&byte| usize::from(byte) < limit);
        let letters = even.filter_map(|&byte| LETTERS.get(usize::from(byte) % LETTERS.len()));
        text.extend(letters.take(PASSWORD - text.len()));
    }
    Ok(Secret::new(text))
}

/// 256 random bits in the URL-safe base64 of RFC 4648, such as for a webhook's HMAC.
pub fn token() -> Result<Secret> {
    Ok(URL_SAFE_NO_PAD.encode(Secret::random(TOKEN)?.expose()).into())
}

/// A private key of Ed25519 in OpenSSH's format.
pub fn ssh_key(comment: &str) -> Result<Secret> {
    let failed = failed("an SSH key");
    let seed = Secret::random(32)?;
    let seed: [u8; 32] = seed.expose().try_into().map_err(|_| failed("no seed".to_owned()))?;
    let public = Ed25519PublicKey(SigningKey::from_bytes(&seed).verifying_key().to_bytes());
    let pair = Ed25519Keypair { public, private: Ed25519PrivateKey::from_bytes(&seed) };
    let key = ssh_key::PrivateKey::new(KeypairData::Ed25519(pair), comment);
    let text = key.and_then(|key| key.to_openssh(ssh_key::LineEnding::LF)).map_err(|e| failed(e.to_string()))?;
    Ok(text.as_bytes().into())
}

/// A certificate and its private key, in PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its key: ECDSA on P-256, in PKCS #8.
    pub key: Secret,
}

/// A certificate authority of one's own, good for ten years.
pub fn authority(name: &str, now: SystemTime) -> Result<Pair> {
    let failed = failed("a certificate authority");
    let key = signing_key()?;
    let subject = common_name(name).map_err(&failed)?;
    let certificate = certificate(Profile::Root, subject, now, AUTHORITY_DAYS, &key, &key, None).map_err(&failed)?;
    Ok(Pair { certificate, key: pem(&key).map_err(&failed)? })
}

/// A new private key for a certificate.
pub fn tls_key() -> Result<Secret> {
    signing_key().and_then(|key| pem(&key).map_err(failed("a TLS key")))
}

/// A server's certificate for `hosts`, names and addresses, signed by an authority; returns the chain.
pub fn server_certificate(hosts: &[String], key: &Secret, authority: &Pair, now: SystemTime) -> Result<String> {
    let failed = failed("a certificate");
    let key = parse_key(key).map_err(&failed)?;
    let signer = parse_key(&authority.key).map_err(&failed)?;
    let issuer = Certificate::from_pem(&authority.certificate).map_err(|e| failed(e.to_string()))?;
    let issuer = issuer.tbs_certificate.subject;
    let subject = common_name(hosts.first().map_or("localhost", String::as_str)).map_err(&failed)?;
    let profile = Profile::Leaf { issuer, enable_key_agreement: false, enable_key_encipherment: false };
    let names = hosts.iter().map(|host| general_name(host)).collect::<std::result::Result<Vec<_>, _>>();
    let names = names.map_err(&failed)?;
    let leaf = certificate(profile, subject, now, CERTIFICATE_DAYS, &key, &signer, Some(names)).map_err(&failed)?;
    Ok(leaf + &authority.certificate)
}

fn signing_key() -> Result<ecdsa::SigningKey> {
    loop {
        let random = Secret::random(32)?;
        // A number outside of the group is as rare as a guessed key.
        if let Ok(key) = ecdsa::SigningKey::from_slice(random.expose()) {
            return Ok(key);
        }
    }
}

fn pem(key: &ecdsa::SigningKey) -> std::result::Result<Secret, String> {
    let text = key.to_pkcs8_pem(LineEnding::LF).map_err(|e| e.to_string())?;
    Ok(text.as_bytes().into())
}

fn parse_key(pem: &Secret) -> std::result::Result<ecdsa::SigningKey, String> {
    let text = pem.expose_text().ok_or("the key is not PEM")?;
    ecdsa::SigningKey::from_pkcs8_pem(text).map_err(|_| "the key is not one of ECDSA on P-256 in PKCS #8".to_owned())
}

/// A name for people: what has a meaning in RFC 4514 is replaced.
fn common_name(name: &str) -> std::result::Result<Name, String> {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ' ') { c } else { '-' };
    let plain: String = name.trim().chars().map(plain).collect();
    format!("CN={plain}").parse().map_err(|e: x509_cert::der::Error| e.to_string())
}

fn general_name(host: &str) -> std::result::Result<GeneralName, String> {
    let octets = match host.parse() {
        Ok(IpAddr::V4(address)) => address.octets().to_vec(),
        Ok(IpAddr::V6(address)) => address.octets().to_vec(),
        Err(_) => return Ia5String::new(host).map(GeneralName::DnsName).map_err(|e| e.to_string()),
    };
    OctetString::new(octets).map(GeneralName::IpAddress).map_err(|e| e.to_string())
}

/// Extended key usage as one that is not critical (CA/Browser Forum, Baseline Requirements, 7.1.2.7.10): RFC 5280 permits
/// both, and some clients refuse the other.
struct Usage(ExtendedKeyUsage);

impl AssociatedOid for Usage {
    const OID: ObjectIdentifier = ExtendedKeyUsage::OID;
}

impl Encode for Usage {
    fn encoded_len(&self) -> x509_cert::der::Result<x509_cert::der::Length> {
        self.0.encoded_len()
    }

    fn encode(&self, encoder: &mut impl x509_cert::der::Writer) -> x509_cert::der::Result<()> {
        self.0.encode(encoder)
    }
}

impl AsExtension for Usage {
    fn critical(&self, _: &Name, _: &[Extension]) -> bool {
        false
    }
}

fn certificate(
    profile: Profile,
    subject: Name,
    now: SystemTime,
    days: u64,
    key: &ecdsa::SigningKey,
    signer: &ecdsa::SigningKey,
    names: Option<Vec<GeneralName>>,
) -> std::result::Result<String, String> {
    let said = |e: &dyn std::fmt::Display| e.to_string();
    let time = |time| UtcTime::from_system_time(time).map(Time::UtcTime).map_err(|e| said(&e));
    // Clocks differ: a certificate of now is good since yesterday.
    let days = u32::try_from(days).unwrap_or(u32::MAX);
    let validity = Validity { not_before: time(now - DAY)?, not_after: time(now + DAY * days)? };
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(|e| said(&e))?;
    // Positive, and not zero.
    serial[0] = (serial[0] & 0x7f) | 0x40;
    let serial = SerialNumber::new(&serial).map_err(|e| said(&e))?;
    let public = SubjectPublicKeyInfoOwned::from_key(*key.verifying_key()).map_err(|e| said(&e))?;
    let builder = CertificateBuilder::new(profile, serial, validity, subject, public, signer);
    let mut builder = builder.map_err(|e| said(&e))?;
    if let Some(names) = names {
        builder.add_extension(&SubjectAltName(names)).map_err(|e| said(&e))?;
        builder.add_extension(&Usage(ExtendedKeyUsage(vec![ID_KP_SERVER_AUTH]))).map_err(|e| said(&e))?;
    }
    let certificate = builder.build::<ecdsa::DerSignature>().map_err(|e| said(&e))?;
    certificate.to_pem(x509_cert::der::pem::LineEnding::LF).map_err(|e| said(&e))
}

/// The certificates of a chain in PEM. The parser of chains in `x509-cert` 0.2 panics on a text without a line end.
fn chain(pem: &[u8]) -> Option<Vec<Certificate>> {
    const END: &str = "-----END CERTIFICATE-----";
    let text = std::str::from_utf8(pem).ok()?.trim();
    let blocks = text.split_inclusive(END).map(str::trim);
    let chain: Vec<_> = blocks.map(|block| Certificate::from_pem(block).ok()).collect::<Option<_>>()?;
    (!chain.is_empty()).then_some(chain)
}

/// When the first certificate of a chain in PEM ends; nothing if it is none.
pub fn expiry(pem: &[u8]) -> Option<SystemTime> {
    chain(pem)?.iter().map(|certificate| certificate.tbs_certificate.validity.not_after.to_system_time()).min()
}

/// The public half of a private key in PEM, as DER: of PKCS #8, SEC 1 or PKCS #1. Otherwise why it cannot be used.
fn public_half(key: &Secret) -> std::result::Result<Vec<u8>, &'static str> {
    let der = PrivateKeyDer::from_pem_slice(key.expose()).map_err(|error| match error {
        pem::Error::NoItemsFound => "it holds no private key in PEM that is not encrypted",
        _ => "its PEM is broken",
    })?;
    let unknown = "it is broken, or neither RSA of 2048 to 4096 bits, ECDSA on P-256 or P-384, nor Ed25519";
    Ok(any_supported_type(&der).map_err(|_| unknown)?.public_key().ok_or(unknown)?.to_vec())
}

/// Why a text is no private key of TLS.
pub fn unfit_key(key: &Secret) -> Option<&'static str> {
    public_half(key).err()
}

/// Whether a private key in PEM belongs to the first certificate of a chain; nothing where one of them is none.
pub fn belongs(key: &Secret, chain: &[u8]) -> Option<bool> {
    let public = self::chain(chain)?.first()?.tbs_certificate.subject_public_key_info.to_der().ok()?;
    Some(public_half(key).ok()? == public)
}

/// Whether the first certificate of a chain in PEM is for a host: a name, an address, or `*.` and a domain. Nothing if it
/// is no certificate.
pub fn is_for(pem: &[u8], host: &str) -> Option<bool> {
    let der = CertificateDer::from(chain(pem)?.first()?.to_der().ok()?);
    let leaf = ParsedCertificate::try_from(&der).ok()?;
    // One for all names below a domain is for a name below it.
    let host = host.strip_prefix("*.").map_or_else(|| host.to_owned(), |domain| format!("rave-check.{domain}"));
    Some(ServerName::try_from(host).is_ok_and(|name| verify_server_name(&leaf, &name).is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_tokens_are_long_and_new_each_time() {
        let password_ = password().unwrap();
        assert_eq!(password_.expose().len(), PASSWORD);
        assert!(password_.expose().iter().all(|byte| LETTERS.contains(byte)));
        assert_ne!(password_, password().unwrap());
        assert_eq!(token().unwrap().expose().len(), 43);
    }

    #[test]
    fn a_certificate_belongs_to_its_key_and_ends() {
        let now = SystemTime::now();
        let authority = authority("test authority", now).unwrap();
        let key = tls_key().unwrap();
        let hosts = ["web.example".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let chain = server_certificate(&hosts, &key, &authority, now).unwrap();
        assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
        let certificate =
            Certificate::from_pem(chain.split_inclusive("-----END CERTIFICATE-----").next().unwrap()).unwrap();
        let extensions = certificate.tbs_certificate.extensions.unwrap();
        let usage = extensions.iter().find(|extension| extension.extn_id == ExtendedKeyUsage::OID).unwrap();
        assert!(!usage.critical);
        assert_eq!(belongs(&key, chain.as_bytes()), Some(true));
        assert_eq!(belongs(&tls_key().unwrap(), chain.as_bytes()), Some(false));
        let left = expiry(chain.as_bytes()).unwrap().duration_since(now).unwrap();
        assert!(left > DAY * 396 && left <= DAY * 397, "{left:?}");
        assert!(server_certificate(&hosts, &Secret::from("x"), &authority, now).is_err());
    }

    /// Keys and certificates as OpenSSL makes them.
    #[test]
    fn keys_of_each_kind_are_held_against_certificates() {
        let dir = tempfile::tempdir().unwrap();
        let openssl = |arguments: &str| {
            crate::tool::Tool::new("openssl").args(arguments.split(' ')).current_dir(dir.path()).output().unwrap()
        };
        let of = |algorithm: &str| -> (Secret, Vec<u8>) {
            let key = openssl(&format!("genpkey -algorithm {algorithm} -out key"));
            assert!(key.is_empty());
            let certificate = openssl("req -x509 -new -key key -subj /CN=x -days 9");
            (Secret::new(crate::disk::read(dir.path().join("key")).unwrap()), certificate)
        };
        let kinds = [
            "ed25519",
            "rsa -pkeyopt rsa_keygen_bits:2048",
            "ec -pkeyopt ec_paramgen_curve:P-256",
            "ec -pkeyopt ec_paramgen_curve:P-384",
        ];
        for kind in kinds {
            let (key, certificate) = of(kind);
            assert_eq!((unfit_key(&key), belongs(&key, &certificate)), (None, Some(true)), "{kind}");
            if kind != "ed25519" {
                let key = Secret::new(openssl("pkey -in key -traditional"));
                assert!(key.expose_text().is_some_and(|text| !text.contains("BEGIN PRIVATE")));
                assert_eq!((unfit_key(&key), belongs(&key, &certificate)), (None, Some(true)), "{kind}");
            }
            assert_eq!(belongs(&of(kind).0, &certificate), Some(false), "{kind}");
            assert_eq!(belongs(&of("ed25519").0, &certificate), Some(false), "{kind}");
        }
        let (key, _) = of("ed25519");
        let text = key.expose_text().unwrap();
        for wrong in [
            "not a key".to_owned(),
            text.replace("PRIVATE", "PUBLIC"),
            text.replacen("MC4", "not a key at all", 1),
            text.replacen("MC4", "MC5", 1),
            "-----BEGIN PRIVATE KEY-----\nnot a key at all\n-----END PRIVATE KEY-----\n".to_owned(),
            String::from_utf8(openssl("genrsa 1024")).unwrap(),
        ] {
            assert!(unfit_key(&Secret::from(wrong.as_str())).is_some(), "{wrong}");
        }
    }

    #[test]
    fn an_ssh_key_is_one_of_openssh() {
        let key = ssh_key("agent").unwrap();
        let parsed = ssh_key::PrivateKey::from_openssh(key.expose()).unwrap();
        assert_eq!((parsed.algorithm(), parsed.comment()), (ssh_key::Algorithm::Ed25519, "agent"));
    }
}
