//! The metadata services of cloud providers, as far as cloud-init asks them: a request in, a response out. Pure: no
//! sockets, and the time comes from the caller. What a client sends may be anything; what is answered may be secret.

pub mod azure;
mod ec2;
mod gce;
mod http;
pub mod openstack;
mod tree;

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::system::Cloud;

pub use http::{Parsed, Request, Response, parse};

/// The address of all metadata services, and that of Azure's wire server.
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// Where an Azure machine says that it is ready.
pub const WIRE_SERVER: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// A machine, as its provider knows it.
#[derive(Clone)]
pub struct Instance {
    /// The provider.
    pub cloud: Cloud,
    /// The system UUID, in lower case with dashes: what a provider calls its machine by is made of it.
    pub uuid: String,
    /// The machine's name.
    pub name: String,
    /// The administrator.
    pub user: String,
    /// Who may log in as the administrator, in authorized_keys format.
    pub public_keys: Vec<String>,
    /// What cloud-init is to do. May be secret.
    pub user_data: Vec<u8>,
    /// The same from who runs the cloud, where that has any. May be secret.
    pub vendor_data: Option<String>,
    /// Hardware address of the network card.
    pub mac: [u8; 6],
    /// The address that DHCP gives.
    pub address: Ipv4Addr,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instance({} {})", self.cloud, self.name)
    }
}

impl Instance {
    /// Hexadecimal digits of the UUID.
    fn digits(&self) -> String {
        self.uuid.chars().filter(char::is_ascii_hexdigit).collect::<String>().to_ascii_lowercase()
    }

    /// The hardware address with what separates its bytes.
    fn mac(&self, separator: &str) -> String {
        self.mac.map(|byte| format!("{byte:02x}")).join(separator)
    }
}

/// What is wrong with a service that is rehearsed to be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It takes connections and never answers.
    Hang,
    /// It answers everything with 500.
    Error,
    /// It answers everything with 200 and the same page, as a captive portal does.
    Lie,
}

/// What a client gets that has sent some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The request is not whole.
    More,
    /// The bytes of a response, after which the connection ends.
    Response(Vec<u8>),
    /// Nothing ever.
    Nothing,
}

/// A provider's services.
#[derive(Debug, Clone)]
pub struct Metadata {
    instance: Instance,
    /// What tokens are signed with.
    key: Key,
    fault: Option<Fault>,
}

/// The key of a service.
#[derive(Clone)]
struct Key([u8; 32]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Metadata {
    /// The services for one machine. `key` are random bytes that nobody else knows.
    pub fn new(instance: Instance, key: [u8; 32], fault: Option<Fault>) -> Self {
        Self { instance, key: Key(key), fault }
    }

    /// Answers who has sent `received` to port 80 of `at`, `now` after the service began.
    pub fn reply(&self, at: Ipv4Addr, received: &[u8], now: Duration) -> Reply {
        if self.fault == Some(Fault::Hang) {
            return Reply::Nothing;
        }
        let response = match parse(received) {
            Parsed::More => return Reply::More,
            Parsed::Refused(status) => Response::status(status),
            Parsed::Request(request) => self.respond(at, &request, now),
        };
        Reply::Response(response.bytes())
    }

    /// The response to one request.
    pub fn respond(&self, at: Ipv4Addr, request: &Request, now: Duration) -> Response {
        match self.fault {
            Some(Fault::Error) => return Response::status(500),
            Some(Fault::Lie) => {
                return Response::of("text/html", "<html><body>Welcome! Please log in.</body></html>\n");
            }
            Some(Fault::Hang) | None => {}
        }
        let instance = &self.instance;
        match (instance.cloud, at) {
            (Cloud::Ec2, METADATA) => ec2::respond(instance, &self.key.0, request, now),
            (Cloud::Gce, METADATA) => gce::respond(instance, request),
            (Cloud::Azure, METADATA) => azure::metadata(instance, request),
            (Cloud::Azure, WIRE_SERVER) => azure::wire_server(instance, request),
            (Cloud::OpenStack, METADATA) => openstack::respond(instance, request),
            _ => Response::status(404),
        }
    }
}

#[cfg(test)]
mod tests;
