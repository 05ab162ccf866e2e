use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;

use super::*;
use crate::deploy::Target;
use crate::deploy::cloud::{Declared, Machine};
use crate::digest::Digest;
use crate::origin::Source;
use crate::system::Mode;

const AWS: &str = "kind: aws\nregion: r\nssh-key: k\nmachines:\n  web-1: { instance-type: t, user-data: u }\n";
const GCP: &str = "kind: gcp\nproject: p\nzone: z\nbucket: b\nssh-key: k\nmachines:\n  \
                   web-1: { machine-type: t, user-data: u }\n";
const AZURE: &str = "kind: azure\nresource-group: g\nlocation: l\nstorage-account: s\ncontainer: c\nssh-key: k\nmachines:\n  \
                     web-1: { size: t, user-data: u, vnet: v, subnet: n, security-group: w }\n";

type Told = std::result::Result<&'static str, &'static str>;

/// A tool that answers by what is in its command line; the last answer is given again and again.
struct Tool {
    answers: Mutex<Vec<(&'static str, VecDeque<Told>)>>,
    calls: Mutex<Vec<String>>,
    trouble: Option<String>,
}

impl Tool {
    fn new(answers: &[(&'static str, &[Told])]) -> Self {
        let answers = answers.iter().map(|(sign, answers)| (*sign, answers.iter().copied().collect())).collect();
        Self { answers: Mutex::new(answers), calls: Mutex::default(), trouble: None }
    }

    /// Which of these were called, in order.
    fn called(&self, signs: &[&str]) -> Vec<String> {
        let calls = self.calls.lock().unwrap();
        let sign = |call: &String| signs.iter().find(|sign| call.contains(**sign)).map(|sign| (*sign).to_owned());
        calls.iter().filter_map(sign).collect()
    }
}

impl Hands for Tool {
    fn call(&self, argv: &[String]) -> Result<Vec<u8>> {
        let call = argv.join(" ");
        self.calls.lock().unwrap().push(call.clone());
        let mut answers = self.answers.lock().unwrap();
        let answers = answers.iter_mut().find(|(sign, _)| call.contains(sign)).map(|(_, answers)| answers);
        let answer = match answers {
            Some(answers) if answers.len() > 1 => answers.pop_front(),
            Some(answers) => answers.front().copied(),
            None => None,
        };
        match answer.unwrap_or(Ok("")) {
            Ok(text) => Ok(text.as_bytes().to_vec()),
            Err(said) => Err(Error::Failed { call, said: said.to_owned(), remedy: None }),
        }
    }

    fn look(&self, _: &Machine, _: &Instance) -> Result<Option<String>> {
        Ok(self.trouble.clone())
    }

    fn pause(&self, _: Duration) -> bool {
        false
    }

    fn say(&self, _: &str) {}

    fn scratch(&self) -> &Path {
        Path::new("/nonexistent")
    }

    fn notes(&self) -> &Path {
        Path::new("/nonexistent")
    }
}

fn declared(text: &str) -> Declared {
    Target::parse("shop", &Source::new("targets/shop.yaml", text)).unwrap().cloud.unwrap()
}

fn release() -> Release {
    Release {
        image: "web".parse().unwrap(),
        version: "1.0".parse().unwrap(),
        mode: Mode::Safe,
        disk: Digest::of(b"disk"),
        disk_size: 1 << 30,
    }
}

fn image(text: &str, tool: &Tool) -> Result<bool> {
    let calls = declared(text).place.calls();
    let made = Mutex::new(false);
    Runner::new(calls.as_ref(), tool).image(&release(), &|| {
        *made.lock().unwrap() = true;
        Ok("/exported".into())
    })?;
    Ok(made.into_inner().unwrap())
}

#[test]
fn an_image_is_uploaded_waited_for_and_what_was_uploaded_goes() {
    let tool = Tool::new(&[
        ("images list", &[Ok(""), Ok("PENDING"), Ok("READY")]),
        ("objects list", &[Ok("rave-web-x.tar.gz\n")]),
    ]);
    assert!(image(GCP, &tool).unwrap());
    let signs = ["storage cp --no-clobber /exported", "images create", "images list", "storage rm"];
    let wanted = ["images list", signs[0], "images create", "images list", "images list", "storage rm"];
    assert_eq!(tool.called(&signs), wanted);
    // It is there: nothing is exported or uploaded.
    let tool = Tool::new(&[("images list", &[Ok("READY")])]);
    assert!(!image(GCP, &tool).unwrap());
    assert_eq!(tool.called(&["storage cp", "images create", "storage rm"]), [] as [&str; 0]);
}

#[test]
fn what_was_uploaded_whole_is_not_uploaded_again_and_half_of_it_is() {
    let whole = Tool::new(&[("--include m", &[Ok("rave.vhd")]), ("image list", &[Ok(""), Ok("Succeeded")])]);
    assert!(!image(AZURE, &whole).unwrap());
    assert_eq!(whole.called(&["blob upload", "metadata update", "image create"]), ["image create"]);
    let half = Tool::new(&[("image list", &[Ok(""), Ok("Succeeded")])]);
    assert!(image(AZURE, &half).unwrap());
    assert_eq!(
        half.called(&["blob upload", "metadata update", "image create"]),
        ["blob upload", "metadata update", "image create"]
    );
}

#[test]
fn what_the_provider_could_not_do_is_undone_and_what_is_anothers_is_left() {
    let failing = Tool::new(&[("images list", &[Ok(""), Ok("PENDING"), Ok("FAILED")])]);
    let error = image(GCP, &failing).unwrap_err().to_string();
    assert!(error.contains("the provider says FAILED"), "{error}");
    assert_eq!(failing.called(&["images delete"]), ["images delete"]);
    let clash = Tool::new(&[("images list", &[Ok("")]), ("images create", &[Err("The resource already exists")])]);
    let Err(Error::Failed { remedy, .. }) = image(GCP, &clash) else { panic!("it must fail") };
    assert!(remedy.is_some() && clash.called(&["images delete"]).is_empty());
    let slow = Tool::new(&[("images list", &[Ok(""), Ok("PENDING")])]);
    assert!(matches!(image(GCP, &slow), Err(Error::Slow { .. })));
    let lying = Tool::new(&[("images list", &[Ok("$(reboot)")])]);
    assert!(matches!(image(GCP, &lying), Err(Error::Answer { .. })));
}

#[test]
fn what_was_uploaded_goes_with_the_image_that_could_not_be_made_of_it() {
    for (text, signs) in [
        (GCP, ["storage cp", "images create", "images delete", "storage rm gs://b/rave-web-"]),
        (AZURE, ["blob upload", "image create", "image delete", "blob delete"]),
    ] {
        let tool = Tool::new(&[(signs[1], &[Err("the disk is not valid")])]);
        assert!(matches!(image(text, &tool), Err(Error::Failed { .. })));
        assert_eq!(tool.called(&signs), signs);
    }
}

#[test]
fn what_there_is_of_a_machine_that_could_not_be_launched_goes() {
    let (declared, release) = (declared(AZURE), release());
    let (calls, machine) = (declared.place.calls(), &declared.machines[0]);
    let wanted = Wanted { target: "shop", machine, release: &release, config: "c" };
    let tool = Tool::new(&[("vm create", &[Err("SkuNotAvailable")])]);
    let files = [(Slot::UserData, "/user-data".into()), (Slot::PublicKey, "/key.pub".into())];
    let failed = Runner::new(calls.as_ref(), &tool).machine(&wanted, &[], &files);
    assert!(matches!(failed, Err(Error::Failed { remedy: Some(_), .. })));
    let signs = ["vm create", "vm delete", "nic delete", "disk delete", "public-ip delete"];
    assert_eq!(tool.called(&signs), signs);
}

#[test]
fn what_never_became_an_image_goes_with_the_next_version() {
    let release = release();
    for (text, list, end, remove) in
        [(GCP, "objects list", "tar.gz", "storage rm gs://b/"), (AZURE, "blob list", "vhd", "blob delete")]
    {
        let own = release.name();
        let others = ["rave-web-0123456789abcdef-5g", "rave-web-2-0123456789abcdef-5g", "rave-web-notes", own.as_str()];
        let listed: &'static str = others.map(|name| format!("{name}.{end}\n")).concat().leak();
        let calls = declared(text).place.calls();
        let tool = Tool::new(&[(list, &[Ok(listed)])]);
        Runner::new(calls.as_ref(), &tool).tidy(&release, &BTreeSet::new(), false).unwrap();
        let removed =
            tool.calls.lock().unwrap().iter().filter(|call| call.contains(remove)).cloned().collect::<Vec<_>>();
        assert!(removed.len() == 1 && removed[0].ends_with(&format!("{}.{end}", others[0])), "{removed:?}");
        // One that failed leaves what it did not make.
        let tool = Tool::new(&[(list, &[Ok(listed)]), ("list", &[Ok("[]")])]);
        Runner::new(calls.as_ref(), &tool).tidy(&release, &BTreeSet::new(), true).unwrap();
        assert_eq!(tool.called(&[remove]), [] as [&str; 0]);
    }
}

#[test]
fn a_snapshot_that_aws_gave_up_goes_and_one_that_somebody_may_be_filling_stays() {
    let (release, other) = (release(), "0123456789abcdef0123456789abcdef");
    let listed: &'static str = format!(
        "snap-1 error {other} 1\nsnap-2 pending {other} 1\nsnap-3 completed {other} 1\nsnap-4 error {} 1\nsnap/5 error {other} 1\n\
         snap-6 error digest 1\nsnap-7 error\n",
        release.tag()
    )
    .leak();
    let calls = declared(AWS).place.calls();
    for (said, is_well) in
        [(Ok(""), true), (Err("InvalidSnapshot.NotFound"), true), (Err("UnauthorizedOperation"), false)]
    {
        let tool = Tool::new(&[("describe-snapshots", &[Ok(listed)]), ("delete-snapshot", &[said])]);
        let tidied = Runner::new(calls.as_ref(), &tool).tidy(&release, &BTreeSet::new(), false);
        assert_eq!(tidied.is_ok(), is_well, "{tidied:?}");
        let deletes =
            tool.calls.lock().unwrap().iter().filter(|call| call.contains("delete-")).cloned().collect::<Vec<_>>();
        assert!(deletes.len() == 1 && deletes[0].ends_with("--snapshot-id snap-1"), "{deletes:?}");
    }
}

#[test]
fn a_machine_that_is_not_well_goes_and_one_that_was_well_once_stays() {
    let (declared, release) = (declared(GCP), release());
    let (calls, machine) = (declared.place.calls(), &declared.machines[0]);
    let wanted = Wanted { target: "shop", machine, release: &release, config: "c" };
    let listed = |state: &str| {
        format!(
            r#"[{{"name":"i","status":"RUNNING","description":"1.0","labels":{{"rave-target":"shop","rave-machine":"web-1",
            "rave-image":"web","rave-disk":"{}","rave-size":"1","rave-config":"c","rave-state":"{state}"}}}}]"#,
            release.tag()
        )
    };
    for (state, goes) in [("new", 1), ("well", 0)] {
        let text: &'static str = listed(state).leak();
        let all = calls.read_instances(text.as_bytes()).unwrap();
        let stopped: Vec<Instance> = all.iter().map(|found| Instance { runs: false, ..found.clone() }).collect();
        let tool = Tool {
            trouble: Some("broken".into()),
            ..Tool::new(&[("filter name=", &[Ok("RUNNING")]), ("list", &[Ok(text)])])
        };
        let outcome = Runner::new(calls.as_ref(), &tool).machine(&wanted, &stopped, &[]).unwrap();
        let stays = goes == 0;
        assert_eq!(outcome, Outcome::Unwell { reason: "broken".into(), stays, instead: None });
        assert_eq!(tool.called(&["instances delete"]).len(), goes);
    }
    // One that could not be launched is undone.
    let tool = Tool::new(&[("instances create", &[Err("QUOTA_EXCEEDED")])]);
    let files = [(Slot::UserData, "/user-data".into())];
    let failed = Runner::new(calls.as_ref(), &tool).machine(&wanted, &[], &files);
    assert!(matches!(failed, Err(Error::Failed { remedy: Some(_), .. })));
    assert_eq!(tool.called(&["instances create", "instances delete"]), ["instances create", "instances delete"]);
}

