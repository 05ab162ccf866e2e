//! `rave schema`: held against every image and module of the repository by a validator of draft 2020-12.

use std::path::{Path, PathBuf};

use boon::{Compiler, Schemas};
use rave::check::{CheckReport, Report, Stage, StageReport};
use serde_json::Value;

use super::world::World;

struct Schema {
    schemas: Schemas,
    index: boon::SchemaIndex,
}

impl Schema {
    fn new(schema: Value) -> Self {
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("mem:schema", schema).unwrap();
        let index = compiler.compile("mem:schema", &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
        Self { schemas, index }
    }

    /// Of the images or modules of this repository's library.
    fn of(kind: &str) -> Self {
        Self::new(World::new().run(&["schema", kind]).json())
    }

    fn judge(&self, text: &str) -> Result<(), String> {
        let value: serde_yaml::Value = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        self.schemas.validate(&json(value), self.index).map_err(|error| format!("{error:#}"))
    }
}

/// As an editor sees it: tags of ours are left out.
fn json(value: serde_yaml::Value) -> Value {
    match value {
        serde_yaml::Value::Tagged(tagged) => json(tagged.value),
        serde_yaml::Value::Sequence(items) => items.into_iter().map(json).collect(),
        serde_yaml::Value::Mapping(entries) => {
            let key = |key| json(key).as_str().unwrap().to_owned();
            entries.into_iter().map(|(name, value)| (key(name), json(value))).collect()
        }
        other => serde_json::to_value(other).unwrap(),
    }
}

fn yaml(folder: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut files);
    files
}

#[test]
fn every_image_and_module_of_the_library_is_valid() {
    for (kind, folder) in [("image", "images"), ("module", "modules")] {
        let schema = Schema::of(kind);
        let files = yaml(folder);
        assert!(!files.is_empty());
        for path in files {
            let judged = schema.judge(&std::fs::read_to_string(&path).unwrap());
            assert!(judged.is_ok(), "{}: {}", path.display(), judged.unwrap_err());
        }
    }
}

#[test]
fn reports_are_valid_by_the_published_schema_and_others_are_not() {
    let world = World::new();
    let ran = world.run(&["schema", "report"]);
    assert_eq!(ran.clean(), include_str!("../../docs/check.schema.json"));
    let schema = Schema::new(ran.json());
    let judge = |report: &Value| schema.schemas.validate(report, schema.index).map_err(|error| format!("{error:#}"));
    let verdicts = ["unhealthy", "skipped", "warning", "healthy", "not-applicable"];
    let mut number = 0;
    let mut check = |stage: Stage| -> CheckReport {
        number += 1;
        serde_json::from_value(serde_json::json!({
            "id": format!("{stage}.mount./dev/shm"), "verdict": verdicts[number % verdicts.len()], "expected": "a",
            "observed": "", "option": (number % 2 == 0).then_some("a.b"), "evidence": "", "ms": number,
        }))
        .unwrap()
    };
    let report = Report::new(Stage::ALL.map(|stage| StageReport::new(stage, vec![check(stage), check(stage)])).into());
    let good = serde_json::to_value(&report).unwrap();
    assert_eq!(judge(&good), Ok(()));
    let nothing = Report::new(Stage::ALL.map(StageReport::not_applicable).into());
    assert_eq!(judge(&serde_json::to_value(nothing).unwrap()), Ok(()));
    let spoilt: [fn(&mut Value); 7] = [
        |report| drop(report.as_object_mut().unwrap().shift_remove("healthy")),
        |report| report["more"] = 1.into(),
        |report| drop(report["stages"].as_array_mut().unwrap().pop()),
        |report| report["stages"].as_array_mut().unwrap().swap(0, 1),
        |report| report["stages"][0]["verdict"] = "fine".into(),
        |report| report["stages"][0]["checks"][0]["ms"] = Value::from(-1),
        |report| report["stages"][0]["checks"][0]["id"] = "moon.phase".into(),
    ];
    for (number, spoil) in spoilt.into_iter().enumerate() {
        let mut report = good.clone();
        spoil(&mut report);
        assert!(judge(&report).is_err(), "{number}");
    }
}

#[test]
fn sarif_is_what_its_standard_demands() {
    let schema = Schema::new(serde_json::from_str(include_str!("sarif.schema.json")).unwrap());
    let judge = |log: &Value| schema.schemas.validate(log, schema.index).map_err(|error| format!("{error:#}"));
    let check = |(id, verdict): (&str, &str)| -> CheckReport {
        let check = serde_json::json!({
            "id": id, "verdict": verdict, "expected": "a", "observed": "b", "option": "network.firewall.enable",
            "evidence": "", "ms": 1,
        });
        serde_json::from_value(check).unwrap()
    };
    let checks = [("security.sockets", "unhealthy"), ("security.cmdline", "warning"), ("security.sysctl.x", "skipped")];
    let report = Report::new(vec![StageReport::new(Stage::Security, checks.map(check).into())]);
    let origin = rave::system::OptionValue { value: true.into(), origin: "images/web.yaml:3:5".to_owned() };
    let options = [("network.firewall.enable".parse().unwrap(), origin)].into();
    let log = rave::check::sarif(&report, &options);
    assert_eq!(judge(&log), Ok(()));
    assert_eq!(log["runs"][0]["results"].as_array().unwrap().len(), 3);
    let spoilt: [fn(&mut Value); 4] = [
        |log| log["version"] = "2.0.0".into(),
        |log| log["runs"][0]["results"][2]["level"] = "error".into(),
        |log| log["runs"][0]["results"][0]["message"] = Value::Null,
        |log| log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]["startLine"] = 0.into(),
    ];
    for (number, spoil) in spoilt.into_iter().enumerate() {
        let mut log = log.clone();
        spoil(&mut log);
        assert!(judge(&log).is_err(), "{number}");
    }
}

