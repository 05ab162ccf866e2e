//! What takes more than the production machine has: memory, requests, its disk.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rave::digest::Digest;
use serde_json::Value;

use crate::lab::{wait_for, with_verdict};
use crate::scene::Scene;
use crate::site::Site;
use crate::watch::UNWATCHED;
use crate::webhooks::github;

pub fn leak(scene: &Scene, unit: &str) {
    println!("{unit} leaks memory until its limit, is killed alone and comes back, and a quarter stays free");
    let running = "systemctl list-units --type=service --state=running --plain --no-legend | cut -d' ' -f1 | \
                   xargs systemctl show --property=Id,InvocationID --value | paste - - - | sort";
    let before = scene.root(running);
    let invocation = || scene.root(&format!("systemctl show --property=InvocationID --value {unit}"));
    let (free, ()) = scene.available_during(|| {
        scene.root(&format!(
            "sh -c 'echo $$ > /sys/fs/cgroup/system.slice/{unit}/cgroup.procs; exec tail /dev/zero' || true"
        ));
        wait_for("another one", || {
            let id = invocation();
            (!id.is_empty() && !before.contains(&id)).then_some(())
        });
        let state = format!("systemctl is-active {unit} || true");
        wait_for("it to run", || (scene.root(&state) == "active").then_some(()));
    });
    let after = scene.root(running);
    let lost: Vec<&str> = before.lines().filter(|line| !after.contains(*line)).collect();
    assert!(matches!(lost[..], [line] if line.contains(unit)), "{lost:?}");
    assert!(free >= 0.25, "{free}");
    assert!(scene.root("journalctl -k -b -o cat | grep -c 'Memory cgroup out of memory'").parse::<u32>().unwrap() > 0);
}

pub fn leak_in_a_session(scene: &Scene) {
    println!("what takes too much in a session is ended; the service and other sessions go on");
    let service = "systemctl show --value --property=InvocationID --property=ActiveState ssh.service";
    let before = scene.root(service);
    let command = ["vm", "ssh", "production", "--", "sleep", "1234"];
    let mut other = scene.lab.command(&command).stdin(Stdio::null()).spawn().unwrap();
    let beside = "grep -lz '^1234$' /proc/[0-9]*/cmdline 2> /dev/null | cut -d/ -f3";
    wait_for("another session", || (!scene.root(beside).is_empty()).then_some(()));
    let (free, status) = scene.available_during(|| scene.root("tail /dev/zero || echo $?"));
    assert_eq!((status.as_str(), scene.root(service)), ("137", before));
    assert!(free >= 0.25, "{free}");
    // Whether it still goes on: kill(1) fails where there is nothing.
    scene.root(&format!("{beside} | xargs kill"));
    other.wait().unwrap();
}

pub fn load(scene: &Scene, site: &Site) {
    println!("200 requests a second for a minute: some are told to wait, and a quarter of memory stays free");
    let (free, statuses) = scene.available_during(|| {
        let mut statuses = Vec::new();
        let minute = Instant::now();
        for _ in 0..60 {
            let begin = Instant::now();
            statuses.extend(site.flood("/live", 200, 24));
            std::thread::sleep(Duration::from_secs(1).saturating_sub(begin.elapsed()));
        }
        println!("    {} requests a second", statuses.len() as u64 / minute.elapsed().as_secs());
        statuses
    });
    let count = |status: u16| statuses.iter().filter(|&&other| other == status).count();
    println!("    {} requests: {} served, {} told to wait", statuses.len(), count(200), count(429));
    // A server may close a connection at the moment in which a client uses it again.
    let others = statuses.len() - count(200) - count(429);
    assert!(count(200) > 0 && count(429) > 0 && others * 100 <= statuses.len(), "{others} others");
    assert!(free >= 0.25, "{free}");
    for (path, refused) in [("/webhook", 405), ("/metrics", 404)] {
        let statuses = site.flood(path, 200, 24);
        let count = |status: u16| statuses.iter().filter(|&&other| other == status).count();
        assert!(count(429) > 0 && count(429) + count(refused) + 2 >= statuses.len(), "{path}: {statuses:?}");
    }
    assert_eq!(scene.root("systemctl list-units --failed --plain --no-legend"), "");

    println!("nor is it less when nobody is told to wait");
    scene.root(
        "sed -e 's|rate=[0-9]*r/m|rate=1000000r/m|' -e 's/burst=[0-9]*/burst=100000/' /etc/nginx/nginx.conf > /run/nginx.conf; \
         mount --bind /run/nginx.conf /etc/nginx/nginx.conf; systemctl reload nginx.service",
    );
    let (free, statuses) =
        scene.available_during(|| ["/", "/ready", "/grafana/"].map(|path| site.flood(path, 300, 24)).concat());
    scene.root("umount /etc/nginx/nginx.conf; rm /run/nginx.conf; systemctl reload nginx.service");
    let served = statuses.iter().filter(|&&status| status == 200).count();
    // A process of nginx that ends after the reload still counts.
    assert!(served * 10 >= statuses.len() * 9, "{served} of {}", statuses.len());
    assert!(free >= 0.25, "{free}");
}

/// What a full disk and a unit at another limit, which it nearly uses up, have against them. The service that leaked is
/// remembered.
pub const FULL: [&str; 4] = [
    "resources.disk",
    "resources.limit.webhook.service.MemoryMax",
    "resources.oom-kills",
    "resources.usage.webhook.service",
];

pub fn full(scene: &Scene, site: &Site, secret: &str) {
    println!("a full disk and a unit at its limit are told, no event is lost, and what was full works again");
    // Kept until a handler is done with it, and too long for a page that has room.
    let text: String = (0..128_u8).map(|number| Digest::of(&[number]).to_string()).collect();
    let body = format!("{{\"text\":\"{text}\"}}");
    let send = |id: &str, kind: &str| github(site, secret, id, kind, body.as_bytes()).status;
    assert_eq!(send("full before", "held"), 202);
    wait_for("its handler", || (scene.delivery("full before") == "done|1").then_some(()));
    let limit = "/sys/fs/cgroup/system.slice/webhook.service/memory";
    let before = scene.root(&format!("cat {limit}.max; echo $(($(cat {limit}.current) * 20 / 19)) > {limit}.max"));
    // What is left is little enough to be told, and enough for a journal to go on.
    scene.root("fallocate -l $(($(stat -f -c '%a * %S' /var) - 4194304)) /var/full");
    let resources = || scene.lab.check(&["production", "--stage", "resources"]).1;
    let bad = |report: &Value| with_verdict(report, "unhealthy").into_iter().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(bad(&resources()), FULL);

    // The machine's look at itself would fail for want of room.
    scene.root(&format!("echo {before} > {limit}.max; {UNWATCHED}; cat /dev/zero > /var/rest 2> /dev/null || true"));
    // Of an event that nobody handles the body is not kept.
    let answers = [("full long", "held"), ("full short", "nothing")].map(|(id, kind)| (id, send(id, kind)));
    scene.root("rm /var/full /var/rest; systemctl start rave-health.timer");
    println!("    {answers:?}");
    assert_eq!(bad(&resources()), ["resources.oom-kills"]);
    wait_for("room for an event", || (send("full after", "held") == 202).then_some(()));
    let known = scene.sql("select delivery from webhook.event");
    let accepted = answers.into_iter().filter(|(_, status)| *status == 202).map(|(id, _)| id);
    for id in accepted.chain(["full before", "full after"]) {
        assert!(known.lines().any(|known| known == id), "{id} is not in\n{known}");
    }
}
