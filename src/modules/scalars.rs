//! The types whose values are one scalar: one line each in [`SCALARS`], and the function that reads it.

use std::net::IpAddr;

use super::value::{Quantity, Unit, Value};
use super::yaml::Style;
use super::{calendar, recipient};
use crate::name::{GuestPath, PackageName};
use crate::quantity;

/// A type whose values are written as one scalar.
pub(super) struct Scalar {
    /// As `type:` names it.
    pub name: &'static str,
    /// What a value must be, with its article.
    pub what: &'static str,
    /// Whether quotes make it another type.
    pub bare: bool,
    read: fn(&str) -> Result<Value, Refusal>,
}

/// Why a text is refused, where more can be said than what was expected.
pub(super) type Refusal = Option<String>;

/// Every scalar type.
pub(super) static SCALARS: &[Scalar] = &[
    Scalar { name: "bool", what: "true or false", bare: true, read: boolean },
    Scalar { name: "int", what: "a whole number", bare: true, read: int },
    Scalar { name: "float", what: "a number", bare: true, read: float },
    Scalar { name: "string", what: "a text", bare: false, read: string },
    Scalar { name: "path", what: "a path", bare: false, read: path },
    Scalar { name: "guest-path", what: "an absolute path inside the image", bare: false, read: guest_path },
    Scalar { name: "port", what: "a port, 1 to 65535", bare: true, read: port },
    Scalar { name: "duration", what: "a duration, such as 30s, 15m, 12h or 7d", bare: false, read: duration },
    Scalar { name: "size", what: "a size, such as 512K, 64M or 2G", bare: false, read: size },
    Scalar { name: "percentage", what: "a percentage, such as 25%", bare: false, read: percentage },
    Scalar { name: "cidr", what: "a network, such as 10.0.0.0/8 or fd00::/8", bare: false, read: cidr },
    Scalar { name: "host-name", what: "a host name (RFC 1123)", bare: false, read: host_name },
    Scalar { name: "url", what: "a URL, such as https://example.org/path", bare: false, read: url },
    Scalar { name: "ssh-public-key", what: "an OpenSSH public key", bare: false, read: ssh_public_key },
    Scalar { name: "package-name", what: "the name of a Debian package", bare: false, read: package_name },
    Scalar { name: "unit-name", what: "the name of a systemd unit, such as foo.service", bare: false, read: unit_name },
    Scalar { name: "user-name", what: "the name of a user or group", bare: false, read: user_name },
    Scalar { name: "email", what: "an e-mail address, such as ops@example.org", bare: false, read: email },
    Scalar {
        name: "calendar",
        what: "a calendar expression, such as daily, Mon..Fri 07:30 or cron's 30 7 * * *",
        bare: false,
        read: calendar,
    },
    Scalar {
        name: "age-recipient",
        what: "an age recipient (age1... or an SSH key)",
        bare: false,
        read: recipient::read,
    },
    Scalar { name: "secret", what: "the name of a secret", bare: false, read: secret },
    Scalar { name: "config", what: "a piece of configuration", bare: false, read: config },
];

impl Scalar {
    /// The type of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        SCALARS.iter().find(|scalar| scalar.name == name)
    }

    /// The canonical value of a text.
    pub fn read(&self, text: &str, style: Style) -> Result<Value, Refusal> {
        if self.bare && style == Style::Quoted {
            return Err((self.read)(text).is_ok().then(|| "remove the quotes".to_owned()));
        }
        if self.name == "string" && style == Style::Plain {
            let trap = ["true", "false", "yes", "no", "on", "off"].contains(&text.to_ascii_lowercase().as_str());
            if trap {
                return Err(Some(format!("`{text}` without quotes is read as a boolean by many; write \"{text}\"")));
            }
        }
        (self.read)(text)
    }
}

fn boolean(text: &str) -> Result<Value, Refusal> {
    match text.to_ascii_lowercase().as_str() {
        _ if text == "true" => Ok(Value::Bool(true)),
        _ if text == "false" => Ok(Value::Bool(false)),
        "yes" | "on" | "y" | "true" => Err(Some(format!("`{text}` is a text in YAML 1.2; write true"))),
        "no" | "off" | "n" | "false" => Err(Some(format!("`{text}` is a text in YAML 1.2; write false"))),
        _ => Err(None),
    }
}

fn int(text: &str) -> Result<Value, Refusal> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if all_digits && (digits == "0" || !digits.starts_with('0')) {
        return text.parse().map(Value::Int).map_err(|_| Some("the number is too large".into()));
    }
    Err(int_trap(text, digits, all_digits))
}

