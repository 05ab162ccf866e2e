//! Microsoft Azure, by `az`.

use std::time::Duration;

use super::answer::{self, Bad, Instance, Uploaded};
use super::step::{Call, Slot, Step, Wait};
use super::{Calls, PREFIX, Registered, Release, Removal, Upload, Verb, Wanted, tag};
use crate::name::ImageName;

/// Who may log in: the user whom every image has.
const USER: &str = "agent";
/// What the metadata of a blob says when all of it is there. Its keys are names of C#.
const WHOLE: &str = "rave_disk";

/// Where in it.
pub struct Azure {
    pub subscription: Option<String>,
    pub resource_group: String,
    pub location: String,
    pub storage_account: String,
    pub container: String,
}

impl Azure {
    fn call(&self, words: &[&str]) -> Call {
        let call = Call::new(["az"]).words(words.to_vec()).maybe("--subscription", self.subscription.as_ref());
        call.words(["--only-show-errors"])
    }

    fn grouped(&self, words: &[&str]) -> Call {
        self.call(words).option("--resource-group", &self.resource_group)
    }

    fn blob(&self, verb: &[&str]) -> Call {
        let call = self.call(&[&["storage", "blob"], verb].concat()).option("--account-name", &self.storage_account);
        call.option("--auth-mode", "login")
    }

    fn listed(&self, prefix: &str) -> Call {
        let list = self.blob(&["list"]).option("--container-name", &self.container).option("--prefix", prefix);
        list.option("--query", "[].name").option("--output", "tsv")
    }

    fn delete(&self, blob: &str) -> Call {
        self.blob(&["delete"]).option("--container-name", &self.container).option("--name", blob)
    }

    fn name(release: &Release) -> String {
        format!("{}.vhd", release.name())
    }

    /// The state of an image.
    fn state(&self, release: &Release) -> Call {
        let query = format!("[?name=='{}'].provisioningState", release.name());
        self.grouped(&["image", "list"]).option("--query", query).option("--output", "tsv")
    }

    /// The state of a machine.
    fn power(&self, name: &str) -> Call {
        let query = format!("[?name=='{name}'].powerState");
        self.grouped(&["vm", "list", "--show-details"]).option("--query", query).option("--output", "tsv")
    }
}

fn tags(tags: &[(&str, String)]) -> Vec<String> {
    tags.iter().map(|(key, value)| format!("{key}={value}")).collect()
}

