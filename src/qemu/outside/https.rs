//! What a machine says over HTTPS, as any client on the network would hear it.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use rustls::AlertDescription;

use super::Outside;
use crate::client::{self, HandshakeError, Offer, Session, Talk, told};
use crate::interrupt;
use crate::probe::{Answer, Burst, HttpReply, Probe, Rate, Request};

/// How often all requests together wait because they were told to (429), and how long each time. An earlier check has
/// left a machine that lets few requests through.
pub const WAITS: u32 = 40;
const WAIT: Duration = Duration::from_secs(1);

/// Requests of a burst at most, and broken connections that it survives: a server may close one after some requests.
const BURST: u64 = 10_000;
const BROKEN: u32 = 3;

/// Bytes of a body that never comes: few enough for any server to wait for them.
const BODY: u16 = 512;

impl Outside {
    /// Answers a probe about a port that speaks TLS; `waits` is used up.
    pub(super) fn https(&self, probe: &Probe, waits: &mut u32) -> Answer {
        let (Probe::Tls { port, .. }
        | Probe::TlsOlder { port, .. }
        | Probe::PlainHttp { port, .. }
        | Probe::Https { port, .. }
        | Probe::Slow { port, .. }
        | Probe::Burst { port, .. }) = probe
        else {
            return Answer::unavailable("this is not asked over HTTPS");
        };
        let Some(address) = self.address(*port) else {
            return Answer::unavailable(format!("port {port} of the machine cannot be reached from here"));
        };
        // Under software emulation a page that nobody has asked for yet takes several seconds.
        let usual = match probe {
            Probe::Https { .. } | Probe::Slow { .. } | Probe::Burst { .. } => self.patience.login,
            _ => self.patience.offer,
        };
        let place = Place { address, time: self.left(usual) };
        match probe {
            Probe::Tls { name, .. } => tls(place, name),
            Probe::TlsOlder { name, .. } => older(place, name),
            Probe::PlainHttp { name, .. } => plain(place, name),
            Probe::Https { request, .. } => {
                let mut answer = ask(place, request);
                while matches!(&answer, Answer::Http(HttpReply { status: 429, .. })) && *waits > 0 {
                    *waits -= 1;
                    let time = self.left(usual);
                    if time.is_zero() || interrupt::pause(WAIT.min(time)) {
                        break;
                    }
                    answer = ask(Place { time, ..place }, request);
                }
                answer
            }
            Probe::Slow { name, post, seconds, .. } => {
                slow(place, name, post.as_deref(), Duration::from_secs(u64::from(*seconds)))
            }
            Probe::Burst { name, paths, limit, .. } => {
                burst(place, paths.iter().map(|path| Request::get(name, path)).collect(), *limit)
            }
            _ => Answer::unavailable("this is not asked over HTTPS"),
        }
    }

    fn address(&self, port: u16) -> Option<SocketAddr> {
        (self.web.as_ref().unwrap_or(&self.host).as_str(), *self.ports.get(&port)?).to_socket_addrs().ok()?.next()
    }
}

/// Where the machine is reached, and how long one conversation may take, from the first packet to the last.
#[derive(Debug, Clone, Copy)]
struct Place {
    address: SocketAddr,
    time: Duration,
}

fn unreachable(reason: impl std::fmt::Display) -> Answer {
    Answer::Unreachable { reason: reason.to_string() }
}

fn session(place: Place, name: &str, offer: Offer) -> Result<Session, HandshakeError> {
    let talk = Talk::tcp(place.address, place.time).map_err(HandshakeError::Connection)?;
    Session::start(talk, name, offer)
}

fn tls(place: Place, name: &str) -> Answer {
    match session(place, name, Offer::Http2) {
        Ok(session) => Answer::Tls(session.report()),
        Err(error @ HandshakeError::Connection(_)) => unreachable(error),
        Err(error) => Answer::Silence { reason: error.to_string() },
    }
}

/// Only the alert that is about versions is a refusal (RFC 8446, 6.2): with any other the server may have taken the
/// version, and not something else.
fn older(place: Place, name: &str) -> Answer {
    match session(place, name, Offer::Older) {
        Ok(session) => Answer::TlsRefusal { refused: false, said: format!("{} is spoken", session.report().version) },
        Err(HandshakeError::Alert(alert)) => {
            let refused = alert == AlertDescription::ProtocolVersion;
            Answer::TlsRefusal { refused, said: format!("TLS alert {alert:?}") }
        }
        Err(error @ HandshakeError::Tls(_)) => Answer::TlsRefusal { refused: false, said: error.to_string() },
        Err(error) => unreachable(error),
    }
}

