//! The device mapper's ioctls (Linux, include/uapi/linux/dm-ioctl.h, version 4): as much as it takes to make
//! one read-only device. All of init's `unsafe` is here.

use std::fs::File;

use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

/// Bytes of `struct dm_ioctl`.
const HEADER: usize = 312;
/// Bytes of `struct dm_target_spec`.
const TARGET: usize = 40;
/// Bytes of the whole message.
const MESSAGE: usize = 4096;
const NAME: usize = 128;
const UUID: usize = 129;
const READ_ONLY: u32 = 1;

const VERSION: Opcode = command(0);
const DEV_CREATE: Opcode = command(3);
const DEV_SUSPEND: Opcode = command(6);
const TABLE_LOAD: Opcode = command(9);

const fn command(number: u8) -> Opcode {
    opcode::read_write::<[u8; HEADER]>(0xfd, number)
}

/// What the device mapper refused, or was not asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A text that is longer than the interface allows.
    #[error("the device mapper takes no {0} of this length")]
    TooLong(&'static str),
    /// The kernel refused a request.
    #[error("the device mapper refuses to {verb} {name}")]
    Refused {
        /// What was asked for.
        verb: &'static str,
        /// The device.
        name: String,
        /// What the kernel said; its log may say more.
        source: Errno,
    },
}

/// A device to be: one target over its whole length.
#[derive(Debug, Clone, Copy)]
pub struct Device<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its UUID, in any form.
    pub uuid: &'a str,
    /// The kind of its target.
    pub target: &'a str,
    /// Its length in sectors of 512 bytes.
    pub sectors: u64,
    /// The parameters of its target.
    pub parameters: &'a str,
}

/// A message of the device mapper, answered in place.
#[repr(C, align(8))]
struct Message([u8; MESSAGE]);

/// Makes a read-only device; `control` is /dev/mapper/control. Returns the minor number, which is also in the
/// device's name: /dev/dm-N.
pub fn create(control: &File, device: &Device<'_>) -> Result<u32, Error> {
    let refused = |verb| move |source| Error::Refused { verb, name: device.name.to_owned(), source };
    send::<VERSION>(control, &mut message(device, 0, false)?).map_err(refused("agree on a version for"))?;
    let mut created = message(device, 0, false)?;
    send::<DEV_CREATE>(control, &mut created).map_err(refused("create"))?;
    let mut by_name = Device { uuid: "", ..*device };
    send::<TABLE_LOAD>(control, &mut message(&by_name, READ_ONLY, true)?).map_err(refused("load the table of"))?;
    by_name.parameters = "";
    // To suspend without the flag that says so is to resume.
    send::<DEV_SUSPEND>(control, &mut message(&by_name, 0, false)?).map_err(refused("start"))?;
    Ok(minor(&created))
}

fn send<const COMMAND: Opcode>(control: &File, message: &mut Message) -> Result<(), Errno> {
    // SAFETY: all commands here take a pointer to a `struct dm_ioctl` at the beginning of a buffer whose
    // length is its `data_size`; `message` sets that to the length of the buffer, which the kernel neither
    // reads nor writes beyond, and the buffer is aligned like the structure.
    unsafe { ioctl(control, Updater::<COMMAND, Message>::new(message)) }
}

/// Lays out a `struct dm_ioctl`, followed by the target if there shall be one.
fn message(device: &Device<'_>, flags: u32, with_target: bool) -> Result<Message, Error> {
    let mut bytes = [0; MESSAGE];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    let fits = |text: &str, room: usize, what| if text.len() < room { Ok(()) } else { Err(Error::TooLong(what)) };
    fits(device.name, NAME, "name")?;
    fits(device.uuid, UUID, "UUID")?;
    fits(device.target, 16, "target")?;
    fits(device.parameters, MESSAGE - HEADER - TARGET, "table")?;
    put(0, &4_u32.to_ne_bytes()); // the version of the interface: 4.0.0
    put(12, &(MESSAGE as u32).to_ne_bytes());
    put(16, &(HEADER as u32).to_ne_bytes()); // where the target begins
    put(28, &flags.to_ne_bytes());
    put(48, device.name.as_bytes());
    put(48 + NAME, device.uuid.as_bytes());
    if with_target {
        put(20, &1_u32.to_ne_bytes());
        put(HEADER + 8, &device.sectors.to_ne_bytes());
        put(HEADER + 20, &((MESSAGE - HEADER) as u32).to_ne_bytes()); // the end of this target
        put(HEADER + 24, device.target.as_bytes());
        put(HEADER + TARGET, device.parameters.as_bytes());
    }
    Ok(Message(bytes))
}

/// The minor number in the kernel's answer (`huge_encode_dev`).
fn minor(message: &Message) -> u32 {
    let mut device = [0; 8];
    device.copy_from_slice(&message.0[40..48]);
    let device = u64::from_ne_bytes(device) as u32;
    device & 0xff | (device >> 12) & 0xf_ff00
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: Device<'_> =
        Device { name: "root", uuid: "CRYPT-VERITY-x-root", target: "verity", sectors: 24, parameters: "1 a b" };

    #[test]
    fn requests_have_the_numbers_of_the_kernels_header() {
        // As `strace dmsetup` shows them.
        assert_eq!([VERSION, DEV_CREATE, DEV_SUSPEND, TABLE_LOAD], [0xc138fd00, 0xc138fd03, 0xc138fd06, 0xc138fd09]);
    }

    #[test]
    fn a_message_has_the_layout_of_the_kernels_header() {
        let Message(bytes) = message(&DEVICE, READ_ONLY, true).unwrap();
        let words: Vec<u32> =
            bytes[..40].chunks_exact(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap())).collect();
        assert_eq!(words, [4, 0, 0, 4096, 312, 1, 0, 1, 0, 0]);
        assert_eq!(&bytes[48..53], b"root\0");
        assert_eq!(&bytes[176..196], b"CRYPT-VERITY-x-root\0");
        assert_eq!(bytes[312 + 8..312 + 16], 24_u64.to_ne_bytes());
        assert_eq!(&bytes[312 + 24..312 + 31], b"verity\0");
        assert_eq!(&bytes[312 + 40..312 + 46], b"1 a b\0");
    }

    #[test]
    fn texts_that_do_not_fit_are_refused() {
        let long = "x".repeat(MESSAGE);
        for device in [
            Device { name: &long[..128], ..DEVICE },
            Device { uuid: &long[..129], ..DEVICE },
            Device { target: &long[..16], ..DEVICE },
            Device { parameters: &long[..MESSAGE - HEADER - TARGET], ..DEVICE },
        ] {
            assert!(message(&device, 0, true).is_err());
        }
    }

    #[test]
    fn minor_numbers_are_taken_apart() {
        let mut answer = message(&DEVICE, 0, false).unwrap();
        answer.0[40..48].copy_from_slice(&0x0010_fd05_u64.to_ne_bytes());
        assert_eq!(minor(&answer), 0x105);
    }
}
