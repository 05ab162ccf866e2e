//! The clouds that rave knows, as every room may name them.

use std::fmt;

/// Where a machine runs, or is rehearsed to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cloud {
    /// No provider: user-data is on a disk.
    NoCloud,
    /// Amazon EC2.
    Ec2,
    /// Google Compute Engine.
    Gce,
    /// Microsoft Azure.
    Azure,
    /// OpenStack.
    OpenStack,
    /// OpenStack without its service: user-data is on a disk, the config drive.
    ConfigDrive,
}

impl Cloud {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::NoCloud, Self::Ec2, Self::Gce, Self::Azure, Self::OpenStack, Self::ConfigDrive];

    /// As cloud-init calls it in its status, and as it is typed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoCloud => "nocloud",
            Self::Ec2 => "ec2",
            Self::Gce => "gce",
            Self::Azure => "azure",
            Self::OpenStack => "openstack",
            Self::ConfigDrive => "configdrive",
        }
    }
}

impl fmt::Display for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
