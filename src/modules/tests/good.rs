//! What is accepted, and what it comes to.

use super::*;
use crate::system::{Query, Validation};

#[test]
fn values_become_canonical_whatever_their_type() {
    for (options, config, wanted) in [
        ("{ x: { type: duration } }", "{ a.x: 168h }", "\"7d\""),
        ("{ x: { type: size, min: 1M } }", "{ a: { x: 1024M } }", "\"1G\""),
        ("{ x: { type: int, min: 1, max: 9, default: 3 } }", "{}", "3"),
        ("{ x: { type: enum, values: [on, off] } }", "{ a.x: off }", "\"off\""),
        ("{ x: { type: string, regex: '[a-z]+', max-length: 3 } }", "{ a.x: abc }", "\"abc\""),
        ("{ x: { type: int, nullable: true } }", "{}", "null"),
        ("{ x: { type: nullable, of: int, default: 4 } }", "{ a.x: null }", "null"),
        ("{ x: { type: one-of, of: [port, string] } }", "{ a.x: 80 }", "80"),
        ("{ x: { type: one-of, of: [port, string] } }", "{ a.x: some }", "\"some\""),
        ("{ x: { type: set, of: int } }", "{ a.x: [10, 9, 10] }", "[9,10]"),
        ("{ x: { type: list, of: { type: int } } }", "{ a.x: [10, 9, 10] }", "[10,9,10]"),
        ("{ x: { type: map, of: int } }", "{ a.x: { b.c: 1 } }", "{\"b.c\":1}"),
        (
            "{ x: { type: map, of: { type: submodule, options: { r: { type: path }, n: { type: int, default: 2 } } } } }",
            "{ a: { x.one.r: /r } }",
            "{\"one\":{\"n\":2,\"r\":\"/r\"}}",
        ),
        ("{ x: { type: submodule, options: { n: { type: int, default: 2 } } } }", "{}", "{\"n\":2}"),
        (
            "{ x: { type: map, of: { type: submodule, options: { n: { type: int, default: 2 } } }, default: { k: { n: 3 } } } }",
            "{}",
            "{\"k\":{\"n\":3}}",
        ),
        ("{ type: { type: { type: bool, default: true } }, x: { type: int, default: 1 } }", "{}", "1"),
    ] {
        assert_eq!(value(&option(options, config), "a.x"), wanted, "{options} {config}");
    }
}

/// Modules b and c set options of a; the image takes all in.
const SETTERS: &str = "--- modules/a.yaml
description: A.
options:
  list: { type: list, of: string, default: [default] }
  map: { type: map, of: string, default: { d: default } }
  one: { type: string, default: default }
--- modules/b.yaml
description: B.
set: { a.list: [b], a.map.b: b, a.one: both }
--- modules/c.yaml
description: C.
set: { a: { list: [c], map: { c: c }, one: both } }
--- modules/mode/safe.yaml
description: The mode.
set: { a.list: [mode] }
";

