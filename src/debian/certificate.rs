//! When a certificate's key may sign data (RFC 9580, sections 5.2.3 and 10): judged for the moment at which
//! a signature says it was made, by self-signatures that hold the same strength as the signature itself.

use jiff::{SignedDuration, Timestamp};
use pgp::composed::{SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{RevocationCode, Signature, SignatureType, SignatureVersion, SubpacketData};
use pgp::ser::Serialize as _;
use pgp::types::{KeyDetails, PublicParams, Tag};

/// How far another clock may be ahead of ours.
pub const CLOCK_SKEW: SignedDuration = SignedDuration::from_hours(24);

/// The shortest RSA modulus, in bytes.
const RSA_BYTES: usize = 2048 / 8;

/// Whether a signature over text is of a form that counts; returns when it was made, in seconds since 1970.
pub fn acceptable(signature: &Signature, now: Timestamp) -> Result<u32, String> {
    if signature.typ() != Some(SignatureType::Text) {
        return Err("it is not a signature over text".to_owned());
    }
    strong_signature(signature)?;
    let made = signature.created().ok_or("it does not say when it was made")?.as_secs();
    if i64::from(made) > now.as_second().saturating_add(CLOCK_SKEW.as_secs()) {
        return Err("it was made in the future".to_owned());
    }
    match signature.signature_expiration_time().map(|d| d.as_secs()) {
        Some(lifetime @ 1..) if i64::from(made) + i64::from(lifetime) <= now.as_second() => {
            Err("it has expired".to_owned())
        }
        _ => Ok(made),
    }
}

/// Whether a signature uses a version and a hash that cannot be forged, and nothing critical that is unknown.
fn strong_signature(signature: &Signature) -> Result<(), String> {
    if !matches!(signature.version(), SignatureVersion::V4 | SignatureVersion::V6) {
        return Err("it has an outdated format".to_owned());
    }
    match signature.hash_alg() {
        Some(
            HashAlgorithm::Sha256
            | HashAlgorithm::Sha384
            | HashAlgorithm::Sha512
            | HashAlgorithm::Sha3_256
            | HashAlgorithm::Sha3_512,
        ) => {}
        Some(weak) => return Err(format!("it uses the weak hash {weak}")),
        None => return Err("it uses an unknown hash".to_owned()),
    }
    let unknown = |data: &SubpacketData| {
        matches!(data, SubpacketData::Other(..) | SubpacketData::Experimental(..) | SubpacketData::Notation(_))
    };
    match signature.config() {
        Some(config) if config.hashed_subpackets().any(|p| p.is_critical && unknown(&p.data)) => {
            Err("it has a critical part that is not understood".to_owned())
        }
        Some(_) => Ok(()),
        None => Err("its version is not understood".to_owned()),
    }
}

/// Whether a key's algorithm and size are strong enough.
pub fn strong_key(key: &impl KeyDetails) -> Result<(), String> {
    match key.public_params() {
        PublicParams::RSA(parameters) if parameters.write_len() >= RSA_BYTES => Ok(()),
        PublicParams::ECDSA(_) | PublicParams::EdDSALegacy(_) | PublicParams::Ed25519(_) | PublicParams::Ed448(_) => {
            Ok(())
        }
        PublicParams::RSA(_) => Err("is an RSA key of less than 2048 bits".to_owned()),
        _ => Err("is of an algorithm that is not accepted".to_owned()),
    }
}

/// Whether a certificate's primary key was allowed to sign data at `time`.
pub fn primary_may_sign(certificate: &SignedPublicKey, time: u32) -> Result<(), String> {
    let binding = primary_binding(certificate, time)?;
    if binding.key_flags().sign() { Ok(()) } else { Err("may not sign data".to_owned()) }
}

/// Whether a subkey was allowed to sign data at `time`.
pub fn subkey_may_sign(certificate: &SignedPublicKey, subkey: &SignedPublicSubKey, time: u32) -> Result<(), String> {
    let primary = &certificate.primary_key;
    primary_binding(certificate, time)?;
    let is_bound = |s: &&Signature| s.verify_subkey_binding(primary, &subkey.key).is_ok();
    let revocations = subkey.signatures.iter().filter(|s| s.typ() == Some(SignatureType::SubkeyRevocation));
    refuse_revoked(revocations.filter(is_bound), time)?;
    let bindings = subkey.signatures.iter().filter(|s| s.typ() == Some(SignatureType::SubkeyBinding));
    let binding = newest(bindings.filter(is_bound), time).ok_or("is not bound to its certificate")?;
    refuse_expired(&subkey.key, binding, time)?;
    if !binding.key_flags().sign() {
        return Err("may not sign data".to_owned());
    }
    let back = binding
        .embedded_signature()
        .filter(|back| strong_signature(back).is_ok() && back.verify_primary_key_binding(&subkey.key, primary).is_ok());
    back.map(|_| ()).ok_or_else(|| "did not sign its own binding".to_owned())
}

/// The self-signature that said at `time` what the primary key may do; an error if the key was not valid then.
fn primary_binding(certificate: &SignedPublicKey, time: u32) -> Result<&Signature, String> {
    let primary = &certificate.primary_key;
    let details = &certificate.details;
    refuse_revoked(details.revocation_signatures.iter().filter(|s| s.verify_key(primary).is_ok()), time)?;
    let direct = details
        .direct_signatures
        .iter()
        .filter(|s| s.typ() == Some(SignatureType::Key) && s.verify_key(primary).is_ok());
    let users = details.users.iter().filter_map(|user| {
        let own = |s: &&Signature| s.verify_certification(primary, Tag::UserId, &user.id).is_ok();
        let is_revocation = |s: &&Signature| s.typ() == Some(SignatureType::CertRevocation);
        let statement = newest(user.signatures.iter().filter(|s| !is_revocation(s)).filter(own), time)?;
        let revocation = newest(user.signatures.iter().filter(is_revocation).filter(own), time);
        match revocation {
            Some(revocation) if revocation.created() >= statement.created() => None,
            _ => Some(statement),
        }
    });
    let binding = newest(direct.chain(users), time).ok_or("had no valid self-signature when it signed")?;
    refuse_expired(primary, binding, time)?;
    Ok(binding)
}

/// The newest strong signature that was made and had not expired at `time`.
fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>, time: u32) -> Option<&'a Signature> {
    signatures
        .filter(|s| strong_signature(s).is_ok())
        .filter(|s| {
            s.created().is_some_and(|created| {
                created.as_secs() <= time && !is_over(created.as_secs(), s.signature_expiration_time(), time)
            })
        })
        .max_by_key(|s| s.created())
}

