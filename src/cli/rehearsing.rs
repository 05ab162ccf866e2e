//! What a rehearsal of a cloud needs, as it is typed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::system::Cloud;

/// The cloud that a machine shall find itself in.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Rehearsal of a cloud")]
pub struct Rehearse {
    /// Rehearse a start in this cloud and check the machine; the network leads to nothing but the provider's services
    #[arg(long, value_name = "CLOUD")]
    pub cloud: Option<Cloud>,
    /// What cloud-init is to do; it may hold secrets: where the cloud has a disk for it, so has the machine's directory
    #[arg(long, value_name = "FILE", requires = "cloud")]
    pub user_data: Option<PathBuf>,
    /// The same from who runs the cloud, which counts less; of nocloud, openstack and configdrive
    #[arg(long, value_name = "FILE", requires = "cloud")]
    pub vendor_data: Option<PathBuf>,
    /// Network configuration, version 1 or 2; of nocloud
    #[arg(long, value_name = "FILE", requires = "cloud")]
    pub network_config: Option<PathBuf>,
    /// Public key that the provider gives the administrator, as a line of OpenSSH
    #[arg(long, value_name = "FILE", requires = "cloud")]
    pub cloud_key: Option<PathBuf>,
    /// The instance that it is to be, by any name [default: the same for each name of a machine]; a disk that is kept finds
    /// itself in another one
    #[arg(long, value_name = "NAME", requires = "cloud")]
    pub cloud_instance: Option<String>,
    /// Have the provider's services fail
    #[arg(long, value_name = "FAULT", requires = "cloud")]
    pub cloud_fault: Option<CloudFault>,
}

/// How services of a provider fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CloudFault {
    /// They take connections and never answer.
    Hang,
    /// They answer everything with 500.
    Error,
    /// They answer everything with the same page, as a captive portal does.
    Lie,
}
