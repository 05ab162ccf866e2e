use super::*;
use crate::qemu::machine::Debug;
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
    insta::assert_snapshot!(lines(&arguments(&machine(), &decided(), &paths())), @r#"
    -name web,process=rave-web
    -nodefaults
    -no-user-config
    -display none
    -msg timestamp=on
    -machine q35,usb=off,vmport=off,smm=off,sata=off,dump-guest-core=off
    -smp 2
    -m 2048
    -rtc base=utc,clock=host
    -boot strict=on,menu=off
    -action panic=none,reboot=reset,shutdown=poweroff
    -device pvpanic-pci
    -object rng-builtin,id=rng
    -device virtio-rng-pci,rng=rng
    -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
    -accel tcg,thread=multi,tb-size=256
    -cpu max,la57=off,erms=off,fsrm=off
    -mem-prealloc
    -drive if=pflash,unit=0,format=raw,readonly=on,file=/fw,,x/code.fd
    -drive if=pflash,unit=1,format=raw,file=vars.fd
    -blockdev {"driver":"raw","node-name":"base","read-only":true,"file":{"driver":"file","filename":"/images/a,b.raw","read-only":true}}
    -blockdev {"driver":"qcow2","node-name":"disk","discard":"unmap","cache":{"direct":false,"no-flush":true},"backing":"base","file":{"driver":"file","filename":"overlay.qcow2","discard":"unmap","cache":{"direct":false,"no-flush":true}}}
    -device virtio-blk-pci,id=disk0,drive=disk,bootindex=1,discard=on,serial=rave
    -netdev user,id=net,hostfwd=tcp:127.0.0.1:2223-:22,hostfwd=tcp:127.0.0.1:3002-:3002
    -device virtio-net-pci,netdev=net,romfile=
    -chardev socket,id=qmp,server=on,wait=off,path=qmp.sock
    -mon chardev=qmp,mode=control
    -chardev socket,id=control,server=on,wait=off,path=control.sock
    -mon chardev=control,mode=control
    -chardev socket,id=fault,server=on,wait=off,path=fault.sock
    -mon chardev=fault,mode=control
    -chardev socket,id=check,server=on,wait=off,path=check.sock
    -mon chardev=check,mode=control
    -chardev socket,id=agent,server=on,wait=off,path=agent.sock
    -device virtio-serial-pci
    -device virtserialport,chardev=agent,name=org.qemu.guest_agent.0
    -chardev socket,id=console,server=on,wait=off,path=console.sock,logappend=on,logfile=console.log
    -serial chardev:console
    -smbios type=1,product=rave,uuid=e467ee7b-d3b7-8a22-bfd5-dbf56ff24390
    -smbios type=11,path=credentials/rave.identity
    -smbios type=11,path=credentials/ssh.authorized_keys.agent
    "#);
}

