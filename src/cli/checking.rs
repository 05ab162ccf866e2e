//! The commands that hold a machine against its image, as they are typed.

use std::path::PathBuf;

use clap::Args;

use super::Host;

/// The longest time that can be asked for, in seconds: a day.
const LONGEST: u64 = 24 * 60 * 60;

/// `rave check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rave check web                          the running machine `web`; if none runs, one is booted for the check
  rave check web --stage security         one stage
  rave check web --skip services.journal  all but one check; the report says that it was left out
  rave check web --watch --every 60       again each minute, until Ctrl-C
  rave check web --wait 300 --deadline 90 --check-deadline 20
                                          a machine that still boots, and an answer in time
  rave check web --only security.suite --suite ssh-audit --suite gixy=/opt/venv/bin/gixy
                                          only what these two suites find, of those that are installed here
  rave check web --junit report.xml --markdown summary.md --sarif security.sarif
                                          for CI, beside the table
  rave check web --bundle web.tar.zst     evidence to keep: report, manifest, journal and console, signed
  rave check web --ssh ops@203.0.113.7    a machine elsewhere, held against the newest build of images/web.yaml
  rave check web --ssh ops@203.0.113.7 --ssh-key ~/.ssh/id_ed25519
                                          the same with this key and no other
  rave check --ssh ops@203.0.113.7:2222 --manifest result/manifest.json --host-key \"ssh-ed25519 AAAA...\"
                                          the same without a project and known_hosts
  rave check web --json                   one document; its schema: rave schema report

A check that was left out is reported as not-applicable: it makes nothing healthy and nothing unwell. What has no
answer in time is skipped, which is never healthy.

Exit status: 0 healthy (warnings allowed unless --strict), 1 unwell, 2 rave could not ask; with --watch that of the
last whole round.")]
pub struct Check {
    /// A machine's name or an image
    #[arg(required_unless_present = "manifest")]
    pub target: Option<String>,
    /// Run only these stages
    #[arg(long, value_name = "STAGE")]
    pub stage: Vec<String>,
    /// Run only these checks: an id, or its beginning up to a dot
    #[arg(long, value_name = "ID")]
    pub only: Vec<String>,
    /// Leave these checks out: an id, or its beginning up to a dot
    #[arg(long, value_name = "ID")]
    pub skip: Vec<String>,
    /// Have an outside suite judge the machine, too: gixy, kernel-hardening-checker, systemd-analyze, sslyze, testssl,
    /// ssh-audit or nmap. It must be installed, or its program be given
    #[arg(long, value_name = "NAME[=PROGRAM]")]
    pub suite: Vec<String>,
    /// Let warnings fail
    #[arg(long)]
    pub strict: bool,
    /// When to ask, and how long to wait for answers
    #[command(flatten)]
    pub times: Times,
    /// Where the report is written to
    #[command(flatten)]
    pub reports: Reports,
    /// A machine that rave does not run
    #[command(flatten)]
    pub elsewhere: Elsewhere,
    /// What to run the machine on, if none runs
    #[command(flatten)]
    pub host: Host,
}

/// When a machine is asked, and how long it may take.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Time")]
pub struct Times {
    /// Ask again and again until Ctrl-C
    #[arg(long)]
    pub watch: bool,
    /// Pause between two rounds of --watch, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, requires = "watch", value_parser = seconds())]
    pub every: u64,
    /// How long a machine that runs already may take to come to the end of its start before it is asked all the same
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(..=LONGEST))]
    pub wait: u64,
    /// Judge the first answers, even those of a machine that has just started: what is measured regularly may not be there
    #[arg(long)]
    pub at_once: bool,
    /// How long all checks of a round may take; what is not answered then is skipped
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = seconds())]
    pub deadline: u64,
    /// How long one check may take [default: as each kind of check needs it, at most two minutes]
    #[arg(long, value_name = "SECONDS", value_parser = seconds())]
    pub check_deadline: Option<u64>,
}

fn seconds() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=LONGEST)
}

/// Files that a report is written to, besides standard output.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Reports")]
pub struct Reports {
    /// Write a JUnit report
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write a summary in Markdown
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Write what the stage security found as SARIF 2.1.0
    #[arg(long, value_name = "FILE")]
    pub sarif: Option<PathBuf>,
    /// Write an evidence bundle, signed with the project's key; a project without one gets one
    #[arg(long, value_name = "FILE", conflicts_with = "watch")]
    pub bundle: Option<PathBuf>,
}

/// How a machine is reached that rave does not run, such as one in a cloud.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "A machine elsewhere")]
pub struct Elsewhere {
    /// Check the machine that is reached so, by the ssh of this host; the user must become root by sudo without a password
    #[arg(long, value_name = "USER@HOST[:PORT]")]
    pub ssh: Option<String>,
    /// What it is held against, as `rave build` wrote it [default: the manifest of the newest build of the image]
    #[arg(long, value_name = "FILE", requires = "ssh")]
    pub manifest: Option<PathBuf>,
    /// Where its site is reached, if not at the host of --ssh and the port of the image
    #[arg(long, value_name = "URL", requires = "ssh")]
    pub https: Option<String>,
    /// The host key that it must have, such as `ssh-ed25519 AAAA...` [default: what known_hosts has]
    #[arg(long, value_name = "KEY", requires = "ssh")]
    pub host_key: Option<String>,
    /// Private key to log in with, and no other [default: the keys that ssh finds by itself]
    #[arg(long, value_name = "FILE", requires = "ssh")]
    pub ssh_key: Option<PathBuf>,
}

/// `rave verify`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rave verify web.tar.zst                 against the project's key, secrets/signing.pub
  rave verify web.tar.zst --key ops.pub   against another one, as a line of OpenSSH
  rave verify web.tar.zst --json          signer, index and report as one document

A bundle is a tar archive in zstd: `tar --zstd -xf web.tar.zst` unpacks it, and `ssh-keygen -Y verify -n rave-evidence`
verifies bundle.json, which has the digests of the rest.

Exit status: 0 the bundle is what was signed, whatever its verdict on the machine; 1 it is not; 2 rave could not tell.")]
pub struct Verify {
    /// The bundle
    pub file: PathBuf,
    /// File of the public key that must have signed it [default: secrets/signing.pub of the project]
    #[arg(long, value_name = "PUBLIC")]
    pub key: Option<PathBuf>,
}
