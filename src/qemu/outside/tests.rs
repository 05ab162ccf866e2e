use super::*;
use std::process::{Child, Stdio};

const HASTY: Patience = Patience {
    attempts: 1,
    pause: Duration::ZERO,
    offer: Duration::from_secs(20),
    login: Duration::from_secs(60),
    whole: None,
};

#[test]
fn after_the_deadline_nothing_is_tried_and_nothing_is_said_to_be_out_of_reach() {
    let key = tempfile::NamedTempFile::new().unwrap();
    // A server that accepts and then says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let begin = Instant::now();
    let outside = Outside::new("127.0.0.1", port, key.path(), Tool::new("false"), Patience::default()).unwrap();
    let outside = outside.until(begin + Duration::from_millis(300));
    let answers = outside.answer(&[Probe::SshOffer, Probe::SshOffer]);
    assert!(begin.elapsed() < Duration::from_secs(10));
    let late = Answer::unavailable("the deadline has passed");
    assert_eq!(answers.into_iter().map(|answered| answered.answer).collect::<Vec<_>>(), [late.clone(), late]);
}

#[test]
fn all_attempts_at_one_probe_share_its_time() {
    let key = tempfile::NamedTempFile::new().unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let patience = Patience { whole: Some(Duration::from_millis(300)), ..Patience::default() };
    let ask = |port| {
        let outside = Outside::new("127.0.0.1", port, key.path(), Tool::new("false"), patience).unwrap();
        let begin = Instant::now();
        let answers = outside.answer(&[Probe::SshOffer, Probe::SshOffer, Probe::HostClock]);
        assert!(begin.elapsed() < Duration::from_secs(10));
        answers.into_iter().map(|answered| answered.answer).collect::<Vec<_>>()
    };
    // Each has its own time, and the one after them, too.
    let late = Answer::unavailable("the deadline has passed");
    let answers = ask(port);
    assert_eq!(answers[..2], [late.clone(), late]);
    assert!(matches!(answers[2], Answer::Clock { .. }), "{answers:?}");
    // Who refuses at once is out of reach, although there is no time to ask once more.
    drop(silent);
    assert!(ask(port)[..2].iter().all(|answer| matches!(answer, Answer::Unreachable { .. })));
}

#[test]
fn a_scan_from_here_says_why_it_tells_nothing() {
    let key = tempfile::NamedTempFile::new().unwrap();
    let of = |host: &str| Outside::new(host, 1, key.path(), Tool::new("false"), HASTY).unwrap();
    let tcp = |family| Probe::TcpPorts { family, known: None };
    let probes = [
        tcp(Family::Ipv4),
        tcp(Family::Ipv6),
        Probe::UdpPorts { family: Family::Ipv4, ports: [7].into(), known: None },
    ];
    let told = |outside: Outside| {
        let reasons = outside.answer(&probes).into_iter().map(|answered| match answered.answer {
            Answer::Inapplicable { reason } => reason,
            other => panic!("{other:?}"),
        });
        reasons.collect::<Vec<_>>()
    };
    let udp = "UDP ports are asked only from beside a machine that rave runs";
    let (one, six) =
        ("127.0.0.1 is this host, which may pass on some ports only", "127.0.0.1 has no address of this protocol");
    assert_eq!(told(of("127.0.0.1").connected(None)), [one, six, udp]);
    assert_eq!(told(of("192.0.2.1").connected(Some("it is elsewhere".to_owned()))), ["it is elsewhere"; 3]);
}

/// A real sshd with its own configuration and keys, ended when dropped.
struct Sshd {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sshd {
    /// Starts a server that lets root in with the key `client`; none where there is no OpenSSH or no root.
    fn start(extra: &str) -> Option<Self> {
        if !disk::exists("/usr/sbin/sshd") || !rustix::process::geteuid().is_root() {
            eprintln!("not tested: this needs an OpenSSH server and root");
            return None;
        }
        disk::create_dir_all("/run/sshd").unwrap();
        // ssh splits and expands paths at these characters.
        let directory = tempfile::Builder::new().prefix("a b%d").tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        for key in ["host", "client"] {
            Tool::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &path(key)]).output().unwrap();
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey \"{}\"\nAuthorizedKeysFile \"{}\"\nPidFile none\n\
             StrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nAllowUsers root\n{extra}\n",
            path("host"),
            path("client.pub").replace('%', "%%"),
        );
        disk::write_atomic(path("config"), config.as_bytes(), 0o600).unwrap();
        let mut sshd = Tool::new("/usr/sbin/sshd").args(["-D", "-e", "-f", &path("config")]).command();
        let child = sshd.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(30), "sshd does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Self { child, port, directory })
    }

    fn outside(&self) -> Outside {
        let key = self.directory.path().join("client");
        Outside::new("127.0.0.1", self.port, &key, Tool::new("ssh"), HASTY).unwrap()
    }
}

