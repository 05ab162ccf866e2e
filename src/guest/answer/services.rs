//! Talks to services inside the machine: connects, and fetches over HTTP/1.1.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use super::Machine;
use crate::client::{self, Talk, told};
use crate::probe::{Answer, HttpReply, HttpUrl, Place, Service};

/// How long one conversation may take, from the first packet to the last.
const TIME: Duration = Duration::from_secs(10);

/// How much is kept of what a service says on its own, in bytes.
const SAID: usize = 4 << 10;

/// Answers [`Probe::Http`](crate::probe::Probe::Http).
pub fn http(machine: &Machine, url: &HttpUrl) -> Answer {
    let fetch = || -> Result<HttpReply, String> {
        let mut talk = talk(machine, &url.place)?;
        let host = match &url.place {
            Place::Tcp(address) => address.to_string(),
            Place::Unix(_) => "localhost".to_owned(),
        };
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: rave\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            url.target
        );
        talk.write_all(request.as_bytes()).map_err(told)?;
        client::reply(&mut std::io::BufReader::new(talk))
    };
    fetch().map_or_else(|reason| Answer::Silence { reason }, Answer::Http)
}

/// Answers [`Probe::Connect`](crate::probe::Probe::Connect): without `listen`, that the service accepts is enough.
pub fn connect(machine: &Machine, place: &Place, send: Option<&str>, listen: bool) -> Answer {
    let talk = || -> Result<String, String> {
        let mut talk = self::talk(machine, place)?;
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
fn talk(machine: &Machine, place: &Place) -> Result<Talk, String> {
    let talk = match place {
        Place::Tcp(address) => Talk::tcp(*address, machine.within(TIME)),
        Place::Unix(path) => Talk::unix(&machine.inside(path), machine.within(TIME)),
    };
    talk.map_err(told)
}

#[cfg(test)]
#[path = "services_tests.rs"]
mod tests;