impl Calls for Azure {
    fn tool(&self) -> &'static str {
        "az"
    }

    fn format(&self) -> Upload {
        Upload::Vhd
    }

    fn image(&self, release: &Release) -> Vec<Step> {
        let (name, blob) = (release.name(), Self::name(release));
        let upload = self.blob(&["upload"]).option("--container-name", &self.container).option("--name", &blob);
        let upload = upload.words(["--type", "page", "--overwrite", "true", "--no-progress", "--file"]);
        let upload = upload.slot("", Slot::File, "").option("--output", "none");
        // A page blob is there from its first page on, so its metadata says when it has its last.
        let mark =
            self.blob(&["metadata", "update"]).option("--container-name", &self.container).option("--name", &blob);
        let mark = mark.option("--metadata", format!("{WHOLE}={}", release.tag())).option("--output", "none");
        let whole = self.blob(&["list"]).option("--container-name", &self.container).option("--prefix", &blob);
        let query = format!("[?metadata.{WHOLE}=='{}'].name", release.tag());
        let whole = whole.option("--include", "m").option("--query", query).option("--output", "tsv");
        let url = format!("https://{}.blob.core.windows.net/{}/{blob}", self.storage_account, self.container);
        let create = self.grouped(&["image", "create", "--name", &name, "--location", &self.location]);
        let create = create.words(["--os-type", "Linux", "--hyper-v-generation", "V2", "--source", &url, "--tags"]);
        let create = create.words(tags(&release.tags())).option("--output", "none");
        let wait = Wait {
            call: self.state(release),
            good: &["Succeeded"],
            bad: &["Failed", "Canceled", "Deleting"],
            every: Duration::from_secs(10),
            most: Duration::from_secs(3600),
        };
        vec![
            Step::once("upload the disk as a page blob", upload),
            Step::once("note that all of it is there", mark).found_by(whole),
            Step::once(format!("create the image {name}"), create)
                .found_by(self.state(release))
                .until(wait)
                // It may be what was uploaded that no image can be made of.
                .undone_by([self.grouped(&["image", "delete", "--name", &name]), self.delete(&blob)]),
        ]
    }

    fn leftovers(&self, release: &Release) -> Vec<Removal> {
        let blob = Self::name(release);
        vec![Removal { find: self.listed(&blob), call: self.delete(&blob) }]
    }

    fn uploads(&self, image: &ImageName) -> Removal {
        let call = self.blob(&["delete"]).option("--container-name", &self.container).words(["--name"]);
        Removal { find: self.listed(&format!("{PREFIX}{image}-")), call: call.slot("", Slot::Found, "") }
    }

    fn read_uploads(&self, answer: &[u8], image: &ImageName) -> Result<Vec<Uploaded>, Bad> {
        answer::uploads(answer, image.as_str())
    }

    fn launch(&self, wanted: &Wanted<'_>) -> Vec<Step> {
        let (machine, name) = (wanted.machine, wanted.instance());
        let mut call = self.grouped(&["vm", "create", "--name", &name, "--location", &self.location]);
        call = call.option("--image", wanted.release.name()).option("--size", &machine.size);
        call = call.option("--os-disk-size-gb", wanted.release.gib().to_string()).option("--os-disk-name", disk(&name));
        call = call.maybe("--vnet-name", machine.vnet.as_ref()).maybe("--subnet", machine.subnet.as_ref());
        call = call.maybe("--nsg", machine.groups.first());
        // A machine goes with its disk and its card; its address has a name and is removed by it.
        call = call.words(["--os-disk-delete-option", "Delete", "--nic-delete-option", "Delete"]);
        call = match machine.is_public {
            true => call.option("--public-ip-address", address(&name)).option("--public-ip-sku", "Standard"),
            false => call.option("--public-ip-address", ""),
        };
        // Azure wants a key itself.
        call = call.option("--admin-username", USER).option("--authentication-type", "ssh");
        call = call.words(["--ssh-key-values"]).slot("", Slot::PublicKey, "");
        call = call.words(["--custom-data"]).slot("", Slot::UserData, "");
        call = call.words(["--tags"]).words(tags(&wanted.tags()));
        call = call.option("--output", "none");
        let wait = Wait {
            call: self.power(&name),
            good: &["VM running"],
            bad: &["VM stopped", "VM deallocated", "VM deallocating", "VM stopping"],
            every: Duration::from_secs(5),
            most: Duration::from_secs(900),
        };
        // Where the console can be read, on which the machine shows its host key.
        let console = self.grouped(&["vm", "boot-diagnostics", "enable", "--name", &name]).option("--output", "none");
        // Without a machine there may be its card already, which holds the address, and its disk.
        let undo = [
            self.grouped(&["vm", "delete", "--name", &name, "--yes"]),
            self.grouped(&["network", "nic", "delete", "--name", &card(&name)]),
            self.grouped(&["disk", "delete", "--name", &disk(&name), "--yes"]),
            self.grouped(&["network", "public-ip", "delete", "--name", &address(&name)]),
        ];
        vec![
            Step::once(format!("launch {name}"), call).until(wait).undone_by(undo),
            Step::once("have its console kept", console).undone_by(self.remove(&name)),
        ]
    }

    fn instances(&self) -> Call {
        let query = format!(
            "[?tags.\"{}\"].{{id:name,state:powerState,public:publicIps,private:privateIps,tags:tags}}",
            tag::TARGET
        );
        self.grouped(&["vm", "list", "--show-details"]).option("--query", query).option("--output", "json")
    }

    fn read_instances(&self, answer: &[u8]) -> Result<Vec<Instance>, Bad> {
        answer::flat(answer, &[("VM running", true), ("VM starting", true), ("", true)])
    }

    fn instance(&self, verb: Verb, id: &str) -> Vec<Call> {
        let plain = |word: &str| vec![self.grouped(&["vm", word, "--name", id])];
        match verb {
            Verb::Start => plain("start"),
            // A machine that is only shut down is paid for.
            Verb::Stop => plain("deallocate"),
            Verb::Restart => plain("restart"),
            Verb::Mark => {
                let call = self.grouped(&["resource", "tag", "--is-incremental", "--name", id]);
                let call = call.option("--resource-type", "Microsoft.Compute/virtualMachines");
                vec![call.option("--tags", format!("{}={}", tag::STATE, tag::WELL)).option("--output", "none")]
            }
        }
    }

    fn remove(&self, id: &str) -> Vec<Call> {
        vec![
            self.grouped(&["vm", "delete", "--name", id, "--yes"]),
            self.grouped(&["network", "public-ip", "delete", "--name", &address(id)]),
        ]
    }

    fn console(&self, id: &str) -> Call {
        self.grouped(&["vm", "boot-diagnostics", "get-boot-log", "--name", id])
    }

    fn images(&self, image: &ImageName) -> Call {
        let query = format!("[?starts_with(name, '{PREFIX}{image}-')].{{name:name}}");
        self.grouped(&["image", "list"]).option("--query", query).option("--output", "json")
    }

    fn remove_image(&self, image: &Registered) -> (Vec<Call>, Vec<Removal>) {
        (vec![self.grouped(&["image", "delete", "--name", &image.id])], Vec::new())
    }

    fn remedies(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("az login", "`az login` gives the client credentials"),
            ("AADSTS", "`az login` renews the credentials"),
            ("AuthorizationPermissionMismatch", "this account needs the role Storage Blob Data Contributor"),
            ("AuthorizationFailed", "this account may not do that: docs/deploy.md lists what is needed"),
            ("ResourceGroupNotFound", "the target names a resource group that is not there"),
            ("ContainerNotFound", "the target names a container that is not there"),
            ("QuotaExceeded", "the subscription's quota is used up"),
            ("SkuNotAvailable", "machines of this size are not to be had in this location"),
        ]
    }
}

/// The disk of a machine.
fn disk(name: &str) -> String {
    format!("{name}-disk")
}

/// The network card of a machine, as `az vm create` names it.
fn card(name: &str) -> String {
    format!("{name}VMNic")
}

/// The public address of a machine.
fn address(name: &str) -> String {
    format!("{name}-ip")
}
