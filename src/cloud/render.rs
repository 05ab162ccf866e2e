//! User-data as rave writes it.

use super::limits;
use crate::system::Cloud;

/// Where the machine looks for the identity that user-data gives it; on memory, and in `base.secrets.identity-files` of
/// every image that a cloud provisions.
pub const IDENTITY: &str = "/run/rave/identity.txt";

/// A user that user-data makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Name.
    pub name: String,
    /// Public keys, each as a line of OpenSSH.
    pub keys: Vec<String>,
}

/// How the machine gets the identity that opens its secrets.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Identity<'a> {
    /// Not by user-data.
    #[default]
    None,
    /// It fetches it from this address, which should be one that others cannot use, or not for long.
    From(&'a str),
    /// It is in user-data: for media that nobody else reads.
    Plain(&'a str),
}

/// What user-data shall say.
#[derive(Clone, Default)]
pub struct Wishes<'a> {
    /// Host name; the image's if there is none.
    pub hostname: Option<&'a str>,
    /// Public keys of the administrator.
    pub keys: &'a [String],
    /// More users.
    pub users: &'a [User],
    /// The identity.
    pub identity: Identity<'a>,
}

/// Why there is no user-data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Something that whatever runs in the machine could read.
    #[error("an identity in plain text is for a seed of nocloud only: whatever runs in the machine can ask {} for it", .0.map_or("most clouds", Cloud::name))]
    Plain(Option<Cloud>),
    /// Not protected on its way.
    #[error("an identity is fetched by https only, not from {0:?}")]
    Address(String),
    /// A name that no user has.
    #[error("{0:?} is no name of a user")]
    User(String),
    /// A name that no host has.
    #[error("{0:?} is no host name")]
    Hostname(String),
}

/// User-data that says so, as YAML. `cloud` is where it is for.
///
/// # Errors
/// What cannot be said, or not there.
pub fn render(wishes: &Wishes<'_>, cloud: Option<Cloud>) -> Result<String, Error> {
    let mut text = "#cloud-config\n".to_owned();
    if let Some(name) = wishes.hostname {
        let label = |part: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
            (1..64).contains(&part.len()) && part.chars().all(plain) && !part.starts_with('-') && !part.ends_with('-')
        };
        if name.len() > 253 || !name.split('.').all(label) {
            return Err(Error::Hostname(name.into()));
        }
        text.push_str(&format!("hostname: {}\n", quote(name)));
    }
    list(&mut text, "", "ssh_authorized_keys", wishes.keys);
    if !wishes.users.is_empty() {
        text.push_str("users:\n  - default\n");
    }
    for User { name, keys } in wishes.users {
        let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
        if !first || name.len() > 32 || !name.chars().all(plain) {
            return Err(Error::User(name.clone()));
        }
        let rights = "    shell: /bin/bash\n    lock_passwd: true\n    sudo: \"ALL=(ALL:ALL) NOPASSWD: ALL\"\n";
        text.push_str(&format!("  - name: {}\n{rights}", quote(name)));
        list(&mut text, "    ", "ssh_authorized_keys", keys);
    }
    let content = match wishes.identity {
        Identity::None => return Ok(text),
        Identity::From(address) => {
            let whole = address.chars().all(|c| c.is_ascii_graphic());
            if !whole || address.strip_prefix("https://").is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) {
                return Err(Error::Address(address.into()));
            }
            format!("    source:\n      uri: {}\n", quote(address))
        }
        Identity::Plain(identity) => {
            if cloud.is_none_or(limits::tells_anyone) {
                return Err(Error::Plain(cloud));
            }
            format!("    content: {}\n", quote(identity))
        }
    };
    text.push_str(&format!(
        "# Opens the machine's secrets. It is kept in memory only.\nwrite_files:\n  - path: {IDENTITY}\n    \
         permissions: \"0400\"\n{content}"
    ));
    Ok(text)
}

fn list(text: &mut String, indent: &str, key: &str, entries: &[String]) {
    if !entries.is_empty() {
        text.push_str(&format!("{indent}{key}:\n"));
    }
    entries.iter().for_each(|entry| text.push_str(&format!("{indent}  - {}\n", quote(entry))));
}

/// A text in double quotes, as JSON and thus YAML have it.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::yaml;
    use super::*;
    use crate::origin::Source;

    #[test]
    fn what_is_wished_is_what_cloud_init_reads() {
        let keys = ["ssh-ed25519 AAAA it's \"me\"".to_owned()];
        let users = [User { name: "ana".into(), keys: keys.to_vec() }];
        let identity = Identity::From("https://store.example/identity?signature=a%2Bb");
        let wishes = Wishes { hostname: Some("web-7"), keys: &keys, users: &users, identity };
        let text = render(&wishes, Some(Cloud::Ec2)).unwrap();
        assert_eq!(
            yaml::read(&Source::new("u", text)).unwrap().value,
            json!({
                "hostname": "web-7",
                "ssh_authorized_keys": keys,
                "users": ["default", {
                    "name": "ana",
                    "shell": "/bin/bash",
                    "lock_passwd": true,
                    "sudo": "ALL=(ALL:ALL) NOPASSWD: ALL",
                    "ssh_authorized_keys": keys,
                }],
                "write_files": [{
                    "path": IDENTITY,
                    "permissions": "0400",
                    "source": {"uri": "https://store.example/identity?signature=a%2Bb"},
                }],
            })
        );
        assert_eq!(render(&Wishes::default(), None).unwrap(), "#cloud-config\n");
    }

    #[test]
    fn what_must_not_or_cannot_be_said_is_refused() {
        let with = |identity, cloud| render(&Wishes { identity, ..Wishes::default() }, cloud);
        assert!(with(Identity::Plain("AGE-1\n"), Some(Cloud::NoCloud)).unwrap().contains("content: \"AGE-1\\n\""));
        for cloud in [None, Some(Cloud::Ec2), Some(Cloud::Azure), Some(Cloud::OpenStack), Some(Cloud::Gce)] {
            assert_eq!(with(Identity::Plain("AGE-1"), cloud), Err(Error::Plain(cloud)));
        }
        for address in ["http://a", "https://", "https:///x", "https://a b", "file:///etc/shadow", ""] {
            assert_eq!(with(Identity::From(address), None), Err(Error::Address(address.into())));
        }
        for name in ["", "Ana", "1a", "a b", &"a".repeat(33)] {
            let users = [User { name: name.into(), keys: Vec::new() }];
            assert_eq!(render(&Wishes { users: &users, ..Wishes::default() }, None), Err(Error::User(name.into())));
        }
        for hostname in ["", "-a", "a_b", "a..b", "a\nb", &"a".repeat(64)] {
            let wishes = Wishes { hostname: Some(hostname), ..Wishes::default() };
            assert_eq!(render(&wishes, None), Err(Error::Hostname(hostname.into())));
        }
    }
}
