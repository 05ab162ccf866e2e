//! A virtual machine as plain data, before any process exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

use crate::name::ImageName;
use crate::qemu::error::{Error, Result};
use crate::qemu::provider::Provider;
use crate::qemu::wire::Answering;
use crate::system::Mode;

/// Most that one credential may hold, in bytes; systemd refuses larger ones.
const MAX_CREDENTIAL: usize = 1 << 20;

/// A virtual machine to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its name; one machine of a name exists at a time.
    pub name: ImageName,
    /// The built raw image. Never written: the machine works on an overlay.
    pub disk: PathBuf,
    /// Size of the disk that the guest sees, in bytes; an image that is larger keeps its own size.
    pub disk_size: u64,
    /// Size of the disk's logical sectors in bytes, as its partition table has it: 512 or 4096.
    pub sector_size: u64,
    /// Memory, processors and the like.
    pub profile: Profile,
    /// How it boots.
    pub firmware: Firmware,
    /// TCP ports of the host's loopback interface that lead into the guest. A busy host port moves.
    pub forwards: Vec<Forward>,
    /// System credentials of systemd, delivered by SMBIOS.
    pub credentials: Credentials,
    /// Credential that takes the public half of the machine's own SSH key, in authorized_keys format.
    pub ssh_credential: Option<String>,
    /// What runs the guest's instructions.
    pub accelerator: Choice,
    /// Whether the overlay outlives the machine, and is used again by the next one of the same name.
    pub persist: bool,
    /// Whether the machine outlives the rave that started it.
    pub detach: bool,
    /// Ways to look into it.
    pub debug: Option<Debug>,
    /// What its hardware clock says as QEMU starts, in UTC; nothing: what the host's does.
    pub rtc: Option<DateTime>,
    /// The cloud that it is to find itself in.
    pub rehearsal: Option<Rehearsal>,
}

/// A machine that is looked into: it has a screen, a port that takes its journal, and a debugger can be attached at
/// `gdb.sock`. The shell is the image's own, if it has one (`debug.enable`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Debug {
    /// Whether the initrd stops before the root file system takes over.
    pub stops: bool,
}

/// A cloud provider, and what it tells its machine. May hold secrets: never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Rehearsal {
    /// Its hardware and network.
    pub provider: Provider,
    /// Which instance it is; nothing: the one that the machine's name stands for.
    pub instance: Option<String>,
    /// The content of the disk with user-data, for a provider that has one.
    pub seed: Option<Vec<u8>>,
    /// Whoever answers in the provider's network, if it has one.
    pub service: Option<Answering>,
}

impl fmt::Debug for Rehearsal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rehearsal").field("provider", &self.provider).finish_non_exhaustive()
    }
}

/// The settings of a machine that depend on the mode; one file of `qemu/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Profile {
    /// Memory in MiB.
    pub memory: u64,
    /// Virtual processors.
    pub vcpus: u32,
    /// Cache of translated code in MiB; used under software emulation only.
    pub translation_cache: u64,
    /// Whether the guest may open connections to the outside, the host's loopback services included.
    pub outbound: bool,
}

impl Profile {
    /// The profile of a mode, as `qemu/` holds it.
    pub fn of(mode: Mode) -> Result<Self> {
        let (name, text) = match mode {
            Mode::Safe => ("qemu/safe.yaml", include_str!("../../qemu/safe.yaml")),
            Mode::FullPipe => ("qemu/full-pipe.yaml", include_str!("../../qemu/full-pipe.yaml")),
        };
        Self::parse(name, text)
    }

    /// Reads a profile; `name` is for the error.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        serde_yaml::from_str(text).map_err(|source| Error::Profile { name: name.to_owned(), source })
    }
}

/// How a machine boots. Paths are the host's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Firmware {
    /// UEFI from flash: the way that is deployed.
    Uefi {
        /// Firmware code, mapped read-only.
        code: PathBuf,
        /// Template of the variable store; the machine gets a copy.
        vars: PathBuf,
    },
    /// Kernel and initrd handed over by QEMU.
    Direct {
        /// Kernel image.
        kernel: PathBuf,
        /// Initrd.
        initrd: PathBuf,
        /// Kernel command line.
        cmdline: String,
    },
}

/// A TCP port of the host's loopback interface that leads to a port of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Forward {
    /// Port on 127.0.0.1; as asked for, or as chosen once the machine runs.
    pub host: u16,
    /// Port of the guest.
    pub guest: u16,
}

/// System credentials (systemd.system-credentials(7)) by name. Values may be secret: never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials(pub BTreeMap<String, Vec<u8>>);

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What the user wants to run the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// KVM where it works, otherwise TCG.
    #[default]
    Auto,
    /// KVM or nothing.
    Kvm,
    /// Software emulation.
    Tcg,
}

impl std::str::FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "kvm" => Ok(Self::Kvm),
            "tcg" => Ok(Self::Tcg),
            _ => Err(format!("{text:?} is not an accelerator: auto, kvm or tcg")),
        }
    }
}

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// The kernel's virtual machine monitor.
    Kvm,
    /// QEMU's software emulation.
    Tcg,
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        })
    }
}

