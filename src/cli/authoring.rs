//! The commands for those who write images and modules, as they are typed.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::building::Variant;
use crate::name::GuestPath;

/// The verbs of authors.
#[derive(Debug, Subcommand)]
pub enum Authoring {
    /// Start a project
    New(New),
    /// Search the options that images can set
    Options(Options),
    /// Tell why something is in an image, or what an option does to it
    Explain(Explain),
    /// Print the final value of every option of an image
    Eval(Eval),
    /// Compare two images, versions of an image, or builds
    Diff(Diff),
    /// Find what could be better in images and modules
    Lint(Lint),
    /// Lay YAML files out in one way
    Fmt(Fmt),
    /// Write the JSON schema of images and modules, for editors, or of reports
    Schema(Schema),
}

/// `rave new`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rave new machines           an image, a module, editor and CI files, and the lock if a mirror answers
  cd machines && rave up web  lock, build, boot and check it

Files that are there already are left alone.")]
pub struct New {
    /// Directory of the project; made if it is missing
    pub dir: PathBuf,
    /// Name of its first image
    #[arg(long, default_value = "web", value_name = "NAME")]
    pub image: String,
    /// Write no lock
    #[arg(long)]
    pub no_lock: bool,
}

/// `rave options`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rave options                        every option
  rave options ssh                    those that have to do with ssh
  rave options firewall --image web   with their values in images/web.yaml, and who set them
  rave options --markdown             the reference, as in docs/options.md

Every word must be in the name or the description. The option of that very name comes first, then those
whose names begin with it, those that have it in their names, and the others.")]
pub struct Options {
    /// Words to look for
    #[arg(value_name = "QUERY")]
    pub query: Vec<String>,
    /// Show values too: a name in images/ or a path
    #[arg(long, short, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Write Markdown
    #[arg(long, conflicts_with_all = ["image", "json"])]
    pub markdown: bool,
}

/// `rave explain`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rave explain web system.hostname    its value, who set it, and every file that it is in
  rave explain web /etc/hostname      the module that writes the file, and the options that it reads
  rave explain web ssh.service        the same for a unit
  rave explain web libssl3t64         why a package is there: the chain of those that need it
  rave explain web /usr/bin/ssh       the package that brought a file to the newest build, and who asked for it
  rave explain web base.ssh           the options of a group")]
pub struct Explain {
    /// Image: a name in images/ or a path
    pub image: String,
    /// Option, path, unit, package, user, port (tcp/22), kernel setting or anything else that modules make
    #[arg(value_name = "OPTION|PATH|UNIT|PACKAGE")]
    pub subject: String,
    /// What is other than the image says
    #[command(flatten)]
    pub variant: Variant,
}

/// `rave eval`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rave eval web                            the configuration as YAML, every option with its final value
  rave eval web --mode full-pipe --json    for scripts
  rave eval web --set system.hostname=x    what a change would come to
  rave eval web --file /etc/hosts          a file as the modules write it, without a build")]
pub struct Eval {
    /// Image: a name in images/ or a path
    pub image: String,
    /// Print what the modules write into this file of the image instead
    #[arg(long, value_name = "PATH")]
    pub file: Option<GuestPath>,
    /// What is other than the image says
    #[command(flatten)]
    pub variant: Variant,
}

/// `rave diff`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rave diff minimal web                what web has besides minimal
  rave diff web@safe web@full-pipe     one image in two modes
  rave diff HEAD:web web               what has changed since the last commit
  rave diff v1.2.0:web v1.3.0:web      two revisions; nothing is checked out
  rave diff web~1 web~0                the two newest builds, as the store remembers them
  rave diff web~0 web                  what building now would change
  rave diff old/ result/               two builds, by their manifests

A side is [REVISION:]IMAGE[@MODE], IMAGE~N for the build N builds before the newest, or the path of a manifest.json
or of a directory that holds one. Options, packages, files, units, open ports, users and sizes are compared,
whichever both sides know.")]
pub struct Diff {
    /// The old side
    pub a: String,
    /// The new side
    pub b: String,
    /// Show the lines of text files that changed
    #[arg(long)]
    pub content: bool,
    /// Exit with 1 if there are differences
    #[arg(long)]
    pub exit_code: bool,
}

/// `rave lint`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rave lint                          every image and module of the project
  rave lint images/web.yaml          one file
  rave lint --list                   the lints and what each is about

A comment silences a lint on its own line or on the line below: `# rave: allow default-value`.
Exit status: 0 nothing found, 1 something found.")]
pub struct Lint {
    /// Files; all images and modules of the project if none is named
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Show the lints and what each is about
    #[arg(long, conflicts_with = "files")]
    pub list: bool,
}

/// `rave fmt`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rave fmt                           every image and module of the project
  rave fmt images/web.yaml           one file
  rave fmt --check                   change nothing; exit with 1 if a file is not laid out so

Two spaces for each level, lists indented below their keys, no spaces at the ends of lines. Order, comments
and quotes stay, and so does what the file says.")]
pub struct Fmt {
    /// Files; all images and modules of the project if none is named
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Change nothing; exit with 1 if a file would change
    #[arg(long)]
    pub check: bool,
}

/// `rave schema`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rave schema image > image.schema.json   the schema of image files
  rave schema --output schema             image.schema.json and module.schema.json, anew
  rave schema report                      what `rave check --json` prints

Editors that run yaml-language-server take it from the first line of a file:
  # yaml-language-server: $schema=../schema/image.schema.json
It knows the options of the project, so write it anew when modules change.")]
pub struct Schema {
    /// Of which files
    #[arg(default_value = "image")]
    pub kind: SchemaKind,
    /// Write those of images and modules into a directory
    #[arg(long, short, value_name = "DIR", conflicts_with = "kind")]
    pub output: Option<PathBuf>,
}

/// Files that there are schemas of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaKind {
    /// images/*.yaml.
    Image,
    /// modules/**/*.yaml.
    Module,
    /// What `rave check --json` prints.
    Report,
}
