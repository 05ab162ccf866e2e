//! The cleartext signature framework (RFC 9580, section 7), read strictly: one message, nothing around it.

/// The parts of a cleartext-signed message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// Exactly the text that the signatures cover: without dash escapes and trailing white space, lines
    /// ended by CR LF except the last.
    pub signed: String,
    /// The armored signatures.
    pub armor: &'a str,
}

/// Why a text is not a cleartext-signed message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// It does not begin as one, as an error page of a mirror does not.
    #[error("it is not an OpenPGP signed message")]
    NoBegin,
    /// An armor header other than `Hash` stands in it, or the blank line after the headers is missing.
    #[error("line {0} is not a header of a signed message")]
    Header(usize),
    /// A line begins with a dash that is not escaped.
    #[error("line {0} begins with a dash that is not escaped")]
    Dash(usize),
    /// It ends before its signature does.
    #[error("its signature is missing or cut off")]
    NoEnd,
    /// Bytes follow the signature.
    #[error("text stands outside the signed part, after line {0}")]
    Outside(usize),
}

const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";
const END: &str = "-----END PGP SIGNATURE-----";

/// Splits a message. Nothing may stand before, between or after its parts.
pub fn split(text: &str) -> Result<Message<'_>, NotSigned> {
    let mut lines = Lines { text, at: 0, number: 0 };
    if lines.next() != Some(BEGIN) {
        return Err(NotSigned::NoBegin);
    }
    loop {
        match lines.next() {
            None => return Err(NotSigned::NoEnd),
            Some("") => break,
            Some(header) if header.starts_with("Hash: ") => {}
            Some(_) => return Err(NotSigned::Header(lines.number)),
        }
    }
    let (signed, start) = body(&mut lines)?;
    while lines.next().ok_or(NotSigned::NoEnd)? != END {}
    let end = lines.at;
    let last = lines.number;
    match lines.find(|line| !line.is_empty()) {
        None => Ok(Message { signed, armor: &text[start..end] }),
        Some(_) => Err(NotSigned::Outside(last)),
    }
}

/// The signed text, and where the armor begins.
fn body(lines: &mut Lines) -> Result<(String, usize), NotSigned> {
    let mut signed = String::new();
    loop {
        let start = lines.at;
        let line = lines.next().ok_or(NotSigned::NoEnd)?;
        let content = match line.strip_prefix("- ") {
            Some(content) => content,
            None if line == SIGNATURE => {
                // The line break before the armor is not a part of the text.
                let length = signed.len().saturating_sub("\r\n".len());
                signed.truncate(length);
                return Ok((signed, start));
            }
            None if line.starts_with('-') => return Err(NotSigned::Dash(lines.number)),
            None => line,
        };
        signed.push_str(content.trim_end_matches([' ', '\t', '\r']));
        signed.push_str("\r\n");
    }
}

/// Lines without their LF or CR LF, counted from 1.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    number: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let (line, length) = rest.split_once('\n').map_or((rest, rest.len()), |(line, _)| (line, line.len() + 1));
        self.at += length;
        self.number += 1;
        Some(line.strip_suffix('\r').unwrap_or(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nSuite: x  \n- -dash\n\n-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n";

    #[test]
    fn the_signed_text_is_canonical() {
        let message = split(GOOD).unwrap();
        assert_eq!(message.signed, "Suite: x\r\n-dash\r\n");
        assert_eq!(message.armor, "-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n");
        assert_eq!(split(&GOOD.replace('\n', "\r\n")).unwrap().signed, message.signed);
        assert_eq!(split(&format!("{GOOD}\n\r\n")).unwrap(), message, "blank lines may follow");
    }

    #[test]
    fn anything_outside_is_refused() {
        let cases = [
            ("<html>not found</html>".to_owned(), NotSigned::NoBegin),
            (String::new(), NotSigned::NoBegin),
            (format!("Suite: evil\n{GOOD}"), NotSigned::NoBegin),
            (format!("\n{GOOD}"), NotSigned::NoBegin),
            (format!("{GOOD}Suite: evil\n"), NotSigned::Outside(10)),
            (format!("{GOOD}{GOOD}"), NotSigned::Outside(10)),
            (GOOD.replace("Hash: SHA512", "Suite: evil"), NotSigned::Header(2)),
            (GOOD.replace("\n\nSuite", "\nSuite"), NotSigned::Header(3)),
            (GOOD.replace("- -dash", "-dash"), NotSigned::Dash(5)),
            (GOOD.replace("-----END", "----END"), NotSigned::NoEnd),
            (GOOD.replace("-----BEGIN PGP SIGNATURE-----\n", ""), NotSigned::Dash(9)),
            (GOOD[..60].to_owned(), NotSigned::NoEnd),
        ];
        for (text, error) in cases {
            assert_eq!(split(&text), Err(error), "{text}");
        }
    }
}
