//! Google Cloud, by `gcloud`.

use std::time::Duration;

use super::answer::{self, Bad, Instance, Uploaded};
use super::step::{Call, Slot, Step, Wait};
use super::{Calls, PREFIX, Registered, Release, Removal, Upload, Verb, Wanted, tag};
use crate::name::ImageName;

/// Where in it.
pub struct Gcp {
    pub project: String,
    pub zone: String,
    pub bucket: String,
}

impl Gcp {
    fn call(&self, words: &[&str]) -> Call {
        Call::new(["gcloud", "--quiet", "--project", &self.project]).words(words.to_vec())
    }

    fn zonal(&self, words: &[&str]) -> Call {
        self.call(words).option("--zone", &self.zone)
    }

    fn object(&self, release: &Release) -> String {
        format!("gs://{}/{}.tar.gz", self.bucket, release.name())
    }

    fn listed(&self, objects: &str) -> Call {
        self.call(&["storage", "objects", "list", objects]).option("--format", "value(name)")
    }

    /// The state of an image.
    fn state(&self, release: &Release) -> Call {
        let filter = format!("name={}", release.name());
        let call = self.call(&["compute", "images", "list", "--no-standard-images", "--filter", &filter]);
        call.option("--format", "value(status)")
    }
}

/// Labels are lower case, and a version may not be: that one is in the description.
fn labels(tags: &[(&str, String)]) -> String {
    let label = |(key, value): &(&str, String)| format!("{key}={value}");
    tags.iter().filter(|(key, _)| *key != tag::VERSION).map(label).collect::<Vec<_>>().join(",")
}

