//! How a debugger reaches a machine's processors.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::io::{FdFlags, fcntl_setfd};

use crate::disk;
use crate::qemu::args::file;
use crate::qemu::error::Result;
use crate::qemu::link;

/// The longest path of a socket, in bytes (unix(7)).
const LONGEST: usize = 107;

/// The socket of QEMU's stub for debuggers, by a path that a program can connect to which takes this process' place. A
/// longer one leads through the open file, which that program inherits.
pub fn socket(directory: &Path) -> Result<(PathBuf, Option<File>)> {
    let socket = directory.join(file::GDB);
    if socket.as_os_str().len() <= LONGEST {
        return Ok((socket, None));
    }
    let (open, path) = link::short_path(directory, file::GDB)?;
    disk::context("share", directory, fcntl_setfd(&open, FdFlags::empty()).map_err(Into::into))?;
    Ok((path, Some(open)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;
    use crate::tool::Tool;

    #[test]
    fn a_socket_is_reached_however_deep_it_lies() {
        let root = tempfile::tempdir().unwrap();
        for depth in [0, 4] {
            let directory = root.path().join(["x".repeat(60).as_str()].repeat(depth).join("/"));
            disk::create_dir_all(&directory).unwrap();
            let (_open, path) = link::short_path(&directory, file::GDB).unwrap();
            let _stub = UnixListener::bind(path).unwrap();
            let (path, open) = socket(&directory).unwrap();
            assert_eq!((open.is_some(), path == directory.join(file::GDB)), (depth > 0, depth == 0));
            UnixStream::connect(&path).unwrap();
            // In another program, too: /proc/self is that one's.
            Tool::new("test").arg("-S").arg(&path).output().unwrap();
        }
    }
}
