//! A machine that rave does not run, asked over SSH: by the user's own `ssh`, with what it knows of hosts and keys.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli;
use crate::deploy::Place;
use crate::disk;
use crate::images::Manifest;
use crate::interrupt;
use crate::qemu::outside::{Outside, Patience};
use crate::tool::{Tool, quote};

use super::super::generations::Generations;
use super::super::{Context, Failure, Result, locking, store};

/// That of HTTPS (RFC 9110, 4.2.2).
const HTTPS: u16 = 443;
/// The longest output of a program that is taken, and the longest manifest, in bytes.
const OUTPUT: usize = 8 << 20;
const MANIFEST: u64 = 64 << 20;
/// How long the first contact may take.
const CONTACT: Duration = Duration::from_secs(60);
/// The name under which ssh looks a key up that was given.
const ALIAS: &str = "rave-checked";

/// Whom to ask, and how.
pub struct Remote {
    place: Place,
    /// The user's ssh, without arguments.
    ssh: Tool,
    key: Option<PathBuf>,
    /// Holds `known_hosts` with the only key that is accepted, if it was given.
    known: Option<tempfile::TempDir>,
    /// Host and port of its site, if that is reached elsewhere.
    web: Option<(String, u16)>,
    /// Why a scan of its host would say nothing of it, if it would not.
    apart: Option<String>,
}

/// The manifest that a machine elsewhere is held against.
pub fn manifest(arguments: &cli::Check, context: &Context) -> Result<Manifest> {
    if let Some(path) = &arguments.elsewhere.manifest {
        let bytes = disk::read_start(path, MANIFEST).map_err(|error| match error.is_not_found() {
            true => Failure::request(format!("there is no file {}", path.display())),
            false => error.into(),
        })?;
        let other = |error| Failure::request(format!("{} is no manifest of this rave: {error}", path.display()));
        return serde_json::from_slice(&bytes).map_err(other);
    }
    let image = arguments.target.as_deref().unwrap_or_default();
    let asked = locking::evaluate(context, image, &[], None)?;
    let newest = Generations::of(&store::open(context)?, &asked.named, &asked.system.name).newest()?;
    newest.ok_or_else(|| {
        Failure::request(format!("{image} was not built here, so there is nothing to hold the machine against"))
            .hint("--manifest names the manifest.json that `rave build` has put beside its disk")
    })
}

impl Remote {
    /// The machine at `place`, `[USER@]HOST[:PORT]`; without a user, that of its image.
    pub fn new(place: &str, manifest: &Manifest, arguments: &cli::Elsewhere, context: &Context) -> Result<Self> {
        let user = manifest.expect.ssh.as_ref().map(|ssh| ssh.user.as_str());
        let place = Place::parse(place, user).map_err(|reason| Failure::request(format!("--ssh {place}: {reason}")))?;
        if let Some(key) = &arguments.ssh_key
            && !disk::exists(key)
        {
            return Err(Failure::request(format!("there is no key at {}", key.display())));
        }
        let known = arguments.host_key.as_deref().map(known_hosts).transpose()?;
        let ssh = Tool::of_user("ssh", &context.environment.identities.environment);
        let key = arguments.ssh_key.as_deref().map(disk::canonical).transpose()?;
        let web = arguments.https.as_deref().map(|url| web(url, manifest)).transpose()?;
        let apart = Some("a deployment is not scanned: its ports may be passed on by others, or held back".to_owned());
        Ok(Self { place, ssh, key, known, web, apart })
    }

    /// The same machine, to be scanned where its SSH server is at a port that the image opens.
    pub fn scanned(self, manifest: &Manifest) -> Self {
        let port = self.place.port;
        let is_own = manifest.expect.open.contains_key(&format!("tcp/{port}"));
        let other = || format!("port {port} is none of the image's: somebody passes ports on to the machine");
        Self { apart: (!is_own).then(other), ..self }
    }

    /// The machine, for people.
    pub fn name(&self) -> String {
        format!("{}@{}", self.place.user, self.place.host)
    }

    /// Fails where waiting would not help: the machine has another key, or lets nobody in.
    pub fn greet(&self) -> Result<()> {
        let Err(reason) = self.run(&["/bin/true"], b"", CONTACT) else { return Ok(()) };
        let hint = if reason.contains("Host key verification failed") {
            "the key of the host must be in known_hosts, or be named by --host-key"
        } else if reason.contains("Permission denied") {
            "--ssh-key names the private key to log in with"
        } else if reason.contains("sudo") {
            "the user must become root by sudo without a password"
        } else {
            return Ok(());
        };
        Err(Failure::error(format!("{}: {reason}", self.name())).hint(hint))
    }

