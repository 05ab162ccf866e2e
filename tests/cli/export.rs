//! What `rave export` says before there is anything to export.

use super::world::World;

#[test]
fn an_unknown_format_is_answered_with_those_there_are() {
    let ran = World::new().run(&["export", "minimal", "--format", "vdi"]);
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    for format in [
        "vdi",
        "raw",
        "raw.zst",
        "qcow2",
        "vhd",
        "vmdk",
        "ova",
        "gce",
        "oci",
        "containerdisk",
        "nocloud",
        "uki",
        "--format",
    ] {
        assert!(ran.stderr.contains(format), "{format}: {}", ran.stderr);
    }
}

#[test]
fn what_is_not_built_is_answered_with_the_command_and_nothing_is_made() {
    let world = World::new();
    world.lock("minimal", &[]);
    for (more, command) in [
        (&[][..], "`rave build minimal`"),
        (&["--mode", "full-pipe"], "`rave build minimal --mode full-pipe`"),
        (&["--set", "system.hostname=a"], "`rave build minimal --set system.hostname=a`"),
    ] {
        let ran = world.run(&[&["export", "minimal", "--format", "qcow2"], more].concat());
        ran.refused(1, &["minimal is not built as its files say now", command]);
    }
    assert!(!world.path("project/export").exists());
    world.run(&["export", "none.raw", "--format", "raw"]).refused(1, &["none.raw"]);
}
