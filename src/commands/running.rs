//! From a built disk to a running machine. Shared by `run`, `check` and `up`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::civil::DateTime;

use crate::cli::{self, Accel};
use crate::deploy::units;
use crate::disk;
use crate::images::{Manifest, gpt, uki};
use crate::interrupt;
use crate::name::ImageName;
use crate::qemu;
use crate::qemu::machine::{Choice, Credentials, Debug, Firmware, Forward, Machine, Profile};
use crate::qemu::machines::Machines;
use crate::qemu::program::QemuProgram;
use crate::qemu::vm::{Patience, Ready, Vm};
use crate::sandbox::Sandbox;
use crate::secrets::identity::{CREDENTIAL, Identity};
use crate::tool::Tool;

use super::rehearse::Play;
use super::scratch::Scratch;
use super::{Context, Failure, Result};

/// Note of a machine's state: where the manifest of its image is.
pub const MANIFEST: &str = "manifest";
/// The same for the tools tree that it was started with.
pub const TOOLS: &str = "tools";
/// Ports of the guest that are made reachable, and the host ports tried first.
const FORWARDS: [Forward; 2] = [Forward { host: 2222, guest: 22 }, Forward { host: 3002, guest: 3002 }];

/// A disk to boot, with what belongs to it.
pub struct Bootable {
    /// The raw disk.
    pub disk: PathBuf,
    /// Its manifest.
    pub manifest: PathBuf,
    /// Its unified kernel image, for direct boot.
    pub uki: PathBuf,
    /// The tools tree.
    pub tools: PathBuf,
}

/// How a machine is run.
pub struct Wish<'a> {
    /// Its name; nothing: the image's.
    pub name: Option<ImageName>,
    /// What it runs on.
    pub host: &'a cli::Host,
    /// Whether it boots without firmware.
    pub direct: bool,
    /// Whether its state is kept.
    pub persist: bool,
    /// Whether it outlives this command.
    pub detach: bool,
    /// Ways to look into it.
    pub debug: Option<Debug>,
    /// What its hardware clock says at first; nothing: what the host's does.
    pub rtc: Option<DateTime>,
    /// The cloud that it shall find itself in.
    pub play: Option<&'a Play>,
}

/// All machines of this user.
pub fn machines(context: &Context) -> Machines {
    Machines::new(context.state.join("vms"))
}

/// Holds what a host shall give against what it has, before hours of building.
pub fn expect(host: &cli::Host) -> Result<()> {
    if let Some(path) = &host.qemu
        && !disk::exists(path)
    {
        return Err(Failure::request(format!("there is no QEMU at {}", path.display()))
            .hint("without --qemu, rave takes the one of its tools tree"));
    }
    credentials(host).map(drop)
}

/// Starts a machine; it boots while this returns.
pub fn start(context: &Context, bootable: &Bootable, wish: &Wish<'_>) -> Result<Vm> {
    let manifest = super::build::read_manifest(&bootable.manifest)?;
    let kernel = if wish.direct { Some(unpack_uki(&bootable.uki)?) } else { None };
    let firmware = match &kernel {
        Some(folder) => Firmware::Direct {
            kernel: folder.path().join("linux"),
            initrd: folder.path().join("initrd"),
            cmdline: manifest.cmdline.clone(),
        },
        None => Firmware::Uefi {
            code: bootable.tools.join("usr/share/OVMF/OVMF_CODE_4M.fd"),
            vars: bootable.tools.join("usr/share/OVMF/OVMF_VARS_4M.fd"),
        },
    };
    let user = manifest.expect.ssh.as_ref().map(|ssh| format!("ssh.authorized_keys.{}", ssh.user));
    let mut machine = Machine {
        name: wish.name.clone().unwrap_or_else(|| manifest.image.clone()),
        disk: bootable.disk.clone(),
        disk_size: manifest.disk_size,
        sector_size: gpt::sector_size(&bootable.disk).map_err(Failure::error)?,
        profile: Profile {
            memory: manifest.machine.memory,
            vcpus: manifest.machine.vcpus,
            ..Profile::of(manifest.mode)?
        },
        firmware,
        forwards: forwards(&manifest),
        credentials: credentials(wish.host)?,
        ssh_credential: user,
        accelerator: match wish.host.accel {
            Accel::Auto => Choice::Auto,
            Accel::Kvm => Choice::Kvm,
            Accel::Tcg => Choice::Tcg,
        },
        persist: wish.persist,
        detach: wish.detach,
        debug: wish.debug,
        rtc: wish.rtc,
        rehearsal: None,
    };
    if let Some(play) = wish.play {
        play.set(&mut machine, manifest.expect.ssh.as_ref().map(|ssh| ssh.user.as_str()))?;
    }
    let notes = BTreeMap::from([
        (MANIFEST.to_owned(), bootable.manifest.display().to_string()),
        (TOOLS.to_owned(), bootable.tools.display().to_string()),
    ]);
    let program = program(wish.host, &bootable.tools);
    let vm = machines(context).start(machine, notes, program, context.ui.as_ref())?;
    Ok(vm)
}

/// Ports that are made reachable: the usual ones, and those of sites that are checked from outside.
fn forwards(manifest: &Manifest) -> Vec<Forward> {
    let mut forwards = FORWARDS.to_vec();
    for port in manifest.expect.https.values().map(|site| site.port) {
        if !forwards.iter().any(|forward| forward.guest == port) {
            // Ports below 1024 are not everybody's.
            forwards.push(Forward { host: if port < 1024 { port + 8000 } else { port }, guest: port });
        }
    }
    forwards
}

