//! A mirror for tests: a real HTTP server on the loopback interface that misbehaves as it is told.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How a path answers.
#[derive(Debug, Clone)]
pub enum Reply {
    /// As a good mirror does, parts included.
    File(Vec<u8>),
    /// Whole, whatever part was asked for.
    Whole(Vec<u8>),
    /// Announces everything and closes the connection after so many bytes.
    Truncated(Vec<u8>, usize),
    /// Without a length: ends when the connection does.
    Endless(Vec<u8>),
    /// Byte by byte, with pauses.
    Slow(Vec<u8>, Duration),
    /// The head and so many bytes, then nothing.
    Hang(Vec<u8>, usize),
    /// Takes the question and says nothing.
    Silent,
    /// A web page, labelled so or not.
    Page { labelled: bool },
    /// Only a status.
    Status(u16),
    /// A part that begins elsewhere than it was asked to.
    WrongPart(Vec<u8>),
    /// Another address.
    Redirect(String),
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub path: String,
    pub from: Option<usize>,
}

#[derive(Default)]
struct State {
    /// The last reply of each path is repeated.
    replies: BTreeMap<String, Vec<Reply>>,
    asked: Vec<Asked>,
    /// Kept open for as long as the server lives.
    hanging: Vec<TcpStream>,
}

/// A running server; its threads end with the test program.
#[derive(Clone)]
pub struct Server {
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/debian", listener.local_addr().unwrap());
        let server = Self { url, state: Arc::default() };
        let accepting = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let server = accepting.clone();
                std::thread::spawn(move || server.answer(stream));
            }
        });
        server
    }

    pub fn on(&self, path: &str, replies: &[Reply]) {
        self.state.lock().unwrap().replies.insert(path.to_owned(), replies.to_vec());
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    fn answer(&self, stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let path = line.split(' ').nth(1)?.strip_prefix("/debian/")?.to_owned();
        let mut from = None;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            let header = header.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(range) = header.strip_prefix("range: bytes=") {
                from = range.trim_end_matches('-').parse().ok();
            }
        }
        let reply = {
            let mut state = self.state.lock().unwrap();
            state.asked.push(Asked { path: path.clone(), from });
            let replies = state.replies.entry(path).or_insert_with(|| vec![Reply::Status(404)]);
            if replies.len() > 1 { replies.remove(0) } else { replies[0].clone() }
        };
        self.send(stream, reply, from)
    }

    fn send(&self, mut stream: TcpStream, reply: Reply, from: Option<usize>) -> Option<()> {
        let head = |status: &str, more: &str| format!("HTTP/1.1 {status} X\r\nConnection: close\r\n{more}\r\n");
        let length = |bytes: &[u8]| format!("Content-Length: {}\r\n", bytes.len());
        let mut say = |text: String, bytes: &[u8]| {
            stream.write_all(text.as_bytes()).ok()?;
            stream.write_all(bytes).ok()
        };
        match reply {
            Reply::File(bytes) => match from {
                Some(from) if from < bytes.len() => {
                    let part = &bytes[from..];
                    let range = format!("Content-Range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len());
                    say(head("206", &(range + &length(part))), part)
                }
                Some(_) => say(head("416", "Content-Length: 0\r\n"), b""),
                None => say(head("200", &length(&bytes)), &bytes),
            },
            Reply::Whole(bytes) => say(head("200", &length(&bytes)), &bytes),
            Reply::Truncated(bytes, at) => say(head("200", &length(&bytes)), &bytes[..at]),
            Reply::Endless(bytes) => say(head("200", ""), &bytes),
            Reply::Slow(bytes, pause) => {
                say(head("200", &length(&bytes)), b"")?;
                bytes.chunks(1).try_for_each(|byte| {
                    std::thread::sleep(pause);
                    say(String::new(), byte)
                })
            }
            Reply::Hang(bytes, at) => {
                say(head("200", &length(&bytes)), &bytes[..at])?;
                self.state.lock().unwrap().hanging.push(stream);
                return Some(());
            }
            Reply::Silent => {
                self.state.lock().unwrap().hanging.push(stream);
                return Some(());
            }
            Reply::Page { labelled } => {
                let page = b"<!DOCTYPE html><p>Please log in";
                let kind = if labelled { "Content-Type: Text/HTML; charset=utf-8\r\n" } else { "" };
                say(head("200", &(kind.to_owned() + &length(page))), page)
            }
            Reply::Status(status) => say(head(&status.to_string(), "Content-Length: 4\r\n"), b"none"),
            Reply::WrongPart(bytes) => {
                let range = format!("Content-Range: bytes 0-{}/{}\r\n", bytes.len() - 1, bytes.len());
                say(head("206", &(range + &length(&bytes))), &bytes)
            }
            Reply::Redirect(url) => say(head("302", &format!("Location: {url}\r\nContent-Length: 0\r\n")), b""),
        }?;
        // Unread input would turn the close into a reset, and lose what was sent.
        stream.shutdown(std::net::Shutdown::Write).ok()?;
        stream.read_to_end(&mut Vec::new()).ok().map(drop)
    }
}

/// An address of this host at which nobody listens.
pub fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/debian", listener.local_addr().unwrap())
}
