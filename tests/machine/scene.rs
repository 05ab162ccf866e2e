//! A project with the production image and a machine of it, for scenarios that go on for long.

use std::time::Instant;

use rave::disk;
use serde_json::Value;

use crate::copy::copy;
use crate::lab::{Lab, assert_well, shared};
use crate::memory::measured;
use crate::receiver::{PORT, Receiver};
use crate::site::Site;

/// A project of its own without any secrets yet.
pub struct Scene {
    /// Who is told of alerts. It ends before another scenario has its turn.
    pub receiver: Option<Receiver>,
    pub lab: Lab,
    /// The machine that is asked.
    pub machine: &'static str,
}

/// A world with the packages of production, locked.
fn prepared() -> Lab {
    let mut lab = Lab::new();
    let project = lab.path().join("project");
    copy(&shared("project"), &project);
    // What webhooks are for; the image itself has no handler.
    let handlers = "  services.webhook.handlers:\n    note:\n      events: [push]\n      user: agent\n      \
                            writes: [/var/lib/note]\n      command: [/bin/sh, -c, 'cat >> /var/lib/note/events']\n    \
                            fails: { events: [doomed], command: [/bin/false] }\n    \
                            takes-time:\n      events: [long]\n      user: agent\n      writes: [/var/lib/note]\n      \
                            command: [/bin/sh, -c, 'cat >> /var/lib/note/long; sleep 30']\n    \
                            waits:\n      events: [held]\n      user: agent\n      writes: [/var/lib/note]\n      timeout: 5m\n      \
                            command: [/bin/sh, -c, 'until test -e /var/lib/note/gate; do sleep 0.2; done']\n    \
                            counts: { events: [push], unit: counts.service }\n  \
                            services.webhook: { attempts: 2, backoff.base: 1s, queue: 6 }\n  \
                            environment.files:\n    /etc/tmpfiles.d/note.conf: { text: \"d /var/lib/note 0700 agent agent -\\n\" }\n    \
                            /etc/systemd/system/counts.service: { text: \"[Service]\\nType=oneshot\\nExecStart=/bin/sh -c 'echo counted >> /run/counted'\\n\" }\n";
    let image = disk::read_to_string(project.join("images/production.yaml")).unwrap();
    let receiver = format!(
        "  services.alertmanager: {{ receiver: host, receivers.host.webhooks: [\"http://10.0.2.2:{PORT}/alerts\"] }}\n"
    );
    // A test logs in more often than an administrator.
    let image = image.replace("base.firewall.ssh.rate: 12\n", "base.firewall.ssh: { rate: 6000, burst: 100 }\n");
    disk::write(project.join("images/production.yaml"), format!("{image}{handlers}{receiver}").as_bytes(), 0o644)
        .unwrap();
    lab.use_project(project.clone());
    lab.good(&["lock", "production"]);
    // The packages are made ready beside other work, by somebody else, who leaves no secrets here.
    let (other, home) = (lab.path().join("other"), lab.path().join("other-home"));
    copy(&project, &other);
    for arguments in [&["secrets", "init", "production"][..], &["build", "production", "--mode", "safe"]] {
        let mut rave = lab.command(arguments);
        let (ended, memory) = measured(rave.env("RAVE_PROJECT", &other).env("HOME", &home));
        assert!(ended.status.success(), "{arguments:?}: {ended:?}");
        // Nothing where everything is in the store already.
        println!("    {arguments:?} took {} MiB", memory >> 20);
        assert!(memory < 3 << 30, "{memory}");
    }
    lab
}

impl Scene {
    /// Beside other scenarios.
    pub fn new() -> Self {
        Self::of(prepared())
    }

    /// The same, with nobody beside.
    pub fn alone() -> Self {
        let mut lab = prepared();
        lab.alone();
        Self::of(lab)
    }

    fn of(lab: Lab) -> Self {
        Self { lab, receiver: Some(Receiver::open()), machine: "production" }
    }

