//! The module library in one machine: every service works, and is seen when it does not.

use std::collections::BTreeSet;

use rave::disk;

use crate::configurations;
use crate::lab::{Fault, Lab, assert_well, shared, unwell, wait_for, with_verdict};
use crate::package;

pub const WEB: [Fault; 9] = [
    Fault {
        breaks: "echo nonsense > /run/nginx.conf; mount --bind /run/nginx.conf /etc/nginx/nginx.conf",
        mends: "",
        seen_by: &["services.nginx.configuration"],
    },
    Fault {
        breaks: "systemctl stop caddy.service",
        mends: "",
        seen_by: &["security.apparmor.caddy", "services.caddy.status", "services.unit.caddy.service"],
    },
    Fault {
        breaks: "systemctl stop chrony.service",
        mends: "",
        seen_by: &["services.time.answers", "services.unit.chrony.service"],
    },
    Fault {
        breaks: "systemctl stop container-hello.service",
        mends: "",
        seen_by: &["services.podman.hello", "services.unit.container-hello.service"],
    },
    Fault {
        breaks: "echo OPER_STATE=degraded > /run/netif; mount --bind /run/netif /run/systemd/netif/state",
        mends: "",
        seen_by: &["services.network.routable"],
    },
    Fault {
        breaks: "systemctl stop systemd-resolved.service",
        mends: "",
        seen_by: &["services.network.resolver", "services.unit.systemd-resolved.service"],
    },
    Fault {
        breaks: "systemctl stop systemd-netlogd.service",
        mends: "",
        seen_by: &["services.log-forwarding.connection", "services.unit.systemd-netlogd.service"],
    },
    // The job cannot write any more; it runs every five seconds.
    Fault {
        breaks: "chmod 700 /var/lib/web; while ! systemctl is-failed -q job-mark.service; do sleep 0.2; done; \
                 systemctl stop job-mark.timer",
        mends: "",
        seen_by: &[
            "services.failures",
            "services.journal",
            "services.system",
            "services.timers.mark",
            "services.unit.job-mark.timer",
        ],
    },
    Fault {
        breaks: "systemctl stop mosquitto.service",
        mends: "",
        seen_by: &["security.sockets", "services.unit.mosquitto.service"],
    },
];

/// A database with less memory from its next restart on.
const SMALLER: Fault = Fault {
    breaks: "/usr/lib/postgresql/17/bin/psql -h /run/postgresql -U postgres -XAtqc \
             \"alter system set shared_buffers = '16MB'\"",
    mends: "",
    seen_by: &["resources.postgresql.buffers"],
};

pub const DATA: [Fault; 8] = [
    // Since the restart that keeps its data.
    SMALLER,
    Fault {
        breaks: "psql='/usr/lib/postgresql/17/bin/psql -h /run/postgresql -U postgres -XAtqc'; \
                 $psql 'alter database app owner to postgres'; \
                 $psql 'alter database postgres set default_transaction_read_only = on'",
        mends: "",
        seen_by: &["services.postgresql.database.app", "services.postgresql.write"],
    },
    // Once a snapshot has failed, Redis takes no writes and answers no PING.
    Fault {
        breaks: "chmod 500 /var/lib/redis; redis='redis-cli -s /run/redis/redis.sock'; \
                 until $redis bgsave > /dev/null; sleep 0.2; $redis info persistence | grep -q bgsave_status:err; \
                 do :; done",
        mends: "",
        seen_by: &["services.redis.port", "services.redis.snapshot", "services.redis.socket"],
    },
    Fault {
        breaks: "redis-cli -s /run/redis/redis.sock config set maxmemory 1mb > /dev/null",
        mends: "",
        seen_by: &["resources.redis.memory"],
    },
    Fault {
        breaks: "echo nonsense > /run/rules.yml; chmod 644 /run/rules.yml; \
                 mount --bind /run/rules.yml /etc/prometheus/rules.yml",
        mends: "",
        seen_by: &["monitoring.prometheus.promtool"],
    },
    Fault {
        breaks: "sed 's/receiver: nobody/receiver: other/; s/name: nobody/name: other/' /etc/prometheus/alertmanager.yml \
                 > /run/alertmanager.yml; chmod 644 /run/alertmanager.yml; \
                 mount --bind /run/alertmanager.yml /etc/prometheus/alertmanager.yml; \
                 systemctl reload prometheus-alertmanager.service; sleep 3",
        mends: "",
        seen_by: &["monitoring.alertmanager.receiver"],
    },
    // Prometheus notices at its next scrape.
    Fault {
        breaks: "systemctl stop prometheus-node-exporter.socket prometheus-node-exporter.service; sleep 12",
        mends: "",
        seen_by: &[
            "monitoring.node-exporter.metrics",
            "monitoring.prometheus.fresh",
            "monitoring.prometheus.targets",
            "services.unit.prometheus-node-exporter.service",
            "services.unit.prometheus-node-exporter.socket",
        ],
    },
    Fault {
        // A look that is under way would be fresh again.
        breaks: "systemctl stop rave-health.timer; while systemctl show -P ActiveState rave-health.service | \
                 grep -q activating; do sleep 0.2; done; touch -d '1 hour ago' /run/rave-health",
        mends: "",
        seen_by: &["services.health.fresh", "services.unit.rave-health.timer"],
    },
];

