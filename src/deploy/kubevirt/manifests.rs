//! What a cluster is told: the machines, and what all of them have in common. Pure; the reference are the APIs of
//! Kubernetes 1.33 and of KubeVirt (kubevirt.io/v1).

use base64::Engine as _;
use serde_json::{Value, json};

use super::Cluster;
use crate::digest::Digest;
use crate::images::Manifest;
use crate::name::ImageName;

/// Label of all that belongs to a target, and of what belongs to one machine of it.
pub const TARGET: &str = "rave.target";
/// See [`TARGET`].
pub const MACHINE: &str = "rave.machine";
/// Annotation of a machine with what it was told, as JSON.
pub const APPLIED: &str = "rave.applied";
/// The same of what it was told before and was well with: how to go back to it.
pub const PREVIOUS: &str = "rave.previous";
/// Annotation of a machine that the six stages have found well.
pub const CONFIRMED: &str = "rave.confirmed";
/// Annotations with what runs.
pub const IMAGE: &str = "rave.image";
/// See [`IMAGE`].
pub const VERSION: &str = "rave.version";
/// See [`IMAGE`].
pub const MODE: &str = "rave.mode";
/// See [`IMAGE`].
pub const ROOT_HASH: &str = "rave.root-hash";

/// The port of SSH (RFC 4253, 4.1).
pub const SSH: u16 = 22;
/// The package whose agent KubeVirt can ask whether the machine lives.
const AGENT: &str = "qemu-guest-agent";
/// How long a machine may take to shut down, in seconds.
const SHUTDOWN: u32 = 120;

/// What manifests are made of.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// Name of the target.
    pub target: &'a str,
    /// Where it runs.
    pub cluster: &'a Cluster,
    /// The image.
    pub manifest: &'a Manifest,
    /// Digest of the containerDisk that holds it.
    pub image: &'a Digest,
    /// Digest of the keys and the identity that the machines are given.
    pub given: &'a Digest,
}

/// The name of the Secret with the machines' user-data: another one for other user-data, so that machines that get it start
/// anew, and one that goes back finds what it had.
pub fn secret_name(target: &str, given: &Digest) -> String {
    format!("{}-user-data-{}", name(target), given.short())
}

/// What is not of one machine alone.
fn name(target: &str) -> String {
    format!("rave-{target}")
}

