//! Verbs for the secrets of an image.

use clap::Args;

/// `rave secrets init`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rave secrets init                    an identity, .sops.yaml and secrets/common.yaml
  rave secrets init web                and secrets/web.yaml with all that images/web.yaml needs

The identity is appended to $XDG_CONFIG_HOME/sops/age/keys.txt, where sops finds it too, and never lies in the
project. What exists is kept: only what is missing is made.")]
pub struct Init {
    /// Image whose secrets are made
    pub image: Option<String>,
    /// Recipients besides one's own, for a new .sops.yaml
    #[arg(long, value_name = "RECIPIENT")]
    pub recipient: Vec<String>,
    /// Make a post-quantum identity, if one is made
    #[arg(long)]
    pub post_quantum: bool,
}

/// `rave secrets check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rave secrets check web
  rave secrets check web --recipient age1...        that the deployment can open the files itself

The secrets of an image are in secrets/IMAGE.yaml and secrets/common.yaml, or in files of the other formats. All must be
there, of the right kind, strong enough and not about to expire. The files must be encrypted for those whom their rules
in .sops.yaml name, and images/IMAGE.secrets, once sealed, for its machines.

Exit status: 0 all there (warnings allowed), 1 something is missing, wrong, or expires within a week.")]
pub struct Check {
    /// Image: a name in images/ or a path
    pub image: String,
    /// Recipients who must be able to open the files by themselves
    #[arg(long, value_name = "RECIPIENT")]
    pub recipient: Vec<String>,
}

/// `rave secrets seal`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rave secrets seal web             write images/web.secrets
  rave secrets seal web --check     exit with 1 if it is missing or out of date; needs no identity

The file is JSON of SOPS, for the recipients of the first creation rule in .sops.yaml whose path_regex matches
images/web.secrets: those of the machines, and of whoever seals, so that unchanged values keep their ciphertext.
Without such a rule nothing is sealed. Commit the file: building needs no identity then, and gives the same bytes
everywhere. `rave build` and `rave up` seal by themselves where an identity opens the sources.")]
pub struct Seal {
    /// Image: a name in images/ or a path
    pub image: String,
    /// Change nothing; exit with 1 if the sealed file does not fit the image, its sources and its recipients
    #[arg(long)]
    pub check: bool,
}