fn only(outside: &Outside, probe: Probe) -> Answer {
    outside.answer(&[probe]).remove(0).answer
}

fn refusal(user: &str, key: bool) -> Probe {
    Probe::SshRefusal { user: user.to_owned(), key }
}

#[test]
fn a_real_server_is_entered_refuses_and_shows_its_key() {
    let Some(sshd) = Sshd::start("PasswordAuthentication no\nKbdInteractiveAuthentication no\nCiphers aes256-ctr")
    else {
        return;
    };
    let outside = sshd.outside();
    let command = ["printf", "%s", "it's $HOME"].map(str::to_owned).to_vec();
    let Answer::SshLogin { host_key, ended } = only(&outside, Probe::SshLogin { user: "root".to_owned(), command })
    else {
        panic!("no login");
    };
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "it's $HOME"));
    let public = disk::read_to_string(sshd.directory.path().join("host.pub")).unwrap();
    assert!(public.starts_with(&format!("{host_key} ")), "{host_key} {public}");
    let Answer::SshOffer(offer) = only(&outside, Probe::SshOffer) else { panic!("no offer") };
    assert!(offer.identification.starts_with("SSH-2.0-OpenSSH"));
    assert_eq!((offer.host_keys, offer.ciphers_in), (vec!["ssh-ed25519".to_owned()], vec!["aes256-ctr".to_owned()]));
    for probe in [refusal("nobody", true), refusal("root", false)] {
        let Answer::SshRefusal(refusal) = only(&outside, probe) else { panic!("no refusal") };
        assert_eq!((refusal.refused, refusal.methods), (true, vec!["publickey".to_owned()]), "{}", refusal.said);
    }
    // One who should be refused and is not.
    assert!(matches!(only(&outside, refusal("root", true)), Answer::SshRefusal(SshRefusal { refused: false, .. })));
}

#[test]
fn a_server_that_takes_passwords_is_caught() {
    let Some(sshd) = Sshd::start("PasswordAuthentication yes") else { return };
    let Answer::SshRefusal(refusal) = only(&sshd.outside(), refusal("root", false)) else { panic!() };
    assert!(refusal.refused && refusal.methods.contains(&"password".to_owned()), "{refusal:?}");
}

#[test]
fn a_login_that_is_denied_is_told_as_such() {
    let Some(sshd) = Sshd::start("DenyUsers root") else { return };
    let probe = Probe::SshLogin { user: "root".to_owned(), command: vec!["true".to_owned()] };
    assert!(matches!(only(&sshd.outside(), probe), Answer::SshRefusal(SshRefusal { refused: true, .. })));
}

#[test]
fn a_server_that_is_gone_or_another_one_refuses_nothing() {
    let (Some(one), Some(other)) = (Sshd::start(""), Sshd::start("")) else { return };
    let mut outside = one.outside();
    assert!(matches!(only(&outside, refusal("nobody", true)), Answer::SshRefusal(SshRefusal { refused: true, .. })));
    // The same address with another host key.
    let known = outside.known.path().join("known_hosts");
    let text = disk::read_to_string(&known).unwrap().replace(&one.port.to_string(), &other.port.to_string());
    disk::write_atomic(&known, text.as_bytes(), 0o600).unwrap();
    outside.port = other.port;
    assert!(matches!(only(&outside, refusal("nobody", true)), Answer::Unreachable { .. }));
    drop(other);
    assert!(matches!(only(&outside, refusal("nobody", true)), Answer::Unreachable { .. }));
    let login = Probe::SshLogin { user: "root".to_owned(), command: vec!["true".to_owned()] };
    assert!(matches!(only(&outside, login), Answer::Unreachable { .. }));
}

