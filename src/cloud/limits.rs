//! What clouds take, and who can read it.

use crate::system::Cloud;

/// What cloud-init calls the datasources of a cloud.
pub const fn datasources(cloud: Cloud) -> &'static [&'static str] {
    match cloud {
        Cloud::NoCloud => &["NoCloud"],
        Cloud::Ec2 => &["Ec2"],
        Cloud::Gce => &["GCE"],
        Cloud::Azure => &["Azure"],
        Cloud::OpenStack => &["OpenStack", "ConfigDrive"],
        Cloud::ConfigDrive => &["ConfigDrive"],
    }
}

/// The largest user-data that a cloud takes, in bytes as cloud-init gets them; nothing if there is no limit.
///
/// EC2 takes 16 KiB (user guide, "Run commands when you launch an EC2 instance"), Azure 64 KiB less one (custom data), GCE
/// 256 KiB for one value of metadata, and OpenStack 65535 characters of base64 (compute API, `user_data`).
pub const fn largest(cloud: Cloud) -> Option<usize> {
    match cloud {
        Cloud::NoCloud => None,
        Cloud::Ec2 => Some(16 << 10),
        Cloud::Azure => Some(65_535),
        Cloud::Gce => Some(256 << 10),
        Cloud::OpenStack | Cloud::ConfigDrive => Some(65_535 / 4 * 3),
    }
}

/// Whether whatever runs in the machine can ask a service for the user-data.
pub const fn tells_anyone(cloud: Cloud) -> bool {
    !matches!(cloud, Cloud::NoCloud)
}
