//! Keys of modules that reach further than one file.

use super::*;
use crate::system::{OnChange, SecretKind};

#[test]
fn a_secret_reaches_the_unit_that_loads_it() {
    let evaluation = good(
        "--- modules/a.yaml\ndescription: A.\noptions: { key: { type: secret, default: web-key } }\n\
         users: { web: { uid: 900, group: users } }\n\
         secrets:\n  '{{ key }}': { kind: tls-key, owner: web, mode: \"0440\", on-change: reload, description: TLS }\n  unused: { when: false }\n\
         certificates: { web: { hosts: [example.org], key: '{{ key }}' } }\n\
         units: { web.service: { service: { ExecStart: /web }, credentials: ['{{ key }}'] } }\n\
         --- modules/b.yaml\ndescription: B.\nsecrets: { web-key: { kind: tls-key, owner: web, mode: \"0440\", on-change: reload, units: [b.service] } }\n\
         --- images/x.yaml\nname: x\nversion: 1.0\nimports: [a, b]\n",
    );
    assert_eq!(
        file(&evaluation, "/etc/systemd/system/web.service"),
        "[Unit]\nWants=rave-secrets.service\nAfter=rave-secrets.service\n\n[Service]\nExecStart=/web\n\
         LoadCredential=web-key:/run/secrets/web-key\n"
    );
    let secrets = &evaluation.system.secrets;
    assert_eq!(secrets.keys().collect::<Vec<_>>(), ["web-key"]);
    let secret = &secrets["web-key"];
    assert_eq!((secret.kind, secret.mode, secret.on_change), (SecretKind::TlsKey, 0o440, OnChange::Reload));
    assert_eq!((secret.owner.as_str(), secret.group.as_str()), ("web", "root"));
    assert_eq!(secret.units.iter().map(String::as_str).collect::<Vec<_>>(), ["b.service", "web.service"]);
    assert_eq!(evaluation.system.certificates["web"].key, "web-key");
}

#[test]
fn one_declaration_of_a_port_is_enough() {
    let evaluation = good(
        "--- modules/fw.yaml\ndescription: F.\noptions: { tcp: { type: list, of: port, default: [8080] } }\n\
         open: [\"{{ tcp | prefix('tcp/') }}\"]\n\
         files: { /etc/nftables.conf: { text: '{% for port in gathered.open.tcp %}{{ port }};{% endfor %}' } }\n\
         --- modules/web.yaml\ndescription: W.\nopen: [tcp/3002]\nlocal: [tcp/9090]\nbehind-firewall: [udp/68]\n\
         --- images/x.yaml\nname: x\nversion: 1.0\nimports: [web, fw]\n",
    );
    assert_eq!(file(&evaluation, "/etc/nftables.conf"), "3002;8080;");
    let expect = &evaluation.system.expect;
    assert_eq!(expect.open.keys().collect::<Vec<_>>(), ["tcp/3002", "tcp/8080", "udp/68"]);
    assert_eq!(expect.local.keys().collect::<Vec<_>>(), ["tcp/9090"]);
}

#[test]
fn a_site_is_expected_as_its_module_says() {
    let evaluation = good(
        "--- modules/a.yaml\ndescription: A.\noptions: { sites: { type: map, of: { type: submodule, options: { port: { type: port }, hook: { type: bool, default: false } } }, default: {} } }\n\
         secrets: { hook-secret: { kind: token } }\n\
         https:\n  '{{ key }}':\n    each: '{{ sites }}'\n    port: '{{ value.port }}'\n    hosts: [a.example, '*.b.example', '::1']\n    \
         certificate: '/run/secrets/tls-{{ key }}'\n    headers: { X-Frame-Options: DENY, Server: '' }\n    csp: \"default-src 'self'\"\n    http2: '{{ value.hook }}'\n    \
         pages: { /: 200, '/a?b': 404 }\n    rate: 100\n    burst: 50\n    \
         webhooks: \"{{ {'/hook': {'secret': 'hook-secret', 'schemes': ['gitlab', 'github'], 'body': '1M'}} if value.hook else {} }}\"\n\
         --- images/x.yaml\nname: x\nversion: 1.0\nimports: [a]\nconfig: { a.sites: { web: { port: 443, hook: true }, plain: { port: 8443 } } }\n",
    );
    let sites = &evaluation.system.expect.https;
    assert_eq!(sites.keys().collect::<Vec<_>>(), ["plain", "web"]);
    let site = &sites["web"];
    assert_eq!(
        (site.port, site.name(), site.certificate.to_string().as_str()),
        (443, "a.example", "/run/secrets/tls-web")
    );
    assert_eq!(site.headers["x-frame-options"], "DENY");
    assert_eq!((site.headers["server"].as_str(), site.csp.as_str()), ("", "default-src 'self'"));
    assert_eq!(site.pages, [("/".to_owned(), 200), ("/a?b".to_owned(), 404)].into());
    assert_eq!(site.rate, Some(crate::probe::Rate { requests: 100, burst: 50 }));
    let hook = &site.webhooks["/hook"];
    assert_eq!((hook.secret.as_str(), hook.body), ("hook-secret", 1 << 20));
    assert_eq!(hook.scheme, Some(crate::probe::SigningScheme::Github));
    assert_eq!(hook.schemes, [crate::probe::Scheme::Github, crate::probe::Scheme::Gitlab].into());
    assert!(sites["plain"].webhooks.is_empty());
    assert!(site.http2 && !sites["plain"].http2);
}

