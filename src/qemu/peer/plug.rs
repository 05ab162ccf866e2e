//! Puts a peer on the wire of a running machine, and takes it off again.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use qapi::qmp;

use super::{MAC, Peer, WRITE, Wire};
use crate::disk;
use crate::qemu::args;
use crate::qemu::error::{Error, Result};
use crate::qemu::link;
use crate::qemu::qmp::Qmp;
use crate::qemu::vm::Vm;

/// Names of the two sockets, and of their files in the machine's private directory, which QEMU works in.
const FROM_GUEST: &str = "peer-out";
const TO_GUEST: &str = "peer-in";
/// Names of the two filters.
const MIRROR: &str = "peer-mirror";
const REDIRECTOR: &str = "peer-redirector";

/// Frames that may wait until somebody reads them; of each only the beginning is kept.
const WAITING: usize = 8192;
const KEPT: usize = 2048;
/// Longest frame that QEMU sends (its NET_BUFSIZE).
const LONGEST: usize = 4096 + 65536;

/// A peer that is plugged in. Unplugs it when dropped; until then what the guest sends is read, for QEMU waits for that.
#[derive(Debug)]
pub struct Plug<'a> {
    vm: &'a Vm,
    mirrored: UnixStream,
    reader: Option<JoinHandle<()>>,
}

impl Vm {
    /// Plugs a peer into the network of the machine's card, in place of one that a killed rave has left there.
    pub fn plug(&self) -> Result<(Plug<'_>, Peer)> {
        let (engine, qmp) = self.line();
        let plugged = engine.run(async {
            unplug(qmp).await;
            plug(qmp, self.directory()).await
        });
        let (mirrored, out) = plugged.inspect_err(|_| engine.finish(unplug(qmp)))?;
        let (sender, frames) = mpsc::sync_channel(WAITING);
        let lost = Arc::new(AtomicBool::new(false));
        let mut plug = Plug { vm: self, mirrored, reader: None };
        let stream = io::BufReader::new(plug.mirrored.try_clone().map_err(Error::Peer)?);
        let noted = Arc::clone(&lost);
        plug.reader = Some(std::thread::spawn(move || read(stream, &sender, &noted)));
        out.set_write_timeout(Some(WRITE)).map_err(Error::Peer)?;
        Ok((plug, Peer { wire: Mutex::new(Wire { out, frames, lost }) }))
    }
}

impl Drop for Plug<'_> {
    fn drop(&mut self) {
        let (engine, qmp) = self.vm.line();
        engine.finish(unplug(qmp));
        // A socket that has ended already is as good.
        self.mirrored.shutdown(std::net::Shutdown::Both).ok();
        if let Some(reader) = self.reader.take() {
            // It does not panic, and there is nothing to do if it did.
            reader.join().ok();
        }
    }
}

/// First the sockets, then the filters: one without a reader would complain of every frame.
async fn plug(qmp: &Qmp, directory: &Path) -> Result<(UnixStream, UnixStream)> {
    let mirrored = socket(qmp, directory, FROM_GUEST).await?;
    let out = socket(qmp, directory, TO_GUEST).await?;
    let base = |queue| qmp::NetfilterProperties {
        insert: None,
        position: None,
        queue: Some(queue),
        status: None,
        netdev: args::NETDEV.to_owned(),
    };
    let redirector = qmp::FilterRedirectorProperties {
        base: base(qmp::NetFilterDirection::tx),
        indev: Some(TO_GUEST.to_owned()),
        outdev: None,
        vnet_hdr_support: None,
    };
    let mirror = qmp::FilterMirrorProperties {
        base: base(qmp::NetFilterDirection::rx),
        outdev: FROM_GUEST.to_owned(),
        vnet_hdr_support: None,
    };
    qmp.call(qmp::object_add((redirector, REDIRECTOR.to_owned()).into())).await?;
    qmp.call(qmp::object_add((mirror, MIRROR.to_owned()).into())).await?;
    Ok((mirrored, out))
}

/// Has QEMU listen on a Unix socket, and connects to it.
pub async fn socket(qmp: &Qmp, directory: &Path, name: &str) -> Result<UnixStream> {
    let file = format!("{name}.sock");
    let address = qmp::UnixSocketAddress { abstract_: None, tight: None, path: file.clone() };
    let socket = qmp::ChardevSocket {
        base: qmp::ChardevCommon { logappend: None, logfile: None },
        nodelay: None,
        reconnect: None,
        server: Some(true),
        telnet: None,
        tls_authz: None,
        tls_creds: None,
        tn3270: None,
        wait: Some(false),
        websocket: None,
        addr: qmp::SocketAddressLegacy::unix(address.into()),
    };
    let backend = qmp::ChardevBackend::socket(socket.into());
    qmp.call(qmp::chardev_add { backend, id: name.to_owned() }).await?;
    let (_open, path) = link::short_path(directory, &file)?;
    Ok(disk::context("connect to", directory.join(&file), UnixStream::connect(path))?)
}

/// Takes away whatever of a peer is there. Fails for what is not, and with a machine that has ended; neither is news.
async fn unplug(qmp: &Qmp) {
    for id in [MIRROR, REDIRECTOR] {
        qmp.call(qmp::object_del { id: id.to_owned() }).await.ok();
    }
    for id in [FROM_GUEST, TO_GUEST] {
        qmp.call(qmp::chardev_remove { id: id.to_owned() }).await.ok();
    }
}

/// Reads frames to the end of the stream, whether somebody wants them or not, and passes on those that are for us or for
/// all. What is left out for want of room is noted in `lost`, and so is a stream that makes no sense.
fn read(mut stream: impl Read, frames: &SyncSender<Vec<u8>>, lost: &AtomicBool) {
    let mut frame = Vec::new();
    loop {
        let mut length = [0; 4];
        if stream.read_exact(&mut length).is_err() {
            return;
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > LONGEST {
            lost.store(true, Ordering::Relaxed);
            // Up to an end or an error, either of which ends the stream.
            io::copy(&mut stream, &mut io::sink()).ok();
            return;
        }
        frame.resize(length, 0);
        if stream.read_exact(&mut frame).is_err() {
            return;
        }
        let ours = frame.starts_with(MAC.as_bytes()) || frame.first().is_some_and(|byte| byte & 1 == 1);
        if ours && let Err(mpsc::TrySendError::Full(_)) = frames.try_send(frame.iter().take(KEPT).copied().collect()) {
            lost.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
#[path = "plug_tests.rs"]
mod tests;
