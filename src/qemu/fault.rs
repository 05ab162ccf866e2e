//! Faults for a running machine: what breaks it from outside, and what ends that again.

use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use qapi::qmp;
use serde_json::json;
use tokio::time::Instant;

use crate::disk;
use crate::qemu::agent::Exit;
use crate::qemu::args;
use crate::qemu::error::{Error, Result};
use crate::qemu::link::random_u32;
use crate::qemu::qmp::Qmp;
use crate::qemu::vm::Vm;

/// The device between disk and machine, in QEMU's object model.
const DEVICE: &str = "/machine/peripheral/disk0/virtio-backend";
/// The node that read errors come from, while they do.
const FILTER: &str = "fault";
/// EIO (errno(3)).
const EIO: i64 = 5;
/// How long a command in the guest may take, and how long others may keep its agent before.
const GUEST: Duration = Duration::from_secs(60);
/// Between two tries to get hold of the agent.
const BUSY: Duration = Duration::from_millis(200);

/// A fault that lasts until it is ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The network card has no link.
    NetworkLoss,
    /// The disk transfers this many bytes a second, reading and writing together.
    SlowDisk(u32),
    /// Every read of the disk fails.
    ReadErrors,
    /// A file takes all of /var but this many bytes.
    FullDisk(u64),
    /// The guest's clock is off by this many seconds.
    ClockJump(i64),
    /// A file in memory takes all that is available but this many bytes.
    MemoryPressure(u64),
    /// The processes of a unit are stopped (SIGSTOP): they are there, and answer nothing.
    StuckUnit(String),
}

impl Vm {
    /// Begins a fault, and is not cut short by a signal: what is half begun nobody could end.
    pub fn break_by(&self, fault: &Fault) -> Result<()> {
        self.line().0.finish(self.turn(fault, true))
    }

    /// Ends a fault, and is not cut short by a signal.
    pub fn mend(&self, fault: &Fault) -> Result<()> {
        self.line().0.finish(self.turn(fault, false))
    }

    async fn turn(&self, fault: &Fault, on: bool) -> Result<()> {
        let qmp = self.line().1;
        match fault {
            Fault::NetworkLoss => qmp.call(qmp::set_link { name: args::NETDEV.to_owned(), up: !on }).await.map(drop),
            Fault::SlowDisk(rate) => qmp.call(throttle(if on { i64::from(*rate) } else { 0 })).await.map(drop),
            Fault::ReadErrors => read_errors(qmp, on).await,
            Fault::FullDisk(left) => {
                let fill = format!("fallocate -l $(($(stat -f -c '%a * %S' /var) - {left})) /var/rave-fault");
                self.root(if on { &fill } else { "rm -f /var/rave-fault" }).await
            }
            Fault::ClockJump(seconds) => {
                let by = if on { i128::from(*seconds) } else { -i128::from(*seconds) };
                self.root(&format!("date -s @$(($(date +%s) + {by}))")).await
            }
            Fault::MemoryPressure(left) => {
                // Pages of a file in memory are nobody's to give back but its owner's.
                let take = format!(
                    "mkdir -p /run/rave-fault; mount -t tmpfs -o size=100% rave-fault /run/rave-fault; \
                     free=$(sed -n 's/^MemAvailable: *\\([0-9]*\\) kB$/\\1/p' /proc/meminfo); \
                     fallocate -l $((free * 1024 - {left})) /run/rave-fault/memory"
                );
                self.root(if on { &take } else { "umount /run/rave-fault; rmdir /run/rave-fault" }).await
            }
            Fault::StuckUnit(unit) => {
                let signal = if on { "STOP" } else { "CONT" };
                self.root(&format!("systemctl kill --signal={signal} -- {}", crate::tool::quote(unit))).await
            }
        }
    }

    /// Runs a script in the guest.
    async fn root(&self, script: &str) -> Result<()> {
        let until = Instant::now() + GUEST;
        let agent = loop {
            // Whoever checks the machine meanwhile holds the agent for a few seconds at a time.
            match self.agent().await {
                Err(Error::Busy { .. }) if Instant::now() < until => tokio::time::sleep(BUSY).await,
                agent => break agent?,
            }
        };
        let output = agent.exec("/bin/sh", &["-ec", script], b"", GUEST).await?;
        match output.exit {
            Exit::Code(0) => Ok(()),
            _ => Err(refusal(&String::from_utf8_lossy(&output.stderr))),
        }
    }

    /// Presses the reset button: what the guest has only in memory is lost.
    pub fn reset(&self) -> Result<()> {
        let (engine, qmp) = self.line();
        engine.run(qmp.call(qmp::system_reset {})).map(drop)
    }