#[test]
fn a_launch_that_was_cut_short_goes_on() {
    let (declared, release) = (declared(AZURE), release());
    let (calls, machine) = (declared.place.calls(), &declared.machines[0]);
    let wanted = Wanted { target: "shop", machine, release: &release, config: "c" };
    let text: &'static str = format!(
        r#"[{{"id":"i","state":"","tags":{{"rave-target":"shop","rave-machine":"web-1","rave-disk":"{}","rave-size":"1",
        "rave-config":"c","rave-state":"new"}}}}]"#,
        release.tag()
    )
    .leak();
    let all = calls.read_instances(text.as_bytes()).unwrap();
    let power: &[Told] = &[Ok(""), Ok("VM starting"), Ok("VM running")];
    let tool = Tool::new(&[("[?name==", power), ("vm list", &[Ok(text)])]);
    let outcome = Runner::new(calls.as_ref(), &tool).machine(&wanted, &all, &[]).unwrap();
    assert_eq!(outcome, Outcome::Well(BTreeSet::new()));
    let signs = ["vm create", "[?name==", "boot-diagnostics enable", "resource tag"];
    assert_eq!(tool.called(&signs), [signs[1], signs[1], signs[1], signs[2], signs[3]]);
    // What the provider does not let run is told, and nobody removes it.
    let stopped = Tool::new(&[("[?name==", &[Ok("VM deallocated")]), ("vm list", &[Ok(text)])]);
    let failed = Runner::new(calls.as_ref(), &stopped).machine(&wanted, &all, &[]);
    assert!(matches!(failed, Err(Error::State { .. })) && stopped.called(&["vm delete"]).is_empty());
}

