//! Servers for tests of whatever speaks to servers.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ResolvesServerCertUsingSni;
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};

/// A web server behind TLS with this chain and key, PEM. That they belong together is not looked at.
pub fn config(chain: &str, key: &str, name: &str, versions: &[&'static SupportedProtocolVersion]) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let key = ring::sign::any_supported_type(&key).unwrap();
    let mut resolver = ResolvesServerCertUsingSni::new();
    resolver.add(name, CertifiedKey::new(chain, key)).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    Arc::new(
        config.with_protocol_versions(versions).unwrap().with_no_client_auth().with_cert_resolver(Arc::new(resolver)),
    )
}

/// Serves so many connections, each until the client leaves; `answer` makes a whole response of a whole request. Gives
/// the port, and what was heard in the end.
pub fn serve(
    config: Arc<ServerConfig>,
    connections: usize,
    mut answer: impl FnMut(&str) -> String + Send + 'static,
) -> (u16, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = std::thread::spawn(move || {
        let mut heard = Vec::new();
        for _ in 0..connections {
            let (stream, _) = listener.accept().unwrap();
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = BufReader::new(StreamOwned::new(connection, stream));
            // A client that does not like what it sees leaves.
            while let Some(request) = request(&mut stream) {
                let said = answer(&request);
                heard.push(request);
                if stream.get_mut().write_all(said.as_bytes()).is_err() {
                    break;
                }
            }
            let stream = stream.get_mut();
            stream.conn.send_close_notify();
            let _ = stream.conn.complete_io(&mut stream.sock);
        }
        heard
    });
    (port, serving)
}

fn request(stream: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |text| text.parse().unwrap());
    let mut body = String::new();
    stream.take(length).read_to_string(&mut body).ok()?;
    Some(head + &body)
}
