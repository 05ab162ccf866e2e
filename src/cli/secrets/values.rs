//! Verbs for single values, and for programs that need them.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser as _};

use super::{Opening, STATUS};

/// `rave secrets get`.
#[derive(Debug, Args)]
#[command(after_help = format!("Examples:
  rave secrets get secrets/web.yaml db-password
  rave secrets get secrets/web.yaml '[\"users\"][0][\"name\"]'

{STATUS}"))]
pub struct Get {
    /// File; `-` is standard input
    pub file: PathBuf,
    /// Path: a/0/b, or with quotes and brackets as in sops
    pub path: String,
    /// How it is opened.
    #[command(flatten)]
    pub opening: Opening,
}

/// An argument that may be a secret: not shown by `Debug`.
#[derive(Clone)]
pub struct Hidden(pub OsString);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// `rave secrets set`.
#[derive(Debug, Args)]
#[command(after_help = format!("Examples:
  rave secrets set secrets/web.yaml '[\"replicas\"]' 3
  printf %s \"$PASSWORD\" | rave secrets set secrets/web.yaml db-password --value-stdin --raw
  rave secrets set secrets/web.yaml tls-key --value-file --raw key.pem

An argument can be read by every user of the machine while the command runs: secrets come from standard input or a
file. Other values keep their ciphertext.

{STATUS}"))]
pub struct Set {
    /// File
    pub file: PathBuf,
    /// Path: a/0/b, or with quotes and brackets as in sops
    pub path: String,
    /// Value in JSON; with --value-file the file that holds it
    #[arg(required_unless_present = "value_stdin", conflicts_with = "value_stdin")]
    #[arg(value_parser = OsStringValueParser::new().map(Hidden))]
    pub value: Option<Hidden>,
    /// The value is in a file
    #[arg(long)]
    pub value_file: bool,
    /// The value comes from standard input
    #[arg(long)]
    pub value_stdin: bool,
    /// The value is a text as it is, and not JSON
    #[arg(long)]
    pub raw: bool,
    /// How it is opened.
    #[command(flatten)]
    pub opening: Opening,
}

/// `rave secrets unset`.
#[derive(Debug, Args)]
#[command(after_help = format!("Examples:
  rave secrets unset secrets/web.yaml old-token
  rave secrets unset --idempotent secrets/web.yaml old-token

{STATUS}"))]
pub struct Unset {
    /// File
    pub file: PathBuf,
    /// Path: a/0/b, or with quotes and brackets as in sops
    pub path: String,
    /// Nothing at the path is fine
    #[arg(long)]
    pub idempotent: bool,
    /// How it is opened.
    #[command(flatten)]
    pub opening: Opening,
}

/// `rave secrets exec-env`.
#[derive(Debug, Args)]
#[command(after_help = format!("Examples:
  rave secrets exec-env secrets/dev.env -- ./server --port 3000
  rave secrets exec-env secrets/dev.env 'echo \"$DB_PASSWORD\" | wc -c'     one argument is run by /bin/sh, as in sops

{STATUS} The command's own status is passed on."))]
pub struct ExecEnv {
    /// File
    pub file: PathBuf,
    /// A command line for /bin/sh
    #[arg(required_unless_present = "argv", conflicts_with = "argv")]
    pub command: Option<OsString>,
    /// A command and its arguments
    #[arg(last = true)]
    pub argv: Vec<OsString>,
    /// Give the command nothing but the file's values
    #[arg(long)]
    pub pristine: bool,
    /// How it is opened.
    #[command(flatten)]
    pub opening: Opening,
}

/// `rave secrets exec-file`.
#[derive(Debug, Args)]
#[command(after_help = format!("Examples:
  rave secrets exec-file secrets/web.yaml -- ./deploy --config {{}}
  rave secrets exec-file --filename app.json --output-type json secrets/web.yaml 'jq . {{}}'

{{}} stands for the file's path.

{STATUS} The command's own status is passed on."))]
pub struct ExecFile {
    /// File
    pub file: PathBuf,
    /// A command line for /bin/sh
    #[arg(required_unless_present = "argv", conflicts_with = "argv")]
    pub command: Option<OsString>,
    /// A command and its arguments
    #[arg(last = true)]
    pub argv: Vec<OsString>,
    /// Name of the plain file [default: the file's own]
    #[arg(long, value_name = "NAME")]
    pub filename: Option<PathBuf>,
    /// How it is opened.
    #[command(flatten)]
    pub opening: Opening,
    /// Put the plain text on a disk if no file system on memory can be had
    #[arg(long)]
    pub allow_disk: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_not_shown() {
        assert_eq!(format!("{:?}", Some(Hidden("hunter2".into()))), "Some([redacted])");
    }
}
