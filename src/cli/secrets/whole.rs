//! Verbs that read and write whole files.

use std::path::PathBuf;

use clap::Args;

use super::{Opening, STATUS, SecretsFormat, Types};

/// `rave secrets edit`.
#[derive(Debug, Args)]
#[command(after_help = format!("Examples:
  rave secrets edit secrets/web.yaml
  EDITOR='code --wait' rave secrets edit secrets/web.yaml

The plain text lies in a directory of one's own on memory and is gone when the editor ends, however it ends. If the
file was changed meanwhile, it is left alone and the edited text is written beside it, encrypted.

{STATUS}"))]
pub struct Edit {
    /// File; it is made if it does not exist
    pub file: PathBuf,
    /// How it is opened.
    #[command(flatten)]
    pub opening: Opening,
    /// Put the plain text on a disk if no file system on memory can be had
    #[arg(long)]
    pub allow_disk: bool,
}

/// `rave secrets view`.
#[derive(Debug, Args)]
#[command(after_help = format!("Examples:
  rave secrets view secrets/web.yaml
  rave secrets view secrets/web.yaml --output-type json

{STATUS}"))]
pub struct Read {
    /// File; `-` is standard input
    pub file: PathBuf,
    /// How it is opened.
    #[command(flatten)]
    pub opening: Opening,
}

/// `rave secrets decrypt`.
#[derive(Debug, Args)]
#[command(after_help = format!("Examples:
  rave secrets decrypt secrets/web.yaml
  rave secrets decrypt --input-type yaml --output-type json - < file
  rave secrets decrypt secrets/tls.pem --output /run/tls.pem

{STATUS}"))]
pub struct Decrypt {
    /// File; `-` is standard input
    pub file: PathBuf,
    /// How it is opened.
    #[command(flatten)]
    pub opening: Opening,
    /// Write to this file, for its owner only, instead of standard output
    #[arg(long, short, value_name = "FILE", conflicts_with = "in_place")]
    pub output: Option<PathBuf>,
    /// Replace the file by its plain text
    #[arg(long, short)]
    pub in_place: bool,
    /// Only the value at this path
    #[arg(long, value_name = "PATH")]
    pub extract: Option<String>,
}

/// `rave secrets encrypt`.
#[derive(Debug, Args)]
#[command(after_help = format!("Examples:
  rave secrets encrypt plain.yaml > secrets/web.yaml
  rave secrets encrypt --in-place secrets/web.yaml
  rave secrets encrypt --age age1... --encrypted-regex '^(data|stringData)$' secret.yaml

Recipients and rules are those of .sops.yaml; recipients on the command line or in SOPS_AGE_RECIPIENTS replace them.

{STATUS}"))]
pub struct Encrypt {
    /// File; `-` is standard input
    pub file: PathBuf,
    /// Formats.
    #[command(flatten)]
    pub types: Types,
    /// Recipients, separated by commas
    #[arg(long, short, value_name = "RECIPIENTS", env = "SOPS_AGE_RECIPIENTS")]
    pub age: Option<String>,
    /// Write to this file instead of standard output
    #[arg(long, short, value_name = "FILE", conflicts_with = "in_place")]
    pub output: Option<PathBuf>,
    /// Replace the file by its ciphertext
    #[arg(long, short)]
    pub in_place: bool,
    /// The name to look up in .sops.yaml, and to take the format from
    #[arg(long, value_name = "FILE")]
    pub filename_override: Option<PathBuf>,
    /// What is encrypted.
    #[command(flatten)]
    pub rule: RuleArgs,
}

/// Which values are encrypted.
#[derive(Debug, Default, Args)]
#[group(id = "rule", multiple = false)]
pub struct RuleArgs {
    /// Keys that end so stay plain [default: _unencrypted]
    #[arg(long, value_name = "SUFFIX")]
    pub unencrypted_suffix: Option<String>,
    /// Only values of keys that end so are encrypted
    #[arg(long, value_name = "SUFFIX")]
    pub encrypted_suffix: Option<String>,
    /// Values of keys that match stay plain
    #[arg(long, value_name = "REGEX")]
    pub unencrypted_regex: Option<String>,
    /// Only values of keys that match are encrypted
    #[arg(long, value_name = "REGEX")]
    pub encrypted_regex: Option<String>,
    /// Values after comments that match stay plain
    #[arg(long, value_name = "REGEX")]
    pub unencrypted_comment_regex: Option<String>,
    /// Only values after comments that match are encrypted
    #[arg(long, value_name = "REGEX")]
    pub encrypted_comment_regex: Option<String>,
}

/// `rave secrets diff`.
#[derive(Debug, Args)]
#[command(after_help = format!("Examples:
  rave secrets diff old/web.yaml secrets/web.yaml
  rave secrets diff --textconv secrets/web.yaml      a line for each value, for git

As a driver of git diff, which then shows what changed and never a value:
  git config diff.rave.textconv 'rave secrets diff --textconv'
  echo 'secrets/*.yaml diff=rave' >> .gitattributes

Digests are keyed anew in each run of `diff`, and by the file's own data key with --textconv, so that they tell
whether values are equal and nothing else. Exit status 1: the files differ.

{STATUS}"))]
pub struct Diff {
    /// The one file
    pub a: PathBuf,
    /// The other
    #[arg(required_unless_present = "textconv")]
    pub b: Option<PathBuf>,
    /// Describe one file, a line for each value
    #[arg(long, conflicts_with = "b")]
    pub textconv: bool,
    /// Name of an image: show owner and mode that its secrets get
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Format of the files [default: by their names]
    #[arg(long, value_name = "FORMAT")]
    pub input_type: Option<SecretsFormat>,
}
