//! `rave secrets`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// What all verbs end with, where sops has a status of its own.
const STATUS: &str = "Exit status: those of rave (0, 1, 2, 130), and those of sops where a script could depend on \
them: 25 a value does not decrypt, 51 the MAC is wrong, 91 a path cannot be read, 92 nothing to encrypt, 100 no such \
file, 111 no recipients, 128 no identity opens the file, 200 nothing was edited, 201 no editor, 203 encrypted already.";

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
    pub value: Option<OsString>,
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

/// `rave secrets check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rave secrets check web
  rave secrets check web --recipient age1...        that the deployment can open the files itself

The secrets of an image are in secrets/IMAGE.yaml and secrets/common.yaml, or in files of the other formats.

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
