//! Frames on a stream, as QEMU's redirector reads and writes them: each behind its length, four bytes, the greatest first
//! (its net/filter-mirror.c).

use std::io::{self, Read, Write};

/// Longest frame that QEMU sends (its NET_BUFSIZE).
const LONGEST: usize = 4096 + 65536;
/// How much is read at a time, in bytes.
const READ: usize = 64 * 1024;
/// How much may wait until QEMU reads it, in bytes.
const WAITING: usize = 4 << 20;

/// What was read and not yet looked at.
#[derive(Debug, Default)]
pub struct Incoming {
    bytes: Vec<u8>,
    /// Where the next frame begins.
    at: usize,
}

impl Incoming {
    /// Reads what is there, without waiting; `false` at the end of the stream.
    pub fn fill(&mut self, mut stream: impl Read) -> io::Result<bool> {
        self.bytes.drain(..self.at);
        self.at = 0;
        let known = self.bytes.len();
        self.bytes.resize(known + READ, 0);
        let read = stream.read(self.bytes.get_mut(known..).unwrap_or_default());
        self.bytes.truncate(known + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Ok(false),
            Ok(_) => Ok(true),
            Err(error) if is_later(&error) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The next whole frame; an error if what is there cannot be one.
    pub fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let Some((length, rest)) = self.bytes.get(self.at..).and_then(|rest| rest.split_first_chunk()) else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let frame = rest.get(..length);
        if frame.is_some() {
            self.at += 4 + length;
        }
        Ok(frame)
    }
}

/// What waits for QEMU.
#[derive(Debug, Default)]
pub struct Outgoing {
    bytes: Vec<u8>,
    /// How much of it is written.
    at: usize,
}

impl Outgoing {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == self.at
    }

    /// Adds a frame, unless too much waits already: then it is lost, as in any network.
    pub fn push(&mut self, frame: &[u8]) {
        let Ok(length) = u32::try_from(frame.len()) else { return };
        if self.bytes.len() - self.at + frame.len() <= WAITING {
            self.bytes.extend(length.to_be_bytes());
            self.bytes.extend(frame);
        }
    }

    /// Writes as much as can be written without waiting.
    pub fn flush(&mut self, mut stream: impl Write) -> io::Result<()> {
        while let Some(left @ [_, ..]) = self.bytes.get(self.at..) {
            match stream.write(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.at += written,
                Err(error) if is_later(&error) => break,
                Err(error) => return Err(error),
            }
        }
        self.bytes.drain(..self.at);
        self.at = 0;
        Ok(())
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A stream that gives a few bytes at a time, and asks to come later in between.
    struct Slow<'a>(&'a [u8], usize, bool);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.2 = !self.2;
            if self.2 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let (now, later) = self.0.split_at(self.1.min(self.0.len()).min(into.len()));
            into[..now.len()].copy_from_slice(now);
            self.0 = later;
            Ok(now.len())
        }
    }

    #[test]
    fn frames_arrive_whole_however_they_are_cut() {
        let frames = [vec![1; 60], Vec::new(), vec![2; 1514]];
        let mut written = Vec::new();
        let mut out = Outgoing::default();
        frames.iter().for_each(|frame| out.push(frame));
        out.flush(&mut written).unwrap();
        assert!(out.is_empty());
        for size in [1, 3, 61, 5000] {
            let (mut stream, mut incoming, mut seen) = (Slow(&written, size, false), Incoming::default(), Vec::new());
            while incoming.fill(&mut stream).unwrap() {
                while let Some(frame) = incoming.next().unwrap() {
                    seen.push(frame.to_vec());
                }
            }
            assert_eq!(seen, frames, "{size}");
        }
    }

    #[test]
    fn what_nobody_reads_is_lost_and_not_kept() {
        let mut out = Outgoing::default();
        for _ in 0..10_000 {
            out.push(&[0; 1514]);
        }
        assert!((WAITING - 4000..WAITING + 20_000).contains(&out.bytes.len()), "{}", out.bytes.len());
    }

    proptest! {
        #[test]
        fn any_stream_ends(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut incoming = Incoming::default();
            let mut stream = &bytes[..];
            while incoming.fill(&mut stream).unwrap() {
                while let Ok(Some(_)) = incoming.next() {}
            }
        }
    }
}
