//! The command line, held against its contract through the real program: exit status, standard output and standard
//! error, each on its own. Nothing here needs a network beyond loopback, a virtual machine or the user's files.

#![allow(clippy::disallowed_methods, reason = "a test sets up its own files and runs the program itself")]

#[path = "cli/archive.rs"]
mod archive;
#[path = "cli/cloud.rs"]
mod cloud;
#[path = "support/deb.rs"]
#[expect(dead_code, reason = "other tests make more of packages")]
mod deb;
#[path = "cli/deploy.rs"]
mod deploy;
#[path = "cli/diff.rs"]
mod diff;
#[path = "cli/evidence.rs"]
mod evidence;
#[path = "cli/explain.rs"]
mod explain;
#[path = "cli/export.rs"]
mod export;
#[path = "support/guide.rs"]
mod guide;
#[path = "cli/guides.rs"]
mod guides;
#[path = "cli/help.rs"]
mod help;
#[path = "cli/images.rs"]
mod images;
#[path = "cli/lock.rs"]
mod lock;
#[path = "cli/machines.rs"]
mod machines;
#[path = "cli/mirror.rs"]
mod mirror;
#[path = "cli/new.rs"]
mod new;
#[path = "cli/options.rs"]
mod options;
#[path = "cli/output.rs"]
mod output;
#[path = "cli/plan.rs"]
mod plan;
#[path = "cli/schema.rs"]
mod schema;
#[path = "cli/secrets.rs"]
mod secrets;
#[path = "cli/secrets_kept.rs"]
mod secrets_kept;
#[path = "cli/store.rs"]
mod store;
#[path = "cli/tidy.rs"]
mod tidy;
#[path = "cli/world.rs"]
mod world;

#[test]
fn every_file_of_these_tests_is_compiled() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli");
    for entry in std::fs::read_dir(directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".rs") {
            assert!(include_str!("cli.rs").contains(&format!("\"cli/{name}\"")), "{name} is in no module");
        }
    }
}
