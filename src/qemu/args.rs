//! QEMU's argument list as a pure function of a machine and of where its files are. Written for QEMU 7.2
//! to 10; qemu(1) is the reference. No argument holds a secret: credentials are named by their files.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::qemu::machine::{Accelerator, Forward, Machine};
use crate::qemu::provider::{Card, Disk};

/// Names of the files in a machine's private directory.
pub mod file {
    /// The overlay that takes all writes.
    pub const OVERLAY: &str = "overlay.qcow2";
    /// The machine's own UEFI variables.
    pub const VARS: &str = "vars.fd";
    /// QMP, for the rave that started the machine.
    pub const QMP: &str = "qmp.sock";
    /// QMP, for any other rave.
    pub const CONTROL: &str = "control.sock";
    /// The same for whoever brings faults about, beside what others do with the machine.
    pub const FAULT: &str = "fault.sock";
    /// The same for whoever looks at its health, which may be for as long as it runs.
    pub const CHECK: &str = "check.sock";
    /// The guest agent.
    pub const AGENT: &str = "agent.sock";
    /// The serial console.
    pub const CONSOLE: &str = "console.sock";
    /// All that was said on the serial console.
    pub const CONSOLE_LOG: &str = "console.log";
    /// The kernel that is booted without firmware, and its initrd.
    pub const KERNEL: &str = "linux";
    /// See [`KERNEL`].
    pub const INITRD: &str = "initrd";
    /// What QEMU itself said.
    pub const QEMU_LOG: &str = "qemu.log";
    /// A debugger's stub.
    pub const GDB: &str = "gdb.sock";
    /// The journal as the guest hands it over, an object of JSON a line.
    pub const JOURNAL: &str = "journal.json";
    /// A picture of the screen, while it is on its way to whoever asked for it.
    pub const SCREEN: &str = "screen.png";
    /// What belongs to one run: an earlier one's would be taken for what this machine says.
    pub const OF_A_RUN: [&str; 9] = [QMP, CONTROL, FAULT, CHECK, AGENT, CONSOLE, GDB, CONSOLE_LOG, JOURNAL];
    /// The disk with the user-data of a rehearsal.
    pub const SEED: &str = "seed.img";
    /// One file per SMBIOS string that holds a credential.
    pub const CREDENTIALS: &str = "credentials";
}

/// Name of the network that the machine's card is in.
pub const NETDEV: &str = "net";
/// The node of the block layer that the machine's disk is.
pub const DISK: &str = "disk";

/// Where QEMU finds the machine's files; inside a sandbox these are not the host's paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The machine's private directory; empty: QEMU's working directory.
    pub directory: PathBuf,
    /// The raw image.
    pub disk: PathBuf,
    /// How it boots.
    pub boot: Boot,
    /// Files within the private directory, one for each credential.
    pub credentials: Vec<String>,
}

/// How a machine boots, as QEMU sees the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// Firmware code; the variables are in the private directory.
    Uefi(PathBuf),
    /// Kernel, initrd and command line.
    Direct(PathBuf, PathBuf, String),
}

/// What was decided while the machine was being started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// What runs the guest's instructions.
    pub accelerator: Accelerator,
    /// Host ports that are free.
    pub forwards: Vec<Forward>,
    /// Whether QEMU confines its own system calls; some builds cannot.
    pub confined: bool,
}

/// The whole argument list, without the program.
pub fn arguments(machine: &Machine, decided: &Decided, paths: &Paths) -> Vec<OsString> {
    [
        base(machine, decided),
        accelerator(machine, decided.accelerator),
        boot(machine, paths),
        disk(machine, paths),
        network(machine, Ipv4Addr::LOCALHOST, &decided.forwards),
        channels(paths),
        smbios(machine, &within(paths, file::CREDENTIALS), &paths.credentials),
        debug(machine, paths),
    ]
    .concat()
}

/// What a service of a host needs besides, which owns its disk and has no rave beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosted<'a> {
    /// The host's address at which ports that lead into the guest are open.
    pub listen: Ipv4Addr,
    /// The directory that holds a file for each of `credentials`.
    pub directory: &'a Path,
    /// Names of credentials; each file has the whole SMBIOS string.
    pub credentials: &'a [String],
}

