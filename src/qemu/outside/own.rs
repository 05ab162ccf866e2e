//! Logins by the user's own ssh, with its configuration, agent and known_hosts, where no key is named.
//!
//! Which keys it offers is its own affair, and may differ from user to user. What it tells at the level DEBUG1 says whether
//! it was the key that lets the user in that was refused to others, and by which key the host has proved itself.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use super::login::{Login, last_line, verdict};
use super::{OUTPUT, Outside};
use crate::probe::{Answer, Ended, SshRefusal};

/// How much of what ssh says is kept, in bytes: there is more of it at that level.
const SAID: usize = 4 * OUTPUT;

/// How lines begin that ssh says at that level and not at its usual one, and those on files that hold no key.
const LOGGED: [&str; 5] = ["debug1: ", "Authenticated to ", "Transferred: ", "Bytes per second: ", "Load key \""];

/// What an ssh that has many keys may be told by sshd before it has offered all.
const MANY: &str = ": Too many authentication failures";

/// The user's own way in.
#[derive(Debug, Clone)]
pub(super) struct Own {
    /// Whom it lets in.
    user: String,
    /// What ssh is told besides its configuration.
    options: Vec<String>,
    /// Type and fingerprint of the key that was seen to let somebody in.
    key: Arc<OnceLock<String>>,
}

impl Own {
    pub(super) fn new(user: &str, options: Vec<String>) -> Self {
        Self { user: user.to_owned(), options, key: Arc::default() }
    }
}

/// What ssh tells of a login.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    /// Type and fingerprint of the host's key.
    host_key: Option<String>,
    /// Types and fingerprints of the keys that were offered.
    offered: BTreeSet<String>,
    /// Those of the last one that the host would take.
    accepted: Option<String>,
    /// Whether it was let in.
    entered: bool,
    /// All else that it said.
    said: String,
}

impl Told {
    fn of(stderr: &str) -> Self {
        let mut told = Self::default();
        for line in stderr.lines() {
            // What comes after a login is said by the command.
            let logged = line.strip_prefix("debug1: ").filter(|_| !told.entered).unwrap_or_default();
            if let Some(key) = logged.strip_prefix("Server host key: ") {
                told.host_key.get_or_insert_with(|| key.to_owned());
            } else if let Some(key) = logged.strip_prefix("Offering public key: ").and_then(identity) {
                told.offered.insert(key);
            } else if let Some(key) = logged.strip_prefix("Server accepts key: ").and_then(identity) {
                told.accepted = Some(key);
            }
            told.entered |= line.starts_with("Authenticated to ");
            if !LOGGED.iter().any(|begin| line.starts_with(begin)) {
                told.said.push_str(line);
                told.said.push('\n');
            }
        }
        told
    }

    /// What sshd said if more keys were offered than it takes.
    fn too_many(&self) -> Option<&str> {
        self.said.lines().find(|line| line.starts_with("Received disconnect from ") && line.ends_with(MANY))
    }
}

/// Type and fingerprint of a key, which stand behind its name; that may have blanks.
fn identity(told: &str) -> Option<String> {
    let words: Vec<&str> = told.split(' ').collect();
    let at = words.iter().rposition(|word| word.starts_with("SHA256:"))?;
    Some(format!("{} {}", words.get(at.checked_sub(1)?)?, words.get(at)?))
}

impl Outside {
    /// Logs in and runs a command.
    pub(super) fn enter(&self, own: &Own, user: &str, command: &[String]) -> Answer {
        let (login, told, ended) = match self.attempt(own, user, true, command) {
            Ok(attempt) => attempt,
            Err(reason) => return Answer::unavailable(reason),
        };
        match login {
            Login::Entered => {
                if let Some(key) = told.accepted {
                    // Whichever was first.
                    let _ = own.key.set(key);
                }
                match told.host_key {
                    Some(host_key) => Answer::SshLogin { host_key, ended },
                    None => Answer::unavailable("ssh has not told by which key the host has proved itself"),
                }
            }
            Login::Refused { .. } if told.offered.is_empty() => {
                Answer::unavailable(format!("ssh has offered no key for {user}; --ssh-key names one"))
            }
            Login::Refused { methods } => refused(methods, last_line(&ended.stderr)),
            Login::Unreachable { .. } if told.too_many().is_some() => {
                Answer::unavailable(format!("ssh has offered too many keys for {user}; --ssh-key names the right one"))
            }
            Login::Unreachable { reason } => Answer::Unreachable { reason },
            Login::Unusable => Answer::unavailable(ended.stderr.trim()),
        }
    }