fn plain(place: Place, name: &str) -> Answer {
    let mut talk = match Talk::tcp(place.address, place.time) {
        Ok(talk) => talk,
        Err(error) => return unreachable(told(error)),
    };
    let request = format!("GET / HTTP/1.1\r\nhost: {name}\r\nuser-agent: rave\r\nconnection: close\r\n\r\n");
    let reply = talk.write_all(request.as_bytes()).map_err(told);
    let reply = reply.and_then(|()| client::reply(&mut BufReader::new(talk)));
    reply.map_or_else(|reason| Answer::Silence { reason }, Answer::Http)
}

fn ask(place: Place, request: &Request) -> Answer {
    let request = request.clone().with([("connection", "close")]);
    match session(place, &request.host, Offer::All) {
        Ok(mut session) => session.ask(&request).map_or_else(|reason| Answer::Silence { reason }, Answer::Http),
        Err(error) => unreachable(error),
    }
}

/// Asks over one connection, as fast as answers come, until one is 429: once for each page, and then for the one that
/// came quickest. Ends early where so many were let through that there can be no limit.
fn burst(place: Place, pages: Vec<Request>, limit: Rate) -> Answer {
    let begin = Instant::now();
    let (mut served, mut broken, mut connected) = (0, 0, None);
    let (mut untried, mut quickest) = (pages.into_iter(), None::<(Duration, Request)>);
    loop {
        let ms = milliseconds(begin.elapsed());
        if served > limit.most(ms) || served >= BURST || begin.elapsed() > place.time {
            return Answer::Burst(Burst { served, ms, limited: false });
        }
        let Some(request) = untried.next().or_else(|| Some(quickest.as_ref()?.1.clone())) else {
            return Answer::unavailable("there is no page to ask for");
        };
        let mut session = match connected.take() {
            Some(session) => session,
            None => match session(place, &request.host, Offer::All) {
                Ok(session) => session,
                Err(error) => return unreachable(error),
            },
        };
        let asked = Instant::now();
        match session.ask(&request) {
            Ok(HttpReply { status: 429, .. }) => {
                return Answer::Burst(Burst { served, ms: milliseconds(begin.elapsed()), limited: true });
            }
            Ok(reply) => {
                served += 1;
                if quickest.as_ref().is_none_or(|(time, _)| asked.elapsed() < *time) {
                    quickest = Some((asked.elapsed(), request));
                }
                let closes = reply.headers.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
                // What is left of a long body would be taken for the next answer.
                connected = if closes || reply.truncated { None } else { Some(session) };
            }
            Err(reason) if broken >= BROKEN => return Answer::Silence { reason },
            // It is asked again where no other page has been answered.
            Err(_) => {
                broken += 1;
                quickest = quickest.or(Some((Duration::MAX, request)));
            }
        }
    }
}

/// Sends a header that does not end, a byte each second, or the beginning of a body and nothing more: servers have one time
/// for a whole header, but for a body only between two parts of it.
fn slow(place: Place, name: &str, post: Option<&str>, most: Duration) -> Answer {
    let end = Instant::now() + place.time;
    let mut session = match session(place, name, Offer::All) {
        Ok(session) => session,
        Err(error) => return unreachable(error),
    };
    let begin = Instant::now();
    let end = end.min(begin + most);
    let held = |ended| Answer::Held { ms: u32::try_from(begin.elapsed().as_millis()).unwrap_or(u32::MAX), ended };
    let (first, more) = match post {
        None => (format!("GET / HTTP/1.1\r\nhost: {name}\r\nx-rave-check: "), "x"),
        Some(path) => (format!("POST {path} HTTP/1.1\r\nhost: {name}\r\ncontent-length: {BODY}\r\n\r\nx"), ""),
    };
    let mut part = first.as_str();
    while session.send(part.as_bytes()).and_then(|()| session.wait(WAIT)).is_ok() {
        if Instant::now() >= end || interrupt::heard() {
            return held(false);
        }
        part = more;
    }
    held(true)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "https_tests.rs"]
mod tests;
