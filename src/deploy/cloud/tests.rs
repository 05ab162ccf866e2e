use std::collections::BTreeMap;

use super::step::Values;
use super::*;
use crate::deploy::Target;
use crate::origin::Source;

const AWS: &str = "description: The shop.\nkind: aws\nregion: eu-central-1\nprofile: ops\nssh-key: keys/check\nmachines:\n  \
                   web-1:\n    instance-type: t3.small\n    user-data: clouds/web-1.yaml\n    subnet: subnet-0a1b\n    \
                   security-groups: [sg-01, sg-02]\n    instance-profile: web\n  web-2:\n    instance-type: t3.small\n    \
                   user-data: \"clouds/it's web-2.yaml\"\n    address: private\n    subnet: subnet-0a1b\n";
const GCP: &str = "kind: gcp\nproject: shop-123456\nzone: europe-west3-a\nbucket: shop-images\nssh-key: keys/check\nmachines:\n  web-1:\n    \
                   machine-type: e2-small\n    user-data: clouds/web-1.yaml\n    subnet: web\n    network-tags: [web, https]\n    \
                   service-account: web@shop-123456.iam.gserviceaccount.com\n  web-2: { machine-type: e2-small, user-data: \
                   clouds/web-2.yaml, address: private }\n";
const AZURE: &str = "kind: azure\nresource-group: shop\nlocation: westeurope\nstorage-account: shopimages\ncontainer: images\n\
                     ssh-key: keys/check\nmachines:\n  web-1: { size: Standard_B2s, user-data: clouds/web-1.yaml, vnet: shop, \
                     subnet: web, security-group: web }\n  web-2: { size: Standard_B2s, user-data: clouds/web-2.yaml, vnet: shop, \
                     subnet: web, security-group: web, address: private }\n";

fn read(text: &str) -> Result<Declared, Vec<String>> {
    let told = |errors: Vec<crate::origin::Diagnostic>| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
    let target = Target::parse("shop", &Source::new("targets/shop.yaml", text)).map_err(told)?;
    Ok(target.cloud.unwrap())
}

fn release() -> Release {
    Release {
        image: "web".parse().unwrap(),
        version: "1.2.0~rc1".parse().unwrap(),
        mode: Mode::Safe,
        disk: Digest::of(b"disk"),
        disk_size: (4 << 30) + 1,
    }
}

fn script(text: &str) -> String {
    let (declared, release) = (read(text).unwrap(), release());
    let calls = declared.place.calls();
    let configs: Vec<String> = declared.machines.iter().map(|machine| machine.config(b"#cloud-config\n")).collect();
    let machines: Vec<Wanted<'_>> = declared
        .machines
        .iter()
        .zip(&configs)
        .map(|(machine, config)| Wanted { target: "shop", machine, release: &release, config })
        .collect();
    let blocks = [0, 1, 2, 7].map(|index| blocks::Block { index, sha256: [7; 32] });
    let raw = calls.format() == Upload::Raw;
    script::render(&script::Script {
        calls: calls.as_ref(),
        title: declared.place.title(),
        declared: &declared,
        machines: &machines,
        release: &release,
        file: "web_1.2.0~rc1.disk",
        blocks: if raw { &blocks } else { &[] },
        totals: if raw { blocks::totals(&blocks) } else { Values::new() },
    })
}

#[test]
fn all_calls_for_aws() {
    insta::assert_snapshot!(script(AWS));
}

#[test]
fn all_calls_for_gcp() {
    insta::assert_snapshot!(script(GCP));
}

#[test]
fn all_calls_for_azure() {
    insta::assert_snapshot!(script(AZURE));
}

#[test]
fn a_script_marks_nothing_as_well() {
    for text in [AWS, GCP, AZURE] {
        let script = script(text);
        let marks: Vec<&str> = script.lines().filter(|line| line.contains(tag::WELL)).collect();
        assert!(marks.len() >= 2 && marks.iter().all(|line| line.starts_with("# ")), "{marks:?}");
    }
}

#[test]
fn scripts_are_what_a_shell_takes() {
    for text in [AWS, GCP, AZURE] {
        crate::tool::Tool::new("sh").args(["-n"]).output_with_input(script(text).as_bytes()).unwrap();
    }
}

#[test]
fn all_that_is_wrong_is_told_with_its_place() {
    let aws = "kind: aws\nregoin: x\nendpoint: localhost\nmachines:\n  Web:\n    instance-type: --dry-run\n    address: both\n  \
               b: { instance-type: t3.small, user-data: x, security-groups: sg-1 }\n";
    let gcp = "kind: gcp\nproject: p\nzone: [a]\nmachines: {}\nidentity: x\n";
    let azure = "kind: azure\nmachines:\n  a: { size: \"Standard_B2s,x\" }\n";
    let told = [aws, gcp, azure].map(|text| read(text).unwrap_err().join("\n"));
    insta::assert_snapshot!(told.join("\n\n"));
}