#[test]
fn kernel_modules_are_loaded_or_denied_and_each_said_once() {
    let evaluation = good(
        "--- modules/a.yaml\ndescription: A.\nkernel-modules: { initrd: [nvme], load: [wireguard, nf_log], deny: [sctp, dccp] }\n\
         units: { load.service: { mask: true, when: '{{ not gathered.load }}' } }\n\
         --- modules/b.yaml\ndescription: B.\nkernel-modules: { load: [wireguard, { value: kvm, when: false }] }\n\
         --- images/x.yaml\nname: x\nversion: 1.0\nimports: [a, b]\n",
    );
    assert_eq!(file(&evaluation, "/etc/modules-load.d/50-rave.conf"), "wireguard\nnf_log\n");
    assert_eq!(
        file(&evaluation, "/etc/modprobe.d/50-rave.conf"),
        "blacklist sctp\ninstall sctp /bin/false\nblacklist dccp\ninstall dccp /bin/false\n"
    );
    assert_eq!(evaluation.system.initrd_modules.iter().collect::<Vec<_>>(), ["nvme"]);
    assert_eq!(evaluation.system.tree.len(), 2);
}

#[test]
fn a_mount_becomes_a_unit_a_mount_point_and_an_expectation() {
    let evaluation = good(
        "--- modules/a.yaml\ndescription: A.\nmounts:\n  /tmp: [nodev]\n  /data/my-files: { type: tmpfs, options: [nosuid, nodev, size=64M] }\n  \
         /var/lib/db: { what: /dev/disk/by-label/db, type: ext4 }\n  /off: { type: tmpfs, when: false }\n\
         --- images/x.yaml\nname: x\nversion: 1.0\nimports: [a]\n",
    );
    let unit = "/etc/systemd/system/data-my\\x2dfiles.mount";
    assert_eq!(
        file(&evaluation, unit),
        "[Unit]\nDescription=/data/my-files\n\n[Mount]\nWhat=tmpfs\nWhere=/data/my-files\nType=tmpfs\nOptions=nosuid,nodev,size=64M\n"
    );
    assert_eq!(
        file(&evaluation, &unit.replace("system/data", "system/local-fs.target.requires/data")),
        format!("-> {unit}")
    );
    assert_eq!(file(&evaluation, "/data/my-files"), "Directory");
    assert!(!evaluation.system.tree.contains_key(&"/var/lib/db".parse().unwrap()), "systemd makes it");
    let options = |path: &str| evaluation.system.expect.mounts[&path.parse().unwrap()].0.clone();
    assert_eq!(options("/data/my-files").into_iter().collect::<Vec<_>>(), ["nodev", "nosuid"]);
    assert_eq!(options("/tmp").into_iter().collect::<Vec<_>>(), ["nodev"]);
    assert!(evaluation.system.expect.units.contains_key("var-lib-db.mount"));
    assert_eq!(evaluation.system.expect.mounts.len(), 3);
}

