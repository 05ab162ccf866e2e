//! What the dispatcher and the unit of a handler say to each other over a Unix socket: one line of JSON about the event
//! and its body, and back one line with an exit status. A body that is cut is never taken for a whole one.

use std::io::{self, BufRead, Read as _};

use serde::{Deserialize, Serialize};

/// The longest first line, in bytes: names are a few hundred, but JSON may write a letter as six.
const HEAD: u64 = 16 << 10;
/// The largest body that is taken, in bytes.
const BODY: u64 = 256 << 20;
/// The longest answer, in bytes.
pub const ANSWER: u64 = 16;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Who sent the event.
    pub source: String,
    /// The sender's id of the delivery.
    pub delivery: String,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it was accepted (RFC 3339).
    pub received: String,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Bytes of the body, which follows.
    pub length: u64,
}

/// Writes the first line.
pub fn head(head: &Head) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(head)?;
    line.push(b'\n');
    Ok(line)
}

/// Reads all of it: the other side closes its half when it has said everything.
pub fn read(mut from: impl BufRead) -> io::Result<(Head, Vec<u8>)> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut line = Vec::new();
    from.by_ref().take(HEAD).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(wrong("the first line does not end"));
    }
    let head: Head = serde_json::from_slice(&line)?;
    if head.length > BODY {
        return Err(wrong("the body is too large"));
    }
    let mut body = Vec::new();
    // One byte more tells a body that is too long.
    from.take(head.length + 1).read_to_end(&mut body)?;
    if u64::try_from(body.len()).ok() != Some(head.length) {
        return Err(wrong("the body is not as long as was said"));
    }
    Ok((head, body))
}

/// The exit status that an answer says, if it says one.
pub fn status(answer: &[u8]) -> Option<u8> {
    std::str::from_utf8(answer).ok()?.strip_suffix('\n')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Head {
        Head {
            source: "default".into(),
            delivery: "id".into(),
            kind: "push".into(),
            received: "2026-11-28T04:00:00Z".into(),
            attempt: 1,
            length: 2,
        }
    }

    #[test]
    fn what_is_written_is_read_and_what_is_cut_is_refused() {
        let whole = [head(&example()).unwrap(), b"{}".to_vec()].concat();
        assert_eq!(read(&whole[..]).unwrap(), (example(), b"{}".to_vec()));
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).is_err(), "{end}");
        }
        assert!(read(&[&whole[..], b"x"].concat()[..]).is_err());
        let huge = head(&Head { length: u64::MAX, ..example() }).unwrap();
        assert!(read(&huge[..]).is_err());
        let endless = io::BufReader::new(io::repeat(b'a'));
        assert_eq!(read(endless).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn an_answer_is_a_status() {
        assert_eq!([&b"0\n"[..], b"3\n", b"255\n"].map(status), [Some(0), Some(3), Some(255)]);
        for none in [&b""[..], b"0", b"\n", b"256\n", b"-1\n", b"0\n0\n", b" 0\n", b"\xff\n"] {
            assert_eq!(status(none), None, "{none:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_fail(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = (read(&bytes[..]), status(&bytes));
        }

        #[test]
        fn any_names_come_through(source: String, delivery: String, kind: String, body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64)) {
            let length = body.len() as u64;
            let sent = Head { source, delivery, kind, length, ..example() };
            let bytes = [head(&sent).unwrap(), body.clone()].concat();
            proptest::prop_assert_eq!(read(&bytes[..]).unwrap(), (sent, body));
        }
    }
}