    /// Runs a program by absolute path as root; returns its standard output, or why there is none.
    pub fn run(&self, command: &[&str], input: &[u8], limit: Duration) -> std::result::Result<Vec<u8>, String> {
        let words = ["sudo", "-n", "--"].iter().chain(command).map(|word| quote(word));
        let tool = self.client().args(words);
        let ended = tool.bounded_with_input(input, limit, OUTPUT).map_err(|e| super::super::failure::chain(&e))?;
        let said = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
        match ended.status.map(|status| status.code()) {
            None if interrupt::heard() => Err("interrupted".to_owned()),
            None => Err(format!("no answer within {} s", limit.as_secs())),
            Some(Some(0)) if ended.stdout.len() >= OUTPUT => Err("the machine said too much".to_owned()),
            Some(Some(0)) => Ok(ended.stdout),
            // ssh(1)
            Some(Some(255)) => Err(format!("ssh: {}", reason(&said))),
            Some(_) => Err(format!("{} failed in the machine: {said}", command.first().unwrap_or(&""))),
        }
    }

    fn client(&self) -> Tool {
        let mut ssh = self.ssh.clone().args(["-T", "-p", &self.place.port.to_string(), "-l", &self.place.user]);
        for option in self.options().iter().map(String::as_str).chain(["LogLevel=ERROR"]) {
            ssh = ssh.args(["-o", option]);
        }
        ssh.args(["--", &self.place.host])
    }

    /// What ssh is told besides the user's configuration.
    fn options(&self) -> Vec<String> {
        let mut options: Vec<String> = [
            "BatchMode=yes",
            "ClearAllForwardings=yes",
            "ConnectTimeout=30",
            "ControlPath=none",
            "ForwardAgent=no",
            "StrictHostKeyChecking=yes",
            "UpdateHostKeys=no",
        ]
        .map(str::to_owned)
        .into();
        if let Some(known) = &self.known {
            options.push("GlobalKnownHostsFile=none".to_owned());
            options.push(format!("UserKnownHostsFile={}", quoted(&known.path().join("known_hosts"))));
            options.push(format!("HostKeyAlias={ALIAS}"));
        }
        if let Some(key) = &self.key {
            let identity = format!("IdentityFile={}", quoted(key));
            options.extend(["IdentitiesOnly=yes".to_owned(), "IdentityAgent=none".to_owned(), identity]);
        }
        options
    }

    /// Who logs in.
    pub fn user(&self) -> &str {
        &self.place.user
    }

    /// Host and port of its SSH server.
    pub fn ssh(&self) -> (String, u16) {
        (self.place.host.clone(), self.place.port)
    }

    /// Host and port at which a port that serves HTTPS is reached.
    pub fn site(&self, port: u16) -> (String, u16) {
        self.web.clone().unwrap_or_else(|| (self.place.host.clone(), port))
    }

    /// The machine as its users see it. They log in with the key that was named, by an ssh that knows nothing else, or as
    /// this user does.
    pub fn outside(&self, patience: Patience, sites: BTreeSet<u16>) -> Result<Outside> {
        let key = self.key.clone().unwrap_or_default();
        let outside = Outside::new(&self.place.host, self.place.port, &key, self.ssh.clone(), patience)?;
        let outside = match self.key {
            Some(_) => outside,
            None => outside.of_user(&self.place.user, self.options()),
        };
        let port = |site| self.web.as_ref().filter(|_| sites.len() == 1).map_or(site, |(_, port)| *port);
        let ports = sites.iter().map(|site| (*site, port(*site))).collect();
        let outside = outside.reached(ports, self.web.as_ref().map(|(host, _)| host.clone()));
        Ok(outside.connected(self.apart.clone()))
    }
}

/// Host and port of `https://HOST[:PORT]`, where the only site of an image is reached.
fn web(url: &str, manifest: &Manifest) -> Result<(String, u16)> {
    let unfit = |reason: &str| Failure::request(format!("--https {url}: {reason}"));
    let ports: BTreeSet<u16> = manifest.expect.https.values().map(|site| site.port).collect();
    let place = web_place(url).map_err(unfit)?;
    if ports.len() == 1 {
        Ok(place)
    } else {
        Err(unfit("the image has not one port that serves HTTPS")
            .hint("without --https, ports are tried as they are, at the host of --ssh"))
    }
}

fn web_place(url: &str) -> std::result::Result<(String, u16), &'static str> {
    let place = url.strip_prefix("https://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    let place = place.ok_or("it does not begin with https://")?;
    // What follows the last colon of an address in brackets may be a part of it.
    let (host, port) = match place.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port > 0)),
        None => (place, Some(HTTPS)),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_host = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-.:".contains(c));
    match port {
        Some(port) if is_host => Ok((host.to_owned(), port)),
        _ => Err("it is not https://HOST or https://HOST:PORT"),
    }
}

/// What ssh says, without the large letters and the advice on a file of ours, where a host shows another key.
fn reason(said: &str) -> String {
    let shown = said.lines().find(|line| line.starts_with("SHA256:")).map(|line| line.trim_end_matches('.'));
    match shown.filter(|_| said.contains("REMOTE HOST IDENTIFICATION HAS CHANGED")) {
        Some(fingerprint) => format!("it shows another key, {fingerprint}: Host key verification failed"),
        None => said.to_owned(),
    }
}

