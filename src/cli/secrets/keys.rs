//! Verbs for who can open files.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Opening, STATUS, SecretsFormat};

/// `rave secrets rotate`.
#[derive(Debug, Args)]
#[command(after_help = format!("Examples:
  rave secrets rotate secrets/web.yaml
  rave secrets rotate --rm-age age1... secrets/web.yaml     and let somebody go

Who could read the file before still knows the old values: change those, too.

{STATUS}"))]
pub struct Rotate {
    /// Files
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Recipients to add first, separated by commas
    #[arg(long, value_name = "RECIPIENTS")]
    pub add_age: Option<String>,
    /// Recipients to remove first, separated by commas
    #[arg(long, value_name = "RECIPIENTS")]
    pub rm_age: Option<String>,
    /// For scripts of sops; files are always changed in place
    #[arg(short = 'i', long, hide = true)]
    pub in_place: bool,
    /// How they are opened.
    #[command(flatten)]
    pub opening: Opening,
}

/// `rave secrets updatekeys`.
#[derive(Debug, Args)]
#[command(after_help = format!("Examples:
  rave secrets updatekeys secrets/web.yaml        show the change and ask
  rave secrets updatekeys --yes secrets/*.yaml

Only the encrypted data keys change. Removed readers still know the data key: `rave secrets rotate` takes a new one.

{STATUS}"))]
pub struct Updatekeys {
    /// Files
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Format of the files [default: by their names]
    #[arg(long, value_name = "FORMAT")]
    pub input_type: Option<SecretsFormat>,
}

/// `rave secrets recipients`.
#[derive(Debug, Subcommand)]
pub enum Recipients {
    /// List who can open a file
    #[command(after_help = "Examples:
  rave secrets recipients list secrets/web.yaml
  rave secrets recipients list --json secrets/web.yaml")]
    List {
        /// File
        file: PathBuf,
    },
    /// Let somebody open a file
    #[command(after_help = "Example:
  rave secrets recipients add secrets/web.yaml age1vjusj87wdhggna066mr346zfd6hz87tjz8t4p9ufx60dgsszcd3sk2wg5a")]
    Add(RecipientChange),
    /// Let somebody no longer open a file: it takes a new data key
    #[command(after_help = "Example:
  rave secrets recipients rm secrets/web.yaml age1vjusj87wdhggna066mr346zfd6hz87tjz8t4p9ufx60dgsszcd3sk2wg5a")]
    Rm(RecipientChange),
}

/// A change of recipients.
#[derive(Debug, Args)]
pub struct RecipientChange {
    /// File
    pub file: PathBuf,
    /// Recipients: age1..., age1pq1..., those of plugins, ssh-ed25519 and ssh-rsa keys
    #[arg(required = true)]
    pub recipients: Vec<String>,
    /// Key group that changes, counted from 0
    #[arg(long, default_value_t = 0)]
    pub group: usize,
}

/// `rave secrets keygen`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rave secrets keygen                        an identity, to standard output
  rave secrets keygen --output machine.key   for its owner only; the recipient to standard output
  rave secrets keygen --post-quantum
  rave secrets keygen --convert ~/.ssh/id_ed25519.pub    the age recipient of an SSH key")]
pub struct Keygen {
    /// Write the identity to this new file
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// An identity whose files no quantum computer opens
    #[arg(long)]
    pub post_quantum: bool,
    /// Print the recipient of an identity file or SSH public key instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output", "post_quantum"])]
    pub convert: Option<PathBuf>,
}
