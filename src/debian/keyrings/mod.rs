//! Debian's archive keys, as this directory's README tells.

/// The certificates that may sign Debian's main archive.
pub const MAIN: &str = concat!(
    include_str!("trixie-automatic.asc"),
    include_str!("trixie-stable.asc"),
    include_str!("bookworm-automatic.asc"),
    include_str!("bookworm-stable.asc"),
);

/// The certificates that may sign Debian's security archive.
pub const SECURITY: &str =
    concat!(include_str!("trixie-security-automatic.asc"), include_str!("bookworm-security-automatic.asc"));
