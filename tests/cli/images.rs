//! Images that are wrong: each costs milliseconds, says where and what to do, and touches nothing.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::world::{World, text};

/// The files in `wrong/`, each an image with faults; what rave says of it is in `snapshots/`.
#[test]
fn every_fault_is_shown_with_its_place_and_a_remedy() {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/wrong"));
    let mut names: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert!(names.len() > 10);
    for path in names {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let world = World::new();
        world.write(&format!("project/images/{name}.yaml"), std::fs::read(&path).unwrap());
        let before = world.files();
        let built = world.run(&["build", name]);
        let locked = world.run(&["lock", name]);
        built.refused(1, &[&format!("images/{name}.yaml:"), "error: "]);
        locked.refused(1, &[]);
        assert_eq!(built.stderr, locked.stderr, "build and lock judge {name} differently");
        for others in [&["run", name][..], &["up", name], &["check", name], &["build", name, "--plan", "--json"]] {
            let ran = world.run(others);
            ran.refused(1, &[]);
            assert_eq!(ran.stderr, built.stderr, "{others:?}");
        }
        assert_eq!(world.files(), before, "{name} made rave write something");
        let settings = insta::Settings::clone_current();
        settings.bind(|| insta::with_settings!({ prepend_module_to_snapshot => false, snapshot_path => "snapshots", omit_expression => true }, {
            insta::assert_snapshot!(name, built.stderr);
        }));
    }
}

#[test]
fn values_of_the_command_line_are_judged_like_those_of_files() {
    let world = World::new();
    let before = world.files();
    let set = |value: &str, parts: &[&str]| world.run(&["build", "minimal", "--set", value]).refused(1, parts);
    set("systen.hostname=x", &["<command line>:1:1", "^^^^^^^^^^^^^^^", "did you mean `system.hostname`?"]);
    set("system.recommends=maybe", &["<command line>:1:19", "^^^^^", "must be true or false, not `maybe`"]);
    set("system.hostname=a\u{1b}[2Jb", &["<command line>:1:17"]);
    assert_eq!(world.files(), before);
}

#[test]
fn an_unknown_image_is_answered_with_those_there_are() {
    let world = World::new();
    world.write("project/images/web.yaml", "name: web\nversion: 1.0.0\nextends: minimal\n");
    let before = world.files();
    world.run(&["build", "wbe"]).refused(1, &["there is no image `wbe` in ", "project/images", "did you mean `web`?"]);
    world
        .run(&["lock", "postgres"])
        .refused(1, &["there is no image `postgres`", "there are: minimal, production, tools, web"]);
    world.run(&["check", "postgres"]).refused(1, &["there is no image `postgres`"]);
    world.run(&["build", "images/wbe.yaml"]).refused(1, &["there is no image images/wbe.yaml", "hint: "]);
    world.run(&["--project", "nowhere", "build", "web"]).refused(1, &["there is no project directory ", "nowhere"]);
    world.run(&["run", "old.raw"]).refused(1, &["there is no manifest.json beside old.raw", "hint: "]);
    assert_eq!(world.files(), before);
}

#[test]
fn an_image_outside_the_project_has_its_locks_beside_it() {
    let world = World::new();
    let path = world.write("elsewhere/edge.yaml", "name: edge\nversion: 1.0.0\nextends: minimal\n");
    let remedy = format!("run `rave lock {}`", text(&path));
    world.run(&["build", text(&path)]).refused(1, &["elsewhere/edge.lock: there is no lock", &remedy]);
    let before = world.files();
    let ran = world.run(&["lock", text(&path), "--check"]);
    ran.refused(1, &["elsewhere/edge.lock: there is no lock", "elsewhere/tools.lock: there is no lock"]);
    assert_eq!(ran.stderr.matches(&remedy).count(), 2, "{}", ran.stderr);
    assert_eq!(world.files(), before);
}

#[test]
fn files_that_are_no_text_or_far_too_large_are_refused() {
    let world = World::new();
    world.write("project/images/web.yaml", b"name: \xff\xfe\n");
    world.run(&["build", "web"]).refused(1, &["images/web.yaml is not UTF-8 text"]);
    world.write("project/images/web.yaml", vec![b'#'; (4 << 20) + 1]);
    world.run(&["build", "web"]).refused(1, &["web.yaml is too large"]);
}

