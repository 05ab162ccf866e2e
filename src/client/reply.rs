//! Reads responses of HTTP/1.1 (RFC 9112) to GET and POST requests. What a server says is cut at fixed lengths.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read as _};

use super::told;
use crate::probe::HttpReply;

/// How much is kept of a header section and of a body, in bytes.
const HEAD: u64 = 16 << 10;
const BODY: u64 = 64 << 10;

/// Reads a response.
///
/// # Errors
/// What is wrong with it, for people.
pub fn reply(reader: &mut impl BufRead) -> Result<HttpReply, String> {
    let mut budget = HEAD;
    let status = status(&line(reader, &mut budget)?)?;
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let line = line(reader, &mut budget)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| format!("{line:?} is not a header"))?;
        let joined = headers.entry(name.to_ascii_lowercase()).or_default();
        let comma = if joined.is_empty() { "" } else { ", " };
        *joined = format!("{joined}{comma}{}", value.trim());
    }
    let (bytes, truncated) = body(reader, status, &headers)?;
    Ok(HttpReply { status, headers, body: String::from_utf8_lossy(&bytes).into_owned(), truncated })
}

/// A line without its end, of at most as many bytes as are left.
fn line(reader: &mut impl BufRead, budget: &mut u64) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = reader.by_ref().take(*budget).read_until(b'\n', &mut bytes).map_err(told)?;
    *budget -= read as u64;
    match bytes.strip_suffix(b"\n") {
        Some(line) => Ok(String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned()),
        None if *budget == 0 => Err("the header section is too long".to_owned()),
        None => Err(told(io::ErrorKind::UnexpectedEof.into())),
    }
}

fn status(line: &str) -> Result<u16, String> {
    let code = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)).filter(|code| code.len() == 3);
    let code = code.and_then(|code| code.parse().ok()).filter(|code| (100..=599).contains(code));
    code.ok_or_else(|| format!("{line:?} is not a status line of HTTP/1.1"))
}

/// The beginning of the body, and whether it goes on.
fn body(reader: &mut impl BufRead, status: u16, headers: &BTreeMap<String, String>) -> Result<(Vec<u8>, bool), String> {
    if status < 200 || status == 204 || status == 304 {
        return Ok((Vec::new(), false));
    }
    if let Some(coding) = headers.get("transfer-encoding") {
        return match coding.eq_ignore_ascii_case("chunked") {
            true => chunks(reader),
            false => Err(format!("the transfer coding {coding:?} was not asked for")),
        };
    }
    let mut bytes = Vec::new();
    match headers.get("content-length").map(|text| text.parse::<u64>()) {
        Some(Err(_)) => Err("the length of the body is not a number".to_owned()),
        Some(Ok(length)) => {
            let read = reader.by_ref().take(length.min(BODY)).read_to_end(&mut bytes).map_err(told)? as u64;
            match read == length.min(BODY) {
                true => Ok((bytes, length > BODY)),
                false => Err(told(io::ErrorKind::UnexpectedEof.into())),
            }
        }
        None => {
            reader.by_ref().take(BODY + 1).read_to_end(&mut bytes).map_err(told)?;
            let truncated = bytes.len() as u64 > BODY;
            bytes.truncate(BODY as usize);
            Ok((bytes, truncated))
        }
    }
}

/// A body in chunks, each after its length (RFC 9112, 7.1).
fn chunks(reader: &mut impl BufRead) -> Result<(Vec<u8>, bool), String> {
    let mut bytes = Vec::new();
    loop {
        // A length has few digits, but extensions may follow it.
        let head = line(reader, &mut 1024)?;
        let digits = head.split(';').next().unwrap_or("").trim();
        let length = u64::from_str_radix(digits, 16).map_err(|_| format!("{head:?} is not the length of a chunk"))?;
        if length == 0 {
            // What may follow the last chunk; the next response begins behind it.
            let mut budget = HEAD;
            while !line(reader, &mut budget)?.is_empty() {}
            return Ok((bytes, false));
        }
        let keep = length.min(BODY - bytes.len() as u64);
        let read = reader.by_ref().take(keep).read_to_end(&mut bytes).map_err(told)? as u64;
        if read < keep {
            return Err(told(io::ErrorKind::UnexpectedEof.into()));
        }
        if keep < length {
            return Ok((bytes, true));
        }
        if !line(reader, &mut 64)?.is_empty() {
            return Err("a chunk is longer than it says".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<HttpReply, String> {
        reply(&mut text.as_bytes())
    }

    #[test]
    fn responses_of_every_framing_are_read() {
        let long = "x".repeat(BODY as usize + 9);
        for (text, status, body, truncated) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokrest", 200, "ok", false),
            ("HTTP/1.1 503 Not Ready\r\n\r\nno\n", 503, "no\n", false),
            ("HTTP/1.0 200 \n\nok", 200, "ok", false),
            ("HTTP/1.1 204 No Content\r\n\r\nok", 204, "", false),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n1\r\n!\r\n0\r\n\r\n",
                200,
                "ok!",
                false,
            ),
            (&format!("HTTP/1.1 200 OK\r\n\r\n{long}"), 200, &long[..BODY as usize], true),
            (&format!("HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n{long}"), 200, &long[..BODY as usize], true),
            (
                &format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFF\r\n{long}"),
                200,
                &long[..BODY as usize],
                true,
            ),
        ] {
            let reply = read(text).unwrap_or_else(|error| panic!("{error}: {:.80}", text));
            assert_eq!((reply.status, reply.body.as_str(), reply.truncated), (status, body, truncated));
        }
        let reply = read("HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a:2 \r\n\r\n").unwrap();
        assert_eq!(reply.headers, BTreeMap::from([("x-a".to_owned(), "1, 2".to_owned())]));
    }

    #[test]
    fn lies_are_no_answers() {
        for (text, reason) in [
            ("", "ends early"),
            ("SSH-2.0-OpenSSH\r\n", "not a status line"),
            ("HTTP/1.1 99 x\r\n\r\n", "not a status line"),
            ("HTTP/2 200\r\n\r\n", "not a status line"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", "ends early"),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "not a number"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "not asked for"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "length of a chunk"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nok\r\n", "longer than it says"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n", "length of a chunk"),
            ("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", "not a header"),
            (&format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(HEAD as usize)), "too long"),
            ("HTTP/1.1 200 OK\r\nX", "ends early"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(reason), "{error}: {:.80}", text);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_response_makes_it_fail(at in 0_usize..80, bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..20)) {
            let good = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n2;x\r\nok\r\n0\r\n\r\n";
            let (before, after) = good.split_at(at.min(good.len()));
            let damaged = [before, &bytes, after].concat();
            if let Ok(read) = reply(&mut &damaged[..]) {
                proptest::prop_assert!(read.body.len() <= 3 * damaged.len());
            }
        }
    }
}