#[test]
fn a_target_says_how_long_its_machines_may_take_to_start() {
    let with = |boot: &str| read(&format!("{boot}{AWS}"));
    for (boot, seconds) in [("", 900), ("boot: 10s\n", 10), ("boot: 1h30m\n", 5400), ("boot: 2h\n", 7200)] {
        assert_eq!(with(boot).unwrap().boot.as_secs(), seconds, "{boot}");
    }
    for boot in ["0", "9s", "121m", "soon", "-5m", "[1m]", ""] {
        let errors = with(&format!("boot: {boot}\n")).unwrap_err();
        assert!(errors.len() == 1 && errors[0].starts_with("targets/shop.yaml:1:"), "{boot}: {errors:?}");
        assert!(errors[0].contains("`boot` must "), "{boot}: {errors:?}");
    }
}

#[test]
fn names_fit_and_tell_targets_machines_and_versions_apart() {
    let (declared, release) = (read(AWS).unwrap(), release());
    let [first, second] = &declared.machines[..] else { panic!() };
    let wanted = |target, machine, config| Wanted { target, machine, release: &release, config }.instance();
    let names = [wanted("a", first, "1"), wanted("b", first, "1"), wanted("a", second, "1"), wanted("a", first, "2")];
    for (at, name) in names.iter().enumerate() {
        assert!(name.len() <= 63 && !names[..at].contains(name), "{name}");
    }
    assert_ne!(first.config(b"a"), first.config(b"b"));
    assert_ne!(first.config(b"a"), second.config(b"a"));
    assert_eq!((release.gib(), release.name().len()), (5, "rave-web-".len() + IN_NAME + "-5g".len()));
    // No cloud makes a disk that is smaller than its image.
    let smaller = Release { disk_size: 3 << 30, ..release.clone() };
    assert_ne!(smaller.name(), release.name());
    for text in [AWS, GCP, AZURE] {
        let calls = read(text).unwrap().place.calls();
        let asks = |release: &Release| {
            let steps = calls.image(release);
            steps.iter().filter_map(|step| step.find.as_ref().map(script::line)).collect::<Vec<_>>()
        };
        assert!(asks(&release).iter().zip(&asks(&smaller)).all(|(one, other)| one != other), "{text}");
    }
}

#[test]
fn answers_are_read() {
    let aws = br#"[{"id":"i-1","state":"running","public":"198.51.100.7","private":"10.0.0.7","tags":[
        {"Key":"rave-target","Value":"shop"},{"Key":"Name","Value":"\u0007"},{"Key":"rave-version","Value":"1.0~rc1"}]}]"#;
    let calls = read(AWS).unwrap().place.calls();
    let [instance] = &calls.read_instances(aws).unwrap()[..] else { panic!() };
    assert!(instance.runs && instance.tag(tag::VERSION) == "1.0~rc1" && instance.tags.len() == 2, "{instance:?}");
    let gcp = br#"[{"name":"rave-a-1","status":"TERMINATED","description":"1.0~rc1^2","labels":{"rave-target":"shop"},
        "networkInterfaces":[{"networkIP":"10.0.0.7","accessConfigs":[{"natIP":"198.51.100.7"}]}]}]"#;
    let calls = read(GCP).unwrap().place.calls();
    let [instance] = &calls.read_instances(gcp).unwrap()[..] else { panic!() };
    assert!(!instance.runs && instance.public.as_deref() == Some("198.51.100.7"), "{instance:?}");
    assert_eq!(instance.tag(tag::VERSION), "1.0~rc1^2");
    let azure = br#"[{"id":"rave-a-1","state":"VM running","public":"","private":"10.0.0.7,10.0.0.8","tags":{"rave-target":"x"}}]"#;
    let calls = read(AZURE).unwrap().place.calls();
    let [instance] = &calls.read_instances(azure).unwrap()[..] else { panic!() };
    assert!(instance.runs && instance.public.is_none() && instance.private.as_deref() == Some("10.0.0.7"));
    let made = br#"[{"id":"rave-a-1","state":"","tags":{"rave-target":"x"}},{"id":"b","state":null,"tags":null}]"#;
    assert!(calls.read_instances(made).unwrap().iter().all(|instance| instance.runs));
    assert_eq!(answer::word(b"None\n"), Ok(None));
    assert_eq!(answer::word(b"\n"), Ok(None));
    assert_eq!(answer::word(b"ami-1\n"), Ok(Some("ami-1".into())));
    for hostile in [&b"--profile=x\n"[..], b"a;b", b"$(x)", b"\xff", b"a\nb\x1b[0m"] {
        assert!(answer::words(hostile).is_err(), "{hostile:?}");
    }
    for hostile in
        [&b"{}"[..], b"[1]", br#"[{"id":"-x","state":"running"}]"#, br#"[{"id":"a","state":"b","public":"x y"}]"#]
    {
        assert!(calls.read_instances(hostile).is_err(), "{hostile:?}");
    }
    let images =
        br#"[{"name":"rave-web-0123456789abcdef"},{"name":"rave-web-2-0123456789abcdef"},{"name":"rave-web-x"},
        {"name":"rave-web-0123456789abcdef-5g"},{"name":"rave-web-2-0123456789abcdef-5g"},{"name":"rave-web-0123456789abcdef-g"},
        {"name":"rave-web-0123456789abcdef-0123456789abcdef-5g"}]"#;
    let images = answer::images(images, "web").unwrap();
    let known = |image: &Registered| (image.id.clone(), image.disk.clone(), image.gib.clone());
    let (plain, disk) = ("rave-web-0123456789abcdef".to_owned(), "0123456789abcdef".to_owned());
    let sized = (format!("{plain}-5g"), disk.clone(), Some("5".to_owned()));
    assert_eq!(images.iter().map(known).collect::<Vec<_>>(), [(plain, disk, None), sized]);
}

