//! What an image needs, held against what the project's files have.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::file::File;
use super::tree::{Entry, Value};
use super::{Opened, Recipient, Secret, generate};
use crate::system::{self, SecretKind, System};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate that ends sooner than this is refused; one that ends within [`WARN_DAYS`] is warned of.
pub const FAIL_DAYS: u32 = 7;
/// See [`FAIL_DAYS`].
pub const WARN_DAYS: u32 = 30;

/// A value and the file that it is in.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The file, as the user knows it.
    pub file: String,
    /// The value.
    pub value: Secret,
}

/// Something wrong with one secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The secret's name.
    pub secret: String,
    /// What is wrong; one sentence without a full stop.
    pub what: String,
    /// Whether it can wait.
    pub is_warning: bool,
}

/// The values at the top of a file, by name. Files are given in the order of their rank: what an earlier one has, a
/// later one does not replace.
pub fn gather(file: &str, opened: &Opened, found: &mut BTreeMap<String, Found>) {
    for (name, value) in opened.documents.iter().flatten().filter_map(Entry::pair) {
        if let Value::Leaf(leaf) = value {
            let new = || Found { file: file.to_owned(), value: leaf.text.clone() };
            found.entry(name.to_owned()).or_insert_with(new);
        }
    }
}

/// All that is wrong with the secrets that a machine needs.
pub fn judge(system: &System, found: &BTreeMap<String, Found>, now: SystemTime) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, wanted) in &system.secrets {
        let mut add = |what: String, is_warning| problems.push(Problem { secret: name.clone(), what, is_warning });
        let Some(Found { file, value }) = found.get(name) else {
            add(format!("it is missing: {} needs {}", wanted.option, article(wanted.kind)), false);
            continue;
        };
        if let Some(reason) = unfit(wanted.kind, value) {
            add(format!("in {file} it is not {}: {reason}", article(wanted.kind)), false);
            continue;
        }
        if wanted.kind == SecretKind::TlsCertificate {
            let key = key_of(system, name);
            let known = system.certificates.iter().filter(|(of, c)| *of == name || Some(c.key.as_str()) == key);
            let hosts = known.flat_map(|(_, certificate)| &certificate.hosts);
            let key = key.and_then(|key| found.get(key)).map(|key| &key.value);
            for (what, is_warning) in flaws(value.expose(), key, hosts, now) {
                add(format!("in {file} {what}"), is_warning);
            }
        }
    }
    problems
}

/// What is wrong with a certificate, and whether that can wait.
fn flaws<'a>(
    chain: &[u8],
    key: Option<&Secret>,
    hosts: impl Iterator<Item = &'a String>,
    now: SystemTime,
) -> Vec<(String, bool)> {
    let mut flaws = Vec::new();
    match generate::expiry(chain).map(|end| end.duration_since(now)) {
        Some(Ok(left)) if left < DAY * FAIL_DAYS => flaws.push((format!("it expires {}", days(left)), false)),
        Some(Ok(left)) if left < DAY * WARN_DAYS => flaws.push((format!("it expires {}", days(left)), true)),
        Some(Ok(_)) | None => {}
        Some(Err(_)) => flaws.push(("it has expired".to_owned(), false)),
    }
    if key.is_some_and(|key| generate::belongs(key, chain) == Some(false)) {
        flaws.push(("it is not the certificate of its key".to_owned(), false));
    }
    let strangers: Vec<&str> =
        hosts.map(String::as_str).filter(|host| generate::is_for(chain, host) == Some(false)).collect();
    if !strangers.is_empty() {
        flaws.push((format!("it is not for {}", strangers.join(", ")), false));
    }
    flaws
}

/// The secret that holds the key of a certificate: the one that the image names, or the only one there is.
pub fn key_of<'a>(system: &'a System, certificate: &str) -> Option<&'a str> {
    if let Some(known) = system.certificates.get(certificate) {
        return Some(&known.key);
    }
    let is_key = |(_, secret): &(&String, &system::Secret)| secret.kind == SecretKind::TlsKey;
    let mut keys = system.secrets.iter().filter(is_key).map(|(name, _)| name.as_str());
    keys.next().filter(|_| keys.next().is_none())
}

