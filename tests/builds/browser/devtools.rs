//! A browser's developer tools (the Chrome DevTools Protocol), over a WebSocket (RFC 6455) on the loopback interface.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// One tab.
pub struct Page {
    stream: BufReader<TcpStream>,
    next: u64,
    /// What the browser told of its own accord, oldest first.
    pub events: Vec<Value>,
}

/// Sends one request and returns the answer's body.
pub fn http(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    // The browser may keep the connection: the length says where the body ends.
    while !head.ends_with("\r\n\r\n") {
        let start = head.len();
        assert!(reader.read_line(&mut head).unwrap() > 0, "{request}: {head}");
        if let Some(value) = head[start..].to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    assert!(head.contains(" 200 "), "{request}: {head}");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap()
}

impl Page {
    /// Opens a tab in the browser whose tools listen at `address`.
    pub fn open(address: &str) -> Self {
        let tab: Value = serde_json::from_str(&http(address, "PUT /json/new?about:blank")).unwrap();
        let url = tab["webSocketDebuggerUrl"].as_str().unwrap();
        let path = url.split_once(address).unwrap().1;
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: cmF2ZSBicm93c2VyIHRlcw==\r\n\r\n"
        )
        .unwrap();
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            assert!(stream.read_line(&mut line).unwrap() > 0, "the browser refuses a WebSocket");
        }
        let mut page = Self { stream, next: 0, events: Vec::new() };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        page
    }

    fn send(&mut self, text: &str) {
        let mut frame = vec![0x81];
        match text.len() {
            length @ 0..126 => frame.push(0x80 | length as u8),
            length @ 126..65_536 => frame.extend([&[0x80 | 126][..], &(length as u16).to_be_bytes()].concat()),
            length => frame.extend([&[0x80 | 127][..], &(length as u64).to_be_bytes()].concat()),
        }
        // A mask of zeros changes nothing and is a mask.
        frame.extend([0; 4]);
        frame.extend(text.bytes());
        self.stream.get_mut().write_all(&frame).unwrap();
    }

    fn receive(&mut self) -> Value {
        let mut text = Vec::new();
        loop {
            let mut head = [0; 2];
            self.stream.read_exact(&mut head).unwrap();
            let mut length = u64::from(head[1] & 0x7f);
            if length >= 126 {
                let mut bytes = [0; 8];
                let count = if length == 126 { 2 } else { 8 };
                self.stream.read_exact(&mut bytes[8 - count..]).unwrap();
                length = u64::from_be_bytes(bytes);
            }
            let start = text.len();
            text.resize(start + usize::try_from(length).unwrap(), 0);
            self.stream.read_exact(&mut text[start..]).unwrap();
            match head[0] & 0x0f {
                0 | 1 if head[0] & 0x80 != 0 => return serde_json::from_slice(&text).unwrap(),
                0 | 1 => {}
                8 => panic!("the browser closed the connection"),
                _ => text.truncate(start),
            }
        }
    }

    /// Calls a method of the protocol.
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.next += 1;
        self.send(&json!({ "id": self.next, "method": method, "params": parameters }).to_string());
        loop {
            let mut message = self.receive();
            if message["id"] == self.next {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].take();
            }
            self.events.push(message);
        }
    }

    /// The value of an expression, after its promise if it is one.
    pub fn eval(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut result = self.call("Runtime.evaluate", parameters);
        assert!(result.get("exceptionDetails").is_none(), "{expression}: {result}");
        result["result"]["value"].take()
    }

    /// Waits until an expression is true.
    pub fn wait(&mut self, expression: &str, time: Duration) {
        let end = Instant::now() + time;
        while self.eval(expression) != json!(true) {
            let page = if Instant::now() < end { Value::Null } else { self.eval("document.body.innerText") };
            assert!(page.is_null(), "after {time:?} it still does not hold that {expression}; the page says:\n{page}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Goes to an address and waits until the page is loaded.
    pub fn go(&mut self, url: &str) {
        let told = self.call("Page.navigate", json!({ "url": url }));
        assert!(told.get("errorText").is_none(), "{url}: {told}");
        self.wait("document.readyState === 'complete'", Duration::from_secs(30));
    }

    /// A picture of the whole page, as PNG.
    pub fn picture(&mut self) -> Vec<u8> {
        use base64::Engine as _;
        let told = self.call("Page.captureScreenshot", json!({ "captureBeyondViewport": true }));
        base64::engine::general_purpose::STANDARD.decode(told["data"].as_str().unwrap()).unwrap()
    }

    /// The viewport in CSS pixels.
    pub fn size(&mut self, width: u32, height: u32, phone: bool) {
        let scale = if phone { 2 } else { 1 };
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": phone });
        self.call("Emulation.setDeviceMetricsOverride", size);
        // They would take away from the width, and a picture of the whole page has no room for them.
        self.call("Emulation.setScrollbarsHidden", json!({ "hidden": true }));
    }

    /// What the user wishes: `dark` or `light`.
    pub fn wish(&mut self, scheme: &str) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", features);
    }

    /// What went wrong since the last call: exceptions, errors and warnings on the console, refusals of the policy.
    pub fn complaints(&mut self) -> Vec<Value> {
        let wrong = |event: &Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => {
                ["error", "warning", "assert"].iter().any(|t| event["params"]["type"] == *t)
            }
            Some("Log.entryAdded") => event["params"]["entry"]["level"] != "verbose",
            _ => false,
        };
        let (complaints, rest) = std::mem::take(&mut self.events).into_iter().partition(wrong);
        self.events = rest;
        complaints
    }

    /// All addresses that were asked for.
    pub fn requested(&self) -> Vec<String> {
        let asked = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        asked.map(|event| event["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    }
}
