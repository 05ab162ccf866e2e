//! How long an evaluation takes: `cargo bench --bench evaluate`. A project of 200 modules should take under 100 ms.

use rave::modules::{Project, evaluate};
use rave::origin::Source;

fn main() {
    divan::main();
}

/// A project of so many modules: each with options, a template, a unit, values for the next module, a probe, and a
/// map whose entries become files.
fn project(modules: usize) -> Project {
    let mut project = Project::default();
    let mut config = String::new();
    for n in 0..modules {
        let import = if n > 0 { format!("imports: [s/m{}]\n", n - 1) } else { String::new() };
        let set = if n > 0 { format!("set: {{ s.m{}.peers: [m{n}] }}\n", n - 1) } else { String::new() };
        let text = format!(
            "description: Module {n}.\n{import}{set}\
             options:\n  enable: {{ type: bool, default: true, description: Run it. }}\n  \
             port: {{ type: port, default: {port}, description: Where it listens. }}\n  \
             keep: {{ type: duration, default: 168h, description: How long it keeps things. }}\n  \
             memory: {{ type: size, default: 64M, description: Its limit. }}\n  \
             peers: {{ type: list, of: string, default: [], description: Who else there is. }}\n  \
             sites: {{ type: map, default: {{}}, of: {{ type: submodule, options: {{ root: {{ type: guest-path }} }} }} }}\n\
             when: \"{{{{ enable and keep >= '1h' }}}}\"\n\
             packages: [package-{n}, \"{{{{ ['more'] if peers else [] }}}}\"]\n\
             users: {{ m{n}: {{ uid: {uid}, group: users }} }}\n\
             files:\n  /etc/m{n}/main.yaml: {{ template: m.yaml }}\n  \
             \"/etc/m{n}/{{{{ key }}}}.conf\": {{ each: \"{{{{ sites }}}}\", text: \"root {{{{ value.root }}}}\\n\" }}\n\
             units:\n  m{n}.service:\n    service: {{ ExecStart: /usr/bin/m{n}, User: m{n}, MemoryMax: \"{{{{ memory }}}}\" }}\n    \
             install: {{ WantedBy: multi-user.target }}\n    enable: true\n\
             open: [\"tcp/{{{{ port }}}}\"]\nsysctl: {{ kernel.m{n}: \"{{{{ port }}}}\" }}\n\
             probes: [{{ stage: services, id: m{n}, command: [x, \"{{{{ port }}}}\"] }}]\n",
            port = 1000 + n,
            uid = 2000 + n,
        );
        project.modules.insert(format!("s/m{n}"), Source::new(format!("modules/s/m{n}.yaml"), text));
        config += &format!("  s.m{n}: {{ keep: 2d, sites: {{ a: {{ root: /srv/a }}, b: {{ root: /srv/b }} }} }}\n");
    }
    let template = "port: {{ port }}\nkeep: {{ keep }}\npeers: {{ peers }}\n{% for n, s in sites|items %}{{ n }}: {{ s.root }}\n{% endfor %}";
    project.files.insert("modules/s/m.yaml".into(), template.into());
    let image = format!("name: x\nversion: 1.0.0\nimports: [s/m{}]\nconfig:\n{config}", modules - 1);
    project.images.insert("x".into(), Source::new("images/x.yaml", image));
    project
}

#[divan::bench(args = [20, 200])]
fn modules(bencher: divan::Bencher<'_, '_>, count: usize) {
    let project = project(count);
    bencher.bench(|| evaluate(&project, "x", &[], None).expect("the project is right"));
}
