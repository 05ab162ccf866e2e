//! The machine's side of what is checked over HTTPS: which certificate a service was given, and events that only who
//! holds the secret can sign.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::{Machine, Trouble};
use crate::client::{Offer, Session, Talk, told};
use crate::disk;
use crate::guest::webhook::{CHECK, forge, sign};
use crate::name::GuestPath;
use crate::probe::{Answer, Delivered, Request, Scheme, SigningScheme};
use crate::secrets::Secret;

/// The longest file of certificates, in bytes, and how many of them are told.
const FILE: u64 = 256 << 10;
const CHAIN: usize = 10;
/// The longest secret, in bytes.
const SECRET: u64 = 4 << 10;

/// How long all deliveries together may take.
const TIME: Duration = Duration::from_secs(20);

/// The status of who has asked too often, and how long is waited before it is asked again.
const TOO_OFTEN: u16 = 429;
const WAIT: Duration = Duration::from_secs(1);

/// How long ago the stale event was signed: longer than any window that the dispatcher can be given.
const STALE: u64 = 2 * 24 * 60 * 60;

/// Reads certificates in PEM; whatever else is in the file, such as a key, is passed over.
pub fn certificate(machine: &Machine, path: &GuestPath) -> Result<Answer, Trouble> {
    let pem = disk::read_start(machine.inside(path), FILE)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).take(CHAIN).collect();
    let chain = chain.map_err(|error| format!("{path} holds no certificates in PEM: {error}"))?;
    if chain.is_empty() {
        return Err(format!("{path} holds no certificate in PEM").into());
    }
    Ok(Answer::Certificate { chain: chain.iter().map(|der| BASE64_STANDARD.encode(der)).collect() })
}

/// Signs an event and delivers it twice, and one that is stale where the scheme signs a time. The events are of a type
/// that only handlers get that name it, and their ids say where they are from.
pub fn deliver(
    machine: &Machine,
    port: u16,
    request: &Request,
    secret: &str,
    scheme: SigningScheme,
) -> Result<Answer, Trouble> {
    let path: GuestPath = format!("/run/secrets/{secret}").parse().map_err(|error| format!("{error}"))?;
    let path = machine.inside(&path);
    let secret = disk::context("read", &path, Secret::read(disk::open(&path)?, SECRET))?;
    let (now, body) = (now()?, body());
    let signed = |id: &str, time: u64| -> Result<Request, Trouble> {
        let headers =
            sign(&secret, scheme, id, time, &body).map_err(|error| format!("the secret is no key: {error}"))?;
        Ok(Request { body: body.clone(), ..request.clone() }.with(headers))
    };
    let id = format!("rave-check-{}", now.as_nanos());
    let new = signed(&id, now.as_secs())?;
    let stale = match scheme {
        SigningScheme::Standard => Some(signed(&format!("{id}-stale"), now.as_secs().saturating_sub(STALE))?),
        SigningScheme::Github => None,
    };
    let time = machine.within(TIME);
    Ok(send(port, &new, stale.as_ref(), time).map_or_else(|reason| Answer::Silence { reason }, Answer::Delivered))
}

/// Signs an event with a made-up secret and delivers it, once by each scheme alone: of several the dispatcher would look
/// at the first only.
pub fn forged(machine: &Machine, port: u16, request: &Request, schemes: &BTreeSet<Scheme>) -> Result<Answer, Trouble> {
    let (now, body) = (now()?, body());
    let id = format!("rave-check-forged-{}", now.as_nanos());
    let mut requests = Vec::new();
    for scheme in schemes {
        let headers =
            forge(*scheme, &id, now.as_secs(), &body).map_err(|error| format!("nothing can be forged: {error}"))?;
        requests.push((*scheme, Request { body: body.clone(), ..request.clone() }.with(headers)));
    }
    let time = machine.within(TIME);
    let ask = || -> Result<BTreeMap<Scheme, u16>, String> {
        let mut door = Door::new(port, &request.host, time);
        requests.iter().map(|(scheme, request)| Ok((*scheme, door.status(request)?))).collect()
    };
    Ok(ask().map_or_else(|reason| Answer::Silence { reason }, |statuses| Answer::Forged { statuses }))
}

fn now() -> Result<Duration, Trouble> {
    SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| "the clock is before 1970".to_owned().into())
}

/// An event that no handler takes in that does not name its type.
fn body() -> String {
    format!("{{\"type\":\"{CHECK}\"}}")
}

/// The front door of the machine, and how long it may take there. Earlier checks and others may have used up what one
/// address may ask: who is told to wait does so and asks again, as long as there is time.
struct Door<'a> {
    port: u16,
    host: &'a str,
    until: Instant,
    session: Option<Session>,
}

impl<'a> Door<'a> {
    fn new(port: u16, host: &'a str, time: Duration) -> Self {
        Self { port, host, until: Instant::now() + time, session: None }
    }

    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    fn status(&mut self, request: &Request) -> Result<u16, String> {
        loop {
            let mut session = match self.session.take() {
                Some(session) => session,
                None => session(self.port, self.host, self.left())?,
            };
            let status = session.ask(request)?.status;
            // To wait, and to ask then.
            if status != TOO_OFTEN || self.left() <= 2 * WAIT {
                self.session = Some(session);
                return Ok(status);
            }
            // The server may close it meanwhile.
            drop(session);
            std::thread::sleep(WAIT);
        }
    }
}

fn session(port: u16, host: &str, time: Duration) -> Result<Session, String> {
    let talk = Talk::tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), time).map_err(told)?;
    Session::start(talk, host, Offer::All).map_err(|error| error.to_string())
}

fn send(port: u16, new: &Request, stale: Option<&Request>, time: Duration) -> Result<Delivered, String> {
    let mut door = Door::new(port, &new.host, time);
    let mut status = |request| door.status(request);
    Ok(Delivered { new: status(new)?, again: status(new)?, stale: stale.map(&mut status).transpose()? })
}

#[cfg(test)]
#[path = "https_tests.rs"]
mod tests;
