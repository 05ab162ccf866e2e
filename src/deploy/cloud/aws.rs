//! Amazon Web Services, by `aws` (version 1 or 2).
//!
//! The disk becomes a snapshot by the EBS direct APIs, block by block: no bucket, no role `vmimport`, and no conversion that
//! waits in a queue. AWS compares the digest of each block, and one over all of them.

use std::time::Duration;

use super::answer::{self, Bad, Instance, Uploaded};
use super::step::{Body, Call, Slot, Step, Wait};
use super::{Calls, PREFIX, Registered, Release, Removal, Upload, Verb, Wanted, tag};
use crate::name::ImageName;

/// Where the first disk is found by all current instance types.
const ROOT: &str = "/dev/xvda";
/// How long a snapshot waits for its next block, in minutes: the most that AWS gives. An interrupted upload goes on within.
const TIMEOUT: &str = "4320";

/// Where in it.
pub struct Aws {
    pub region: String,
    pub profile: Option<String>,
    pub endpoint: Option<String>,
}

impl Aws {
    fn call(&self, words: &[&str]) -> Call {
        let call = Call::new(["aws", "--region", &self.region]);
        call.maybe("--profile", self.profile.as_ref())
            .maybe("--endpoint-url", self.endpoint.as_ref())
            .words(words.to_vec())
    }

    fn ids(&self, words: &[&str], query: &str) -> Call {
        self.call(words).option("--query", query).option("--output", "text")
    }

    /// Snapshots of a disk, in a state.
    fn snapshot(&self, release: &Release, state: &str) -> Call {
        let disk = format!("Name=tag:{},Values={}", tag::DISK, release.tag());
        let size = format!("Name=tag:{},Values={}", tag::SIZE, release.gib());
        let words = ["ec2", "describe-snapshots", "--owner-ids", "self", "--filters", &disk, &size];
        self.ids(&[&words[..], &[&format!("Name=status,Values={state}")]].concat(), "Snapshots[0].SnapshotId")
    }
}

/// In the form `{Key=K,Value=V},...`.
fn tags(tags: &[(&str, String)]) -> String {
    tags.iter().map(|(key, value)| format!("{{Key={key},Value={value}}}")).collect::<Vec<_>>().join(",")
}