#[test]
fn a_machine_gets_what_it_lacks() {
    use super::plan::{Action, own, plan};
    let (declared, release) = (read(AWS).unwrap(), release());
    let wanted = Wanted { target: "shop", machine: &declared.machines[0], release: &release, config: "c" };
    let instance = |id: &str, config: &str, state: &str, runs: bool| Instance {
        id: id.into(),
        state: "running".into(),
        runs,
        public: None,
        private: None,
        tags: [wanted.tags(), vec![(tag::CONFIG, config.into()), (tag::STATE, state.into())]]
            .concat()
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    };
    let strange =
        Instance { tags: BTreeMap::from([(tag::TARGET.into(), "other".into())]), ..instance("x", "c", "well", true) };
    let old = instance("old", "b", "well", true);
    let of = |more: &[Instance]| plan(&wanted, &[std::slice::from_ref(&strange), more].concat());
    assert!(matches!(of(&[]), Some(Action::Launch { from: None, .. })));
    assert!(matches!(of(std::slice::from_ref(&old)), Some(Action::Launch { from: Some(_), .. })));
    assert_eq!(of(&[old.clone(), instance("a", "c", "new", true)]), Some(Action::Check));
    assert_eq!(of(&[instance("a", "c", "well", false)]), Some(Action::Start));
    assert_eq!(of(&[old, instance("a", "c", "well", true)]), Some(Action::Retire));
    assert_eq!(of(&[instance("a", "c", "well", true)]), None);
    // Launched twice, because the first was seen late.
    let twice = [instance("a", "c", "new", true), instance("b", "c", "well", true)];
    assert_eq!(of(&twice), Some(Action::Retire));
    let (current, others) = own(&wanted, &twice);
    assert_eq!((current.unwrap().id.as_str(), others[0].id.as_str()), ("b", "a"));
}

#[test]
fn the_host_key_is_what_the_console_shows_last() {
    const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2HMZCnsFmAkPJvBDzNMvMoyVVmAdtgYV7CkUmsiPFj";
    const TWO: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
    let shown = |text: String| answer::host_key(text.as_bytes());
    assert_eq!(
        shown(format!("[  1.0] sh[1]: {TWO}\r\n[ 2.0] sh[1]: {ONE}\r\nlogin: ssh-ed25519 \r\n")).as_deref(),
        Some(ONE)
    );
    assert_eq!(shown(format!("{ONE} root@web\n")).as_deref(), Some(ONE));
    assert_eq!(shown("ssh-ed25519 AAAA\nssh-ed25519".into()), None);
}

proptest::proptest! {
    #[test]
    fn no_answer_makes_it_panic(bytes: Vec<u8>, text in "[\\[\\]{}\",:a-z0-9 .\n]{0,80}") {
        let text = format!(r#"[{{"id":"a","name":"b","state":"running","status":"RUNNING",{text}"#);
        for answer in [&bytes[..], text.as_bytes(), format!("{text}}}]").as_bytes()] {
            for target in [AWS, GCP, AZURE] {
                read(target).unwrap().place.calls().read_instances(answer).ok();
            }
            answer::words(answer).ok();
            answer::images(answer, "web").ok();
            answer::uploads(answer, "web").ok();
            answer::snapshots(answer, "web").ok();
            answer::host_key(answer);
        }
        read(&format!("kind: aws\nregion: {text}")).ok();
    }
}
