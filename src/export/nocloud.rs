//! A disk and the seed that provisions it, in one plain tar archive: what a hypervisor without a cloud takes.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

use crate::disk;

use super::Error;
use super::oci;
use super::out::Out;

/// The name of the seed in the archive.
const SEED: &str = "seed.iso";

/// Writes the archive `to` with the disk `qcow2` of `size` bytes and the bytes of `seed`; all times are `epoch`.
pub fn write(to: &Path, qcow2: &Path, size: u64, seed: &[u8], epoch: u64) -> Result<(), Error> {
    let mut out = Out::create(to)?;
    // There may be an identity in the seed.
    disk::set_mode(to, 0o600)?;
    let name = qcow2.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let file = disk::open(qcow2)?;
    let written = member(&mut out, &name, size, file, epoch)
        .and_then(|()| member(&mut out, SEED, seed.len() as u64, seed, epoch))
        .and_then(|()| out.write_all(&[0; 1024]));
    out.context(written)?;
    out.flush()?;
    Ok(())
}

fn member(out: &mut Out, path: &str, size: u64, content: impl io::Read, epoch: u64) -> io::Result<()> {
    let mut header = oci::header(tar::EntryType::Regular, size, 0o600, epoch);
    header.set_path(path)?;
    header.set_cksum();
    out.write_all(header.as_bytes())?;
    let copied = io::copy(&mut content.take(size), out)?;
    if copied != size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    io::copy(&mut io::repeat(0).take(size.next_multiple_of(512) - size), out)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn nobody_else_reads_a_seed() {
        let folder = tempfile::tempdir().unwrap();
        let (qcow2, archive) = (folder.path().join("shop.qcow2"), folder.path().join("shop.tar"));
        disk::write(&qcow2, b"disk", 0o644).unwrap();
        write(&archive, &qcow2, 4, b"seed", 0).unwrap();
        assert_eq!(disk::metadata(&archive).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
