//! `rave up`: from nothing to a checked machine that is used, broken, mended and taken away.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::console::Console;
use crate::junit;
use crate::lab::{Ended, Fault, Lab, assert_well, checks, lines, signal, unwell, verdicts, with_verdict};
use crate::processes;

/// The first image of a new project, and the machine that runs it.
const NAME: &str = "web";

/// Stages that it has nothing for.
const IDLE: [&str; 2] = ["https", "monitoring"];

pub const FAULTS: [Fault; 19] = [
    Fault {
        breaks: "nft list table inet rave > /run/rave.nft; nft delete table inet rave",
        mends: "nft -f /run/rave.nft",
        seen_by: &[
            "security.firewall.forward",
            "security.firewall.policy",
            "security.scan.tcp4",
            "security.scan.tcp6",
            "security.scan.udp4",
            "security.scan.udp6",
        ],
    },
    Fault {
        breaks: "systemctl stop nftables.service",
        mends: "systemctl start nftables.service",
        seen_by: &["services.unit.nftables.service"],
    },
    Fault {
        breaks: "sysctl -qw kernel.sysrq=1",
        mends: "sysctl -qw kernel.sysrq=0",
        seen_by: &["security.sysctl.kernel.sysrq"],
    },
    Fault {
        breaks: "sysctl -qw net.ipv6.conf.lo.accept_redirects=1",
        mends: "sysctl -qw net.ipv6.conf.lo.accept_redirects=0",
        seen_by: &["security.sysctl.net.ipv6.conf.*.accept_redirects"],
    },
    Fault {
        breaks: "mount -o remount,suid /var",
        mends: "mount -o remount,nosuid /var",
        seen_by: &["security.mount./var"],
    },
    Fault {
        breaks: "mkdir -p /run/systemd/system/dbus.service.d; \
                 printf '[Service]\nNoNewPrivileges=no\n' > /run/systemd/system/dbus.service.d/99.conf; systemctl daemon-reload",
        mends: "rm -r /run/systemd/system/dbus.service.d; systemctl daemon-reload",
        seen_by: &["security.sandbox.dbus.service"],
    },
    Fault {
        breaks: "systemd-run -q --unit=extra --socket-property=ListenStream=0.0.0.0:8080 /bin/true",
        mends: "systemctl stop extra.socket",
        seen_by: &["security.sockets"],
    },
    Fault {
        breaks: "systemd-run -q --unit=broken /bin/false; while ! systemctl is-failed -q broken; do sleep 0.1; done",
        mends: "systemctl reset-failed broken.service",
        seen_by: &["services.failures", "services.system"],
    },
    // It has come back three times, and stays.
    Fault {
        breaks: "systemd-run -q --unit=restless -p Restart=always -p RestartSec=100ms /bin/sh -c \
                 'mkdir /run/restless1 2>/dev/null && exit 1; mkdir /run/restless2 2>/dev/null && exit 1; \
                 mkdir /run/restless3 2>/dev/null && exit 1; exec sleep infinity'; \
                 until [ \"$(systemctl show --value -p NRestarts restless)\" = 3 ] && systemctl is-active -q restless; do sleep 0.1; done",
        mends: "systemctl stop restless; rmdir /run/restless[123]",
        seen_by: &["services.failures"],
    },
    Fault {
        breaks: "fallocate -l $(($(stat -fc '%a * %S' /var) / 100 * 95)) /var/full",
        mends: "rm /var/full",
        seen_by: &["resources.disk"],
    },
    Fault {
        breaks: "logger -p err -t tester boom",
        mends: "journalctl -q --rotate; sleep 1; journalctl -q --vacuum-time=1s",
        seen_by: &["services.journal"],
    },
    Fault {
        breaks: "ssh-keygen -q -t ecdsa -N '' -f /run/ecdsa; \
                 sed -e 's|^HostKeyAlgorithms.*|HostKeyAlgorithms ssh-ed25519,ecdsa-sha2-nistp256\\nHostKey /run/ecdsa|' \
                 -e 's/^Ciphers.*/Ciphers aes256-ctr/' -e 's/^MACs.*/MACs hmac-sha2-512-etm@openssh.com/' \
                 -e 's/^KexAlgorithms.*/KexAlgorithms curve25519-sha256/' -e 's/^PermitRootLogin.*/PermitRootLogin yes/' \
                 -e 's/^AllowUsers.*/AllowUsers */' \
                 -e 's|^AuthorizedKeysFile.*|AuthorizedKeysFile /run/rave/authorized_keys/agent|' \
                 -e 's/^AuthenticationMethods.*/AuthenticationMethods publickey password/' \
                 -e 's/^PasswordAuthentication.*/PasswordAuthentication yes/' /etc/ssh/sshd_config > /run/sshd_config; \
                 mount --bind /run/sshd_config /etc/ssh/sshd_config; systemctl reload ssh.service",
        mends: "umount /etc/ssh/sshd_config; systemctl reload ssh.service",
        seen_by: &[
            "ssh.algorithms.ciphers",
            "ssh.algorithms.host-keys",
            "ssh.algorithms.kex",
            "ssh.algorithms.macs",
            "ssh.other-users.refused",
            "ssh.password.refused",
            "ssh.root.refused",
        ],
    },
    Fault {
        breaks: "echo 0 > /sys/devices/system/cpu/cpu1/online",
        mends: "echo 1 > /sys/devices/system/cpu/cpu1/online",
        seen_by: &["resources.processors"],
    },
    Fault {
        breaks: "sed 's/^MemTotal: *[0-9]*/MemTotal: 1000000/' /proc/meminfo > /run/meminfo; \
                 mount --bind /run/meminfo /proc/meminfo",
        mends: "umount /proc/meminfo",
        seen_by: &["resources.memory.size"],
    },
    Fault {
        breaks: "sed 's/avg60=[0-9.]*/avg60=99.00/' /proc/pressure/memory > /run/pressure; \
                 mount --bind /run/pressure /proc/pressure/memory",
        mends: "umount /proc/pressure/memory",
        seen_by: &["resources.pressure.memory"],
    },
    Fault {
        breaks: "mount -o remount,nr_inodes=20 /dev/shm; for n in $(seq 19); do : > /dev/shm/$n; done",
        mends: "rm /dev/shm/[0-9]*; mount -o remount,nr_inodes=250000 /dev/shm",
        seen_by: &["resources.inodes"],
    },
    Fault {
        breaks: "sed 's/lockdown=[a-z]*/lockdown=none/' /proc/cmdline > /run/cmdline; mount --bind /run/cmdline /proc/cmdline",
        mends: "umount /proc/cmdline",
        seen_by: &["security.cmdline"],
    },
    Fault {
        breaks: "sed 's/^root:[^:]*/root:$6$salt$hash/' /etc/shadow > /run/shadow; chmod 640 /run/shadow; \
                 mount --bind /run/shadow /etc/shadow",
        mends: "umount /etc/shadow",
        seen_by: &["security.passwords"],
    },
    Fault {
        breaks: "cp -a /etc /run/etc; mount --bind /run/etc /etc",
        mends: "umount -l /etc",
        seen_by: &["security.write./etc"],
    },
];

