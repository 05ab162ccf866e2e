//! Calendar expressions of systemd.time(7) and of crontab(5), in the form that systemd itself prints.

use std::fmt::Write as _;

use super::scalars::Refusal;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const LONG_DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const EVERY_DAY: u8 = 0x7f;
/// Seconds are counted in millionths.
const SECOND: u64 = 1_000_000;

/// Names of systemd, and what they stand for.
const NAMES: [(&str, &str); 12] = [
    ("minutely", "*-*-* *:*:00"),
    ("hourly", "*-*-* *:00:00"),
    ("daily", "*-*-* 00:00:00"),
    ("weekly", "Mon *-*-* 00:00:00"),
    ("monthly", "*-*-01 00:00:00"),
    ("quarterly", "*-01,04,07,10-01 00:00:00"),
    ("semiannually", "*-01,07-01 00:00:00"),
    ("semi-annually", "*-01,07-01 00:00:00"),
    ("biannually", "*-01,07-01 00:00:00"),
    ("bi-annually", "*-01,07-01 00:00:00"),
    ("yearly", "*-01-01 00:00:00"),
    ("annually", "*-01-01 00:00:00"),
];

/// Names of cron, whose week begins on Sunday.
const CRON_NAMES: [(&str, &str); 7] = [
    ("@hourly", "*-*-* *:00:00"),
    ("@daily", "*-*-* 00:00:00"),
    ("@midnight", "*-*-* 00:00:00"),
    ("@weekly", "Sun *-*-* 00:00:00"),
    ("@monthly", "*-*-01 00:00:00"),
    ("@yearly", "*-01-01 00:00:00"),
    ("@annually", "*-01-01 00:00:00"),
];

/// One element of a list: a number, or a range, with a step that may be 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    start: u64,
    stop: Option<u64>,
    step: u64,
}

/// The parts of one field; none for `*`.
type Field = Vec<Part>;

struct Spec {
    /// A bit for each day, Monday first.
    days: u8,
    year: Field,
    month: Field,
    day: Field,
    /// Whether `day` counts from the end of the month.
    from_end: bool,
    hour: Field,
    minute: Field,
    /// In millionths of a second.
    second: Field,
}

/// The canonical form of a calendar expression, or of five fields or a name of cron.
pub(super) fn canonical(text: &str) -> Result<String, Refusal> {
    let words: Vec<&str> = text.split_whitespace().collect();
    if let [name] = words[..]
        && name.starts_with('@')
    {
        let known = CRON_NAMES.iter().find(|(known, _)| *known == name);
        return known.map(|(_, spec)| (*spec).to_owned()).ok_or_else(|| match name {
            "@reboot" => Some("that is no time: use OnBootSec= in the timer".into()),
            _ => None,
        });
    }
    if let [minute, hour, day, month, weekday] = words[..]
        && words.iter().all(|word| word.bytes().all(|b| b.is_ascii_alphanumeric() || b"*,-/".contains(&b)))
    {
        return cron(minute, hour, day, month, weekday).map(|spec| spec.to_string());
    }
    systemd(&words).ok_or_else(|| remedy(text))
}

/// What to write instead, for mistakes that are often made.
fn remedy(text: &str) -> Refusal {
    if text.contains("*/") {
        return Some(format!("systemd counts steps from a number: {}", text.replace("*/", "00/")));
    }
    match text.parse::<u8>() {
        Ok(hour) if hour < 24 => Some(format!("write the minutes too: {hour:02}:00")),
        _ => None,
    }
}

fn systemd(words: &[&str]) -> Option<String> {
    let zone = words.last().filter(|word| words.len() > 1 && is_zone(word));
    let words = if zone.is_some() { words.split_last()?.1 } else { words };
    let spec = match words {
        [name] if NAMES.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) => {
            NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?.1.to_owned()
        }
        _ => Spec::read(words)?.to_string(),
    };
    Some(zone.map_or(spec.clone(), |zone| format!("{spec} {zone}")))
}

/// Whether a word is the name of a time zone; whether the zone exists only the machine knows.
fn is_zone(word: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+-".contains(&b))
    };
    word == "UTC" || (word.contains('/') && word.split('/').all(part))
}