fn int_trap(text: &str, digits: &str, all_digits: bool) -> Refusal {
    let lower = digits.to_ascii_lowercase();
    if all_digits {
        return Some(format!("a leading zero makes {text} octal for some readers; write it without, in decimal"));
    }
    if lower.starts_with("0x") || lower.starts_with("0o") || lower.starts_with("0b") {
        return Some("write it in decimal".into());
    }
    if digits.contains(':') && digits.bytes().all(|b| b.is_ascii_digit() || b == b':') {
        return Some(format!("some readers take {text} for a number of base 60; write a plain number"));
    }
    (digits.contains('_') && digits.bytes().all(|b| b.is_ascii_digit() || b == b'_'))
        .then(|| "write it without `_`".to_owned())
}

fn float(text: &str) -> Result<Value, Refusal> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    match text.parse::<f64>() {
        Ok(number) if plain && number.is_finite() => Ok(Value::Float(number)),
        _ => Err(None),
    }
}

fn string(text: &str) -> Result<Value, Refusal> {
    match text.contains('\0') {
        true => Err(Some("a text holds no NUL".into())),
        false => Ok(Value::Text(text.to_owned())),
    }
}

fn path(text: &str) -> Result<Value, Refusal> {
    match text.is_empty() || text.contains(['\0', '\n']) {
        true => Err(None),
        false => Ok(Value::Text(text.to_owned())),
    }
}

fn named<T: std::str::FromStr<Err = crate::name::BadName>>(text: &str) -> Result<Value, Refusal> {
    text.parse::<T>().map(|_| Value::Text(text.to_owned())).map_err(|error| Some(error.rule.to_owned()))
}

fn guest_path(text: &str) -> Result<Value, Refusal> {
    named::<GuestPath>(text)
}

fn package_name(text: &str) -> Result<Value, Refusal> {
    named::<PackageName>(text)
}

fn port(text: &str) -> Result<Value, Refusal> {
    match int(text)? {
        Value::Int(number @ 1..=65535) => Ok(Value::Int(number)),
        _ => Err(None),
    }
}

fn duration(text: &str) -> Result<Value, Refusal> {
    match quantity::milliseconds(text) {
        Some(amount) => Ok(Value::Quantity(Quantity { unit: Unit::Time, amount })),
        None => Err(duration_trap(text)),
    }
}

fn duration_trap(text: &str) -> Refusal {
    let (count, name) = quantity::number(text)?;
    match name {
        "" => Some(format!("name the unit: {count}s, {count}m, {count}h or {count}d")),
        "M" | "mo" | "y" => Some("months and years have no fixed length; write days".into()),
        _ if name.starts_with(':') => Some(format!("some readers take {text} for a number of base 60; write 1h30m")),
        _ => quantity::TIME.iter().any(|(known, _)| *known == name).then(|| "it is too long".to_owned()),
    }
}

fn size(text: &str) -> Result<Value, Refusal> {
    match quantity::bytes(text) {
        Some(amount) => Ok(Value::Quantity(Quantity { unit: Unit::Bytes, amount })),
        None => Err(size_trap(text)),
    }
}

fn size_trap(text: &str) -> Refusal {
    let (count, name) = quantity::number(text)?;
    match name {
        "KB" | "kB" | "MB" | "GB" | "TB" => {
            Some(format!("sizes count in powers of 1024: write {count}{}", &name[..1].to_uppercase()))
        }
        _ => quantity::BYTES.iter().any(|(known, _)| *known == name).then(|| "it is too large".to_owned()),
    }
}

fn percentage(text: &str) -> Result<Value, Refusal> {
    match quantity::number(text).ok_or(None)? {
        (amount, "%") if amount <= 1_000_000 => Ok(Value::Quantity(Quantity { unit: Unit::Percent, amount })),
        (amount, "") => Err(Some(format!("write {amount}%"))),
        _ => Err(None),
    }
}

fn cidr(text: &str) -> Result<Value, Refusal> {
    let Some((address, length)) = text.split_once('/') else {
        let single = text.parse::<IpAddr>().ok().map(|ip| if ip.is_ipv4() { 32 } else { 128 });
        return Err(single.map(|length| format!("add the prefix length: {text}/{length}")));
    };
    let address: IpAddr = address.parse().map_err(|_| None)?;
    let (bits, width): (u128, u32) = match address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)) << 96, 32),
        IpAddr::V6(v6) => (u128::from(v6), 128),
    };
    let length: u32 = length.parse().map_err(|_| None)?;
    if length > width {
        return Err(Some(format!("the prefix length is at most {width}")));
    }
    let network = bits & u128::MAX.checked_shl(128 - length).unwrap_or(0);
    let canonical = match address {
        IpAddr::V4(_) => IpAddr::V4(((network >> 96) as u32).into()),
        IpAddr::V6(_) => IpAddr::V6(network.into()),
    };
    match network == bits {
        true => Ok(Value::Text(format!("{canonical}/{length}"))),
        false => Err(Some(format!("bits are set beyond the prefix; the network is {canonical}/{length}"))),
    }
}

