//! The cluster, by the user's own kubectl.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::cli::Elsewhere;
use crate::deploy::Target;
use crate::deploy::kubevirt::manifests::{IMAGE, MACHINE, ROOT_HASH, SSH, TARGET};
use crate::deploy::kubevirt::rollout::{self, Api};
use crate::deploy::kubevirt::{Cluster, Found};
use crate::disk;
use crate::images::Manifest;
use crate::interrupt;
use crate::name::ImageName;
use crate::qemu;
use crate::store::Store;
use crate::tool::Tool;

use super::super::super::failure::chain;
use super::super::super::generations::Generations;
use super::super::super::{Context, Failure, Result, check, project, store};
use super::super::looks;
use super::forward::Forward;

/// How long kubectl may take, longer than what it is told to wait for, and how much it may print, in bytes.
const PATIENCE: Duration = Duration::from_secs(600);
const ANSWER: usize = 64 << 20;
/// How long a machine may take to show its host key.
const GREETING: Duration = Duration::from_secs(30);

/// A cluster and the user's kubectl.
pub struct Kubectl<'a> {
    context: &'a Context,
    target: &'a Target,
    tool: Tool,
    /// The build that is being deployed, if one is.
    wanted: Option<&'a Manifest>,
}

impl<'a> Kubectl<'a> {
    /// The way to the cluster of a target; `wanted` is what is being deployed.
    pub fn new(
        context: &'a Context,
        target: &'a Target,
        cluster: &Cluster,
        wanted: Option<&'a Manifest>,
    ) -> Result<Self> {
        let mut tool = Tool::of_user("kubectl", &context.environment.identities.environment);
        if let Some(path) = &cluster.kubeconfig {
            let path = context.project.join(path);
            if !disk::exists(&path) {
                return Err(Failure::request(format!(
                    "targets/{}.yaml: kubeconfig: there is no file {}",
                    target.name,
                    path.display()
                )));
            }
            tool = tool.arg("--kubeconfig").arg(path);
        }
        if let Some(name) = &cluster.context {
            tool = tool.arg("--context").arg(name);
        }
        tool = tool.args(["--namespace", &cluster.namespace]);
        Ok(Self { context, target, tool, wanted })
    }

    /// All machines of the namespace, by name, whoever made them.
    pub fn machines(&self) -> Result<BTreeMap<String, Found>> {
        let answer =
            self.kubectl(&["get", "virtualmachines.kubevirt.io", "--output=json"], b"").map_err(super::failed)?;
        Found::list(&answer).map_err(|error| Failure::error(format!("kubectl does not answer in JSON: {error}")))
    }

    /// The public half of the key that machines of the target are checked with.
    pub fn key(&self) -> Result<String> {
        let directory = self.keys();
        disk::create_private_dir(&directory)?;
        Ok(qemu::ssh::ensure_key(&directory, &format!("rave {}", self.target.name))?)
    }

    fn keys(&self) -> PathBuf {
        self.context.state.join("targets").join(&self.target.name)
    }

    /// The pod in which a machine runs.
    pub fn pod(&self, machine: &str) -> rollout::Result<String> {
        let label = format!("{TARGET}={},{MACHINE}={machine}", self.target.name);
        let words = [
            "get",
            "pods",
            "--selector",
            &label,
            "--field-selector=status.phase=Running",
            "--output=jsonpath={.items[*].metadata.name}",
        ];
        let names = self.kubectl(&words, b"")?;
        let first = String::from_utf8_lossy(&names).split_whitespace().next().map(str::to_owned);
        first.ok_or_else(|| rollout::Error::Refused(format!("no pod runs {machine}")))
    }

    /// The build that a machine is told to run, if it was made here.
    fn manifest(&self, machine: &Value) -> Result<Option<Manifest>> {
        match self.wanted.filter(|wanted| runs(machine, wanted)) {
            Some(wanted) => Ok(Some(wanted.clone())),
            None => built(self.context, &store::open(self.context)?, machine),
        }
    }

    /// Looks at a machine through a forwarded port of its pod.
    fn report(&self, machine: &Value) -> Result<Vec<String>> {
        let unknown = || Failure::error("its build is not one of the last that were made here");
        let manifest = self.manifest(machine)?.ok_or_else(unknown)?;
        let machine = machine["metadata"]["name"].as_str().unwrap_or_default();
        let site = manifest.expect.https.values().map(|site| site.port).collect::<std::collections::BTreeSet<u16>>();
        let mut ports = vec![SSH];
        // Several sites are tried at their own ports, where nothing leads to.
        ports.extend(site.first().filter(|_| site.len() == 1));
        let pod = self.pod(machine).map_err(super::failed)?;
        let forward = Forward::open(&self.tool, &pod, &ports)?;
        let ssh = forward.port(SSH)?;
        let scan = Tool::of_user("ssh-keyscan", &self.context.environment.identities.environment);
        let scan = scan.args(["-T", "20", "-t", "ed25519", "-p", &ssh.to_string(), "127.0.0.1"]);
        let said = scan.bounded(GREETING, 64 << 10).map_err(Failure::error)?.stdout;
        let said = String::from_utf8_lossy(&said).into_owned();
        let key = said.lines().filter(|line| !line.starts_with('#')).find_map(|line| line.split_once(' '));
        let key = key.ok_or_else(|| Failure::error("it shows no Ed25519 host key"))?.1.to_owned();
        let https = ports.get(1).map(|site| forward.port(*site)).transpose()?;
        let way = Elsewhere {
            ssh: None,
            manifest: None,
            https: https.map(|port| format!("https://127.0.0.1:{port}")),
            host_key: Some(key),
            ssh_key: Some(qemu::ssh::private_key(&self.keys())),
        };
        let user = manifest.expect.ssh.as_ref().map_or("root", |ssh| ssh.user.as_str()).to_owned();
        let report = check::over_ssh(self.context, manifest, &format!("{user}@127.0.0.1:{ssh}"), &way, &[])?;
        Ok(check::troubles(&report))
    }
}