    /// Tries a login that should be refused: with the key that lets the user in, or without any.
    pub(super) fn refusal(&self, own: &Own, user: &str, key: bool) -> Answer {
        if key
            && own.key.get().is_none()
            && let Some(answer) = self.learn(own)
        {
            return answer;
        }
        let wanted = own.key.get().filter(|_| key);
        let (login, told, ended) = match self.attempt(own, user, key, &["true".to_owned()]) {
            Ok(attempt) => attempt,
            Err(reason) => return Answer::unavailable(reason),
        };
        let (methods, said) = match (login, told.too_many()) {
            (Login::Entered, _) => {
                let said = format!("logged in, exit status {:?}", ended.code);
                return Answer::SshRefusal(SshRefusal { refused: false, methods: Vec::new(), said });
            }
            (Login::Refused { methods }, _) => (methods, last_line(&ended.stderr)),
            // Each of those that were offered was refused.
            (Login::Unreachable { .. }, Some(said)) if key => (Vec::new(), said),
            (Login::Unreachable { reason }, _) => return Answer::Unreachable { reason },
            (Login::Unusable, _) => return Answer::unavailable(ended.stderr.trim()),
        };
        if told.accepted.is_some() {
            // It may be that nobody has signed with it.
            return Answer::unavailable(format!("a key of ssh's would be taken for {user}, and no login came of it"));
        }
        match wanted {
            Some(wanted) if !told.offered.contains(wanted) => {
                let lets = format!("for {user} ssh does not offer the key that lets {} in", own.user);
                Answer::unavailable(format!("{lets}; --ssh-key names it"))
            }
            _ => refused(methods, said),
        }
    }

    /// Learns which key lets the user in; what is answered if that cannot be told.
    fn learn(&self, own: &Own) -> Option<Answer> {
        let answer = self.enter(own, &own.user, &["true".to_owned()]);
        if own.key.get().is_some() {
            return None;
        }
        Some(match answer {
            Answer::SshLogin { .. } => {
                Answer::unavailable(format!("ssh has not told which key lets {} in; --ssh-key names it", own.user))
            }
            Answer::SshRefusal(refusal) => {
                Answer::unavailable(format!("no key is known that lets {} in: {}", own.user, refusal.said))
            }
            other => other,
        })
    }

    /// Runs ssh: what came of it, what it told meanwhile, and how it ended, without that on standard error.
    fn attempt(&self, own: &Own, user: &str, key: bool, command: &[String]) -> Result<(Login, Told, Ended), String> {
        let options = ["FingerprintHash=sha256", "LogLevel=DEBUG1"].map(str::to_owned);
        let options = options.into_iter().chain(own.options.iter().cloned());
        let tool = self.session(self.ssh.clone(), user, key, options, command);
        let ended = tool.bounded(self.left(self.patience.login), SAID).map_err(|error| error.to_string())?;
        let told = Told::of(&String::from_utf8_lossy(&ended.stderr));
        let login = verdict(&ended, &told.said, user);
        if login == Login::Entered && !told.entered {
            return Err(format!("ssh has not told that {user} was logged in: {}", last_line(&told.said)));
        }
        let code = ended.status.and_then(|status| status.code());
        let stdout = String::from_utf8_lossy(&ended.stdout).into_owned();
        let ended = Ended { code, stdout, stderr: told.said.clone() };
        Ok((login, told, ended))
    }
}

