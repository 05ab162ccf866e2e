//! Debian's archive keys, as this directory's README tells.

use super::openpgp::{Keyring, KeyringError};

const MAIN: [&str; 4] = [
    include_str!("trixie-automatic.asc"),
    include_str!("trixie-stable.asc"),
    include_str!("bookworm-automatic.asc"),
    include_str!("bookworm-stable.asc"),
];

const SECURITY: [&str; 2] =
    [include_str!("trixie-security-automatic.asc"), include_str!("bookworm-security-automatic.asc")];

/// The keys that may sign Debian's main archive, or its security archive.
pub fn debian(security: bool) -> Result<Keyring, KeyringError> {
    Keyring::parse(&if security { SECURITY.concat() } else { MAIN.concat() })
}
