//! Units: what values of options become in them, and their names.

use super::*;

/// The unit a.service of a module with an option `n` of that type and value.
fn service(ty: &str, value: &str, service: &str) -> String {
    let text = format!(
        "--- modules/a.yaml\ndescription: A.\noptions: {{ n: {{ type: {ty}, default: {value} }} }}\nunits:\n  a.service:\n    \
         service: {{ {service} }}\n"
    );
    match evaluate(&project(&format!("{text}--- images/x.yaml\nname: x\nversion: 1.0\nimports: [a]\n")), "x", &[], None)
    {
        Ok(evaluation) => file(&evaluation, "/etc/systemd/system/a.service"),
        Err(errors) => told(&errors),
    }
}

#[test]
fn a_value_is_one_word_of_a_command() {
    for (value, wanted) in [
        ("x ; /usr/bin/evil", "/bin/app --name \"x ; /usr/bin/evil\""),
        ("-x --y", "/bin/app --name \"-x --y\""),
        ("$HOME", "/bin/app --name $$HOME"),
        ("${PATH} %n", "/bin/app --name \"$${PATH} %%n\""),
        ("a\"b", "/bin/app --name \"a\\\"b\""),
        ("it's", "/bin/app --name \"it's\""),
        ("c:\\x", "/bin/app --name \"c:\\\\x\""),
        (";", "/bin/app --name \";\""),
        ("", "/bin/app --name \"\""),
        ("plain-1.2", "/bin/app --name plain-1.2"),
    ] {
        let quoted = serde_json::Value::from(value).to_string();
        let unit = service("string", &quoted, "ExecStart: \"/bin/app --name {{ n }}\"");
        assert_eq!(unit, format!("[Service]\nExecStart={wanted}\n"), "{value}");
    }
    let within = service("string", "'a b\"%'", "ExecStart: \"/bin/app --n={{ n }} \\\"--m={{ n }}\\\" '{{ n }}'\"");
    assert_eq!(within, "[Service]\nExecStart=/bin/app --n=a\\x20b\\\"%% \"--m=a b\\\"%%\" 'a b\"%%'\n");
}

#[test]
fn commands_of_systemd_keep_their_rules() {
    let literal = service("string", "'$A'", "ExecStart: \":-/bin/app {{ n }} ; /bin/b {{ n }}\"");
    assert_eq!(literal, "[Service]\nExecStart=:-/bin/app $A ; /bin/b $$A\n", "`:` is said of one command");
    let joined = service("list, of: string", "[/bin/a, 'b c', '%']", "ExecStart: \"{{ n|join(' ') }}\"");
    assert_eq!(joined, "[Service]\nExecStart=/bin/a \"b c\" %%\n");
    let program = service("string", "'/bin/a b'", "ExecStart: \"{{ n }}\"");
    assert!(program.contains("a command begins with the path of a program"), "{program}");
    assert!(program.contains("the value is given here"), "{program}");
    let prefixed = service("string", "'+/bin/a'", "ExecStart: \"-{{ n }}\"");
    assert!(prefixed.contains("cannot be written here"), "{prefixed}");
    let config = service("config", "'/bin/a $HOME %n'", "ExecStart: \"{{ n }}\"");
    assert_eq!(config, "[Service]\nExecStart=/bin/a $HOME %n\n");
}