impl Machine {
    /// Whether QEMU could make sense of it at all; the error names the first field that is wrong.
    pub fn check(&self) -> Result<()> {
        let guest_ports: BTreeSet<u16> = self.forwards.iter().map(|forward| forward.guest).collect();
        let names = self.credentials.0.keys().chain(&self.ssh_credential);
        let wrong = |what: String| Err(Error::Machine { name: self.name.clone(), what });
        if !(64..=1 << 24).contains(&self.profile.memory) {
            return wrong(format!("{} MiB of memory are not between 64 and 16777216", self.profile.memory));
        }
        if self.disk.to_str().is_none() {
            return wrong("the path of its disk is not UTF-8".to_owned());
        }
        if let Some(rehearsal) = &self.rehearsal {
            let Provider { seed, network, uuid_prefix, .. } = &rehearsal.provider;
            if *seed != rehearsal.seed.is_some() || network.is_some() != rehearsal.service.is_some() {
                return wrong("its provider asks for another way to give it user-data".to_owned());
            }
            if uuid_prefix.len() > 8 || !uuid_prefix.chars().all(|c| c.is_ascii_hexdigit()) {
                return wrong(format!("no UUID begins with {uuid_prefix:?}"));
            }
        }
        if !(1..=255).contains(&self.profile.vcpus) {
            return wrong(format!("{} virtual processors are not between 1 and 255", self.profile.vcpus));
        }
        if guest_ports.contains(&0) || guest_ports.len() != self.forwards.len() {
            return wrong("each guest port must be forwarded once, and none is 0".to_owned());
        }
        for name in names {
            if !credential_name(name) {
                return wrong(format!("{name:?} is not the name of a credential"));
            }
        }
        match self.credentials.0.iter().find(|(_, value)| value.len() > MAX_CREDENTIAL) {
            Some((name, _)) => wrong(format!("credential {name} is larger than 1 MiB")),
            None => Ok(()),
        }
    }

    /// The provider whose machine it is to be.
    pub fn provider(&self) -> Option<&Provider> {
        self.rehearsal.as_ref().map(|rehearsal| &rehearsal.provider)
    }

    /// Whether the guest may open connections to the outside: never in a network of our own.
    pub fn outbound(&self) -> bool {
        self.profile.outbound && self.provider().is_none_or(|provider| provider.network.is_none())
    }

    /// The system UUID that the guest sees: always the same for one machine name, and one instance of a provider. A
    /// provider may say how it begins.
    pub fn uuid(&self) -> String {
        let mut digest = crate::digest::Canonical::new("machine uuid");
        digest.field(self.name.as_str());
        if let Some(instance) = self.rehearsal.as_ref().and_then(|rehearsal| rehearsal.instance.as_ref()) {
            digest.field(instance);
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.finish().as_bytes()[..16]);
        bytes[6] = bytes[6] & 0x0f | 0x80; // RFC 9562: version 8, made by a custom rule
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let prefix = self.provider().map_or("", |provider| provider.uuid_prefix.as_str());
        let hex = format!("{prefix}{}", hex.get(prefix.len()..).unwrap_or_default());
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }
}

/// Credential names are file names without anything that SMBIOS strings or shells could trip over.
fn credential_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::system::Cloud;

    pub(crate) fn machine() -> Machine {
        Machine {
            name: "web".parse().unwrap(),
            disk: "/images/a,b.raw".into(),
            disk_size: 8 << 30,
            sector_size: 512,
            profile: Profile::of(Mode::Safe).unwrap(),
            firmware: Firmware::Uefi { code: "/fw/code.fd".into(), vars: "/fw/vars.fd".into() },
            forwards: vec![Forward { host: 2222, guest: 22 }, Forward { host: 3002, guest: 3002 }],
            credentials: Credentials([("rave.identity".to_owned(), b"AGE-SECRET-KEY-1".to_vec())].into()),
            ssh_credential: Some("ssh.authorized_keys.agent".to_owned()),
            accelerator: Choice::Auto,
            persist: false,
            detach: false,
            debug: None,
            rtc: None,
            rehearsal: None,
        }
    }

    #[test]
    fn profiles_are_those_of_the_modes() {
        let (safe, full) = (Profile::of(Mode::Safe).unwrap(), Profile::of(Mode::FullPipe).unwrap());
        assert_eq!((safe.memory, safe.vcpus), (2048, 2));
        assert_eq!((full.memory, full.vcpus), (4096, 4));
        let error = Profile::parse("x.yaml", "memory: 1\nvcpus: 2\ncores: 3\n").unwrap_err().to_string();
        assert!(error.contains("x.yaml"), "{error}");
    }

    #[test]
    fn a_uuid_is_stable_per_name_and_well_formed() {
        let uuid = machine().uuid();
        assert_eq!(uuid, machine().uuid());
        assert_eq!((uuid.len(), &uuid[14..15]), (36, "8"));
        let other = Machine { name: "db".parse().unwrap(), ..machine() };
        assert_ne!(uuid, other.uuid());
        let of = |instance: Option<&str>| {
            let provider = Provider::of(Cloud::Ec2).unwrap();
            let rehearsal = Rehearsal { provider, instance: instance.map(str::to_owned), seed: None, service: None };
            Machine { rehearsal: Some(rehearsal), ..machine() }.uuid()
        };
        assert_eq!(of(Some("second")), of(Some("second")));
        assert_ne!(of(Some("second")), of(None));
        assert!(of(Some("second")).starts_with("ec2"));
        assert_eq!(of(None)[3..], uuid[3..]);
    }

    #[test]
    fn machines_that_cannot_be_are_refused() {
        assert!(machine().check().is_ok());
        let mut cases = vec![machine(); 6];
        cases[0].profile.memory = 0;
        cases[1].profile.vcpus = 0;
        cases[2].forwards.push(Forward { host: 9, guest: 22 });
        cases[3].forwards[0].guest = 0;
        cases[4].credentials.0.insert("a/b".to_owned(), Vec::new());
        cases[5].ssh_credential = Some("a,path=/etc/shadow".to_owned());
        for (index, case) in cases.iter().enumerate() {
            assert!(matches!(case.check(), Err(Error::Machine { .. })), "case {index}");
        }
    }

    #[test]
    fn debug_output_never_shows_a_credential() {
        assert!(!format!("{:?}", machine()).contains("SECRET"));
    }
}