#[test]
fn the_users_own_ssh_enters_a_host_that_it_knows_and_is_refused_as_others() {
    let Some(sshd) = Sshd::start("PasswordAuthentication no\nKbdInteractiveAuthentication no") else { return };
    let path = |name: &str| sshd.directory.path().join(name);
    let quoted = |name: &str| format!("\"{}\"", path(name).display().to_string().replace('%', "%%"));
    let public = disk::read_to_string(path("host.pub")).unwrap();
    let known = format!("[127.0.0.1]:{} {public}", sshd.port);
    disk::write_atomic(path("known"), known.as_bytes(), 0o600).unwrap();
    let outside = |known: &str| {
        let options = vec![
            "BatchMode=yes".to_owned(),
            "GlobalKnownHostsFile=none".to_owned(),
            "StrictHostKeyChecking=yes".to_owned(),
            format!("UserKnownHostsFile={}", quoted(known)),
        ];
        // What is in the configuration of a user who has a key.
        let identity = format!("IdentityFile={}", quoted("client"));
        let ssh = Tool::new("ssh").args(["-F", "none", "-o", "IdentityAgent=none", "-o", identity.as_str()]);
        let outside = Outside::new("127.0.0.1", sshd.port, Path::new(""), ssh, HASTY).unwrap();
        outside.of_user("root", options)
    };
    let login = || Probe::SshLogin { user: "root".to_owned(), command: vec!["true".to_owned()] };
    let Answer::SshLogin { host_key, ended } = only(&outside("known"), login()) else { panic!("no login") };
    let fingerprint = ssh_key::PublicKey::from_openssh(public.trim()).unwrap().fingerprint(ssh_key::HashAlg::Sha256);
    assert_eq!((ended.code, host_key), (Some(0), format!("ssh-ed25519 {fingerprint}")));
    for probe in [refusal("nobody", true), refusal("root", false)] {
        let Answer::SshRefusal(refusal) = only(&outside("known"), probe) else { panic!("no refusal") };
        assert_eq!((refusal.refused, refusal.methods), (true, vec!["publickey".to_owned()]), "{}", refusal.said);
    }
    let Answer::Unreachable { reason } = only(&outside("unknown"), login()) else { panic!("a host that is not known") };
    assert!(reason.contains("Host key verification failed"), "{reason}");
}

#[test]
fn without_a_key_or_ssh_nothing_is_said_of_the_machine() {
    let dir = disk::temp_dir().unwrap();
    let ask = |key: &str, ssh: &str| {
        let outside = Outside::new("127.0.0.1", 1, &dir.path().join(key), Tool::new(ssh), HASTY).unwrap();
        only(&outside, refusal("root", true))
    };
    assert!(matches!(ask("missing", "ssh"), Answer::Unavailable { .. }));
    disk::write_atomic(dir.path().join("key"), b"", 0o600).unwrap();
    assert!(matches!(ask("key", "/nonexistent/ssh"), Answer::Unavailable { .. }));
}

#[test]
fn whoever_is_outside_knows_the_time_and_nothing_of_the_inside() {
    let dir = disk::temp_dir().unwrap();
    let outside = Outside::new("127.0.0.1", 1, dir.path(), Tool::new("ssh"), HASTY).unwrap();
    let answers = outside.answer(&[Probe::HostClock, Probe::Sockets]);
    assert!(matches!(answers[0].answer, Answer::Clock { unix_seconds, .. } if unix_seconds > 1_700_000_000));
    assert!(matches!(answers[1].answer, Answer::Unavailable { .. }));
}

#[test]
fn an_unreachable_machine_is_tried_again_for_one_probe_and_not_for_the_next() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let dir = disk::temp_dir().unwrap();
    let patience = Patience { attempts: 3, ..HASTY };
    let outside = Outside::new("127.0.0.1", port, dir.path(), Tool::new("ssh"), patience).unwrap();
    let visitors = std::thread::spawn(move || {
        let visitors = (0..3).filter_map(|_| listener.accept().ok()).count();
        (visitors, listener)
    });
    let answers = outside.answer(&[Probe::SshOffer, Probe::SshOffer, Probe::HostClock]);
    assert!(answers[..2].iter().all(|answered| matches!(answered.answer, Answer::Unreachable { .. })));
    assert!(matches!(answers[2].answer, Answer::Clock { .. }));
    let (visitors, listener) = visitors.join().unwrap();
    listener.set_nonblocking(true).unwrap();
    assert!(visitors == 3 && listener.accept().is_err());
}
