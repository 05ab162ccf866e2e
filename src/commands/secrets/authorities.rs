//! Who has signed the certificates of an image's sites, as this project knows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::digest::Digest;
use crate::disk;
use crate::images::Manifest;
use crate::name::GuestPath;
use crate::secrets::prompt::Nobody;
use crate::secrets::{Error, deploy};

use super::super::{Context, Result, project};
use super::Hidden;

/// Where machines have their secrets.
const SECRETS: &str = "/run/secrets/";

/// The authorities behind the certificate of each site, DER in base64, by its file in the machine. They come from the
/// project's sealed secrets, if those are what the image holds; nothing where there are none, or no identity opens them
/// without asking.
pub fn authorities(context: &Context, manifest: &Manifest) -> Result<BTreeMap<GuestPath, Vec<String>>> {
    let path = project::sealed(&context.project.join(project::FOLDERS[0]), manifest.image.as_str());
    let held = manifest.file(deploy::SEALED).and_then(|(_, record)| record.sha256);
    if manifest.expect.https.is_empty() || held.is_none() || !disk::exists(&path) {
        return Ok(BTreeMap::new());
    }
    let sealed = project::read_limited(&path)?;
    if held != Some(Digest::of(&sealed)) {
        return Ok(BTreeMap::new());
    }
    let _hidden = Hidden::new()?;
    let values = match deploy::open(&sealed, &context.environment.identities.load(Arc::new(Nobody))) {
        Ok(values) => values,
        Err(Error::Locked(_)) => return Ok(BTreeMap::new()),
        Err(error) => {
            context.ui.say(format!("{}: {error}: who signed its certificates is asked of the machine", path.display()));
            return Ok(BTreeMap::new());
        }
    };
    let known = manifest.expect.https.values().filter_map(|site| {
        let value = values.get(site.certificate.as_str().strip_prefix(SECRETS)?)?;
        Some((site.certificate.clone(), behind(value.expose()))).filter(|(_, authorities)| !authorities.is_empty())
    });
    Ok(known.collect())
}

/// The certificates that follow the first; none if any cannot be read.
fn behind(pem: &[u8]) -> Vec<String> {
    let chain: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    chain.unwrap_or_default().iter().skip(1).map(|der| BASE64_STANDARD.encode(der)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_stand_behind_the_certificate() {
        let pem = |byte: &[u8]| {
            format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", BASE64_STANDARD.encode(byte))
        };
        let (leaf, one, two) = (pem(b"leaf"), pem(b"one"), pem(b"two"));
        let of = |text: String| behind(text.as_bytes());
        assert_eq!(of(format!("{leaf}{one}{two}")), [b"one", b"two"].map(|der| BASE64_STANDARD.encode(der)));
        for none in
            [String::new(), leaf.clone(), "no certificate".to_owned(), format!("{leaf}{}", one.replace("b25l", "!"))]
        {
            assert!(of(none).is_empty());
        }
    }
}