#[test]
fn a_packages_unit_can_be_disabled() {
    let evaluation = good(
        "--- modules/a.yaml\ndescription: A.\nunits: { nginx.service: { enable: false }, b.service: { dropin: true, service: { Nice: 5 }, enable: false } }\n\
         --- images/x.yaml\nname: x\nversion: 1.0\nimports: [a]\n",
    );
    let excluded = &evaluation.system.exclude;
    assert!(excluded.contains(&"/etc/systemd/system/*.wants/nginx.service".to_owned()), "{excluded:?}");
    assert!(excluded.contains(&"/etc/systemd/system/*.requires/b.service".to_owned()), "{excluded:?}");
    assert_eq!(evaluation.system.tree.len(), 1);
}

#[test]
fn a_timer_may_be_written_as_for_cron() {
    let evaluation = good(
        "--- modules/a.yaml\ndescription: A.\noptions: { at: { type: calendar, default: '30 3 * * 1-5' } }\n\
         units: { a.timer: { timer: { OnCalendar: ['', '{{ at }}', '0 5 * * *'] } } }\n\
         --- images/x.yaml\nname: x\nversion: 1.0\nimports: [a]\n",
    );
    assert_eq!(
        file(&evaluation, "/etc/systemd/system/a.timer"),
        "[Timer]\nOnCalendar=\nOnCalendar=Mon..Fri *-*-* 03:30:00\nOnCalendar=*-*-* 05:00:00\n"
    );
}

/// Every key of a module that holds entries, with one that is switched off in each way there is.
#[test]
fn every_entry_can_have_a_condition() {
    let evaluation = good(
        "--- modules/a.yaml\ndescription: A.\noptions: { on: { type: bool, default: false } }\n\
         packages: [{ value: aa, when: '{{ on }}' }, \"{{ ['bb'] if on else [] }}\"]\n\
         build-packages: [{ value: aa, when: on }]\nexclude: [{ value: /a, when: on }]\nset-id: [{ value: /a, when: on }]\n\
         prepare: { a: { command: [/a], when: on } }\nvalidate: { a: { command: [/a], files: [/a], when: on } }\ngroups: { a: { gid: 900, when: on } }\nusers: { a: { uid: 900, group: users, when: on } }\n\
         files: { /etc/a: { text: a, when: on } }\nunits: { a.service: { mask: true, when: on } }\n\
         sysctl: { a.b: { value: 1, when: on } }\ncmdline: [{ value: a, when: on }]\n\
         kernel-modules: { initrd: [{ value: a, when: on }], load: [{ value: a, when: on }], deny: [{ value: b, when: on }] }\n\
         mounts: { /a: { options: [ro], when: on }, /b: { type: tmpfs, when: on } }\n\
         state: [{ path: /var/lib/a, owner: root, when: on }]\nactive: [{ value: a.service, when: on }]\n\
         open: [{ value: tcp/1, when: on }]\nlocal: [{ value: tcp/1, when: on }]\nbehind-firewall: [{ value: tcp/1, when: on }]\n\
         secrets: { a: { when: on } }\ncertificates: { a: { hosts: [b], key: c, when: on } }\ncertificate-files: [{ value: /c, when: on }]\n\
         ssh: { user: a, host-key-file: /k, when: on }\nhttps: { a: { port: 1, certificate: /c, when: on } }\njournal-allow: [{ pattern: a, reason: b, when: on }]\n\
         suite-allow: [{ suite: gixy, finding: a, reason: b, when: on }]\n\
         stages: [{ value: https, when: on }]\nassertions: [{ that: false, message: a, when: on }]\n\
         warnings: [{ that: false, message: a, when: on }]\nprobes: [{ stage: ssh, id: a, command: [a], when: on }]\n\
         --- images/x.yaml\nname: x\nversion: 1.0\nimports: [a]\n",
    );
    let empty = good(
        "--- modules/a.yaml\ndescription: A.\noptions: { on: { type: bool, default: false } }\n--- images/x.yaml\nname: x\nversion: 1.0\nimports: [a]\n",
    );
    let plain =
        |evaluation: &Evaluation| crate::system::System { options: BTreeMap::new(), ..evaluation.system.clone() };
    assert_eq!(plain(&evaluation), plain(&empty));
    assert!(evaluation.warnings.is_empty());
}

