//! `rave cloud-init`, as it is typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Variant;
use crate::system::Cloud;

/// `rave cloud-init`.
#[derive(Debug, Subcommand)]
pub enum CloudInit {
    /// Write user-data for an image
    Render(RenderUserData),
    /// Hold user-data against cloud-init's own schema, and against what the image does with it
    Validate(ValidateUserData),
    /// Write the seed of a machine that no cloud provisions: an image that is attached as a disk
    Seed(WriteSeed),
}

/// `rave cloud-init render`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rave cloud-init render web --hostname web-7 --ssh-key ~/.ssh/id_ed25519.pub > user-data
  rave cloud-init render web --user ana=ana.pub --user bo=bo.pub --output user-data
  rave cloud-init render web --cloud ec2 --identity-url 'https://bucket.s3.amazonaws.com/web.txt?X-Amz-Signature=...'
                                 the machine fetches what opens its secrets; the address is good for an hour
  rave cloud-init render web --cloud nocloud --identity web.key --output user-data
                                 for a seed that nobody else reads

Whoever shall log in besides `agent` must also be in base.ssh.users of the image.")]
pub struct RenderUserData {
    /// Image: a name in images/ or a path
    pub image: String,
    /// The cloud that it is for
    #[arg(long)]
    pub cloud: Option<Cloud>,
    /// Host name, instead of what the cloud or the image says
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// File with public SSH keys of the administrator; may be given several times
    #[arg(long = "ssh-key", value_name = "FILE")]
    pub keys: Vec<PathBuf>,
    /// One more user, with the administrator's rights, and a file with their public SSH keys; may be given several times
    #[arg(long = "user", value_name = "NAME=FILE", value_parser = user)]
    pub users: Vec<(String, PathBuf)>,
    /// Where the machine fetches the identity that opens its secrets, by https
    #[arg(long, value_name = "URL", conflicts_with = "identity")]
    pub identity_url: Option<String>,
    /// File with that identity, which is then in the user-data: with --cloud nocloud and --output only
    #[arg(long, value_name = "FILE", requires = "output")]
    pub identity: Option<PathBuf>,
    /// File for the user-data; standard output gets it if left out
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What is other than the image says
    #[command(flatten)]
    pub variant: Variant,
}

/// A user and a file.
fn user(text: &str) -> Result<(String, PathBuf), String> {
    let (name, file) = text.split_once('=').ok_or("write NAME=FILE, such as ana=ana.pub")?;
    Ok((name.to_owned(), file.into()))
}

/// `rave cloud-init validate`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rave cloud-init validate web user-data
  rave cloud-init validate web user-data --cloud ec2     it must also fit there: 16 KiB
  rave cloud-init validate web --network-config network.yaml
  rave cloud-init validate web user-data --json          for scripts

The schema is that of the cloud-init in the image's lock; its package is fetched if the store lacks it. Warnings tell
what the image does not do: keys that nothing reads, users that could not log in, keys in plain text.

Exit status: 0 right, 1 wrong, 2 rave could not look.")]
pub struct ValidateUserData {
    /// Image: a name in images/ or a path
    pub image: String,
    /// User-data
    #[arg(value_name = "FILE", required_unless_present = "network_config")]
    pub user_data: Option<PathBuf>,
    /// Network configuration, version 1 or 2
    #[arg(long, value_name = "FILE")]
    pub network_config: Option<PathBuf>,
    /// The cloud that it is for; all that the image takes part in if left out
    #[arg(long)]
    pub cloud: Option<Cloud>,
    /// What is other than the image says
    #[command(flatten)]
    pub variant: Variant,
}

/// `rave cloud-init seed`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rave cloud-init seed web --user-data user-data --hostname web-7 --output web-7.iso
  rave cloud-init seed web --user-data user-data --network-config network.yaml --instance-id web-7-2

The image is ISO 9660 with the label cidata, and has the same bytes for the same files. What is on it is validated
first. A machine that finds another instance id runs the scripts of user-data again.")]
pub struct WriteSeed {
    /// Image: a name in images/ or a path
    pub image: String,
    /// File for the seed [default: IMAGE.seed.iso]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What is other than the image says
    #[command(flatten)]
    pub variant: Variant,
    /// What is on the seed
    #[command(flatten)]
    pub seed: SeedFiles,
}

/// What is on a seed.
#[derive(Debug, Args)]
#[command(next_help_heading = "On the seed")]
pub struct SeedFiles {
    /// User-data
    #[arg(long, value_name = "FILE")]
    pub user_data: Option<PathBuf>,
    /// Vendor-data, which counts less than user-data
    #[arg(long, value_name = "FILE")]
    pub vendor_data: Option<PathBuf>,
    /// Network configuration, version 1 or 2
    #[arg(long, value_name = "FILE")]
    pub network_config: Option<PathBuf>,
    /// Id of the instance; made of what is on the seed if left out
    #[arg(long, value_name = "ID")]
    pub instance_id: Option<String>,
    /// Host name
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
}
