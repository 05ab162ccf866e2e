//! What watches the production machine: its look at itself, alerts and exporters.

use std::collections::BTreeSet;

use serde_json::json;

use crate::lab::{Fault, checks, unwell, wait_for, with_verdict};
use crate::receiver::Receiver;
use crate::scene::Scene;
use crate::site::Site;

/// The machine does not look at itself from then on.
pub const UNWATCHED: &str = "systemctl stop rave-health.timer; \
     while systemctl show --property=ActiveState rave-health.service | grep -q activating; do sleep 0.2; done";

pub fn watched(scene: &Scene, site: &Site) {
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

pub fn alerted(scene: &mut Scene) {
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

/// What is not measured any more, and a Prometheus that answers, but is set up in another way, knows nothing of before, and
/// has refused what it was to load last.
pub const UNMEASURED: [Fault; 2] = [
    Fault {
        breaks: "systemctl stop prometheus-node-exporter.socket prometheus-node-exporter.service",
        mends: "systemctl start prometheus-node-exporter.socket",
        seen_by: &["monitoring.node-exporter.metrics"],
    },
    Fault {
        breaks: "mkdir -p /run/systemd/system/prometheus.service.d; systemctl cat prometheus.service | \
                 sed -n -e 's/retention.time=[^ ]*/retention.time=9d/' -e 's/retention.size=[^ ]*/retention.size=99MB/' \
                 -e 's|/prometheus/data|&-other|' -e 's/^ExecStart=/[Service]\\nExecStart=\\n&/p' \
                 > /run/systemd/system/prometheus.service.d/99.conf; \
                 sed -E 's/_(interval|timeout): .*/_\\1: 5s/' /etc/prometheus/prometheus.yml > /run/prometheus.yml; \
                 sed 's/alert: Unhealthy$/alert: Unwell/' /etc/prometheus/rules.yml > /run/rules.yml; \
                 chmod 644 /run/prometheus.yml /run/rules.yml; \
                 mount --bind /run/prometheus.yml /etc/prometheus/prometheus.yml; \
                 mount --bind /run/rules.yml /etc/prometheus/rules.yml; \
                 systemctl daemon-reload; systemctl restart prometheus.service; \
                 rave guest wait http://127.0.0.1:9090/-/ready; \
                 echo nonsense > /run/rules.yml; systemctl reload prometheus.service",
        mends: "umount /etc/prometheus/prometheus.yml /etc/prometheus/rules.yml; \
                rm /run/systemd/system/prometheus.service.d/99.conf; systemctl daemon-reload; \
                systemctl restart prometheus.service; rave guest wait http://127.0.0.1:9090/-/ready; \
                rm -r /var/lib/prometheus/data-other",
        seen_by: &[
            "monitoring.dashboards.data.agent-performance",
            "monitoring.dashboards.data.system-health",
            "monitoring.prometheus.configuration",
            "monitoring.prometheus.interval",
            "monitoring.prometheus.retention",
            "monitoring.prometheus.retention-size",
            "monitoring.prometheus.rule.Unhealthy",
        ],
    },
];

/// What it says of itself then.
const OTHER: [(&str, &str); 4] = [
    ("monitoring.prometheus.configuration", "0"),
    ("monitoring.prometheus.interval", "5s"),
    ("monitoring.prometheus.retention", "9d"),
    ("monitoring.prometheus.retention-size", "99MiB"),
];

/// Whose metrics it passes on; what Prometheus makes of it at its next scrapes, and alerts, also of what was broken before.
const UNMEASURED_TOO: [&str; 5] = [
    "monitoring.dashboards.data.project-health",
    "monitoring.fail2ban.metrics",
    "monitoring.prometheus.alerts",
    "monitoring.prometheus.fresh",
    "monitoring.prometheus.targets",
];

pub fn unmeasured(scene: &Scene) {
    println!("an exporter that is gone is seen, and a Prometheus that is set up in another way");
    scene.root(&UNMEASURED.map(|fault| fault.breaks).join("; "));
    // Until it has scraped itself it knows nothing of what it refused.
    let refused = "/api/v1/query?query=min(prometheus_config_last_reload_successful)";
    wait_for("a scrape", || scene.get(9090, refused).contains(",\"0\"]").then_some(()));
    let (_, report) = scene.lab.sees(&["production", "--stage", "monitoring"], &UNMEASURED, &UNMEASURED_TOO);
    let observed: BTreeSet<(&str, &str)> = checks(&report)
        .into_iter()
        .map(|check| (check["id"].as_str().unwrap(), check["observed"].as_str().unwrap()))
        .filter(|(id, _)| OTHER.iter().any(|(other, _)| id == other))
        .collect();
    assert_eq!(observed, BTreeSet::from(OTHER));
    scene.root(&UNMEASURED.map(|fault| fault.mends).join("; "));
    let ids = UNMEASURED.iter().flat_map(|fault| fault.seen_by).flat_map(|id| ["--only", *id]);
    let arguments: Vec<&str> = ["production", "--at-once"].into_iter().chain(ids).collect();
    // With a tenth of a processor the exporter may take longer to start than a check waits.
    wait_for("all to be well", || (scene.lab.check(&arguments).0 == Some(0)).then_some(()));
}
