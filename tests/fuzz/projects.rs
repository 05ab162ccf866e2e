//! What users and modules write: images, modules, templates, names and quantities.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rave::cloud::validate::{self, Rules};
use rave::cloud::{Target, iso};
use rave::modules::{Project, evaluate, format, lint};
use rave::name::{GuestPath, ImageName, OptionPath, PackageName, Version};
use rave::origin::Source;
use rave::system::Mode;

use super::search::Parser;

/// Pieces of modules and images.
const WORDS: &[&str] = &[
    "options:\n",
    "set:\n",
    "config:\n",
    "imports: [",
    "extends: minimal\n",
    "extends: x\n",
    "when: \"{{",
    "each: \"{{",
    "type: submodule",
    "type: list",
    "of: ",
    "one-of",
    "type: calendar",
    "type: duration",
    "!force ",
    "!default ",
    "!before ",
    "!after ",
    "{% for x in range(9999) %}",
    "{{ secret('x') }}",
    "|items",
    "|join('x')",
    "'x' * 9999",
    "~",
    "template: a",
    "source: /etc/shadow",
    "*:*:0/5",
    "Mon..Sun *-*-* 99:99",
    "9999999999d",
    "99999T",
    "packages:\n",
    "units:\n",
    "files:\n",
];

/// What a cloud hands over.
const USER_DATA: &str = "#cloud-config\nusers: &u [default, {name: ana, uid: 0644}]\nb: {<<: {c: *u}, d: yes}\n";
const SCHEMA: &str = r#"{"properties": {"users": {"items": {"oneOf": [{"type": "string"}, {"required": ["name"]}]}}}}"#;

/// All files below a folder whose names end so, sorted.
fn below(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { below(&path, all) } else { all.push(path) }
    }
    all.sort();
}

/// The library with its images, and the images that try all of it.
pub fn library() -> Project {
    let mut paths = Vec::new();
    for folder in ["modules", "images", "tests/library"] {
        below(Path::new(folder), &mut paths);
    }
    let mut project = Project::default();
    for path in paths {
        let bytes = std::fs::read(&path).unwrap();
        let name = path.to_string_lossy().into_owned();
        let stem = name.strip_suffix(".yaml").map(|stem| stem.trim_start_matches("tests/library/"));
        match stem.and_then(|stem| Some((stem, String::from_utf8(bytes.clone()).ok()?))) {
            Some((stem, text)) if stem.starts_with("modules/") => {
                let module = stem.trim_start_matches("modules/").to_owned();
                project.modules.insert(module, Source::new(name.clone(), text));
            }
            Some((stem, text)) => {
                let image = stem.trim_start_matches("images/").to_owned();
                project.images.insert(image, Source::new(name.clone(), text));
            }
            None => {}
        }
        project.files.insert(name.replace("tests/library/", "images/"), bytes);
    }
    project
}

/// A project of one image and one module, of few words, so that many rounds are had.
fn small(module: &str, image: &str) -> Project {
    let mut project = Project::default();
    project.modules.insert("a".to_owned(), Source::new("modules/a.yaml", module));
    project.images.insert("x".to_owned(), Source::new("images/x.yaml", image));
    project
}

const MODULE: &str = r#"description: A.
options:
  enable: { type: bool, default: true, description: Run it. }
  port: { type: port, default: 80, min: 1 }
  keep: { type: duration, default: 168h, max: 30d }
  at: { type: calendar, default: 'Mon..Fri *-*-* 04:00/15' }
  size: { type: size, default: 64M }
  path: { type: guest-path, default: /srv }
  sites: { type: map, default: {}, of: { type: submodule, options: { root: { type: guest-path } } } }
when: "{{ enable and keep >= '1h' }}"
packages: [jq]
users: { web: { uid: 900, group: web, groups: [adm] } }
groups: { web: { gid: 900 } }
files:
  /etc/a.json: { text: "{% for n, s in sites|items %}{{ [n, s.root] }}{% endfor %}\n", mode: "0600" }
units:
  a.service:
    service: { User: web, MemoryMax: "{{ size }}", ExecStart: "/bin/a {{ path }}" }
    install: { WantedBy: a.target }
    enable: true
sysctl: { kernel.a: "{{ port }}" }
open: ["tcp/{{ port }}"]
secrets: { db: { kind: password, owner: web, units: [a.service] } }
assertions: [{ that: "{{ port != 22 }}", message: no }]
probes: [{ stage: services, id: a.b, command: [x], contains: y }]
"#;

const IMAGE: &str = r#"name: x
version: 1.0
imports: [a]
config: { a.sites.one.root: /srv, a.port: "{{ 80 + 1 }}", a.keep: 7d }
"#;

