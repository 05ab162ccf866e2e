//! `rave vm fault`, as it is typed.

use clap::{Args, Subcommand, ValueEnum};

use crate::quantity;

/// What shall go wrong, and for how long.
#[derive(Debug, Args)]
#[command(subcommand_value_name = "FAULT", subcommand_help_heading = "Faults")]
pub struct Fault {
    /// Name of the machine
    pub name: String,
    /// What goes wrong
    #[command(subcommand)]
    pub kind: Kind,
    /// End what lasts after so many seconds [default: at Ctrl-C]
    #[arg(long = "for", global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(..=86_400))]
    pub lasting: Option<u32>,
}

/// What goes wrong.
#[derive(Debug, Subcommand)]
pub enum Kind {
    /// The power fails: QEMU is killed, and what the machine has not flushed is lost
    #[command(after_help = "Example:
  rave vm fault web power-cut && rave run web --persist --detach
                              what a machine with a kept disk looks like afterwards")]
    PowerCut,
    /// The machine is reset again and again before it is up, each time at another moment, and then left to start
    #[command(after_help = "Example:
  rave vm fault web reboot-loop --times 5 --within 20
                              a start must do no harm wherever it is broken off")]
    RebootLoop {
        /// How often
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
        times: u32,
        /// From one to the next at most; the moment is left to chance
        #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
        within: u32,
    },
    /// A byte of the machine's disk is no more what the image has there; the image stays as it is
    #[command(after_help = "Example:
  rave vm fault web flipped-byte --in verity
                              counts once the machine reads it anew, at the latest after a restart")]
    FlippedByte {
        /// The partition
        #[arg(long = "in", value_name = "PARTITION", default_value = "root")]
        partition: Partition,
        /// Offset in it in bytes [default: what a start reads]
        #[arg(long, value_name = "BYTES")]
        at: Option<u64>,
    },
    /// The network card has no link
    #[command(after_help = "Example:
  rave vm fault web network-loss --for 30")]
    NetworkLoss,
    /// The disk is slow
    #[command(after_help = "Example:
  rave vm fault web slow-disk --rate 500K --for 60")]
    SlowDisk {
        /// Bytes a second, reading and writing together
        #[arg(long, default_value = "1M", value_parser = rate)]
        rate: u32,
    },
    /// Every read of the disk fails; what the machine has in memory it does not read
    #[command(after_help = "Example:
  rave vm fault web read-errors --for 10")]
    ReadErrors,
    /// A file fills /var
    #[command(after_help = "Example:
  rave vm fault web full-disk --leave 4M --for 60")]
    FullDisk {
        /// Bytes that stay free
        #[arg(long, default_value = "0", value_parser = bytes)]
        leave: u64,
    },
    /// The machine's clock jumps, and jumps back at the end
    #[command(after_help = "Examples:
  rave vm fault web clock-jump 3600 --for 60
  rave vm fault web clock-jump -3600 --for 60")]
    ClockJump {
        /// Seconds; negative: into the past
        #[arg(allow_negative_numbers = true)]
        seconds: i64,
    },
    /// The memory that is available is taken
    #[command(after_help = "Example:
  rave vm fault web memory-pressure --leave 32M --for 30")]
    MemoryPressure {
        /// Bytes that stay available
        #[arg(long, default_value = "64M", value_parser = bytes)]
        leave: u64,
    },
    /// The processes of a unit are stopped: they are there, and answer nothing
    #[command(after_help = "Example:
  rave vm fault web stuck-unit nginx.service --for 30")]
    StuckUnit {
        /// The unit
        unit: String,
    },
}

/// A partition that the image has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Partition {
    /// EFI system partition: boot loader and unified kernel image.
    Esp,
    /// The root file system.
    Root,
    /// Its hash tree.
    Verity,
}

fn bytes(text: &str) -> Result<u64, String> {
    quantity::bytes(text).ok_or_else(|| "expected bytes, such as 4096, 500K or 4M".to_owned())
}

fn rate(text: &str) -> Result<u32, String> {
    match bytes(text).map(u32::try_from)? {
        Ok(rate @ 1..) => Ok(rate),
        _ => Err("expected at least 1 and less than 4G".to_owned()),
    }
}
