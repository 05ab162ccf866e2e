//! Who fails, forges or wants too much is kept out of the production machine, and counted.

use crate::lab::{Fault, wait_for};
use crate::scene::Scene;

/// What keeps nobody out.
pub const PATIENT: Fault = Fault {
    breaks: "fail2ban-client set sshd maxretry 1000",
    mends: "fail2ban-client set sshd maxretry 3",
    seen_by: &["security.bans"],
};

/// What keeps an address out ten times as long.
pub const LONGER: Fault = Fault {
    breaks: "fail2ban-client set webhook bantime 18000",
    mends: "fail2ban-client set webhook bantime 1800",
    seen_by: &["security.fail2ban.ban.webhook"],
};

/// A jail that does not read what its service says any more.
pub const DEAF: Fault = Fault {
    breaks: "fail2ban-client set nginx deljournalmatch _SYSTEMD_UNIT=nginx.service",
    mends: "fail2ban-client set nginx addjournalmatch _SYSTEMD_UNIT=nginx.service",
    seen_by: &["security.fail2ban.jail.nginx"],
};

/// A service that its profile does not hold back.
pub const UNCONFINED: Fault = Fault {
    breaks: "mkdir -p /run/systemd/system/nginx.service.d; \
             printf '[Service]\nAppArmorProfile=\n' > /run/systemd/system/nginx.service.d/99.conf; \
             systemctl daemon-reload; systemctl restart nginx.service; rave guest wait 127.0.0.1:3002",
    mends: "rm /run/systemd/system/nginx.service.d/99.conf; systemctl daemon-reload; \
            systemctl restart nginx.service; rave guest wait 127.0.0.1:3002",
    seen_by: &["security.apparmor.nginx"],
};

/// A client that has to be kept out.
const GREEDY: &str = include_str!("greedy.py");

pub fn keep_out(scene: &Scene) {
    println!("an address that forges is kept out, those that share one are not");
    let banned = || scene.root("nft list table inet f2b-table 2> /dev/null || true");
    let counted = |jail: &str, what: &str| {
        let told = scene.root(&format!("cat /var/lib/node-exporter/fail2ban-{jail}.prom"));
        told.lines().any(|line| line == format!("f2b_jail_banned_{what}")).then_some(())
    };
    let released = |jail: &str, address: &str| {
        wait_for("the ban", || banned().contains(address).then_some(()));
        wait_for("its count", || counted(jail, &format!("current{{jail=\"{jail}\"}} 1")));
        scene.root(&format!("fail2ban-client set {jail} unbanip {address}"));
        wait_for("its end", || (!banned().contains(address)).then_some(()));
        wait_for("none to count", || counted(jail, &format!("current{{jail=\"{jail}\"}} 0")));
        // A check may have had a stranger kept out before.
        assert_eq!(counted(jail, &format!("total{{jail=\"{jail}\"}} 0")), None);
    };
    // Of logins that a check has tried last, fail2ban may have learnt when that had let its stranger in again.
    scene.root("fail2ban-client unban --all; fail2ban-client set sshd attempt 192.0.2.7 1 1 1 1");
    released("sshd", "192.0.2.7");
    let forged = "for n in 1 2 3 4 5 6; do exec 3<> /dev/tcp/127.0.0.1/8090; \
                  printf \"POST /webhook HTTP/1.1\\r\\nHost: localhost\\r\\nX-Forwarded-For: 198.51.100.9\\r\\n\
                  Content-Length: 2\\r\\nConnection: close\\r\\n\\r\\n{}\" >&3; head -n 1 <&3; exec 3>&-; done";
    assert_eq!(scene.root(&format!("bash -ec '{forged}'")).matches("401 Unauthorized").count(), 6);
    released("webhook", "198.51.100.9");

    println!("so is who asks for more than one client may, at once and one by one, and goes on when told to wait");
    // The machine's own addresses are never kept out.
    scene.root("fail2ban-client set nginx delignoreip 127.0.0.0/8");
    let greedy = |what: &str| scene.root(&format!("python3 - {what} <<'END'\n{GREEDY}END"));
    assert_eq!(greedy("at-once 127.0.0.10 33"), "HTTP/1.1 429");
    let waiting: usize = greedy("one-by-one 127.0.0.9 400").parse().unwrap();
    assert!(waiting >= 200, "{waiting}");
    released("nginx", "127.0.0.9");
    assert!(!banned().contains("127.0.0.10"));
    scene.root("fail2ban-client set nginx addignoreip 127.0.0.0/8");

    println!("who is kept out stays so when the firewall is read anew and the configuration is");
    scene.root("fail2ban-client set sshd attempt 192.0.2.9 1 1 1 1");
    wait_for("the ban", || banned().contains("192.0.2.9").then_some(()));
    // What comes within three seconds of a ban it takes for lines that it reads late.
    scene.root("nft delete table inet f2b-table; sleep 4; fail2ban-client set sshd attempt 192.0.2.9 1 1 1 1");
    wait_for("the ban anew", || banned().contains("192.0.2.9").then_some(()));
    scene.root("fail2ban-client reload");
    wait_for("its count", || counted("sshd", "current{jail=\"sshd\"} 1"));
    scene.root("fail2ban-client set sshd unbanip 192.0.2.9");
    wait_for("none to count", || counted("sshd", "current{jail=\"sshd\"} 0"));

    println!("a ban ends by itself");
    scene.root("fail2ban-client set sshd bantime 5; fail2ban-client set sshd attempt 192.0.2.8 1 1 1 1");
    wait_for("the ban", || banned().contains("192.0.2.8").then_some(()));
    wait_for("its end", || (!banned().contains("192.0.2.8")).then_some(()));
    scene.root("fail2ban-client set sshd bantime 1800");

    println!("a stranger whom nobody keeps out is seen, and a server that nothing confines");
    let faults = [PATIENT, LONGER, DEAF, UNCONFINED];
    scene.lab.seen(&["production", "--stage", "security", "--skip", "security.scan"], &faults, &[]);
    // Whether all is well again is what the machine is asked next.
    scene.root(&faults.map(|fault| fault.mends).join("; "));
    // Forged requests have come from the gateway of the user network, too.
    assert!(!banned().contains("10.0.2.2"));
}
