//! The clouds that machines are provisioned by.

use std::fmt;

/// A cloud, or a medium that stands for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Provider {
    /// A seed on a disk.
    NoCloud,
    /// A disc that OpenStack and others attach.
    ConfigDrive,
    /// Amazon EC2.
    Ec2,
    /// Microsoft Azure.
    Azure,
    /// Google Compute Engine.
    Gce,
    /// OpenStack's metadata service.
    OpenStack,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::NoCloud, Self::ConfigDrive, Self::Ec2, Self::Azure, Self::Gce, Self::OpenStack];

    /// What cloud-init calls its datasource.
    pub const fn datasource(self) -> &'static str {
        match self {
            Self::NoCloud => "NoCloud",
            Self::ConfigDrive => "ConfigDrive",
            Self::Ec2 => "Ec2",
            Self::Azure => "Azure",
            Self::Gce => "GCE",
            Self::OpenStack => "OpenStack",
        }
    }

    /// The largest user-data that it takes, in bytes as cloud-init gets them; none says what it takes at most otherwise.
    ///
    /// EC2 takes 16 KiB (EC2 user guide, "Run commands when you launch an EC2 instance"), Azure 64 KiB (custom data), GCE
    /// 256 KiB for one metadata value, and OpenStack 65535 characters of base64.
    pub const fn limit(self) -> Option<usize> {
        match self {
            Self::Ec2 => Some(16 << 10),
            Self::Azure => Some(65_535),
            Self::Gce => Some(256 << 10),
            Self::OpenStack | Self::ConfigDrive => Some(65_535 / 4 * 3),
            Self::NoCloud => None,
        }
    }

    /// Whether user-data is kept where it is read through a service, by whatever runs in the machine.
    pub const fn has_service(self) -> bool {
        matches!(self, Self::Ec2 | Self::Azure | Self::Gce | Self::OpenStack)
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.datasource())
    }
}