/// What modules' own probes see; each is asked for itself.
pub const PROBED: [Fault; 6] = [
    // sudo itself leaves out a line that it does not understand, and says so in the journal each time.
    Fault {
        breaks: "(cat /etc/sudoers; echo nonsense) > /run/sudoers; chmod 440 /run/sudoers; mount --bind /run/sudoers /etc/sudoers",
        mends: "umount -l /etc/sudoers; journalctl -q --rotate; sleep 1; journalctl -q --vacuum-time=1s",
        seen_by: &["security.sudo.rules"],
    },
    Fault {
        breaks: "mount -t tmpfs none /var/log/journal",
        mends: "umount /var/log/journal",
        seen_by: &["services.journald.persistent"],
    },
    Fault {
        breaks: "mount --bind /etc/hostname /run/systemd/journal/stdout",
        mends: "umount /run/systemd/journal/stdout",
        seen_by: &["services.journald.socket"],
    },
    Fault {
        breaks: "echo '[none] integrity confidentiality' > /run/lockdown; mount --bind /run/lockdown /sys/kernel/security/lockdown",
        mends: "umount /sys/kernel/security/lockdown",
        seen_by: &["security.kernel.lockdown"],
    },
    Fault {
        breaks: "echo Nonsense yes > /run/nonsense; mount --bind /run/nonsense /etc/ssh/sshd_config",
        mends: "umount /etc/ssh/sshd_config",
        seen_by: &["services.ssh.config"],
    },
    Fault {
        breaks: "systemctl stop multi-user.target",
        mends: "systemctl start multi-user.target",
        seen_by: &["services.systemd.reached"],
    },
];

