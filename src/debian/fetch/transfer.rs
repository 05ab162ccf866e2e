//! One file from one mirror.

use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Deref;
use std::path::Path;

use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, RANGE};
use reqwest::{Response, StatusCode, Url};
use sha2::{Digest as _, Sha256};

use super::why::Why;
use super::{Fetcher, Http};
use crate::digest::Digest;
use crate::disk::{self, File};

/// What a download must be, and who watches it.
pub(super) struct Wanted<'a> {
    pub size: u64,
    pub sha256: Digest,
    /// Told how many bytes of the file are here; says whether to go on.
    pub progress: &'a dyn Fn(u64) -> bool,
}

/// A begun download: what is in the file has been hashed.
struct Begun {
    file: File,
    hash: Sha256,
    length: u64,
}

impl Fetcher {
    /// A whole file of at most `limit` bytes, in memory.
    pub(super) fn read(&self, url: Url, limit: u64) -> Result<Vec<u8>, Why> {
        let http = self.http()?;
        self.runtime.block_on(async {
            let mut response = self.request(http, url, None).await?;
            let announced = response.content_length();
            if announced.is_some_and(|bytes| bytes > limit) {
                return Err(Why::TooLarge { limit });
            }
            let mut bytes = Vec::new();
            while let Some(chunk) = self.chunk(&mut response, bytes.len() as u64, announced).await? {
                if (bytes.len() as u64).saturating_add(chunk.len() as u64) > limit {
                    return Err(Why::TooLarge { limit });
                }
                bytes.extend_from_slice(&chunk);
            }
            if is_page(&bytes) { Err(Why::Html) } else { Ok(bytes) }
        })
    }

    /// Brings the file at `partial`, which may hold the begin of it, to its end. What arrived stays there
    /// whatever happens, unless it is of no use.
    pub(super) fn download(&self, url: Url, partial: &Path, wanted: &Wanted) -> Result<(), Why> {
        let resumed = disk::metadata(partial).is_ok_and(|found| found.len() > 0);
        match self.resume(url.clone(), partial, wanted) {
            // The begin may be of another file, or may have been damaged when the machine stopped.
            Err(Why::Content { .. } | Why::Size { .. } | Why::Status(416)) if resumed => {
                disk::remove_file(partial)?;
                self.resume(url, partial, wanted)
            }
            result => result,
        }
    }

    fn resume(&self, url: Url, partial: &Path, wanted: &Wanted) -> Result<(), Why> {
        let mut begun = Begun::open(partial, wanted.size)?;
        if begun.length < wanted.size || wanted.size == 0 {
            let http = self.http()?;
            self.runtime.block_on(self.receive(http, url, partial, &mut begun, wanted))?;
        }
        let found = Digest::from_bytes(begun.hash.finalize().into());
        if found == wanted.sha256 {
            return Ok(());
        }
        disk::remove_file(partial)?;
        Err(Why::Content { expected: wanted.sha256, found })
    }

    async fn receive(
        &self,
        http: &Http,
        url: Url,
        partial: &Path,
        begun: &mut Begun,
        wanted: &Wanted<'_>,
    ) -> Result<(), Why> {
        let mut response = self.request(http, url, Some(begun.length).filter(|length| *length > 0)).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            begun.restart(partial)?;
        }
        check_size(&response, begun.length, wanted.size)?;
        loop {
            if !(wanted.progress)(begun.length) {
                return Err(Why::Stopped);
            }
            let Some(chunk) = self.chunk(&mut response, begun.length, Some(wanted.size)).await? else { break };
            if begun.length.saturating_add(chunk.len() as u64) > wanted.size {
                return Err(Why::TooLarge { limit: wanted.size });
            }
            begun.append(partial, &chunk)?;
        }
        if begun.length < wanted.size {
            return Err(Why::Truncated { got: begun.length, expected: Some(wanted.size) });
        }
        Ok(())
    }

    /// Asks for a file, from byte `from` on; returns a successful answer that is not a web page.
    async fn request(&self, http: &Http, url: Url, from: Option<u64>) -> Result<Response, Why> {
        let mut request = http.client.get(url);
        if let Some(from) = from {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        let patience = self.settings.connect.saturating_add(self.settings.stall);
        let answer = tokio::time::timeout(patience, request.send()).await;
        let response = match answer {
            Err(_) => return Err(Why::Stalled(self.settings.stall)),
            Ok(answer) => answer.map_err(|error| http.unreachable(error))?,
        };
        let status = response.status();
        if !matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
            return Err(Why::Status(status.as_u16()));
        }
        let kind = response.headers().get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        if kind.to_ascii_lowercase().starts_with(b"text/html") {
            return Err(Why::Html);
        }
        Ok(response)
    }

    /// The next bytes, or nothing at the end.
    async fn chunk(
        &self,
        response: &mut Response,
        got: u64,
        expected: Option<u64>,
    ) -> Result<Option<impl Deref<Target = [u8]> + use<>>, Why> {
        let stall = self.settings.stall;
        match tokio::time::timeout(stall, response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(_)) => Err(Why::Truncated { got, expected }),
            Err(_) => Err(Why::Stalled(stall)),
        }
    }
}