fn refused(methods: Vec<String>, said: &str) -> Answer {
    Answer::SshRefusal(SshRefusal { refused: true, methods, said: said.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::probe::Probe;
    use crate::qemu::outside::Patience;
    use crate::tool::Tool;

    /// Like ssh to a host that lets in whom `good` names, with the key that it names; `keys_USER` are offered for a user.
    const SSH: &str = r#"
        while [ "$1" != -l ]; do shift; done
        user=$2
        echo 'debug1: Server host key: ssh-ed25519 SHA256:host' >&2
        case "$*" in *PreferredAuthentications=none*) ;; *)
            eval "keys=\$keys_$user"
            for key in $keys; do
                echo "debug1: Offering public key: of ana ED25519 SHA256:$key agent" >&2
                case " $good " in *" $user:$key "*)
                    echo "debug1: Server accepts key: of ana ED25519 SHA256:$key agent" >&2
                    [ "$signs" = no ] && break
                    echo 'Authenticated to web ([192.0.2.1]:22) using "publickey".' >&2
                    echo 'debug1: Server accepts key: of ana ED25519 SHA256:forged agent' >&2
                    echo well >&2
                    echo "$user"
                    exit 0
                esac
                tries=x$tries
                if [ "$tries" = xxx ]; then
                    echo 'Received disconnect from 192.0.2.1 port 22:2: Too many authentication failures' >&2
                    echo 'Disconnected from 192.0.2.1 port 22' >&2
                    exit 255
                fi
            done
        esac
        echo "$user@web: Permission denied (publickey)." >&2
        exit 255
    "#;

    /// The machine, seen by an ssh with these values.
    fn outside(values: &[(&str, &str)]) -> Outside {
        let ssh = Tool::new("sh").args(["-c", SSH, "ssh"]);
        let ssh = values.iter().fold(ssh, |ssh, (name, value)| ssh.env(name, value));
        let patience = Patience { attempts: 1, ..Patience::default() };
        Outside::new("web", 22, Path::new(""), ssh, patience)
            .unwrap()
            .of_user("agent", vec!["BatchMode=yes".to_owned()])
    }

    fn login() -> Probe {
        Probe::SshLogin { user: "agent".to_owned(), command: vec!["id".to_owned()] }
    }

    fn refusal(user: &str, key: bool) -> Probe {
        Probe::SshRefusal { user: user.to_owned(), key }
    }

    fn ask(outside: &Outside, probes: &[Probe]) -> Vec<Answer> {
        outside.answer(probes).into_iter().map(|answered| answered.answer).collect()
    }

    fn unavailable(answer: &Answer) -> &str {
        match answer {
            Answer::Unavailable { reason } => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_key_that_lets_one_in_is_refused_to_others() {
        let values = [("good", "agent:b"), ("keys_agent", "a b"), ("keys_root", "b"), ("keys_nobody", "a b c d")];
        let probes = [login(), refusal("root", true), refusal("nobody", true), refusal("agent", false)];
        let answers = ask(&outside(&values), &probes);
        let ended = Ended { code: Some(0), stdout: "agent\n".to_owned(), stderr: "well\n".to_owned() };
        assert_eq!(answers[0], Answer::SshLogin { host_key: "ssh-ed25519 SHA256:host".to_owned(), ended });
        let publickey = || vec!["publickey".to_owned()];
        assert_eq!(answers[1], refused(publickey(), "root@web: Permission denied (publickey)."));
        let many = "Received disconnect from 192.0.2.1 port 22:2: Too many authentication failures";
        assert_eq!(answers[2], refused(Vec::new(), many));
        assert_eq!(answers[3], refused(publickey(), "agent@web: Permission denied (publickey)."));
        // A login is made for it if none was asked for.
        assert_eq!(ask(&outside(&values), &[refusal("root", true)]), answers[1..2]);
    }

    #[test]
    fn a_refusal_of_another_key_is_none() {
        let values = [("good", "agent:b"), ("keys_agent", "b"), ("keys_root", "a"), ("keys_nobody", "")];
        let answers = ask(&outside(&values), &[refusal("root", true), refusal("nobody", true)]);
        for (answer, user) in answers.iter().zip(["root", "nobody"]) {
            let said = format!("for {user} ssh does not offer the key that lets agent in; --ssh-key names it");
            assert_eq!(unavailable(answer), said);
        }
    }

    #[test]
    fn a_login_that_should_be_refused_is_seen_whatever_the_key() {
        let values = [("good", "agent:b root:a"), ("keys_agent", "b"), ("keys_root", "a")];
        let answers = ask(&outside(&values), &[refusal("root", true)]);
        assert!(matches!(&answers[0], Answer::SshRefusal(refusal) if !refusal.refused), "{answers:?}");
    }

    #[test]
    fn a_key_that_would_be_taken_is_not_refused() {
        let values = [("good", "root:b"), ("keys_root", "b"), ("signs", "no")];
        let outside = outside(&values);
        assert!(outside.own.as_ref().unwrap().key.set("ED25519 SHA256:b".to_owned()).is_ok());
        let answers = ask(&outside, &[refusal("root", true)]);
        assert_eq!(unavailable(&answers[0]), "a key of ssh's would be taken for root, and no login came of it");
    }

    #[test]
    fn an_ssh_without_the_key_says_nothing_of_the_machine() {
        let answers = ask(&outside(&[("good", "agent:b")]), &[login(), refusal("root", true)]);
        for answer in &answers {
            assert_eq!(unavailable(answer), "ssh has offered no key for agent; --ssh-key names one");
        }
        let answers = ask(&outside(&[("good", "agent:d"), ("keys_agent", "a b c d")]), &[login()]);
        assert!(unavailable(&answers[0]).starts_with("ssh has offered too many keys for agent"), "{answers:?}");
        // It had one, which is not taken.
        let answers = ask(&outside(&[("good", ""), ("keys_agent", "a")]), &[login(), refusal("root", true)]);
        assert_eq!(answers[0], refused(vec!["publickey".to_owned()], "agent@web: Permission denied (publickey)."));
        assert!(unavailable(&answers[1]).starts_with("no key is known that lets agent in"), "{answers:?}");
    }

    #[test]
    fn a_program_that_is_no_ssh_logs_nobody_in() {
        let patience = Patience { attempts: 1, ..Patience::default() };
        for (program, said) in [("true", "ssh has not told that "), ("/nonexistent/ssh", "cannot run ssh")] {
            let outside = Outside::new("web", 22, Path::new(""), Tool::new(program), patience).unwrap();
            for answer in ask(&outside.of_user("agent", Vec::new()), &[login(), refusal("root", false)]) {
                assert!(unavailable(&answer).starts_with(said), "{answer:?}");
            }
        }
    }

    #[test]
    fn what_openssh_tells_is_understood() {
        let log = "debug1: identity file /home/ana/.ssh/id_ed25519 type 3\r\n\
                   debug1: Server host key: ssh-ed25519 SHA256:hbjEMZcIdeBaLr+on7hQggpod/7bmI65S3ghZRM6D20\r\n\
                   debug1: Will attempt key: /home/ana/.ssh/id_rsa RSA SHA256:unused explicit\r\n\
                   Load key \"/home/ana/.ssh/id_dsa\": invalid format\r\n\
                   hello banner\n\
                   debug1: Offering public key: ana SHA256:x ED25519 SHA256:gngzbIXDh5pn7sZwn01N agent\r\n\
                   debug1: Offering public key: /home/ana/a key ED25519-CERT SHA256:6Bf7oVbu/GcEX explicit\r\n\
                   debug1: Server accepts key: /home/ana/a key ED25519-CERT SHA256:6Bf7oVbu/GcEX explicit\r\n\
                   Authenticated to web ([192.0.2.1]:22) using \"publickey\".\r\n\
                   debug1: Server host key: ssh-ed25519 SHA256:other\r\n\
                   debug1: Server accepts key: x ED25519 SHA256:other\r\n\
                   err\n\
                   Transferred: sent 3612, received 3384 bytes, in 0.4 seconds\r\n\
                   Bytes per second: sent 8493.7, received 7957.5\r\n\
                   debug1: Exit status 0\r\n";
        let (plain, certified) = ("ED25519 SHA256:gngzbIXDh5pn7sZwn01N", "ED25519-CERT SHA256:6Bf7oVbu/GcEX");
        let told = Told {
            host_key: Some("ssh-ed25519 SHA256:hbjEMZcIdeBaLr+on7hQggpod/7bmI65S3ghZRM6D20".to_owned()),
            offered: [plain, certified].map(str::to_owned).into(),
            accepted: Some(certified.to_owned()),
            entered: true,
            said: "hello banner\nerr\n".to_owned(),
        };
        assert_eq!(Told::of(log), told);
        for bad in ["", "SHA256:abc", "/key ED25519", "/key"] {
            assert_eq!(identity(bad), None, "{bad}");
        }
    }
}