impl Calls for Aws {
    fn tool(&self) -> &'static str {
        "aws"
    }

    fn format(&self) -> Upload {
        Upload::Raw
    }

    fn image(&self, release: &Release) -> Vec<Step> {
        let (name, title) = (release.name(), format!("{} {}", release.image, release.version));
        let start = ["ebs", "start-snapshot", "--volume-size", &release.gib().to_string(), "--timeout", TIMEOUT]
            .map(str::to_owned);
        let start = start.iter().map(String::as_str).collect::<Vec<_>>();
        let mut start = self.call(&start).option("--description", &title).words(["--tags"]);
        start = start.words(release.tags().iter().map(|(key, value)| format!("Key={key},Value={value}")));
        let start = start.words(["--query", "SnapshotId", "--output", "text"]);
        let delete = self.call(&["ec2", "delete-snapshot"]).words(["--snapshot-id"]).slot("", Slot::Snapshot, "");
        let block = self.call(&["ebs", "put-snapshot-block", "--snapshot-id"]).slot("", Slot::Snapshot, "");
        let block = block.words(["--block-index"]).slot("", Slot::Index, "");
        let block = block.words(["--data-length", &super::blocks::BLOCK.to_string()]);
        let block = block.words(["--checksum-algorithm", "SHA256", "--checksum"]).slot("", Slot::Checksum, "");
        let block = block.words(["--block-data"]).slot("", Slot::Block, "");
        let seal = self.call(&["ebs", "complete-snapshot", "--snapshot-id"]).slot("", Slot::Snapshot, "");
        let seal = seal.words(["--changed-blocks-count"]).slot("", Slot::Count, "");
        let seal = seal.words(["--checksum-algorithm", "SHA256", "--checksum-aggregation-method", "LINEAR"]);
        let seal = seal.words(["--checksum"]).slot("", Slot::Total, "");
        let state = self.call(&["ec2", "describe-snapshots", "--snapshot-ids"]).slot("", Slot::Snapshot, "");
        let state = state.words(["--query", "Snapshots[0].State", "--output", "text"]);
        let register = self.call(&["ec2", "register-image", "--name", &name, "--description", &title]);
        let register = register.words(["--architecture", "x86_64", "--virtualization-type", "hvm", "--ena-support"]);
        let register = register.words(["--boot-mode", "uefi", "--imds-support", "v2.0", "--root-device-name", ROOT]);
        let register = register.words(["--block-device-mappings"]).slot(
            &format!("DeviceName={ROOT},Ebs={{SnapshotId="),
            Slot::Snapshot,
            ",VolumeType=gp3,DeleteOnTermination=true}",
        );
        let register =
            register.option("--tag-specifications", format!("ResourceType=image,Tags=[{}]", tags(&release.tags())));
        let register = register.words(["--query", "ImageId", "--output", "text"]);
        let named = format!("Name=name,Values={name}");
        let image = ["ec2", "describe-images", "--owners", "self", "--filters", &named];
        let available = self.call(&["ec2", "describe-images", "--image-ids"]).slot("", Slot::Image, "");
        let available = available.words(["--query", "Images[0].State", "--output", "text"]);
        let every = Duration::from_secs(5);
        vec![
            Step::once("start a snapshot", start).gives(Slot::Snapshot).found_by(self.snapshot(release, "pending")),
            Step { body: Body::Blocks(block.clone()), ..Step::once("write the blocks of the disk into it", block) },
            Step::once("complete the snapshot", seal)
                .gives(Slot::Snapshot)
                .found_by(self.snapshot(release, "completed"))
                .until(Wait {
                    call: state,
                    good: &["completed"],
                    bad: &["error"],
                    every,
                    most: Duration::from_secs(3600),
                })
                .undone_by([delete]),
            Step::once(format!("register the image {name}"), register)
                .gives(Slot::Image)
                .found_by(self.ids(&image, "Images[0].ImageId"))
                .until(Wait {
                    call: available,
                    good: &["available"],
                    bad: &["failed", "error", "invalid", "deregistered"],
                    every,
                    most: Duration::from_secs(1800),
                })
                .undone_by([self.call(&["ec2", "deregister-image", "--image-id"]).slot("", Slot::Image, "")]),
        ]
    }

    fn leftovers(&self, _: &Release) -> Vec<Removal> {
        Vec::new()
    }

    fn uploads(&self, image: &ImageName) -> Removal {
        let image = format!("Name=tag:{},Values={image}", tag::IMAGE);
        let words = ["ec2", "describe-snapshots", "--owner-ids", "self", "--filters", &image];
        let [disk, size] = [tag::DISK, tag::SIZE].map(|key| format!("Tags[?Key=='{key}'].Value"));
        let query =
            format!("Snapshots[?{disk} && {size}].[join(' ', [SnapshotId, State, {disk} | [0], {size} | [0]])]");
        let call = self.call(&["ec2", "delete-snapshot", "--snapshot-id"]).slot("", Slot::Found, "");
        Removal { find: self.ids(&words, &query), call }
    }

    fn read_uploads(&self, answer: &[u8], image: &ImageName) -> Result<Vec<Uploaded>, Bad> {
        answer::snapshots(answer, image.as_str())
    }

    fn launch(&self, wanted: &Wanted<'_>) -> Vec<Step> {
        let (machine, name) = (wanted.machine, ("Name", wanted.instance()));
        let all = [wanted.tags(), vec![name.clone()]].concat();
        let whose = [all.iter().take(2).cloned().collect(), vec![name]].concat();
        let mut call = self.call(&["ec2", "run-instances", "--image-id"]).slot("", Slot::Image, "");
        call = call.option("--instance-type", &machine.size).maybe("--subnet-id", machine.subnet.as_ref());
        if !machine.groups.is_empty() {
            call = call.words(["--security-group-ids"]).words(machine.groups.clone());
        }
        if let Some(profile) = &machine.account {
            call = call.option("--iam-instance-profile", format!("Name={profile}"));
        }
        if machine.subnet.is_some() {
            let word =
                if machine.is_public { "--associate-public-ip-address" } else { "--no-associate-public-ip-address" };
            call = call.words([word]);
        }
        call = call.option("--metadata-options", "HttpEndpoint=enabled,HttpTokens=required,HttpPutResponseHopLimit=1");
        // The snapshot may have been made for a smaller disk.
        let disk = format!("DeviceName={ROOT},Ebs={{VolumeSize={}}}", wanted.release.gib());
        call = call.option("--block-device-mappings", disk);
        call = call.words(["--user-data"]).slot("fileb://", Slot::UserData, "");
        call = call.words(["--tag-specifications"]);
        call = call.words(
            [("instance", &all), ("volume", &whose)]
                .map(|(kind, own)| format!("ResourceType={kind},Tags=[{}]", tags(own))),
        );
        call = call.words(["--query", "Instances[0].InstanceId", "--output", "text"]);
        let state = self.call(&["ec2", "describe-instances", "--instance-ids"]).slot("", Slot::Instance, "");
        let state = state.words(["--query", "Reservations[0].Instances[0].State.Name", "--output", "text"]);
        let bad = &["shutting-down", "terminated", "stopping", "stopped"];
        let wait = Wait {
            call: state,
            good: &["running"],
            bad,
            every: Duration::from_secs(5),
            most: Duration::from_secs(900),
        };
        let undo = self.call(&["ec2", "terminate-instances", "--instance-ids"]).slot("", Slot::Instance, "");
        vec![
            Step::once(format!("launch {}", wanted.instance()), call)
                .gives(Slot::Instance)
                .until(wait)
                .undone_by([undo]),
        ]
    }

    fn instances(&self) -> Call {
        let words = ["ec2", "describe-instances", "--filters"];
        let states = "Name=instance-state-name,Values=pending,running,stopping,stopped";
        let query = "Reservations[].Instances[].{id:InstanceId,state:State.Name,public:PublicIpAddress,\
                     private:PrivateIpAddress,tags:Tags}";
        let call = self.call(&words).words([format!("Name=tag-key,Values={}", tag::TARGET), states.to_owned()]);
        call.option("--query", query).option("--output", "json")
    }

    fn read_instances(&self, answer: &[u8]) -> Result<Vec<Instance>, Bad> {
        answer::flat(answer, &[("running", true), ("pending", true), ("stopping", false), ("stopped", false)])
    }

    fn instance(&self, verb: Verb, id: &str) -> Vec<Call> {
        let plain = |word: &str| self.call(&["ec2", word, "--instance-ids", id, "--output", "json"]);
        let ended = |word: &str| self.call(&["ec2", "wait", word, "--instance-ids", id]);
        match verb {
            Verb::Start => vec![plain("start-instances"), ended("instance-running")],
            Verb::Stop => vec![plain("stop-instances"), ended("instance-stopped")],
            Verb::Restart => vec![self.call(&["ec2", "reboot-instances", "--instance-ids", id])],
            Verb::Mark => {
                let tag = format!("Key={},Value={}", tag::STATE, tag::WELL);
                vec![self.call(&["ec2", "create-tags", "--resources", id, "--tags", &tag])]
            }
        }
    }

    fn remove(&self, id: &str) -> Vec<Call> {
        let terminate = self.call(&["ec2", "terminate-instances", "--instance-ids", id, "--output", "json"]);
        vec![terminate, self.call(&["ec2", "wait", "instance-terminated", "--instance-ids", id])]
    }

    fn console(&self, id: &str) -> Call {
        self.ids(&["ec2", "get-console-output", "--latest", "--instance-id", id], "Output")
    }

    fn images(&self, image: &ImageName) -> Call {
        let names = format!("Name=name,Values={PREFIX}{image}-*");
        let call = self.call(&["ec2", "describe-images", "--owners", "self", "--filters", &names]);
        call.option("--query", "Images[].{id:ImageId,name:Name}").option("--output", "json")
    }

    fn remove_image(&self, image: &Registered) -> (Vec<Call>, Vec<Removal>) {
        let deregister = self.call(&["ec2", "deregister-image", "--image-id", &image.id, "--output", "json"]);
        // The name has the beginning of what the tag has.
        let disk = format!("Name=tag:{},Values={}*", tag::DISK, image.disk);
        let size = image.gib.as_ref().map(|gib| format!("Name=tag:{},Values={gib}", tag::SIZE));
        let mut words = vec!["ec2", "describe-snapshots", "--owner-ids", "self", "--filters", &disk];
        words.extend(size.as_deref());
        let call = self.call(&["ec2", "delete-snapshot", "--snapshot-id"]).slot("", Slot::Found, "");
        (vec![deregister], vec![Removal { find: self.ids(&words, "Snapshots[].[SnapshotId]"), call }])
    }

    fn remedies(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("Unable to locate credentials", "`aws configure` or `aws sso login` gives the client credentials"),
            ("could not be found", "is the profile of the target in the client's configuration?"),
            ("ExpiredToken", "`aws sso login` renews them"),
            ("RequestExpired", "the credentials are old, or this host's clock is wrong"),
            ("InvalidClientTokenId", "the credentials are wrong: `aws sts get-caller-identity` must answer"),
            ("InvalidAccessKeyId", "the credentials are wrong: `aws sts get-caller-identity` must answer"),
            ("SignatureDoesNotMatch", "the credentials are wrong: `aws sts get-caller-identity` must answer"),
            ("UnrecognizedClient", "the credentials are wrong: `aws sts get-caller-identity` must answer"),
            ("AuthFailure", "the credentials are wrong: `aws sts get-caller-identity` must answer"),
            ("UnauthorizedOperation", "these credentials may not do that: docs/deploy.md lists what is needed"),
            ("AccessDenied", "these credentials may not do that: docs/deploy.md lists what is needed"),
            ("Could not connect to the endpoint", "is the region right, and is there a network?"),
            ("VcpuLimitExceeded", "the account's quota for this type of instance is used up"),
            ("InvalidAMIName.Duplicate", "another image has this name, and is not yours"),
            ("InvalidSubnetID", "the target names a subnet that is not in this region"),
            ("InvalidGroup", "the target names a security group that is not in the subnet's network"),
        ]
    }
}
