//! What a cloud provider's machines are made of, as far as QEMU has it. One file of `qemu/cloud/` each.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use serde::{Deserialize, Serialize};

use crate::qemu::error::{Error, Result};
use crate::system::Cloud;

/// The hardware of a provider's machines, and what they find in their network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Provider {
    /// What the firmware says of the machine.
    pub smbios: Smbios,
    /// How the system UUID begins, in hexadecimal digits without dashes.
    #[serde(default)]
    pub uuid_prefix: String,
    /// How the disk is attached.
    pub disk: Disk,
    /// The network card.
    pub card: Card,
    /// Whether there is a disk of its own with what the machine is to know.
    #[serde(default)]
    pub seed: bool,
    /// What answers in the network; nothing: the network is rave's usual one.
    #[serde(default)]
    pub network: Option<Network>,
}

/// Strings of the SMBIOS structures (DSP0134). `{uuid}` is the system UUID, `{uuid-hex}` the same without dashes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Smbios {
    /// Type 0.
    pub bios: BTreeMap<String, String>,
    /// Type 1.
    pub system: BTreeMap<String, String>,
    /// Type 2.
    pub board: BTreeMap<String, String>,
    /// Type 3.
    pub chassis: BTreeMap<String, String>,
}

/// How the disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disk {
    /// `/dev/vda`.
    VirtioBlk,
    /// `/dev/sda`.
    VirtioScsi,
    /// `/dev/nvme0n1`.
    Nvme,
}

/// The network card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Card {
    /// virtio.
    VirtioNet,
}

/// What a machine finds in its network. Nothing else is there: such a network is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Where the provider's services listen; at most two addresses.
    pub endpoints: Vec<SocketAddrV4>,
    /// The name server that DHCP tells of.
    pub dns: Ipv4Addr,
    /// Names that the name server knows.
    #[serde(default)]
    pub names: BTreeMap<String, Ipv4Addr>,
    /// Further options of DHCP by number.
    #[serde(default)]
    pub dhcp: BTreeMap<u8, Vec<u8>>,
}

impl Provider {
    /// A provider, as `qemu/cloud/` has it.
    pub fn of(cloud: Cloud) -> Result<Self> {
        let (file, text) = match cloud {
            Cloud::NoCloud => ("qemu/cloud/nocloud.yaml", include_str!("../../qemu/cloud/nocloud.yaml")),
            Cloud::Ec2 => ("qemu/cloud/ec2.yaml", include_str!("../../qemu/cloud/ec2.yaml")),
            Cloud::Gce => ("qemu/cloud/gce.yaml", include_str!("../../qemu/cloud/gce.yaml")),
            Cloud::Azure => ("qemu/cloud/azure.yaml", include_str!("../../qemu/cloud/azure.yaml")),
            Cloud::OpenStack => ("qemu/cloud/openstack.yaml", include_str!("../../qemu/cloud/openstack.yaml")),
            Cloud::ConfigDrive => ("qemu/cloud/configdrive.yaml", include_str!("../../qemu/cloud/configdrive.yaml")),
        };
        Self::parse(file, text)
    }

    /// Reads a provider; `name` is for the error.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        serde_yaml::from_str(text).map_err(|source| Error::Profile { name: name.to_owned(), source })
    }
}

impl Smbios {
    /// The values of QEMU's `-smbios`, for a machine with this system UUID (qemu(1)). A comma separates, so it is doubled.
    pub fn options(&self, uuid: &str) -> Vec<String> {
        let hex = uuid.replace('-', "").to_uppercase();
        let strings = |kind: u8, list: &BTreeMap<String, String>| {
            let each = list.iter().map(|(name, text)| {
                let text = text.replace("{uuid-hex}", &hex).replace("{uuid}", uuid);
                format!(",{name}={}", text.replace(',', ",,"))
            });
            let each: String = each.collect();
            let uuid = if kind == 1 { format!(",uuid={uuid}") } else { String::new() };
            (!each.is_empty() || kind == 1).then(|| format!("type={kind}{each}{uuid}"))
        };
        let all = [(0, &self.bios), (1, &self.system), (2, &self.board), (3, &self.chassis)];
        all.into_iter().filter_map(|(kind, list)| strings(kind, list)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_can_be_read_and_has_what_its_data_source_looks_for() {
        let options = |name| {
            let provider = Provider::of(name).unwrap();
            provider.smbios.options("ec2e1916-9099-8caf-8d21-012345abcdef").join("\n")
        };
        assert!(options(Cloud::Ec2).contains("serial=ec2e1916-9099-8caf-8d21-012345abcdef,uuid=ec2e1916-"));
        assert!(options(Cloud::Gce).contains("product=Google Compute Engine,serial=GoogleCloud-EC2E191690998CAF"));
        assert!(options(Cloud::Azure).contains("asset=7783-7084-3265-9085-8269-3286-77"));
        assert!(options(Cloud::OpenStack).contains("product=OpenStack Nova"));
        assert_eq!(options(Cloud::NoCloud), "type=1,product=rave,uuid=ec2e1916-9099-8caf-8d21-012345abcdef");
        for cloud in Cloud::ALL {
            let provider = Provider::of(cloud).unwrap();
            assert!(provider.seed || provider.network.is_some(), "{cloud}");
            let addresses = provider.network.iter().flat_map(|network| &network.endpoints).count();
            assert!(addresses <= 2, "{cloud}");
        }
    }

    #[test]
    fn a_comma_ends_no_option_and_an_unknown_key_is_refused() {
        let system = BTreeMap::from([("product".to_owned(), "a,path=/etc/shadow".to_owned())]);
        let smbios = Smbios { system, ..Smbios::default() };
        assert_eq!(smbios.options("u"), ["type=1,product=a,,path=/etc/shadow,uuid=u"]);
        let error = Provider::parse("x.yaml", "smbios: {}\ndisk: nvme\ncard: virtio-net\nmoon: 1\n").unwrap_err();
        assert!(error.to_string().contains("x.yaml"), "{error}");
    }
}