/// The argument list of a machine that is a service of its host: the disk of `paths` is its own and is written to, and
/// the console is the standard output. Such a machine boots by firmware.
pub fn hosted(machine: &Machine, decided: &Decided, paths: &Paths, hosted: &Hosted<'_>) -> Vec<OsString> {
    let mut channels = Vec::new();
    channels.extend(socket("control", &within(paths, file::CONTROL), ""));
    channels.extend(words("-mon chardev=control,mode=control"));
    channels.extend(agent(paths));
    channels.extend(words("-chardev stdio,id=console,signal=off -serial chardev:console"));
    [
        base(machine, decided),
        accelerator(machine, decided.accelerator),
        boot(machine, paths),
        own_disk(paths),
        network(machine, hosted.listen, &decided.forwards),
        channels,
        smbios(machine, hosted.directory, hosted.credentials),
    ]
    .concat()
}

/// What starts the shortest machine that shows whether an accelerator works: no disk, no network.
/// It boots the firmware or the kernel of `paths` and talks on [`file::QMP`] and [`file::CONSOLE_LOG`].
pub fn probe(paths: &Paths) -> Vec<OsString> {
    let mut list = words("-nodefaults -no-user-config -display none -machine q35,usb=off,vmport=off");
    list.extend(words("-accel kvm -cpu host -smp 1 -m 256 -no-reboot -action panic=none"));
    match &paths.boot {
        Boot::Uefi(code) => {
            list.extend(flash(code));
        }
        Boot::Direct(kernel, _, _) => {
            list.extend([word("-kernel"), kernel.as_os_str().to_owned()]);
            list.extend([word("-append"), word("console=ttyS0 earlyprintk=ttyS0 panic=-1")]);
        }
    }
    list.extend(socket("qmp", &within(paths, file::QMP), ""));
    list.extend(words("-mon chardev=qmp,mode=control"));
    list.push(word("-chardev"));
    list.push(option("file,id=console,path=", &within(paths, file::CONSOLE_LOG), ""));
    list.extend(words("-serial chardev:console"));
    list
}

fn base(machine: &Machine, decided: &Decided) -> Vec<OsString> {
    let mut list = vec![word("-name"), word(&format!("{},process=rave-{0}", machine.name))];
    list.extend(words("-nodefaults -no-user-config -display none -msg timestamp=on"));
    // Without the chipset's SATA controller, which nothing hangs on and whose ports a guest would wait for.
    list.extend(words("-machine q35,usb=off,vmport=off,smm=off,sata=off,dump-guest-core=off"));
    list.extend(words(&format!("-smp {} -m {}", machine.profile.vcpus, machine.profile.memory)));
    let rtc = machine.rtc.map_or("utc".to_owned(), |time| format!("{time:.0}"));
    list.extend(words(&format!("-rtc base={rtc},clock=host -boot strict=on,menu=off")));
    if is_wired(machine) {
        // It must not run before somebody answers in its network.
        list.push(word("-S"));
    }
    // A panic is the guest's own affair (panic=10 reboots); rave hears of it from pvpanic.
    list.extend(words("-action panic=none,reboot=reset,shutdown=poweroff"));
    list.extend(words("-device pvpanic-pci -object rng-builtin,id=rng -device virtio-rng-pci,rng=rng"));
    if decided.confined {
        list.extend(words("-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"));
    }
    list
}

fn accelerator(machine: &Machine, accelerator: Accelerator) -> Vec<OsString> {
    match accelerator {
        Accelerator::Kvm => words("-accel kvm -cpu host"),
        // Five-level paging costs software emulation a memory access per walk and buys nothing here. The string
        // instructions that erms and fsrm call fast are emulated byte by byte: without these flags kernel and libc
        // clear and copy by words. A guest that wipes what it frees touches all its memory as it starts; handed over
        // in one go it costs a tenth of one page at a time.
        Accelerator::Tcg => {
            let cache = machine.profile.translation_cache;
            words(&format!("-accel tcg,thread=multi,tb-size={cache} -cpu max,la57=off,erms=off,fsrm=off -mem-prealloc"))
        }
    }
}

