//! Reading archives over HTTP. The only place of this room that is asynchronous inside.
//!
//! Nothing that arrives is believed: packages are held against the size and SHA-256 of the lock, everything
//! else against what its reader knows. A mirror that hangs, stops half-way, or answers with something else
//! costs a few seconds, then the next is asked; what each of them did wrong is in the error.

mod packages;
mod transfer;
mod why;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use reqwest::Client;
use tokio::runtime::{Builder, Runtime};

use super::mirrors::{Mirror, Mirrors};
use super::{Accept, ArchiveRef, Base, FetchError, Source};
pub use packages::{DEB, Error, Gone};
pub use why::{Attempt, Attempts, Why};

/// After so many failures in a row to answer at all, a mirror is left alone while there are others.
const PATIENCE: u32 = 3;

/// How often all mirrors are asked before a file is given up, if the trouble may pass.
const ROUNDS: usize = 2;

/// How patient and how eager a [`Fetcher`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long a connection may take to be made.
    pub connect: Duration,
    /// How long a mirror may be silent.
    pub stall: Duration,
    /// How many packages are fetched at once.
    pub connections: usize,
    /// Whether the proxies that the environment names are used (`http_proxy` and its like).
    pub proxies: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), stall: Duration::from_secs(20), connections: 8, proxies: true }
    }
}

/// Reads archives from mirrors.
pub struct Fetcher {
    mirrors: Mirrors,
    settings: Settings,
    runtime: Runtime,
    /// Made when first needed: it reads all certificates of the host.
    client: OnceLock<Result<Http, String>>,
    /// Failures in a row, by mirror.
    silent: Mutex<BTreeMap<String, u32>>,
}

/// The client, and what to add when it cannot connect by TLS.
struct Http {
    client: Client,
    remark: &'static str,
}

impl Http {
    fn unreachable(&self, error: reqwest::Error) -> Why {
        let remark = if error.url().is_some_and(|url| url.scheme() == "https") { self.remark } else { "" };
        // The address stands beside it already.
        Why::Unreachable(format!("{}{remark}", why::chain(&error.without_url())))
    }
}

impl Fetcher {
    /// A reader of these mirrors. Nothing is connected to yet.
    ///
    /// # Errors
    /// [`Error::Start`] when the system gives no threads.
    pub fn new(mirrors: Mirrors, settings: Settings) -> Result<Self, Error> {
        // The calling threads drive their own transfers; this one waits for the network for all of them.
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(Error::Start)?;
        Ok(Self { mirrors, settings, runtime, client: OnceLock::new(), silent: Mutex::default() })
    }

    fn http(&self) -> Result<&Http, Why> {
        let http = self.client.get_or_init(|| connect(&self.settings));
        http.as_ref().map_err(|reason| Why::Unreachable(reason.clone()))
    }

    /// The mirrors to ask for a file, and those that are not asked because they have been silent so often.
    fn choose(&self, base: &Base) -> (Vec<Mirror>, Vec<Mirror>) {
        let silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        let gave_up = |mirror: &Mirror| silent.get(&mirror.url).is_some_and(|failures| *failures >= PATIENCE);
        let (down, up): (Vec<_>, Vec<_>) = self.mirrors.of(base).into_iter().partition(gave_up);
        if up.is_empty() { (down, up) } else { (up, down) }
    }

    fn remember(&self, mirror: &Mirror, result: Option<&Why>) {
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        if result.is_some_and(Why::is_silence) {
            let failures = silent.entry(mirror.url.clone()).or_default();
            *failures = failures.saturating_add(1);
        } else {
            silent.remove(&mirror.url);
        }
    }

    /// Asks mirrors for `path` until `ask` succeeds with one, or with none; says what each did wrong.
    fn ask_all<T>(
        &self,
        base: &Base,
        path: &str,
        mut ask: impl FnMut(reqwest::Url) -> Result<T, Why>,
    ) -> Result<T, Attempts> {
        let mut attempts = Attempts::default();
        let mut settled = BTreeSet::new();
        for _ in 0..ROUNDS {
            let (up, down) = self.choose(base);
            for mirror in &up {
                if settled.contains(&mirror.url) {
                    continue;
                }
                let why = match why::join(&mirror.url, path).ok_or(Why::Address).and_then(&mut ask) {
                    Ok(value) => {
                        self.remember(mirror, None);
                        return Ok(value);
                    }
                    Err(why) => why,
                };
                self.remember(mirror, Some(&why));
                let stop = why.is_final();
                if !why.may_pass() {
                    settled.insert(mirror.url.clone());
                }
                attempts.push(mirror, path, why);
                if stop {
                    return Err(attempts);
                }
            }
            down.iter().for_each(|mirror| attempts.push(mirror, path, Why::Skipped));
        }
        Err(attempts)
    }
}

/// A client that trusts the host's certificate authorities. A host without any can still use plain HTTP.
fn connect(settings: &Settings) -> Result<Http, String> {
    // Fails where the program has installed one already, which then is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    let builder = || {
        let agent = concat!("rave/", env!("CARGO_PKG_VERSION"));
        let builder = Client::builder().user_agent(agent).http1_only().connect_timeout(settings.connect);
        if settings.proxies { builder } else { builder.no_proxy() }
    };
    if let Ok(client) = builder().build() {
        return Ok(Http { client, remark: "" });
    }
    let client = builder().tls_certs_only([]).build().map_err(|error| why::chain(&error))?;
    Ok(Http { client, remark: " (this host has no CA certificates: https cannot work)" })
}

impl Source for Fetcher {
    fn get(&self, archive: &ArchiveRef, path: &str, limit: u64, accept: Accept) -> Result<Vec<u8>, FetchError> {
        let mut refusal = None;
        let result = self.ask_all(&archive.base, path, |url| {
            let bytes = self.read(url.clone(), limit)?;
            accept(&bytes).map_err(|error| {
                let refused = Why::Refused(why::chain(&error));
                refusal.get_or_insert((why::display(&url), error));
                refused
            })?;
            Ok(bytes)
        });
        let attempts = match result {
            Ok(bytes) => return Ok(bytes),
            Err(attempts) => attempts,
        };
        if let Some((url, error)) = refusal {
            return Err(FetchError::Refused { url, source: Box::new(error) });
        }
        let too_large = attempts.0.iter().find(|attempt| matches!(attempt.why, Why::TooLarge { .. }));
        Err(match too_large {
            Some(attempt) => FetchError::TooLarge { url: attempt.url.clone(), limit },
            None if attempts.is_gone() => FetchError::NotFound { urls: attempts.urls() },
            None => FetchError::Failed { url: attempts.last_url(path), source: Box::new(attempts) },
        })
    }
}

#[cfg(test)]
mod server;
#[cfg(test)]
mod tests;