impl Spec {
    fn read(words: &[&str]) -> Option<Self> {
        let zero = || vec![Part { start: 0, stop: None, step: 0 }];
        let mut spec = Self {
            days: EVERY_DAY,
            year: Vec::new(),
            month: Vec::new(),
            day: Vec::new(),
            from_end: false,
            hour: zero(),
            minute: zero(),
            second: zero(),
        };
        let mut left = words;
        if let Some((word, rest)) = left.split_first()
            && word.starts_with(|c: char| c.is_ascii_alphabetic())
        {
            spec.days = weekdays(word)?;
            left = rest;
        }
        if let Some((word, rest)) = left.split_first()
            && !word.contains(':')
        {
            spec.date(word)?;
            left = rest;
        }
        if let Some((word, rest)) = left.split_first() {
            spec.time(word)?;
            left = rest;
        }
        (left.is_empty() && !words.is_empty()).then_some(spec)
    }

    fn date(&mut self, text: &str) -> Option<()> {
        let (rest, day) = match text.split_once('~') {
            Some((rest, day)) => {
                self.from_end = true;
                (rest, day)
            }
            None => text.rsplit_once('-')?,
        };
        let (year, month) = rest.split_once('-').unwrap_or(("*", rest));
        let full = |year: u64| match year {
            0..70 => year + 2000,
            70..100 => year + 1900,
            _ => year,
        };
        self.year = field(year, 1970, 2199, &|text| text.parse().ok().map(full))?;
        self.month = field(month, 1, 12, &|text| text.parse().ok())?;
        let last = if self.from_end { 28 } else { 31 };
        self.day = field(day, 1, last, &|text| text.parse().ok())?;
        Some(())
    }

    fn time(&mut self, text: &str) -> Option<()> {
        let (hour, rest) = text.split_once(':')?;
        let (minute, second) = rest.split_once(':').unwrap_or((rest, "0"));
        self.hour = field(hour, 0, 23, &|text| text.parse().ok())?;
        self.minute = field(minute, 0, 59, &|text| text.parse().ok())?;
        self.second = field(second, 0, 60 * SECOND - 1, &millionths)?;
        Some(())
    }
}

/// The list of one field: numbers, `a..b`, `a/n` and `a..b/n`, sorted, each once.
fn field(text: &str, from: u64, to: u64, number: &dyn Fn(&str) -> Option<u64>) -> Option<Field> {
    if text == "*" {
        return Some(Vec::new());
    }
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number = |text: &str| if plain(text) { number(text) } else { None };
    let mut parts = Vec::new();
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            // A step is no year, so it is never completed by a century.
            Some((range, step)) => (range, step.parse().ok().filter(|_| to < SECOND).or_else(|| number(step))?),
            None => (part, 0),
        };
        let (start, stop) = match range.split_once("..") {
            Some((start, stop)) => (number(start)?, Some(number(stop)?)),
            None => (number(range)?, None),
        };
        parts.push(Part { start, stop, step }.checked(from, to, part.contains('/'))?);
    }
    parts.sort_unstable();
    parts.dedup();
    Some(parts)
}

impl Part {
    /// The part within its bounds; a step that is never taken is left out.
    fn checked(mut self, from: u64, to: u64, stepped: bool) -> Option<Self> {
        let last = self.stop.unwrap_or(to);
        let within = self.start >= from && self.start <= last && last <= to;
        if !within || (stepped && (self.step == 0 || self.step > to - from)) {
            return None;
        }
        if self.stop.is_some() && self.step > 0 {
            self.stop = Some(last - (last - self.start) % self.step);
        }
        if self.stop == Some(self.start) || (self.stop.is_none() && self.start + self.step > to) {
            self = Self { stop: None, step: 0, ..self };
        }
        Some(self)
    }
}

/// Seconds with a fraction, rounded to millionths.
fn millionths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.bytes().chain([b'0'; 7]).take(7).map(|b| u64::from(b.wrapping_sub(b'0')));
    let tenth_millionths = digits.fold(0, |sum, digit| sum * 10 + digit.min(9));
    whole.parse::<u64>().ok()?.checked_mul(SECOND)?.checked_add((tenth_millionths + 5) / 10)
}

fn weekday(text: &str) -> Option<usize> {
    let position = |names: &[&str]| names.iter().position(|name| name.eq_ignore_ascii_case(text));
    position(&DAYS).or_else(|| position(&LONG_DAYS))
}

fn weekdays(text: &str) -> Option<u8> {
    let mut days = 0;
    for part in text.strip_suffix(',').unwrap_or(text).split(',') {
        let (first, last) = part.split_once("..").or_else(|| part.split_once('-')).unwrap_or((part, part));
        let (first, last) = (weekday(first)?, weekday(last)?);
        if first > last {
            return None;
        }
        days |= (first..=last).fold(0, |days, day| days | 1 << day);
    }
    Some(days)
}