fn boot(machine: &Machine, paths: &Paths) -> Vec<OsString> {
    match &paths.boot {
        Boot::Uefi(code) => {
            let mut list = flash(code);
            list.push(word("-drive"));
            list.push(option("if=pflash,unit=1,format=raw,file=", &within(paths, file::VARS), ""));
            list
        }
        Boot::Direct(kernel, initrd, cmdline) => {
            let extra = if stops(machine) { format!(" {}", rave_init::BREAK) } else { String::new() };
            let mut list = vec![word("-kernel"), kernel.into(), word("-initrd"), initrd.into()];
            list.extend([word("-append"), word(&format!("{cmdline}{extra}"))]);
            list
        }
    }
}

fn flash(code: &Path) -> Vec<OsString> {
    vec![word("-drive"), option("if=pflash,unit=0,format=raw,readonly=on,file=", code, "")]
}

/// The device of a disk where no provider has another, and what it can.
const VIRTIO_BLK: (&str, &str) = ("-device virtio-blk-pci", ",discard=on");

fn disk(machine: &Machine, paths: &Paths) -> Vec<OsString> {
    // Flushes of a machine that nobody will see again need not reach the platter.
    let cache = json!({ "direct": false, "no-flush": !machine.persist });
    let base = json!({
        "driver": "raw", "node-name": "base", "read-only": true,
        "file": { "driver": "file", "filename": text(&paths.disk), "read-only": true },
    });
    let overlay = json!({
        "driver": "qcow2", "node-name": DISK, "discard": "unmap", "cache": cache, "backing": "base",
        "file": {
            "driver": "file", "filename": text(&within(paths, file::OVERLAY)), "discard": "unmap", "cache": cache,
        },
    });
    let mut list = Vec::new();
    for node in [base, overlay] {
        list.extend([word("-blockdev"), word(&node.to_string())]);
    }
    let (device, more) = match machine.provider().map_or(Disk::VirtioBlk, |provider| provider.disk) {
        Disk::VirtioBlk => VIRTIO_BLK,
        Disk::VirtioScsi => ("-device virtio-scsi-pci,id=scsi0 -device scsi-hd,bus=scsi0.0", ""),
        Disk::Nvme => ("-device nvme", ""),
    };
    let sectors = match machine.sector_size {
        512 => String::new(),
        size => format!(",logical_block_size={size},physical_block_size={size}"),
    };
    list.extend(drive(device, &format!("{more}{sectors}")));
    list.extend(seed(machine, paths));
    list
}

/// A disk that is a file of the machine's own. What the guest flushes is on the platter.
fn own_disk(paths: &Paths) -> Vec<OsString> {
    let node = json!({
        "driver": "raw", "node-name": DISK, "discard": "unmap",
        "file": { "driver": "file", "filename": text(&paths.disk), "discard": "unmap" },
    });
    [vec![word("-blockdev"), word(&node.to_string())], drive(VIRTIO_BLK.0, VIRTIO_BLK.1)].concat()
}

fn drive(device: &str, more: &str) -> Vec<OsString> {
    words(&format!("{device},id=disk0,drive={DISK},bootindex=1{more},serial=rave"))
}

fn seed(machine: &Machine, paths: &Paths) -> Vec<OsString> {
    if !machine.provider().is_some_and(|provider| provider.seed) {
        return Vec::new();
    }
    let node = json!({
        "driver": "raw", "node-name": "seed", "read-only": true,
        "file": { "driver": "file", "filename": text(&within(paths, file::SEED)), "read-only": true },
    });
    let mut list = vec![word("-blockdev"), word(&node.to_string())];
    list.extend(words(match machine.provider().map(|provider| provider.disk) {
        Some(Disk::VirtioScsi) => "-device scsi-cd,bus=scsi0.0,drive=seed",
        _ => "-device virtio-blk-pci,drive=seed,serial=seed",
    }));
    list
}

/// Whether rave answers in the machine's network.
pub fn is_wired(machine: &Machine) -> bool {
    machine.provider().is_some_and(|provider| provider.network.is_some())
}