/// Waits until a machine that this command started is up; one that does not come up is stopped.
pub fn wait(context: &Context, vm: &mut Vm, host: &cli::Host) -> Result<()> {
    let result = vm.wait_ready(Ready::Settled, Duration::from_secs(host.timeout), context.ui.as_ref());
    if result.is_err() {
        // A kept disk is worth a proper shutdown, should the guest be able to.
        let patience = if vm.state().persist { Patience::default() } else { Patience::none() };
        vm.stop(patience, context.ui.as_ref())?;
    }
    Ok(result?)
}

/// Stops a machine that this command started, also if the user has interrupted what it was started for.
pub fn stop(context: &Context, vm: &mut Vm) -> Result<()> {
    let ended = interrupt::heard();
    match vm.stop(Patience::default(), context.ui.as_ref()) {
        // By the signal that has ended what came before.
        Err(qemu::Error::Interrupted) if ended => vm.stop(Patience::default(), context.ui.as_ref())?,
        stopped => stopped?,
    };
    Ok(())
}

/// Where the machine can be reached, for people.
pub fn addresses(vm: &Vm) -> String {
    let port = |guest| vm.state().host_port(guest).map_or("none".to_owned(), |port| format!("127.0.0.1:{port}"));
    format!("SSH at {}, HTTPS at {}", port(22), port(3002))
}

fn credentials(host: &cli::Host) -> Result<Credentials> {
    let mut credentials = Credentials::default();
    if let Some(path) = &host.identity {
        let identity = Identity::read(path).map_err(|e| {
            Failure::request(super::failure::chain(&e)).hint("`rave secrets keygen --output FILE` makes one")
        })?;
        credentials.0.insert(CREDENTIAL.to_owned(), identity.expose().to_vec());
    }
    credentials.0.insert(units::SHARED_ADDRESS.to_owned(), units::shared_address(false).into());
    Ok(credentials)
}

/// QEMU of the tools tree in a sandbox that sees only the machine's files, or the one that the user names.
fn program(host: &cli::Host, tools: &Path) -> QemuProgram {
    match &host.qemu {
        Some(path) => QemuProgram::host(path),
        None => {
            let root = tools.to_owned();
            QemuProgram::sandbox(tools, move |views, detach| {
                let sandbox = Sandbox::new(&root).network(true).tmpfs("/run").outlives_caller(detach);
                let bind = |sandbox: Sandbox, view: &crate::qemu::program::View| {
                    sandbox.bind(&view.host, &view.inside, view.writable)
                };
                views.iter().fold(sandbox, bind).directory("/run/vm").tool("/usr/bin/qemu-system-x86_64")
            })
        }
    }
}

/// `ssh` into a running machine as its administrator; a command may follow as arguments.
pub fn login(context: &Context, name: &ImageName) -> Result<Tool> {
    let vm = machines(context).attach(name)?;
    let manifest = manifest_of(&vm)?;
    let settings = manifest.expect.ssh.ok_or_else(|| Failure::request(format!("{name} has no SSH")))?;
    vm.trust_host_key(settings.host_key_file.as_str())?;
    let program = ssh(&tools_of(&vm)?, vm.directory(), true);
    vm.ssh(program, &settings.user).ok_or_else(|| Failure::request(format!("{name} has no SSH port")))
}

/// `ssh` of the tools tree, which sees the machine's key and the directory for temporary files.
pub fn ssh(tools: &Path, machine: &Path, terminal: bool) -> Tool {
    let temporary = std::env::temp_dir();
    let mut sandbox = Sandbox::new(tools).network(true).terminal(terminal);
    // The tools tree is read-only, so paths that it does not have need a place to be made in.
    for path in [temporary.as_path(), machine] {
        if let Some(top) = path.iter().nth(1) {
            sandbox = sandbox.tmpfs(&format!("/{}", top.to_string_lossy()));
        }
    }
    sandbox.bind(&temporary, &temporary, true).bind(machine, machine, true).tool("/usr/bin/ssh")
}

/// Takes kernel and initrd out of a unified kernel image.
fn unpack_uki(path: &Path) -> Result<Scratch> {
    let image = disk::read(path)?;
    let sections = uki::sections(&image).map_err(Failure::error)?;
    let folder = Scratch::new(disk::temp_dir()?);
    for (section, name) in [(".linux", "linux"), (".initrd", "initrd")] {
        let bytes = sections.iter().find(|(found, _)| found == section).map(|(_, bytes)| *bytes);
        let bytes = bytes.ok_or_else(|| Failure::error(format!("{} has no section {section}", path.display())))?;
        disk::write_atomic(folder.path().join(name), bytes, 0o644)?;
    }
    Ok(folder)
}

/// What is beside a disk that `rave build` has made.
pub fn beside(disk: &Path) -> Result<(PathBuf, PathBuf)> {
    let folder = disk.parent().unwrap_or(Path::new("."));
    let (manifest, uki) = (folder.join("manifest.json"), folder.join("uki.efi"));
    if !disk::exists(&manifest) {
        return Err(Failure::request(format!("there is no manifest.json beside {}", disk.display()))
            .hint("run a disk where `rave build` has put it, or an image"));
    }
    Ok((manifest, uki))
}

/// The manifest that a machine was started from.
pub fn manifest_of(vm: &Vm) -> Result<Manifest> {
    let path = vm.state().notes.get(MANIFEST);
    let path = path.ok_or_else(|| Failure::error(format!("machine {} has no manifest", vm.state().name)))?;
    super::build::read_manifest(Path::new(path))
}

/// The tools tree that a machine was started with.
pub fn tools_of(vm: &Vm) -> Result<PathBuf> {
    let path = vm.state().notes.get(TOOLS);
    path.map(PathBuf::from).ok_or_else(|| Failure::error(format!("machine {} has no tools", vm.state().name)))
}