/// Whether a text is a host name: labels of RFC 1123, 63 characters each, 253 in all.
fn is_host(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

fn host_name(text: &str) -> Result<Value, Refusal> {
    match is_host(text) {
        true => Ok(Value::Text(text.to_ascii_lowercase())),
        false => Err(Some("labels of 1 to 63 of a-z, 0-9 and -, joined by dots, 253 characters in all".into())),
    }
}

/// A URL with an authority (RFC 3986): scheme and host become lower case, the rest stays.
fn url(text: &str) -> Result<Value, Refusal> {
    let (scheme, rest) = text.split_once("://").ok_or(None)?;
    let good_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if !good_scheme || !rest.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b)) {
        return Err(None);
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (user, host_port) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let (host, port) = match host_port.strip_prefix('[') {
        Some(v6) => v6.split_once(']').ok_or(None)?,
        None => host_port.split_at(host_port.find(':').unwrap_or(host_port.len())),
    };
    let good_host = match host_port.starts_with('[') {
        true => host.parse::<std::net::Ipv6Addr>().is_ok(),
        false => is_host(host),
    };
    let good_port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    if !good_host || !good_port {
        return Err(None);
    }
    let user = user.map_or(String::new(), |user| format!("{user}@"));
    Ok(Value::Text(format!("{}://{user}{}{path}", scheme.to_ascii_lowercase(), host_port.to_ascii_lowercase())))
}

fn ssh_public_key(text: &str) -> Result<Value, Refusal> {
    let key = ssh_key::PublicKey::from_openssh(text.trim()).map_err(|error| Some(error.to_string()))?;
    key.to_openssh().map(Value::Text).map_err(|error| Some(error.to_string()))
}

const UNIT_KINDS: [&str; 11] =
    ["service", "socket", "timer", "target", "path", "mount", "automount", "swap", "slice", "scope", "device"];

/// The parts of a unit name (systemd.unit(5)): what stands before the last dot, and the kind of unit.
pub(super) fn unit_parts(text: &str) -> Option<(&str, &str)> {
    let (name, kind) = text.rsplit_once('.')?;
    let good = !name.is_empty()
        && text.len() <= 255
        && !name.starts_with('@')
        && name.matches('@').count() <= 1
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b))
        && UNIT_KINDS.contains(&kind);
    good.then_some((name, kind))
}

fn unit_name(text: &str) -> Result<Value, Refusal> {
    match unit_parts(text) {
        Some(_) => Ok(Value::Text(text.to_owned())),
        None => Err(Some(match UNIT_KINDS.iter().any(|kind| text.ends_with(&format!(".{kind}"))) {
            true => "it is of letters, digits and :-_.\\@, at most 255 of them".into(),
            false => format!("it ends with one of .{}", UNIT_KINDS.join(", .")),
        })),
    }
}

/// Whether a text can name a user or group (systemd's strict rule, 31 characters).
pub(super) fn is_user_name(text: &str) -> bool {
    (1..=31).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

/// The rule of [`is_user_name`], for people.
pub(super) const USER_NAME_RULE: &str = "1 to 31 of a-z, 0-9, _ and -, beginning with a letter or _";

fn user_name(text: &str) -> Result<Value, Refusal> {
    match is_user_name(text) {
        true => Ok(Value::Text(text.to_owned())),
        false => Err(Some(USER_NAME_RULE.into())),
    }
}

/// Whether a text can name a secret: it becomes the name of a file and of a systemd credential.
pub(super) fn is_secret_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// The rule of [`is_secret_name`], for people.
pub(super) const SECRET_NAME_RULE: &str = "1 to 64 letters, digits, ., _ and -, beginning with a letter or digit";

fn secret(text: &str) -> Result<Value, Refusal> {
    match is_secret_name(text) {
        true => Ok(Value::Text(text.to_owned())),
        false => Err(Some(SECRET_NAME_RULE.into())),
    }
}

/// An address as programs take it: a dot-atom of RFC 5322, `@`, and a host name, which becomes lower case.
fn email(text: &str) -> Result<Value, Refusal> {
    if text.contains('<') {
        return Err(Some("write the address alone, without a name and < >".into()));
    }
    let (local, host) = text.rsplit_once('@').ok_or_else(|| Some(format!("add the domain: {text}@example.org")))?;
    let atom = |atom: &str| {
        !atom.is_empty() && atom.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b))
    };
    match local.len() <= 64 && local.split('.').all(atom) && is_host(host) {
        true => Ok(Value::Text(format!("{local}@{}", host.to_ascii_lowercase()))),
        false => Err(None),
    }
}

fn calendar(text: &str) -> Result<Value, Refusal> {
    calendar::canonical(text).map(Value::Text)
}

fn config(text: &str) -> Result<Value, Refusal> {
    string(text).map(|_| Value::Config(text.to_owned()))
}

#[cfg(test)]
#[path = "scalars_tests.rs"]
mod tests;