impl Calls for Gcp {
    fn tool(&self) -> &'static str {
        "gcloud"
    }

    fn format(&self) -> Upload {
        Upload::Gce
    }

    fn image(&self, release: &Release) -> Vec<Step> {
        let (name, object) = (release.name(), self.object(release));
        // An object appears when all of it is there.
        let upload = self.call(&["storage", "cp", "--no-clobber"]).slot("", Slot::File, "").words([object.clone()]);
        let create = self.call(&["compute", "images", "create", &name, "--source-uri", &object]);
        let create = create.words(["--architecture", "X86_64", "--guest-os-features", "UEFI_COMPATIBLE,GVNIC"]);
        let create =
            create.option("--description", release.version.as_str()).option("--labels", labels(&release.tags()));
        let wait = Wait {
            call: self.state(release),
            good: &["READY"],
            bad: &["FAILED", "DELETING"],
            every: Duration::from_secs(10),
            most: Duration::from_secs(3600),
        };
        vec![
            Step::once("upload the disk", upload),
            Step::once(format!("create the image {name}"), create)
                .found_by(self.state(release))
                .until(wait)
                // It may be what was uploaded that no image can be made of.
                .undone_by([
                    self.call(&["compute", "images", "delete", &name]),
                    self.call(&["storage", "rm", &object]),
                ]),
        ]
    }

    fn leftovers(&self, release: &Release) -> Vec<Removal> {
        let object = self.object(release);
        vec![Removal { find: self.listed(&format!("{object}*")), call: self.call(&["storage", "rm", &object]) }]
    }

    fn uploads(&self, image: &ImageName) -> Removal {
        let find = self.listed(&format!("gs://{}/{PREFIX}{image}-*", self.bucket));
        let call = self.call(&["storage", "rm"]).slot(&format!("gs://{}/", self.bucket), Slot::Found, "");
        Removal { find, call }
    }

    fn read_uploads(&self, answer: &[u8], image: &ImageName) -> Result<Vec<Uploaded>, Bad> {
        answer::uploads(answer, image.as_str())
    }

    fn launch(&self, wanted: &Wanted<'_>) -> Vec<Step> {
        let (machine, name) = (wanted.machine, wanted.instance());
        let mut call = self.zonal(&["compute", "instances", "create", &name, "--machine-type", &machine.size]);
        call = call.option("--image", wanted.release.name()).option("--image-project", &self.project);
        call = call.option("--boot-disk-size", format!("{}GB", wanted.release.gib()));
        call = call.words(["--shielded-vtpm", "--shielded-integrity-monitoring"]);
        call = call.maybe("--subnet", machine.subnet.as_ref());
        if !machine.groups.is_empty() {
            call = call.option("--tags", machine.groups.join(","));
        }
        call = match &machine.account {
            Some(account) => call.option("--service-account", account).option("--scopes", "cloud-platform"),
            None => call.words(["--no-service-account", "--no-scopes"]),
        };
        if !machine.is_public {
            call = call.words(["--no-address"]);
        }
        call = call.option("--metadata", "serial-port-logging-enable=true");
        call = call.words(["--metadata-from-file"]).slot("user-data=", Slot::UserData, "");
        call = call.option("--description", wanted.release.version.as_str()).option("--labels", labels(&wanted.tags()));
        call = call.option("--format", "value(name)");
        let filter = format!("name={name}");
        let state = self.call(&["compute", "instances", "list", "--zones", &self.zone, "--filter", &filter]);
        let wait = Wait {
            call: state.option("--format", "value(status)"),
            good: &["RUNNING"],
            bad: &["STOPPING", "TERMINATED", "SUSPENDING", "SUSPENDED"],
            every: Duration::from_secs(5),
            most: Duration::from_secs(900),
        };
        vec![Step::once(format!("launch {name}"), call).gives(Slot::Instance).until(wait).undone_by(self.remove(&name))]
    }

    fn instances(&self) -> Call {
        let filter = format!("labels.{}:*", tag::TARGET);
        let call = self.call(&["compute", "instances", "list", "--zones", &self.zone, "--filter", &filter]);
        call.option("--format", "json(name,status,description,labels,networkInterfaces)")
    }

    fn read_instances(&self, answer: &[u8]) -> Result<Vec<Instance>, Bad> {
        answer::gcp(answer)
    }

    fn instance(&self, verb: Verb, id: &str) -> Vec<Call> {
        let plain = |word: &str| vec![self.zonal(&["compute", "instances", word, id])];
        match verb {
            Verb::Start => plain("start"),
            Verb::Stop => plain("stop"),
            Verb::Restart => [plain("stop"), plain("start")].concat(),
            Verb::Mark => {
                let label = format!("{}={}", tag::STATE, tag::WELL);
                vec![self.zonal(&["compute", "instances", "add-labels", id, "--labels", &label])]
            }
        }
    }

    fn remove(&self, id: &str) -> Vec<Call> {
        vec![self.zonal(&["compute", "instances", "delete", id, "--delete-disks", "all"])]
    }

    fn console(&self, id: &str) -> Call {
        self.zonal(&["compute", "instances", "get-serial-port-output", id, "--port", "1"])
    }

    fn images(&self, image: &ImageName) -> Call {
        let filter = format!("labels.{}={image} AND name:{PREFIX}*", tag::IMAGE);
        let call = self.call(&["compute", "images", "list", "--no-standard-images", "--filter", &filter]);
        call.option("--format", "json(name)")
    }

    fn remove_image(&self, image: &Registered) -> (Vec<Call>, Vec<Removal>) {
        (vec![self.call(&["compute", "images", "delete", &image.id])], Vec::new())
    }

    fn remedies(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("active account selected", "`gcloud auth login` gives the client credentials"),
            ("Reauthentication", "`gcloud auth login` renews the credentials"),
            ("invalid_grant", "`gcloud auth login` renews the credentials"),
            ("credentials", "`gcloud auth login` gives the client credentials"),
            ("Required '", "this account may not do that: docs/deploy.md lists what is needed"),
            ("does not have", "this account may not do that: docs/deploy.md lists what is needed"),
            ("has not been used in project", "enable the Compute Engine API in the project"),
            ("already exists", "something else has this name in the project"),
            ("bucket does not exist", "the target names a bucket that is not there"),
            ("QUOTA_EXCEEDED", "the project's quota is used up"),
        ]
    }
}