    /// Has the image's file say something else.
    pub fn edit(&self, from: &str, to: &str) {
        let path = self.lab.path().join("project/images/production.yaml");
        let text = disk::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} is not in\n{text}");
        disk::write(path, text.replace(from, to).as_bytes(), 0o644).unwrap();
    }

    pub fn secret(&self, file: &str, name: &str) -> String {
        self.lab.good(&["secrets", "get", &self.file(file), name])
    }

    /// The path of a file of secrets.
    pub fn file(&self, name: &str) -> String {
        self.lab.path().join(format!("project/secrets/{name}.yaml")).display().to_string()
    }

    /// Has everything done at once, secrets included, and goes on.
    pub fn up(&self) {
        let ended = self.lab.rave(&["up", "production", "--mode", "safe", "--keep", "--json", "--timeout", "600"]);
        assert_well(&ended.report(), &[]);
        assert_eq!(ended.status, Some(0));
    }

    pub fn site(&self) -> Site {
        let forwards = self.lab.state(self.machine).unwrap()["forwards"].clone();
        let port = forwards.as_array().unwrap().iter().find(|forward| forward["guest"] == 3002).unwrap();
        let port = u16::try_from(port["host"].as_u64().unwrap()).unwrap();
        Site::new(port, &self.secret("authority", "certificate"))
    }

    /// What `rave build` said of its result.
    pub fn manifest(&self) -> Value {
        let result = self.lab.path().join("result");
        self.lab.good(&["build", "production", "--output", result.to_str().unwrap()]);
        serde_json::from_slice(&disk::read(result.join("manifest.json")).unwrap()).unwrap()
    }

    pub fn root(&self, script: &str) -> String {
        self.lab.root(self.machine, script)
    }

    /// What a service on the machine's loopback interface answers to GET.
    pub fn get(&self, port: u16, path: &str) -> String {
        let answer = self.root(&format!(
            "bash -ec 'exec 3<> /dev/tcp/127.0.0.1/{port}; printf \"GET %s HTTP/1.0\\r\\n\\r\\n\" \"$1\" >&3; cat <&3' \
             get '{path}'"
        ));
        let whole = answer.split_once("\r\n\r\n").filter(|(head, _)| head.contains(" 200 "));
        whole.unwrap_or_else(|| panic!("{path}: {answer}")).1.to_owned()
    }

    pub fn sql(&self, query: &str) -> String {
        let psql = "/usr/lib/postgresql/17/bin/psql -h /run/postgresql -U postgres -d webhook -XAtqc";
        self.root(&format!("{psql} \"{query}\""))
    }

    /// State and attempts of an event that has one handler.
    pub fn delivery(&self, id: &str) -> String {
        self.sql(&format!(
            "select d.state, d.attempts from webhook.delivery d join webhook.event e on e.id = d.event where e.delivery = '{id}'"
        ))
    }

    /// The share of memory that is available.
    pub fn available(&self) -> f64 {
        let told = self.root("sed -nE 's/^Mem(Total|Available): *([0-9]+) kB$/\\2/p' /proc/meminfo");
        let numbers: Vec<f64> = told.lines().map(|line| line.parse().unwrap()).collect();
        numbers[1] / numbers[0]
    }

    /// The least share of memory that is available while something is done, looked at each second by a unit of the machine.
    pub fn available_during<T>(&self, work: impl FnOnce() -> T) -> (f64, T) {
        self.root(
            "systemd-run -q --unit=memory --property=CPUWeight=1000 \
             /bin/sh -c 'while grep MemAvailable: /proc/meminfo; do sleep 1; done > /run/memory'; \
             until test -s /run/memory; do sleep 0.1; done",
        );
        let begin = Instant::now();
        let done = work();
        let seconds = begin.elapsed().as_secs();
        let told =
            self.root("systemctl stop memory.service; grep MemTotal: /proc/meminfo; cat /run/memory; rm /run/memory");
        let mut numbers = told.lines().map(|line| line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap());
        let total = numbers.next().unwrap();
        let shares: Vec<f64> = numbers.map(|available| available / total).collect();
        // A machine that has much to do looks less often.
        assert!(shares.len() as u64 * 3 >= seconds, "{} looks in {seconds} s", shares.len());
        let least = shares.into_iter().fold(1.0, f64::min);
        println!("    {:.0} % of memory are available at least", least * 100.0);
        (least, done)
    }
}