#[test]
fn values_of_other_directives_have_no_specifiers() {
    let unit = service("string", "'100% x'", "SyslogIdentifier: \"{{ n }}\", Environment: [\"A={{ n }}\", B=%n]");
    assert_eq!(unit, "[Service]\nSyslogIdentifier=100%% x\nEnvironment=A=100%%\\x20x\nEnvironment=B=%n\n");
    assert_eq!(service("percentage", "25%", "CPUQuota: \"{{ n }}\""), "[Service]\nCPUQuota=25%\n");
    let list = service("list, of: guest-path", "[/a, '/b c']", "ReadWritePaths: \"{{ n }}\"");
    assert_eq!(list, "[Service]\nReadWritePaths=/a\nReadWritePaths=\"/b c\"\n");
    let none = service("nullable, of: string", "null", "ExecStart: /bin/a, User: \"{{ n }}\"");
    assert_eq!(none, "[Service]\nExecStart=/bin/a\nUser=\n");
    assert!(service("string", "'a\\'", "User: \"{{ n }}\"").contains("ends in a backslash"));
    assert!(service("string", "\"a\\nb\"", "User: \"{{ n }}\"").contains("holds a line break"));
}

#[test]
fn files_of_units_have_the_same_rules() {
    let text = |path: &str| {
        format!(
            "--- modules/a.yaml\ndescription: A.\noptions: {{ n: {{ type: string, default: 'x %n' }} }}\nfiles:\n  \
             {path}: {{ text: \"[Service]\\nExecStart=/bin/a \\\\\\n  {{{{ n }}}}\\nUser={{{{ n }}}}\\n\" }}\n\
             --- images/x.yaml\nname: x\nversion: 1.0\nimports: [a]\n"
        )
    };
    let wanted = "[Service]\nExecStart=/bin/a \\\n  \"x %%n\"\nUser=x %%n\n";
    for path in ["/etc/systemd/system/a.service", "/usr/lib/systemd/system/a.service.d/x.conf"] {
        assert_eq!(file(&good(&text(path)), path), wanted);
    }
    assert!(file(&good(&text("/etc/a.conf")), "/etc/a.conf").contains("User=x %n"));
}

#[test]
fn two_modules_may_add_to_one_unit() {
    let text = "--- modules/a.yaml\ndescription: A.\nunits: { s.service: { dropin: true, service: { MemoryMax: 1M } } }\n\
        --- modules/b/c.yaml\ndescription: B.\nunits: { s.service: { dropin: true, service: { TasksMax: 2 } } }\n\
        --- images/x.yaml\nname: x\nversion: 1.0\nimports: [a, b/c]\n";
    let evaluation = good(text);
    assert_eq!(file(&evaluation, "/etc/systemd/system/s.service.d/50-a.conf"), "[Service]\nMemoryMax=1M\n");
    assert_eq!(file(&evaluation, "/etc/systemd/system/s.service.d/50-b-c.conf"), "[Service]\nTasksMax=2\n");
}

#[test]
fn enabling_is_what_systemctl_does() {
    let alias = bad::module(
        "units: { a.service: { service: { ExecStart: /a }, install: { Alias: b.service c.service }, enable: true } }",
    );
    assert_eq!(file(&good(&alias), "/etc/systemd/system/c.service"), "-> /etc/systemd/system/a.service");
    for (unit, wanted) in [
        ("install: { Alias: b.timer }", "\"b.timer\" cannot be another name of a.service"),
        ("install: { WantedBy: b.target, Also: b.service }", "Also says nothing here"),
    ] {
        let text = format!("units: {{ a.service: {{ service: {{ ExecStart: /a }}, {unit}, enable: true }} }}");
        bad::check(&bad::module(&text), &[wanted]);
    }
    let template =
        "units: { t@.service: { service: { ExecStart: /a }, install: { WantedBy: b.target }, enable: true } }";
    bad::check(
        &bad::module(template),
        &["t@.service is a template, which nothing can start (enable an instance of it"],
    );
    let user = "units: { a.socket: { socket: { ListenStream: /run/a, SocketUser: nope } } }";
    bad::check(&bad::module(user), &["nope"]);
}

#[test]
fn a_template_is_no_section() {
    for body in [
        "units: \"{{ enable }}\"",
        "units: { a.service: \"{{ enable }}\" }",
        "units: { a.service: { service: \"{{ enable }}\" } }",
    ] {
        bad::check(&bad::module(body), &["cannot be one template"]);
    }
}
