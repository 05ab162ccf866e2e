use std::path::Path;

use boon::{Compiler, SchemaIndex, Schemas};

use super::*;
use crate::deploy::Target;
use crate::images::fixture;
use crate::origin::Source;

/// The schemas of Kubernetes and KubeVirt; tests/vectors/kubernetes/README.md says whence they are.
struct Api {
    schemas: Schemas,
    known: Vec<(&'static str, SchemaIndex)>,
}

impl Api {
    fn new() -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/kubernetes");
        for name in ["kubernetes", "kubevirt"] {
            let bytes = crate::disk::read(folder.join(format!("{name}.json"))).unwrap();
            compiler.add_resource(&format!("mem:{name}"), serde_json::from_slice(&bytes).unwrap()).unwrap();
        }
        let known = [
            ("VirtualMachine", "mem:kubevirt#/definitions/v1.VirtualMachine"),
            ("Secret", "mem:kubernetes#/definitions/io.k8s.api.core.v1.Secret"),
            ("Service", "mem:kubernetes#/definitions/io.k8s.api.core.v1.Service"),
            ("NetworkPolicy", "mem:kubernetes#/definitions/io.k8s.api.networking.v1.NetworkPolicy"),
            ("PodDisruptionBudget", "mem:kubernetes#/definitions/io.k8s.api.policy.v1.PodDisruptionBudget"),
        ];
        let known = known.map(|(kind, place)| (kind, compiler.compile(place, &mut schemas).unwrap()));
        Self { schemas, known: known.into() }
    }

    fn judge(&self, object: &Value) -> Result<(), String> {
        let kind = object["kind"].as_str().unwrap();
        let (_, index) = self.known.iter().find(|(known, _)| *known == kind).unwrap();
        self.schemas.validate(object, *index).map_err(|error| format!("{error:#}"))
    }
}

fn target(more: &str) -> Cluster {
    let text = format!("kind: kubevirt\nnamespace: shop\nrepository: registry.example.org/vm/shop\n{more}");
    Target::parse("edge", &Source::new("targets/edge.yaml", text)).unwrap().cluster.unwrap()
}

fn manifest(open: &[&str]) -> Manifest {
    let mut manifest = fixture::manifest();
    let option = || "base.firewall.open".parse().unwrap();
    manifest.expect.open = open.iter().map(|open| ((*open).to_owned(), option())).collect();
    manifest
}

fn rendered(cluster: &Cluster, manifest: &Manifest) -> Vec<Value> {
    let (image, given) = (&Digest::of(b"image"), &Digest::of(b"given"));
    let parts = Parts { target: "edge", cluster, manifest, image, given };
    let machines = cluster.machines.iter().map(|machine| parts.machine(machine));
    parts.shared().into_iter().chain(machines).collect()
}

#[test]
fn manifests_of_a_target() {
    let cluster = target("pull-secret: registry\nservice: LoadBalancer\nmachines: { shop-1: {} }");
    let mut manifest = manifest(&["tcp/22", "tcp/3002", "udp/68"]);
    manifest.packages.insert("qemu-guest-agent".parse().unwrap(), "1".to_owned());
    insta::assert_snapshot!(to_yaml(&rendered(&cluster, &manifest)).unwrap());
}

#[test]
fn the_api_takes_them() {
    let (api, cluster) = (Api::new(), target("machines: { shop-1: {}, shop-2: {} }"));
    for (open, count) in [(&["tcp/22"][..], 4), (&["tcp/22", "tcp/3002", "udp/5353"], 5)] {
        let manifest = manifest(open);
        let objects = rendered(&cluster, &manifest);
        assert_eq!(objects.len(), count, "a Service only for what it can offer");
        for object in &objects {
            api.judge(object).unwrap_or_else(|error| panic!("{object:#}: {error}"));
        }
        let (image, given) = (&Digest::of(b"image"), &Digest::of(b"given"));
        let parts = Parts { target: "edge", cluster: &cluster, manifest: &manifest, image, given };
        let secret = parts.secret("#cloud-config\n");
        api.judge(&secret).unwrap();
        assert_eq!(secret_of(objects.last().unwrap()), secret["metadata"]["name"].as_str());
    }
    // The judge is awake.
    let mut wrong = rendered(&cluster, &manifest(&["tcp/22"])).pop().unwrap();
    wrong["spec"]["template"]["spec"]["domain"]["firmware"]["bootloader"]["efi"]["secureboot"] = true.into();
    assert!(api.judge(&wrong).unwrap_err().contains("secureboot"));
    let mut wrong = rendered(&cluster, &manifest(&["tcp/22"])).remove(1);
    wrong["spec"]["minAvailable"] = json!([]);
    api.judge(&wrong).unwrap_err();
}

#[test]
fn what_is_written_down_is_not_in_what_is_written_down() {
    let cluster = target("machines: { shop-1: {} }");
    let machine = rendered(&cluster, &manifest(&["tcp/22"])).pop().unwrap();
    let probe = &machine["spec"]["template"]["spec"]["livenessProbe"];
    assert_eq!(probe["tcpSocket"]["port"], SSH, "an image without the agent is asked another way");
    let all = annotated(&machine, Some(&machine), true);
    Api::new().judge(&all).unwrap();
    for key in [APPLIED, PREVIOUS] {
        let kept = all["metadata"]["annotations"][key].as_str().unwrap();
        assert_eq!(serde_json::from_str::<Value>(kept).unwrap(), machine);
    }
    assert_eq!(title(&machine), format!("test 1 (safe, root hash {})", Digest::of(b"root").short()));
    let disk = format!("registry.example.org/vm/shop@sha256:{}", Digest::of(b"image"));
    assert_eq!(disk_of(&machine["spec"]["template"]["spec"]), Some(disk.as_str()));
    assert_eq!(image_of(&machine), Some(Digest::of(b"image")));
}
