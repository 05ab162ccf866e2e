//! Which addresses Debian's archives are read from, and in which order.
//!
//! Any mirror of Debian serves every suite, and what it serves is verified by signature and digest. So the
//! host's own choice of mirror is good enough even where the host runs another release: it is likely near,
//! and reachable from where the host is.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::Base;
use super::deb822::{self, Stanza};
use crate::disk;

/// The archive of everything that Debian ever published.
const SNAPSHOT: &str = "http://snapshot.debian.org/archive";

/// Where archives are read from, in order of preference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrors {
    debian: Vec<Mirror>,
    security: Vec<Mirror>,
}

/// One address that serves `dists/` and `pool/` of an archive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mirror {
    /// Base address, without a slash at its end.
    pub url: String,
    /// Whether it is asked only because no other has a file. Its silence then says nothing about the file.
    pub last_resort: bool,
}

/// What to choose from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choice<'a> {
    /// Value of `RAVE_MIRROR`: addresses separated by white space.
    pub environment: Option<&'a str>,
    /// The image's own mirrors.
    pub image: &'a [String],
    /// The host's.
    pub host: Option<&'a Host>,
    /// The newest date of the lock, if there is one: what vanished from mirrors is still in the snapshot
    /// archive.
    pub date: Option<Timestamp>,
}

/// An address that cannot be a mirror.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an http or https address")]
pub struct BadMirror(pub String);

impl Mirrors {
    /// Puts the addresses in order: environment, image, host, snapshot archive; none twice.
    ///
    /// The security archive of a mirror is beside its main archive, `debian-security` beside `debian`, but
    /// the host may name another. An address that ends in `debian-security` serves that archive only.
    pub fn new(choice: &Choice) -> Result<Self, BadMirror> {
        let mut mirrors = Self::default();
        let asked = choice.environment.unwrap_or_default().split_whitespace();
        for url in asked.chain(choice.image.iter().map(String::as_str)) {
            let url = address(url).ok_or_else(|| BadMirror(url.to_owned()))?;
            if is_security(&url) {
                add(&mut mirrors.security, url, false);
            } else {
                mirrors.security_beside(&url);
                add(&mut mirrors.debian, url, false);
            }
        }
        if let Some(host) = choice.host {
            host.debian.iter().for_each(|url| add(&mut mirrors.debian, url.clone(), false));
            host.security.iter().for_each(|url| add(&mut mirrors.security, url.clone(), false));
            if host.security.is_empty() {
                host.debian.iter().for_each(|url| mirrors.security_beside(url));
            }
        }
        for stamp in choice.date.into_iter().flat_map(stamps) {
            add(&mut mirrors.debian, format!("{SNAPSHOT}/debian/{stamp}"), true);
            add(&mut mirrors.security, format!("{SNAPSHOT}/debian-security/{stamp}"), true);
        }
        Ok(mirrors)
    }

    /// The mirrors of one archive.
    pub fn of(&self, base: &Base) -> Vec<Mirror> {
        match base {
            Base::Debian => self.debian.clone(),
            Base::DebianSecurity => self.security.clone(),
            Base::Extra(url) => {
                vec![Mirror { url: url.trim_end_matches('/').to_owned(), last_resort: false }]
            }
        }
    }

    fn security_beside(&mut self, url: &str) {
        if reqwest::Url::parse(url).is_ok_and(|url| url.path() != "/") {
            add(&mut self.security, format!("{url}-security"), false);
        }
    }
}

fn add(list: &mut Vec<Mirror>, url: String, last_resort: bool) {
    if list.iter().all(|mirror| mirror.url != url) {
        list.push(Mirror { url, last_resort });
    }
}

/// The times at which to ask the snapshot archive. It keeps states as of when it saw them, hours after the
/// date that a release file bears; and what was current on one day is still there on the next.
fn stamps(date: Timestamp) -> impl Iterator<Item = String> {
    let later = date.checked_add(SignedDuration::from_hours(24)).ok();
    let stamp = |time: Timestamp| time.strftime("%Y%m%dT%H%M%SZ").to_string();
    later.into_iter().chain([date]).map(stamp)
}

/// An address without slashes at its end; nothing unless it can be asked over HTTP for paths below it.
fn address(text: &str) -> Option<String> {
    let url = reqwest::Url::parse(text).ok()?;
    let plain = matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none();
    plain.then(|| url.as_str().trim_end_matches('/').to_owned())
}