/// A revocation without a harmless reason counts for all times: whoever has a stolen key also chooses the
/// date of its signatures.
fn refuse_revoked<'a>(mut revocations: impl Iterator<Item = &'a Signature>, time: u32) -> Result<(), String> {
    let counts = |revocation: &Signature| match revocation.revocation_reason_code() {
        Some(RevocationCode::KeySuperseded | RevocationCode::KeyRetired) => {
            revocation.created().is_none_or(|created| created.as_secs() <= time)
        }
        _ => true,
    };
    if revocations.any(counts) { Err("is revoked".to_owned()) } else { Ok(()) }
}

fn refuse_expired(key: &impl KeyDetails, binding: &Signature, time: u32) -> Result<(), String> {
    let created = key.created_at().as_secs();
    if created > time {
        Err("is younger than the signature".to_owned())
    } else if is_over(created, binding.key_expiration_time(), time) {
        Err("had expired when it signed".to_owned())
    } else {
        Ok(())
    }
}

/// Whether something that began at `start` is over at `time`; no lifetime, or one of zero, is for ever.
fn is_over(start: u32, lifetime: Option<pgp::types::Duration>, time: u32) -> bool {
    match lifetime.map(|d| d.as_secs()) {
        None | Some(0) => false,
        Some(lifetime) => u64::from(start) + u64::from(lifetime) <= u64::from(time),
    }
}