impl Parts<'_> {
    /// What all machines have in common.
    pub fn shared(&self) -> Vec<Value> {
        let mut all = vec![self.network_policy(), self.disruption_budget()];
        all.extend(self.service());
        all
    }

    /// Ports that are open in the machines, but for that of SSH, with their protocols.
    fn ports(&self) -> Vec<(&'static str, u16)> {
        let read = |open: &String| {
            let (protocol, port) = open.split_once('/')?;
            let protocol = match protocol {
                "tcp" => "TCP",
                "udp" => "UDP",
                _ => return None,
            };
            Some((protocol, port.parse().ok()?))
        };
        let open = self.manifest.expect.open.keys().filter_map(read);
        // A client of DHCP listens as well, for its server only.
        open.filter(|port| *port != ("TCP", SSH) && *port != ("UDP", 68)).collect()
    }

    fn metadata(&self, name: &str) -> Value {
        json!({
            "name": name,
            "namespace": self.cluster.namespace,
            "labels": {"app.kubernetes.io/managed-by": "rave", TARGET: self.target},
        })
    }

    fn selector(&self) -> Value {
        json!({TARGET: self.target})
    }

    /// One machine.
    pub fn machine(&self, machine: &ImageName) -> Value {
        let Self { cluster, manifest, .. } = self;
        let mut metadata = self.metadata(machine.as_str());
        metadata["labels"][MACHINE] = machine.as_str().into();
        metadata["annotations"] = json!({
            IMAGE: manifest.image,
            VERSION: manifest.version,
            MODE: manifest.mode,
            ROOT_HASH: manifest.root_hash,
        });
        let mut disk = json!({"image": cluster.repository.by_digest(self.image), "imagePullPolicy": "IfNotPresent"});
        if let Some(secret) = &cluster.pull_secret {
            disk["imagePullSecret"] = secret.as_str().into();
        }
        let memory = format!("{}Mi", manifest.machine.memory);
        let spread = json!({
            "weight": 100,
            "podAffinityTerm": {
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": {"matchLabels": self.selector()},
            },
        });
        let virtio = |name: &str| json!({"name": name, "disk": {"bus": "virtio"}});
        let (ready, live) = self.probes();
        json!({
            "apiVersion": "kubevirt.io/v1",
            "kind": "VirtualMachine",
            "metadata": metadata,
            "spec": {
                "runStrategy": "Always",
                "template": {
                    "metadata": {"labels": metadata["labels"]},
                    "spec": {
                        "architecture": "amd64",
                        "hostname": machine,
                        "terminationGracePeriodSeconds": SHUTDOWN,
                        // A drained node shuts the machine down, as the PodDisruptionBudget lets it: with another
                        // strategy KubeVirt makes a budget of its own, and a pod must not have two.
                        "evictionStrategy": "None",
                        "affinity": {
                            "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [spread]},
                        },
                        "domain": {
                            "machine": {"type": "q35"},
                            "cpu": {"cores": manifest.machine.vcpus, "sockets": 1, "threads": 1},
                            "memory": {"guest": memory},
                            // KubeVirt adds what QEMU itself needs.
                            "resources": {
                                "requests": {"memory": memory},
                                "limits": {"memory": memory, "cpu": manifest.machine.vcpus.to_string()},
                            },
                            // The unified kernel image is not signed; dm-verity holds what comes after it.
                            "firmware": {"bootloader": {"efi": {"secureBoot": false}}},
                            "features": {"acpi": {"enabled": true}},
                            "devices": {
                                "autoattachGraphicsDevice": false,
                                "logSerialConsole": true,
                                "rng": {},
                                "disks": [virtio("root"), virtio("user-data")],
                                "interfaces": [{"name": "default", "model": "virtio", "masquerade": {}}],
                            },
                        },
                        "networks": [{"name": "default", "pod": {}}],
                        "volumes": [
                            {"name": "root", "containerDisk": disk},
                            {
                                "name": "user-data",
                                "cloudInitNoCloud": {"secretRef": {"name": secret_name(self.target, self.given)}},
                            },
                        ],
                        "readinessProbe": ready,
                        "livenessProbe": live,
                    },
                },
            },
        })
    }

    /// Whether clients may be sent to the machine, and whether it is to be started anew.
    fn probes(&self) -> (Value, Value) {
        let ports = self.ports();
        let tcp = ports.iter().find(|(protocol, _)| *protocol == "TCP").map_or(SSH, |(_, port)| *port);
        let times = |ask: &str, how: Value, delay: u32, period: u32, failures: u32| {
            json!({
                ask: how,
                "initialDelaySeconds": delay,
                "periodSeconds": period,
                "timeoutSeconds": 5,
                "failureThreshold": failures,
            })
        };
        let is_served = json!({"port": tcp});
        let has_agent = self.manifest.packages.keys().any(|package| package.as_str() == AGENT);
        let live = match has_agent {
            true => times("guestAgentPing", json!({}), 300, 30, 6),
            false => times("tcpSocket", is_served.clone(), 300, 30, 6),
        };
        (times("tcpSocket", is_served, 10, 10, 3), live)
    }

    /// What clients reach all machines by; none if they have nothing to offer but SSH, which is of one machine.
    fn service(&self) -> Option<Value> {
        let port = |(protocol, port): &(&str, u16)| {
            json!({
                "name": format!("{}-{port}", protocol.to_ascii_lowercase()),
                "protocol": protocol,
                "port": port,
                "targetPort": port,
            })
        };
        let ports: Vec<Value> = self.ports().iter().map(port).collect();
        (!ports.is_empty()).then(|| {
            json!({
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": self.metadata(&name(self.target)),
                "spec": {"type": self.cluster.service, "selector": self.selector(), "ports": ports},
            })
        })
    }

    /// Nothing gets in but at the ports that are open in the machines. What they may reach is for their own firewall.
    fn network_policy(&self) -> Value {
        let mut ports = self.ports();
        ports.insert(0, ("TCP", SSH));
        let ports: Vec<Value> =
            ports.iter().map(|(protocol, port)| json!({"protocol": protocol, "port": port})).collect();
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": self.metadata(&name(self.target)),
            "spec": {
                "podSelector": {"matchLabels": self.selector()},
                "policyTypes": ["Ingress"],
                "ingress": [{"ports": ports}],
            },
        })
    }

    /// At most one machine at a time goes away because a node is drained. In numbers of those that stay: how many there
    /// should be cannot be asked of a VirtualMachineInstance, which has no `scale`.
    fn disruption_budget(&self) -> Value {
        let stay = self.cluster.machines.len().saturating_sub(1);
        json!({
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": self.metadata(&name(self.target)),
            "spec": {"minAvailable": stay, "selector": {"matchLabels": self.selector()}},
        })
    }

    /// The user-data of the machines, in which the identity is: for the cluster only, and never shown.
    pub fn secret(&self, user_data: &str) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": self.metadata(&secret_name(self.target, self.given)),
            "type": "Opaque",
            "data": {"userdata": base64::prelude::BASE64_STANDARD.encode(user_data)},
        })
    }
}