impl Api for Kubectl<'_> {
    fn kubectl(&self, words: &[&str], input: &[u8]) -> rollout::Result<Vec<u8>> {
        let verb = words.first().copied().unwrap_or_default();
        let refused = |reason: &str| rollout::Error::Refused(format!("kubectl {verb}: {reason}"));
        let ended = self.tool.clone().args(words).bounded_with_input(input, PATIENCE, ANSWER);
        let ended = ended.map_err(|error| refused(&chain(&error)))?;
        let said = without_log(&String::from_utf8_lossy(&ended.stderr));
        match ended.status {
            Some(status) if status.success() => Ok(ended.stdout),
            _ if interrupt::heard() => Err(rollout::Error::Interrupted),
            Some(_) if said.is_empty() => Err(refused("it failed and did not say why")),
            Some(_) => Err(refused(said.strip_prefix("error: ").unwrap_or(&said))),
            None => Err(refused(&format!("no answer within {} minutes", PATIENCE.as_secs() / 60))),
        }
    }

    fn look(&self, machine: &Value) -> rollout::Result<Vec<String>> {
        let troubles = match self.report(machine) {
            Ok(troubles) => troubles,
            Err(_) if interrupt::heard() => return Err(rollout::Error::Interrupted),
            // That says nothing of the machine.
            Err(failure) => return Ok(vec![format!("it could not be checked: {}", failure.reason())]),
        };
        if let Some(name) = machine["metadata"]["name"].as_str().and_then(|name| name.parse().ok()) {
            looks::keep(self.context, &self.target.name, &name, &looked_at(self.target, machine), troubles.clone());
        }
        Ok(troubles)
    }

    fn pause(&self, time: Duration) -> bool {
        interrupt::pause(time)
    }

    fn tell(&self, text: &str) {
        self.context.ui.say(text);
    }
}

/// What tells a machine from one of the same name that takes its place, or is in another cluster.
pub fn looked_at(target: &Target, machine: &Value) -> String {
    let place = target.cluster.as_ref().map(|cluster| (cluster.context.as_deref(), cluster.namespace.as_str()));
    format!("{place:?} {}", machine["metadata"]["annotations"][ROOT_HASH].as_str().unwrap_or_default())
}

/// Whether a machine is told to run that build.
pub fn runs(machine: &Value, manifest: &Manifest) -> bool {
    machine["metadata"]["annotations"][ROOT_HASH] == manifest.root_hash.to_string()
}

/// The image that a machine is told to run.
pub fn image(machine: &Value) -> Option<ImageName> {
    machine["metadata"]["annotations"][IMAGE].as_str()?.parse().ok()
}

/// The build that a machine is told to run, if it is one of the last that were made here.
pub fn built(context: &Context, store: &Store, machine: &Value) -> Result<Option<Manifest>> {
    let Some(image) = image(machine) else { return Ok(None) };
    let Ok((_, named)) = project::read(&context.project, image.as_str()) else { return Ok(None) };
    let builds = Generations::of(store, &named, &image);
    // One of another rave, whose manifest this one cannot read, is none that it could hold a machine against.
    Ok((0..builds.count()?).find_map(|back| builds.back(back).ok().flatten().filter(|found| runs(machine, found))))
}

/// What kubectl says to its user, without the lines of its log (klog: a letter, month and day, time).
fn without_log(said: &str) -> String {
    let is_log = |line: &str| {
        let mut letters = line.chars();
        letters.next().is_some_and(|c| "IWEF".contains(c))
            && letters.by_ref().take(4).filter(char::is_ascii_digit).count() == 4
            && letters.next() == Some(' ')
    };
    said.lines().filter(|line| !is_log(line)).collect::<Vec<_>>().join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubectl_logs_is_not_what_it_says() {
        let said = "E1128 23:51:15.9 30001 reflector.go:200] \"Failed to watch\"\nerror: timed out\nEvery 1 day\n";
        assert_eq!(without_log(said), "error: timed out\nEvery 1 day");
    }
}
