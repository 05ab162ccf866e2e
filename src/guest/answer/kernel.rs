//! What the kernel tells in /proc and /sys: proc(5), Documentation/admin-guide and accounting/psi.rst.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{Machine, Trouble, assignments};
use crate::disk;
use crate::origin::chain;
use crate::probe::{Answer, FileSystem, Mount, Pressure, Resources};

/// No file of /proc or /sys that is read here is larger, in bytes.
const LIMIT: u64 = 4 << 20;

/// Mounts that are looked at, at most.
const MOUNTS: usize = 4096;

/// File systems whose space is worth a look. Others are the kernel's own, or would be mounted by the look.
const WITH_SPACE: [&str; 9] = ["btrfs", "erofs", "ext4", "f2fs", "overlay", "squashfs", "tmpfs", "vfat", "xfs"];

/// The content of a small file.
pub fn text(path: impl AsRef<Path>) -> Result<String, disk::Error> {
    Ok(String::from_utf8_lossy(&disk::read_start(path, LIMIT)?).into_owned())
}

/// Mounts of process 1.
pub fn mounts(proc: &Path) -> Result<Vec<Mount>, Trouble> {
    let text = text(proc.join("1/mountinfo"))?;
    let mounts: Option<Vec<Mount>> = text.lines().take(MOUNTS).map(mount).collect();
    match mounts {
        Some(mounts) if text.lines().nth(MOUNTS).is_none() => Ok(mounts),
        Some(_) => Err(format!("there are more than {MOUNTS} mounts").into()),
        None => Err("mountinfo has an unknown form".to_owned().into()),
    }
}

