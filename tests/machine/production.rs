//! The production image in SAFE: what its users see from outside, and what breaks in it.

use std::time::{Duration, SystemTime};

use rave::secrets::generate;
use reqwest::Method;
use serde_json::Value;

use crate::lab::{Fault, wait_for};
use crate::scene::Scene;
use crate::site::Site;
use crate::{bans, database, guides, https, metrics, scan, strain, watch, webhooks};

#[test]
fn production_in_safe_mode_works_and_is_seen_when_it_does_not() {
    let mut scene = Scene::alone();
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
    webhooks::work(&scene, &site, &secret);
    https::breaks(&scene.lab, &site, scene.secret("production", "tls-key-main").into());
    scan::finds(&scene.lab, "production");
    watch::unmeasured(&scene);
    database::passwords(&scene);
    database::stopped(&scene, &site);
    bans::keep_out(&scene);
    // By now the machine is not young any more, and what is wrong is not waited for.
    watch::watched(&scene, &site);
    watch::alerted(&mut scene);
    guides::work(&scene);
    certificate(&scene, &site);
    database::backup(&scene);
    guides::restore(&scene, &site, &secret);
    metrics::exist(&scene, &site);
    strain::leak(&scene, "nginx.service");
    strain::leak(&scene, "prometheus.service");
    strain::leak_in_a_session(&scene);
    strain::load(&scene, &site);
    strain::full(&scene, &site, &secret);
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

/// A certificate that has ended, whoever is shown it.
pub const ENDED: Fault = Fault {
    breaks: "mount --bind /run/ending.pem /run/secrets/tls-certificate-main",
    mends: "umount /run/secrets/tls-certificate-main",
    seen_by: &["services.certificate./run/secrets/tls-certificate-main"],
};

fn certificate(scene: &Scene, site: &Site) {
    println!(
        "a certificate that has ended is told by a check, by the health timer and by its metrics, and a new one mends it"
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
         told() {{ grep -c 'trouble{{check=\"services\\.certificate\\.' /var/lib/node-exporter/health.prom || true; }}; \
         {breaks}; systemctl start rave-health.service; {mends}; test \"$(told)\" = 1; \
         systemctl start rave-health.service; test \"$(told)\" = 0",
        breaks = ENDED.breaks,
        mends = ENDED.mends,
    ));
    scene.lab.broken(&["production", "--only", "services.certificate"], &[ENDED]);
    scene.root(ENDED.mends);
    let pushed = set(&good);
    assert_eq!(pushed.status, Some(0), "{pushed:?}");
    wait_for("nginx with the new certificate", || (site.flood("/live", 1, 1) == [200]).then_some(()));
}

/// What modules' own probes miss in the end, when nothing has to be mended any more.
pub const GONE: [Fault; 6] = [
    Fault {
        breaks: "systemctl stop prometheus.service",
        mends: "",
        seen_by: &[
            "monitoring.dashboards.data.project-health",
            "monitoring.dashboards.project-health",
            "monitoring.prometheus.ready",
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
        seen_by: &["monitoring.fail2ban.metrics", "security.fail2ban.answers"],
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
