//! The device-mapper table below the root file system, asked of the kernel with the ioctl interface of
//! `linux/dm-ioctl.h`, since images hold no dmsetup.

use std::fs::File;
use std::path::Path;

use rustix::ioctl;

use super::{Machine, Trouble, kernel};
use crate::disk;
use crate::probe::{Answer, Verity};

/// Size of `struct dm_ioctl`, and of the whole buffer, which the kernel fills behind it.
const HEADER: usize = 312;
const BUFFER: usize = 16 * 1024;

/// `DM_TABLE_STATUS`, and the flag that asks for the table instead of the status.
const TABLE_STATUS: u8 = 12;
const STATUS_TABLE: u32 = 1 << 4;

/// The flag by which the kernel says that the answer did not fit.
const BUFFER_FULL: u32 = 1 << 8;

/// Places in `struct dm_ioctl`.
const DATA_SIZE: usize = 12;
const DATA_START: usize = 16;
const TARGET_COUNT: usize = 20;
const FLAGS: usize = 28;
const NAME: usize = 48;
const NAME_LENGTH: usize = 128;

/// Size of `struct dm_target_spec`, and the place of the target's type in it.
const SPEC: usize = 40;
const TARGET_TYPE: usize = 24;
const TARGET_TYPE_LENGTH: usize = 16;

/// The dm-verity device below `/`.
pub fn verity(machine: &Machine) -> Result<Answer, Trouble> {
    let mounts = kernel::mounts(&machine.proc)?;
    let root = mounts.iter().rfind(|mount| mount.point == "/").ok_or_else(|| "no root file system".to_owned())?;
    let name = name_of(machine, &root.device)?;
    let control = disk::open(machine.root.join("dev/mapper/control"))?;
    let (target, table) = ask(&control, &name, STATUS_TABLE)?;
    let (_, status) = ask(&control, &name, 0)?;
    let table = table.split_whitespace().map(str::to_owned).collect();
    Ok(Answer::Verity(Verity { name, target, table, status: status.trim().to_owned() }))
}

fn name_of(machine: &Machine, device: &str) -> Result<String, Trouble> {
    let is_number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    if !device.split_once(':').is_some_and(|(major, minor)| is_number(major) && is_number(minor)) {
        return Err(format!("{device:?} is no device number").into());
    }
    let name = kernel::text(machine.sys.join(Path::new("dev/block")).join(device).join("dm/name"))?;
    Ok(name.trim().to_owned())
}

/// Type and parameters, or status, of the only target of a device.
fn ask(control: &File, name: &str, flags: u32) -> Result<(String, String), Trouble> {
    let mut buffer = request(name, flags)?;
    let call = Call { buffer: &mut buffer };
    // SAFETY: `Call` describes DM_TABLE_STATUS: its opcode carries the size of the header, and the kernel writes
    // at most as many bytes as the header's `data_size`, which is the length of the buffer.
    unsafe { ioctl::ioctl(control, call) }.map_err(|error| format!("device-mapper on {name}: {error}"))?;
    reply(buffer.as_slice())
}

fn request(name: &str, flags: u32) -> Result<Box<[u8; BUFFER]>, Trouble> {
    let mut buffer = Box::new([0; BUFFER]);
    // Interface version 4.0.0: the kernel answers any that has the same major number.
    put(&mut *buffer, 0, 4_u32);
    put(&mut *buffer, DATA_SIZE, BUFFER as u32);
    put(&mut *buffer, DATA_START, HEADER as u32);
    put(&mut *buffer, FLAGS, flags);
    // The name must leave room for its final zero.
    match buffer.get_mut(NAME..NAME + name.len()) {
        Some(place) if name.len() < NAME_LENGTH => place.copy_from_slice(name.as_bytes()),
        _ => return Err(format!("the device name {name:?} is too long").into()),
    }
    Ok(buffer)
}

