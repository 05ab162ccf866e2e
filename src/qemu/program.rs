//! How QEMU is run: the host's own, or that of a tools tree in a sandbox.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::tool::Tool;

/// A file, directory or device of the host, and where QEMU sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Path on the host.
    pub host: PathBuf,
    /// Path as QEMU sees it.
    pub inside: PathBuf,
    /// Whether QEMU may write there.
    pub writable: bool,
}

/// Turns what QEMU must see into the program that runs it; the second value says whether QEMU shall outlive
/// rave. The network of the host must be reachable.
pub type Enter = dyn Fn(&[View], bool) -> Tool + Send + Sync;

/// Which QEMU is run, and how.
pub struct QemuProgram {
    identity: Digest,
    way: Way,
}

enum Way {
    Host(PathBuf),
    Sandbox(Box<Enter>),
}

impl QemuProgram {
    /// The host's own QEMU, by path.
    pub fn host(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { identity: Digest::of(path.as_os_str().as_encoded_bytes()), way: Way::Host(path) }
    }

    /// QEMU in a sandbox that `enter` describes. `tools` names the tree it comes from, such as its path.
    pub fn sandbox(tools: &Path, enter: impl Fn(&[View], bool) -> Tool + Send + Sync + 'static) -> Self {
        Self { identity: Digest::of(tools.as_os_str().as_encoded_bytes()), way: Way::Sandbox(Box::new(enter)) }
    }

    /// What tells this QEMU from others, for what is remembered about it.
    pub(super) fn identity(&self) -> Digest {
        self.identity
    }

    /// Where QEMU sees a machine's private directory; empty: its working directory.
    pub(super) fn directory(&self) -> PathBuf {
        match self.way {
            Way::Host(_) => PathBuf::new(),
            Way::Sandbox(_) => "/run/vm".into(),
        }
    }

    /// Where QEMU sees a file that is known inside as `name`.
    pub(super) fn file(&self, host: &Path, name: &str) -> PathBuf {
        match self.way {
            Way::Host(_) => host.to_owned(),
            Way::Sandbox(_) => Path::new("/run/files").join(name),
        }
    }

    /// The program, without arguments, as it sees the machine's `directory` and `files`.
    pub(super) fn tool(&self, directory: &Path, mut files: Vec<View>, detach: bool) -> Tool {
        match &self.way {
            Way::Host(path) => Tool::new(path).current_dir(directory),
            Way::Sandbox(enter) => {
                files.insert(0, View { host: directory.to_owned(), inside: self.directory(), writable: true });
                enter(&files, detach)
            }
        }
    }
}

impl fmt::Debug for QemuProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.way {
            Way::Host(path) => write!(f, "QemuProgram({})", path.display()),
            Way::Sandbox(_) => write!(f, "QemuProgram(sandbox {})", self.identity.short()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandboxed_program_sees_fixed_paths_and_the_host_one_sees_its_own() {
        let program = QemuProgram::sandbox(Path::new("/tools"), |views, detach| {
            let list = views.iter().map(|v| format!("{}={}:{}", v.host.display(), v.inside.display(), v.writable));
            Tool::new("enter").args(list).arg(detach.to_string())
        });
        let file = program.file(Path::new("/images/web.raw"), "disk.raw");
        let view = View { host: "/images/web.raw".into(), inside: file, writable: false };
        let tool = program.tool(Path::new("/state/web"), vec![view], true);
        assert_eq!(tool.display(), "enter /state/web=/run/vm:true /images/web.raw=/run/files/disk.raw:false true");
        let host = QemuProgram::host("/usr/bin/qemu");
        assert_eq!(host.file(Path::new("/images/web.raw"), "disk.raw"), Path::new("/images/web.raw"));
        assert_eq!(host.tool(Path::new("/state/web"), Vec::new(), false).display(), "/usr/bin/qemu");
        assert_ne!(host.identity(), program.identity());
    }
}
