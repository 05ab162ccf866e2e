//! The key by which a host proves itself.

use super::*;

#[test]
fn a_host_key_is_told_whole_or_by_its_fingerprint() {
    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2HMZCnsFmAkPJvBDzNMvMoyVVmAdtgYV7CkUmsiPFj";
    const FINGERPRINT: &str = "ssh-ed25519 SHA256:oCw7her92afJ3d4QgwGbA87D2QXR3WJxnS1Z25rpTuk";
    let target = target();
    let wanted = Wanted { only: vec!["ssh.host-key".to_owned()], ..Wanted::default() };
    let verdict = |told: &str, inside: &str| {
        let mut world = healthy(&target);
        for answer in world.values_mut() {
            match answer {
                Answer::HostKey { key } => inside.clone_into(key),
                Answer::SshLogin { host_key, .. } => told.clone_into(host_key),
                _ => {}
            }
        }
        verdicts(&check(&target, &wanted, &world))["ssh.host-key"]
    };
    assert_eq!((verdict(KEY, KEY), verdict(FINGERPRINT, KEY)), (Verdict::Healthy, Verdict::Healthy));
    let others = [("ssh-rsa SHA256:oCw7her92afJ3d4QgwGbA87D2QXR3WJxnS1Z25rpTuk", KEY), ("ssh-ed25519 SHA256:x", KEY)];
    for (told, inside) in others.into_iter().chain([(FINGERPRINT, ""), (FINGERPRINT, "ssh-ed25519 AAAA")]) {
        assert_eq!(verdict(told, inside), Verdict::Unhealthy, "{told} {inside}");
    }
}
