//! SSH into a machine: with its own key, and only to the host key that the guest reported over the agent
//! channel. There is no trust on first use.

use std::path::{Path, PathBuf};

use crate::disk;
use crate::qemu::error::Result;
use crate::qemu::keys;
use crate::tool::Tool;

/// Path of a machine's private key, in OpenSSH's format.
pub fn private_key(directory: &Path) -> PathBuf {
    directory.join(keys::PRIVATE)
}

/// The public half of the key in `directory`, in authorized_keys format; the pair is made if there is none.
pub fn ensure_key(directory: &Path, comment: &str) -> Result<String> {
    keys::ensure(directory, comment)
}

/// The SMBIOS string that delivers a credential (systemd.system-credentials(7)).
pub fn smbios(name: &str, value: &[u8]) -> String {
    use base64::Engine as _;
    format!("io.systemd.credential.binary:{name}={}", base64::prelude::BASE64_STANDARD.encode(value))
}

/// Writes down the host key that a guest reports, as its public key file has it, and returns it on one line
/// without a comment. It is the only one that [`client`] accepts.
pub fn trust(directory: &Path, alias: &str, reported: &[u8]) -> Result<String> {
    let key = keys::host_key(reported)?;
    disk::write_atomic(known_hosts(directory), format!("{alias} {key}\n").as_bytes(), 0o600)?;
    Ok(key)
}

/// The `ssh` that logs in as `user` on a host port of the loopback interface, without the host user's own
/// configuration, keys and agent. `ssh` is the program without arguments; the remote command, if any, is added
/// as arguments after this.
pub fn client(ssh: Tool, directory: &Path, alias: &str, port: u16, user: &str) -> Tool {
    let settings = [
        "BatchMode=yes".to_owned(),
        "IdentitiesOnly=yes".to_owned(),
        "IdentityAgent=none".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        "UpdateHostKeys=no".to_owned(),
        "GlobalKnownHostsFile=none".to_owned(),
        format!("UserKnownHostsFile={}", quoted(&known_hosts(directory))),
        format!("HostKeyAlias={alias}"),
        "LogLevel=ERROR".to_owned(),
        "ConnectTimeout=30".to_owned(),
    ];
    let mut tool = ssh.args(["-F", "none", "-p", &port.to_string()]).arg("-i").arg(private_key(directory));
    for setting in settings {
        tool = tool.arg("-o").arg(setting);
    }
    tool.args(["-l", user, "--", "127.0.0.1"])
}

fn known_hosts(directory: &Path) -> PathBuf {
    directory.join("known_hosts")
}

/// A path as a value in ssh_config(5), where blanks separate and percent signs are tokens.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('%', "%%").replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qemu::error::Error;

    #[test]
    fn the_client_trusts_only_what_was_written_down() {
        let tool = client(Tool::new("ssh"), Path::new("/state/my vms/web"), "web", 2222, "agent").display();
        assert_eq!(
            tool,
            "ssh -F none -p 2222 -i '/state/my vms/web/id_ed25519' -o BatchMode=yes -o IdentitiesOnly=yes \
             -o IdentityAgent=none -o StrictHostKeyChecking=yes -o UpdateHostKeys=no -o GlobalKnownHostsFile=none \
             -o 'UserKnownHostsFile=\"/state/my vms/web/known_hosts\"' -o HostKeyAlias=web -o LogLevel=ERROR \
             -o ConnectTimeout=30 -l agent -- 127.0.0.1"
        );
    }

    #[test]
    fn a_reported_key_becomes_the_only_known_host() {
        let dir = tempfile::tempdir().unwrap();
        let reported = keys::ensure(dir.path(), "root@guest").unwrap();
        let key = trust(dir.path(), "web", reported.as_bytes()).unwrap();
        let written = disk::read_to_string(dir.path().join("known_hosts")).unwrap();
        assert_eq!(written, format!("web {key}\n"));
        let injected = format!("{reported}\n* ssh-ed25519 AAAA");
        match trust(dir.path(), "web", injected.as_bytes()) {
            Ok(_) => assert_eq!(disk::read_to_string(dir.path().join("known_hosts")).unwrap().lines().count(), 1),
            Err(error) => assert!(matches!(error, Error::HostKey(_))),
        }
    }
}