pub fn parsers() -> Vec<Parser> {
    let whole = Arc::new(library());
    let texts = |of: &std::collections::BTreeMap<String, Arc<Source>>| {
        of.values().map(|source| source.text.clone().into_bytes()).collect::<Vec<_>>()
    };
    let (images, modules) = (texts(&whole.images), texts(&whole.modules));
    let yaml: Vec<Vec<u8>> = images.iter().chain(&modules).cloned().collect();
    let (first, second) = (Arc::clone(&whole), whole);
    vec![
        Parser::text("image", 25, images, move |text| {
            let mut project = (*first).clone();
            project.images.insert("x".to_owned(), Source::new("images/x.yaml", text));
            let _ = evaluate(&project, "x", &[], Some(Mode::Safe));
        })
        .words(WORDS),
        Parser::text("module", 25, modules, move |text| {
            let mut project = (*second).clone();
            project.modules.insert("services/nginx".to_owned(), Source::new("modules/services/nginx.yaml", text));
            let _ = evaluate(&project, "library", &[], None);
        })
        .words(WORDS),
        Parser::text("small-module", 500, [MODULE], |text| drop(evaluate(&small(text, IMAGE), "x", &[], None)))
            .words(WORDS),
        Parser::text("small-image", 500, [IMAGE], |text| drop(evaluate(&small(MODULE, text), "x", &[], None)))
            .words(WORDS),
        Parser::text("set", 500, ["a.port=81", "a.sites={x: {root: /a}}", "a.keep='7d'"], |text| {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            let _ = evaluate(&small(MODULE, IMAGE), "x", &[(name.to_owned(), value.to_owned())], None);
        })
        .words(WORDS),
        Parser::text("format", 400, yaml, |text| {
            if let Ok(formatted) = format(&Source::new("modules/x.yaml", text)) {
                assert_eq!(
                    format(&Source::new("modules/x.yaml", formatted.clone())),
                    Ok(formatted),
                    "formatting once is enough"
                );
            }
        })
        .words(WORDS),
        Parser::new("user-data", 500, [USER_DATA], |bytes| {
            let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
            let rules = Rules { cloud_config: schema.clone(), network_1: schema.clone(), network_2: schema };
            validate::user_data("u", bytes, &rules, &Target::default(), None).unwrap();
            validate::network_config("n", bytes, &rules).unwrap();
            drop(iso::image("cidata", &[("user-data", bytes)]));
        })
        .words(&[
            "&a ",
            "*a",
            "<<: ",
            "#!/bin/sh\n",
            "!!binary ",
            "version: 2\n",
            "network:\n",
            "ethernets: {a: {match: {}}}\n",
        ]),
        Parser::text("medium", 500, ["a/b\na/c\nd", "openstack/latest/user_data"], |text| {
            let files: Vec<(&str, &[u8])> = text.lines().map(|path| (path, path.as_bytes())).collect();
            drop(iso::image("cidata", &files));
        }),
        Parser::text("lint", 300, [MODULE], |text| drop(lint(&small(text, IMAGE), &BTreeSet::new()))).words(WORDS),
        Parser::text(
            "names",
            5000,
            ["web-7", "services.nginx.sites.\"a.b\".port", "/etc/a", "libc6", "1.0.0"],
            |text| {
                let _ = (
                    text.parse::<ImageName>().is_ok(),
                    text.parse::<OptionPath>().is_ok(),
                    text.parse::<PackageName>().is_ok(),
                );
                let _ =
                    (text.parse::<GuestPath>().is_ok(), text.parse::<Version>().is_ok(), text.parse::<Mode>().is_ok());
                let _ = (text.parse::<rave::digest::Digest>().is_ok(), text.parse::<rave::uuid::Uuid>().is_ok());
                let _ = text
                    .parse::<GuestPath>()
                    .map(|path| (path.parent(), path.file_name().len(), path.relative().len()));
            },
        ),
        Parser::text("quantities", 5000, ["7d", "168h", "1.5G", "64M", "99999999999999999999y"], |text| {
            let _ = (rave::quantity::milliseconds(text), rave::quantity::bytes(text), rave::quantity::number(text));
        }),
        Parser::text("placeholders", 5000, [format!("a {} b\n", rave::system::placeholder("db"))], |text| {
            drop(rave::system::parts(text))
        }),
    ]
}

#[test]
fn what_is_damaged_was_whole() {
    assert!(evaluate(&library(), "library", &[], None).is_ok());
    assert_eq!(evaluate(&small(MODULE, IMAGE), "x", &[], None).map(|_| ()), Ok(()));
}
