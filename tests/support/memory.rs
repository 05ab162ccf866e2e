//! How much memory a program takes, with all that it starts.

use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rave::disk;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Runs a program to its end. Besides its output, the most memory that it has had, in bytes: the sum over the processes
/// that were there at the same look, of the most that each had had by then. It is at least what they had at any look; what
/// comes and goes between two looks is not in it, nor what the kernel keeps for files.
pub fn measured(command: &mut Command) -> (Output, u64) {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (id, over) = (child.id(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                most = family(id).max(most);
                std::thread::sleep(LOOK);
            }
            most
        });
        let output = child.wait_with_output().unwrap();
        over.store(true, Ordering::Relaxed);
        (output, looks.join().unwrap())
    })
}

/// The sum for a process and all below it.
fn family(id: u32) -> u64 {
    let all: Vec<(u32, u32, u64)> = disk::list("/proc").unwrap().iter().filter_map(|path| process(path)).collect();
    let (mut members, mut size) = (BTreeSet::from([id]), 0);
    // A parent may stand behind its children.
    while members.len() > size {
        size = members.len();
        members.extend(
            all.iter().filter(|(_, parent, _)| members.contains(parent)).map(|(id, ..)| *id).collect::<Vec<_>>(),
        );
    }
    all.iter().filter(|(id, ..)| members.contains(id)).map(|(.., memory)| memory).sum()
}

/// A process with its parent and the most memory that it has had (proc_pid_status(5)); none if it has ended meanwhile.
fn process(path: &std::path::Path) -> Option<(u32, u32, u64)> {
    let id = path.file_name()?.to_str()?.parse().ok()?;
    let status = disk::read_to_string(path.join("status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next();
    Some((id, field("PPid:")?.parse().ok()?, field("VmHWM:")?.parse::<u64>().ok()? << 10))
}