/// sudo tells the journal what it does not understand, if that is not hidden meanwhile.
const RELATED: [&str; 1] = ["services.journal"];

/// A server with another key than the machine's own, which keeps everybody out who knows that. A restart waits until it
/// listens, a reload does not.
pub const OTHER_KEY: Fault = Fault {
    breaks: "ssh-keygen -q -t ed25519 -N '' -f /run/other; \
             sed 's|^HostKey .*|HostKey /run/other|' /etc/ssh/sshd_config > /run/sshd_config; \
             mount --bind /run/sshd_config /etc/ssh/sshd_config; systemctl restart ssh.service",
    mends: "umount /etc/ssh/sshd_config; systemctl restart ssh.service",
    seen_by: &["ssh.host-key"],
};

/// What a machine whose SSH server is gone has against it.
pub const CLOSED: [&str; 2] = ["ssh.login", "ssh.port"];

#[test]
fn a_machine_is_raised_used_broken_mended_and_removed() {
    let mut lab = Lab::new();
    let family = raise(&mut lab);
    find(&lab);
    log_in(&lab);
    console(&lab);
    select(&lab);
    watch(&lab);
    vouch(&lab);
    judged(&lab);
    elsewhere(&lab);
    break_and_mend(&lab);
    imitate(&lab);
    close(&lab);
    remove(&lab, &family);
}

