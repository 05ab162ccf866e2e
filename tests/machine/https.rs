//! What the machine serves over HTTPS, broken in a running machine: each check of the stage sees what it is for.

use std::time::{Duration, SystemTime};

use rave::secrets::{Secret, generate};
use serde_json::Value;

use crate::lab::{Fault, Lab, checks, unwell, wait_for, with_verdict};
use crate::site::Site;

/// A server that is set up in other ways than the image says, with a certificate that is wrong in all ways.
pub const WRONG: [Fault; 2] = [
    Fault {
        breaks: "sed -e 's/ssl_protocols TLSv1.3;/ssl_protocols TLSv1.2;/' -e 's/Options DENY/Options SAMEORIGIN/' \
                 -e 's/add_header X-Frame/add_header Access-Control-Allow-Origin *; &/' \
                 -e 's/ =421;/ =410;/' -e 's/_timeout 10s/_timeout 90s/' \
                 -e 's/header_buffers 4 8k/header_buffers 4 128k/' -e 's/ =404;/ =410;/' -e '/limit_req zone/d' \
                 -e 's|http2 on;|http2 off; error_page 497 =302 https://localhost/;|' \
                 -e 's|ssl_certificate /.*|ssl_certificate /var/cache/nginx/wrong.pem;|' /etc/nginx/nginx.conf > /run/nginx.conf; \
                 mount --bind /run/nginx.conf /etc/nginx/nginx.conf; systemctl restart nginx.service; \
                 rave guest wait 127.0.0.1:3002",
        mends: "umount /etc/nginx/nginx.conf; systemctl restart nginx.service; rave guest wait 127.0.0.1:3002",
        seen_by: &[
            "https.burst.main",
            "https.certificate.chain.main",
            "https.certificate.current.main",
            "https.certificate.dates.main",
            "https.certificate.names.main",
            "https.headers.main",
            "https.http2.main",
            "https.large-header.main",
            "https.page.main/metrics",
            "https.plain-http.main",
            "https.slow.main",
            "https.slow.main/webhook",
            "https.tls.older-refused.main",
            "https.tls.version.main",
            "https.unknown-host.main",
        ],
    },
    Fault {
        breaks: "systemctl stop postgresql.service",
        mends: "systemctl start postgresql.service postgresql-declared.service",
        seen_by: &[
            "https.page.main/healthz",
            "https.page.main/ready",
            "https.webhook.repeated.main/webhook",
            "https.webhook.signed.main/webhook",
        ],
    },
];

/// A server that passes everything on, with nobody behind it, and takes in every event itself.
pub const LONELY: [Fault; 2] = [
    Fault {
        breaks: "sed -e '/if (.request_method/,/}/d' -e '/client_max_body_size/s/[0-9]*;/9999999;/' \
                 -e '/location .*webhook {/,/}/s/proxy_pass .*/return 202;/' /etc/nginx/nginx.conf > /run/nginx.conf; \
                 mount --bind /run/nginx.conf /etc/nginx/nginx.conf; \
                 systemctl restart nginx.service; rave guest wait 127.0.0.1:3002",
        mends: WRONG[0].mends,
        // 202 for a delivery that is repeated says that it counts twice.
        seen_by: &[
            "https.webhook.forged.main/webhook",
            "https.webhook.large.main/webhook",
            "https.webhook.method.main/webhook",
            "https.webhook.repeated.main/webhook",
            "https.webhook.stale.main/webhook",
            "https.webhook.unsigned.main/webhook",
        ],
    },
    Fault {
        breaks: "systemctl stop rave-dashboards.socket rave-status.socket webhook.service rave-dashboards.service \
                 rave-status.service",
        mends: "systemctl start rave-dashboards.socket rave-status.socket webhook.service rave-dashboards.service \
                rave-status.service",
        seen_by: &[
            "https.page.main/",
            "https.page.main/grafana/",
            "https.page.main/healthz",
            "https.page.main/live",
            "https.page.main/ready",
        ],
    },
];

/// A machine that lies: it shows the certificate of a stranger, and says that it was given that.
const LIES: Fault = Fault {
    breaks: "sed -e 's|ssl_certificate /.*|ssl_certificate /var/cache/nginx/wrong.pem;|' /etc/nginx/nginx.conf > /run/nginx.conf; \
             mount --bind /run/nginx.conf /etc/nginx/nginx.conf; \
             mount --bind /var/cache/nginx/wrong.pem /run/secrets/tls-certificate-main; \
             systemctl restart nginx.service; rave guest wait 127.0.0.1:3002",
    mends: "umount /run/secrets/tls-certificate-main /etc/nginx/nginx.conf; systemctl restart nginx.service; \
            rave guest wait 127.0.0.1:3002",
    seen_by: &["https.certificate.chain.main"],
};

/// Breaks the site of the production image, whose private key is `key`, and mends it again.
pub fn breaks(lab: &Lab, site: &Site, key: Secret) {
    let root = |script: &str| lab.root("production", script);
    println!("what a server does in another way than the image says is seen from outside, each by its own check");
    let past = SystemTime::now() - Duration::from_secs(395 * 24 * 60 * 60);
    let stranger = generate::authority("stranger", past).unwrap();
    let write = |hosts: &[&str], time| {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let wrong = generate::server_certificate(&hosts, &key, &stranger, time).unwrap();
        root(&format!("umask 022; cat > /var/cache/nginx/wrong.pem <<'END'\n{wrong}END\ntouch /run/nginx.conf"));
    };
    write(&["localhost"], past);
    for faults in [&WRONG, &LONELY] {
        lab.broken(&["production", "--stage", "https"], faults);
        root(&faults.iter().map(|fault| fault.mends).collect::<Vec<_>>().join("; "));
        wait_for("the site", || (site.flood("/ready", 1, 1) == [200]).then_some(()));
    }
    println!("a machine that vouches for a stranger itself is not believed");
    write(&["production", "localhost", "127.0.0.1"], SystemTime::now());
    lab.broken(&["production", "--only", "https.certificate"], &[LIES]);
    root(LIES.mends);
    wait_for("the site", || (site.flood("/ready", 1, 1) == [200]).then_some(()));
    let (status, report) = lab.check(&["production", "--only", "https.certificate"]);
    let told = checks(&report).into_iter().find(|check| check["id"] == LIES.seen_by[0]).unwrap();
    assert_eq!((status, &told["verdict"]), (Some(0), &Value::from("healthy")), "{:#?}", unwell(&report));
    assert_eq!(told["expected"], "a chain to the authority beside the project's certificate");
    let (status, report) = lab.check(&["production", "--only", "https.webhook"]);
    assert_eq!((status, with_verdict(&report, "unhealthy").len()), (Some(0), 0), "{:#?}", unwell(&report));
    // Another address of this host is kept out on purpose, and may be again for what was read late.
    let banned = root("nft list table inet f2b-table 2> /dev/null || true");
    assert!(!banned.contains("10.0.2.2"), "a check must not have those banned who share an address: {banned}");
}
