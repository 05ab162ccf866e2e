//! The module of the webhook dispatcher against the program: what it renders is what `rave guest webhook` reads, and
//! whatever options hold stays in its place.
#![allow(clippy::disallowed_methods, reason = "tests look from outside")]

use std::path::Path;

use rave::guest::webhook::config::Config;
use rave::modules::{Project, evaluate};
use rave::origin::Source;
use rave::system::System;
use rave::tree::Content;

const IMAGE: &str = r#"
name: hook
version: 1.0.0
config:
  services.postgresql: { enable: true, port: 5433 }
  services.prometheus.enable: true
  services.dashboards.enable: true
  services.webhook:
    enable: true
    window: 10m
    sources:
      shop: { secret: shop-webhook, previous-secret: shop-old, schemes: [standard] }
    handlers:
      deploy:
        events: [push, 'a "quoted" \ type', "*"]
        sources: [default, shop]
        command: [/usr/bin/touch, '/tmp/a b$c%d"e']
        credentials: [shop-webhook]
        timeout: 2m
      reindex: { events: ["invoice.*"], unit: reindex.service, network: true }
"#;

fn below(folder: &Path, project: &mut Project) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            below(&path, project);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let name = path.to_string_lossy().into_owned();
        if let Some(module) = name.strip_prefix("modules/").and_then(|name| name.strip_suffix(".yaml")) {
            let text = String::from_utf8(bytes.clone()).unwrap();
            project.modules.insert(module.to_owned(), Source::new(name.clone(), text));
        }
        project.files.insert(name, bytes);
    }
}

fn system(image: &str) -> System {
    let mut project = Project::default();
    below(Path::new("modules"), &mut project);
    project.images.insert("hook".to_owned(), Source::new("images/hook.yaml", image.to_owned()));
    evaluate(&project, "hook", &[], None)
        .map_err(|all| all.iter().map(|d| format!("{d:?}\n")).collect::<String>())
        .unwrap()
        .system
}

fn file(system: &System, path: &str) -> String {
    match &system.tree[&path.parse().unwrap()].content {
        Content::File(bytes) => String::from_utf8(bytes.clone()).unwrap(),
        other => panic!("{path} is {other:?}"),
    }
}

#[test]
fn the_dispatcher_reads_what_the_module_renders() {
    let system = system(IMAGE);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("webhook.json");
    std::fs::write(&path, file(&system, "/etc/rave/webhook.json")).unwrap();
    let config = Config::read(&path).unwrap();
    assert_eq!((config.port, config.body, config.window, config.database.port), (8090, 1 << 20, 600, 5433));
    let sources: Vec<&str> = config.sources.keys().map(|name| name.as_str()).collect();
    assert_eq!(sources, ["default", "shop"]);
    let [shop] = &config.sources.values().filter(|source| source.previous_secret.is_some()).collect::<Vec<_>>()[..]
    else {
        panic!("{:?}", config.sources)
    };
    assert_eq!((shop.secret.as_str(), shop.previous_secret.as_deref()), ("shop-webhook", Some("shop-old")));
    let deploy = &config.handlers[&"deploy".parse().unwrap()];
    assert_eq!((&deploy.events[1][..], deploy.timeout, deploy.concurrency), (r#"a "quoted" \ type"#, 120, 1));
    // What the dispatcher needs of systemd is in its unit, and in those of its handlers.
    let unit = file(&system, "/etc/systemd/system/webhook.service");
    for name in ["webhook-secret", "shop-webhook", "shop-old"] {
        assert!(system.secrets.contains_key(name), "{name}");
        assert!(unit.contains(&format!("LoadCredential={name}:/run/secrets/{name}\n")), "{unit}");
    }
    for (name, _) in config.handlers {
        let socket = file(&system, &format!("/etc/systemd/system/webhook-{name}.socket"));
        let path = config.sockets.join(format!("{name}.sock"));
        assert!(socket.contains(&format!("ListenStream={}\n", path.display())), "{socket}");
        assert!(socket.contains("SocketGroup=webhook\nSocketMode=0660\n"), "{socket}");
    }
    let service = file(&system, "/etc/systemd/system/webhook-deploy@.service");
    let command = r#"ExecStart=:/usr/bin/rave guest webhook-handle -- /usr/bin/touch "/tmp/a b$c%%d\"e""#;
    assert!(service.contains(command) && service.contains("PrivateNetwork=true"), "{service}");
    let service = file(&system, "/etc/systemd/system/webhook-reindex@.service");
    assert!(service.contains("Requires=reindex.service\nAfter=reindex.service\n"), "{service}");
    assert!(!service.contains("PrivateNetwork"), "{service}");
}

#[test]
fn a_handler_that_does_nothing_and_a_missing_database_are_errors() {
    for (from, to, wanted) in [
        ("command: [/usr/bin/touch, '/tmp/a b$c%d\"e']", "command: []", "neither a command nor a unit"),
        (
            "services.postgresql: { enable: true, port: 5433 }",
            "services.postgresql.port: 5433",
            "services.postgresql.enable is false",
        ),
    ] {
        let mut project = Project::default();
        below(Path::new("modules"), &mut project);
        let image = IMAGE.replace(from, to);
        assert_ne!(image, IMAGE);
        project.images.insert("hook".to_owned(), Source::new("images/hook.yaml", image));
        let told = evaluate(&project, "hook", &[], None).map(drop).unwrap_err();
        assert!(told.iter().any(|told| told.message.contains(wanted)), "{told:?}");
    }
}
