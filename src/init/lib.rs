//! What rave and the first process of its machines both know: how a root file system is named, found and verified.
//!
//! This is a package of its own so that the program, `main.rs`, stays small: it is all that an initrd holds besides
//! kernel modules. rave's build script builds it, and rave carries it inside.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests prepare files as they need them"))]

pub mod digest;
pub mod disk;
pub mod gpt;
pub mod uuid;
pub mod verity;

/// Where the initrd lists its kernel modules: one per line by its absolute path, in the order of loading, and after a
/// blank each those that it needs.
pub const MODULES: &str = "/modules.list";

/// Where the initrd of an image for debugging has its shell, a busybox that is linked statically.
pub const SHELL: &str = "/bin/busybox";

/// Word of the kernel command line that opens [`SHELL`] before the root file system takes over; nothing happens where
/// there is none.
pub const BREAK: &str = "rave.break";

/// Where the root file system lists files that are needed early, one path a line.
pub const AHEAD: &str = "/usr/lib/rave/ahead";

/// Word of the kernel command line that hides the processes of others from users without privileges: `hidepid=invisible`
/// of proc(5). Here, for systemd takes over the /proc that it finds.
pub const HIDE: &str = "rave.hidepid";

/// Word of the kernel command line by which no program runs from /var and /run, where others can be written to: `noexec`
/// of mount(8).
pub const NOEXEC: &str = "rave.noexec";
