//! A network of our own between a machine's card and SLIRP: what a cloud provider has in it, such as a metadata service
//! at 169.254.169.254, is answered by rave.
//!
//! A `filter-redirector` of QEMU (qemu(1)) hands us every frame that the guest sends. What is for one of our addresses
//! is answered here, with TCP by smoltcp; all else is handed on to SLIRP, which is told to restrict itself: it forwards
//! ports of the host to the guest, and connects to nothing. So a request that we do not answer can never reach a real
//! service of that address, neither while rave lives nor after it. docs/decisions/0019 says why it is so.
//!
//! The guest may send anything. One thread looks after all, and its queues are bounded: what finds no room is lost, as
//! in any network. QEMU waits for whoever reads what it redirects, so reading never waits for writing.

mod dhcp;
mod dns;
mod host;
mod sort;
mod stream;

use std::fmt;
use std::io;
use std::net::SocketAddrV4;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use qapi::qmp;
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::qemu::args;
use crate::qemu::error::{Error, Result};
use crate::qemu::link::random_u64;
use crate::qemu::peer::socket;
use crate::qemu::provider::Network;
use crate::qemu::qmp::Qmp;

use sort::Sorter;
use stream::{Incoming, Outgoing};

/// Names of the sockets, and of their files in the machine's private directory.
const FROM_GUEST: &str = "wire-out";
const ONWARD: &str = "wire-onward";
const TO_GUEST: &str = "wire-in";
/// Names of the filters.
const SENT: &str = "wire-sent";
const RECEIVED: &str = "wire-received";

/// The longest time between two looks at what time has changed.
const TICK: Duration = Duration::from_secs(1);

/// What is said to a client once some bytes of it are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It is not all yet.
    More,
    /// This is the answer; then the connection ends.
    Answer(Vec<u8>),
    /// Nothing, however long the client waits.
    Nothing,
}

/// Whoever answers at a provider's addresses. Called from one thread; must not block.
pub trait Service: Send + Sync {
    /// Answers a client at `at` that has sent `received`, `now` after the machine's start.
    fn answer(&self, at: SocketAddrV4, received: &[u8], now: Duration) -> Said;
}

/// A service, as a machine has it.
#[derive(Clone)]
pub struct Answering(pub Arc<dyn Service>);

impl PartialEq for Answering {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Answering {}

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answering")
    }
}

/// A wire that is in place. When dropped, nobody answers any more, and what the guest sends goes nowhere.
#[derive(Debug)]
pub struct Wire {
    sockets: Sockets,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Sockets {
    from_guest: UnixStream,
    onward: UnixStream,
    to_guest: UnixStream,
}

impl Wire {
    /// Lays the wire of a machine that does not run yet.
    pub async fn lay(qmp: &Qmp, directory: &Path, network: &Network, service: &Answering) -> Result<Self> {
        let sockets = Sockets {
            from_guest: socket(qmp, directory, FROM_GUEST).await?,
            onward: socket(qmp, directory, ONWARD).await?,
            to_guest: socket(qmp, directory, TO_GUEST).await?,
        };
        let redirector = |queue, indev: &str, outdev: Option<&str>| qmp::FilterRedirectorProperties {
            base: qmp::NetfilterProperties {
                insert: None,
                position: None,
                queue: Some(queue),
                status: None,
                netdev: args::NETDEV.to_owned(),
            },
            indev: Some(indev.to_owned()),
            outdev: outdev.map(str::to_owned),
            vnet_hdr_support: None,
        };
        let sent = redirector(qmp::NetFilterDirection::rx, ONWARD, Some(FROM_GUEST));
        let received = redirector(qmp::NetFilterDirection::tx, TO_GUEST, None);
        qmp.call(qmp::object_add((received, RECEIVED.to_owned()).into())).await?;
        qmp.call(qmp::object_add((sent, SENT.to_owned()).into())).await?;
        let seed = random_u64()?;
        let mine = sockets.try_clone().map_err(Error::Peer)?;
        let sorter = Sorter::new(network, service.clone(), seed);
        // An error is the end of QEMU, which others notice and tell.
        let thread = std::thread::spawn(move || drop(run(&mine, sorter)));
        Ok(Self { sockets, thread: Some(thread) })
    }

    /// Takes the filters away: the machine goes on with what SLIRP lets through.
    pub async fn take_away(&self, qmp: &Qmp) -> Result<()> {
        for id in [SENT, RECEIVED] {
            qmp.call(qmp::object_del { id: id.to_owned() }).await?;
        }
        for id in [FROM_GUEST, ONWARD, TO_GUEST] {
            qmp.call(qmp::chardev_remove { id: id.to_owned() }).await?;
        }
        Ok(())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let Sockets { from_guest, onward, to_guest } = &self.sockets;
        for socket in [from_guest, onward, to_guest] {
            // A socket that has ended already is as good.
            socket.shutdown(std::net::Shutdown::Both).ok();
        }
        if let Some(thread) = self.thread.take() {
            // Nothing is left to do if it panicked: the guest is without network then.
            thread.join().ok();
        }
    }
}

impl Sockets {
    fn try_clone(&self) -> io::Result<Self> {
        let Self { from_guest, onward, to_guest } = self;
        Ok(Self { from_guest: from_guest.try_clone()?, onward: onward.try_clone()?, to_guest: to_guest.try_clone()? })
    }
}

/// Looks after a wire until one of its ends is closed.
fn run(sockets: &Sockets, mut sorter: Sorter) -> io::Result<()> {
    let Sockets { from_guest, onward, to_guest } = sockets;
    for socket in [from_guest, onward, to_guest] {
        socket.set_nonblocking(true)?;
    }
    let begin = Instant::now();
    let mut incoming = Incoming::default();
    let (mut to_slirp, mut to_card) = (Outgoing::default(), Outgoing::default());
    loop {
        let wait = sorter.wait(begin.elapsed()).min(TICK);
        let wants = |queue: &Outgoing| if queue.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        let mut ready = [
            PollFd::new(from_guest, PollFlags::IN),
            PollFd::new(onward, wants(&to_slirp)),
            PollFd::new(to_guest, wants(&to_card)),
        ];
        let time = Timespec::try_from(wait).map_err(io::Error::other)?;
        match rustix::event::poll(&mut ready, Some(&time)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if !incoming.fill(from_guest)? {
            return Ok(());
        }
        let now = begin.elapsed();
        while let Some(frame) = incoming.next()? {
            if let Some(frame) = sorter.take(frame, now) {
                to_slirp.push(frame);
            }
        }
        for frame in sorter.turn(now) {
            to_card.push(&frame);
        }
        to_slirp.flush(onward)?;
        to_card.flush(to_guest)?;
    }
}
