//! For every check the ways in which its answer breaks, and what it must then say.

use std::net::{IpAddr, Ipv4Addr};

use super::world::{World, socket};
use crate::check::Verdict::{self, Skipped, Unhealthy, Warning};
use crate::probe::*;

pub type Pair = (&'static str, Verdict, fn(&mut World));

/// Gives `change` the part of an answer that matches the pattern; a pattern that matches nothing fails the test.
macro_rules! spoil {
    ($pattern:pat => $change:expr) => {
        |world: &mut World| {
            let mut spoilt = 0;
            for answer in world.values_mut() {
                if let $pattern = answer {
                    $change;
                    spoilt += 1;
                }
            }
            assert!(spoilt > 0, "nothing to spoil");
        }
    };
}

fn refusal(world: &mut World, user: &str, change: impl Fn(&mut SshRefusal)) {
    let found = world.iter_mut().find_map(|(probe, answer)| match (probe, answer) {
        (Probe::SshRefusal { user: asked, .. }, Answer::SshRefusal(refusal)) if asked == user => Some(refusal),
        _ => None,
    });
    change(found.unwrap());
}

fn write(world: &mut World, directory: &str) {
    let probe = Probe::Write { directory: directory.parse().unwrap() };
    let answer = Answer::Write { written: true, said: String::new() };
    assert!(world.insert(probe, answer).is_some());
}

/// The unit of SSH does not run, after this result, and there is a socket for it in this state.
pub fn waiting(world: &mut World, result: &str, socket: &str) {
    spoil!(Answer::Units { units } => {
        let ssh = units.get_mut("ssh.service").unwrap();
        (ssh.active, ssh.result) = ("inactive".to_owned(), result.to_owned());
        let socket = Unit { active: socket.to_owned(), result: "success".to_owned(), ..Unit::default() };
        units.insert("ssh.socket".to_owned(), socket);
    })(world);
}

/// The same, after success, of a machine that does not tell of what is inactive.
pub fn untold(world: &mut World, socket: &str) {
    waiting(world, "success", socket);
    spoil!(Answer::Units { units } => {
        units.remove("ssh.service");
    })(world);
    spoil!(Answer::Cgroups { groups } => {
        groups.remove("ssh.service");
    })(world);
}

fn module(world: &mut World, stage: &str, change: impl Fn(&mut Ended)) {
    let found = world.iter_mut().find_map(|(probe, answer)| match (probe, answer) {
        (Probe::Run { command }, Answer::Run(ended)) if command.iter().any(|word| word == stage) => Some(ended),
        _ => None,
    });
    change(found.unwrap());
}

/// Gives `change` the answer to the probe that names `word`.
fn service(world: &mut World, word: &str, change: impl Fn(&mut Answer)) {
    let asked = |probe: &Probe| match probe {
        Probe::Http { url } => url.to_string().contains(word),
        Probe::Connect { place, .. } | Probe::Alert { place, .. } => place.to_string().contains(word),
        _ => false,
    };
    change(world.iter_mut().find_map(|(probe, answer)| asked(probe).then_some(answer)).unwrap());
}

fn reply(world: &mut World, word: &str, change: impl Fn(&mut HttpReply)) {
    service(world, word, |answer| match answer {
        Answer::Http(reply) => change(reply),
        other => panic!("{other:?}"),
    });
}

fn secret(world: &mut World, change: impl Fn(&mut SecretFile)) {
    let found = world.values_mut().find_map(|answer| match answer {
        Answer::Secrets { files } => files.get_mut("db"),
        _ => None,
    });
    change(found.unwrap());
}

fn silence(answer: &mut Answer) {
    *answer = Answer::Silence { reason: "connection refused".to_owned() };
}

fn logged_in(refusal: &mut SshRefusal) {
    refusal.refused = false;
}

fn pressure(world: &mut World, name: &str) {
    for answer in world.values_mut() {
        if let Answer::Resources(resources) = answer {
            resources.pressure.insert(name.to_owned(), Pressure { some: 99.0, full: 99.0 });
        }
    }
}

fn outside() -> IpAddr {
    Ipv4Addr::UNSPECIFIED.into()
}

pub const PAIRS: &[Pair] = &[
    ("ssh.port", Unhealthy, spoil!(Answer::SshOffer(o) => o.identification = "SSH-1.99-x".to_owned())),
    ("ssh.login", Unhealthy, spoil!(Answer::SshLogin { ended, .. } => ended.code = Some(1))),
    ("ssh.login", Unhealthy, spoil!(Answer::SshLogin { ended, .. } => ended.code = None)),
    ("ssh.login", Unhealthy, spoil!(Answer::SshLogin { ended, .. } => ended.stdout = "root\n".to_owned())),
    ("ssh.host-key", Unhealthy, spoil!(Answer::HostKey { key } => key.push('x'))),
    ("ssh.host-key", Unhealthy, |world| {
        for answer in world.values_mut() {
            match answer {
                Answer::HostKey { key } | Answer::SshLogin { host_key: key, .. } => key.clear(),
                _ => {}
            }
        }
    }),
    ("ssh.root.refused", Unhealthy, |world| refusal(world, "root", logged_in)),
    ("ssh.other-users.refused", Unhealthy, |world| refusal(world, "nobody", logged_in)),
    ("ssh.password.refused", Unhealthy, |world| refusal(world, "agent", logged_in)),
    ("ssh.password.refused", Unhealthy, |world| refusal(world, "agent", |r| r.methods.push("password".to_owned()))),
    ("ssh.password.refused", Unhealthy, |world| refusal(world, "agent", |r| r.methods.clear())),
    ("ssh.algorithms.kex", Unhealthy, spoil!(Answer::SshOffer(o) => o.kex.push("ecdh-sha2-nistp256".to_owned()))),
    ("ssh.algorithms.kex", Unhealthy, spoil!(Answer::SshOffer(o) => { o.kex.remove(0); })),
    ("ssh.algorithms.host-keys", Unhealthy, spoil!(Answer::SshOffer(o) => o.host_keys.push("ssh-rsa".to_owned()))),
    ("ssh.algorithms.host-keys", Unhealthy, spoil!(Answer::SshOffer(o) => o.host_keys.clear())),
    ("ssh.algorithms.ciphers", Unhealthy, spoil!(Answer::SshOffer(o) => o.ciphers_in.push("aes128-cbc".to_owned()))),
    ("ssh.algorithms.ciphers", Unhealthy, spoil!(Answer::SshOffer(o) => o.ciphers_out.clear())),
    ("ssh.algorithms.macs", Unhealthy, spoil!(Answer::SshOffer(o) => o.macs_out.push("hmac-md5".to_owned()))),
    ("ssh.nftables.ssh", Unhealthy, |world| module(world, "ssh", |ended| ended.code = Some(1))),
    ("https.nftables.https", Unhealthy, |world| module(world, "https", |ended| ended.code = Some(1))),
    ("services.system", Unhealthy, spoil!(Answer::SystemState { state, .. } => *state = "degraded".to_owned())),
    ("services.system", Unhealthy, spoil!(Answer::SystemState { state, .. } => state.clear())),
    (
        "services.failures",
        Unhealthy,
        spoil!(Answer::Units { units } => {
            units.get_mut("other.service").unwrap().active = "failed".to_owned();
        }),
    ),
    (
        "services.failures",
        Unhealthy,
        spoil!(Answer::Units { units } => {
            units.get_mut("other.service").unwrap().sub = "auto-restart".to_owned();
        }),
    ),
    (
        "services.failures",
        Warning,
        spoil!(Answer::Units { units } => {
            units.get_mut("other.service").unwrap().restarts = 2;
        }),
    ),
    (
        "services.failures",
        Unhealthy,
        spoil!(Answer::Units { units } => {
            units.get_mut("other.service").unwrap().restarts = 3;
        }),
    ),
    ("services.failures", Warning, |world: &mut World| {
        for answer in world.values_mut() {
            match answer {
                Answer::Units { units } => units.get_mut("other.service").unwrap().restarts = 3,
                // The unit was started a moment after the system.
                Answer::Clock { uptime_seconds, .. } => *uptime_seconds = 901,
                _ => {}
            }
        }
    }),
    (
        "services.unit.ssh.service",
        Unhealthy,
        spoil!(Answer::Units { units } => {
            units.get_mut("ssh.service").unwrap().active = "inactive".to_owned();
        }),
    ),
    ("services.unit.ssh.service", Unhealthy, |world| waiting(world, "success", "inactive")),
    ("services.unit.ssh.service", Unhealthy, |world| waiting(world, "timeout", "active")),
    ("services.clock", Unhealthy, |world| {
        world.insert(Probe::Clock, Answer::Clock { unix_seconds: 1_799_999_000, uptime_seconds: 0 });
    }),
    ("services.clock", Unhealthy, |world| {
        world.insert(Probe::Clock, Answer::Clock { unix_seconds: 1_800_001_000, uptime_seconds: 0 });
    }),
    ("services.clock", Warning, |world| {
        world.insert(Probe::Clock, Answer::Clock { unix_seconds: 1_800_000_100, uptime_seconds: 0 });
    }),
    (
        "services.journal",
        Unhealthy,
        spoil!(Answer::Journal { entries, .. } => {
            entries[0].message = "harmless 1 it is not".to_owned();
        }),
    ),
    ("services.journal", Skipped, spoil!(Answer::Journal { truncated, .. } => *truncated = true)),
    ("services.nftables.services", Unhealthy, |world| module(world, "services", |ended| ended.stdout.clear())),
    ("monitoring.nftables.monitoring", Unhealthy, |world| module(world, "monitoring", |ended| ended.code = None)),
    ("resources.memory.size", Unhealthy, spoil!(Answer::Resources(r) => r.memory_total = 3000 << 20)),
    ("resources.memory.size", Unhealthy, spoil!(Answer::Resources(r) => r.memory_total = 1700 << 20)),
    ("resources.processors", Unhealthy, spoil!(Answer::Resources(r) => r.processors = 1)),
    (
        "resources.limit.ssh.service.MemoryMax",
        Unhealthy,
        spoil!(Answer::Cgroups { groups } => {
            groups.get_mut("ssh.service").unwrap().insert("memory.max".to_owned(), "134217728".to_owned());
        }),
    ),
    (
        "resources.limit.ssh.service.LimitNOFILE",
        Unhealthy,
        spoil!(Answer::Units { units } => {
            units.get_mut("ssh.service").unwrap().properties.remove("LimitNOFILE");
        }),
    ),
    (
        "resources.usage.ssh.service",
        Unhealthy,
        spoil!(Answer::Cgroups { groups } => {
            groups.get_mut("ssh.service").unwrap().insert("inactive_file".to_owned(), "0".to_owned());
        }),
    ),
    (
        "resources.usage.ssh.service",
        Unhealthy,
        spoil!(Answer::Cgroups { groups } => {
            groups.get_mut("ssh.service").unwrap().insert("pids.max".to_owned(), "3".to_owned());
        }),
    ),
    (
        "resources.usage.ssh.service",
        Skipped,
        spoil!(Answer::Cgroups { groups } => {
            groups.get_mut("ssh.service").unwrap().remove("memory.current");
        }),
    ),
    ("resources.oom-kills", Unhealthy, spoil!(Answer::Resources(r) => r.oom_kills = 1)),
    ("resources.memory.available", Unhealthy, spoil!(Answer::Resources(r) => r.memory_available = 100 << 20)),
    ("resources.memory.available", Warning, spoil!(Answer::Resources(r) => r.memory_available = 300 << 20)),
    ("resources.pressure.cpu", Warning, |world| pressure(world, "cpu")),
    ("resources.pressure.io", Warning, |world| pressure(world, "io")),
    ("resources.pressure.memory", Unhealthy, |world| pressure(world, "memory")),
    ("resources.pressure.memory", Skipped, spoil!(Answer::Resources(r) => { r.pressure.remove("memory"); })),
    ("resources.disk", Unhealthy, spoil!(Answer::Space { file_systems } => file_systems[1].available = 10)),
    ("resources.disk", Warning, spoil!(Answer::Space { file_systems } => file_systems[1].available = 20)),
    ("resources.inodes", Unhealthy, spoil!(Answer::Space { file_systems } => file_systems[1].inodes_free = 0)),
    ("resources.nftables.resources", Unhealthy, |world| module(world, "resources", |ended| ended.code = Some(3))),
    ("security.root.read-only", Unhealthy, spoil!(Answer::Mounts { mounts } => mounts[1].fs = "ext4".to_owned())),
    (
        "security.root.read-only",
        Unhealthy,
        spoil!(Answer::Mounts { mounts } => {
            mounts[1].options = ["rw".to_owned()].into();
        }),
    ),
    ("security.root.verity", Unhealthy, spoil!(Answer::Verity(v) => v.status = "C".to_owned())),
    ("security.root.verity", Unhealthy, spoil!(Answer::Verity(v) => v.table[8] = "0".repeat(64))),
    ("security.root.verity", Unhealthy, spoil!(Answer::Verity(v) => v.target = "linear".to_owned())),
    ("security.root.verity", Unhealthy, spoil!(Answer::Verity(v) => v.table.clear())),
    ("security.write./etc", Unhealthy, |world| write(world, "/etc")),
    ("security.write./usr", Unhealthy, |world| write(world, "/usr")),
    ("security.sockets", Unhealthy, spoil!(Answer::Sockets { sockets } => sockets.push(socket("udp", outside(), 53)))),
    (
        "security.sockets",
        Unhealthy,
        spoil!(Answer::Sockets { sockets } => {
            sockets.push(socket("tcp", Ipv4Addr::LOCALHOST.into(), 5432));
        }),
    ),
    ("security.sockets", Unhealthy, spoil!(Answer::Sockets { sockets } => sockets[2].address = outside())),
    ("security.sockets", Unhealthy, spoil!(Answer::Sockets { sockets } => { sockets.remove(2); })),
    ("security.sockets", Unhealthy, spoil!(Answer::Sockets { sockets } => { sockets.clear(); })),
    (
        "security.sockets",
        Unhealthy,
        spoil!(Answer::Sockets { sockets } => {
            // Mapped addresses are IPv4 to whoever connects.
            sockets.push(socket("tcp", "::ffff:10.0.2.15".parse().unwrap(), 9090));
        }),
    ),
    (
        "security.sysctl.kernel.sysrq",
        Unhealthy,
        spoil!(Answer::Sysctls { values, .. } => {
            values.insert("kernel.sysrq".to_owned(), "176".to_owned());
        }),
    ),
    ("security.sysctl.kernel.sysrq", Unhealthy, spoil!(Answer::Sysctls { values, .. } => values.clear())),
    (
        "security.sysctl.kernel.sysrq",
        Skipped,
        spoil!(Answer::Sysctls { unread, .. } => drop(unread.insert("kernel.sysrq".to_owned(), "denied".to_owned()))),
    ),
    (
        "security.cmdline",
        Unhealthy,
        spoil!(Answer::CommandLine { line } => {
            *line = line.replace("init_on_alloc=1", "");
        }),
    ),
    ("security.cmdline", Unhealthy, spoil!(Answer::CommandLine { line } => line.push_str(" lockdown=none"))),
    ("security.cmdline", Unhealthy, spoil!(Answer::CommandLine { line } => line.push_str(" roothash=00"))),
    ("security.cmdline", Unhealthy, spoil!(Answer::CommandLine { line } => line.push_str(" quiet"))),
    ("security.cmdline", Unhealthy, spoil!(Answer::CommandLine { line } => line.push_str(" systemd.debug_shell"))),
    (
        "security.sandbox.ssh.service",
        Unhealthy,
        spoil!(Answer::Units { units } => {
            units.get_mut("ssh.service").unwrap().properties.insert("ProtectSystem".to_owned(), "no".to_owned());
        }),
    ),
    (
        "security.sandbox.ssh.service",
        Unhealthy,
        spoil!(Answer::Units { units } => { units.get_mut("ssh.service").unwrap().properties.remove("NoNewPrivileges"); }),
    ),
    (
        "security.sandbox.ssh.service",
        Unhealthy,
        spoil!(Answer::Units { units } => {
            units.get_mut("ssh.service").unwrap().properties.insert("CapabilityBoundingSet".to_owned(), "cap_kill cap_bpf".to_owned());
        }),
    ),
    (
        "security.sandbox.ssh.service",
        Unhealthy,
        spoil!(Answer::Units { units } => {
            units.get_mut("ssh.service").unwrap().properties.insert("SystemCallFilter".to_owned(), "~".to_owned());
        }),
    ),
    ("security.mount./tmp", Unhealthy, spoil!(Answer::Mounts { mounts } => { mounts[2].options.remove("nosuid"); })),
    ("security.mount./tmp", Unhealthy, spoil!(Answer::Mounts { mounts } => { mounts.remove(2); })),
    (
        "security.keys",
        Unhealthy,
        spoil!(Answer::Scan(scan) => {
            scan.keys.insert("/etc/key".to_owned(), "OPENSSH PRIVATE KEY".to_owned());
        }),
    ),
    (
        "security.passwords",
        Unhealthy,
        spoil!(Answer::Scan(scan) => { scan.passwords.insert("shadow:root".to_owned()); }),
    ),
    ("security.bans", Unhealthy, spoil!(Answer::BruteForce(told) => told.kept_out = false)),
    ("security.bans", Unhealthy, spoil!(Answer::BruteForce(told) => told.let_in = false)),
    ("security.set-id", Unhealthy, spoil!(Answer::Scan(scan) => { scan.set_id.insert("/usr/bin/su".to_owned()); })),
    ("security.secrets.db", Unhealthy, spoil!(Answer::Secrets { files } => files.clear())),
    ("security.secrets.db", Unhealthy, |world| secret(world, |file| file.owner = "root".to_owned())),
    ("security.secrets.db", Unhealthy, |world| secret(world, |file| file.group = "root".to_owned())),
    ("security.secrets.db", Unhealthy, |world| secret(world, |file| file.mode = 0o444)),
    ("security.secrets.db", Unhealthy, |world| secret(world, |file| file.fs = "ext4".to_owned())),
    ("security.secrets.db", Unhealthy, |world| secret(world, |file| file.options.retain(|option| option != "noswap"))),
    ("security.secrets.db", Unhealthy, |world| secret(world, |file| file.options.retain(|option| option != "noexec"))),
    ("services.web.headers", Unhealthy, |world| service(world, "web.sock", silence)),
    ("services.web.headers", Unhealthy, |world| reply(world, "web.sock", |r| r.status = 404)),
    ("services.web.headers", Unhealthy, |world| reply(world, "web.sock", |r| r.body.clear())),
    ("services.web.headers", Unhealthy, |world| reply(world, "web.sock", |r| r.headers.clear())),
    ("services.web.headers", Skipped, |world| {
        reply(world, "web.sock", |r| {
            r.body.clear();
            r.truncated = true;
        })
    }),
    ("services.web.headers", Unhealthy, |world| {
        reply(world, "web.sock", |r| drop(r.headers.insert("server".to_owned(), "nginx/1.26".to_owned())))
    }),
    ("services.web.retention", Unhealthy, |world| service(world, "flags", silence)),
    ("services.web.retention", Unhealthy, |world| reply(world, "flags", |r| r.status = 500)),
    ("services.web.retention", Unhealthy, |world| reply(world, "flags", |r| r.body = r.body.replace("1w", "15d"))),
    ("services.web.retention", Unhealthy, |world| reply(world, "flags", |r| r.body = "{}".to_owned())),
    ("services.web.retention", Unhealthy, |world| reply(world, "flags", |r| r.body.push('x'))),
    ("services.web.retention", Skipped, |world| reply(world, "flags", |r| r.truncated = true)),
    ("services.web.ping", Unhealthy, |world| service(world, "redis", silence)),
    ("services.web.ping", Unhealthy, |world| {
        service(world, "redis", |answer| *answer = Answer::Connected { said: "-NOAUTH".to_owned() })
    }),
    ("services.web.port", Unhealthy, |world| service(world, "5432", silence)),
    ("monitoring.alertmanager.delivery", Unhealthy, |world| service(world, "9093", silence)),
    ("monitoring.alertmanager.delivery", Unhealthy, spoil!(Answer::Alerted(told) => told.taken = 0)),
    (
        "monitoring.alertmanager.delivery",
        Unhealthy,
        spoil!(Answer::Alerted(told) => (told.taken, told.failed) = (1, 3)),
    ),
    ("monitoring.alertmanager.delivery", Warning, spoil!(Answer::Alerted(told) => told.failed = 1)),
    ("security.nftables.security", Unhealthy, |world| module(world, "security", |ended| ended.code = Some(1))),
];
