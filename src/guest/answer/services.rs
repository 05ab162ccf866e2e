//! Talks to services inside the machine: connects, and fetches over HTTP/1.1.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use super::Machine;
use crate::client::{self, Talk, told};
use crate::probe::{Answer, HttpReply, HttpUrl, Place, Service};

/// How long one conversation may take, from the first packet to the last.
pub const TIME: Duration = Duration::from_secs(10);

/// How much is kept of what a service says on its own, in bytes.
const SAID: usize = 4 << 10;

/// Answers [`Probe::Http`](crate::probe::Probe::Http).
pub fn http(machine: &Machine, url: &HttpUrl) -> Answer {
    fetch(machine, url, None, machine.within(TIME)).map_or_else(|reason| Answer::Silence { reason }, Answer::Http)
}

/// Sends a GET request or, with a JSON document, a POST request. All of it may take as long as `time`.
pub fn fetch(machine: &Machine, url: &HttpUrl, json: Option<&str>, time: Duration) -> Result<HttpReply, String> {
    let mut talk = talk(machine, &url.place, time)?;
    let host = match &url.place {
        Place::Tcp(address) => address.to_string(),
        Place::Unix(_) => "localhost".to_owned(),
    };
    let method = if json.is_some() { "POST" } else { "GET" };
    let about = json.map_or_else(String::new, |json| {
        format!("Content-Type: application/json\r\nContent-Length: {}\r\n", json.len())
    });
    let request = format!(
        "{method} {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: rave\r\nAccept: */*\r\n{about}Connection: close\r\n\r\n{}",
        url.target,
        json.unwrap_or("")
    );
    talk.write_all(request.as_bytes()).map_err(told)?;
    client::reply(&mut std::io::BufReader::new(talk))
}

/// Answers [`Probe::Connect`](crate::probe::Probe::Connect): without `listen`, that the service accepts is enough.
pub fn connect(machine: &Machine, place: &Place, send: Option<&str>, listen: bool) -> Answer {
    let talk = || -> Result<String, String> {
        let mut talk = self::talk(machine, place, machine.within(TIME))?;
        talk.write_all(send.unwrap_or("").as_bytes()).map_err(told)?;
        let mut said = [0; SAID];
        let length = if listen { talk.read(&mut said).map_err(told)? } else { 0 };
        Ok(String::from_utf8_lossy(said.get(..length).unwrap_or_default()).into_owned())
    };
    talk().map_or_else(|reason| Answer::Silence { reason }, |said| Answer::Connected { said })
}

/// Whether a service answers as one that is ready; if not, what happened instead.
pub fn answers(machine: &Machine, service: &Service) -> Result<(), String> {
    let answer = match service {
        Service::Http(url) => http(machine, url),
        Service::Socket(place) => connect(machine, place, None, false),
    };
    match answer {
        Answer::Http(HttpReply { status: 200..=299, .. }) | Answer::Connected { .. } => Ok(()),
        Answer::Http(HttpReply { status, .. }) => Err(format!("status {status}")),
        Answer::Silence { reason } => Err(reason),
        _ => Err("an answer to another question".to_owned()),
    }
}

/// Connects to a socket as process 1 sees it.
fn talk(machine: &Machine, place: &Place, time: Duration) -> Result<Talk, String> {
    let talk = match place {
        Place::Tcp(address) => Talk::tcp(*address, time),
        Place::Unix(path) => Talk::unix(&machine.inside(path), time),
    };
    talk.map_err(told)
}

#[cfg(test)]
#[path = "services_tests.rs"]
mod tests;
