//! Answers the probes of a machine that are asked from where a user stands: over SSH and HTTPS.
//!
//! What the SSH port says before a login is read by rave itself; logins are left to the ssh program, which proves the
//! host key. The machine is not trusted: everything it says is bounded in time and size.

pub mod brute;

mod connect;
mod https;
mod login;
mod offer;
mod own;

use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::disk;
use crate::interrupt;
use crate::probe::{Answer, Answered, Family, Probe, SshRefusal, Transport};
use crate::qemu::peer::Peer;
use crate::tool::Tool;

/// How much of a command's output is kept, in bytes.
const OUTPUT: usize = 16 * 1024;

/// How long and how often to try. A machine that just refused some logins may be silent for a while to whoever
/// tried them (sshd_config(5), `PerSourcePenalties`), and a firewall may limit new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Attempts while the machine cannot be reached; at least one is made.
    pub attempts: u32,
    /// Pause between them.
    pub pause: Duration,
    /// How long the machine may take to accept a connection and to say what it offers.
    pub offer: Duration,
    /// How long a login and its command may take, or a request over HTTPS, or a burst of them, or a scan from beside.
    pub login: Duration,
    /// How long one probe may take with all attempts and pauses; nothing: as long as its kind needs.
    pub whole: Option<Duration>,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts: 3,
            pause: Duration::from_secs(16),
            offer: Duration::from_secs(20),
            login: Duration::from_secs(90),
            whole: None,
        }
    }
}

/// A machine as it is seen from outside.
#[derive(Debug, Clone)]
pub struct Outside {
    host: String,
    port: u16,
    key: PathBuf,
    ssh: Tool,
    /// The user's own way in, if that takes the place of the key.
    own: Option<own::Own>,
    patience: Patience,
    until: Option<Instant>,
    /// Holds the file in which ssh notes the host key of the first login; later ones must show the same.
    known: Arc<tempfile::TempDir>,
    /// Where ports of the machine are reached, on `web` if that is another host.
    ports: BTreeMap<u16, u16>,
    web: Option<String>,
    /// Who scans, or what is said instead.
    scanner: Result<Scanner, Answer>,
    /// The address of this host that may come to be kept out, or what is said instead.
    stranger: Result<IpAddr, Answer>,
    /// The address of this host that connections come from, if it matters.
    from: Option<IpAddr>,
}

/// Who scans a machine.
#[derive(Debug, Clone)]
enum Scanner {
    /// A host beside it in its network.
    Beside(Arc<Peer>),
    /// This host, by connections.
    Here,
}

/// What one list of probes may still cost.
#[derive(Debug)]
struct Left {
    /// Why the SSH port is not tried any more: patience for one is patience for all.
    down: Option<String>,
    /// Times that a web server may ask to wait.
    waits: u32,
}

impl Left {
    fn new() -> Self {
        Self { down: None, waits: https::WAITS }
    }
}

impl Outside {
    /// A machine whose SSH server is at `host` and `port`, to be entered with the private key in the file `key`.
    /// `ssh` is the ssh program without arguments.
    pub fn new(host: &str, port: u16, key: &Path, ssh: Tool, patience: Patience) -> disk::Result<Self> {
        let (host, key) = (host.to_owned(), key.to_owned());
        let (until, known, ports) = (None, Arc::new(disk::temp_dir()?), BTreeMap::new());
        let scanner = Err(inapplicable("nobody is there to scan the machine"));
        let reason = "only with a machine that rave runs: elsewhere its users would be kept out".to_owned();
        let (stranger, from) = (Err(Answer::Inapplicable { reason }), None);
        Ok(Self { host, port, key, ssh, own: None, patience, until, known, ports, web: None, scanner, stranger, from })
    }

    /// The machine is entered by the user's own ssh, with its configuration and these options, instead of by a key: it
    /// is known to let `user` in.
    #[must_use]
    pub fn of_user(self, user: &str, options: Vec<String>) -> Self {
        Self { own: Some(own::Own::new(user, options)), ..self }
    }

