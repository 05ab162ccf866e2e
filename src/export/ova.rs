//! An appliance (DMTF DSP0243, "Open Virtualization Format" 1.1): a tar archive with the description, the digests, and a
//! disk as VMDK, in this order.

use std::path::Path;

use crate::digest::Digest;
use crate::disk;
use crate::images::Manifest;
use crate::images::manifest::Blob;
use crate::system::Machine;

use super::Error;
use super::out::Out;

/// Writes an appliance named `name` to the file `to`; its disk is the VMDK `vmdk` for a disk of `size` bytes.
pub fn write(to: &Path, name: &str, manifest: &Manifest, vmdk: &Path, blob: Blob, size: u64) -> Result<(), Error> {
    let disk_name = vmdk.file_name().unwrap_or_default().to_string_lossy();
    let description = describe(name, manifest, &disk_name, blob, size);
    let digests =
        format!("SHA256({name}.ovf)= {}\nSHA256({disk_name})= {}\n", Digest::of(description.as_bytes()), blob.sha256);
    let mut archive = tar::Builder::new(Out::create(to)?);
    let mut append = |name: &str, size: u64, content: &mut dyn std::io::Read| {
        let mut header = tar::Header::new_ustar();
        header.set_size(size);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(manifest.epoch);
        disk::context("write", to, archive.append_data(&mut header, name, content))
    };
    for (name, text) in [(format!("{name}.ovf"), &description), (format!("{name}.mf"), &digests)] {
        append(&name, text.len() as u64, &mut text.as_bytes())?;
    }
    append(&disk_name, blob.size, &mut disk::open(vmdk)?)?;
    let mut out = disk::context("write", to, archive.into_inner())?;
    Ok(out.flush()?)
}

/// The description: UEFI firmware, processors and memory of the mode, a disk and a network card. The disk is on NVMe, which
/// Debian's kernel for clouds has built in; drivers of SCSI and SATA are in the initrd of some images only.
fn describe(name: &str, manifest: &Manifest, disk: &str, blob: Blob, size: u64) -> String {
    let Machine { memory, vcpus } = manifest.machine;
    let (vcpus, memory) = (vcpus.to_string(), memory.to_string());
    // Numbers of resource types are those of CIM_ResourceAllocationSettingData.
    let items = [
        item(&[("ElementName", "Processors"), ("InstanceID", "1"), ("ResourceType", "3"), ("VirtualQuantity", &vcpus)]),
        item(&[
            ("AllocationUnits", "byte * 2^20"),
            ("ElementName", "Memory"),
            ("InstanceID", "2"),
            ("ResourceType", "4"),
            ("VirtualQuantity", &memory),
        ]),
        item(&[
            ("Address", "0"),
            ("ElementName", "NVMe controller"),
            ("InstanceID", "3"),
            ("ResourceSubType", "vmware.nvme.controller"),
            ("ResourceType", "20"),
        ]),
        item(&[
            ("AddressOnParent", "0"),
            ("ElementName", "Disk"),
            ("HostResource", "ovf:/disk/vmdisk1"),
            ("InstanceID", "4"),
            ("Parent", "3"),
            ("ResourceType", "17"),
        ]),
        item(&[
            ("AutomaticAllocation", "true"),
            ("Connection", "network"),
            ("ElementName", "Network card"),
            ("InstanceID", "5"),
            ("ResourceSubType", "VmxNet3"),
            ("ResourceType", "10"),
        ]),
    ];
    let Blob { size: file_size, .. } = blob;
    let (version, root_hash) = (&manifest.version, &manifest.root_hash);
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData" xmlns:vmw="http://www.vmware.com/schema/ovf">
  <References>
    <File ovf:id="file1" ovf:href="{disk}" ovf:size="{file_size}"/>
  </References>
  <DiskSection>
    <Info>Virtual disks</Info>
    <Disk ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:capacity="{size}" ovf:capacityAllocationUnits="byte" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  </DiskSection>
  <NetworkSection>
    <Info>Networks</Info>
    <Network ovf:name="network">
      <Description>The network of the machine</Description>
    </Network>
  </NetworkSection>
  <VirtualSystem ovf:id="{name}">
    <Info>A virtual machine</Info>
    <Name>{name}</Name>
    <OperatingSystemSection ovf:id="96" vmw:osType="debian12_64Guest">
      <Info>The operating system</Info>
      <Description>Debian, 64 bit</Description>
    </OperatingSystemSection>
    <ProductSection>
      <Info>The image, by the root hash of its root file system: {root_hash}</Info>
      <Product>{image}</Product>
      <Version>{version}</Version>
    </ProductSection>
    <VirtualHardwareSection>
      <Info>Virtual hardware</Info>
      <System>
        <vssd:ElementName>Virtual hardware family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>{name}</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>vmx-14</vssd:VirtualSystemType>
      </System>
{items}      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
"#,
        image = manifest.image,
        items = items.concat(),
    )
}

/// A piece of hardware: its elements, which the schema wants sorted by name, and their values.
fn item(elements: &[(&str, &str)]) -> String {
    let element = |(name, value): &(&str, &str)| format!("<rasd:{name}>{value}</rasd:{name}>");
    format!("      <Item>{}</Item>\n", elements.iter().map(element).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::fixture::manifest;

    #[test]
    fn description_digests_and_disk_come_in_this_order_and_agree() {
        let dir = tempfile::tempdir().unwrap();
        let (vmdk, ova) = (dir.path().join("test_1.vmdk"), dir.path().join("test_1.ova"));
        disk::write_atomic(&vmdk, b"a disk", 0o644).unwrap();
        let blob = Blob { sha256: Digest::of(b"a disk"), size: 6 };
        write(&ova, "test_1", &manifest(), &vmdk, blob, 4 << 30).unwrap();
        let mut archive = tar::Archive::new(disk::open(&ova).unwrap());
        let mut members = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
            members.push((entry.path().unwrap().to_str().unwrap().to_owned(), text));
        }
        let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["test_1.ovf", "test_1.mf", "test_1.vmdk"]);
        let description = &members[0].1;
        let digest = Digest::of(description.as_bytes());
        assert_eq!(members[1].1, format!("SHA256(test_1.ovf)= {digest}\nSHA256(test_1.vmdk)= {}\n", blob.sha256));
        for part in ["ovf:size=\"6\"", "ovf:capacity=\"4294967296\"", "vmw:key=\"firmware\" vmw:value=\"efi\""] {
            assert!(description.contains(part), "{part}: {description}");
        }
        assert!(description.contains("<rasd:VirtualQuantity>2048</rasd:VirtualQuantity>"), "{description}");
        let nvme = "<rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceSubType>vmware.nvme.controller</rasd:ResourceSubType>\
                    <rasd:ResourceType>20</rasd:ResourceType>";
        assert!(description.contains(nvme) && description.contains("<rasd:Parent>3</rasd:Parent>"), "{description}");
    }

    #[test]
    fn elements_of_items_are_sorted() {
        let text = describe("x", &manifest(), "x.vmdk", Blob { sha256: Digest::of(b""), size: 0 }, 0);
        for item in text.lines().filter(|line| line.contains("<Item>")) {
            let names: Vec<&str> = item.split("<rasd:").skip(1).map(|part| part.split('>').next().unwrap()).collect();
            assert!(names.is_sorted() && names.len() > 3, "{names:?}");
        }
    }
}
