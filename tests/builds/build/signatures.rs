//! Signatures of what firmware starts: Debian's on the kernel, and that of an owner on the unified kernel image, which rave
//! leaves unsigned.

use std::time::Duration;

use rave::disk;
use rave::tool::Tool;

use super::built;

#[test]
fn the_kernel_is_the_one_that_debian_signed_and_its_owner_can_sign_the_whole() {
    let lab = built();
    let work = tempfile::tempdir().unwrap();
    let path = |name: &str| work.path().join(name);
    let run = |program: &str, arguments: &[&str]| lab.judge(program, work.path()).args(arguments).output();
    disk::copy(lab.piece("uki"), path("uki")).unwrap();
    let kernel = Tool::new("tar").arg("--wildcards").arg("-xOf").arg(lab.piece("rootfs")).arg("boot/vmlinuz-*");
    let kernel = kernel.output().unwrap();
    disk::write(path("kernel"), &kernel, 0o644).unwrap();
    // The authority that Debian's shim trusts.
    let authority = lab.piece("tools").join("usr/share/shim/debian-uefi-ca.der");
    let pem = Tool::new("openssl").args(["x509", "-inform", "DER", "-in"]).arg(authority).output().unwrap();
    disk::write(path("debian.pem"), &pem, 0o644).unwrap();
    for name in ["owner", "stranger"] {
        let new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=test"];
        let new = Tool::new("openssl").args(new).arg("-keyout").arg(path(&format!("{name}.key")));
        new.arg("-out").arg(path(&format!("{name}.pem"))).output().unwrap();
    }

    // What the image starts are those bytes, filled up to the alignment of the file.
    run("/usr/bin/objcopy", &["-O", "binary", "-j", ".linux", "/in/uki", "/in/section"]).unwrap();
    let section = disk::read(path("section")).unwrap();
    let rest = section.strip_prefix(&kernel[..]).unwrap();
    assert!(rest.len() < 512 && rest.iter().all(|byte| *byte == 0), "{}", rest.len());

    // Nothing that the program that signs would warn of.
    let keys = ["--key", "/in/owner.key", "--cert", "/in/owner.pem"];
    let sign = lab.judge("/usr/bin/sbsign", work.path()).args(keys).args(["--output", "/in/signed", "/in/uki"]);
    let signed = sign.bounded(Duration::from_secs(60), 4096).unwrap();
    let said = String::from_utf8(signed.stderr).unwrap();
    assert_eq!(
        (signed.status.map(|status| status.success()), said.as_str()),
        (Some(true), "Signing Unsigned original image\n")
    );
    for name in ["kernel", "signed"] {
        let mut bytes = disk::read(path(name)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        disk::write(path(&format!("damaged-{name}")), &bytes, 0o644).unwrap();
    }

    let good = "Signature verification OK\n";
    let bad = "Signature verification failed\n";
    for (name, certificate, verdict, reason) in [
        ("kernel", "debian", good, ""),
        ("kernel", "owner", bad, ""),
        ("damaged-kernel", "debian", bad, "Hash doesn't match image"),
        ("signed", "owner", good, ""),
        ("signed", "stranger", bad, ""),
        ("damaged-signed", "owner", bad, "Hash doesn't match image"),
        ("uki", "owner", bad, "No signature table present"),
    ] {
        let (certificate, file) = (format!("/in/{certificate}.pem"), format!("/in/{name}"));
        let verify = lab.judge("/usr/bin/sbverify", work.path()).args(["--cert", &certificate, &file]);
        let verified = verify.bounded(Duration::from_secs(60), 4096).unwrap();
        let [stdout, stderr] = [verified.stdout, verified.stderr].map(|said| String::from_utf8(said).unwrap());
        let is_good = verified.status.unwrap().success();
        assert!(is_good == (verdict == good) && stdout == verdict, "{name}, {certificate}: {stdout}{stderr}");
        assert!(
            stderr.starts_with(reason) && stderr.is_empty() == reason.is_empty(),
            "{name}, {certificate}: {stderr}"
        );
    }
}
