//! Targets and what is told of their machines, as far as that needs no host that answers.

use std::io::Write as _;

use super::world::{Ran, World, ran};

/// A target with one machine on a host where nobody listens: port 1 of loopback is tcpmux, which nothing serves.
const AWAY: &str = "kind: qemu\nmachines:\n  edge-1: { host: \"ops@127.0.0.1:1\" }\n";

fn world(target: &str) -> World {
    let world = World::new();
    world.write("project/targets/edge.yaml", target);
    world
}

fn with_ssh(world: &World, arguments: &[&str]) -> Ran {
    ran(world.rave().env("PATH", "/usr/bin:/bin").args(arguments))
}

#[test]
fn a_target_that_is_not_there_is_told_with_those_that_are() {
    let world = world(AWAY);
    for verb in [&["deploy", "minimal", "--to", "egde"][..], &["ps", "egde"], &["target", "stop", "egde"]] {
        let ran = world.run(verb);
        assert_eq!(ran.status, 1, "{verb:?}");
        assert!(
            ran.stderr.contains("there is no target `egde`") && ran.stderr.contains("there are: edge"),
            "{}",
            ran.stderr
        );
    }
    let ran = world.run(&["deploy", "minimal", "--to", "../edge"]);
    assert!(ran.status == 1 && ran.stderr.contains("there is no target `../edge`"), "{}", ran.stderr);
    let ran = world.run(&["deploy", "minimal", "--to", "edge", "--machine", "edge-2"]);
    assert!(ran.status == 1 && ran.stderr.contains("there are: edge-1"), "{}", ran.stderr);
}

#[test]
fn a_wrong_target_is_told_with_its_place_before_anything_is_done() {
    let world = world("kind: qemu\nmachines:\n  edge-1: { hots: root@edge }\n");
    let before = world.files();
    let ran = world.run(&["deploy", "minimal", "--to", "edge"]);
    assert_eq!(ran.status, 1);
    for part in ["targets/edge.yaml:3:13", "unknown key `hots` in a machine", "did you mean `host`?"] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    assert_eq!(world.files(), before);
    let world = self::world(&format!("identity: nowhere.txt\n{AWAY}"));
    let ran = world.run(&["deploy", "minimal", "--to", "edge"]);
    assert!(ran.status == 1 && ran.stderr.contains("targets/edge.yaml: identity: "), "{}", ran.stderr);
}

#[test]
fn a_host_that_does_not_answer_is_not_well() {
    let world = world(AWAY);
    let ran = with_ssh(&world, &["ps"]);
    assert_eq!(ran.status, 0);
    assert!(ran.stdout.contains("host does not answer") && ran.stderr.contains("Connection refused"), "{ran:?}");
    let ran = with_ssh(&world, &["ps", "--json", "--exit-code"]);
    assert_eq!(ran.status, 1);
    let rows = ran.json();
    assert_eq!(
        (&rows[0]["machine"], &rows[0]["reachable"], &rows[0]["deployed"]),
        (&"edge-1".into(), &false.into(), &().into())
    );
    let ran = with_ssh(&world, &["target", "restart", "edge"]);
    assert!(ran.status == 2 && ran.stderr.contains("ops@127.0.0.1: ssh: connect to host"), "{ran:?}");
}