fn cron(minute: &str, hour: &str, day: &str, month: &str, weekday: &str) -> Result<Spec, Refusal> {
    let days = cron_days(weekday).ok_or(None)?;
    if days != EVERY_DAY && !day.starts_with('*') {
        return Err(Some("cron runs on either of two days, systemd on both: write two calendar expressions".into()));
    }
    Ok(Spec {
        days,
        year: Vec::new(),
        month: cron_field(month, 1, 12, &MONTHS).ok_or(None)?,
        day: cron_field(day, 1, 31, &[]).ok_or(None)?,
        from_end: false,
        hour: cron_field(hour, 0, 23, &[]).ok_or(None)?,
        minute: cron_field(minute, 0, 59, &[]).ok_or(None)?,
        second: vec![Part { start: 0, stop: None, step: 0 }],
    })
}

/// A field of crontab(5); `names` are those of the numbers from `from` on.
fn cron_field(text: &str, from: u64, to: u64, names: &[&str]) -> Option<Field> {
    let number = |text: &str| {
        let named = names.iter().position(|name| name.eq_ignore_ascii_case(text));
        named.map(|at| at as u64 + from).or_else(|| text.parse().ok())
    };
    let mut parts = Vec::new();
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<u64>().ok()?),
            None => (part, 0),
        };
        let (start, stop) = match (range, range.split_once('-')) {
            ("*", _) if step < 2 => return Some(Vec::new()),
            ("*", _) => (from, None),
            (_, Some((start, stop))) => (number(start)?, Some(number(stop)?)),
            // A lone number with a step runs on to the end, as in systemd.
            _ => (number(range)?, None),
        };
        let step = if step > to - from { to - from } else { step };
        parts.push(Part { start, stop, step }.checked(from, to, part.contains('/'))?);
    }
    parts.sort_unstable();
    parts.dedup();
    Some(parts)
}

/// The days of a cron week, in which Sunday is 0 and 7.
fn cron_days(text: &str) -> Option<u8> {
    let names: Vec<&str> = DAYS.iter().cycle().skip(6).take(8).copied().collect();
    let field = cron_field(text, 0, 7, &names)?;
    if field.is_empty() {
        return Some(EVERY_DAY);
    }
    let mut days = 0;
    for Part { start, stop, step } in field {
        let last = if step > 0 { stop.unwrap_or(6) } else { stop.unwrap_or(start) };
        let each = (start..=last).step_by(usize::try_from(step.max(1)).ok()?);
        // Monday is the first bit.
        days |= each.fold(0, |days, day| days | 1 << ((day + 6) % 7));
    }
    Some(days)
}

impl std::fmt::Display for Spec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.days != EVERY_DAY {
            write!(f, "{} ", shown_days(self.days))?;
        }
        let number = |number: u64| format!("{number:02}");
        let seconds = |number: u64| match number % SECOND {
            0 => format!("{:02}", number / SECOND),
            rest => format!("{:02}.{rest:06}", number / SECOND),
        };
        let (year, month, day) = (shown(&self.year, number), shown(&self.month, number), shown(&self.day, number));
        let (hour, minute, second) =
            (shown(&self.hour, number), shown(&self.minute, number), shown(&self.second, seconds));
        let before_day = if self.from_end { '~' } else { '-' };
        write!(f, "{year}-{month}{before_day}{day} {hour}:{minute}:{second}")
    }
}

fn shown(field: &Field, number: impl Fn(u64) -> String) -> String {
    let mut text = String::new();
    for Part { start, stop, step } in field {
        let comma = if text.is_empty() { "" } else { "," };
        let stop = stop.map_or(String::new(), |stop| format!("..{}", number(stop)));
        // Writing to a text cannot fail.
        let _ = write!(text, "{comma}{}{stop}", number(*start));
        if *step > 0 {
            let step = number(*step);
            let _ = write!(text, "/{}", step.strip_prefix('0').filter(|rest| !rest.is_empty()).unwrap_or(&step));
        }
    }
    if text.is_empty() { "*".to_owned() } else { text }
}

/// Three days in a row or more are written as a range.
fn shown_days(days: u8) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for day in (0..7).filter(|day| days & 1 << day != 0) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == day => *last = day,
            _ => runs.push((day, day)),
        }
    }
    let name = |day: usize| DAYS.get(day).copied().unwrap_or_default();
    let runs = runs.into_iter().map(|(first, last)| match last - first {
        0 => name(first).to_owned(),
        1 => format!("{},{}", name(first), name(last)),
        _ => format!("{}..{}", name(first), name(last)),
    });
    runs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
#[path = "calendar_tests.rs"]
mod tests;
