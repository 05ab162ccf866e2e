//! A healthy machine as its answers, to be broken in one place at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::*;
use crate::digest::Digest;
use crate::name::OptionPath;
use crate::probe::*;
use crate::system::{Bans, Expect, ExpectedSecret, Machine, Mode, ModuleProbe, Query, Ssh};

pub const HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO";

pub type World = BTreeMap<Probe, Answer>;

pub fn option(text: &str) -> OptionPath {
    text.parse().unwrap()
}

fn strings(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

fn set(items: &[&str]) -> BTreeSet<String> {
    strings(items).into_iter().collect()
}

pub fn target() -> Target {
    let probe = |stage: &str, id: &str, contains: Option<&str>| ModuleProbe {
        stage: stage.to_owned(),
        id: id.to_owned(),
        query: Query::Command {
            command: strings(&["/usr/sbin/nft", "list", "ruleset", stage]),
            contains: contains.map(str::to_owned),
        },
        inapplicable: None,
        option: option("services.nftables.enable"),
    };
    let ssh = Ssh {
        user: "agent".to_owned(),
        kex: strings(&["mlkem768x25519-sha256", "curve25519-sha256"]),
        host_keys: strings(&["ssh-ed25519", "sk-ssh-ed25519@openssh.com"]),
        ciphers: strings(&["aes256-gcm@openssh.com"]),
        macs: strings(&["hmac-sha2-512-etm@openssh.com"]),
        host_key_file: "/var/lib/ssh/ssh_host_ed25519_key.pub".parse().unwrap(),
        bans: Some(Bans {
            tries: 3,
            pardon: strings(&["/usr/bin/sudo", "let-in"]),
            option: Some(option("services.bans.tries")),
        }),
        option: option("services.ssh.enable"),
    };
    let limits = [
        ("MemoryMax".to_owned(), ("64M".to_owned(), option("services.ssh.memory"))),
        ("LimitNOFILE".to_owned(), ("1024".to_owned(), option("services.ssh.files"))),
    ];
    let held = [
        ("CapabilityBoundingSet", "cap_chown cap_kill"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("SystemCallFilter", "@system-service"),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()));
    let expect = Expect {
        units: [("ssh.service".to_owned(), option("services.ssh.enable"))].into(),
        open: [("tcp/22".to_owned(), option("services.ssh.port")), ("udp/68".to_owned(), option("network.dhcp"))]
            .into(),
        local: [("tcp/9090".to_owned(), option("services.prometheus.port"))].into(),
        set_id: ["/usr/bin/sudo".parse().unwrap()].into(),
        asked_by: [("/usr/bin/sudo", "services.ssh.enable"), ("init_on_alloc=1", "kernel.wipe")]
            .map(|(what, by)| (what.to_owned(), option(by)))
            .into(),
        key_allow: vec![("/usr/lib/**/libx.pem".to_owned(), "a library tests itself with it".to_owned())],
        sysctl: [("kernel.sysrq".to_owned(), ("0".to_owned(), option("kernel.sysrq")))].into(),
        mounts: [("/tmp".parse().unwrap(), (set(&["nosuid", "nodev"]), option("filesystem.tmp")))].into(),
        secrets: [("db".to_owned(), secret())].into(),
        limits: [("ssh.service".to_owned(), limits.into())].into(),
        sandbox: [("ssh.service".to_owned(), (held.into(), option("services.ssh.enable")))].into(),
        ssh: Some(ssh),
        https: super::site::sites(),
        certificates: [(super::site::MAIL.parse().unwrap(), option("services.mail.enable"))].into(),
        journal_allow: vec![("^kernel: harmless [0-9]+$".to_owned(), "known".to_owned())],
        suite_allow: super::suite::allowances(),
        probes: Stage::ALL.map(|stage| probe(stage.name(), "nftables.loaded", Some("policy drop"))).into(),
        stages: set(&["https", "monitoring"]),
    };
    // The id of a module's probe names one probe.
    let commands = expect.probes.into_iter().map(unique);
    let expect = Expect { probes: commands.chain(service_probes()).chain([delivery()]).collect(), ..expect };
    Target {
        image: "minimal".parse().unwrap(),
        version: "1.0".parse().unwrap(),
        mode: Mode::Safe,
        cmdline: strings(&["lockdown=confidentiality", "init_on_alloc=1"]),
        expect,
        journal: None,
        suites: Suite::ALL.to_vec(),
        outside: Some(Outside {
            machine: Machine { memory: 2048, vcpus: 2 },
            root_hash: Digest::of(b"root"),
            authorities: BTreeMap::new(),
        }),
    }
}

fn secret() -> ExpectedSecret {
    let (owner, group) = ("postgres".to_owned(), "web".to_owned());
    ExpectedSecret { owner, group, mode: 0o440, option: option("services.postgresql.password") }
}

/// One probe of each way to ask a service.
fn service_probes() -> Vec<ModuleProbe> {
    let queries = [
        (
            "headers",
            Query::Http {
                url: "http://unix:/run/web.sock:/".parse().unwrap(),
                status: 200,
                headers: [("x-frame-options", "DENY"), ("server", "")]
                    .map(|(k, v)| (k.to_owned(), v.to_owned()))
                    .into(),
                contains: Some("welcome".to_owned()),
            },
        ),
        (
            "retention",
            Query::HttpJson {
                url: "http://127.0.0.1:9090/flags".parse().unwrap(),
                at: "data.\"storage.tsdb.retention.time\"".parse().unwrap(),
                equals: "7d".to_owned(),
            },
        ),
        (
            "ping",
            Query::Connect {
                place: "/run/redis.sock".parse().unwrap(),
                send: Some("PING\r\n".to_owned()),
                contains: Some("PONG".to_owned()),
            },
        ),
        ("port", Query::Connect { place: "127.0.0.1:5432".parse().unwrap(), send: None, contains: None }),
    ];
    let probe = |(id, query): (&str, Query)| ModuleProbe {
        stage: "services".to_owned(),
        id: format!("web.{id}"),
        query,
        inapplicable: None,
        option: option("services.web.enable"),
    };
    queries.map(probe).into()
}

/// A test alert, of which a receiver with two addresses is told.
pub fn delivery() -> ModuleProbe {
    ModuleProbe {
        stage: "monitoring".to_owned(),
        id: "alertmanager.delivery".to_owned(),
        query: Query::Alert { place: "127.0.0.1:9093".parse().unwrap(), messages: 2 },
        inapplicable: None,
        option: option("services.alertmanager.enable"),
    }
}

fn unique(probe: ModuleProbe) -> ModuleProbe {
    ModuleProbe { id: format!("nftables.{}", probe.stage), ..probe }
}

/// The answers of a healthy machine to all questions about `target`.
pub fn healthy(target: &Target) -> World {
    let questions = Stage::ALL.into_iter().flat_map(|stage| ask(stage, target));
    let probes: BTreeSet<Probe> = questions.flat_map(|question| question.probes).collect();
    probes.into_iter().map(|probe| (probe.clone(), answer(&probe, target))).collect()
}

fn ended(stdout: &str) -> Ended {
    Ended { code: Some(0), stdout: stdout.to_owned(), stderr: String::new() }
}

fn answer(probe: &Probe, target: &Target) -> Answer {
    if let Some(answer) = super::site::answer(probe) {
        return answer;
    }
    match probe {
        Probe::Suite { suite } => super::suite::good(*suite),
        Probe::SshOffer => Answer::SshOffer(offer()),
        Probe::SshLogin { user, .. } => {
            Answer::SshLogin { host_key: HOST_KEY.to_owned(), ended: ended(&format!("{user}\n")) }
        }
        Probe::SshRefusal { .. } => Answer::SshRefusal(SshRefusal {
            refused: true,
            methods: strings(&["publickey"]),
            said: "Permission denied (publickey).".to_owned(),
        }),
        Probe::BruteForce { tries, .. } => Answer::BruteForce(BruteForce {
            address: std::net::Ipv4Addr::new(10, 0, 2, 101).into(),
            refused: *tries,
            kept_out: true,
            let_in: true,
            said: "1".to_owned(),
        }),
        Probe::HostClock | Probe::Clock => Answer::Clock { unix_seconds: 1_800_000_000, uptime_seconds: 60 },
        Probe::SystemState => Answer::SystemState { state: "running".to_owned(), jobs: 0 },
        Probe::Units { properties } => Answer::Units { units: units(properties) },
        Probe::Journal { .. } => Answer::Journal {
            entries: vec![JournalEntry { identifier: "kernel".to_owned(), message: "harmless 1".to_owned(), count: 1 }],
            truncated: false,
        },
        Probe::Sockets => Answer::Sockets { sockets: sockets() },
        Probe::Mounts => Answer::Mounts { mounts: mounts() },
        Probe::Sysctls { .. } => {
            Answer::Sysctls { values: [("kernel.sysrq".to_owned(), "0".to_owned())].into(), unread: [].into() }
        }
        Probe::CommandLine => Answer::CommandLine {
            line: format!("console=ttyS0 lockdown=confidentiality init_on_alloc=1 roothash={}", root_hash(target)),
        },
        Probe::Resources => Answer::Resources(resources()),
        Probe::Cgroups { .. } => Answer::Cgroups { groups: [("ssh.service".to_owned(), cgroup())].into() },
        Probe::Space => Answer::Space { file_systems: disks() },
        Probe::Verity => Answer::Verity(verity(target)),
        Probe::Write { .. } => Answer::Write { written: false, said: "Read-only file system".to_owned() },
        Probe::Scan => {
            Answer::Scan(Scan { files: 9000, searched: 700, set_id: set(&["/usr/bin/sudo"]), ..Scan::default() })
        }
        Probe::HostKey { .. } => Answer::HostKey { key: HOST_KEY.to_owned() },
        Probe::Secrets { .. } => Answer::Secrets { files: [("db".to_owned(), secret_file())].into() },
        Probe::Http { url } if url.target == "/flags" => Answer::Http(HttpReply {
            status: 200,
            body: r#"{"data":{"storage.tsdb.retention.time":"1w"}}"#.to_owned(),
            ..HttpReply::default()
        }),
        Probe::Http { .. } => Answer::Http(HttpReply {
            status: 200,
            headers: [("x-frame-options".to_owned(), "DENY".to_owned())].into(),
            body: "welcome".to_owned(),
            truncated: false,
        }),
        Probe::Alert { messages, .. } => {
            Answer::Alerted(Alerted { nonce: "17".to_owned(), taken: (*messages).into(), failed: 0 })
        }
        Probe::Connect { listen, .. } => {
            Answer::Connected { said: if *listen { "+PONG\r\n".to_owned() } else { String::new() } }
        }
        Probe::TcpPorts { family, .. } => Answer::Ports(ports(*family, 65_535, &[22])),
        Probe::UdpPorts { family, ports: asked, .. } => Answer::Ports(ports(*family, asked.len(), &[])),
        Probe::Run { .. } => Answer::Run(ended("chain input { policy drop; }")),
        other => panic!("{other:?} is none of these"),
    }
}

fn ports(family: Family, asked: usize, open: &[u16]) -> Ports {
    let address = if family == Family::Ipv4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    Ports { address, asked: asked.try_into().unwrap(), open: open.iter().copied().collect(), closed: BTreeSet::new() }
}

fn secret_file() -> SecretFile {
    let ExpectedSecret { owner, group, mode, .. } = secret();
    let options = set(&["rw", "nosuid", "nodev", "noexec", "noswap"]);
    SecretFile { owner, group, mode, fs: "tmpfs".to_owned(), options }
}

fn offer() -> SshOffer {
    let ciphers = strings(&["aes256-gcm@openssh.com"]);
    let macs = strings(&["hmac-sha2-512-etm@openssh.com"]);
    SshOffer {
        identification: "SSH-2.0-OpenSSH_10.0".to_owned(),
        kex: strings(&["curve25519-sha256", "mlkem768x25519-sha256", "ext-info-s", "kex-strict-s-v00@openssh.com"]),
        host_keys: strings(&["ssh-ed25519"]),
        ciphers_in: ciphers.clone(),
        ciphers_out: ciphers,
        macs_in: macs.clone(),
        macs_out: macs,
    }
}

fn units(properties: &BTreeSet<String>) -> BTreeMap<String, Unit> {
    let value = |property: &str| match property {
        "CapabilityBoundingSet" => "cap_chown cap_kill",
        "NoNewPrivileges" => "yes",
        "ProtectSystem" => "strict",
        "SystemCallFilter" => "read write",
        _ => "1024",
    };
    let unit = |name: &str| Unit {
        names: set(&[name]),
        load: "loaded".to_owned(),
        active: "active".to_owned(),
        sub: "running".to_owned(),
        result: "success".to_owned(),
        restarts: 0,
        properties: properties.iter().map(|name| (name.clone(), value(name).to_owned())).collect(),
    };
    ["ssh.service", "other.service"].map(|name| (name.to_owned(), unit(name))).into()
}

pub fn socket(protocol: &str, address: IpAddr, port: u16) -> Socket {
    Socket { protocol: protocol.to_owned(), address, port, process: Some("daemon".to_owned()) }
}

fn sockets() -> Vec<Socket> {
    vec![
        socket("tcp", Ipv4Addr::UNSPECIFIED.into(), 22),
        socket("tcp", Ipv6Addr::UNSPECIFIED.into(), 22),
        socket("tcp", Ipv4Addr::LOCALHOST.into(), 9090),
    ]
}

fn mounts() -> Vec<Mount> {
    let mount = |point: &str, fs: &str, options: &[&str]| Mount {
        point: point.to_owned(),
        fs: fs.to_owned(),
        source: fs.to_owned(),
        device: "254:0".to_owned(),
        options: set(options),
    };
    vec![
        mount("/", "rootfs", &["rw"]),
        mount("/", "erofs", &["ro", "relatime"]),
        mount("/tmp", "tmpfs", &["rw", "nosuid", "nodev"]),
    ]
}

fn resources() -> Resources {
    let calm = Pressure { some: 1.0, full: 0.5 };
    Resources {
        memory_total: 1990 << 20,
        memory_available: 1600 << 20,
        processors: 2,
        oom_kills: 0,
        pressure: ["cpu", "io", "memory"].map(|name| (name.to_owned(), calm)).into(),
    }
}

fn cgroup() -> Cgroup {
    let files = [
        ("memory.max", "67108864"),
        ("memory.high", "max"),
        ("memory.current", "66000000"),
        ("inactive_file", "40000000"),
        ("pids.current", "3"),
        ("pids.max", "max"),
    ];
    files.map(|(file, value)| (file.to_owned(), value.to_owned())).into()
}

fn disks() -> Vec<FileSystem> {
    let disk = |point: &str, fs: &str, read_only| FileSystem {
        point: point.to_owned(),
        fs: fs.to_owned(),
        read_only,
        total: 100,
        available: if read_only { 0 } else { 90 },
        inodes: if fs == "vfat" { 0 } else { 100 },
        inodes_free: if read_only { 0 } else { 90 },
    };
    vec![disk("/", "erofs", true), disk("/var", "ext4", false), disk("/efi", "vfat", false)]
}

/// That of the image; a machine that looks at itself has one, too.
fn root_hash(target: &Target) -> String {
    target.outside.as_ref().map_or(Digest::of(b"root"), |outside| outside.root_hash).to_string()
}

fn verity(target: &Target) -> Verity {
    let hash = root_hash(target);
    Verity {
        name: "root".to_owned(),
        target: "verity".to_owned(),
        table: strings(&["1", "254:1", "254:2", "4096", "4096", "100", "1", "sha256", &hash, "00"]),
        status: "V".to_owned(),
    }
}