#[test]
fn direct_boot_with_kvm_persistent_and_isolated_and_debugged() {
    let mut machine = machine();
    machine.persist = true;
    machine.debug = Some(Debug { stops: true });
    machine.profile.outbound = false;
    let decided = Decided { accelerator: Accelerator::Kvm, confined: false, ..decided() };
    let boot = Boot::Direct("/k".into(), "/i".into(), "roothash=00 quiet".into());
    let paths = Paths { directory: "/vm".into(), boot, ..paths() };
    insta::assert_snapshot!(lines(&arguments(&machine, &decided, &paths)), @r#"
    -name web,process=rave-web
    -nodefaults
    -no-user-config
    -display none
    -msg timestamp=on
    -machine q35,usb=off,vmport=off,smm=off,sata=off,dump-guest-core=off
    -smp 2
    -m 2048
    -rtc base=utc,clock=host
    -boot strict=on,menu=off
    -action panic=none,reboot=reset,shutdown=poweroff
    -device pvpanic-pci
    -object rng-builtin,id=rng
    -device virtio-rng-pci,rng=rng
    -accel kvm
    -cpu host
    -kernel /k
    -initrd /i
    -append roothash=00 quiet rave.break
    -blockdev {"driver":"raw","node-name":"base","read-only":true,"file":{"driver":"file","filename":"/images/a,b.raw","read-only":true}}
    -blockdev {"driver":"qcow2","node-name":"disk","discard":"unmap","cache":{"direct":false,"no-flush":false},"backing":"base","file":{"driver":"file","filename":"/vm/overlay.qcow2","discard":"unmap","cache":{"direct":false,"no-flush":false}}}
    -device virtio-blk-pci,id=disk0,drive=disk,bootindex=1,discard=on,serial=rave
    -netdev user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:2223-:22,hostfwd=tcp:127.0.0.1:3002-:3002
    -device virtio-net-pci,netdev=net,romfile=
    -chardev socket,id=qmp,server=on,wait=off,path=/vm/qmp.sock
    -mon chardev=qmp,mode=control
    -chardev socket,id=control,server=on,wait=off,path=/vm/control.sock
    -mon chardev=control,mode=control
    -chardev socket,id=fault,server=on,wait=off,path=/vm/fault.sock
    -mon chardev=fault,mode=control
    -chardev socket,id=check,server=on,wait=off,path=/vm/check.sock
    -mon chardev=check,mode=control
    -chardev socket,id=agent,server=on,wait=off,path=/vm/agent.sock
    -device virtio-serial-pci
    -device virtserialport,chardev=agent,name=org.qemu.guest_agent.0
    -chardev socket,id=console,server=on,wait=off,path=/vm/console.sock,logappend=on,logfile=/vm/console.log
    -serial chardev:console
    -smbios type=1,product=rave,uuid=e467ee7b-d3b7-8a22-bfd5-dbf56ff24390
    -smbios type=11,path=/vm/credentials/rave.identity
    -smbios type=11,path=/vm/credentials/ssh.authorized_keys.agent
    -d guest_errors,cpu_reset
    -device VGA,romfile=
    -chardev file,id=journal,append=on,path=/vm/journal.json
    -device virtserialport,chardev=journal,name=rave.journal
    -chardev socket,id=gdb,server=on,wait=off,path=/vm/gdb.sock
    -gdb chardev:gdb
    "#);
}

#[test]
fn a_hardware_clock_begins_where_it_is_told_to() {
    for (told, base) in
        [("2001-09-09T01:46:40", "2001-09-09T01:46:40"), ("2033-05-18T03:33:20.75", "2033-05-18T03:33:20")]
    {
        let machine = Machine { rtc: Some(told.parse().unwrap()), ..machine() };
        let list = lines(&arguments(&machine, &decided(), &paths()));
        assert!(list.contains(&format!("\n-rtc base={base},clock=host\n")), "{list}");
    }
}

#[test]
fn a_disk_has_sectors_of_the_size_that_it_was_laid_out_for() {
    let machine = Machine { sector_size: 4096, ..machine() };
    let list = lines(&arguments(&machine, &decided(), &paths()));
    let sectors = "logical_block_size=4096,physical_block_size=4096";
    assert!(list.contains(&format!(",id=disk0,drive=disk,bootindex=1,discard=on,{sectors},serial=rave\n")), "{list}");
}

#[test]
fn the_probe_has_neither_disk_nor_network() {
    insta::assert_snapshot!(lines(&probe(&paths())), @r#"
    -nodefaults
    -no-user-config
    -display none
    -machine q35,usb=off,vmport=off
    -accel kvm
    -cpu host
    -smp 1
    -m 256
    -no-reboot
    -action panic=none
    -drive if=pflash,unit=0,format=raw,readonly=on,file=/fw,,x/code.fd
    -chardev socket,id=qmp,server=on,wait=off,path=qmp.sock
    -mon chardev=qmp,mode=control
    -chardev file,id=console,path=console.log
    -serial chardev:console
    "#);
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
