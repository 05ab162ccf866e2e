//! Who is told of alerts: a web server of this host.

use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::door::{Door, head};

/// Always the same, so that an image that names it is the same in every run; of those that no system gives away by itself.
pub const PORT: u16 = 29_093;

/// Takes messages until it is dropped.
pub struct Receiver {
    heard: Arc<Mutex<Vec<Value>>>,
    _door: Door,
}

impl Receiver {
    pub fn open() -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let messages = Arc::clone(&heard);
        let door = Door::open(PORT, move |stream| messages.lock().unwrap().extend(hear(stream)));
        Self { heard, _door: door }
    }

    /// The test alerts that it was told of, in order.
    pub fn tests(&self) -> Vec<Value> {
        let heard = self.heard.lock().unwrap();
        let alerts = heard.iter().flat_map(|message| message["alerts"].as_array().unwrap());
        alerts.filter(|alert| alert["labels"]["alertname"] == "RaveTest").cloned().collect()
    }
}

/// The message of a visitor, who is thanked; nothing of one that leaves before it is whole.
fn hear(stream: TcpStream) -> Option<Value> {
    let mut stream = BufReader::new(stream);
    let head = head(&mut stream)?;
    assert!(head.starts_with("POST /alerts HTTP/1.1\r\n"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    let mut body = String::new();
    stream.by_ref().take(length.parse().unwrap()).read_to_string(&mut body).ok()?;
    stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok()?;
    Some(serde_json::from_str(&body).unwrap())
}