#[test]
fn lists_have_an_order_within_each_level() {
    let module = |name: &str, body: &str| format!("--- modules/{name}.yaml\ndescription: B.\n{body}\n");
    let text = module(
        "a",
        "options: { list: { type: list, of: string, default: [d] }, sub: { type: map, default: {}, of: { type: submodule, options: { l: { type: list, of: string, default: [] } } } } }",
    ) + &module("b", "set: { a.list: !after [b], a.sub.k: !after { l: [b] } }")
        + &module("c", "set: { a.list: [c], a.sub.k.l: [c] }")
        + &module("d", "set: { a.list: !before [d], a.sub.k.l: !before [d] }")
        + &module("e", "set: { a: !before { list: [e] } }")
        + "--- images/x.yaml\nname: x\nversion: 1.0\nimports: [a, b, c, d, e]\nconfig: { a.list: !before [x] }\n";
    assert_eq!(value(&text, "a.list"), r#"["d","e","c","b","x"]"#, "the image stays after modules");
    assert_eq!(value(&text, "a.sub"), r#"{"k":{"l":["d","c","b"]}}"#);
}

#[test]
fn options_of_a_module_that_is_off_may_be_set_and_cost_nothing() {
    let text = "--- modules/monitor.yaml\ndescription: M.\noptions: { enable: { type: bool, default: false }, targets: { type: list, of: { type: submodule, options: { host: { type: string }, port: { type: port } } }, default: [] }, must: { type: string } }\n\
         when: '{{ enable }}'\npackages: [monitor]\nfiles: { /etc/monitor.json: { text: '{\"targets\": {{ targets }}, \"must\": \"{{ must }}\"}' } }\n\
         --- modules/web.yaml\ndescription: W.\nset: { monitor.targets: [{ host: web, port: 80 }] }\n\
         --- modules/db.yaml\ndescription: D.\nset: { monitor.targets: [{ host: db, port: 5432 }] }\n";
    let image = |config: &str| {
        format!("{text}--- images/x.yaml\nname: x\nversion: 1.0\nimports: [web, db]\nconfig: {{ {config} }}\n")
    };
    let off = good(&image(""));
    assert_eq!((off.system.packages.len(), off.system.tree.len()), (0, 0));
    let on = good(&image("monitor: { enable: true, must: 'a\"b' }"));
    assert_eq!(
        file(&on, "/etc/monitor.json"),
        "{\"targets\": [{\"host\":\"db\",\"port\":5432},{\"host\":\"web\",\"port\":80}], \"must\": \"a\\\"b\"}"
    );
}

#[test]
fn values_are_written_by_the_rules_of_their_file() {
    let evaluation = good(
        "--- modules/a.yaml\ndescription: A.\noptions:\n  names: { type: list, of: string, default: [a.org, 'b;}c'] }\n  \
         extra: { type: config, default: \"location / { return 204; }\\n\" }\n  keep: { type: duration, default: 168h }\n  note: { type: string, default: \"it's\" }\n\
         files:\n  /etc/nginx/x.conf: { template: x.conf }\n  /etc/default/a: { text: \"A={{ note }}\\nB=\\\"{{ names | join(' ') }}\\\"\\n\" }\n  \
         /etc/a.yaml: { text: \"keep: {{ keep }}\\nnames: {{ names }}\\nnull: {{ none }}\\nall: [{{ names | join(', ') }}]\\n\" }\n\
         --- modules/x.conf\nserver_name {{ names | join(' ') }};\n{{ extra }}{% if keep > '1d' %}# it's {{ note }}\n{% endif %}\n\
         --- images/x.yaml\nname: x\nversion: 1.0\nimports: [a]\n",
    );
    assert_eq!(
        file(&evaluation, "/etc/nginx/x.conf"),
        "server_name a.org \"b;}c\";\nlocation / { return 204; }\n# it's it's\n\n"
    );
    assert_eq!(file(&evaluation, "/etc/default/a"), "A='it'\\''s'\nB=\"a.org b;}c\"\n");
    assert_eq!(
        file(&evaluation, "/etc/a.yaml"),
        "keep: 7d\nnames: [\"a.org\",\"b;}c\"]\nnull: null\nall: [a.org, \"b;}c\"]\n"
    );
}

#[test]
fn a_default_of_a_submodule_says_more_than_those_of_its_fields() {
    let options = "{ x: { type: map, default: { one: { n: 3 } }, example: { one: { n: 4, l: [9] } }, of: { type: submodule, options: {
      n: { type: int, default: 2 }, l: { type: list, of: int, default: [1] } } } } }";
    assert_eq!(value(&option(options, "{}"), "a.x"), r#"{"one":{"l":[1],"n":3}}"#);
}