    /// Further ports of the machine, and where each is reached, on the same host or on `web`.
    #[must_use]
    pub fn reached(self, ports: BTreeMap<u16, u16>, web: Option<String>) -> Self {
        Self { ports, web, ..self }
    }

    /// Who scans the machine; or why nobody can.
    #[must_use]
    pub fn beside(self, peer: Result<Peer, String>) -> Self {
        let scanner = peer.map(|peer| Scanner::Beside(Arc::new(peer))).map_err(Answer::unavailable);
        Self { scanner, ..self }
    }

    /// The machine is scanned from here, at the address of its SSH server, unless there is a reason not to.
    #[must_use]
    pub fn connected(self, apart: Option<String>) -> Self {
        let scanner = match apart {
            None => Ok(Scanner::Here),
            Some(reason) => Err(inapplicable(reason)),
        };
        Self { scanner, ..self }
    }

    /// From which address a stranger tries logins; or why there is none.
    #[must_use]
    pub fn strange(self, address: Result<IpAddr, String>) -> Self {
        Self { stranger: address.map_err(|reason| Answer::Inapplicable { reason }), ..self }
    }

    /// Nothing is tried any more from then on, and what is tried ends then.
    #[must_use]
    pub fn until(self, deadline: Instant) -> Self {
        Self { until: Some(deadline), ..self }
    }

    /// The same machine for one probe that begins now.
    fn limited(&self) -> Self {
        let end = self.patience.whole.map(|whole| Instant::now() + whole);
        Self { until: self.until.into_iter().chain(end).min(), ..self.clone() }
    }

    /// The time that is left, at most `time`: none once the user has interrupted.
    fn left(&self, time: Duration) -> Duration {
        if interrupt::heard() {
            return Duration::ZERO;
        }
        self.until.map_or(time, |until| until.saturating_duration_since(Instant::now()).min(time))
    }

    /// Answers probes, one answer for each, in order. Whoever is slow is so beside the others.
    pub fn answer(&self, probes: &[Probe]) -> Vec<Answered> {
        std::thread::scope(|scope| {
            let aside = |probe| {
                let slow = matches!(probe, &Probe::Slow { .. });
                slow.then(|| scope.spawn(move || self.limited().timed(probe, &mut Left::new())))
            };
            let aside: Vec<_> = probes.iter().map(aside).collect();
            let mut left = Left::new();
            let each = probes.iter().zip(aside).map(|(probe, aside)| match aside {
                Some(thread) => thread.join().unwrap_or_else(|_| Answered::unavailable("nobody could ask")),
                None => self.limited().timed(probe, &mut left),
            });
            each.collect()
        })
    }