#[test]
fn a_project_without_targets_has_no_machines() {
    let ran = World::new().run(&["ps", "--json", "--exit-code"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (0, "[]\n"));
}

/// A target in a cluster. Of kubectl there is what the world's PATH has.
const CLUSTER: &str = "kind: kubevirt\nnamespace: shop\nrepository: registry.example.org/vm/minimal\n\
                       machines: { shop-1: {}, shop-2: {} }\n";

#[test]
fn a_cluster_without_kubectl_is_told_of() {
    let world = world(CLUSTER);
    let ran = ran(world.rave().env("PATH", "/nonexistent").args(["ps", "--json", "--exit-code"]));
    assert_eq!(ran.status, 1);
    let rows = ran.json();
    assert_eq!((&rows[0]["host"], &rows[1]["machine"]), (&"namespace shop".into(), &"shop-2".into()));
    assert!(rows[0]["error"].as_str().unwrap().contains("kubectl get: cannot run kubectl"), "{rows}");
}

#[test]
fn a_cluster_takes_images_that_are_provisioned_by_user_data() {
    let world = world(CLUSTER);
    let before = world.files();
    let ran = world.run(&["deploy", "minimal", "--to", "edge"]);
    assert_eq!(ran.status, 1);
    assert!(ran.stderr.contains("it has no cloud-init") && ran.stderr.contains("cloud.enable: true"), "{}", ran.stderr);
    let ran = world.run(&["deploy", "minimal", "--to", "edge", "--machine", "edge-1"]);
    assert!(ran.status == 1 && ran.stderr.contains("there are: shop-1, shop-2"), "{}", ran.stderr);
    assert_eq!(world.files(), before);
    let world = self::world(&format!("kubeconfig: keys/cluster.yaml\n{CLUSTER}"));
    let ran = world.run(&["target", "logs", "edge"]);
    assert!(
        ran.status == 1 && ran.stderr.contains("targets/edge.yaml: kubeconfig: there is no file"),
        "{}",
        ran.stderr
    );
    let world = self::world("kind: kubevirt\nnamespace: shop\nreposiory: registry.example.org/a\nmachines: { a: }\n");
    let ran = world.run(&["deploy", "minimal", "--to", "edge"]);
    for part in ["targets/edge.yaml:3:1", "did you mean `repository`?", "has no `repository`"] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
}

#[test]
fn what_somebody_has_changed_in_a_cluster_is_drift() {
    let world = world(CLUSTER);
    let told = serde_json::json!({
        "kind": "VirtualMachine",
        "metadata": {"name": "shop-1", "labels": {"rave.target": "edge"}, "annotations": {"rave.version": "1.0"}},
        "spec": {"template": {"spec": {"domain": {"cpu": {"cores": 2}, "memory": {"guest": "2048Mi"}}}}},
    });
    let mut object = told.clone();
    object["metadata"]["annotations"]["rave.applied"] = told.to_string().into();
    object["metadata"]["annotations"]["rave.confirmed"] = "true".into();
    object["status"] = serde_json::json!({"printableStatus": "Running", "ready": true});
    let listed = |object: &serde_json::Value| {
        let answer = world.write("answer.json", serde_json::json!({"items": [object]}).to_string());
        let ran = with_tool(&world, "kubectl", &format!("cat {}", answer.display()), &["ps", "--json"]);
        let rows = ran.json();
        assert_eq!(rows[1]["drift"], serde_json::json!(["not deployed"]), "{ran:?}");
        rows[0].clone()
    };
    object["spec"]["template"]["spec"]["domain"]["memory"]["guest"] = "2Gi".into();
    let row = listed(&object);
    assert_eq!((&row["deployed"]["verdict"], &row["drift"]), (&"healthy".into(), &serde_json::json!([])));
    object["spec"]["template"]["spec"]["domain"]["cpu"]["cores"] = 4.into();
    let drift = serde_json::json!(["changed in the cluster: spec.template.spec.domain.cpu.cores is 4, not 2"]);
    assert_eq!(listed(&object)["drift"], drift);
}

const CLOUD: &str = "kind: aws\nregion: eu-central-1\nssh-key: check\nmachines:\n  web-1: { instance-type: t3.small, user-data: web-1.yaml }\n";

/// A cloud whose tool answers as a script does, or fails.
fn with_aws(world: &World, script: &str, arguments: &[&str]) -> Ran {
    with_tool(world, "aws", script, arguments)
}

/// A cloud or a cluster, by a tool that does what a script says.
fn with_tool(world: &World, tool: &str, script: &str, arguments: &[&str]) -> Ran {
    use std::os::unix::fs::PermissionsExt as _;
    world.write(&format!("bin/{tool}"), format!("#!/bin/sh\n{script}\n"));
    let folder = world.path("bin");
    std::fs::set_permissions(folder.join(tool), std::fs::Permissions::from_mode(0o755)).unwrap();
    ran(world.rave().env("PATH", format!("{}:/usr/bin:/bin", folder.display())).args(arguments))
}

#[test]
fn what_a_cloud_needs_is_told_before_anything_is_built() {
    let world = world(CLOUD);
    let deploy = ["deploy", "minimal", "--to", "edge"];
    let ran = world.run(&deploy);
    assert!(ran.status == 1 && ran.stderr.contains("ssh-key: there is no file check"), "{}", ran.stderr);
    world.write("project/check", "");
    let ran = world.run(&deploy);
    let told = "targets/edge.yaml:5:3: user-data: ";
    assert!(ran.status == 1 && ran.stderr.contains(told) && ran.stderr.contains("cloud-init render"), "{}", ran.stderr);
    world.write("project/web-1.yaml", "#cloud-config\nwrite_files: [{path: /x, content: AGE-SECRET-KEY-1QQ}]\n");
    let ran = world.run(&deploy);
    assert!(ran.status == 1 && ran.stderr.contains("an age identity in plain text"), "{}", ran.stderr);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"#cloud-config\n# AGE-SECRET-KEY-1QQ\n").unwrap();
    let packed = packed.finish().unwrap();
    world.write("project/web-1.yaml", &packed);
    let ran = world.run(&deploy);
    assert!(ran.status == 1 && ran.stderr.contains("an age identity in plain text"), "{}", ran.stderr);
    world.write("project/web-1.yaml", &packed[..20]);
    let ran = world.run(&deploy);
    assert!(ran.status == 1 && ran.stderr.contains("no whole gzip file"), "{}", ran.stderr);
    world.write("project/web-1.yaml", format!("#cloud-config\n#{}\n", "x".repeat(16 << 10)));
    let ran = world.run(&deploy);
    assert!(ran.status == 1 && ran.stderr.contains("takes 16384"), "{}", ran.stderr);
    world.write("project/web-1.yaml", "#cloud-config\n");
    let ran = self::ran(world.rave().env("PATH", "/nonexistent").args(deploy));
    assert!(ran.status == 1 && ran.stderr.contains("aws is not installed"), "{}", ran.stderr);
    let ran = world.run(&["deploy", "minimal", "--to", "edge", "--machine", "web-2"]);
    assert!(ran.status == 1 && ran.stderr.contains("there are: web-1"), "{}", ran.stderr);
    let ran = world.run(&["target", "remove", "edge"]);
    assert!(ran.status == 1 && ran.stderr.contains("--purge"), "{}", ran.stderr);
    world.write("project/targets/edge.yaml", CLOUD.replace("ssh-key: check\n", ""));
    let ran = world.run(&deploy);
    assert!(ran.status == 1 && ran.stderr.contains("the target has no `ssh-key`"), "{}", ran.stderr);
    let google = "kind: gcp\nproject: p\nzone: z\nbucket: b\nssh-key: check\nmachines:\n  \
                  web-1: { machine-type: t, user-data: web-1.yaml }\n";
    world.write("project/targets/edge.yaml", google);
    world.write("project/web-1.yaml", &packed);
    let ran = world.run(&deploy);
    assert!(ran.status == 1 && ran.stderr.contains("this cloud's tool cannot send"), "{}", ran.stderr);
}