#[test]
fn lists_append_maps_merge_and_equal_scalars_agree() {
    let text = format!(
        "{SETTERS}--- images/base.yaml\nname: base\nversion: 1.0\nimports: [c]\nconfig: {{ a.list: [base] }}\n\
         --- images/x.yaml\nname: x\nversion: 1.0\nextends: base\nimports: [b]\nconfig: {{ a.list: [x], a.map.b: x }}\n"
    );
    assert_eq!(value(&text, "a.list"), r#"["b","c","base","x","mode"]"#);
    assert_eq!(value(&text, "a.map"), r#"{"b":"x","c":"c"}"#);
    assert_eq!(value(&text, "a.one"), "\"both\"");
}

#[test]
fn what_a_template_has_made_is_no_template() {
    let text = "--- modules/a.yaml\ndescription: A.\noptions:\n  x: { type: map, of: string }\n  \
                y: { type: map, of: string, default: {} }\n  z: { type: list, of: string, default: [] }\n\
                --- modules/b.yaml\ndescription: B.\nset: { a.y: \"{{ a.x }}\", a.z: \"{{ [a.x.k] }}\" }\n\
                --- images/x.yaml\nname: x\nversion: 1.0\nimports: [a, b]\n\
                config: { a.x.k: \"{% raw %}{{ nothing }}{% endraw %}\" }\n";
    assert_eq!(value(text, "a.x"), r#"{"k":"{{ nothing }}"}"#);
    assert_eq!(value(text, "a.y"), r#"{"k":"{{ nothing }}"}"#);
    assert_eq!(value(text, "a.z"), r#"["{{ nothing }}"]"#);
}

#[test]
fn each_level_gives_way_to_the_next() {
    let base = "--- modules/a.yaml\ndescription: A.\noptions: { x: { type: int, default: 1 } }\n";
    let module = "--- modules/b.yaml\ndescription: B.\nset: { a.x: 2 }\n";
    let mode = "--- modules/mode/safe.yaml\ndescription: M.\nset: { a.x: 4 }\n";
    let image = |config: &str| {
        format!("--- images/x.yaml\nname: x\nversion: 1.0\nimports: [a, b]\nmode: safe\nconfig: {{ {config} }}\n")
    };
    let idle = "--- modules/b.yaml\ndescription: B.\n";
    let quiet = "--- modules/mode/safe.yaml\ndescription: M.\n";
    for (text, wanted) in [
        (format!("{base}{idle}{quiet}{}", image("a.x: !default 9")), "1"),
        (format!("{base}{idle}{quiet}{}", image("")), "1"),
        (format!("{base}{module}{quiet}{}", image("")), "2"),
        (format!("{base}{module}{quiet}{}", image("a.x: 3")), "3"),
        (format!("{base}{module}{mode}{}", image("a.x: 3")), "4"),
        (format!("{base}{module}{mode}{}", image("a.x: !force 6")), "6"),
        (format!("{base}{module}{mode}{}", image("a: !force { x: 6 }")), "6"),
    ] {
        assert_eq!(value(&text, "a.x"), wanted, "{text}");
    }
    let text = format!("{base}{module}{mode}{}", image("a.x: 3"));
    let set = evaluate(&project(&text), "x", &[("a.x".into(), "5".into())], None).unwrap();
    assert_eq!(set.system.options[&"a.x".parse().unwrap()].value, 5);
    let trail: Vec<(Level, String, bool)> = set.settings[&"a.x".parse().unwrap()]
        .definitions
        .iter()
        .map(|definition| (definition.level, definition.origin.to_string(), definition.used))
        .collect();
    assert_eq!(
        trail,
        [
            (Level::CommandLine, "<command line>:1:5".to_owned(), true),
            (Level::Mode, "modules/mode/safe.yaml:2:13".to_owned(), false),
            (Level::Image, "images/x.yaml:5:16".to_owned(), false),
            (Level::Module, "modules/b.yaml:2:13".to_owned(), false),
            (Level::Default, "modules/a.yaml:2:37".to_owned(), false),
        ]
    );
}

#[test]
fn a_forced_list_replaces_the_others_and_defaults_count_alone() {
    let text =
        format!("{SETTERS}--- images/x.yaml\nname: x\nversion: 1.0\nimports: [b]\nconfig: {{ a.list: !force [x] }}\n");
    assert_eq!(value(&text, "a.list"), r#"["x"]"#);
    let text = format!(
        "{SETTERS}--- images/x.yaml\nname: x\nversion: 1.0\nimports: [b]\nconfig: {{ a.map: {{ b: !force y }} }}\n"
    );
    assert_eq!(value(&text, "a.map"), r#"{"b":"y"}"#);
}

#[test]
fn the_mode_is_that_of_the_command_line_then_of_the_image() {
    let modes = "--- modules/mode/safe.yaml\ndescription: M.\n--- modules/mode/full-pipe.yaml\ndescription: M.\n";
    let text = format!("{modes}--- images/x.yaml\nname: x\nversion: 1.0\nmode: full-pipe\n");
    assert_eq!(good(&text).system.mode, Mode::FullPipe);
    assert_eq!(evaluate(&project(&text), "x", &[], Some(Mode::Safe)).unwrap().system.mode, Mode::Safe);
    assert_eq!(good("").system.mode, Mode::Safe);
}

#[test]
fn templates_see_options_lazily_and_keep_kinds() {
    let text = option(
        "{ a-list: { type: list, of: int, default: [1, 2] }, copy: { type: list, of: int, default: '{{ a_list }}' },
           keep: { type: duration, default: 24h }, long: { type: bool, default: \"{{ keep >= '2h' and '7d' > keep }}\" },
           half: { type: size, default: '{{ a.mem|bytes // 2 }}' }, mem: { type: size, default: 1G },
           who: { type: string, default: 'me@{{ image.name }}-{{ image.version }}-{{ mode }}' },
           odd: { type: string, default: '{{ nothing if false else who }}' } }",
        "{ a.mem: 2048M }",
    );
    for (path, wanted) in [
        ("a.copy", "[1,2]"),
        ("a.long", "true"),
        ("a.half", "\"1G\""),
        ("a.who", "\"me@x-1.0-safe\""),
        ("a.odd", "\"me@x-1.0-safe\""),
    ] {
        assert_eq!(value(&text, path), wanted, "{path}");
    }
}

#[test]
fn a_modules_condition_switches_off_all_that_it_brings_and_sets() {
    let text = |enable: &str| {
        format!(
            "--- modules/a.yaml\ndescription: A.\noptions: {{ enable: {{ type: bool, default: false }}, must: {{ type: int }} }}\n\
             when: \"{{{{ enable }}}}\"\npackages: [jq]\nset: {{ b.x: 2 }}\n\
             --- modules/b.yaml\ndescription: B.\noptions: {{ x: {{ type: int, default: 1 }} }}\n\
             --- images/x.yaml\nname: x\nversion: 1.0\nimports: [a]\nconfig: {{ {enable} }}\n"
        )
    };
    let off = good(&text(""));
    assert_eq!((off.system.packages.len(), off.system.options[&"b.x".parse().unwrap()].value.clone()), (0, 1.into()));
    let on = good(&text("a.enable: true, a.must: 1"));
    assert_eq!((on.system.packages.len(), on.system.options[&"b.x".parse().unwrap()].value.clone()), (1, 2.into()));
}

#[test]
fn files_of_every_kind_reach_the_tree_with_their_option() {
    let evaluation = good(
        "--- modules/s/a.yaml\ndescription: A.\noptions: { enable: { type: bool, default: true }, n: { type: list, of: int, default: [1, 2] } }\n\
         files:\n  /etc/t: { text: \"{{ '{{' }} {{ n | join(',') }}\\n\", mode: \"0600\", owner: nobody, group: nogroup }\n  \
         /etc/u: { template: u.conf }\n  /etc/v: { source: u.conf }\n  /etc/l: { link: t }\n  /etc/d: { directory: true }\n  \
         /etc/n: { absent: true }\n  \"/etc/{{ image.name }}\": { text: '' }\n  /etc/off: { text: x, when: '{{ not enable }}' }\n\
         --- modules/s/u.conf\n{% for x in n %}\n{{ x }}\n{% endfor %}\n\
         --- modules/environment.yaml\ndescription: E.\noptions: { files: { type: map, default: {}, of: { type: submodule, options: {\n  \
         text: { type: string, default: '' }, link: { type: string, default: '' }, absent: { type: bool, default: false },\n  \
         template: { type: string, nullable: true }, mode: { type: string, nullable: true } } } } }\n\
         --- images/e.conf\n{{ s.a.n|length }}\n\
         --- images/x.yaml\nname: x\nversion: 1.0\nimports: [s/a]\nconfig: { environment.files: {\n  \
         /etc/motd: { text: hello }, /etc/e: { template: e.conf, mode: \"0640\" }, /etc/gone: { absent: true }, /etc/nil: {} } }\n",
    );
    let tree: Vec<String> = evaluation
        .system
        .tree
        .iter()
        .map(|(path, entry)| {
            let option = entry.option.as_ref().map(ToString::to_string).unwrap_or_default();
            format!(
                "{path} {:o} {}:{} {option} {}",
                entry.mode,
                entry.owner,
                entry.group,
                file(&evaluation, path.as_str())
            )
        })
        .collect();
    assert_eq!(
        tree,
        [
            "/etc/d 755 root:root s.a.enable Directory",
            "/etc/e 640 root:root environment.files 2\n",
            "/etc/gone 0 root:root environment.files Absent",
            "/etc/l 777 root:root s.a.enable -> t",
            "/etc/motd 644 root:root environment.files hello",
            "/etc/n 0 root:root s.a.enable Absent",
            "/etc/nil 644 root:root environment.files ",
            "/etc/t 600 nobody:nogroup s.a.enable {{ 1,2\n",
            "/etc/u 644 root:root s.a.enable \n1\n\n2\n\n",
            "/etc/v 644 root:root s.a.enable {% for x in n %}\n{{ x }}\n{% endfor %}\n",
            "/etc/x 644 root:root s.a.enable ",
        ]
    );
}

const UNITS: &str = "--- modules/sandbox.yaml
description: Profiles.
profiles: { strict: { NoNewPrivileges: true, PrivateTmp: true, SystemCallFilter: ['@a', '~@b'] } }
--- modules/a.yaml
description: A.
options: { enable: { type: bool, default: true }, memory: { type: size, default: 1024M } }
users: { web: { uid: 900, group: www-data } }
units:
  foo.service:
    unit: { Description: Foo, After: [a.target, b.target] }
    service: { PrivateTmp: false, ExecStart: ['', /usr/bin/foo], User: web, MemoryMax: '{{ memory }}', CPUQuota: 25% }
    install: { WantedBy: multi-user.target, RequiredBy: x.target }
    sandbox: strict
    enable: true
  ssh.service: { dropin: true, service: { MemoryMax: 64M }, wanted-by: [multi-user.target] }
  getty@tty1.service: { wanted-by: [getty.target], expect: false }
  apt-daily.timer: { mask: true }
  quiet.service: { service: { Type: oneshot }, when: '{{ not enable }}' }
  shown.socket: { expect: true }
--- images/x.yaml
name: x
version: 1.0
imports: [a, sandbox]
";

#[test]
fn units_become_files_links_and_expectations() {
    let evaluation = good(UNITS);
    assert_eq!(
        file(&evaluation, "/etc/systemd/system/foo.service"),
        "[Unit]\nDescription=Foo\nAfter=a.target\nAfter=b.target\n\n[Service]\nNoNewPrivileges=true\nSystemCallFilter=@a\n\
         SystemCallFilter=~@b\nPrivateTmp=false\nExecStart=\nExecStart=/usr/bin/foo\nUser=web\nMemoryMax=1G\nCPUQuota=25%\n\
         \n[Install]\nWantedBy=multi-user.target\nRequiredBy=x.target\n"
    );
    for (path, wanted) in [
        ("/etc/systemd/system/multi-user.target.wants/foo.service", "-> /etc/systemd/system/foo.service"),
        ("/etc/systemd/system/x.target.requires/foo.service", "-> /etc/systemd/system/foo.service"),
        ("/etc/systemd/system/multi-user.target.wants/ssh.service", "-> /usr/lib/systemd/system/ssh.service"),
        ("/etc/systemd/system/getty.target.wants/getty@tty1.service", "-> /usr/lib/systemd/system/getty@.service"),
        ("/etc/systemd/system/ssh.service.d/50-a.conf", "[Service]\nMemoryMax=64M\n"),
        ("/etc/systemd/system/apt-daily.timer", "-> /dev/null"),
    ] {
        assert_eq!(file(&evaluation, path), wanted);
    }
    assert_eq!(evaluation.system.tree.len(), 7);
    let expect = evaluation.system.expect;
    let units: Vec<&str> = expect.units.keys().map(String::as_str).collect();
    assert_eq!(units, ["foo.service", "shown.socket", "ssh.service"]);
    assert_eq!(expect.limits["foo.service"]["MemoryMax"].0, "1073741824");
    assert_eq!(expect.limits["foo.service"]["CPUQuota"].0, "25000 100000");
    let (sandbox, option) = &expect.sandbox["foo.service"];
    let held = [("NoNewPrivileges", "yes"), ("PrivateTmp", "no"), ("SystemCallFilter", "@a ~@b"), ("User", "web")];
    let held = held.map(|(name, value)| (name.into(), value.into()));
    assert_eq!((sandbox, option.as_str()), (&held.into(), "a.enable"));
    assert_eq!(expect.sandbox.len(), 1);
    assert_eq!(expect.limits["ssh.service"]["MemoryMax"].1.as_str(), "a.enable");
}

#[test]
fn a_limit_that_depends_on_the_machine_takes_the_place_of_one_that_does_not() {
    let evaluation = good(
        "--- modules/a.yaml\ndescription: A.\nunits: { x.service: { service: { TasksMax: 9, MemoryMax: 1M, ExecStart: /x }, install: { WantedBy: y.target } }, \
         y.service: { service: { TasksMax: 9, ExecStart: /y }, install: { WantedBy: y.target } } }\n\
         --- modules/b.yaml\ndescription: B.\nunits: { x.service: { dropin: true, service: { TasksMax: 90% } }, y.service: { dropin: true, service: { TasksMax: '' } } }\n\
         --- images/x.yaml\nname: x\nversion: 1.0\nimports: [a, b]\n",
    );
    let limits = evaluation.system.expect.limits;
    assert_eq!(limits.keys().collect::<Vec<_>>(), ["x.service"]);
    assert_eq!(limits["x.service"].keys().collect::<Vec<_>>(), ["MemoryMax"]);
}

#[test]
fn what_drop_ins_say_of_a_unit_holds_in_the_order_of_systemd() {
    let evaluation = good(
        "--- modules/a.yaml\ndescription: A.\nunits: { x.service: { dropin: true, service: { PrivateTmp: off, ProtectHome: Tmpfs, ProtectProc: '', TasksMax: 5, MemoryMax: 9% } } }\n\
         --- modules/a/b.yaml\ndescription: Its drop-in is 50-a-b.conf, which comes before 50-a.conf.\nunits: { x.service: { dropin: true, service: { TasksMax: 4, CPUWeight: 8 } } }\n\
         --- modules/b.yaml\ndescription: B.\nunits: { x.service: { service: { PrivateTmp: 1, ProtectSystem: strict, ProtectProc: ptraceable, TasksMax: 9, MemoryMax: 1M, CPUWeight: 7, ExecStart: /x }, install: { WantedBy: y.target } }, \
         x@.service: { service: { PrivateTmp: 1, TasksMax: 9, ExecStart: /x } } }\n\
         --- images/x.yaml\nname: x\nversion: 1.0\nimports: [a, a/b, b]\n",
    );
    let (limits, sandbox) = (evaluation.system.expect.limits, evaluation.system.expect.sandbox);
    let held = [("PrivateTmp", "no"), ("ProtectHome", "tmpfs"), ("ProtectSystem", "strict")];
    assert_eq!(sandbox["x.service"].0, held.map(|(name, value)| (name.into(), value.into())).into());
    assert_eq!(sandbox.len(), 1);
    let told: Vec<_> = limits["x.service"].iter().map(|(name, (value, _))| (name.as_str(), value.as_str())).collect();
    assert_eq!(told, [("CPUWeight", "8"), ("TasksMax", "5")]);
    assert_eq!(limits.len(), 1);
}

#[test]
fn a_number_of_bad_logins_tells_which_option_sets_it() {
    let evaluation = good(
        "--- modules/a.yaml\ndescription: A.\n\
         ssh: { user: a, host-key-file: /k, bans: '{{ b.jails.sshd }}', bans-option: b.jails.sshd, pardon: [c] }\n\
         --- modules/b.yaml\ndescription: B.\noptions: { jails: { type: map, of: int, default: { sshd: 5 } } }\n\
         --- images/x.yaml\nname: x\nversion: 1.0\nimports: [a, b]\n",
    );
    let bans = evaluation.system.expect.ssh.unwrap().bans.unwrap();
    assert_eq!((bans.tries, bans.option.unwrap().as_str()), (5, "b.jails.sshd"));
}

#[test]
fn the_rest_of_a_machine() {
    let evaluation = good(
        "--- modules/a.yaml\ndescription: A.\noptions: { port: { type: port, default: 22 }, extra: { type: list, of: string, default: [bb] } }\n\
         packages: [bash, '{{ extra }}']\nbuild-packages: [dpkg]\nprepare: { b: { command: [/b, '{{ port }}'] }, a: { command: [/a] } }\n\
         validate: { a: { command: [/a, -t], files: [/etc/a, '/etc/{{ port }}/**'] } }\nexclude: [/usr/share/doc/**]\ncmdline: [a=1, b, a=1]\n\
         kernel-modules: { initrd: [virtio_scsi] }\nsysctl: { kernel.x: '1', net.a: 0 }\nmounts: { /tmp: [nodev] }\nopen: ['tcp/{{ port }}']\n\
         local: [udp/53]\nstages: [https]\njournal-allow: [{ pattern: 'a.*', reason: r }]\n\
         suite-allow: [{ suite: gixy, finding: a, reason: r }, { each: \"{{ ['b'] }}\", suite: systemd-analyze, finding: '{{ value }}', reason: r, at-most: 9.6 }]\n\
         ssh: { user: agent, kex: '{{ extra }}', host-key-file: /k.pub }\n\
         probes: [{ stage: services, id: a.b, command: [x, '{{ port }}'], contains: y }, { stage: ssh, id: off, command: [x], when: false }]\n\
         warnings: [{ that: '{{ port != 22 }}', message: 'port {{ port }} is scanned' }]\nassertions: [{ that: port > 0, message: no }]\n\
         --- modules/b.yaml\ndescription: B.\nmounts: { /tmp: [nosuid] }\nsysctl: { kernel.x: 1 }\n\
         --- modules/system.yaml\ndescription: S.\noptions: { packages: { type: list, of: package-name, default: [] }, recommends: { type: bool, default: true } }\n\
         --- modules/machine.yaml\ndescription: M.\noptions: { memory: { type: size, default: 4G }, vcpus: { type: int, default: 3 } }\n\
         --- images/x.yaml\nname: x\nversion: 1.0\nimports: [a, b]\n\
         archive: { suite: sid, extra: [{ name: e, url: 'https://e/', suite: s, components: [c], key: k.asc }] }\n\
         config: { system.packages: [jq], machine.vcpus: 4 }\n--- images/k.asc\nKEY\n",
    );
    let system = &evaluation.system;
    let names = |set: &std::collections::BTreeSet<crate::name::PackageName>| format!("{set:?}");
    assert_eq!(names(&system.packages), "{\"bash\", \"bb\", \"jq\"}");
    assert_eq!(names(&system.build_only), "{\"dpkg\"}");
    assert_eq!(format!("{:?}", system.prepare), r#"{"a": ["/a"], "b": ["/b", "22"]}"#);
    let validation =
        Validation { command: vec!["/a".into(), "-t".into()], files: vec!["/etc/a".into(), "/etc/22/**".into()] };
    assert_eq!(system.validate, [("a".into(), validation)].into());
    assert_eq!((system.machine.memory, system.machine.vcpus, system.recommends), (4096, 4, true));
    assert_eq!((system.exclude.join(" "), system.cmdline.join(" ")), ("/usr/share/doc/**".into(), "a=1 b".into()));
    assert_eq!(file(&evaluation, "/etc/sysctl.d/50-rave.conf"), "kernel.x = 1\nnet.a = 0\n");
    assert_eq!(system.expect.sysctl["kernel.x"].0, "1");
    assert_eq!(format!("{:?}", system.expect.mounts.values().next().unwrap().0), "{\"nodev\", \"nosuid\"}");
    assert_eq!(
        format!("{:?} {:?}", system.expect.open, system.expect.local),
        "{\"tcp/22\": \"a\"} {\"udp/53\": \"a\"}"
    );
    assert_eq!(system.expect.ssh.as_ref().unwrap().kex, ["bb"]);
    let allowed = system.expect.suite_allow.iter().map(|a| format!("{} {} {:?}", a.suite, a.finding, a.at_most));
    assert_eq!(allowed.collect::<Vec<_>>(), ["gixy a None", "systemd-analyze b Some(96)"]);
    assert_eq!(system.expect.probes.len(), 1);
    let (command, contains) = (vec!["x".to_owned(), "22".to_owned()], Some("y".to_owned()));
    assert_eq!(system.expect.probes[0].query, Query::Command { command, contains });
    assert_eq!(told(&evaluation.warnings), "modules/a.yaml:19:20: port 22 is scanned\n");
    assert_eq!((system.archive.suite.as_str(), system.archive.extra[0].key.as_str()), ("sid", "KEY\n"));
    assert_eq!(system.options[&"machine.vcpus".parse().unwrap()].origin, "images/x.yaml:5:49");
}

#[test]
fn an_entry_is_made_once_for_each_of_a_map_or_list() {
    let evaluation = good(
        "--- modules/a.yaml\ndescription: A.\noptions:\n  jobs:\n    type: map\n    of: { type: submodule, options: { run-at: { type: string }, on: { type: bool, default: true } } }\n\
         units:\n  'job-{{ key }}.timer': { each: '{{ jobs }}', when: '{{ value.on }}', timer: { OnCalendar: '{{ value.run_at }}' } }\n\
         files: { '/etc/{{ value }}': { each: '{{ [1, 2] }}', text: 'number {{ key }} of {{ image.name }}' } }\n\
         probes: [{ stage: services, id: 'a.{{ key }}', each: '{{ jobs }}', command: [x] }]\n\
         --- images/x.yaml\nname: x\nversion: 1.0\nconfig: { a.jobs: { b: { run-at: daily }, c: { run-at: weekly, on: false } } }\n",
    );
    assert_eq!(file(&evaluation, "/etc/systemd/system/job-b.timer"), "[Timer]\nOnCalendar=*-*-* 00:00:00\n");
    assert_eq!(evaluation.system.tree.len(), 3);
    assert_eq!(file(&evaluation, "/etc/2"), "number 1 of x");
    let probes: Vec<&str> = evaluation.system.expect.probes.iter().map(|probe| probe.id.as_str()).collect();
    assert_eq!(probes, ["a.b", "a.c"]);
}

#[test]
fn state_is_made_at_boot_and_kept_for_backups() {
    let evaluation = good(
        "--- modules/a.yaml\ndescription: A.\ngroups: { db: { gid: 900 } }\nusers: { db: { uid: 900, group: db } }\n\
         state: [{ path: /var/lib/db, owner: db }, { path: /var/cache/db, mode: '0755', backup: false }]\nactive: [db.service]\n\
         certificate-files: [/etc/c.pem, '{{ [\"/a.pem\", \"/b.pem\"] }}']\n\
         --- images/x.yaml\nname: x\nversion: 1.0\nimports: [a]\n",
    );
    assert_eq!(
        file(&evaluation, "/etc/tmpfiles.d/30-rave-modules.conf"),
        "d /var/cache/db 0755 root root -\nd /var/lib/db 0750 db db -\n"
    );
    let state = &evaluation.system.state;
    let backed_up = state.iter().filter(|(_, state)| state.backup).map(|(path, _)| path.as_str());
    assert_eq!((backed_up.collect::<Vec<_>>(), state.len()), (vec!["/var/lib/db"], 2));
    let expect = &evaluation.system.expect;
    assert!(expect.units.contains_key("db.service"));
    let certificates: Vec<&str> = expect.certificates.keys().map(|path| path.as_str()).collect();
    assert_eq!(certificates, ["/a.pem", "/b.pem", "/etc/c.pem"]);
}

#[test]
fn probes_ask_in_every_way() {
    let evaluation = good(
        "--- modules/a.yaml\ndescription: A.\noptions: { keep: { type: duration, default: 168h } }\nprobes:\n\
         - { stage: https, id: a, http: 'http://127.0.0.1:80/x', status: 204, headers: { Server: '' } }\n\
         - { stage: monitoring, id: b, http_json: 'http://unix:/run/s:/x', at: 'data.\"k.l\".0', equals: '{{ keep }}' }\n\
         - { stage: services, id: c, tcp: '127.0.0.1:6379', send: 'PING', contains: PONG }\n\
         - { stage: services, id: d, unix: /run/s }\n\
         - { stage: monitoring, id: e, alert: '127.0.0.1:9093', messages: 2, inapplicable: '' }\n\
         - { stage: monitoring, id: f, alert: '127.0.0.1:9093', messages: 0, inapplicable: nobody }\n\
         --- images/x.yaml\nname: x\nversion: 1.0\nimports: [a]\n",
    );
    let queries: Vec<&Query> = evaluation.system.expect.probes.iter().map(|probe| &probe.query).collect();
    let headers = [("server".to_owned(), String::new())].into();
    let url = "http://127.0.0.1/x".parse().unwrap();
    assert_eq!(*queries[0], Query::Http { url, status: 204, headers, contains: None });
    let (url, at) = ("http://unix:/run/s:/x".parse().unwrap(), "data.\"k.l\".0".parse().unwrap());
    assert_eq!(*queries[1], Query::HttpJson { url, at, equals: "7d".to_owned() });
    let (place, send) = ("127.0.0.1:6379".parse().unwrap(), Some("PING".to_owned()));
    assert_eq!(*queries[2], Query::Connect { place, send, contains: Some("PONG".to_owned()) });
    assert_eq!(*queries[3], Query::Connect { place: "/run/s".parse().unwrap(), send: None, contains: None });
    let alert = |messages| Query::Alert { place: "127.0.0.1:9093".parse().unwrap(), messages };
    assert_eq!(queries[4..], [&alert(2), &alert(0)]);
    let reasons = evaluation.system.expect.probes.iter().map(|probe| probe.inapplicable.as_deref());
    assert_eq!(reasons.collect::<Vec<_>>(), [None, None, None, None, None, Some("nobody")]);
}

#[test]
fn a_default_of_a_whole_replaces_those_of_its_fields() {
    let options = "{ m: { type: map, of: { type: submodule, options: { x: { type: int, default: 1 }, y: { type: int, default: 2 } } }, default: { k: { x: 5 } } } }";
    assert_eq!(value(&option(options, "{}"), "a.m"), r#"{"k":{"x":5,"y":2}}"#);
}