/// Nobody mends thousands of faults at once; those that are shown are shown at once.
#[test]
fn of_thousands_of_errors_only_the_first_are_shown() {
    let world = World::new();
    let options: String = (0..5_000).map(|number| format!("  nosuch{number}: 1\n")).collect();
    world.write("project/images/web.yaml", format!("name: web\nversion: 1.0.0\nconfig:\n{options}"));
    let ran = world.run(&["eval", "web"]);
    ran.refused(1, &["there is no option `nosuch0`", "and 4950 more\n"]);
    assert_eq!(ran.stderr.matches("there is no option").count(), 50);
}

/// The module that the design of the language shows.
const PROMETHEUS: &str = r#"description: Prometheus, metrics collection and alerting.
options:
  enable:    { type: bool, default: false, description: Run Prometheus. }
  port:      { type: port, default: 9090, description: Port on the loopback interface. }
  retention: { type: duration, default: 15d, example: 7d, description: How long samples are kept. }
  memory:    { type: size, default: 512M, description: Memory limit of the service. }
when: "{{ enable }}"
packages: [prometheus]
files:
  /etc/prometheus/prometheus.yml: { template: prometheus.yml }   # beside the module
units:
  prometheus.service:
    sandbox: strict                       # a named profile, every directive overridable
    service: { MemoryMax: "{{ memory }}" }
state: [{ path: /var/lib/prometheus, owner: prometheus, backup: false }]
set:                                      # values for other modules' options
  services.alertmanager.enable: true
assertions:
  - { that: "{{ retention >= '1h' }}", message: retention below an hour loses every restart }
probes:
  - { stage: monitoring, id: prometheus.ready, http: "http://127.0.0.1:{{ port }}/-/ready", status: 200 }
  - { stage: monitoring, id: prometheus.retention, http_json: "http://127.0.0.1:{{ port }}/api/v1/status/flags",
      at: data."storage.tsdb.retention.time", equals: "{{ retention }}" }
"#;

#[test]
fn a_module_of_the_project_replaces_one_of_raves_without_breaking_the_others() {
    let world = World::new();
    world.write("project/modules/services/prometheus.yaml", PROMETHEUS);
    world.write("project/modules/services/prometheus.yml", "global: { scrape_interval: 15s }\n");
    let others = "  services.alertmanager.enable: true\n  services.node-exporter.enable: true\n";
    world.write(
        "project/images/web.yaml",
        format!(
            "name: web\nversion: 1.0.0\nextends: minimal\nconfig:\n  services.prometheus: {{ enable: true, retention: !force 7d }}\n{others}"
        ),
    );
    let evaluated = world.run(&["eval", "web", "--json"]);
    assert_eq!(evaluated.status, 0, "{}", evaluated.stderr);
    assert!(evaluated.stdout.contains("\"services.prometheus.memory\""), "{}", evaluated.stdout);
    for module in ["base/ssh", "base/journald", "base/systemd", "services/nginx", "services/redis", "services/caddy"] {
        let world = World::new();
        world.write(&format!("project/modules/{module}.yaml"), "description: Ours.\n");
        world.write(
            "project/images/web.yaml",
            format!("name: web\nversion: 1.0.0\nextends: minimal\nconfig:\n{others}"),
        );
        let evaluated = world.run(&["eval", "web"]);
        assert_eq!(evaluated.status, 0, "{module}: {}", evaluated.stderr);
    }
}

/// What the modes of the production image differ in: the value of each in safe and in full-pipe mode.
fn table() -> Value {
    json!({
        "machine.memory": ["2G", "4G"],
        "machine.vcpus": [2, 4],
        "services.prometheus.memory": ["256M", "512M"],
        "services.prometheus.cpu": ["25%", "50%"],
        "services.prometheus.retention": ["3d", "7d"],
        "services.prometheus.retention-size": ["512M", "2G"],
        "services.prometheus.interval": ["30s", "15s"],
        "services.prometheus.concurrency": [2, 20],
        "services.prometheus.samples": [25_000_000, 50_000_000],
        "services.dashboards.memory": ["128M", "256M"],
        "services.dashboards.cpu": ["15%", "25%"],
        "services.grafana.memory": ["128M", "256M"],
        "services.grafana.cpu": ["15%", "25%"],
        "services.node-exporter.memory": ["64M", "64M"],
        "services.node-exporter.cpu": ["10%", "10%"],
        "services.postgresql.memory": ["256M", "512M"],
        "services.webhook.memory": ["64M", "256M"],
        "services.webhook.cpu": ["25%", "50%"],
        "base.journald.retention": ["7d", "30d"],
        "build.jobs": [1, null],
        "build.memory": ["3G", null],
    })
}

