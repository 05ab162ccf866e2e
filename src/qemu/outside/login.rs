//! Logins by a key of which rave has the file, and what all logins have in common.

use std::path::Path;

use super::{OUTPUT, Outside};
use crate::disk;
use crate::probe::{Answer, Ended, SshRefusal};
use crate::tool::{Bounded, Tool, quote};

/// What is said of a login that has not come to an end.
pub(super) const LATE: &str = "the login took too long";

/// Exit status by which ssh says that it failed itself (ssh(1)).
const SSH_FAILED: i32 = 255;

/// What came of a login.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// The server let us in; whatever the command did is another matter.
    Entered,
    /// The server did not let us in, and named the methods that it would take.
    Refused { methods: Vec<String> },
    /// The key cannot be used here: no word about the machine.
    Unusable,
    /// It did not come to an answer.
    Unreachable { reason: String },
}

impl Outside {
    /// Runs ssh; `entered` makes the answer if it got in, given the server's key.
    pub(super) fn login(
        &self,
        user: &str,
        key: bool,
        command: &[String],
        entered: impl FnOnce(Result<String, String>, Ended) -> Result<Answer, String>,
    ) -> Answer {
        // Without it ssh would go on without a key, and be refused for the wrong reason.
        if let Err(error) = disk::open(&self.key) {
            return Answer::unavailable(format!("{error}: {}", error.source));
        }
        let ended = match self.arguments(user, key, command).bounded(self.left(self.patience.login), OUTPUT) {
            Ok(ended) => ended,
            Err(error) => return Answer::unavailable(error),
        };
        let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
        match verdict(&ended, &stderr, user) {
            Login::Entered => {
                let stdout = String::from_utf8_lossy(&ended.stdout).into_owned();
                let ended = Ended { code: ended.status.and_then(|status| status.code()), stdout, stderr };
                entered(self.host_key(), ended).unwrap_or_else(Answer::unavailable)
            }
            Login::Refused { methods } => {
                Answer::SshRefusal(SshRefusal { refused: true, methods, said: last_line(&stderr).to_owned() })
            }
            Login::Unusable => Answer::unavailable(stderr.trim()),
            Login::Unreachable { reason } => Answer::Unreachable { reason },
        }
    }

    /// The `ssh` that has only the machine's own key, or offers none.
    pub(super) fn arguments(&self, user: &str, key: bool, command: &[String]) -> Tool {
        // ssh splits values at blanks and expands what follows a per cent sign (ssh_config(5)); `-i` would refuse
        // an expanded name, and then log in without a key.
        let quoted = |path: &Path| format!("\"{}\"", path.to_string_lossy().replace('%', "%%"));
        let (identity, known) = (quoted(&self.key), quoted(&self.known.path().join("known_hosts")));
        let options = [
            "BatchMode=yes".to_owned(),
            "CheckHostIP=no".to_owned(),
            "ClearAllForwardings=yes".to_owned(),
            "ConnectionAttempts=1".to_owned(),
            "ControlPath=none".to_owned(),
            "ForwardAgent=no".to_owned(),
            "GlobalKnownHostsFile=none".to_owned(),
            "HashKnownHosts=no".to_owned(),
            format!("IdentityFile={identity}"),
            "IdentitiesOnly=yes".to_owned(),
            "IdentityAgent=none".to_owned(),
            "LogLevel=ERROR".to_owned(),
            "StrictHostKeyChecking=accept-new".to_owned(),
            "UpdateHostKeys=no".to_owned(),
            format!("UserKnownHostsFile={known}"),
        ];
        let options = options.into_iter().chain(self.from.map(|address| format!("BindAddress={address}")));
        self.session(self.ssh.clone().args(["-F", "none"]), user, key, options, command)
    }

    /// A session of `user` in which a command runs, by a key or without any. Of an option the first value counts
    /// (ssh_config(5)).
    pub(super) fn session(
        &self,
        ssh: Tool,
        user: &str,
        key: bool,
        options: impl IntoIterator<Item = String>,
        command: &[String],
    ) -> Tool {
        let seconds = self.patience.offer.as_secs().max(1);
        let methods = if key { "publickey" } else { "none" };
        let common = [format!("ConnectTimeout={seconds}"), format!("PreferredAuthentications={methods}")];
        let mut ssh = ssh.args(["-T", "-p", &self.port.to_string(), "-l", user]);
        for option in common.into_iter().chain(options) {
            ssh = ssh.args(["-o", &option]);
        }
        ssh.arg("--").arg(&self.host).args(command.iter().map(|word| quote(word)))
    }