/// A machine with what is written down about it: what it is told, what it was told before, and whether it is well.
pub fn annotated(machine: &Value, previous: Option<&Value>, confirmed: bool) -> Value {
    let mut all = machine.clone();
    let annotations = &mut all["metadata"]["annotations"];
    annotations[APPLIED] = machine.to_string().into();
    if let Some(previous) = previous {
        annotations[PREVIOUS] = previous.to_string().into();
    }
    if confirmed {
        annotations[CONFIRMED] = "true".into();
    }
    all
}

/// Image, version and the beginning of the root hash of a machine, for people.
pub fn title(machine: &Value) -> String {
    let text = |key: &str| machine["metadata"]["annotations"][key].as_str().unwrap_or("unknown").to_owned();
    let hash = text(ROOT_HASH);
    let hash = hash.get(..12).unwrap_or(&hash);
    format!("{} {} ({}, root hash {hash})", text(IMAGE), text(VERSION), text(MODE))
}

/// The reference of a machine's containerDisk, in a VirtualMachine or, as `spec`, in what it is made of.
pub fn disk_of(spec: &Value) -> Option<&str> {
    let volumes = spec["volumes"].as_array()?;
    volumes.iter().find_map(|volume| volume["containerDisk"]["image"].as_str())
}

/// The digest of a machine's containerDisk in a registry.
pub fn image_of(machine: &Value) -> Option<Digest> {
    disk_of(&machine["spec"]["template"]["spec"])?.rsplit_once("@sha256:")?.1.parse().ok()
}

/// The name of an object.
pub fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// The name of the Secret that a machine takes its user-data from.
pub fn secret_of(machine: &Value) -> Option<&str> {
    let volumes = machine["spec"]["template"]["spec"]["volumes"].as_array()?;
    volumes.iter().find_map(|volume| volume["cloudInitNoCloud"]["secretRef"]["name"].as_str())
}

/// Objects as a stream of YAML documents, for `kubectl apply --filename -`.
///
/// # Errors
/// None for objects of JSON; the writer has the type.
pub fn to_yaml(objects: &[Value]) -> Result<String, serde_yaml::Error> {
    objects.iter().map(|object| Ok(format!("---\n{}", serde_yaml::to_string(object)?))).collect()
}

#[cfg(test)]
#[path = "manifests_tests.rs"]
mod tests;