#[test]
fn an_image_in_another_size_goes_when_nothing_runs_it() {
    let release = release();
    let larger = Release { disk_size: 2 << 30, ..release.clone() };
    let instance: &'static str = format!(
        r#"[{{"name":"i","status":"RUNNING","description":"1.0","labels":{{"rave-target":"shop","rave-disk":"{}",
        "rave-size":"1"}}}}]"#,
        release.tag()
    )
    .leak();
    let images: &'static str = format!(r#"[{{"name":"{}"}},{{"name":"{}"}}]"#, release.name(), larger.name()).leak();
    let tool = Tool::new(&[("instances list", &[Ok(instance)]), ("images list", &[Ok(images)])]);
    let calls = declared(GCP).place.calls();
    let runner = Runner::new(calls.as_ref(), &tool);
    runner.clear_images(&release.image, &BTreeSet::new(), &|_| true).unwrap();
    let deletes = [&release, &larger].map(|release| format!("images delete {}", release.name()));
    assert_eq!(tool.called(&[&deletes[0], &deletes[1]]), [deletes[1].clone()]);
    // What ran before is kept, in any size.
    let tool = Tool::new(&[("instances list", &[Ok("[]")]), ("images list", &[Ok(images)])]);
    let keep = BTreeSet::from([release.tag()]);
    Runner::new(calls.as_ref(), &tool).clear_images(&release.image, &keep, &|_| true).unwrap();
    assert_eq!(tool.called(&["images delete"]), [] as [&str; 0]);
}