/// Faults that only more than one file, or the parser itself, shows.
const BEYOND: [&str; 6] = ["bad-name", "breakout", "conflict", "duplicate-option", "files", "reference"];

#[test]
fn wrong_images_are_invalid() {
    let schema = Schema::of("image");
    let name = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let valid = |path: &PathBuf| schema.judge(&std::fs::read_to_string(path).unwrap()).is_ok();
    let files = yaml("tests/cli/wrong");
    let mut passed: Vec<String> = files.iter().filter(|path| valid(path)).map(name).collect();
    passed.sort();
    assert_eq!(passed, BEYOND);
}

#[test]
fn options_are_known_nested_and_dotted_with_their_types() {
    let schema = Schema::of("image");
    let image = |config: &str| schema.judge(&format!("name: x\nversion: 1.0.0\nconfig:\n{config}"));
    for good in [
        "  system.hostname: x\n",
        "  system: { hostname: x }\n",
        "  base:\n    firewall.tcp: [80]\n",
        "  base.firewall:\n    tcp: [80]\n    ssh.rate: 5\n",
        "  base.firewall.tcp: \"{{ [1] }}\"\n",
        "  machine.memory: !force 3G\n",
        "  environment.files:\n    /etc/a: { text: x }\n",
        "  environment.files./etc/a: { text: x }\n",
        "  environment.files./etc/a.text: x\n",
        "  environment: { files./etc/a.text: \"{{ mode }}\" }\n",
        "  services.nginx.sites.a.port: 8080\n",
        "  services.nginx: { sites.a: { port: 8080 } }\n",
        "",
    ] {
        assert_eq!(image(good), Ok(()), "{good}");
    }
    for bad in [
        "  system.hostnam: x\n",
        "  system: { hostnam: x }\n",
        "  base.firewall.tcp: [99999]\n",
        "  base.firewall.tcp: 80\n",
        "  base.firewall.ssh.rate: 0\n",
        "  machine.memory: 3Q\n",
        "  system.recommends: yes-please\n",
        "  environment.files:\n    /etc/a: { txt: x }\n",
        "  environment.files./etc/a: { txt: x }\n",
        "  environment.files./etc/a.txt: x\n",
        "  environment.files./etc/a.text.x: x\n",
        "  services.nginx.sites.a.port: 70000\n",
        "  services.nginx: { sites.a.nope: 1 }\n",
        "  base.firewall.tcp.x: 80\n",
        "  services.prometheus.retention: 7\n",
    ] {
        assert!(image(bad).is_err(), "{bad}");
    }
}

#[test]
fn modules_are_judged_by_their_keys_and_declarations() {
    let schema = Schema::of("module");
    let module = |rest: &str| schema.judge(&format!("description: M.\n{rest}"));
    for good in [
        "options: { enable: { type: bool, default: false, description: E. }, group: { x: { type: list, of: port } } }\n",
        "options: { type: { type: { type: string } } }\n",
        "packages: [a, \"{{ b }}\"]\n",
        "packages: \"{{ b }}\"\n",
        "units: { a.service: { service: { ExecStart: [\"\", x], Restart: always }, enable: true } }\n",
        "set: { system.hostname: x }\n",
    ] {
        assert_eq!(module(good), Ok(()), "{good}");
    }
    for bad in [
        "option: {}\n",
        "options: { x: { type: strnig } }\n",
        "options: { x: { type: int, dfault: 1 } }\n",
        "options: { \"1\": { type: int } }\n",
        "packages: {}\n",
        "units: { a.service: { servce: {} } }\n",
        "set: { system.hostnam: x }\n",
    ] {
        assert!(module(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_projects_own_modules_are_in_its_schema_with_descriptions() {
    let world = World::new();
    world.write(
        "project/modules/a.yaml",
        "description: A.\noptions: { x: { type: enum, values: [b, c], default: b, example: c, description: Which. } }\n",
    );
    let ran = world.run(&["schema", "--output", "out", "--json"]);
    assert_eq!(ran.json()["schemas"].as_array().unwrap().len(), 2);
    let text = std::fs::read_to_string(world.path("project/out/image.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let option = &schema["$defs"]["option.a.x"];
    assert_eq!(
        (&option["description"], &option["default"], &option["examples"][0]),
        (&"Which.".into(), &"b".into(), &"c".into())
    );
    assert_eq!(world.run(&["schema"]).clean(), text);
    let schema = Schema::new(schema);
    assert_eq!(schema.judge("name: x\nversion: 1.0.0\nimports: [a]\nconfig: { a.x: c }\n"), Ok(()));
    assert!(schema.judge("name: x\nversion: 1.0.0\nconfig: { a.x: d }\n").is_err());
    assert!(schema.judge("name: x\nversion: 1.0.0\nimports: [b]\n").is_err());
}