/// A file of the one key that is accepted, as `known_hosts` has it (sshd(8)).
fn known_hosts(key: &str) -> Result<tempfile::TempDir> {
    let unfit = |error| Failure::request(format!("--host-key: {error}")).hint("it begins like ssh-ed25519 AAAAC3...");
    let mut key = ssh_key::PublicKey::from_openssh(key.trim()).map_err(unfit)?;
    key.set_comment("");
    let line = format!("{ALIAS} {}\n", key.to_openssh().map_err(unfit)?.trim());
    let folder = disk::temp_dir()?;
    disk::write_atomic(folder.path().join("known_hosts"), line.as_bytes(), 0o600)?;
    Ok(folder)
}

/// A path as a value in ssh_config(5), where blanks separate and percent signs are tokens.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('%', "%%"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{Answer, Probe};

    #[test]
    fn strangers_log_in_with_the_key_that_was_named_or_as_the_user_does() {
        // Says what it was told, and that it has logged in.
        let script = "echo \"$@\"; echo 'debug1: Server host key: ssh-ed25519 SHA256:x\nAuthenticated to web' >&2";
        let login = Probe::SshLogin { user: "ops".to_owned(), command: vec!["id".to_owned()] };
        let told = |key: Option<&Path>, known: Option<tempfile::TempDir>| {
            let ssh = Tool::new("sh").args(["-c", script, "ssh"]);
            let place = Place { user: "ops".to_owned(), host: "web".to_owned(), port: 2222 };
            let remote = Remote { place, ssh, key: key.map(Path::to_owned), known, web: None, apart: None };
            let patience = Patience { attempts: 1, ..Patience::default() };
            remote.outside(patience, BTreeSet::new()).unwrap().answer(std::slice::from_ref(&login)).remove(0).answer
        };
        let Answer::SshLogin { ended, .. } = told(None, None) else { panic!("no login") };
        for wanted in ["-p 2222 -l ops ", " BatchMode=yes ", " StrictHostKeyChecking=yes ", " -- web id\n"] {
            assert!(ended.stdout.contains(wanted), "{wanted}: {}", ended.stdout);
        }
        for unwanted in ["-F none", "Identit", "KnownHostsFile", "LogLevel=ERROR"] {
            assert!(!ended.stdout.contains(unwanted), "{unwanted}: {}", ended.stdout);
        }
        // A host key that was named is the only one here, too.
        let Answer::SshLogin { ended, .. } = told(None, Some(disk::temp_dir().unwrap())) else { panic!("no login") };
        assert!(ended.stdout.contains(&format!("HostKeyAlias={ALIAS}")), "{}", ended.stdout);
        // With a key of its own ssh notes the host key, which this one does not.
        let key = tempfile::NamedTempFile::new().unwrap();
        let Answer::Unavailable { reason } = told(Some(key.path()), None) else { panic!("a login") };
        assert!(reason.contains("known_hosts"), "{reason}");
    }

    #[test]
    fn a_site_is_at_a_host_and_a_port() {
        let told = |url: &str| web_place(url).map(|(host, port)| format!("{host} {port}"));
        assert_eq!(told("https://web.example.org/").as_deref(), Ok("web.example.org 443"));
        assert_eq!(told("https://10.0.0.5:3002").as_deref(), Ok("10.0.0.5 3002"));
        assert_eq!(told("https://[::1]").as_deref(), Ok("::1 443"));
        assert_eq!(told("https://[::1]:3002/").as_deref(), Ok("::1 3002"));
        for url in ["", "http://web", "https://", "https://web:0", "https://web:x", "https://web/path", "https://a b"] {
            assert!(told(url).is_err(), "{url}");
        }
    }

    #[test]
    fn another_host_key_is_told_in_a_line() {
        let said = "@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n@@@\nThe fingerprint is\nSHA256:abc.\n\
                    Offending key in /tmp/x:1\nHost key verification failed.";
        assert_eq!(reason(said), "it shows another key, SHA256:abc: Host key verification failed");
        assert_eq!(reason("Permission denied (publickey)."), "Permission denied (publickey).");
    }

    #[test]
    fn a_given_key_is_the_only_one() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2HMZCnsFmAkPJvBDzNMvMoyVVmAdtgYV7CkUmsiPFj root@web";
        let folder = known_hosts(key).unwrap();
        let line = disk::read_to_string(folder.path().join("known_hosts")).unwrap();
        assert_eq!(line, format!("{ALIAS} {}\n", key.trim_end_matches(" root@web")));
        for bad in ["", "ssh-ed25519 AAAA", "* ssh-ed25519 x", "SHA256:abc"] {
            assert!(known_hosts(bad).is_err(), "{bad}");
        }
    }
}
