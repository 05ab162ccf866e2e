//! Numbers and times as text, the way Go's strconv and time write them.

/// Shortest digits that read back as the same number, never an exponent (`strconv.FormatFloat(f, 'f', -1, 64)`).
pub(super) fn float(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    number.to_string()
}

/// Shortest digits, with an exponent of at least `digits` digits unless it lies in `low..high`.
fn general(number: f64, low: i32, high: i32, mark: char, digits: usize) -> String {
    let text = format!("{number:e}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let Ok(exponent) = exponent.parse::<i32>() else { return float(number) };
    if number == 0.0 || (low..high).contains(&exponent) {
        return float(number);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}{mark}{sign}{:0digits$}", exponent.abs())
}

/// As YAML has it: `1e+21`, `1e-07`, `1e+06`.
pub(super) fn yaml_float(number: f64) -> String {
    if number.is_nan() {
        return ".nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    // For the shortest digits, the format `g` of strconv decides with a precision of 6.
    general(number, -4, 6, 'e', 2)
}

/// As JSON has it: `1e+21`, `1e-7`; nothing for what JSON cannot write.
pub(super) fn json_float(number: f64) -> Option<String> {
    number.is_finite().then(|| general(number, -6, 21, 'e', 1))
}

/// As dotenv and INI have it: at least one decimal, `1E+21`.
pub(super) fn flat_float(number: f64) -> String {
    if !number.is_finite() {
        return float(number);
    }
    let text = general(number, -4, 6, 'E', 2);
    if text.contains(['.', 'E']) { text } else { format!("{text}.0") }
}

/// `True` and `False` in all forms that Go's `strconv.ParseBool` takes.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A timestamp of YAML 1.1 in one of the four forms that go-yaml reads, as RFC 3339.
pub(super) fn yaml_time(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    if bytes.iter().take_while(|b| b.is_ascii_digit()).count() != 4 || bytes.get(4) != Some(&b'-') {
        return None;
    }
    let end = text.find(['T', 't', ' ']).unwrap_or(text.len());
    let (date, clock) = text.split_at(end);
    if clock.is_empty() {
        return Some(format!("{}T00:00:00Z", civil_date(date, 1)?));
    }
    let zoned = !clock.starts_with(' ');
    instant(date, clock.get(1..)?, zoned, 1)
}

/// A time of RFC 3339 in its one canonical form: without needless zeros, and `Z` for no offset.
pub(super) fn rfc3339(text: &str) -> Option<String> {
    let end = text.find(['T', 't'])?;
    let (date, clock) = text.split_at(end);
    if date.len() != 10 {
        return None;
    }
    instant(date, clock.get(1..)?, true, 2)
}

/// The same without fractions of a second.
pub(super) fn without_fraction(time: &str) -> String {
    let Some(dot) = time.find('.') else { return time.to_owned() };
    let (whole, rest) = time.split_at(dot);
    let zone = rest.find(['Z', '+', '-']).map_or("", |at| rest.get(at..).unwrap_or(""));
    format!("{whole}{zone}")
}

fn civil_date(text: &str, least: usize) -> Option<String> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || year.len() != 4 {
        return None;
    }
    let date = jiff::civil::Date::new(
        number(year, 4)?.try_into().ok()?,
        number_of(month, least)?.try_into().ok()?,
        number_of(day, least)?.try_into().ok()?,
    )
    .ok()?;
    Some(format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day()))
}

fn instant(date: &str, clock: &str, zoned: bool, least: usize) -> Option<String> {
    let date = civil_date(date, least)?;
    let zone_at = if zoned { clock.find(['Z', '+', '-'])? } else { clock.len() };
    let (time, zone) = clock.split_at(zone_at);
    let (time, fraction) = time.split_once('.').map_or((time, None), |(time, fraction)| (time, Some(fraction)));
    let mut parts = time.split(':');
    let mut part = |limit: u32| {
        let value = number_of(parts.next()?, least)?;
        (value < limit).then_some(value)
    };
    let (hour, minute, second) = (part(24)?, part(60)?, part(60)?);
    if parts.next().is_some() {
        return None;
    }
    let mut text = format!("{date}T{hour:02}:{minute:02}:{second:02}");
    if let Some(fraction) = fraction {
        if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let digits = fraction.trim_end_matches('0');
        if !digits.is_empty() {
            text.push('.');
            text.push_str(digits);
        }
    }
    text.push_str(&offset(zone, zoned)?);
    Some(text)
}

fn offset(zone: &str, zoned: bool) -> Option<String> {
    if !zoned || zone == "Z" {
        return Some("Z".to_owned());
    }
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    if hours == 0 && minutes == 0 {
        return Some("Z".to_owned());
    }
    Some(zone.to_owned())
}

/// Exactly `digits` of them.
fn number(text: &str, digits: usize) -> Option<u32> {
    let plain = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// At least `least` digits and at most two.
fn number_of(text: &str, least: usize) -> Option<u32> {
    if (least..=2).contains(&text.len()) { number(text, text.len()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_go_writes_them() {
        let check = |number: f64, plain: &str, yaml: &str, json: Option<&str>, flat: &str| {
            assert_eq!(float(number), plain);
            assert_eq!(yaml_float(number), yaml);
            assert_eq!(json_float(number).as_deref(), json);
            assert_eq!(flat_float(number), flat);
        };
        check(1.0, "1", "1", Some("1"), "1.0");
        check(1e-7, "0.0000001", "1e-07", Some("1e-7"), "1E-07");
        check(1e21, "1000000000000000000000", "1e+21", Some("1e+21"), "1E+21");
        check(-0.0, "-0", "-0", Some("-0"), "-0.0");
        check(1e6, "1000000", "1e+06", Some("1000000"), "1E+06");
        check(123456.0, "123456", "123456", Some("123456"), "123456.0");
        check(2.5, "2.5", "2.5", Some("2.5"), "2.5");
        check(f64::INFINITY, "+Inf", ".inf", None, "+Inf");
        check(f64::NEG_INFINITY, "-Inf", "-.inf", None, "-Inf");
        check(f64::NAN, "NaN", ".nan", None, "NaN");
    }

    #[test]
    fn times_have_one_form() {
        let check = |text: &str, expected: Option<&str>| assert_eq!(yaml_time(text).as_deref(), expected, "{text}");
        check("2001-01-01", Some("2001-01-01T00:00:00Z"));
        check("2001-1-2", Some("2001-01-02T00:00:00Z"));
        check("2001-12-14t21:59:43.10-05:00", Some("2001-12-14T21:59:43.1-05:00"));
        check("2001-12-15 2:59:43.10", Some("2001-12-15T02:59:43.1Z"));
        check("2001-12-14 21:59:43.10 -5", None);
        check("2001-02-30", None);
        check("2001-12-14T21:59:60Z", None);
        check("12-12-12", None);
        check("2001-é", None);
        assert_eq!(rfc3339("2026-11-20T09:19:02+00:00").as_deref(), Some("2026-11-20T09:19:02Z"));
        assert_eq!(rfc3339("2026-11-20").as_deref(), None);
        assert_eq!(without_fraction("2001-12-14T21:59:43.1-05:00"), "2001-12-14T21:59:43-05:00");
    }
}