#[test]
fn machines_in_a_cloud_are_listed_and_what_it_answers_is_not_trusted() {
    let world = world(CLOUD);
    world.write("project/web-1.yaml", "#cloud-config\n");
    let tag = |key: &str, value: &str| format!("{{\"Key\":\"rave-{key}\",\"Value\":\"{value}\"}}");
    let tags = [("target", "edge"), ("machine", "web-1"), ("image", "web"), ("version", "1.0"), ("state", "well")];
    let tags: Vec<String> = tags.iter().map(|(key, value)| tag(key, value)).collect();
    let instance = |address: &str| {
        format!(
            "echo '[{{\"id\":\"i-1\",\"state\":\"running\",\"public\":\"{address}\",\"tags\":[{}]}}]'",
            tags.join(",")
        )
    };
    let ran = with_aws(&world, &instance("198.51.100.7"), &["ps", "--json", "--exit-code"]);
    let row = &ran.json()[0];
    assert_eq!((ran.status, &row["machine"], &row["deployed"]["version"]), (1, &"web-1".into(), &"1.0".into()));
    assert_eq!(row["drift"], serde_json::json!(["declared otherwise"]));
    let left = world.write("state/rave/.rave-cloud-dead/web-1.user-data", "secret");
    let ran = with_aws(&world, "echo '[]'", &["ps"]);
    assert!(!left.parent().unwrap().exists(), "what a killed program has left is still there");
    assert!(ran.status == 0 && ran.stdout.contains("not deployed"), "{ran:?}");
    for script in [&instance("$(reboot)")[..], "echo '{'", "echo Unable to locate credentials >&2; exit 255"] {
        let ran = with_aws(&world, script, &["ps", "--exit-code"]);
        assert!(ran.status == 1 && ran.stdout.contains("the cloud does not answer"), "{ran:?}");
        let ran = with_aws(&world, script, &["target", "stop", "edge"]);
        assert_eq!(ran.status, 2, "{ran:?}");
    }
    let ran = with_aws(&world, "echo Unable to locate credentials >&2; exit 255", &["target", "stop", "edge"]);
    assert!(ran.stderr.contains("aws configure"), "{ran:?}");
    let log = world.path("log");
    let script = format!(
        "echo \"$*\" >> {}; case \"$*\" in *Reservations*) {} ;; esac",
        log.display(),
        instance("198.51.100.7")
    );
    let ran = with_aws(&world, &script, &["target", "stop", "edge"]);
    let calls = std::fs::read_to_string(log).unwrap();
    assert!(ran.status == 0 && calls.contains("ec2 stop-instances --instance-ids i-1"), "{ran:?} {calls}");
}
