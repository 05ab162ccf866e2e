//! Who is told of alerts: a web server of this host, which machines reach at the gateway of their user network.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

/// Always the same, so that an image that names it is the same in every run; of those that no system gives away by itself.
pub const PORT: u16 = 29_093;

/// How long a sender may take for a message.
const TIME: Duration = Duration::from_secs(10);

/// Takes messages until it is dropped.
pub struct Receiver {
    heard: Arc<Mutex<Vec<Value>>>,
    over: Arc<AtomicBool>,
    serving: Option<JoinHandle<()>>,
}

impl Receiver {
    pub fn open() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).unwrap();
        let (heard, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (messages, is_over) = (Arc::clone(&heard), Arc::clone(&over));
        let serving = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                messages.lock().unwrap().extend(hear(stream.unwrap()));
            }
        });
        Self { heard, over, serving: Some(serving) }
    }

    /// The test alerts that it was told of, in order.
    pub fn tests(&self) -> Vec<Value> {
        let heard = self.heard.lock().unwrap();
        let alerts = heard.iter().flat_map(|message| message["alerts"].as_array().unwrap());
        alerts.filter(|alert| alert["labels"]["alertname"] == "RaveTest").cloned().collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Who waits for a visitor sees that only when one comes.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)));
        if let Some(serving) = self.serving.take() {
            // What has failed already is told by itself.
            assert!(serving.join().is_ok() || std::thread::panicking());
        }
    }
}

/// The message of a visitor, who is thanked; nothing of one that leaves before it is whole.
fn hear(stream: TcpStream) -> Option<Value> {
    stream.set_read_timeout(Some(TIME)).unwrap();
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    assert!(head.starts_with("POST /alerts HTTP/1.1\r\n"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    let mut body = String::new();
    stream.by_ref().take(length.parse().unwrap()).read_to_string(&mut body).ok()?;
    stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok()?;
    Some(serde_json::from_str(&body).unwrap())
}