/// Names and addresses that a certificate is for, those of the machine's own user included.
pub fn hosts_of(system: &System, certificate: &str) -> Vec<String> {
    let key = key_of(system, certificate);
    let known = system.certificates.iter().filter(|(name, c)| *name == certificate || Some(c.key.as_str()) == key);
    let mut hosts: Vec<String> = known.flat_map(|(_, certificate)| certificate.hosts.iter().cloned()).collect();
    for host in [system.name.as_str(), "localhost", "127.0.0.1", "::1"] {
        if !hosts.iter().any(|known| known == host) {
            hosts.push(host.to_owned());
        }
    }
    hosts
}

/// Recipients who cannot open a file by themselves.
pub fn locked_out<'a>(file: &File, recipients: &'a [Recipient]) -> Vec<&'a Recipient> {
    let groups = &file.metadata.groups;
    let needed = if groups.len() > 1 { file.metadata.threshold.map_or(groups.len(), usize::from) } else { 1 };
    let opens = |recipient: &&Recipient| {
        let has = |group: &&super::Group| group.age.iter().any(|key| key.recipient == recipient.as_str());
        groups.iter().filter(has).count() >= needed
    };
    recipients.iter().filter(|recipient| !opens(recipient)).collect()
}

fn article(kind: SecretKind) -> &'static str {
    match kind {
        SecretKind::Password => "a password",
        SecretKind::Token => "a token",
        SecretKind::TlsKey => "a private key in PEM",
        SecretKind::TlsCertificate => "a certificate in PEM",
        SecretKind::SshKey => "a private key of OpenSSH",
        SecretKind::Text => "a text",
        SecretKind::Binary => "bytes",
    }
}

/// Why a value cannot be of a kind.
fn unfit(kind: SecretKind, value: &Secret) -> Option<&'static str> {
    let text = value.expose_text();
    match kind {
        SecretKind::Binary => None,
        _ if value.is_empty() => Some("it is empty"),
        _ if text.is_none() => Some("it is not UTF-8"),
        SecretKind::Text => None,
        SecretKind::Password | SecretKind::Token => {
            let lines = text.is_some_and(|text| text.trim_end_matches('\n').contains('\n'));
            lines.then_some("it has several lines")
        }
        SecretKind::TlsKey => generate::unfit_key(value),
        SecretKind::TlsCertificate => generate::expiry(value.expose()).is_none().then_some("it cannot be read as one"),
        SecretKind::SshKey => {
            ssh_key::PrivateKey::from_openssh(value.expose()).is_err().then_some("it cannot be read as one")
        }
    }
}

fn days(left: Duration) -> String {
    match left.as_secs() / DAY.as_secs() {
        0 => "today".to_owned(),
        1 => "tomorrow".to_owned(),
        days => format!("in {days} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_held_against_its_key_its_hosts_and_the_time() {
        let now = SystemTime::now();
        let (authority, key) = (generate::authority("test", now).unwrap(), generate::tls_key().unwrap());
        let hosts = ["web.example", "*.web.example", "192.0.2.1"].map(str::to_owned);
        let chain = generate::server_certificate(&hosts, &key, &authority, now).unwrap();
        let told = |key: &Secret, hosts: &[&str], days: u32| {
            let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
            flaws(chain.as_bytes(), Some(key), hosts.iter(), now + DAY * days)
        };
        assert_eq!(told(&key, &["web.example", "*.web.example", "192.0.2.1"], 0), []);
        let wrong = |what: &str| [(what.to_owned(), false)];
        assert_eq!(told(&key, &["shop.example", "web.example", "::1"], 0), wrong("it is not for shop.example, ::1"));
        assert_eq!(told(&key, &["*.shop.example"], 0), wrong("it is not for *.shop.example"));
        assert_eq!(told(&generate::tls_key().unwrap(), &[], 0), wrong("it is not the certificate of its key"));
        assert_eq!(told(&key, &[], 396 - 29), [("it expires in 29 days".to_owned(), true)]);
        assert_eq!(told(&key, &[], 396 - 3), wrong("it expires in 3 days"));
        assert_eq!(told(&key, &[], 400), wrong("it has expired"));
    }
}
