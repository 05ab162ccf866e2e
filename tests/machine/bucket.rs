//! An object store of this host, by https: it gives what it keeps to whoever has the address that it has signed.

use std::io::{BufReader, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use rave::secrets::generate;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::door::{Door, head};

/// This host, as machines see it.
const HOST: &str = "10.0.2.2";
/// What is kept, with a signature as object stores write them.
const SIGNED: &str = "/identity.txt?X-Signature=a%2Bb%2Fc%3D&X-Expires=900";
/// The same with one that is good no more.
const ENDED: &str = "/identity.txt?X-Signature=d%2Be%2Ff%3D&X-Expires=1";

/// Gives it away until it is dropped.
pub struct Bucket {
    authority: String,
    given: Arc<AtomicUsize>,
    door: Door,
}

impl Bucket {
    /// Keeps `object`; an authority of its own vouches for it.
    pub fn open(object: Vec<u8>) -> Self {
        let now = SystemTime::now();
        let (authority, key) = (generate::authority("bucket", now).unwrap(), generate::tls_key().unwrap());
        let chain = generate::server_certificate(&[HOST.to_owned()], &key, &authority, now).unwrap();
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.expose()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = Arc::new(config.with_single_cert(chain, key).unwrap());
        let given = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&given);
        let door = Door::open(0, move |stream| {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            if give(StreamOwned::new(connection, stream), &object).is_some() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { authority: authority.certificate, given, door }
    }

    /// The certificate of the authority that vouches for it.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The address that it has signed.
    pub fn address(&self) -> String {
        format!("https://{HOST}:{}{SIGNED}", self.door.port())
    }

    /// An address that it has signed, and that has ended.
    pub fn ended(&self) -> String {
        format!("https://{HOST}:{}{ENDED}", self.door.port())
    }

    /// How often it has given what it keeps.
    pub fn given(&self) -> usize {
        self.given.load(Ordering::SeqCst)
    }
}

/// Answers a visitor; nothing if that one did not get it.
fn give(stream: StreamOwned<ServerConnection, TcpStream>, object: &[u8]) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let is_signed = head(&mut stream)?.starts_with(&format!("GET {SIGNED} HTTP/1.1\r\n"));
    let (status, body) = if is_signed { ("200 OK", object) } else { ("403 Forbidden", b"".as_slice()) };
    let said = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let stream = stream.get_mut();
    stream.write_all(&[said.as_bytes(), body].concat()).ok()?;
    stream.conn.send_close_notify();
    stream.conn.complete_io(&mut stream.sock).ok()?;
    is_signed.then_some(())
}
