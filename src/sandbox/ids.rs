//! User and group ids inside and outside (user_namespaces(7), subuid(5)).

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use super::error::{Error, Result, step};
use crate::disk;
use crate::tool::{self, Tool};

/// How many ids a [`super::Ids::Range`] has.
const COUNT: u64 = 65536;

/// One of the two kinds of ids.
struct Kind {
    /// The file with each user's subordinate ids.
    file: &'static str,
    /// The program that maps them.
    program: &'static str,
    /// The file of a process that holds its map.
    map: &'static str,
}

const KINDS: [Kind; 2] = [
    Kind { file: "/etc/subuid", program: "newuidmap", map: "uid_map" },
    Kind { file: "/etc/subgid", program: "newgidmap", map: "gid_map" },
];

/// Maps the calling user to root for this process, which has just entered its user namespace.
pub fn map_single(uid: u32, gid: u32) -> Result<()> {
    for (name, text) in
        [("setgroups", "deny".to_owned()), ("uid_map", format!("0 {uid} 1")), ("gid_map", format!("0 {gid} 1"))]
    {
        let path = format!("/proc/self/{name}");
        write_map(&path, &text)?;
    }
    Ok(())
}

/// Writes one of the files of /proc that make a map, for which the kernel wants the whole text at once.
fn write_map(path: &str, text: &str) -> Result<()> {
    disk::overwrite(path, text.as_bytes()).map_err(|error| Error::namespaces(error.source))
}

/// The mapper: a process that stays outside and, when standard input ends, gives the process named by its only
/// argument the ids 0 to 65535.
pub fn map_from_outside(arguments: &[OsString]) -> Result<ExitCode> {
    let pid = arguments.first().and_then(|a| a.to_str()).and_then(|a| a.parse::<u32>().ok());
    let pid = pid.ok_or(Error::Gone("the process to map ids for is not named"))?;
    step("read", "standard input", io::copy(&mut io::stdin(), &mut io::sink()))?;
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    for (kind, own) in KINDS.iter().zip([uid, gid]) {
        if uid == 0 { map_as_root(pid, kind)? } else { map_as_user(pid, kind, uid, own)? }
    }
    Ok(ExitCode::SUCCESS)
}

/// Root may map any ids that exist in its own namespace, and takes the same ones.
fn map_as_root(pid: u32, kind: &Kind) -> Result<()> {
    let own = format!("/proc/self/{}", kind.map);
    if !covers(&disk::read_to_string(&own)?) {
        return Err(Error::FewIds);
    }
    write_map(&format!("/proc/{pid}/{}", kind.map), &format!("0 0 {COUNT}"))
}

/// Whether the content of a uid_map makes all of 0 to 65535 visible.
fn covers(map: &str) -> bool {
    let mut extents: Vec<(u64, u64)> = map
        .lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(|n| n.parse::<u64>().ok());
            Some((numbers.next()??, numbers.nth(1)??))
        })
        .collect();
    extents.sort_unstable();
    let reach = |end: u64, (start, count): &(u64, u64)| if *start <= end { end.max(start + count) } else { end };
    extents.iter().fold(0, reach) >= COUNT
}

/// Others become root inside, and take the remaining ids from their range, which only a setuid program may map.
fn map_as_user(pid: u32, kind: &Kind, uid: u32, own: u32) -> Result<()> {
    let text = disk::read_to_string(kind.file).unwrap_or_default();
    let user = user_name(uid);
    let start =
        range(&text, &user, uid).ok_or_else(|| Error::NoRange { user, file: kind.file, free: first_free(&text) })?;
    let numbers = [u64::from(pid), 0, u64::from(own), 1, 1, start, COUNT - 1];
    match Tool::new(kind.program).args(numbers.map(|n| n.to_string())).output() {
        Ok(_) => Ok(()),
        Err(tool::Error::Start { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Err(Error::NoMapper { program: kind.program })
        }
        Err(error) => Err(Error::Map(error)),
    }
}

/// The name of a user; the number where the name is not known.
fn user_name(uid: u32) -> String {
    let passwd = disk::read_to_string("/etc/passwd").unwrap_or_default();
    if let Some(name) = name_in(&passwd, uid) {
        return name.to_owned();
    }
    // Users of a directory service are not in the file; the C library of the host knows them.
    let found = Tool::new("id").arg("-un").output().ok().and_then(|name| String::from_utf8(name).ok());
    found.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).unwrap_or_else(|| uid.to_string())
}

/// The user with an id, in the text of a passwd(5) file.
fn name_in(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

/// The entries of a subuid(5) file: owner, first id, count.
fn entries(text: &str) -> impl Iterator<Item = (&str, u64, u64)> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        Some((fields.next()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

/// The start of the first range that is large enough and belongs to a user, who is listed by name or number.
fn range(text: &str, user: &str, uid: u32) -> Option<u64> {
    let number = uid.to_string();
    entries(text)
        .find(|(owner, _, count)| (*owner == user || *owner == number) && *count >= COUNT - 1)
        .map(|(_, start, _)| start)
}

/// The first id after all ranges, at least the usual 100000.
fn first_free(text: &str) -> u64 {
    entries(text).map(|(_, start, count)| start.saturating_add(count)).fold(100_000, u64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBUID: &str = "# comment\nann:100000:65536\nbob:165536:10\nbob:165546:65536\n1007:300000:65535\n:bad\n";

    #[test]
    fn ranges_are_found_by_name_or_number_and_must_be_large_enough() {
        assert_eq!(range(SUBUID, "ann", 1000), Some(100_000));
        assert_eq!(range(SUBUID, "bob", 1001), Some(165_546));
        assert_eq!(range(SUBUID, "carol", 1007), Some(300_000));
        assert_eq!(range(SUBUID, "carol", 1008), None);
        assert_eq!(range("ann:100000:1000", "ann", 1000), None);
        assert_eq!(first_free(SUBUID), 365_535);
        assert_eq!(first_free(""), 100_000);
        assert_eq!(first_free("x:18446744073709551615:9"), u64::MAX);
    }

    #[test]
    fn a_container_with_few_ids_is_recognised() {
        assert!(covers("         0          0 4294967295\n"));
        assert!(covers("0 1000 1\n1 100000 65536\n"));
        assert!(!covers("0 1000 1\n"));
        assert!(!covers("0 1000 1\n2 100000 65536\n"));
        assert!(!covers("garbage\n"));
    }

    #[test]
    fn users_are_found_by_id() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(name_in(passwd, 1000), Some("ann"));
        assert_eq!(name_in(passwd, 1), None);
    }
}
