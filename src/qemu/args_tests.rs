use super::*;
use crate::qemu::machine::tests::machine;

fn decided() -> Decided {
    Decided {
        accelerator: Accelerator::Tcg,
        forwards: vec![Forward { host: 2223, guest: 22 }, Forward { host: 3002, guest: 3002 }],
        confined: true,
    }
}

fn paths() -> Paths {
    Paths {
        directory: PathBuf::new(),
        disk: "/images/a,b.raw".into(),
        boot: Boot::Uefi("/fw,x/code.fd".into()),
        credentials: vec!["rave.identity".to_owned(), "ssh.authorized_keys.agent".to_owned()],
    }
}

/// One option and its value per line.
fn lines(list: &[OsString]) -> String {
    let mut text = String::new();
    for word in list {
        let word = word.to_str().unwrap();
        if !text.is_empty() {
            text.push(if word.starts_with('-') { '\n' } else { ' ' });
        }
        text.push_str(word);
    }
    text
}

#[test]
fn uefi_under_software_emulation() {
    insta::assert_snapshot!(lines(&arguments(&machine(), &decided(), &paths())), @r#""#);
}

#[test]
fn direct_boot_with_kvm_persistent_and_isolated_and_debugged() {
    let mut machine = machine();
    machine.persist = true;
    machine.debug = true;
    machine.profile.outbound = false;
    let decided = Decided { accelerator: Accelerator::Kvm, confined: false, ..decided() };
    let boot = Boot::Direct("/k".into(), "/i".into(), "roothash=00 quiet".into());
    let paths = Paths { directory: "/vm".into(), boot, ..paths() };
    insta::assert_snapshot!(lines(&arguments(&machine, &decided, &paths)), @r#""#);
}

#[test]
fn the_probe_has_neither_disk_nor_network() {
    insta::assert_snapshot!(lines(&probe(&paths())), @r#""#);
}

#[test]
fn no_credential_value_reaches_the_argument_list() {
    let list = lines(&arguments(&machine(), &decided(), &paths()));
    assert!(!list.contains("SECRET") && !list.contains("QUdFLVNFQ1JFVA"), "{list}");
}

#[test]
fn ports_are_bound_to_the_loopback_interface_only() {
    let list = lines(&arguments(&machine(), &decided(), &paths()));
    assert_eq!(list.matches("hostfwd=").count(), 2);
    assert_eq!(list.matches("hostfwd=tcp:127.0.0.1:").count(), 2);
}
