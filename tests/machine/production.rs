//! The production image in both modes: what its users see from outside, and what breaks in it.

use std::io::Write as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rave::digest::Digest;
use rave::disk;
use rave::secrets::generate;
use reqwest::Method;
use serde_json::{Value, json};

use crate::bans;
use crate::copy::copy;
use crate::guides;
use crate::https;
use crate::lab::{Fault, Lab, assert_well, checks, shared, unwell, wait_for, with_verdict};
use crate::memory::measured;
use crate::metrics;
use crate::receiver::{PORT, Receiver};
use crate::scan;
use crate::site::Site;
use crate::webhooks::{self, github};

const MIB: u64 = 1 << 20;

/// A project of its own without any secrets yet.
pub struct Scene {
    /// Who is told of alerts. It ends before another scenario has its turn.
    receiver: Option<Receiver>,
    pub lab: Lab,
    /// The machine that is asked.
    pub machine: &'static str,
}

impl Scene {
    fn new() -> Self {
        let lab = Lab::alone(|lab| {
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
            let image =
                image.replace("base.firewall.ssh.rate: 12\n", "base.firewall.ssh: { rate: 6000, burst: 100 }\n");
            disk::write(
                project.join("images/production.yaml"),
                format!("{image}{handlers}{receiver}").as_bytes(),
                0o644,
            )
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
        });
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
    fn file(&self, name: &str) -> String {
        self.lab.path().join(format!("project/secrets/{name}.yaml")).display().to_string()
    }

    /// Has everything done at once, secrets included, and goes on.
    fn up(&self) {
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
    fn manifest(&self) -> Value {
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
    fn available(&self) -> f64 {
        let told = self.root("sed -nE 's/^Mem(Total|Available): *([0-9]+) kB$/\\2/p' /proc/meminfo");
        let numbers: Vec<f64> = told.lines().map(|line| line.parse().unwrap()).collect();
        numbers[1] / numbers[0]
    }

    /// The least share of memory that is available while something is done, looked at each second by a unit of the machine.
    fn available_during<T>(&self, work: impl FnOnce() -> T) -> (f64, T) {
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

#[test]
fn production_in_safe_mode_works_and_is_seen_when_it_does_not() {
    let mut scene = Scene::new();
    println!("from no secrets to a machine in which every check is well");
    scene.up();
    let (manifest, site) = (scene.manifest(), scene.site());
    let secret = scene.secret("production", "webhook-secret");

    println!("it is small");
    let size = |what: &Value| what["size"].as_u64().unwrap_or_else(|| panic!("{what}"));
    let (root, initrd) = (size(&manifest["partitions"][1]["content"]), size(&manifest["initrd"]));
    assert!(root <= 300_000_000 && initrd <= 6_000_000, "{root} {initrd}");

    let unused = scene.root(
        "find / -xdev -type f '(' -iname '*llvm*' -o -path '/usr/lib/firmware/*' -o -path '/usr/share/man/*' \
         -o -path '/usr/share/locale/*' -o -path '/var/cache/apt/*' -o -path '/usr/share/doc/*' ! -name copyright ')'",
    );
    assert_eq!(unused, "", "what nobody needs does not ship");

    println!("at rest a quarter of memory is free");
    let rest = scene.available();
    println!("    {:.0} % of memory are available; root {root} bytes, initrd {initrd}", rest * 100.0);
    assert!(rest >= 0.25, "{rest}");

    pages(&site);
    watched(&scene, &site);
    alerted(&mut scene);
    webhooks::work(&scene, &site, &secret);
    https::breaks(&scene.lab, &site, scene.secret("production", "tls-key-main").into());
    scan::finds(&scene.lab, "production");
    unmeasured(&scene);
    passwords(&scene);
    database(&scene, &site);
    bans::keep_out(&scene);
    guides::work(&scene);
    certificate(&scene, &site);
    backup(&scene);
    guides::restore(&scene, &site, &secret);
    metrics::exist(&scene, &site);
    leak(&scene, "nginx.service");
    leak(&scene, "prometheus.service");
    leak_in_a_session(&scene);
    load(&scene, &site);
    full(&scene, &site, &secret);
    println!("what watches and serves is missed when it is gone");
    // A scan and an attack would take minutes for what is known: ports are closed, and nobody is kept out.
    let arguments = ["production", "--skip", "security.scan", "--skip", "security.bans"];
    scene.lab.seen(&arguments, &GONE, &GONE_TOO);
    corrupted(&scene, root);
}

/// Breaks the machine for good.
fn corrupted(scene: &Scene, size: u64) {
    println!(
        "a byte in the middle of the root file system that is another one is not served: at its read the machine restarts"
    );
    let logs = || scene.lab.good(&["vm", "logs", "production"]);
    let said = "reboot: Restarting system with command 'dm-verity device corrupted'";
    assert!(!logs().contains(said));
    scene.lab.good(&["vm", "fault", "production", "flipped-byte", "--at", &(size / 2).to_string()]);
    let read = "echo 3 > /proc/sys/vm/drop_caches; cat /dev/mapper/root > /dev/null";
    let mut reading = scene.lab.command(&["vm", "ssh", "production", "--", "sudo", "sh", "-c", read]).spawn().unwrap();
    wait_for("the restart", || logs().contains(said).then_some(()));
    reading.kill().unwrap();
    reading.wait().unwrap();
}

fn pages(site: &Site) {
    println!("pages, health and dashboards are served, with the headers that protect them");
    let page = site.get("/");
    assert!(page.status == 200 && page.body.contains("production") && page.body.contains("<dd>safe</dd>"), "{page:?}");
    let headers = [
        ("strict-transport-security", "max-age=31536000; includeSubDomains; preload"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "strict-origin-when-cross-origin"),
        ("x-xss-protection", "0"),
        ("server", "nginx"),
    ];
    for (name, value) in headers {
        assert_eq!(page.header(name), value, "{name}");
    }
    assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"), "{page:?}");
    for path in ["/live", "/ready", "/healthz"] {
        assert_eq!(site.get(path).status, 200, "{path}");
    }
    assert_eq!(site.get("/metrics").status, 404);
    assert_eq!(site.ask(Method::GET, "/", &[("host", "other.example")], b"").status, 421);
    let boards = site.get("/grafana/api/boards");
    for title in ["Project Health", "Agent Performance", "System Health"] {
        assert!(boards.body.contains(title), "{boards:?}");
    }
    assert_eq!(site.get("/grafana/").status, 200);
}

/// The machine does not look at itself from then on.
pub const UNWATCHED: &str = "systemctl stop rave-health.timer; \
     while systemctl show --property=ActiveState rave-health.service | grep -q activating; do sleep 0.2; done";

fn watched(scene: &Scene, site: &Site) {
    println!("the machine sees by itself what is wrong with it, and is no good version while it is");
    let look = || {
        let told = scene.root(
            "systemctl stop boot-complete.target; systemctl start boot-complete.target || true; \
             systemctl is-active boot-complete.target || true; cat /var/lib/node-exporter/health.prom",
        );
        let (active, metrics) = told.split_once('\n').unwrap();
        (active.to_owned(), metrics.to_owned())
    };
    // A look that is under way would not see it. Sockets alone could be those of a service that starts.
    scene.root(&format!(
        "{UNWATCHED}; systemctl stop fail2ban.service; echo 1 > /proc/sys/kernel/sysrq; \
         systemd-run -q --unit=extra --socket-property=ListenStream=0.0.0.0:8080 /bin/true"
    ));
    let (active, metrics) = look();
    assert_eq!(active, "inactive", "{metrics}");
    for line in [
        "rave_health_check_trouble{check=\"security.sockets\",verdict=\"unhealthy\"} 1",
        "rave_health_check_trouble{check=\"security.sysctl.kernel.sysrq\",verdict=\"unhealthy\"} 1",
        "rave_health_check_trouble{check=\"services.unit.fail2ban.service\",verdict=\"unhealthy\"} 1",
        "rave_health_checks{stage=\"security\",verdict=\"unhealthy\"} 2",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in\n{metrics}");
    }
    let page = wait_for("the page", || Some(site.get("/")).filter(|page| page.body.contains("security.sockets")));
    assert!(page.body.contains("tcp&#x2f;8080") && page.body.contains("Something is wrong"), "{page:?}");
    let health = site.get("/healthz");
    assert!(health.status == 503 && health.body.contains("services.unit.fail2ban.service"), "{health:?}");

    scene.root(
        "systemctl stop extra.socket; echo 0 > /proc/sys/kernel/sysrq; systemctl start fail2ban.service rave-health.timer",
    );
    let (active, metrics) = look();
    assert_eq!(active, "active", "{metrics}");
    assert!(metrics.contains("\nrave_health_troubles 0\n"), "{metrics}");
    wait_for("health", || (site.get("/healthz").status == 200).then_some(()));
    assert!(site.get("/").body.contains("asked from outside only"));
}

/// What tells that nobody is told of alerts.
pub const UNTOLD: [&str; 1] = ["monitoring.alertmanager.delivery"];

fn alerted(scene: &mut Scene) {
    println!(
        "each check sends the receiver of alerts one by which nothing is wrong, and the machine itself sends none"
    );
    let look = |scene: &Scene| scene.lab.check(&["production", "--only", UNTOLD[0], "--at-once"]);
    let known = |scene: &Scene| scene.receiver.as_ref().unwrap().tests().len();
    let before = known(scene);
    // That of the first check.
    assert!(before > 0);
    scene.root("systemctl start rave-health.service");
    assert_eq!(known(scene), before);
    let (status, report) = look(scene);
    assert_eq!((status, with_verdict(&report, "healthy")), (Some(0), UNTOLD.into()), "{:#?}", unwell(&report));
    let nonce = checks(&report)[0]["evidence"].as_str().unwrap().strip_prefix("nonce ").unwrap();
    let receiver = scene.receiver.as_ref().unwrap();
    let told = receiver.tests().split_off(before);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!(told[0]["labels"], json!({ "alertname": "RaveTest", "severity": "none", "nonce": nonce }));
    assert_eq!(told[0]["annotations"], json!({ "summary": "A test by rave check: nothing is wrong" }));

    println!("a receiver that is gone is missed");
    scene.receiver = None;
    let (status, report) = look(scene);
    assert_eq!((status, with_verdict(&report, "unhealthy")), (Some(1), UNTOLD.into()), "{:#?}", unwell(&report));
    scene.receiver = Some(Receiver::open());
    assert_eq!(look(scene).0, Some(0));
}

fn passwords(scene: &Scene) {
    println!("over the loopback interface the database lets in who has the password of the project, and nobody else");
    let by_password = |password: &str| {
        let psql = "/usr/lib/postgresql/17/bin/psql -w -XAtc 'select current_user'";
        scene.root(&format!("PGPASSWORD={password} {psql} 'host=127.0.0.1 user=app dbname=app' 2>&1 || true"))
    };
    let secret = scene.secret("production", "postgresql-app");
    assert_eq!(by_password("$(cat /run/secrets/postgresql-app)"), "app");
    assert_eq!(scene.root("cat /run/secrets/postgresql-app"), secret);
    assert!(by_password("wrong").contains("password authentication failed"));
    assert!(by_password("").contains("no password supplied"));
}

fn database(scene: &Scene, site: &Site) {
    println!("without its database the machine lives, but is not ready, and takes no webhook");
    scene.root("systemctl stop postgresql.service");
    assert_eq!(site.get("/live").status, 200);
    wait_for("it to be unready", || (site.get("/ready").status == 503).then_some(()));
    let refused = github(site, &scene.secret("production", "webhook-secret"), "three", "push", b"{}");
    assert_eq!((refused.status, refused.header("retry-after").is_empty()), (503, false), "{refused:?}");
    scene.root("systemctl start postgresql.service postgresql-declared.service");
    wait_for("it to be ready", || (site.get("/ready").status == 200).then_some(()));
}

fn certificate(scene: &Scene, site: &Site) {
    println!(
        "a certificate that has ended is told by the health timer and by Prometheus' metrics, and a new one mends it"
    );
    let (key, part) = (scene.secret("production", "tls-key-main"), |name| scene.secret("authority", name));
    let authority = generate::Pair { certificate: part("certificate"), key: part("key").into() };
    let hosts = ["localhost".to_owned()];
    let past = SystemTime::now() - Duration::from_secs(400 * 24 * 60 * 60);
    let set = |text: &str| {
        let json = serde_json::to_string(text).unwrap();
        scene.lab.good(&["secrets", "set", &scene.file("production"), "[\"tls-certificate-main\"]", &json]);
        scene.lab.rave(&["vm", "secrets", "production", "push"])
    };
    let good = scene.secret("production", "tls-certificate-main");
    let ending = generate::server_certificate(&hosts, &key.into(), &authority, past).unwrap();
    let pushed = set(&ending);
    // rave itself refuses it.
    assert_eq!(pushed.status, Some(1), "{pushed:?}");
    assert!(pushed.stderr.contains("tls-certificate-main"), "{pushed:?}");
    scene.root(&format!(
        "umask 022; cat > /run/ending.pem <<'END'\n{ending}END\n\
         mount --bind /run/ending.pem /run/secrets/tls-certificate-main; \
         systemctl start rave-health.service; umount /run/secrets/tls-certificate-main; \
         told() {{ grep -c 'trouble{{check=\"certificate\\.' /var/lib/node-exporter/health.prom || true; }}; \
         test \"$(told)\" = 1; systemctl start rave-health.service; test \"$(told)\" = 0"
    ));
    let pushed = set(&good);
    assert_eq!(pushed.status, Some(0), "{pushed:?}");
    wait_for("nginx with the new certificate", || (site.flood("/live", 1, 1) == [200]).then_some(()));
}

fn backup(scene: &Scene) {
    println!("a backup is whole, holds what was in the database, and tells when it fails");
    scene.root("systemctl start postgresql-backup.service");
    let dump = scene.root("zstd -dcq /var/backups/postgresql/*.sql.zst");
    let has = |delivery| dump.lines().any(|line| line.split('\t').any(|field| field == delivery));
    assert!(dump.contains("CREATE DATABASE webhook") && has("one") && has("two") && !has("forged"), "{}", dump.len());
    assert!(
        scene
            .root("cat /var/lib/node-exporter/backup-postgresql.prom")
            .contains("rave_backup_failed{what=\"postgresql\"} 0")
    );
    scene.root(
        "mount -t tmpfs -o size=4k,mode=0700,uid=951 none /var/backups/postgresql; \
         if systemctl start postgresql-backup.service; then exit 1; fi; umount /var/backups/postgresql; \
         grep -q 'failed{.*} 1$' /var/lib/node-exporter/backup-postgresql.prom; systemctl reset-failed; \
         systemctl start postgresql-backup.service",
    );

    println!("one that is killed tells, too, and leaves nothing behind");
    let psql = "/usr/lib/postgresql/17/bin/psql -h /run/postgresql -U postgres -d webhook -XAtqc";
    let held = "from pg_locks where granted and mode = $$AccessExclusiveLock$$";
    scene.root(&format!(
        "cd /var/backups/postgresql; \
         systemd-run -q --unit=holds {psql} 'begin; lock table webhook.event; select pg_sleep(600)'; \
         until {psql} 'select 1 {held}' | grep -q 1; do sleep 0.2; done; \
         systemctl start --no-block postgresql-backup.service; until test -s .new.sql; do sleep 0.2; done; \
         systemctl kill --signal=KILL postgresql-backup.service; \
         until systemctl is-failed -q postgresql-backup.service; do sleep 0.2; done; \
         {psql} 'select pg_terminate_backend(pid) {held}'; while systemctl is-active -q holds.service; do sleep 0.2; done; \
         grep -q 'failed.* 1$' /var/lib/node-exporter/backup-postgresql.prom; test ! -e .new.sql; systemctl reset-failed"
    ));

    println!("on a full disk what was known of backups stays, and the dump has failed");
    scene.root(
        r#"cd /var/lib/node-exporter; cp backup-postgresql.prom /run/before.prom;
         mount -t tmpfs -o size=4k,mode=0775,gid=956 none /var/lib/node-exporter;
         cp /run/before.prom /var/lib/node-exporter/backup-postgresql.prom;
         if systemctl start postgresql-backup.service; then exit 1; fi;
         test "$(cat /run/before.prom)" = "$(cat /var/lib/node-exporter/backup-postgresql.prom)";
         cd /; umount --lazy /var/lib/node-exporter; systemctl reset-failed; systemctl start postgresql-backup.service;
         grep -q 'failed{.*} 0$' /var/lib/node-exporter/backup-postgresql.prom"#,
    );

    println!("what cannot be archived is counted, for the alert");
    let metrics = scene.get(9187, "/metrics");
    let failed = metrics.lines().find(|line| line.starts_with("pg_stat_archiver_failed_count{"));
    assert!(failed.is_some_and(|line| line.ends_with("} 0")), "{failed:?}");
}

fn leak(scene: &Scene, unit: &str) {
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

fn leak_in_a_session(scene: &Scene) {
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

fn load(scene: &Scene, site: &Site) {
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

/// What is not measured any more.
pub const UNMEASURED: [Fault; 1] = [Fault {
    breaks: "systemctl stop prometheus-node-exporter.socket prometheus-node-exporter.service",
    mends: "systemctl start prometheus-node-exporter.socket",
    seen_by: &["monitoring.node-exporter.metrics"],
}];

/// Whose metrics it passes on; what Prometheus makes of it at its next scrapes, and alerts, also of what was broken before.
const UNMEASURED_TOO: [&str; 4] = [
    "monitoring.fail2ban.metrics",
    "monitoring.prometheus.alerts",
    "monitoring.prometheus.fresh",
    "monitoring.prometheus.targets",
];

fn unmeasured(scene: &Scene) {
    println!("an exporter that is gone is seen");
    scene.lab.seen(&["production", "--stage", "monitoring"], &UNMEASURED, &UNMEASURED_TOO);
    scene.root(UNMEASURED[0].mends);
    // With a tenth of a processor it may take longer to start than a check waits.
    let healthy = || scene.lab.check(&["production", "--only", "monitoring.node-exporter"]).0 == Some(0);
    wait_for("the exporter", || healthy().then_some(()));
}

/// What a full disk and a unit at another limit, which it nearly uses up, have against them. The service that leaked is
/// remembered.
pub const FULL: [&str; 4] = [
    "resources.disk",
    "resources.limit.webhook.service.MemoryMax",
    "resources.oom-kills",
    "resources.usage.webhook.service",
];

fn full(scene: &Scene, site: &Site, secret: &str) {
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

/// What modules' own probes miss in the end, when nothing has to be mended any more.
pub const GONE: [Fault; 6] = [
    Fault {
        breaks: "systemctl stop prometheus.service",
        mends: "",
        seen_by: &[
            "monitoring.dashboards.data",
            "monitoring.dashboards.project-health",
            "monitoring.prometheus.configuration",
            "monitoring.prometheus.fresh",
            "monitoring.prometheus.interval",
            "monitoring.prometheus.ready",
            "monitoring.prometheus.retention",
            "monitoring.prometheus.rule.Unhealthy",
        ],
    },
    Fault {
        breaks: "systemctl stop prometheus-alertmanager.socket prometheus-alertmanager.service",
        mends: "",
        seen_by: &["monitoring.alertmanager.ready"],
    },
    Fault {
        breaks: "systemctl stop rave-dashboards.socket rave-dashboards.service",
        mends: "",
        seen_by: &["monitoring.dashboards.listed.project-health", "monitoring.dashboards.page"],
    },
    Fault {
        breaks: "systemctl stop rave-status.socket rave-status.service webhook.service",
        mends: "",
        seen_by: &[
            "security.apparmor.webhook",
            "services.status.live",
            "services.status.page",
            "services.status.ready",
            "services.webhook.database",
            "services.webhook.metrics",
            "services.webhook.unsigned",
        ],
    },
    Fault {
        breaks: "systemctl stop fail2ban.service",
        mends: "",
        seen_by: &["monitoring.fail2ban.metrics", "security.fail2ban.answers", "security.fail2ban.jail.sshd"],
    },
    Fault {
        breaks: "systemctl stop nginx.service",
        mends: "",
        seen_by: &["monitoring.nginx.metrics", "security.apparmor.nginx", "services.nginx.status"],
    },
];

/// What else sees that: whatever asks them, or asks Prometheus; their units and sockets. The journal and the count of processes
/// that were out of memory remember what was broken before.
const GONE_TOO: [&str; 19] = [
    "https",
    "monitoring.alertmanager",
    "monitoring.dashboards",
    "monitoring.prometheus",
    "resources.oom-kills",
    "security.fail2ban",
    "security.sockets",
    "services.journal",
    // nginx -t opens the pid file, whose directory goes with the service.
    "services.nginx.configuration",
    "services.unit.fail2ban.service",
    "services.unit.nginx.service",
    "services.unit.prometheus-alertmanager.service",
    "services.unit.prometheus-alertmanager.socket",
    "services.unit.prometheus.service",
    "services.unit.rave-dashboards.service",
    "services.unit.rave-dashboards.socket",
    "services.unit.rave-status.service",
    "services.unit.rave-status.socket",
    "services.unit.webhook.service",
];

#[test]
fn production_in_full_pipe_mode_has_its_limits_and_gives_way_to_the_next_version() {
    let mut scene = Scene::new();
    scene.edit("version: 1.0.0\n", "version: 1.0.0\nmode: full-pipe\n");
    guides::first_version(&mut scene);
    let site = scene.site();
    assert!(site.get("/").body.contains("<dd>full-pipe</dd>"));
    let limits = [
        ("prometheus", 512, "50000 100000"),
        ("rave-dashboards", 256, "25000 100000"),
        ("prometheus-node-exporter", 64, "10000 100000"),
        ("webhook", 256, "50000 100000"),
        ("postgresql", 512, "100000 100000"),
    ];
    for (unit, memory, cpu) in limits {
        // Nobody may have asked its socket yet.
        let started = format!("systemctl start {unit}.service");
        let told =
            scene.root(&format!("{started}; cd /sys/fs/cgroup/system.slice/{unit}.service; cat memory.max cpu.max"));
        assert_eq!(told, format!("{}\n{cpu}", memory * MIB), "{unit}");
    }
    killed(&scene, &site);
    power(&scene, &site);
    guides::next_version(&mut scene);
}

fn power(scene: &Scene, site: &Site) {
    println!("an event that was accepted survives the loss of what the machine had in memory, and is handled after it");
    let start = || {
        let asked = ["vm", "ssh", scene.machine, "--", "cat", "/proc/sys/kernel/random/boot_id"];
        Some(scene.lab.rave(&asked)).filter(|ended| ended.status == Some(0)).map(|ended| ended.stdout)
    };
    let before = start().unwrap();
    assert_eq!(github(site, &scene.secret("production", "webhook-secret"), "cut", "long", b"{\"cut\":1}").status, 202);
    let sent = sent(scene, "sent", "echo b > /proc/sysrq-trigger", |sender| {
        std::thread::sleep(Duration::from_secs(6));
        wait_for("the machine", || start().filter(|now| *now != before));
        // Whoever waits for an answer of the machine that was waits in vain.
        sender.kill().unwrap();
        sender.wait().unwrap();
    });
    wait_for("the end of the start", || (scene.lab.started(scene.machine) == "running").then_some(()));
    wait_for("the handler", || scene.delivery("cut").starts_with("done|").then_some(()));
    kept(scene, &sent);
}

/// None of the events that were accepted is lost.
fn kept(scene: &Scene, sent: &[String]) {
    println!("    {} events were accepted before", sent.len());
    let known = scene.sql("select delivery from webhook.event");
    let lost: Vec<&String> = sent.iter().filter(|name| !known.lines().any(|known| known == **name)).collect();
    assert!(sent.len() >= 10 && lost.is_empty(), "{} {lost:?}", sent.len());
}

/// Has the machine send events to itself, and breaks it 4 s after the first was accepted; returns the names of those that were,
/// as far as was heard of them. `over` begins after that first, and waits until nothing is accepted any more.
fn sent(scene: &Scene, name: &str, breaks: &str, over: impl FnOnce(&mut Child)) -> Vec<String> {
    let heard = scene.lab.path().join(name);
    let first = format!("until test -e /run/accepted-{name}; do sleep 0.1; done");
    scene.root(&format!("systemd-run --quiet --no-block /bin/sh -c '{first}; sleep 4; {breaks}'"));
    let mut ssh = scene.lab.command(&["vm", "ssh", scene.machine, "--", "sudo", "python3", "-", name]);
    let mut sender = ssh.stdin(Stdio::piped()).stdout(disk::create(&heard).unwrap()).spawn().unwrap();
    sender.stdin.take().unwrap().write_all(SENDER.as_bytes()).unwrap();
    wait_for("an event", || (!disk::read(&heard).unwrap().is_empty()).then_some(()));
    over(&mut sender);
    let heard = disk::read_to_string(heard).unwrap();
    heard.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
}

/// Sends events until one is not accepted.
const SENDER: &str = include_str!("sender.py");

fn killed(scene: &Scene, site: &Site) {
    println!("no event that was accepted is lost when dispatcher and database are killed");
    let breaks = "systemctl kill --signal=KILL webhook.service postgresql.service";
    let sent = sent(scene, "killed", breaks, |sender| assert!(sender.wait().unwrap().success()));
    wait_for("it to be ready", || (site.get("/ready").status == 200).then_some(()));
    kept(scene, &sent);
}
