//! Where a service inside the machine is asked, and where in its answer the value stands. Read once, when a module is
//! evaluated; written as text in manifests.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::GuestPath;

/// Longest path of a Unix socket, less what rave puts before it to see it as process 1 does (unix(7)).
const SOCKET_PATH: usize = 90;

/// A socket inside the machine: `127.0.0.1:5432`, `[::1]:80` or `/run/redis/redis.sock`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A TCP port of a loopback address.
    Tcp(SocketAddr),
    /// A Unix stream socket.
    Unix(GuestPath),
}

/// What is fetched from a service inside the machine: `http://127.0.0.1:9090/-/ready`, or with a Unix socket
/// `http://unix:/run/nginx/status.sock:/status`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpUrl {
    /// Whom to ask.
    pub place: Place,
    /// Path and query, as they stand in the request.
    pub target: String,
}

/// A service inside the machine, by what it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Service {
    /// One that speaks HTTP.
    Http(HttpUrl),
    /// Any other.
    Socket(Place),
}

/// The place of a value in a JSON document: keys and positions joined by dots, keys that hold dots in quotes, such
/// as `data."storage.tsdb.retention.time"` or `data.result.0.value.1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct JsonPath(Vec<String>);

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            let path: GuestPath = text.parse().map_err(|error| format!("{error}"))?;
            return match text.len() <= SOCKET_PATH {
                true => Ok(Self::Unix(path)),
                false => Err(format!("{text:?} is too long for a socket: {SOCKET_PATH} bytes at most")),
            };
        }
        let named = text.strip_prefix("localhost:").map(|port| format!("{}:{port}", Ipv4Addr::LOCALHOST));
        let address: SocketAddr = named.as_deref().unwrap_or(text).parse().map_err(|_| {
            format!("{text:?} is not a socket: write an address with a port, such as 127.0.0.1:5432, or a path")
        })?;
        match address.ip().is_loopback() && address.port() != 0 {
            true => Ok(Self::Tcp(address)),
            false => Err(format!("{text:?} is not inside the machine: probes reach 127.0.0.0/8 and [::1]")),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.fmt(f),
        }
    }
}

impl FromStr for HttpUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form =
            || format!("{text:?} is not a URL of the form http://127.0.0.1:PORT/PATH or http://unix:SOCKET:/PATH");
        let rest = text.strip_prefix("http://").ok_or_else(form)?;
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains('#') {
            return Err(form());
        }
        let (place, target) = match rest.strip_prefix("unix:") {
            Some(rest) => rest.split_once(':').ok_or_else(form)?,
            None => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        };
        let has_port = place.starts_with('/') || place.parse::<IpAddr>().is_err() && place.contains(':');
        let place = if has_port && !place.ends_with(']') { place.to_owned() } else { format!("{place}:80") };
        let target = if target.is_empty() { "/" } else { target };
        match target.starts_with('/') {
            true => Ok(Self { place: place.parse()?, target: target.to_owned() }),
            false => Err(form()),
        }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp(address) => write!(f, "http://{address}{}", self.target),
            Place::Unix(path) => write!(f, "http://unix:{path}:{}", self.target),
        }
    }
}

impl FromStr for Service {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.contains("://") {
            true => text.parse().map(Self::Http),
            false => text.parse().map(Self::Socket),
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => url.fmt(f),
            Self::Socket(place) => place.fmt(f),
        }
    }
}

impl JsonPath {
    /// The value at this place, if there is one.
    pub fn find<'a>(&self, document: &'a serde_json::Value) -> Option<&'a serde_json::Value> {
        self.0.iter().try_fold(document, |value, part| match value {
            serde_json::Value::Array(items) => items.get(part.parse::<usize>().ok()?),
            other => other.get(part),
        })
    }
}

impl FromStr for JsonPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a place in JSON: join keys by dots, and quote those that hold dots");
        let (mut parts, mut rest) = (Vec::new(), text);
        loop {
            let (part, after) = match rest.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').ok_or_else(wrong)?,
                None => rest.split_at(rest.find(['.', '"']).unwrap_or(rest.len())),
            };
            if part.is_empty() {
                return Err(wrong());
            }
            parts.push(part.to_owned());
            match after.strip_prefix('.') {
                Some(next) => rest = next,
                None if after.is_empty() => return Ok(Self(parts)),
                None => return Err(wrong()),
            }
        }
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.iter().enumerate() {
            let dot = if at > 0 { "." } else { "" };
            let quote = if part.contains('.') { "\"" } else { "" };
            write!(f, "{dot}{quote}{part}{quote}")?;
        }
        Ok(())
    }
}

macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

as_text!(Place, HttpUrl, JsonPath);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_urls_are_read_and_written_back() {
        for (text, place, target) in [
            ("http://127.0.0.1:9090/-/ready", "127.0.0.1:9090", "/-/ready"),
            ("http://localhost:9090/a?b=c:d", "127.0.0.1:9090", "/a?b=c:d"),
            ("http://127.0.0.1", "127.0.0.1:80", "/"),
            ("http://[::1]/x", "[::1]:80", "/x"),
            ("http://[::1]:81/x", "[::1]:81", "/x"),
            ("http://unix:/run/a.sock:/x/y", "/run/a.sock", "/x/y"),
        ] {
            let url: HttpUrl = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((url.place.to_string().as_str(), url.target.as_str()), (place, target), "{text}");
            assert_eq!(url.to_string().parse(), Ok(url));
        }
    }

    #[test]
    fn what_is_not_inside_the_machine_is_refused() {
        for text in [
            "https://127.0.0.1/",
            "http://10.0.0.1/",
            "http://example.org/",
            "http://127.0.0.1:0/",
            "http://127.0.0.1:99999/",
            "http://127.0.0.1/ HTTP/1.1\r\nX: y",
            "http://127.0.0.1/#x",
            "http://unix:/run/../x:/y",
            "http://unix:/run/x",
            "http://unix:/run/x:y",
        ] {
            assert!(text.parse::<HttpUrl>().is_err(), "{text}");
        }
        for text in ["", "127.0.0.1", "0.0.0.0:1", "8.8.8.8:53", "run/x", &format!("/{}", "x".repeat(100))] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_place_in_json_is_found() {
        let document = serde_json::json!({ "data": { "a.b": "x", "list": [1, { "c": true }] } });
        for (path, wanted) in [("data.\"a.b\"", Some("\"x\"")), ("data.list.1.c", Some("true")), ("data.list.2", None)]
        {
            let path: JsonPath = path.parse().unwrap();
            assert_eq!(path.find(&document).map(ToString::to_string).as_deref(), wanted, "{path}");
            assert_eq!(path.to_string().parse(), Ok(path));
        }
        for text in ["", ".", "a.", "a..b", "\"a", "\"\"", "a\"b\""] {
            assert!(text.parse::<JsonPath>().is_err(), "{text}");
        }
    }
}