/// One line of mountinfo, such as
/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`.
fn mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(2);
    let (device, _root, point, options) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let mut fields = after.split(' ');
    let (fs, source, super_options) = (fields.next()?, fields.next()?, fields.next()?);
    // A mount that is read-only hides that the file system is not.
    let read_only = options.split(',').any(|option| option == "ro");
    let super_options = super_options.split(',').filter(|option| !(read_only && *option == "rw"));
    Some(Mount {
        point: unescape(point),
        fs: fs.to_owned(),
        source: unescape(source),
        device: device.to_owned(),
        options: options.split(',').chain(super_options).map(str::to_owned).collect(),
    })
}

/// Undoes the octal escapes of blanks, line ends and backslashes.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let octal =
            |digits: &[u8]| std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match after.get(..3).and_then(octal) {
            Some(escaped) if *byte == b'\\' => {
                bytes.push(escaped);
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Kernel settings; names that lead nowhere, or out of /proc/sys, are left out. Of a name with `*` for a part it is the value
/// of all for which that stands, or the values with what has them.
pub fn sysctls(proc: &Path, names: &BTreeSet<String>) -> Answer {
    let (mut values, mut unread) = (BTreeMap::new(), BTreeMap::new());
    for name in names {
        let Some(path) = sysctl_path(name) else { continue };
        match setting(&proc.join("sys"), &path) {
            Ok(Some(value)) => drop(values.insert(name.clone(), value)),
            Ok(None) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => drop(unread.insert(name.clone(), chain(&error))),
        }
    }
    Answer::Sysctls { values, unread }
}

fn setting(sys: &Path, path: &str) -> Result<Option<String>, disk::Error> {
    let value = |path: PathBuf| Ok(text(path)?.split_whitespace().collect::<Vec<_>>().join(" "));
    let Some((before, after)) = path.split_once("*/") else { return value(sys.join(path)).map(Some) };
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for place in disk::list(sys.join(before))? {
        let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match value(place.join(after)) {
            Ok(value) => values.entry(value).or_default().push(name),
            // An interface that went away.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    let told = |(value, names): (String, Vec<String>)| format!("{value} ({})", names.join(", "));
    Ok(match values.len() {
        0 | 1 => values.into_keys().next(),
        _ => Some(values.into_iter().map(told).collect::<Vec<_>>().join(", ")),
    })
}

/// Dots separate, or slashes where the first separator is one (sysctl.d(5)).
fn sysctl_path(name: &str) -> Option<String> {
    let slashes = name.find(['.', '/']).is_some_and(|at| name[at..].starts_with('/'));
    let path = if slashes { name.to_owned() } else { name.replace('.', "\0").replace('/', ".").replace('\0', "/") };
    let inside = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    inside.then_some(path)
}

/// Memory, processors, OOM kills and pressure.
pub fn resources(machine: &Machine) -> Result<Answer, Trouble> {
    let memory = text(machine.proc.join("meminfo"))?;
    let memory = assignments(&memory, ':');
    let statistics = text(machine.proc.join("vmstat"))?;
    let statistics = assignments(&statistics, ' ');
    let kibibytes = |name: &str| {
        let value = memory.get(name).and_then(|value| value.strip_suffix(" kB")?.trim().parse::<u64>().ok());
        value.and_then(|value| value.checked_mul(1024)).ok_or_else(|| format!("meminfo has no {name}"))
    };
    let online = text(machine.sys.join("devices/system/cpu/online"))?;
    let oom_kills = statistics.get("oom_kill").and_then(|count| count.parse().ok());
    Ok(Answer::Resources(Resources {
        memory_total: kibibytes("MemTotal")?,
        memory_available: kibibytes("MemAvailable")?,
        processors: count_ranges(&online).ok_or_else(|| format!("processors on line are {online:?}"))?,
        oom_kills: oom_kills.ok_or_else(|| "vmstat has no oom_kill".to_owned())?,
        pressure: pressures(&machine.proc),
    }))
}

/// How many numbers a list such as `0-2,4` has.
fn count_ranges(text: &str) -> Option<u32> {
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        last.checked_sub(first)?.checked_add(1)
    };
    text.trim().split(',').try_fold(0_u32, |sum, range| sum.checked_add(count(range)?))
}

/// Resources of which the kernel measures no pressure are left out: the judge says so.
fn pressures(proc: &Path) -> BTreeMap<String, Pressure> {
    let read = |name: &str| Some((name.to_owned(), pressure(&text(proc.join("pressure").join(name)).ok()?)?));
    ["cpu", "io", "memory"].into_iter().filter_map(read).collect()
}

/// `some avg10=0.00 avg60=0.12 avg300=0.05 total=1234`, and the same for `full`, which old kernels lack for `cpu`.
fn pressure(text: &str) -> Option<Pressure> {
    let minute = |kind: &str| -> Option<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))?;
        line.split(' ').find_map(|field| field.strip_prefix("avg60="))?.parse().ok()
    };
    Some(Pressure { some: minute("some")?, full: minute("full").unwrap_or(0.0) })
}

/// Space on the file systems of process 1, one entry for each device.
pub fn space(machine: &Machine) -> Result<Answer, Trouble> {
    let mut seen = BTreeSet::new();
    let mut file_systems = Vec::new();
    for mount in mounts(&machine.proc)? {
        if !WITH_SPACE.contains(&mount.fs.as_str()) || !seen.insert(mount.device.clone()) {
            continue;
        }
        let path = machine.root.join(mount.point.trim_start_matches('/'));
        let status = match disk::space(path) {
            // Hidden below another mount, or gone by now.
            Err(error) if error.is_not_found() => continue,
            result => result?,
        };
        file_systems.push(FileSystem {
            read_only: mount.options.contains("ro"),
            total: status.f_blocks.saturating_mul(status.f_frsize),
            available: status.f_bavail.saturating_mul(status.f_frsize),
            inodes: status.f_files,
            inodes_free: status.f_favail,
            point: mount.point,
            fs: mount.fs,
        });
    }
    Ok(Answer::Space { file_systems })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_with_their_escapes() {
        let line = r"36 35 98:0 /mnt1 /my\040disk ro,noatime master:1 shared:2 - ext3 /dev/a\134b rw,errors=continue";
        let mount = mount(line).unwrap();
        assert_eq!(
            (&*mount.point, &*mount.fs, &*mount.source, &*mount.device),
            ("/my disk", "ext3", r"/dev/a\b", "98:0")
        );
        assert_eq!(mount.options.iter().map(String::as_str).collect::<Vec<_>>(), ["errors=continue", "noatime", "ro"]);
        for bad in ["", " - ", "1 2 3 - x", "36 35 98:0 / / rw - ext3 /dev/x"] {
            assert!(super::mount(bad).is_none(), "{bad}");
        }
        for (text, plain) in [(r"\", r"\"), (r"\04", r"\04"), (r"\999", r"\999"), (r"\777", r"\777"), (r"a\012", "a\n")]
        {
            assert_eq!(unescape(text), plain);
        }
    }

    #[test]
    fn settings_stay_below_proc_sys() {
        assert_eq!(sysctl_path("kernel.sysrq"), Some("kernel/sysrq".into()));
        assert_eq!(sysctl_path("net.ipv4.conf.eth0/1.rp_filter"), Some("net/ipv4/conf/eth0.1/rp_filter".into()));
        assert_eq!(sysctl_path("net/ipv4/conf/eth0.1/rp_filter"), Some("net/ipv4/conf/eth0.1/rp_filter".into()));
        for bad in ["", "a..b", ".a", "/etc/shadow", "a/../../b", "kernel///x", "a/./b"] {
            assert_eq!(sysctl_path(bad), None, "{bad}");
        }
    }

    #[test]
    fn of_many_settings_the_one_that_differs_is_told() {
        let sys = tempfile::tempdir().unwrap();
        let set = |interface: &str, value: &str| {
            let directory = sys.path().join("net/conf").join(interface);
            disk::create_dir_all(&directory).unwrap();
            disk::write_atomic(directory.join("accept"), value.as_bytes(), 0o644).unwrap();
        };
        let told = || setting(sys.path(), "net/conf/*/accept").unwrap();
        disk::create_dir_all(sys.path().join("net/conf/gone")).unwrap();
        assert_eq!(told(), None);
        ["all", "eth0", "lo"].into_iter().for_each(|interface| set(interface, "0\n"));
        assert_eq!(told().as_deref(), Some("0"));
        set("lo", "1\n");
        assert_eq!(told().as_deref(), Some("0 (all, eth0), 1 (lo)"));
        assert!(setting(sys.path(), "net/none/*/accept").unwrap_err().is_not_found());
    }

    #[test]
    fn ranges_are_counted() {
        assert_eq!((count_ranges("0\n"), count_ranges("0-2,4"), count_ranges("0-3\n")), (Some(1), Some(4), Some(4)));
        for bad in ["", "x", "3-1", "0-", "0-4294967295"] {
            assert_eq!(count_ranges(bad), None, "{bad}");
        }
    }

    #[test]
    fn pressure_is_that_of_the_last_minute() {
        let text = "some avg10=1.00 avg60=2.50 avg300=3.00 total=9\nfull avg10=0.00 avg60=1.25 avg300=0.00 total=1\n";
        assert_eq!(pressure(text), Some(Pressure { some: 2.5, full: 1.25 }));
        assert_eq!(pressure("some avg10=1.00 avg60=2.50"), Some(Pressure { some: 2.5, full: 0.0 }));
        assert_eq!((pressure(""), pressure("some avg60=x")), (None, None));
    }

    proptest::proptest! {
        #[test]
        fn no_line_of_the_kernel_makes_it_panic(text in "([0-9]{1,4}|:| - | |/|\\\\[0-7]{0,3}|avg60=|some|ro,|,|-|\\PC){0,24}") {
            let _ = (mount(&text), unescape(&text), count_ranges(&text), pressure(&text), sysctl_path(&text));
        }
    }
}
