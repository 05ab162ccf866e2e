//! A server of this host, which machines reach at the gateway of their user network.

use std::io::BufRead;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a visitor may take for what it says.
const TIME: Duration = Duration::from_secs(10);

/// Serves one visitor after the other until it is dropped.
pub struct Door {
    port: u16,
    over: Arc<AtomicBool>,
    serving: Option<JoinHandle<()>>,
}

impl Door {
    /// Opens this port, or any if it is 0.
    pub fn open(port: u16, mut serve: impl FnMut(TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let serving = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(TIME)).unwrap();
                serve(stream);
            }
        });
        Self { port, over, serving: Some(serving) }
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Who waits for a visitor sees that only when one comes.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        if let Some(serving) = self.serving.take() {
            // What has failed already is told by itself.
            assert!(serving.join().is_ok() || std::thread::panicking());
        }
    }
}

/// The head of a request; nothing of a visitor that leaves before it is whole.
pub fn head(stream: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head)
}
