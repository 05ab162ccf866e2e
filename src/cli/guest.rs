//! `rave guest`: what rave does inside a machine.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::system::Baseline;

/// Where an image has the configuration of its webhook dispatcher.
const FILE: &str = "/etc/rave/webhook.json";

/// `rave guest`.
#[derive(Debug, Subcommand)]
pub enum Guest {
    /// Answer probes: JSON on standard input and output
    Answer {
        /// How long one answer may take, in seconds
        #[arg(long, value_name = "SECONDS")]
        limit: Option<u64>,
    },
    /// Wait until a service in this machine answers
    #[command(after_help = "Example:
  rave guest wait http://127.0.0.1:9090/-/ready    until the status is 2xx
  rave guest wait /run/postgresql/.s.PGSQL.5432    until connections are accepted")]
    Wait {
        /// URL, address with port, or path of a Unix socket
        service: String,
        /// How long, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 80)]
        timeout: u64,
    },
    /// Serve the dashboards console
    Dashboards {
        /// Address to listen on
        #[arg(long, default_value = "127.0.0.1:3030")]
        listen: SocketAddr,
        /// What all paths begin with
        #[arg(long, default_value = "/grafana/")]
        prefix: String,
        /// Directory of dashboards as Grafana's JSON
        #[arg(long, value_name = "DIR", default_value = "/usr/share/rave/dashboards")]
        boards: PathBuf,
        /// Address of Prometheus
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
        prometheus: SocketAddr,
    },
    /// Serve the status page and the health endpoints
    Status {
        /// Address to listen on
        #[arg(long, default_value = "127.0.0.1:3000")]
        listen: SocketAddr,
        /// What the machine is and what is looked at, in JSON
        #[arg(long, value_name = "FILE", default_value = "/etc/rave/status.json")]
        config: PathBuf,
        /// What the image knows of itself, as JSON
        #[arg(long, value_name = "FILE", default_value = Baseline::PATH)]
        baseline: PathBuf,
    },
    /// Ask all checks that need no outside, as `rave check` does; exit status 1 if something is wrong
    #[command(after_help = "Examples:
  rave guest health --skip security.fail2ban --metrics /var/lib/node-exporter
  rave guest health --last --report /run/rave-health/report.json")]
    Health {
        /// What the machine should be, as JSON
        #[arg(long, value_name = "FILE", default_value = Baseline::PATH)]
        baseline: PathBuf,
        /// Leave out what has this id, or an id that begins so; may be given several times
        #[arg(long, value_name = "ID")]
        skip: Vec<String>,
        /// Directory to leave health.prom in; may be given several times
        #[arg(long = "metrics", value_name = "DIR")]
        metrics: Vec<PathBuf>,
        /// File to leave the outcome in, as JSON
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
        /// Do not look: tell what the last look has left in the report
        #[arg(long, requires = "report", conflicts_with_all = ["skip", "metrics"])]
        last: bool,
    },
    /// Open the machine's secrets and put them into memory
    Secrets {
        /// Take ciphertext from standard input instead of the image, and keep it until the machine stops
        #[arg(long)]
        stdin: bool,
    },
    /// Take webhooks in over HTTP, and have handlers work on them
    #[command(after_help = "Example:
  rave guest webhook          as the image's webhook.service runs it")]
    Webhook {
        /// What to do, as JSON
        #[arg(long, value_name = "FILE", default_value = FILE)]
        config: PathBuf,
    },
    /// Run a command for the event that comes from standard input, a socket of the dispatcher
    #[command(after_help = "Example:
  rave guest webhook-handle -- /usr/local/bin/deploy --quick

The command gets the body on its standard input, and RAVE_WEBHOOK_SOURCE, _DELIVERY, _TYPE, _RECEIVED and _ATTEMPT in its
environment. Its exit status is what the dispatcher learns: 0 is done, anything else is tried again.")]
    WebhookHandle {
        /// Command and arguments; none does nothing
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Show webhook events that no attempt could get handled, and decide on them
    #[command(after_help = "Examples:
  rave guest dead-letters                  show them
  rave guest dead-letters retry 12 15      try these again
  rave guest dead-letters retry --all      try all of them again
  rave guest dead-letters drop 12          forget one

What is tried again begins within fifteen seconds.")]
    DeadLetters {
        /// Configuration of the dispatcher, which says where the database is
        #[arg(long, value_name = "FILE", default_value = FILE, global = true)]
        config: PathBuf,
        /// What to do; shows them if left out
        #[command(subcommand)]
        verb: Option<DeadLetters>,
    },
}

/// `rave guest dead-letters`.
#[derive(Debug, Subcommand)]
pub enum DeadLetters {
    /// Try them again, with all their attempts
    #[command(after_help = "Example:
  rave guest dead-letters retry --all")]
    Retry(Which),
    /// Forget them; the events stay known, so that their senders cannot repeat them
    #[command(after_help = "Example:
  rave guest dead-letters drop 12")]
    Drop(Which),
}

/// Which dead letters are meant.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// Their numbers
    #[arg(value_name = "ID")]
    pub ids: Vec<i64>,
    /// All of them
    #[arg(long)]
    pub all: bool,
}
