//! The production image in FULL_PIPE, from its first version to the next.

use crate::scene::Scene;
use crate::{events, guides};

const MIB: u64 = 1 << 20;

#[test]
fn production_in_full_pipe_mode_has_its_limits_and_gives_way_to_the_next_version() {
    let mut scene = Scene::new();
    scene.edit("version: 1.0.0\n", "version: 1.0.0\nmode: full-pipe\n");
    guides::first_version(&mut scene);
    let site = scene.site();
    assert!(site.get("/").body.contains("<dd>full-pipe</dd>"));
    let limits = [
        ("prometheus", 512, "50000 100000"),
        ("rave-dashboards", 256, "25000 100000"),
        ("prometheus-node-exporter", 64, "10000 100000"),
        ("webhook", 256, "50000 100000"),
        ("postgresql", 512, "100000 100000"),
    ];
    for (unit, memory, cpu) in limits {
        // Nobody may have asked its socket yet.
        let started = format!("systemctl start {unit}.service");
        let told =
            scene.root(&format!("{started}; cd /sys/fs/cgroup/system.slice/{unit}.service; cat memory.max cpu.max"));
        assert_eq!(told, format!("{}\n{cpu}", memory * MIB), "{unit}");
    }
    events::killed(&scene, &site);
    events::power(&scene, &site);
    guides::next_version(&mut scene);
}