/// What a service might do, and what modules' own probes see, each asked for itself.
pub const PROBED: [Fault; 3] = [
    Fault {
        breaks: "mkdir -p /run/systemd/system/prometheus-alertmanager.service.d; \
                 printf '[Service]\nUser=root\nCapabilityBoundingSet=~\nSystemCallFilter=\n' \
                 > /run/systemd/system/prometheus-alertmanager.service.d/99.conf; systemctl daemon-reload",
        mends: "",
        seen_by: &["security.sandbox.prometheus-alertmanager.service"],
    },
    Fault {
        breaks: "echo nonsense { > /run/Caddyfile; chmod 644 /run/Caddyfile; mount --bind /run/Caddyfile /etc/caddy/Caddyfile",
        mends: "",
        seen_by: &["services.caddy.configuration"],
    },
    Fault {
        breaks: "systemctl stop postgresql.service",
        mends: "",
        seen_by: &[
            "monitoring.postgresql.metrics",
            "security.sockets",
            "services.postgresql.query",
            "services.postgresql.socket",
            "services.unit.postgresql-declared.service",
            "services.unit.postgresql.service",
        ],
    },
];

/// What sees the same minutes after it was broken.
const RELATED: [&str; 1] = ["monitoring.prometheus.alerts"];

/// What has an alert fire that is no warning: the certificate of a site without pages ends in two days.
pub const FIRING: Fault = Fault {
    breaks: "openssl req -x509 -key /var/lib/web/tls.key -days 2 -subj /CN=localhost -out /var/lib/web/tls.crt; \
             systemctl start rave-health.service",
    mends: "openssl req -x509 -key /var/lib/web/tls.key -days 60 -subj /CN=localhost -out /var/lib/web/tls.crt; \
            systemctl start rave-health.service",
    seen_by: &["monitoring.prometheus.alerts", "services.certificate./var/lib/web/tls.crt"],
};

/// What Prometheus tells of itself in the job that it has lost, and alerts that miss that.
const OF_ITSELF: [&str; 3] =
    ["monitoring.prometheus.alerts", "monitoring.prometheus.configuration", "monitoring.prometheus.interval"];

/// A job that Prometheus has lost, its own.
pub const LOST: Fault = Fault {
    breaks: "sed '/job_name: prometheus$/,/targets:/d' /etc/prometheus/prometheus.yml > /run/prometheus.yml; \
             chmod 644 /run/prometheus.yml; mount --bind /run/prometheus.yml /etc/prometheus/prometheus.yml; \
             systemctl reload prometheus.service",
    mends: "umount /etc/prometheus/prometheus.yml; systemctl reload prometheus.service",
    seen_by: &["monitoring.prometheus.targets"],
};

const IMAGE: &str = "library";
/// A container's file as it is expected of the library, after a head between two lines of dashes.
const CONTAINER: &str =
    include_str!("../../src/deploy/snapshots/rave__deploy__units__tests__units_of_a_container.snap");

