//! Asks a machine over HTTPS from outside, as its users do: TLS with the project's own authority, and no other.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Certificate, Client, Method, RequestBuilder};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::lab::wait_for;

/// A machine's HTTPS port, seen from the host.
pub struct Site {
    runtime: Runtime,
    /// With a connection for each request: a server that ended an idle one would be noticed too late between two requests.
    client: Client,
    /// With connections that are used again.
    hasty: Client,
    port: u16,
}

/// What was answered.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Site {
    /// `authority` is the certificate that must have signed the machine's, PEM.
    pub fn new(port: u16, authority: &str) -> Self {
        // A second scenario in this process finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let authority = Certificate::from_pem(authority.as_bytes()).unwrap();
        let client = |idle| {
            let client = Client::builder().tls_certs_only([authority.clone()]).https_only(true).no_proxy();
            client.timeout(Duration::from_secs(60)).pool_max_idle_per_host(idle).build().unwrap()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, client: client(0), hasty: client(usize::MAX), port }
    }

    /// One request to https://localhost. A check has used up what one address may send: who is told to wait does so.
    pub fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        wait_for("a turn", || {
            let mut request = self.client.request(method.clone(), self.url(path)).body(body.to_vec());
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            Some(self.runtime.block_on(send(request)).unwrap()).filter(|reply| reply.status != 429)
        })
    }

    pub fn get(&self, path: &str) -> Reply {
        self.ask(Method::GET, path, &[], b"")
    }

    /// The statuses of many GET requests, `width` of them under way at once; 0 for a connection that was cut.
    pub fn flood(&self, path: &str, count: usize, width: usize) -> Vec<u16> {
        let url = self.url(path);
        self.runtime.block_on(async {
            let mut statuses = Vec::new();
            let mut asked = JoinSet::new();
            for number in 0..count + width {
                if number < count {
                    asked.spawn(send(self.hasty.get(&url)));
                }
                if number >= width
                    && let Some(reply) = asked.join_next().await
                {
                    statuses.push(reply.unwrap().map_or(0, |reply| reply.status));
                }
            }
            statuses
        })
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }
}

async fn send(request: RequestBuilder) -> Result<Reply, reqwest::Error> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Reply { status, headers, body: response.text().await? })
}

impl Reply {
    /// A header's value; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}
