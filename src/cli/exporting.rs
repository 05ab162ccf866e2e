//! `rave export`, as it is typed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{SeedFiles, Variant};

/// `rave export`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rave build web && rave export web --format qcow2
                                 export/web_1.0.0.qcow2, for QEMU, libvirt, Proxmox and OpenStack
  rave export web --format vhd,gce,raw.zst --output /srv/images
                                 for Azure, Google Compute Engine, and dd from any Linux
  rave export web --format ova   VMware: import it as it is, with UEFI
  rave export web --format oci && podman load --input export/web_1.0.0.oci.tar
                                 the root file system as a container that systemd boots
  rave export web --format containerdisk && skopeo copy \\
      oci-archive:export/web_1.0.0.containerdisk.tar docker://registry.example/web:1.0.0
                                 for KubeVirt
  rave export web --format nocloud --user-data user-data --hostname web-7
                                 a disk and its seed, for a hypervisor without a cloud: attach both
  rave export releases/1.0.0/disk.raw --format vmdk
                                 a disk that was kept, with manifest.json and uki.efi beside it
  rave export web --format qcow2 --json
                                 for scripts: names, sizes and digests

Several formats cost little more than one: the disk is read once. Each file has its SHA-256 and size in a file of the
same name that ends with .json, which does not change as long as the image does not. Only what has one is replaced.

Exit status: 0 done, 1 not built yet or something is in the way, 2 rave could not write, 130 interrupted; nothing is
left behind then.")]
pub struct Export {
    /// Image (a name in images/ or a path to YAML) or a built disk (a path to .raw)
    pub image: String,
    /// Format, or several between commas; may be repeated
    #[arg(long, short, required = true, value_delimiter = ',', value_name = "FORMAT")]
    pub format: Vec<ExportFormat>,
    /// What was other than the image says when it was built
    #[command(flatten)]
    pub variant: Variant,
    /// Size of the disk's sectors in bytes; 4096 for raw, raw.zst, qcow2, containerdisk and nocloud
    #[arg(long, default_value = "512", value_name = "BYTES")]
    pub sector_size: SectorSize,
    /// Directory for the files
    #[arg(long, short, default_value = "export", value_name = "DIR")]
    pub output: PathBuf,
    /// What is on the seed of `nocloud`
    #[command(flatten)]
    pub seed: SeedFiles,
}

/// Sizes of sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SectorSize {
    /// As almost all disks have.
    #[value(name = "512")]
    Small,
    /// As some NVMe disks have.
    #[value(name = "4096")]
    Large,
}

/// Formats that other systems take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// The disk, byte for byte, sparse.
    Raw,
    /// The same, compressed with zstd.
    #[value(name = "raw.zst")]
    RawZst,
    /// QEMU's own, compressed.
    Qcow2,
    /// Fixed VHD, for Azure.
    Vhd,
    /// Stream-optimized VMDK.
    Vmdk,
    /// Appliance for VMware and VirtualBox.
    Ova,
    /// Archive for Google Compute Engine.
    Gce,
    /// OCI image of the root file system.
    Oci,
    /// OCI image with a disk, for KubeVirt.
    #[value(name = "containerdisk")]
    ContainerDisk,
    /// A disk and its seed for cloud-init.
    #[value(name = "nocloud")]
    NoCloud,
    /// Unified kernel image.
    Uki,
}
