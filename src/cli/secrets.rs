//! `rave secrets`.

mod images;
mod keys;
mod values;
mod whole;

use clap::{Args, Subcommand, ValueEnum};

pub use images::{Check, Init, Seal};
pub use keys::{Keygen, RecipientChange, Recipients, Rotate, Updatekeys};
pub use values::{ExecEnv, ExecFile, Get, Hidden, Set, Unset};
pub use whole::{Decrypt, Diff, Edit, Encrypt, Read, RuleArgs};

/// What all verbs end with, where sops has a status of its own.
const STATUS: &str = "Exit status: those of rave (0, 1, 2, 130), and those of sops where a script could depend on \
them: 7 what is to be set cannot be read, 8 arguments exclude each other, 25 a value does not decrypt, 49 no file whose \
recipients could change, 51 the MAC is wrong, 91 a path cannot be read, 92 nothing to encrypt, 100 no such file, 111 no \
recipients, 128 no identity opens the file, 200 nothing was edited, 201 no editor, 203 encrypted already.";

/// `rave secrets`.
#[derive(Debug, Subcommand)]
pub enum Secrets {
    /// Make identity, .sops.yaml and first file, and the secrets that an image needs
    Init(Init),
    /// Edit a file's plain text in $SOPS_EDITOR or $EDITOR, on memory only
    Edit(Edit),
    /// Show a file's plain text
    View(Read),
    /// Decrypt a file, byte for byte as sops would
    Decrypt(Decrypt),
    /// Encrypt a plain file
    Encrypt(Encrypt),
    /// Print one value: a text as it is, anything else in the file's format
    #[command(visible_alias = "extract")]
    Get(Get),
    /// Set one value
    Set(Set),
    /// Remove one value
    Unset(Unset),
    /// Take a new data key and encrypt everything anew
    Rotate(Rotate),
    /// Encrypt the data key for those whom .sops.yaml names now
    Updatekeys(Updatekeys),
    /// Show and change who can open a file
    #[command(
        subcommand,
        after_help = "Examples:
  rave secrets recipients list secrets/web.yaml
  rave secrets recipients add secrets/web.yaml age1vjusj87wdhggna066mr346zfd6hz87tjz8t4p9ufx60dgsszcd3sk2wg5a"
    )]
    Recipients(Recipients),
    /// Run a command with a file's values in its environment
    ExecEnv(ExecEnv),
    /// Run a command that reads a file's plain text, which lies on memory as long as it runs
    ExecFile(ExecFile),
    /// Compare two files without showing values: path, type, size and digest
    Diff(Diff),
    /// Encrypt the secrets of an image for its machines, into the file that the image carries
    Seal(Seal),
    /// Hold the secrets that an image needs against the project's files
    Check(Check),
    /// Make an age identity
    Keygen(Keygen),
}

/// Formats, as sops names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SecretsFormat {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
    /// NAME=value lines.
    Dotenv,
    /// INI.
    Ini,
    /// One value, whatever it is.
    Binary,
}

/// Formats of what is read and written, where the file's name does not say.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Types {
    /// Format of the file that is read [default: by its name]
    #[arg(long, value_name = "FORMAT")]
    pub input_type: Option<SecretsFormat>,
    /// Format of what is written [default: that of the file]
    #[arg(long, value_name = "FORMAT")]
    pub output_type: Option<SecretsFormat>,
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Opening {
    /// Formats.
    #[command(flatten)]
    pub types: Types,
    /// Open the file although its MAC is wrong: values may be missing, old or in another order
    #[arg(long)]
    pub ignore_mac: bool,
}
