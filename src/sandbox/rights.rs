//! What root inside may do: enough for packages' scripts, nothing that could undo the sandbox.

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets, remove_capability_from_bounding_set, set_capabilities};

use super::error::{Result, step};

/// Rights over files, ids and the own processes (capabilities(7)). Mounts are not among them: a program could take
/// away the read-only cover of /proc/sys, or have a new /proc without.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::AUDIT_WRITE)
    .union(CapabilitySet::SETFCAP);

/// Gives up all other rights, for this process and all it starts.
pub fn reduce() -> Result<()> {
    for number in 0..u64::BITS {
        let right = CapabilitySet::from_bits_retain(1 << number);
        if KEPT.contains(right) {
            continue;
        }
        match remove_capability_from_bounding_set(right) {
            // The kernel knows no right of this number, nor of any above.
            Err(Errno::INVAL) => break,
            result => step("give up", "a right", result)?,
        }
    }
    let sets = CapabilitySets { effective: KEPT, permitted: KEPT, inheritable: CapabilitySet::empty() };
    step("give up", "rights", set_capabilities(None, sets))
}