    /// Makes the byte of the disk at this offset what the image does not have there. The image itself is not touched; the
    /// change goes where all goes that the machine writes.
    pub fn flip(&self, offset: u64) -> Result<()> {
        let path = &self.state().base.path;
        let mut byte = [0];
        disk::context("read", path, disk::open(path)?.read_exact_at(&mut byte, offset))?;
        let (engine, qmp) = self.line();
        // Where the new byte is must survive a power cut, too.
        for command in [format!("write -P {} {offset} 1", !byte[0]), "flush".to_owned()] {
            let command_line = format!("qemu-io -d {DEVICE} \"{command}\"");
            let said = engine.run(qmp.call(qmp::human_monitor_command { cpu_index: None, command_line }))?;
            if !said.is_empty() {
                return Err(refusal(&said));
            }
        }
        Ok(())
    }
}

/// A moment within this time that nobody has chosen.
pub fn moment(within: Duration) -> Result<Duration> {
    Ok(within.mul_f64(f64::from(random_u32()?) / f64::from(u32::MAX)))
}

/// What somebody said who could not do it, printable.
fn refusal(said: &str) -> Error {
    Error::Fault(said.trim().chars().filter(|c| !c.is_control()).take(500).collect())
}

/// Puts a filter that fails between disk and machine, or takes it away. To put in again what is there already, as a rave
/// that was killed leaves it, would end QEMU.
async fn read_errors(qmp: &Qmp, on: bool) -> Result<()> {
    let node = if on { FILTER } else { args::DISK };
    let (path, property) = (DEVICE.to_owned(), "drive".to_owned());
    let now = qmp.call(qmp::qom_get { path: path.clone(), property: property.clone() }).await?;
    if now == json!(node) {
        return Ok(());
    }
    if on {
        qmp.call(qmp::blockdev_add(filter())).await?;
    }
    qmp.call(qmp::qom_set { path, property, value: json!(node) }).await?;
    if !on {
        qmp.call(qmp::blockdev_del { node_name: FILTER.to_owned() }).await?;
    }
    Ok(())
}

/// A node over the disk that answers reads with EIO.
fn filter() -> qmp::BlockdevOptions {
    let error = qmp::BlkdebugInjectErrorOptions {
        event: qmp::BlkdebugEvent::none,
        iotype: Some(qmp::BlkdebugIOType::read),
        errno: Some(EIO),
        immediately: None,
        once: None,
        sector: None,
        state: None,
    };
    let base = qmp::BlockdevOptionsBase {
        node_name: Some(FILTER.to_owned()),
        auto_read_only: None,
        cache: None,
        detect_zeroes: None,
        discard: None,
        force_share: None,
        read_only: None,
    };
    let blkdebug = qmp::BlockdevOptionsBlkdebug {
        image: qmp::BlockdevRef::reference(args::DISK.to_owned()),
        inject_error: Some(vec![error]),
        align: None,
        config: None,
        max_discard: None,
        max_transfer: None,
        max_write_zero: None,
        opt_discard: None,
        opt_write_zero: None,
        set_state: None,
        take_child_perms: None,
        unshare_child_perms: None,
    };
    qmp::BlockdevOptions::blkdebug { base, blkdebug }
}

/// Has the disk transfer so many bytes a second; zero: as many as it can.
#[expect(deprecated, reason = "all fields have to be named")]
fn throttle(bytes: i64) -> qmp::block_set_io_throttle {
    qmp::block_set_io_throttle(qmp::BlockIOThrottle {
        id: Some(DEVICE.to_owned()),
        bps: bytes,
        bps_rd: 0,
        bps_wr: 0,
        iops: 0,
        iops_rd: 0,
        iops_wr: 0,
        bps_max: None,
        bps_max_length: None,
        bps_rd_max: None,
        bps_rd_max_length: None,
        bps_wr_max: None,
        bps_wr_max_length: None,
        device: None,
        group: None,
        iops_max: None,
        iops_max_length: None,
        iops_rd_max: None,
        iops_rd_max_length: None,
        iops_size: None,
        iops_wr_max: None,
        iops_wr_max_length: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_within_their_time_and_not_always_the_same() {
        let within = Duration::from_secs(9);
        let moments: Vec<Duration> = (0..50).map(|_| moment(within).unwrap()).collect();
        assert!(moments.iter().all(|moment| *moment <= within), "{moments:?}");
        let late = moments.iter().filter(|moment| **moment > within / 2).count();
        assert!((1..50).contains(&late), "{moments:?}");
    }
}