    fn timed(&self, probe: &Probe, left: &mut Left) -> Answered {
        let started = Instant::now();
        let is_over = || self.left(self.patience.login).is_zero();
        let mut answer = match probe {
            _ if is_over() => None,
            Probe::Tls { .. }
            | Probe::TlsOlder { .. }
            | Probe::PlainHttp { .. }
            | Probe::Https { .. }
            | Probe::Slow { .. }
            | Probe::Burst { .. } => Some(self.https(probe, &mut left.waits)),
            Probe::TcpPorts { family, known } => {
                let ports: Vec<u16> = (1..=u16::MAX).collect();
                Some(self.scan(*family, Transport::Tcp, &ports, *known))
            }
            Probe::UdpPorts { family, ports, known } => {
                let ports: Vec<u16> = ports.iter().copied().collect();
                Some(self.scan(*family, Transport::Udp, &ports, *known))
            }
            Probe::BruteForce { user, tries, pardon } => Some(self.brute_force(user, *tries, pardon)),
            Probe::SshOffer | Probe::SshLogin { .. } | Probe::SshRefusal { .. } => {
                Some(self.patiently(probe, &mut left.down))
            }
            _ => Some(self.once(probe)),
        };
        // Whoever is not waited for to the end is not known to be out of reach, nor to keep nobody out.
        let is_end = |answer: &Answer| match answer {
            Answer::Unreachable { .. } => false,
            Answer::BruteForce(told) => told.kept_out && told.let_in,
            _ => true,
        };
        answer = answer.filter(|answer| is_end(answer) || !is_over());
        let answer = answer.unwrap_or_else(|| Answer::unavailable("the deadline has passed"));
        Answered { answer, ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX) }
    }

    fn scan(&self, family: Family, transport: Transport, ports: &[u16], known: Option<u16>) -> Answer {
        let until = Instant::now() + self.patience.login;
        let left = || self.left(until.saturating_duration_since(Instant::now()));
        match &self.scanner {
            Ok(Scanner::Beside(peer)) => peer.scan(family, transport, ports, known, &left),
            Ok(Scanner::Here) if transport == Transport::Tcp => self.connections(family, ports),
            Ok(Scanner::Here) => inapplicable("UDP ports are asked only from beside a machine that rave runs"),
            Err(answer) => answer.clone(),
        }
    }

    /// Connects to ports at the first address of that family. It takes as long as there is.
    fn connections(&self, family: Family, ports: &[u16]) -> Answer {
        let mut found = match (self.host.as_str(), self.port).to_socket_addrs() {
            Ok(found) => found,
            Err(error) => return Answer::unavailable(format!("{} has no address: {error}", self.host)),
        };
        let Some(certain) = found.find(|place| place.is_ipv4() == (family == Family::Ipv4)) else {
            return inapplicable(format!("{} has no address of this protocol", self.host));
        };
        if certain.ip().to_canonical().is_loopback() {
            return inapplicable(format!("{} is this host, which may pass on some ports only", certain.ip()));
        }
        let request = connect::Request { certain, ports, patience: self.patience.offer };
        connect::scan(request, &|| self.left(Duration::MAX))
    }

    fn patiently(&self, probe: &Probe, down: &mut Option<String>) -> Answer {
        if let Some(reason) = down {
            return Answer::Unreachable { reason: reason.clone() };
        }
        let mut answer = self.once(probe);
        for _ in 1..self.patience.attempts {
            if !matches!(answer, Answer::Unreachable { .. }) {
                break;
            }
            // Without the time for one more attempt, what was seen so far counts.
            let pause = self.patience.pause;
            if self.left(pause) < pause || interrupt::pause(pause) || self.left(self.patience.login).is_zero() {
                break;
            }
            answer = self.once(probe);
        }
        // Whoever was not waited for may answer the next question.
        if let Answer::Unreachable { reason } = &answer
            && !self.left(self.patience.login).is_zero()
        {
            *down = Some(reason.clone());
        }
        answer
    }

    fn once(&self, probe: &Probe) -> Answer {
        match probe {
            Probe::SshOffer => {
                let deadline = Instant::now() + self.left(self.patience.offer);
                match offer::ask(&self.host, self.port, deadline) {
                    Ok(offer) => Answer::SshOffer(offer),
                    Err(error) => Answer::Unreachable { reason: error.to_string() },
                }
            }
            Probe::SshLogin { user, command } => match &self.own {
                Some(own) => self.enter(own, user, command),
                None => self.login(user, true, command, |known, ended| {
                    let host_key = known?;
                    Ok(Answer::SshLogin { host_key, ended })
                }),
            },
            Probe::SshRefusal { user, key } => match &self.own {
                Some(own) => self.refusal(own, user, *key),
                None => self.login(user, *key, &["true".to_owned()], |_, ended| {
                    let said = format!("logged in, exit status {:?}", ended.code);
                    Ok(Answer::SshRefusal(SshRefusal { refused: false, methods: Vec::new(), said }))
                }),
            },
            Probe::HostClock => clock(),
            _ => Answer::unavailable("this has to be asked inside the machine"),
        }
    }
}

fn inapplicable(reason: impl Into<String>) -> Answer {
    Answer::Inapplicable { reason: reason.into() }
}

fn clock() -> Answer {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    match since.and_then(|since| i64::try_from(since.as_secs()).ok()) {
        Some(unix_seconds) => Answer::Clock { unix_seconds, uptime_seconds: 0 },
        None => Answer::unavailable("the clock of this host is before 1970"),
    }
}

#[cfg(test)]
mod tests;
