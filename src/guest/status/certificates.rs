//! How long certificates are still valid.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use x509_cert::Certificate;
use x509_cert::der::DecodePem as _;

use crate::disk;

/// The largest file that is read, in bytes, and how many.
const FILE: u64 = 1 << 18;
const FILES: usize = 64;
const DAY: i64 = 86_400;

/// Whole days until the certificate in each file of a directory ends, by the file's name; negative if it has ended,
/// none if the file cannot be read or holds no certificate in PEM.
pub fn days(directory: &Path) -> BTreeMap<String, Option<i64>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let files = disk::list(directory).unwrap_or_default();
    let named = files.iter().take(FILES).filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path)));
    named.map(|(name, path)| (name, disk::read_start(path, FILE).ok().and_then(|pem| left(&pem, now)))).collect()
}

/// The first block of a text, which of a chain is the certificate of the server.
fn first(pem: &[u8]) -> Option<&str> {
    const END: &str = "-----END CERTIFICATE-----";
    let text = std::str::from_utf8(pem).ok()?;
    let begin = text.find("-----BEGIN CERTIFICATE-----")?;
    let block = text.get(begin..)?;
    block.get(..block.find(END)?.checked_add(END.len())?)
}

fn left(pem: &[u8], now: u64) -> Option<i64> {
    let certificate = Certificate::from_pem(first(pem)?).ok()?;
    let end = certificate.tbs_certificate.validity.not_after.to_unix_duration().as_secs();
    let seconds = i64::try_from(end).ok()?.checked_sub(i64::try_from(now).ok()?)?;
    Some(seconds.div_euclid(DAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `openssl req -x509 -newkey ed25519 -days 3650`; it ends at [`END`].
    const PEM: &str = "-----BEGIN CERTIFICATE-----\n\
MIIBQDCB86ADAgECAhRr3Cn+wRP1Qt9434ujwuNvdnQ36TAFBgMrZXAwFjEUMBIG\n\
A1UEAwwLZXhhbXBsZS5vcmcwHhcNMjYxMTI4MDQyNDQ3WhcNMzYxMTI1MDQyNDQ3\n\
WjAWMRQwEgYDVQQDDAtleGFtcGxlLm9yZzAqMAUGAytlcAMhAAOALPP4+q8hpMX6\n\
WIHNAZ1kKaW9g1inj2YLltXSlHxho1MwUTAdBgNVHQ4EFgQUWRT0goqbzXTN1WEu\n\
ivArSnzennQwHwYDVR0jBBgwFoAUWRT0goqbzXTN1WEuivArSnzennQwDwYDVR0T\n\
AQH/BAUwAwEB/zAFBgMrZXADQQCRrGHCb1nUOMBCmPnTlKD51xiSxkXTJQHoufwf\n\
+5IjIpiYwr3BAoclvayVON1okckteKM5wFIRPtLSTz4Baz8G\n\
-----END CERTIFICATE-----\n";
    const END: u64 = 2111199887;

    #[test]
    fn days_are_counted_down_and_below_nothing() {
        for (now, days) in
            [(END - 1, 0), (END - 86_400, 1), (END - 86_400 * 30 - 5, 30), (END, 0), (END + 1, -1), (END + 86_401, -2)]
        {
            assert_eq!(left(PEM.as_bytes(), now), Some(days), "{now}");
        }
        let chain = format!("{PEM}{PEM}");
        assert_eq!(left(chain.as_bytes(), END - 86_400), Some(1));
        for bad in ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert_eq!(left(bad.as_bytes(), 0), None, "{bad}");
        }
        assert_eq!(left(PEM.as_bytes(), u64::MAX), None);
    }

    #[test]
    fn each_file_of_the_directory_is_told() {
        let dir = tempfile::tempdir().unwrap();
        disk::write_atomic(dir.path().join("site"), PEM.as_bytes(), 0o600).unwrap();
        disk::write_atomic(dir.path().join("odd"), b"no certificate", 0o600).unwrap();
        let found = days(dir.path());
        assert_eq!(found.keys().collect::<Vec<_>>(), ["odd", "site"]);
        assert!(found["odd"].is_none() && found["site"].is_some());
        assert!(days(&dir.path().join("none")).is_empty());
    }
}
