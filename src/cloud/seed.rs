//! The seed of cloud-init's datasource NoCloud: a volume labelled `cidata` with what a cloud would have said.

use super::iso;

/// Label of the volume, by which ds-identify finds it.
pub const LABEL: &str = "cidata";

/// What is on a seed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seed {
    /// `instance-id` and `local-hostname`, YAML. A machine takes another id for another instance.
    pub meta_data: Vec<u8>,
    /// What the owner says: `#cloud-config`, a script, MIME parts ...
    pub user_data: Vec<u8>,
    /// The same from who runs the cloud; the owner's counts more.
    pub vendor_data: Option<Vec<u8>>,
    /// Network configuration, version 1 or 2, YAML.
    pub network_config: Option<Vec<u8>>,
}

/// The image of a seed: ISO 9660, the same bytes for the same seed. It is attached as a disk or an optical drive.
///
/// # Errors
/// More than 64 MiB.
pub fn image(seed: &Seed) -> Result<Vec<u8>, iso::Error> {
    let mut files = vec![("meta-data", seed.meta_data.as_slice()), ("user-data", seed.user_data.as_slice())];
    files.extend(seed.vendor_data.as_deref().map(|bytes| ("vendor-data", bytes)));
    files.extend(seed.network_config.as_deref().map(|bytes| ("network-config", bytes)));
    iso::image(LABEL, &files)
}

/// The meta-data of a machine: its id and its host name.
///
/// # Errors
/// A text with other characters than letters, digits, `.`, `_` and `-`.
pub fn meta_data(instance: &str, hostname: Option<&str>) -> Result<Vec<u8>, BadName> {
    let plain = |text: &str| if is_plain(text) { Ok(()) } else { Err(BadName(text.to_owned())) };
    plain(instance)?;
    let mut text = format!("instance-id: \"{instance}\"\n");
    if let Some(hostname) = hostname {
        plain(hostname)?;
        text.push_str(&format!("local-hostname: \"{hostname}\"\n"));
    }
    Ok(text.into_bytes())
}

/// A text that is no id and no host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no instance id or host name: use 1 to 253 of A-Z, a-z, 0-9, ., _ and -")]
pub struct BadName(String);

/// Whether a text can be an instance id or a host name: cloud-init makes a directory of the first.
fn is_plain(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=253).contains(&text.len()) && text.chars().all(plain) && !text.starts_with('.')
}