    /// The key by which the server proved itself to ssh: type and base64.
    fn host_key(&self) -> Result<String, String> {
        let bytes = disk::read_start(self.known.path().join("known_hosts"), OUTPUT as u64);
        let text = bytes.map_err(|error| format!("{error}: {}", error.source))?;
        let text = String::from_utf8_lossy(&text);
        let mut keys = text.lines().filter_map(|line| line.split_once(' '));
        let (Some((_, key)), None) = (keys.next(), keys.next()) else {
            return Err("ssh noted no host key, or several".to_owned());
        };
        let key = ssh_key::PublicKey::from_openssh(key).and_then(|mut key| {
            key.set_comment("");
            key.to_openssh()
        });
        key.map(|key| key.trim().to_owned()).map_err(|error| format!("the host key is not valid: {error}"))
    }
}

pub(super) fn verdict(ended: &Bounded, stderr: &str, user: &str) -> Login {
    let Some(status) = ended.status else {
        return Login::Unreachable { reason: LATE.to_owned() };
    };
    match status.code() {
        Some(SSH_FAILED) => {}
        Some(_) => return Login::Entered,
        None => return Login::Unreachable { reason: format!("ssh ended with {status}") },
    }
    if stderr.contains("Load key \"") {
        return Login::Unusable;
    }
    // It names the host as its configuration does, and without large letters.
    let methods = last_line(stderr)
        .strip_prefix(&format!("{user}@"))
        .and_then(|rest| rest.split_once(": Permission denied ("))
        .filter(|(host, _)| !host.contains(' '))
        .and_then(|(_, rest)| rest.strip_suffix(")."));
    match methods {
        Some(methods) => Login::Refused {
            methods: methods.split(',').filter(|method| !method.is_empty()).map(str::to_owned).collect(),
        },
        None => Login::Unreachable { reason: format!("ssh: {}", stderr.trim()) },
    }
}

pub(super) fn last_line(text: &str) -> &str {
    text.trim_end().rsplit(['\n', '\r']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    fn ended(code: Option<i32>) -> Bounded {
        let status = code.map(|code| ExitStatus::from_raw(code << 8));
        Bounded { status, stdout: Vec::new(), stderr: Vec::new() }
    }

    #[test]
    fn only_a_denied_login_is_a_refusal() {
        let verdict = |code, stderr: &str| super::verdict(&ended(code), stderr, "root");
        let refused = Login::Refused { methods: vec!["publickey".to_owned(), "password".to_owned()] };
        for host in ["127.0.0.1", "::1", "web.example.org"] {
            let stderr = format!("root@{host}: Permission denied (publickey,password).\r\n");
            assert_eq!(verdict(Some(255), &stderr), refused);
        }
        for stderr in [
            "",
            "ssh: connect to host 127.0.0.1 port 22: Connection refused",
            "kex_exchange_identification: Connection closed by remote host",
            "Connection timed out during banner exchange",
            "@@@@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @@@@\nHost key verification failed.",
            "other@127.0.0.1: Permission denied (publickey).",
            "root@127.0.0.1 says: Permission denied (publickey).",
            "root@127.0.0.1: Permission denied (publickey).\nbut then something else",
            "Permission denied (publickey).",
        ] {
            assert!(matches!(verdict(Some(255), stderr), Login::Unreachable { .. }), "{stderr}");
        }
        let unusable = "Load key \"/key\": Permission denied\nroot@127.0.0.1: Permission denied (publickey).";
        assert_eq!(verdict(Some(255), unusable), Login::Unusable);
        assert_eq!(verdict(Some(0), "root@127.0.0.1: Permission denied (publickey)."), Login::Entered);
        assert_eq!(verdict(Some(1), "This account is currently not available."), Login::Entered);
        assert!(matches!(verdict(None, ""), Login::Unreachable { .. }));
    }
}