#[test]
fn the_library_works_and_is_seen_when_it_does_not() {
    let lab = Lab::new();
    lab.good(&["lock", IMAGE]);
    lab.good(&["build", IMAGE]);
    configurations::refused(&lab, IMAGE);
    println!("everything comes up healthy");
    let ended = lab.rave(&["up", IMAGE, "--keep", "--json", "--timeout", "600"]);
    assert_well(&ended.report(), &["https"]);
    assert_eq!(ended.status, Some(0));
    // The alert that only warns comes meanwhile.
    lab.root(IMAGE, &FIRING.breaks.replace("-days 2 ", "-days 20 "));

    serves(&lab);
    keeps(&lab);
    generates(&lab);

    println!("a unit that fails is told by the health timer, in the journal and as a metric");
    lab.root(
        IMAGE,
        "systemd-run -q --unit=broken /bin/false; while ! systemctl is-failed -q broken; do sleep 0.1; done",
    );
    let look = "systemctl start rave-health.service; cat /var/lib/node-exporter/health.prom; \
                journalctl -b -u rave-health -o cat";
    let told = lab.root(IMAGE, look);
    let metric = "rave_health_unit_failed{unit=\"broken.service\"} 1";
    assert!(told.contains(metric) && told.contains("services.failures is unhealthy"), "{told}");
    lab.root(IMAGE, "systemctl reset-failed broken.service; systemctl start rave-health.service");

    println!("a job that is lost is seen");
    let [targets] = LOST.seen_by else { panic!("one check") };
    let status = || lab.check(&[IMAGE, "--at-once", "--only", targets]).0;
    lab.root(IMAGE, LOST.breaks);
    wait_for("the loss", || (status() == Some(1)).then_some(()));
    lab.sees(&[IMAGE, "--stage", "monitoring"], &[LOST], &OF_ITSELF);
    lab.root(IMAGE, LOST.mends);
    wait_for("the job", || (status() == Some(0)).then_some(()));

    println!("an alert that fires is seen, but not one that only warns");
    let [id, file] = FIRING.seen_by else { panic!("two checks") };
    let firing = "ALERTS%7Balertname=%22CertificateEnds%22,alertstate=%22firing%22%7D";
    let alerts = format!("busybox wget -q -O - 'http://127.0.0.1:9090/api/v1/query?query={firing}'");
    wait_for("the warning", || lab.root(IMAGE, &alerts).contains("\"CertificateEnds\"").then_some(()));
    let (status, report) = lab.check(&[IMAGE, "--only", id, "--only", file]);
    assert_eq!(
        (status, with_verdict(&report, "warning")),
        (Some(0), BTreeSet::from([*file])),
        "{:#?}",
        unwell(&report)
    );
    lab.root(IMAGE, FIRING.breaks);
    wait_for("the alert", || (lab.check(&[IMAGE, "--only", id]).0 == Some(1)).then_some(()));
    lab.sees(&[IMAGE, "--only", "monitoring", "--only", "services.certificate"], &[FIRING], &[]);
    lab.root(IMAGE, FIRING.mends);

    let faults = [&WEB[..], &DATA[..]].concat();
    println!("each of {} faults is seen by its checks and by no others", faults.len());
    lab.broken(&[IMAGE], &faults);
    // What is broken already stays so.
    let before = faults.iter().flat_map(|fault| fault.seen_by);
    lab.seen(&[IMAGE], &PROBED, &before.chain(&RELATED).copied().collect::<Vec<_>>());
}

fn serves(lab: &Lab) {
    println!("the clients of each service get what they ask for");
    let fetch = "busybox wget -q -O - --no-check-certificate";
    assert_eq!(lab.root(IMAGE, &format!("{fetch} http://127.0.0.1:8080/")), "served by the library");
    assert_eq!(lab.root(IMAGE, &format!("{fetch} http://127.0.0.1:8085/index.html")), "contained");
    let tls = "openssl s_client -quiet -connect 127.0.0.1:8443";
    let request = "printf 'GET / HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n'";
    let answer = lab.root(IMAGE, &format!("{request} | {tls} -tls1_3 2> /dev/null"));
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("served by the library"), "{answer}");
    assert!(lab.root(IMAGE, &format!("{tls} -tls1_2 < /dev/null 2>&1 || true")).contains("alert protocol version"));
    assert!(lab.root(IMAGE, "cat /var/lib/web/mark").contains("100% of "));
    let limited = "i=0; while [ $i -lt 70 ]; do busybox wget -S -O /dev/null http://127.0.0.1:8080/ 2>&1 || true; \
                   i=$((i + 1)); done | grep -c '429 Too Many' || true";
    assert_ne!(lab.root(IMAGE, limited), "0");
    wait_for("the forwarded log", || {
        lab.root(IMAGE, "logger forwarded-$((40 + 2)); cat /run/log-server").contains("forwarded-42").then_some(())
    });

    println!("a package without a module runs with its own unit, user and the image's configuration");
    assert_eq!(lab.root(IMAGE, "ps -o user:20=,uid= -C mosquitto | tr -s ' '"), "mosquitto 961");
    assert!(lab.root(IMAGE, "cat /proc/net/tcp").contains(" 00000000:075B 00000000:0000 0A "));
    assert!(lab.root(IMAGE, "nft list chain inet rave input").contains("tcp dport 1883 accept"));
}

