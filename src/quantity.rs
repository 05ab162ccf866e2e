//! Spellings of durations and sizes, as configuration files, systemd and services write them.

/// Units of time in milliseconds, by name. Months and years have no fixed length.
pub const TIME: [(&str, u64); 7] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];

/// Units of size in bytes, by name; all are powers of 1024, with or without `iB`.
pub const BYTES: [(&str, u64); 6] = [("", 1), ("B", 1), ("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40)];

/// A duration in milliseconds: numbers with units after each other, such as `1h30m`; a lone `0`. None for other
/// texts, and for what does not fit.
pub fn milliseconds(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut total) = (text, None);
    while !rest.is_empty() {
        let (count, after) = number(rest)?;
        let (name, after) = after.split_at(after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len()));
        let (_, unit) = TIME.iter().find(|(known, _)| *known == name)?;
        total = Some(count.checked_mul(*unit)?.checked_add(total.unwrap_or(0))?);
        rest = after;
    }
    total
}

/// A size in bytes: a number with one unit, such as `64M` or `64MiB`. None for other texts, and for what does not fit.
pub fn bytes(text: &str) -> Option<u64> {
    let (count, name) = number(text)?;
    let name = name.strip_suffix("iB").filter(|name| !name.is_empty()).unwrap_or(name);
    let (_, unit) = BYTES.iter().find(|(known, _)| *known == name)?;
    count.checked_mul(*unit)
}

/// A figure with at most one decimal in tenths: `9.6` is 96. None for other texts, and for what does not fit.
pub fn tenths(text: &str) -> Option<u32> {
    let (whole, tenth) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(tenth) || tenth.len() > 1 {
        return None;
    }
    whole.parse::<u32>().ok()?.checked_mul(10)?.checked_add(tenth.parse().ok()?)
}

/// Splits the leading digits off.
pub fn number(text: &str) -> Option<(u64, &str)> {
    let (digits, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_value_are_read_alike() {
        for (text, wanted) in [
            ("7d", Some(604_800_000)),
            ("168h", Some(604_800_000)),
            ("1w", Some(604_800_000)),
            ("1h30m", Some(5_400_000)),
            ("1m30s", Some(90_000)),
            ("90s", Some(90_000)),
            ("0", Some(0)),
            ("0s", Some(0)),
            ("", None),
            ("7", None),
            ("d", None),
            ("1y", None),
            ("99999999999999999999s", None),
            ("9999999999999999w", None),
        ] {
            assert_eq!(milliseconds(text), wanted, "{text}");
        }
        for (text, wanted) in [
            ("512M", Some(512 << 20)),
            ("512MiB", Some(512 << 20)),
            ("536870912", Some(512 << 20)),
            ("1KB", None),
            ("iB", None),
            ("", None),
            ("99999999999T", None),
        ] {
            assert_eq!(bytes(text), wanted, "{text}");
        }
        for (text, wanted) in [
            ("9.6", Some(96)),
            ("0.0", Some(0)),
            ("10", Some(100)),
            ("1.25", None),
            (".5", None),
            ("5.", None),
            ("-1.0", None),
            ("4294967296.0", None),
        ] {
            assert_eq!(tenths(text), wanted, "{text}");
        }
    }
}