fn reply(buffer: &[u8]) -> Result<(String, String), Trouble> {
    let broken = || "device-mapper gave an answer of unknown form".to_owned();
    if get(buffer, FLAGS).ok_or_else(broken)? & BUFFER_FULL != 0 {
        return Err("the device-mapper table is too long".to_owned().into());
    }
    let targets = get(buffer, TARGET_COUNT).ok_or_else(broken)?;
    if targets != 1 {
        return Err(format!("the root device has {targets} targets").into());
    }
    let start = get(buffer, DATA_START).and_then(|start| usize::try_from(start).ok()).ok_or_else(broken)?;
    let data = buffer.get(start..).ok_or_else(broken)?;
    let (spec, parameters) = data.split_at_checked(SPEC).ok_or_else(broken)?;
    let kind = spec.get(TARGET_TYPE..TARGET_TYPE + TARGET_TYPE_LENGTH).ok_or_else(broken)?;
    Ok((until_zero(kind), until_zero(parameters)))
}

fn put(buffer: &mut [u8], at: usize, value: u32) {
    if let Some(place) = buffer.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_ne_bytes());
    }
}

fn get(buffer: &[u8], at: usize) -> Option<u32> {
    buffer.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn until_zero(bytes: &[u8]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

struct Call<'a> {
    buffer: &'a mut [u8; BUFFER],
}

// SAFETY: the opcode is the one of DM_TABLE_STATUS, the pointer is that of a buffer as long as its own `data_size`
// says, and it lives as long as the call.
unsafe impl ioctl::Ioctl for Call<'_> {
    type Output = ();

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> ioctl::Opcode {
        ioctl::opcode::read_write::<[u8; HEADER]>(0xfd, TABLE_STATUS)
    }

    fn as_ptr(&mut self) -> *mut rustix::ffi::c_void {
        self.buffer.as_mut_ptr().cast()
    }

    unsafe fn output_from_ptr(_: ioctl::IoctlOutput, _: *mut rustix::ffi::c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reply as the kernel lays it out.
    fn laid_out(targets: u32, kind: &[u8], parameters: &[u8]) -> Vec<u8> {
        let mut buffer = vec![0; HEADER + SPEC];
        put(&mut buffer, TARGET_COUNT, targets);
        put(&mut buffer, DATA_START, HEADER as u32);
        buffer[HEADER + TARGET_TYPE..][..kind.len()].copy_from_slice(kind);
        buffer.extend_from_slice(parameters);
        buffer
    }

    #[test]
    fn the_opcode_is_that_of_the_header_file() {
        let mut buffer = [0; BUFFER];
        // From linux/dm-ioctl.h: _IOWR(0xfd, 12, struct dm_ioctl).
        assert_eq!(ioctl::Ioctl::opcode(&Call { buffer: &mut buffer }), 0xc138_fd0c);
    }

    #[test]
    fn replies_are_read_and_broken_ones_refused() {
        let (kind, text) = reply(&laid_out(1, b"verity", b"1 254:1 254:2\0junk")).unwrap();
        assert_eq!((&*kind, &*text), ("verity", "1 254:1 254:2"));
        assert!(reply(&laid_out(2, b"linear", b"")).is_err());
        assert!(reply(&laid_out(0, b"", b"")).is_err());
        assert!(reply(&laid_out(1, b"verity", b"")[..HEADER + SPEC - 1]).is_err());
        let mut far = laid_out(1, b"verity", b"");
        put(&mut far, DATA_START, u32::MAX);
        assert!(reply(&far).is_err() && reply(&[]).is_err());
        let mut full = laid_out(1, b"verity", b"x");
        put(&mut full, FLAGS, BUFFER_FULL);
        assert!(reply(&full).is_err());
    }

    #[test]
    fn names_fit_or_are_refused() {
        assert!(request(&"x".repeat(127), 0).is_ok());
        assert!(request(&"x".repeat(128), 0).is_err());
        let machine = Machine::this();
        for bad in ["", "1", "../..:0", "8:", ":8"] {
            assert!(name_of(&machine, bad).unwrap_err().to_string().contains("no device number"), "{bad}");
        }
    }
}
