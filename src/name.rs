//! Names that are checked once, where they enter, and trusted from then on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not a name of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {kind}: {rule}")]
pub struct BadName {
    /// The text that was refused.
    pub text: String,
    /// The kind of name, with its article.
    pub kind: &'static str,
    /// The rule it breaks.
    pub rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                let check: fn(&str) -> Result<(), &'static str> = $check;
                match check(text) {
                    Ok(()) => Ok(Self(text.to_owned())),
                    Err(rule) => Err(BadName { text: text.to_owned(), kind: $kind, rule }),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

fn rule(holds: bool, rule: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(rule) }
}

name! {
    /// The name of an image or a virtual machine; also a host name and a part of file names.
    ImageName, "an image name", |text| rule(
        (1..=32).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && !text.ends_with('-')
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
        "1 to 32 of a-z, 0-9 and -, beginning with a letter and not ending with -",
    )
}

name! {
    /// The version of an image, as it stands in partition labels and file names.
    Version, "a version", |text| rule(
        (1..=24).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || ".~^".contains(c)),
        "1 to 24 of a-z, A-Z, 0-9, ., ~ and ^, beginning with a digit",
    )
}

name! {
    /// The dotted name of an option, such as `services.nginx.enable`.
    OptionPath, "an option name", |text| rule(
        !text.is_empty()
            && text.split('.').all(|part| {
                part.starts_with(|c: char| c.is_ascii_alphabetic())
                    && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
            }),
        "words of letters, digits, - and _, joined by dots, each beginning with a letter",
    )
}

name! {
    /// A binary package of Debian (Debian Policy, 5.6.7).
    PackageName, "a package name", |text| rule(
        text.len() >= 2
            && text.len() <= 128
            && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c)),
        "two or more of a-z, 0-9, +, - and ., beginning with a letter or digit",
    )
}

name! {
    /// An absolute, normalised path inside an image: no `.`, no `..`, no empty part, no
    /// control character, no final slash.
    GuestPath, "a path inside the image", |text| rule(
        text == "/"
            || (text.len() < 4096
                && text.starts_with('/')
                && text[1..].split('/').all(|part| {
                    !part.is_empty() && part != "." && part != ".." && part.len() < 256 && !part.contains(char::is_control)
                })),
        "it must be absolute, without `.`, `..`, empty parts, control characters or a final slash",
    )
}

/// What a dotted name is within, from the outermost, and the name itself: of `a.b.c` `a`, `a.b` and `a.b.c`.
pub fn ancestry(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').map(|(at, _)| &name[..at]).chain([name])
}

impl GuestPath {
    /// The root directory.
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// The directory that holds this path; none for the root.
    pub fn parent(&self) -> Option<Self> {
        match self.0.rfind('/')? {
            0 if self.0.len() == 1 => None,
            0 => Some(Self::root()),
            at => Some(Self(self.0[..at].to_owned())),
        }
    }

    /// The last part; empty for the root.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or("")
    }

    /// The path without its leading slash, as archives write it; empty for the root.
    pub fn relative(&self) -> &str {
        &self.0[1..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        for bad in ["", "a/b", "..", "Web", "-a", "a-", "1a", "a\n", "é"] {
            assert!(bad.parse::<ImageName>().is_err(), "{bad:?}");
        }
        for bad in [
            "",
            "etc",
            "/etc/",
            "//",
            "/a/../b",
            "/a/./b",
            "/a\0",
            "/a\nb",
            "/a\u{1b}[1mb",
            "/\u{85}",
            &format!("/{}", "x".repeat(256)),
        ] {
            assert!(bad.parse::<GuestPath>().is_err(), "{bad:?}");
        }
        for bad in ["", ".", "a.", "a..b", "1.a", "a b", "a/b"] {
            assert!(bad.parse::<OptionPath>().is_err(), "{bad:?}");
        }
        assert!("web-1".parse::<ImageName>().is_ok());
        assert!("services.nginx.enable".parse::<OptionPath>().is_ok());
        assert!("libstdc++6".parse::<PackageName>().is_ok());
    }

    #[test]
    fn a_dotted_name_is_within_others() {
        for (name, within) in [("a.b.c", &["a", "a.b", "a.b.c"][..]), ("a", &["a"]), ("", &[""])] {
            assert_eq!(ancestry(name).collect::<Vec<_>>(), within);
        }
    }

    #[test]
    fn guest_paths_know_their_parts() {
        let path: GuestPath = "/etc/ssh".parse().unwrap();
        assert_eq!((path.file_name(), path.relative()), ("ssh", "etc/ssh"));
        let parent = path.parent().unwrap();
        assert_eq!(parent.as_str(), "/etc");
        assert_eq!(parent.parent(), Some(GuestPath::root()));
        assert_eq!(GuestPath::root().parent(), None);
    }
}
