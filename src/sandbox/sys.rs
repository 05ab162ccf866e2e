//! The system calls that have no safe wrapper.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::thread::UnshareFlags;

/// Enters new namespaces. Never with `FILES`, the one flag that could harm Rust's view of descriptors.
pub fn unshare(flags: UnshareFlags) -> io::Result<()> {
    debug_assert!(!flags.contains(UnshareFlags::FILES));
    // SAFETY: without `FILES` no descriptor changes its meaning for any thread.
    unsafe { rustix::thread::unshare_unsafe(flags.difference(UnshareFlags::FILES)) }.map_err(Into::into)
}

/// Gives every signal its default action, also those that the C library keeps for itself.
pub fn default_signals() {
    // The kernel's sigaction: handler (0 is SIG_DFL), flags, restorer, mask.
    let default = [0u64; 4];
    for signal in 1..=64 {
        // SAFETY: the structure is complete and lives through the call; SIGKILL and SIGSTOP are refused without
        // effect.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), 0, size_of::<u64>()) };
    }
}

/// Takes back what setarch(8) gives to all that it starts, such as another architecture or release in uname(2).
pub fn default_personality() -> io::Result<()> {
    // SAFETY: nothing that is mapped or open changes; 0 is PER_LINUX without flags (personality(2)).
    if unsafe { libc::personality(0) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Argument of mount_setattr(2).
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

const RDONLY: u64 = 0x1;
const NOSUID: u64 = 0x2;

/// Makes a mount, and those below it, ignore setuid bits, and read-only if asked.
pub fn restrict(mount: BorrowedFd<'_>, read_only: bool) -> io::Result<()> {
    let set = if read_only { RDONLY | NOSUID } else { NOSUID };
    let attributes = MountAttributes { set, clear: 0, propagation: 0, userns: 0 };
    // SAFETY: the path is a terminated string, the attributes live through the call and their size is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets `fsync` and its relatives succeed without doing anything, for this process and all it starts, by a seccomp
/// filter (`SECCOMP_RET_ERRNO` with error 0). Needs `no_new_privs`. Foreign architectures keep the real calls.
pub fn ignore_sync() -> io::Result<()> {
    #[cfg(target_arch = "x86_64")]
    const ARCHITECTURE: u32 = 0xc000_003e;
    #[cfg(target_arch = "aarch64")]
    const ARCHITECTURE: u32 = 0xc000_00b7;
    const CALLS: [libc::c_long; 6] = [
        libc::SYS_fsync,
        libc::SYS_fdatasync,
        libc::SYS_sync,
        libc::SYS_syncfs,
        libc::SYS_sync_file_range,
        libc::SYS_msync,
    ];
    let load = |offset| libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: offset };
    let unless_equal = |k: u32, skip| libc::sock_filter { code: 0x15, jt: 0, jf: skip, k };
    let equal = |k: u32, skip| libc::sock_filter { code: 0x15, jt: skip, jf: 0, k };
    let answer = |k| libc::sock_filter { code: 0x06, jt: 0, jf: 0, k };
    let calls = CALLS.len() as u8;
    let mut program = vec![load(4), unless_equal(ARCHITECTURE, calls + 1), load(0)];
    program.extend(CALLS.iter().zip((1..=calls).rev()).map(|(&call, skip)| equal(call as u32, skip)));
    program.push(answer(libc::SECCOMP_RET_ALLOW));
    program.push(answer(libc::SECCOMP_RET_ERRNO));
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the filter points to a live array of the given length, which the kernel copies.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