/// What `rave deploy` writes for a container is what podman's own generator takes.
fn generates(lab: &Lab) {
    println!("podman's generator makes a service of what is deployed as a container");
    let generator = lab.path().join("quadlet");
    let files = package::files(&shared("project").join(format!("images/{IMAGE}.lock")), "podman", "usr/libexec/podman");
    disk::write(&generator, &files["quadlet"], 0o755).unwrap();
    let units = lab.path().join("quadlets");
    disk::create_dir_all(&units).unwrap();
    let (_, text) = CONTAINER.split_once("---\n").and_then(|(_, rest)| rest.split_once("---\n")).unwrap();
    disk::write(units.join("rave-edge-1.container"), text.as_bytes(), 0o644).unwrap();
    let tool = lab.tool(generator.to_str().unwrap()).arg("-dryrun").env("QUADLET_UNIT_DIRS", &units);
    let service = String::from_utf8(tool.output().unwrap()).unwrap();
    for word in
        ["--sdnotify=container", "--read-only", "--cap-drop all", "--publish 0.0.0.0:443:3002", "-v rave-edge-1:/var"]
    {
        assert!(service.lines().any(|line| line.starts_with("ExecStart=") && line.contains(word)), "{word}: {service}");
    }
    assert!(service.contains("LoadCredentialEncrypted=rave.identity:"), "{service}");
    let wrong = text.replace("ReadOnly=", "ReadOnlyRoot=");
    disk::write(units.join("rave-edge-1.container"), wrong.as_bytes(), 0o644).unwrap();
    assert!(tool.output().is_err(), "a key that it does not know is refused");
}

fn keeps(lab: &Lab) {
    println!("users reach their databases as declared, and not otherwise");
    let psql = "/usr/lib/postgresql/17/bin/psql -X -At -v ON_ERROR_STOP=1";
    let as_postgres = |sql: &str| lab.root(IMAGE, &format!("{psql} -h /run/postgresql -U postgres -c \"{sql}\""));
    assert_eq!(
        as_postgres("select string_agg(rolname, ' ' order by rolname) from pg_roles where rolcanlogin"),
        "app metrics postgres reader"
    );
    assert_eq!(
        as_postgres("select rolpassword from pg_authid where rolname = 'reader'").split('$').next(),
        Some("SCRAM-SHA-256")
    );
    let by_password = |password: &str| {
        let connection = "host=127.0.0.1 user=reader dbname=app";
        lab.root(IMAGE, &format!("PGPASSWORD={password} {psql} -c 'select 42' '{connection}' 2>&1 || true"))
    };
    assert_eq!(by_password(IMAGE), "42");
    assert!(by_password("wrong").contains("password authentication failed"));

    println!("what is archived already, and not known to be, does not stop the archive");
    let counted = || as_postgres("select archived_count from pg_stat_archiver").parse::<u64>().unwrap();
    as_postgres("create table archived as select 1 as x; select pg_switch_wal()");
    wait_for("the first piece", || (counted() > 0).then_some(()));
    let (known, status) = (counted(), "$(echo /var/lib/postgresql/17/*/pg_wal/archive_status)");
    lab.root(IMAGE, &format!("cd {status}; for f in *.done; do mv \"$f\" \"${{f%.done}}.ready\"; done"));
    as_postgres("drop table archived; select pg_switch_wal()");
    wait_for("both", || (counted() >= known + 2).then_some(()));
    assert_eq!(as_postgres("select failed_count from pg_stat_archiver"), "0");

    println!("dashboards are what Grafana reads, with the panels of each module");
    let board: serde_json::Value =
        serde_json::from_str(&lab.root(IMAGE, "cat /usr/share/rave/dashboards/system-health.json")).unwrap();
    let panels = board["panels"].as_array().unwrap();
    assert!(panels.iter().any(|panel| panel["targets"][0]["legendFormat"] == "{{mountpoint}}"), "{board}");
    assert!(panels.iter().all(|panel| panel["targets"][0]["expr"].is_string()), "{board}");

    println!("a restart keeps the data");
    as_postgres("create table kept as select 7 as x");
    lab.root(IMAGE, "redis-cli -s /run/redis/redis.sock set kept 7");
    lab.root(IMAGE, &format!("{}; systemctl restart postgresql.service redis-server.service", SMALLER.breaks));
    assert_eq!(as_postgres("select x from kept"), "7");
    assert_eq!(lab.root(IMAGE, "redis-cli -s /run/redis/redis.sock get kept"), "7");
}
