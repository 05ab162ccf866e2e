//! Logins of a stranger, as many as it takes to be kept out.
//!
//! QEMU's user network gives the address of its gateway to whoever connects from the loopback interface; whoever connects
//! from another address of this host keeps it. That is the stranger: nobody else comes from there.

use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use super::login::LATE;
use super::{OUTPUT, Outside, Patience};
use crate::interrupt;
use crate::probe::{Answer, BruteForce, Probe};

/// How long a machine may take to notice that it is enough, or that it is forgiven.
const NOTICE: Duration = Duration::from_secs(20);
/// Logins that may be refused while it notices.
const MORE: u16 = 10;
/// After which what was refused before its pardon has been read by whoever counts it.
const READ: Duration = Duration::from_secs(3);
/// Pause between looks at whether it has.
const LOOK: Duration = Duration::from_millis(300);
/// How long a machine may take to say that it is there: the firewall drops what comes from an address that is kept out.
const BANNER: Duration = Duration::from_secs(6);
/// How long a login may take. One that is under way when its address comes to be kept out never ends; what is looked for is
/// the next, which cannot begin.
const LOGIN: Duration = Duration::from_secs(12);
/// An address of nobody (RFC 5737), and the port at which things are discarded (RFC 863).
const NOBODY: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

/// An address of this host other than those of the loopback interface: the one from which it would reach somebody
/// elsewhere. Nothing is sent.
///
/// # Errors
/// Why there is none.
pub fn address() -> Result<IpAddr, String> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect(NOBODY)?;
        socket.local_addr()
    });
    match socket {
        Ok(local) if !local.ip().is_loopback() && !local.ip().is_unspecified() => Ok(local.ip()),
        Ok(_) => Err("this host has only a loopback address".to_owned()),
        Err(error) => Err(format!("this host has no address but that of the loopback interface: {error}")),
    }
}

impl Outside {
    pub(super) fn brute_force(&self, user: &str, tries: u16, (admin, command): &(String, Vec<String>)) -> Answer {
        let address = match &self.stranger {
            Ok(address) => *address,
            Err(answer) => return answer.clone(),
        };
        let (offer, login) = (self.patience.offer.min(BANNER), self.patience.login.min(LOGIN));
        let patience = Patience { attempts: 1, offer, login, ..self.patience };
        let stranger = match Self::new(&self.host, self.port, &self.key, self.ssh.clone(), patience) {
            Ok(stranger) => Self { until: self.until, from: Some(address), ..stranger },
            Err(error) => return Answer::unavailable(error),
        };
        let probe = Probe::SshRefusal { user: user.to_owned(), key: true };
        let pardon = || {
            let mut words = command.clone();
            words.push(address.to_string());
            match self.arguments(admin, true, &words).bounded(self.left(self.patience.login), OUTPUT) {
                Ok(ended) => String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).trim().to_owned(),
                Err(error) => error.to_string(),
            }
        };
        let mut told = BruteForce { address, refused: 0, kept_out: false, let_in: false, said: String::new() };
        let mut answer = stranger.once(&probe);
        if matches!(answer, Answer::Unreachable { .. }) {
            // An earlier check may have ended before it was let in again.
            told.said = pardon();
            answer = stranger.once(&probe);
        }
        let mut end = Instant::now() + NOTICE;
        loop {
            match answer {
                Answer::SshRefusal(refusal) if refusal.refused => {
                    told.refused = told.refused.saturating_add(1);
                    match told.refused.cmp(&tries) {
                        Ordering::Less => end = Instant::now() + NOTICE,
                        // It is about to be noticed, and then a login would hang.
                        Ordering::Equal => drop(interrupt::pause(LOOK * 6)),
                        // Soon the limit of new connections would look the same.
                        Ordering::Greater if told.refused >= tries.saturating_add(MORE) => {
                            return Answer::BruteForce(told);
                        }
                        Ordering::Greater => {}
                    }
                }
                Answer::SshRefusal(refusal) => {
                    told.said = refusal.said;
                    return Answer::BruteForce(told);
                }
                Answer::Unreachable { reason } if told.refused > 0 && reason != LATE => {
                    told.kept_out = true;
                    break;
                }
                Answer::Unreachable { .. } => {}
                other => return other,
            }
            interrupt::pause(LOOK);
            if self.left(end.saturating_duration_since(Instant::now())).is_zero() {
                return Answer::BruteForce(told);
            }
            answer = stranger.once(&probe);
        }
        told.said = pardon();
        // A good login: one more that fails would have it kept out again.
        let enter = Probe::SshLogin { user: admin.clone(), command: vec!["true".to_owned()] };
        let end = Instant::now() + NOTICE;
        while !told.let_in && !self.left(end.saturating_duration_since(Instant::now())).is_zero() {
            told.let_in = matches!(stranger.once(&enter), Answer::SshLogin { .. });
            interrupt::pause(LOOK);
        }
        // Refusals that are counted only now would have it kept out again, and with it all of this host.
        interrupt::pause(self.left(READ));
        told.said = [told.said, pardon()].join("; ");
        Answer::BruteForce(told)
    }
}