/// What the options of the production image come to in both modes.
fn modes(world: &World) -> [Value; 2] {
    let config = |mode| world.run(&["eval", "production", "--mode", mode, "--json"]).json()["config"].take();
    ["safe", "full-pipe"].map(config)
}

/// The table of modes, held against what is built.
#[test]
fn the_modes_of_production_are_those_of_the_table() {
    let world = World::new();
    let [safe, full] = modes(&world);
    for (option, values) in table().as_object().unwrap() {
        assert_eq!(json!([safe[option], full[option]]), *values, "{option}");
    }
    for (unit, adjust) in [("prometheus", "100"), ("rave-dashboards", "50")] {
        let path = format!("/etc/systemd/system/{unit}.service");
        let text = world.run(&["eval", "production", "--file", &path]).clean().to_owned();
        assert!(text.lines().any(|line| line == format!("OOMScoreAdjust={adjust}")), "{text}");
    }
}

/// Of a map each entry that differs is told for itself.
#[test]
fn a_diff_of_the_modes_tells_just_the_options_in_which_they_differ() {
    let world = World::new();
    let [safe, full] = modes(&world);
    let told = world.run(&["diff", "production@safe", "production@full-pipe", "--json"]).json();
    let options = told["differences"].as_array().unwrap().iter().filter(|one| one["section"] == "options");
    let differences: BTreeMap<&str, [&Value; 2]> =
        options.map(|one| (one["name"].as_str().unwrap(), [&one["old"], &one["new"]])).collect();
    for (option, values) in table().as_object().unwrap() {
        let values = [&values[0], &values[1]];
        let differ = values[0] != values[1];
        assert_eq!(differences.get(option.as_str()).copied(), differ.then_some(values), "{option}");
    }
    let (safe, full) = (safe.as_object().unwrap(), full.as_object().unwrap());
    assert!(safe.len() > 100 && safe.keys().eq(full.keys()));
    for (option, value) in safe {
        let below = format!("{option}.");
        let is_told = differences.keys().any(|name| *name == option.as_str() || name.starts_with(&below));
        assert_eq!(is_told, full[option] != *value, "{option}");
    }
}

/// Of a receiver that has an address, and only while that is wanted.
#[test]
fn test_alerts_have_a_way_of_their_own_to_the_receiver() {
    let world = World::new();
    let told = "receiver: me, receivers.me.webhooks: [\"http://10.0.0.9/a\"]";
    for (name, config, has) in [
        ("nobody", "{}".to_owned(), false),
        ("silent", "{ receiver: me, receivers.me.webhooks: [] }".to_owned(), false),
        ("told", format!("{{ {told} }}"), true),
        ("spared", format!("{{ {told}, test: false }}"), false),
    ] {
        world.write(
            &format!("project/images/{name}.yaml"),
            format!("name: {name}\nversion: 1.0.0\nextends: production\nconfig:\n  services.alertmanager: {config}\n"),
        );
        let file = world.run(&["eval", name, "--file", "/etc/prometheus/alertmanager.yml"]);
        let text = file.clean();
        let route = "  routes:\n    # Each test alert is told at once.\n    - receiver: me.test\n      \
                     matchers: ['alertname=\"RaveTest\"']\n      group_by: [nonce]\n      group_wait: 0s\n      \
                     group_interval: 10s\nreceivers:\n";
        let told = "\n  - name: me.test\n    webhook_configs:\n      - url: \"http://10.0.0.9/a\"\n        send_resolved: false\n";
        assert_eq!(text.contains(told), has, "{name}: {text}");
        assert!(text.contains(route) == has && text.contains("RaveTest") == has, "{name}: {text}");
    }
}

#[test]
fn postgresql_compiles_queries_where_that_is_asked_for() {
    let world = World::new();
    world.write(
        "project/images/fast.yaml",
        "name: fast\nversion: 1.0.0\nextends: production\nconfig: { services.postgresql.jit: true }\n",
    );
    for (image, jit, holds) in [("production", "jit = off", true), ("fast", "jit = on", false)] {
        let file = |path: &str| world.run(&["eval", image, "--file", path]).clean().to_owned();
        assert!(file("/etc/postgresql/postgresql.conf").lines().any(|line| line == jit));
        let unit = file("/etc/systemd/system/postgresql.service");
        assert!(unit.lines().any(|line| line == format!("MemoryDenyWriteExecute={holds}")), "{unit}");
    }
}