fn network(machine: &Machine, listen: Ipv4Addr, forwards: &[Forward]) -> Vec<OsString> {
    let mut netdev = format!("user,id={NETDEV}");
    if !machine.outbound() {
        netdev.push_str(",restrict=on");
    }
    for forward in forwards {
        netdev.push_str(&format!(",hostfwd=tcp:{listen}:{}-:{}", forward.host, forward.guest));
    }
    let mut list = vec![word("-netdev"), word(&netdev)];
    match machine.provider().map_or(Card::VirtioNet, |provider| provider.card) {
        Card::VirtioNet => list.extend(words(&format!("-device virtio-net-pci,netdev={NETDEV},romfile="))),
    }
    list
}

fn channels(paths: &Paths) -> Vec<OsString> {
    let mut log = OsString::from(",logappend=on,logfile=");
    log.push(escape(&within(paths, file::CONSOLE_LOG)));
    let mut list = Vec::new();
    for (id, name) in [("qmp", file::QMP), ("control", file::CONTROL), ("fault", file::FAULT), ("check", file::CHECK)] {
        list.extend(socket(id, &within(paths, name), ""));
        list.extend(words(&format!("-mon chardev={id},mode=control")));
    }
    list.extend(agent(paths));
    list.extend(socket("console", &within(paths, file::CONSOLE), log));
    list.extend(words("-serial chardev:console"));
    list
}

fn agent(paths: &Paths) -> Vec<OsString> {
    let mut list = socket("agent", &within(paths, file::AGENT), "");
    list.extend(words("-device virtio-serial-pci"));
    list.extend(words("-device virtserialport,chardev=agent,name=org.qemu.guest_agent.0"));
    list
}

fn smbios(machine: &Machine, directory: &Path, credentials: &[String]) -> Vec<OsString> {
    let uuid = machine.uuid();
    let options = match machine.provider() {
        Some(provider) => provider.smbios.options(&uuid),
        None => vec![format!("type=1,product=rave,uuid={uuid}")],
    };
    let mut list: Vec<OsString> = options.iter().flat_map(|option| [word("-smbios"), word(option)]).collect();
    for name in credentials {
        list.extend([word("-smbios"), option("type=11,path=", &directory.join(name), "")]);
    }
    list
}

/// Whether the initrd is told to stop before the root file system takes over.
fn stops(machine: &Machine) -> bool {
    machine.debug.is_some_and(|debug| debug.stops)
}

fn debug(machine: &Machine, paths: &Paths) -> Vec<OsString> {
    if machine.debug.is_none() {
        return Vec::new();
    }
    let mut list = words("-d guest_errors,cpu_reset -device VGA,romfile=");
    list.push(word("-chardev"));
    list.push(option("file,id=journal,append=on,path=", &within(paths, file::JOURNAL), ""));
    list.extend(words("-device virtserialport,chardev=journal,name=rave.journal"));
    list.extend(socket("gdb", &within(paths, file::GDB), ""));
    list.extend(words("-gdb chardev:gdb"));
    if let (Boot::Uefi(_), true) = (&paths.boot, stops(machine)) {
        // systemd-stub(7)
        let extra = format!("type=11,value=io.systemd.stub.kernel-cmdline-extra={}", rave_init::BREAK);
        list.extend([word("-smbios"), word(&extra)]);
    }
    list
}

fn socket(id: &str, path: &Path, rest: impl AsRef<std::ffi::OsStr>) -> Vec<OsString> {
    vec![word("-chardev"), option(&format!("socket,id={id},server=on,wait=off,path="), path, rest)]
}

fn within(paths: &Paths, name: &str) -> PathBuf {
    paths.directory.join(name)
}

/// A path as the value of one of QEMU's comma-separated options.
fn option(before: &str, path: &Path, after: impl AsRef<std::ffi::OsStr>) -> OsString {
    let mut list = OsString::from(before);
    list.push(escape(path));
    list.push(after);
    list
}

/// Doubles commas, which separate options (qemu(1)).
fn escape(path: &Path) -> OsString {
    let mut bytes = Vec::new();
    for &byte in path.as_os_str().as_bytes() {
        bytes.extend(if byte == b',' { &b",,"[..] } else { std::slice::from_ref(&byte) });
    }
    OsString::from_vec(bytes)
}

/// A path inside JSON, which knows only Unicode.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn word(text: &str) -> OsString {
    text.into()
}

fn words(text: &str) -> Vec<OsString> {
    text.split(' ').map(OsString::from).collect()
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
