//! A mirror on loopback, as good or bad as a test wants it. It is the proxy of all other addresses, too, so that
//! the host's own mirrors are out of reach.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use assert_cmd::Command;

/// What a mirror says to a request.
#[derive(Clone)]
pub enum Reply {
    /// The file.
    File(Vec<u8>),
    /// A status other than success.
    Status(u16),
    /// A web page where a file was asked for.
    Page,
    /// Nothing, for as long as the client waits.
    Silence,
    /// A file that ends before the length that was announced.
    Cut(Vec<u8>),
}

/// A mirror; ends when dropped.
pub struct Mirror {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Mirror {
    /// A mirror that answers by path, such as `/debian/dists/trixie/InRelease`.
    pub fn new(answer: impl Fn(&str) -> Reply + Send + 'static) -> Self {
        Self::among(502, answer)
    }

    /// The same, where all other mirrors answer with a status.
    pub fn among(others: u16, answer: impl Fn(&str) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, over) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(AtomicBool::new(false)));
        let (log, end) = (Arc::clone(&asked), Arc::clone(&over));
        let held = Mutex::default();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                // A client that hangs up is a client's right.
                let _ = serve(stream.unwrap(), others, &answer, &log, &held);
            }
        });
        Self { address, asked, over, thread: Some(thread) }
    }

    /// Its address for `RAVE_MIRROR`.
    pub fn url(&self) -> String {
        format!("http://{}/debian", self.address)
    }

    /// Makes it the first mirror of a command, and the end of the way to all others.
    pub fn serve<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let proxy = format!("http://{}", self.address);
        command.env("RAVE_MIRROR", self.url()).env("http_proxy", &proxy).env("https_proxy", &proxy)
    }

    /// Paths that were asked for here, in order.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        self.thread.take().unwrap().join().unwrap();
    }
}

fn serve(
    mut stream: TcpStream,
    others: u16,
    answer: &impl Fn(&str) -> Reply,
    log: &Mutex<Vec<String>>,
    held: &Mutex<Vec<TcpStream>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?.take(64 << 10));
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let target = first.split(' ').nth(1).unwrap_or_default();
    let reply = if target.starts_with('/') {
        log.lock().unwrap().push(target.to_owned());
        answer(target)
    } else {
        Reply::Status(others)
    };
    let (status, kind, length, body) = match reply {
        Reply::File(bytes) => (200, "application/octet-stream", bytes.len(), bytes),
        Reply::Status(status) => (status, "text/plain", 0, Vec::new()),
        Reply::Silence => {
            held.lock().unwrap().push(stream);
            return Ok(());
        }
        Reply::Page => {
            let page = b"<!DOCTYPE html><html><body>Please log in</body></html>".to_vec();
            (200, "text/html", page.len(), page)
        }
        Reply::Cut(bytes) => (200, "application/octet-stream", bytes.len() * 2, bytes),
    };
    let head = format!(
        "HTTP/1.1 {status} Whatever\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)
}