#[test]
fn the_firewall_of_production_limits_ssh_as_the_image_says() {
    let world = World::new();
    let image = include_str!("../../images/production.yaml");
    let rate = image.lines().find_map(|line| line.strip_prefix("  base.firewall.ssh.rate: ")).unwrap();
    let rules = world.run(&["eval", "production", "--file", "/etc/nftables.conf"]).clean().to_owned();
    let place = |rule: &str| {
        let at = rules.lines().position(|line| line.trim() == rule);
        at.unwrap_or_else(|| panic!("{rule:?} is not in\n{rules}"))
    };
    let accept = place("tcp dport 22 counter accept comment \"ssh\"");
    for (set, protocol) in [("ssh4", "ip"), ("ssh6", "ip6")] {
        let limit = format!("{protocol} saddr limit rate over {rate}/minute burst 20 packets");
        assert!(
            place(&format!("tcp dport 22 update @{set} {{ {limit} }} counter drop comment \"ssh-over-rate\"")) < accept,
            "{rules}"
        );
    }
}

/// What sshd has to have; it takes the first of two values of a directive.
#[test]
fn the_ssh_server_of_production_is_hardened() {
    let world = World::new();
    let config = world.run(&["eval", "production", "--file", "/etc/ssh/sshd_config"]).clean().to_owned();
    for wanted in [
        "HostKey /var/lib/ssh/ssh_host_ed25519_key",
        "HostKeyAlgorithms ssh-ed25519",
        "PubkeyAcceptedAlgorithms ssh-ed25519,sk-ssh-ed25519@openssh.com",
        "RekeyLimit 512M 1h",
        "AllowUsers agent",
        "AuthenticationMethods publickey",
        "PermitRootLogin no",
        "PasswordAuthentication no",
        "MaxAuthTries 3",
        "MaxSessions 8",
        "MaxStartups 10:30:60",
        "LoginGraceTime 30",
        "PerSourcePenalties authfail:1s noauth:1s grace-exceeded:20s crash:90s max:600s min:15s",
        "ClientAliveInterval 300",
        "ClientAliveCountMax 2",
        "AllowAgentForwarding no",
        "AllowTcpForwarding no",
        "X11Forwarding no",
        "PermitTunnel no",
        "PermitUserEnvironment no",
        "LogLevel VERBOSE",
        "Banner /etc/issue.net",
    ] {
        let (directive, _) = wanted.split_once(' ').unwrap();
        let set: Vec<&str> = config.lines().filter(|line| line.split(' ').next() == Some(directive)).collect();
        assert_eq!(set, [wanted]);
    }
    assert!(!config.contains("Include") && !config.contains("Match"), "{config}");
}

/// nginx writes what a client says of itself behind quotation marks into the line that fail2ban reads.
#[test]
fn a_client_of_nginx_has_nobody_else_banned() {
    let world = World::new();
    let text = world.run(&["eval", "production", "--file", "/etc/fail2ban/filter.d/rave-nginx.conf"]);
    let text = text.clean().to_owned();
    let pattern = text.lines().find_map(|line| line.strip_prefix("failregex = ")).unwrap();
    let pattern = regex::Regex::new(&pattern.replace("<HOST>", "(?<host>[0-9a-f.:]+)")).unwrap();
    let banned = |said: &str| {
        let line = format!("shop nginx[7]: 2026/11/29 12:00:00 [error] 9#9: *5 {said}");
        pattern.captures(&line).map(|found| found["host"].to_owned())
    };
    let request = r#"server: localhost, request: "POST / HTTP/2.0", host: "localhost""#;
    let limited =
        |client: &str| format!(r#"limiting requests, excess: 20.4 by zone "requests", client: {client}, {request}"#);
    assert_eq!(banned(&limited("198.51.100.7")).as_deref(), Some("198.51.100.7"));
    assert_eq!(banned(&limited("2001:db8::7")).as_deref(), Some("2001:db8::7"));
    let large = format!(
        r#"client intended to send too large body: 9 bytes, client: 198.51.100.7, {request}, referrer: "{}""#,
        limited("203.0.113.5")
    );
    assert_eq!(banned(&large), None);
}
