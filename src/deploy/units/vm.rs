//! The service that is a virtual machine: QEMU, as a user that exists only while it runs.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{
    DISK, Parts, RAVE, START, STOP, credentials, directory, load, ports, put, quoted, sandbox, service, title,
};
use crate::qemu;
use crate::qemu::args::{self, Boot, Decided, Hosted, Paths};
use crate::qemu::machine::{Accelerator, Choice, Credentials, Firmware, Forward, Machine, Profile};

/// The firmware in the tree of tools.
const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
/// What QEMU needs besides the guest's memory, in MiB.
const OVERHEAD: u64 = 512;

/// The unit that is the machine; `accelerator` is what runs its instructions.
///
/// # Errors
/// The image asks for a machine that cannot be.
pub fn render(parts: &Parts<'_>, accelerator: Accelerator) -> qemu::Result<String> {
    let declared = parts.declared;
    let (name, title) = (&declared.name, title(parts));
    let credentials = credentials(parts);
    let machine = described(parts)?;
    machine.check()?;
    let own = directory(name);
    let decided = Decided { accelerator, forwards: machine.forwards.clone(), confined: true };
    let paths =
        Paths { directory: own.clone(), disk: own.join(DISK), boot: Boot::Uefi(CODE.into()), credentials: Vec::new() };
    let delivered = PathBuf::from(format!("/run/credentials/{}", service(name)));
    let hosted = Hosted { listen: declared.listen, directory: &delivered, credentials: &credentials };
    let command = command("/usr/bin/qemu-system-x86_64", &args::hosted(&machine, &decided, &paths, &hosted));
    let is_kvm = accelerator == Accelerator::Kvm;
    let cache = if is_kvm { 0 } else { machine.profile.translation_cache };
    let memory = machine.profile.memory + cache + OVERHEAD;
    // One processor more than the guest's for what QEMU does beside it.
    let processors = (machine.profile.vcpus + 1) * 100;
    let low = machine.forwards.iter().any(|forward| forward.host < 1024);
    let capabilities = if low { "CAP_NET_BIND_SERVICE" } else { "" };
    let mut text = format!(
        "# Made by `rave deploy`; the next deployment replaces it.
[Unit]
Description=Virtual machine {name}: {title}
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=1h
StartLimitBurst=10

[Service]
Type=exec
ExecStartPre={RAVE} host disk {name}
ExecStart={command}
ExecStartPost={RAVE} host await {name}
ExecStop={RAVE} host power-off {name}
TimeoutStartSec={START}
TimeoutStopSec={STOP}
Restart=on-failure
RestartSec=5
DynamicUser=yes
StateDirectory=rave-vm/{name}
StateDirectoryMode=0700
RuntimeDirectory=rave/{name}
RuntimeDirectoryMode=0755
"
    );
    text.push_str(&load(parts));
    put(&mut text, format_args!("MemoryMax={memory}M\nCPUQuota={processors}%\nTasksMax=256\nLimitCORE=0"));
    if is_kvm {
        put(&mut text, format_args!("SupplementaryGroups=kvm\nDeviceAllow=/dev/kvm rw\nBindPaths=/dev/kvm"));
        put(&mut text, format_args!("MemoryDenyWriteExecute=yes"));
    }
    // Loopback and the addresses of clients: the guest's own traffic leaves through QEMU as well.
    put(&mut text, format_args!("RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"));
    put(&mut text, format_args!("CapabilityBoundingSet={capabilities}\nAmbientCapabilities={capabilities}"));
    if !low {
        // A port below 1024 is opened by the right to do so, which counts for nothing in a user namespace.
        text.push_str("PrivateUsers=yes\n");
    }
    text.push_str(&sandbox(parts));
    text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    Ok(text)
}

/// The machine as QEMU's arguments are made of it.
fn described(parts: &Parts<'_>) -> qemu::Result<Machine> {
    let Parts { declared, manifest, .. } = parts;
    let profile =
        Profile { memory: manifest.machine.memory, vcpus: manifest.machine.vcpus, ..Profile::of(manifest.mode)? };
    Ok(Machine {
        name: declared.name.clone(),
        disk: directory(&declared.name).join(DISK),
        disk_size: manifest.disk_size,
        sector_size: 512,
        profile,
        firmware: Firmware::Uefi { code: CODE.into(), vars: PathBuf::new() },
        forwards: ports(parts).into_iter().map(|(host, guest)| Forward { host, guest }).collect(),
        credentials: Credentials::default(),
        ssh_credential: None,
        accelerator: Choice::Auto,
        persist: true,
        detach: true,
        debug: None,
        rtc: None,
        rehearsal: None,
    })
}

/// A command line as systemd.service(5) reads it, an option and its values on each line.
fn command(program: &str, arguments: &[OsString]) -> String {
    let mut text = program.to_owned();
    for argument in arguments {
        let word = argument.to_string_lossy();
        text.push_str(if word.starts_with('-') { " \\\n  " } else { " " });
        text.push_str(&quoted(&word));
    }
    text
}
