//! As much of HTTP/1.1 (RFC 9112) as a metadata service needs. Whatever is unusual is refused.

/// The longest head of a request and the longest body, in bytes, and the most headers.
const HEAD: usize = 16 * 1024;
const BODY: usize = 64 * 1024;
const HEADERS: usize = 64;

/// A whole request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path, as it was sent, without the query.
    pub path: String,
    /// The query without its question mark.
    pub query: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// What some bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a request.
    More,
    /// No request that is served; the status says why.
    Refused(u16),
    /// A request.
    Request(Request),
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Headers besides those of every response.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a header, whose name is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter in the query, as it was sent.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let pairs = self.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The parts of the path between slashes, without empty ones.
    pub fn parts(&self) -> Vec<&str> {
        self.path.split('/').filter(|part| !part.is_empty()).collect()
    }
}

impl Response {
    /// A response without more.
    pub fn status(status: u16) -> Self {
        Self::of("text/plain", format!("{status} {}\n", reason(status))).with_status(status)
    }

    /// A response of some type.
    pub fn of(kind: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: vec![("Content-Type", kind.to_owned())], body: body.into() }
    }

    /// A response in plain text.
    pub fn text(body: impl Into<Vec<u8>>) -> Self {
        Self::of("text/plain", body)
    }

    /// A response in JSON.
    pub fn json(value: &serde_json::Value) -> Self {
        Self::of("application/json", value.to_string())
    }

    /// The same with another status.
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The same with one more header. Values are ours, without line breaks.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// As it is sent. The connection ends with it.
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\nConnection: close\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", self.body.len()));
        [head.as_bytes(), &self.body].concat()
    }
}

/// What some bytes are. Never looks at more than the longest request.
pub fn parse(bytes: &[u8]) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let beginning = bytes.get(..HEAD).unwrap_or(bytes);
    let length = match head.parse(beginning) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD => return Parsed::More,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => return Parsed::Refused(431),
        Err(_) => return Parsed::Refused(400),
    };
    let (Some(method), Some(target), Some(1)) = (head.method, head.path, head.version) else {
        return Parsed::Refused(if head.version == Some(0) { 505 } else { 400 });
    };
    let mut known = Vec::new();
    for header in head.headers.iter() {
        let Ok(value) = std::str::from_utf8(header.value) else { return Parsed::Refused(400) };
        known.push((header.name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let values =
        |name: &str| known.iter().filter(|(known, _)| known == name).map(|(_, v)| v.clone()).collect::<Vec<_>>();
    if !values("transfer-encoding").is_empty() {
        return Parsed::Refused(501);
    }
    // A length is digits, said once (RFC 9112, 6.3).
    let size = match values("content-length").as_slice() {
        [] => 0,
        [digits] if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().unwrap_or(usize::MAX)
        }
        _ => return Parsed::Refused(400),
    };
    if size > BODY {
        return Parsed::Refused(413);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if !path.starts_with('/') {
        return Parsed::Refused(400);
    }
    let Some(body) = bytes.get(length..length + size) else { return Parsed::More };
    Parsed::Request(Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: known,
        body: body.to_vec(),
    })
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}