/// Returns the machine's processes.
fn raise(lab: &mut Lab) -> Vec<processes::Process> {
    println!("rave up in a new project: the report says that all is well");
    let project = lab.path().join("project");
    lab.good(&["new", project.to_str().unwrap(), "--image", NAME]);
    lab.use_project(project);
    let ended = lab.rave(&["up", "--keep", "--json"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let mut told = lines(&ended.stdout);
    let report = told.pop().unwrap();
    assert_shape(&report);
    assert_well(&report, &IDLE);
    for id in ["ssh.login", "ssh.root.refused", "services.journal", "security.root.verity", "security.write./etc"] {
        assert!(with_verdict(&report, "healthy").contains(id), "{id}");
    }

    println!("software emulation is told once, if it is used");
    let state = lab.state(NAME).unwrap();
    let notes: Vec<&str> = told.iter().filter(|line| line["event"] == "note").map(|line| text(&line["text"])).collect();
    let fallen = notes.iter().filter(|note| note.starts_with("KVM cannot be used")).count();
    assert_eq!(fallen, usize::from(state["accelerator"] == "tcg"), "{notes:?}");

    let family = processes::family(u32::try_from(state["process"]["pid"].as_u64().unwrap()).unwrap());
    assert!(processes::has_qemu(&family), "{family:?}");
    family
}

/// Holds a report against the contract of `rave check --json`.
fn assert_shape(report: &Value) {
    assert_eq!(keys(report), ["healthy", "stages"]);
    for stage in report["stages"].as_array().unwrap() {
        assert_eq!(keys(stage), ["stage", "verdict", "checks"]);
    }
    assert!(checks(report).len() > 40);
    for check in checks(report) {
        assert_eq!(keys(check), ["id", "verdict", "expected", "observed", "option", "evidence", "ms"]);
        assert!(check["ms"].is_u64() && (check["option"].is_null() || check["option"].is_string()), "{check}");
    }
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn find(lab: &Lab) {
    println!("the machine is listed, with ports on the loopback interface only, and is not started twice");
    let list = lab.list();
    assert_eq!(list.len(), 1);
    assert_eq!((text(&list[0]["name"]), text(&list[0]["condition"])), (NAME, "running"));
    for guest in ["ssh", "https"] {
        assert_eq!(processes::listeners(list[0][guest].as_u64().unwrap()), ["0100007F"], "{guest}");
    }
    let again = lab.rave(&["up"]);
    assert_eq!(again.status, Some(1), "{again:?}");
    assert!(again.stderr.contains(&format!("machine {NAME} is running")), "{again:?}");
    let removed = lab.rave(&["vm", "rm", NAME]);
    assert!(removed.status == Some(1) && removed.stderr.contains("is running"), "{removed:?}");
}

fn log_in(lab: &Lab) {
    println!("commands run over SSH as agent, and as root by sudo; their exit status is rave's");
    let ssh = |command: &[&str]| lab.rave(&[&["vm", "ssh", NAME, "--"], command].concat());
    let id = ssh(&["id"]);
    assert!(id.status == Some(0) && id.stdout.starts_with("uid=1000(agent) gid=1000(agent)"), "{id:?}");
    assert_eq!(ssh(&["sudo", "id", "-u"]).stdout, "0\n");
    assert_eq!(ssh(&["sh", "-c", "exit 7"]).status, Some(7));
    assert_eq!(ssh(&["echo", "a b", "'$HOME'"]).stdout, "a b '$HOME'\n");
    let lost = lab.rave(&["vm", "ssh", "nobody", "--", "id"]);
    assert!(lost.status == Some(1) && lost.stderr.contains("there is no machine nobody"), "{lost:?}");

    println!("the SSH server takes its settings as they are meant");
    let settings = lab.root(NAME, "/usr/sbin/sshd -T");
    for wanted in [
        "allowagentforwarding no",
        "allowtcpforwarding no",
        "authenticationmethods publickey",
        "clientaliveinterval 300",
        "loglevel VERBOSE",
        "logingracetime 30",
        "maxauthtries 3",
        "maxsessions 8",
        "maxstartups 10:30:60",
        "passwordauthentication no",
        "permitrootlogin no",
        "permittunnel no",
        "permituserenvironment no",
        "x11forwarding no",
    ] {
        assert!(settings.lines().any(|line| line == wanted), "{wanted:?} is not in\n{settings}");
    }

    println!("what strangers say to SSH is no trouble of the machine: the checks that follow find nothing of it");
    let port = u16::try_from(lab.list()[0]["ssh"].as_u64().unwrap()).unwrap();
    for said in ["SSH-1.5-old\r\n", "GET / HTTP/1.1\r\n\r\n"] {
        let mut stranger = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stranger.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stranger.write_all(said.as_bytes()).unwrap();
        // How it is refused is no matter.
        let _ = stranger.read_to_end(&mut Vec::new());
    }
    let told = lab.root(NAME, "journalctl -b -p err -o cat -t sshd -t sshd-session");
    assert!(told.contains("Protocol major versions differ"), "{told}");

    println!("nothing can be written but /var, which is a partition of its own");
    for path in ["/etc/x", "/usr/x", "/x"] {
        let ended = ssh(&["sudo", "touch", path]);
        assert!(ended.status == Some(1) && ended.stderr.contains("Read-only file system"), "{ended:?}");
    }
    assert_eq!(lab.root(NAME, "stat -fc %T / /var"), "erofs\next2/ext3");

    println!("nothing runs from where can be written");
    let copies = "for place in /dev/shm /run /tmp /var/home/agent; do \
                  cp /usr/bin/true $place/x; $place/x 2>&1 || echo $?; rm $place/x; done";
    assert_eq!(lab.root(NAME, copies).matches("Permission denied\n126").count(), 4);
    let devices = lab.root(NAME, "touch /var/x; rm /var/x; stat -c %d / /var");
    let devices: BTreeSet<&str> = devices.lines().collect();
    assert_eq!(devices.len(), 2);
}

/// What is written to the serial port comes out, what is typed goes in, and Ctrl-] leaves.
fn console(lab: &Lab) {
    println!("the console is joined in both directions");
    let mut console = Console::attach(lab, NAME);
    let script = "exec 0<>/dev/ttyS0 1>&0; echo from the machine; read -r line; echo \"$line\" > /run/typed";
    let mut talk = lab.command(&["vm", "ssh", NAME, "--", "sudo", "sh", "-ec", script]).spawn().unwrap();
    console.shows("from the machine");
    console.types("from the keyboard\r");
    assert!(talk.wait().unwrap().success());
    assert_eq!(lab.root(NAME, "cat /run/typed"), "from the keyboard");
    console.leave();
    let logs = lab.good(&["vm", "logs", NAME]);
    assert!(logs.contains("from the machine"), "{logs}");

    println!("its journal is asked for; a screen and a debugger's stub it has not");
    let journal = lab.good(&["vm", "journal", NAME, "--unit", "ssh.service"]);
    assert!(
        journal.lines().any(|line| line.ends_with("systemd[1]: Started ssh.service - OpenSSH server.")),
        "{journal}"
    );
    for verb in ["screenshot", "gdb"] {
        let ended = lab.rave(&["vm", verb, NAME]);
        assert!(ended.status != Some(0) && ended.stderr.contains("`rave run IMAGE --debug`"), "{ended:?}");
    }
}

fn select(lab: &Lab) {
    println!("one stage or one check can be asked for; what does not exist is refused");
    let (status, report) = lab.check(&[NAME, "--stage", "ssh"]);
    assert_eq!(status, Some(0));
    assert_eq!(verdicts(&report)[0], ("ssh", "healthy"));
    assert!(verdicts(&report)[1..].iter().all(|(_, verdict)| *verdict == "not-applicable"));
    let (status, report) = lab.check(&[NAME, "--only", "security.write./etc"]);
    assert_eq!(status, Some(0));
    assert_eq!(checks(&report).iter().map(|check| text(&check["id"])).collect::<Vec<_>>(), ["security.write./etc"]);
    let told = lab.rave(&["check", NAME, "--only", "services.system"]);
    assert!(told.status == Some(0) && told.stderr.contains("services: 1 healthy"), "{told:?}");
    for wrong in [["--stage", "moon"], ["--only", "security.moon"]] {
        let ended = lab.rave(&[&["check", NAME], &wrong[..]].concat());
        assert!(ended.status == Some(1) && ended.stderr.contains("moon"), "{ended:?}");
    }
}

/// The status is that of the last whole round.
fn watch(lab: &Lab) {
    println!("a machine is checked again and again until Ctrl-C, with a report of each round");
    let id = "services.system";
    let arguments = ["check", NAME, "--watch", "--every", "1", "--only", id, "--json"];
    let mut rave = lab.command(&arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let told = BufReader::new(rave.stdout.take().unwrap()).lines();
    let told = told.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let mut reports = told.filter(|line| line["stages"].is_array());
    for round in ["first", "second"] {
        let report = reports.next().unwrap_or_else(|| panic!("no report of the {round} round"));
        assert_eq!((with_verdict(&report, "healthy"), &report["healthy"]), (BTreeSet::from([id]), &Value::Bool(true)));
    }
    signal(&rave, Signal::INT);
    assert_eq!(rave.wait().unwrap().code(), Some(0));
}

/// A service that module nor package has put into a sandbox: a template, of which nothing runs.
pub const BARE: Fault = Fault {
    breaks: "printf '[Service]\nExecStart=/usr/bin/sleep 600\n' > /run/systemd/system/bare@.service; \
             systemctl daemon-reload",
    mends: "rm /run/systemd/system/bare@.service; systemctl daemon-reload",
    seen_by: &["security.suite.systemd-analyze"],
};

fn judged(lab: &Lab) {
    println!("a suite of other people judges all services, and finds the one without a sandbox");
    let asked = [NAME, "--only", "security.suite", "--suite", "systemd-analyze"];
    let (_, report) = lab.seen(&asked, &[BARE], &[]);
    let suite = checks(&report).into_iter().find(|check| check["id"] == BARE.seen_by[0]).unwrap();
    let (_, found) = text(&suite["observed"]).split_once("; found ").unwrap();
    assert!(found.starts_with("bare@x.service (") && !found.contains(", "), "{suite:#}");
    lab.root(NAME, BARE.mends);
}

/// The evidence of a check is signed, whole, and is not what it was once it is changed.
fn vouch(lab: &Lab) {
    println!("evidence of a check is bundled, signed and verified");
    let project = lab.path().join("signing");
    rave::disk::create_dir_all(&project).unwrap();
    let (project, bundle) = (project.to_str().unwrap(), lab.path().join("evidence.tar.zst"));
    let file = bundle.to_str().unwrap();
    lab.good(&["check", NAME, "--only", "services.system", "--bundle", file, "--project", project]);
    let told: Value = serde_json::from_str(&lab.good(&["verify", file, "--project", project, "--json"])).unwrap();
    let members = told["bundle"]["members"].as_array().unwrap().iter().map(|member| text(&member["name"]));
    assert_eq!(
        members.collect::<Vec<_>>(),
        ["console.log", "journal.txt", "manifest.json", "report.json", "versions.json"]
    );
    assert_eq!(told["report"]["healthy"], true);
    let mut bytes = rave::disk::read(&bundle).unwrap();
    bytes.truncate(bytes.len() - 1);
    rave::disk::write_atomic(&bundle, &bytes, 0o644).unwrap();
    let ended = lab.rave(&["verify", file, "--project", project]);
    assert!(ended.status == Some(1) && ended.stderr.contains("it is not an evidence bundle"), "{ended:?}");
}

/// The machine as one that rave does not run: only its address, its host key and its manifest are known.
fn elsewhere(lab: &Lab) {
    if rave::tool::Tool::new("ssh").arg("-V").output().is_err() {
        return println!("not tested: a check over SSH needs an SSH client on this host");
    }
    println!("the same checks are made over SSH, if the host key is the right one");
    let machine = lab.machines().join(NAME);
    let place = format!("agent@127.0.0.1:{}", lab.list()[0]["ssh"]);
    let known = rave::disk::read_to_string(machine.join("known_hosts")).unwrap();
    let host_key = known.trim().split_once(' ').unwrap().1;
    let result = lab.path().join("result");
    lab.good(&["build", NAME, "--output", result.to_str().unwrap()]);
    let (key, manifest) = (machine.join("id_ed25519"), result.join("manifest.json"));
    let arguments = |host_key| {
        let files = ["--ssh-key", key.to_str().unwrap(), "--manifest", manifest.to_str().unwrap()];
        [&["--ssh", place.as_str(), "--host-key", host_key][..], &files].concat()
    };
    let (status, report) = lab.check(&arguments(host_key));
    assert_eq!(status, Some(0), "{:#?}", unwell(&report));
    assert_well(&report, &IDLE);

    println!("without a key the user's own ssh logs in as it is configured, and its key is refused to others");
    let alias = known.split_once(' ').unwrap().0;
    let folder = lab.path().join("bin");
    rave::disk::create_dir_all(&folder).unwrap();
    let own = |configured: &str, more: &[&str]| {
        let ssh = format!(
            "#!/bin/sh\nset -- -F none -o IdentityAgent=none -o HostKeyAlias={alias} -o UserKnownHostsFile={} \"$@\"\n\
             {configured}exec /usr/bin/ssh \"$@\"\n",
            machine.join("known_hosts").display()
        );
        rave::disk::write_atomic(folder.join("ssh"), ssh.as_bytes(), 0o755).unwrap();
        let path = format!("{}:/usr/bin:/bin", folder.display());
        let all = ["check", "--json", "--ssh", place.as_str(), "--manifest", manifest.to_str().unwrap()];
        let arguments = [&all[..], more].concat();
        let begin = Instant::now();
        let tool = lab.tool(env!("CARGO_BIN_EXE_rave")).env("PATH", &path).args(&arguments);
        let ended = Ended::from(tool.command().stdin(Stdio::null()).output().unwrap());
        println!("    {:5.1} s  rave {} -> {:?}", begin.elapsed().as_secs_f32(), arguments.join(" "), ended.status);
        (ended.status, ended.report())
    };
    let (status, report) = own(&format!("set -- -i {} \"$@\"\n", key.display()), &[]);
    assert_eq!(status, Some(0), "{:#?}", unwell(&report));
    assert_well(&report, &IDLE);
    assert_eq!(verdicts(&report)[0], ("ssh", "healthy"));

    println!("a refusal without that key says nothing");
    let root = format!("case \" $* \" in *\" -l root \"*) ;; *) set -- -i {} \"$@\" ;; esac\n", key.display());
    let (status, report) = own(&root, &["--only", "ssh.root.refused"]);
    assert_eq!(
        (status, with_verdict(&report, "skipped")),
        (Some(2), BTreeSet::from(["ssh.root.refused"])),
        "{:#?}",
        unwell(&report)
    );

    let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2HMZCnsFmAkPJvBDzNMvMoyVVmAdtgYV7CkUmsiPFj";
    let ended = lab.rave(&[&["check"][..], &arguments(other)].concat());
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
    assert!(ended.stderr.contains("Host key verification failed") && ended.stderr.contains("--host-key"), "{ended:?}");
}

fn break_and_mend(lab: &Lab) {
    println!("each of {} faults is seen by its checks and by no others", FAULTS.len());
    let junit = lab.path().join("report.xml");
    let report = lab.broken(&[NAME, "--junit", junit.to_str().unwrap()], &FAULTS);
    assert_eq!(with_verdict(&report, "skipped"), BTreeSet::new());
    junit::assert_tells(&rave::disk::read_to_string(&junit).unwrap(), &report);

    println!("once mended, all is well again");
    assert_well(&lab.mended(NAME, &FAULTS), &IDLE);

    println!("what modules probe is seen, too, and by no others");
    lab.seen(&[NAME], &PROBED, &RELATED);
    assert_well(&lab.mended(NAME, &PROBED), &IDLE);
}

/// Who is in already breaks and mends it: nobody gets in meanwhile.
fn imitate(lab: &Lab) {
    println!("a server with another key than the machine's own is seen, and rave does not log in there");
    let mut session = lab.command(&["vm", "ssh", NAME, "--", "sudo", "sh", "-e"]);
    let mut session = session.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut asked, mut told) = (session.stdin.take().unwrap(), BufReader::new(session.stdout.take().unwrap()));
    writeln!(asked, "{}; echo broken", OTHER_KEY.breaks).unwrap();
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert_eq!(line, "broken\n");
    lab.sees(&[NAME, "--stage", "ssh"], &[OTHER_KEY], &[]);
    let refused = lab.rave(&["vm", "ssh", NAME, "--", "true"]);
    assert!(refused.status == Some(2) && refused.stderr.contains("Host key verification failed"), "{refused:?}");
    writeln!(asked, "{}", OTHER_KEY.mends).unwrap();
    drop(asked);
    assert!(session.wait().unwrap().success());
}

fn close(lab: &Lab) {
    println!("a machine that SSH does not reach is unwell in that stage, and what could not be asked is skipped");
    lab.root(NAME, "systemctl stop ssh.service");
    let (status, report) = lab.check(&[NAME, "--stage", "ssh"]);
    assert_eq!(status, Some(1));
    assert_eq!(with_verdict(&report, "unhealthy"), BTreeSet::from(CLOSED));
    assert!(with_verdict(&report, "skipped").contains("ssh.root.refused"));
    assert_eq!(with_verdict(&report, "healthy"), BTreeSet::new());
}

fn remove(lab: &Lab, family: &[processes::Process]) {
    println!("it shuts down when told, is listed as stopped, and leaves nothing once removed");
    let stopped = lab.rave(&["vm", "stop", NAME]);
    assert!(stopped.status == Some(0) && stopped.stderr.contains(&format!("{NAME}: shut down")), "{stopped:?}");
    assert_eq!(processes::alive(family), []);
    assert_eq!(text(&lab.list()[0]["condition"]), "stopped");
    assert!(lab.good(&["vm", "logs", NAME]).contains("from the machine"));
    lab.good(&["vm", "rm", NAME]);
    assert!(lab.list().is_empty());
    assert_eq!(lab.left(), Vec::<std::path::PathBuf>::new());
}
