//! TLS from the side of a client that wants to see what a server shows before it thinks anything of it: whether the
//! certificate is a good one is for whoever gets the report. That the server holds its key is proved in every handshake.

use std::io::{self, BufReader, Read as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use super::{Talk, reply, told};
use crate::probe::{HttpReply, Request, TlsReport};

/// The longest chain that is reported, and the longest certificate in it, in bytes.
const CHAIN: usize = 10;
const CERTIFICATE: usize = 64 << 10;

/// The most blanks that are sent, and how many of them at once.
const BLANKS_MAX: u64 = 64 << 20;
const BLANKS: [u8; 16 << 10] = [b' '; 16 << 10];

/// The versions of TLS that a client offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// TLS 1.3 and 1.2.
    All,
    /// The same, with HTTP/2 and HTTP/1.1: for whoever only looks, as no more than the latter is spoken here.
    Http2,
    /// TLS 1.2 and nothing newer.
    Older,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The connection broke, or nothing came in time.
    #[error("the connection broke during the TLS handshake: {}", told(io::Error::from(.0.kind())))]
    Connection(io::Error),
    /// The server refused, and said why.
    #[error("the server refused: TLS alert {0:?}")]
    Alert(AlertDescription),
    /// It does not speak TLS as it should.
    #[error("the TLS handshake failed: {0}")]
    Tls(rustls::Error),
    /// The name cannot stand in a handshake.
    #[error("{0:?} is no name of a server")]
    Name(String),
}

/// A connection on which TLS has been agreed.
#[derive(Debug)]
pub struct Session {
    stream: BufReader<StreamOwned<ClientConnection, Talk>>,
}

impl Session {
    /// Agrees on TLS with whoever answers, for the server called `name`.
    pub fn start(talk: Talk, name: &str, offer: Offer) -> Result<Self, HandshakeError> {
        let provider = Arc::new(ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let versions: &[_] = if offer == Offer::Older { &[&TLS12] } else { &[&TLS13, &TLS12] };
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions);
        let config = config.map_err(HandshakeError::Tls)?.dangerous();
        let mut config =
            config.with_custom_certificate_verifier(Arc::new(Witness { algorithms })).with_no_client_auth();
        if offer == Offer::Http2 {
            config.alpn_protocols = ["h2", "http/1.1"].map(Vec::from).into();
        }
        let server = ServerName::try_from(name.to_owned()).map_err(|_| HandshakeError::Name(name.to_owned()))?;
        let mut connection = ClientConnection::new(Arc::new(config), server).map_err(HandshakeError::Tls)?;
        let mut talk = talk;
        while connection.is_handshaking() {
            let (read, _) = connection.complete_io(&mut talk).map_err(failed)?;
            if read == 0 && connection.is_handshaking() {
                return Err(HandshakeError::Connection(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Ok(Self { stream: BufReader::new(StreamOwned::new(connection, talk)) })
    }

    /// What was agreed on, and what the server has shown.
    pub fn report(&self) -> TlsReport {
        let connection = &self.stream.get_ref().conn;
        let chain = connection.peer_certificates().unwrap_or_default().iter().take(CHAIN);
        TlsReport {
            version: connection.protocol_version().map_or_else(String::new, |version| format!("{version:?}")),
            cipher: connection
                .negotiated_cipher_suite()
                .map_or_else(String::new, |suite| format!("{:?}", suite.suite())),
            group: connection
                .negotiated_key_exchange_group()
                .map_or_else(String::new, |group| format!("{:?}", group.name())),
            protocol: connection
                .alpn_protocol()
                .map_or_else(String::new, |name| String::from_utf8_lossy(name).into_owned()),
            chain: chain.filter(|der| der.len() <= CERTIFICATE).map(|der| BASE64_STANDARD.encode(der)).collect(),
        }
    }

    /// Sends a request and reads the response; afterwards the next one may be sent, unless the server closes.
    ///
    /// # Errors
    /// What happened instead, for people.
    pub fn ask(&mut self, request: &Request) -> Result<HttpReply, String> {
        let blanks = request.blanks.min(BLANKS_MAX);
        let length = request.body.len() as u64 + blanks;
        let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.path);
        let own = [("host", request.host.as_str()), ("user-agent", "rave"), ("accept", "*/*")];
        let own = own.into_iter().filter(|(name, _)| !request.headers.contains_key(*name));
        let given = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in own.chain(given) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if request.method != "GET" {
            head.push_str(&format!("content-length: {length}\r\n"));
        }
        head.push_str("\r\n");
        head.push_str(&request.body);
        self.stream.get_mut().write_all(head.as_bytes()).map_err(told)?;
        self.blanks(blanks);
        reply(&mut self.stream)
    }

    /// Sends a part of a request.
    ///
    /// # Errors
    /// The server has ended the connection, or it broke.
    pub fn send(&mut self, part: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(part)
    }

    /// Waits for so long, whatever the server says meanwhile.
    ///
    /// # Errors
    /// The server has ended the connection, or it broke.
    pub fn wait(&mut self, time: Duration) -> io::Result<()> {
        let whole = self.stream.get_ref().sock.deadline;
        self.stream.get_mut().sock.deadline = whole.min(Instant::now() + time);
        let mut said = [0; 1024];
        let waited = loop {
            match self.stream.read(&mut said) {
                Ok(0) => break Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => break Ok(()),
                    _ => break Err(error),
                },
            }
        };
        self.stream.get_mut().sock.deadline = whole;
        waited
    }

    /// Sends blanks. A server that does not want it may answer and close before all of it is written, so
    /// that what counts is the answer.
    fn blanks(&mut self, length: u64) {
        let mut left = usize::try_from(length).unwrap_or(usize::MAX);
        while left > 0 {
            let part = BLANKS.get(..left.min(BLANKS.len())).unwrap_or_default();
            if self.stream.get_mut().write_all(part).is_err() {
                return;
            }
            left -= part.len();
        }
    }
}

/// rustls' errors come out of reads and writes inside of those of the connection.
fn failed(error: io::Error) -> HandshakeError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => HandshakeError::Alert(*alert),
        Some(inner) => HandshakeError::Tls(inner.clone()),
        None => HandshakeError::Connection(error),
    }
}

/// Takes every certificate for what it is, and only proofs that the server holds the key of the one it shows.
#[derive(Debug)]
struct Witness {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // What is wrong with it is what the caller wants to tell.
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