fn is_security(url: &str) -> bool {
    url.ends_with("/debian-security")
}

/// The mirrors of Debian that the host's apt uses (sources.list(5)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    debian: Vec<String>,
    security: Vec<String>,
}

impl Host {
    /// Reads what is configured in a directory such as `/etc/apt`. A host without apt has none.
    pub fn read(directory: &Path) -> disk::Result<Self> {
        let mut host = Self::default();
        if let Some(text) = read(&directory.join("sources.list"))? {
            host.add_list(&text);
        }
        let parts = match disk::list(directory.join("sources.list.d")) {
            Err(error) if error.is_not_found() => Vec::new(),
            parts => parts?,
        };
        for path in parts {
            let extension = path.extension().and_then(|extension| extension.to_str());
            match extension {
                Some("list") => read(&path)?.iter().for_each(|text| host.add_list(text)),
                Some("sources") => read(&path)?.iter().for_each(|text| host.add_stanzas(text)),
                _ => {}
            }
        }
        Ok(host)
    }

    /// Adds the one-line format: `deb [ option=value ... ] uri suite component ...`.
    pub fn add_list(&mut self, text: &str) {
        text.lines().filter_map(parse_line).for_each(|entry| self.add(&entry));
    }

    /// Adds the deb822 format: stanzas of fields. A stanza that apt would refuse offers no mirror.
    pub fn add_stanzas(&mut self, text: &str) {
        let text: String = text.split_inclusive('\n').filter(|line| !line.starts_with('#')).collect();
        let stanzas = deb822::stanzas(&text).filter_map(|stanza| Stanza::parse(stanza).ok());
        stanzas.filter_map(|stanza| parse_stanza(&stanza)).for_each(|entry| self.add(&entry));
    }

    /// Adds the addresses of an entry that is Debian's: other archives end in `debian`, too, but have keys or
    /// components of their own.
    fn add(&mut self, entry: &Entry) {
        let ours = |key: &String| key.rsplit('/').next().is_some_and(|name| name.starts_with("debian-archive-"));
        if !entry.components.iter().any(|name| name == "main") || !entry.signed_by.iter().all(ours) {
            return;
        }
        for url in entry.uris.iter().filter_map(|uri| address(uri)) {
            if is_security(&url) && !self.security.contains(&url) {
                self.security.push(url);
            } else if url.ends_with("/debian") && !self.debian.contains(&url) {
                self.debian.push(url);
            }
        }
    }
}

/// A file's text; nothing if there is no such file. What is not UTF-8 can only be in a comment.
fn read(path: &Path) -> disk::Result<Option<String>> {
    match disk::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// One source of binary packages.
#[derive(Debug, Default)]
struct Entry {
    uris: Vec<String>,
    components: Vec<String>,
    /// Key files or fingerprints; none means any key that the host trusts.
    signed_by: Vec<String>,
}

fn parse_line(line: &str) -> Option<Entry> {
    let line = line.split('#').next()?.trim().strip_prefix("deb")?;
    if !line.starts_with(|c: char| c.is_whitespace() || c == '[') {
        return None;
    }
    let (options, rest) = match line.trim_start().strip_prefix('[') {
        Some(inside) => inside.split_once(']')?,
        None => ("", line),
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    let uri = words.next()?;
    let signed_by = options.split_whitespace().filter_map(|option| option.strip_prefix("signed-by="));
    Some(Entry {
        uris: vec![uri],
        components: words.skip(1).collect(),
        signed_by: signed_by.flat_map(|keys| keys.split(',')).map(str::to_owned).collect(),
    })
}

fn parse_stanza(stanza: &Stanza) -> Option<Entry> {
    let off = ["no", "false", "without", "off", "disable", "0"];
    if stanza.words("Enabled").iter().any(|value| off.contains(&value.to_ascii_lowercase().as_str())) {
        return None;
    }
    let binary = stanza.words("Types").iter().any(|kind| kind == "deb");
    // A key that is written out in the field names no file of Debian's.
    binary.then(|| Entry {
        uris: stanza.words("URIs"),
        components: stanza.words("Components"),
        signed_by: stanza.words("Signed-By"),
    })
}

#[cfg(test)]
#[path = "mirrors_tests.rs"]
mod tests;