impl Begun {
    /// Opens and hashes what is there; what is longer than the file is to be is dropped.
    fn open(path: &Path, size: u64) -> disk::Result<Self> {
        let mut begun = Self { hash: Sha256::new(), length: 0, file: disk::open_rw(path)? };
        if disk::metadata(path)?.len() > size {
            begun.restart(path)?;
        } else {
            disk::context("read", path, begun.catch_up())?;
        }
        Ok(begun)
    }

    /// Hashes the rest of the file.
    fn catch_up(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let got = self.file.read(&mut buffer)?;
            if got == 0 {
                return Ok(());
            }
            self.hash.update(buffer.get(..got).unwrap_or_default());
            self.length = self.length.saturating_add(got as u64);
        }
    }

    fn restart(&mut self, path: &Path) -> disk::Result<()> {
        (self.hash, self.length) = (Sha256::new(), 0);
        disk::context("write", path, self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)).map(drop)))
    }

    fn append(&mut self, path: &Path, bytes: &[u8]) -> disk::Result<()> {
        disk::context("write", path, self.file.write_all(bytes))?;
        self.hash.update(bytes);
        self.length = self.length.saturating_add(bytes.len() as u64);
        Ok(())
    }
}

/// Whether an answer can end at the right size, and a part begins where it was asked to.
fn check_size(response: &Response, from: u64, size: u64) -> Result<(), Why> {
    let header = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let range = (response.status() == StatusCode::PARTIAL_CONTENT).then(|| header.unwrap_or_default());
    check_numbers(range, response.content_length(), from, size)
}

/// `range` is the Content-Range of a partial answer, `rest` the length of what follows, where known.
fn check_numbers(range: Option<&str>, rest: Option<u64>, from: u64, size: u64) -> Result<(), Why> {
    let wrong = |found| Err(Why::Size { expected: size, found });
    match range.map(parse_range) {
        Some(None) => return wrong(0),
        Some(Some((start, total))) if start != from || total.is_some_and(|total| total != size) => {
            return wrong(total.unwrap_or(0));
        }
        _ => {}
    }
    match rest.map(|rest| rest.saturating_add(from)) {
        Some(found) if found != size => wrong(found),
        _ => Ok(()),
    }
}

/// First byte and total size of `bytes FIRST-LAST/TOTAL` (RFC 9110, 14.4), where the total may be `*`.
fn parse_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let start = range.split_once('-')?.0.parse().ok()?;
    Some((start, if total == "*" { None } else { Some(total.parse().ok()?) }))
}

/// Whether what claims to be data is a web page.
fn is_page(bytes: &[u8]) -> bool {
    let begin: Vec<u8> = bytes.iter().skip_while(|byte| byte.is_ascii_whitespace()).take(14).copied().collect();
    let begin = begin.to_ascii_lowercase();
    begin.starts_with(b"<!doctype html") || begin.starts_with(b"<html")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_cannot_end_at_the_right_size_is_refused_at_once() {
        let good: [(Option<&str>, Option<u64>, u64); 5] = [
            (None, Some(100), 0),
            (None, None, 0),
            (Some("bytes 40-99/100"), Some(60), 40),
            (Some("bytes 40-99/*"), None, 40),
            (Some("bytes 0-99/100"), Some(100), 0),
        ];
        for (range, rest, from) in good {
            assert!(check_numbers(range, rest, from, 100).is_ok(), "{range:?} {rest:?} {from}");
        }
        let bad = [
            (None, Some(99), 0),
            (None, Some(u64::MAX), 1),
            (Some("bytes 39-98/100"), Some(60), 40),
            (Some("bytes 40-99/101"), Some(60), 40),
            (Some("bytes 40-99/100"), Some(61), 40),
            (Some("bytes 40-99"), Some(60), 40),
            (Some("bytes */100"), Some(60), 40),
            (Some("40-99/100"), Some(60), 40),
            (Some("bytes 99999999999999999999-1/100"), None, 40),
            (Some(""), None, 40),
        ];
        for (range, rest, from) in bad {
            assert!(
                matches!(check_numbers(range, rest, from, 100), Err(Why::Size { .. })),
                "{range:?} {rest:?} {from}"
            );
        }
    }

    #[test]
    fn web_pages_are_told_from_data() {
        for page in ["<!DOCTYPE html>", "\n\t <!doctype HTML PUBLIC", "<html lang=en>"] {
            assert!(is_page(page.as_bytes()), "{page}");
        }
        for data in ["", "<", "Package: html", "-----BEGIN PGP SIGNED MESSAGE-----\n<html>"] {
            assert!(!is_page(data.as_bytes()), "{data}");
        }
    }
}
