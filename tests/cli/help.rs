//! What teaches: help, manual pages, completions, version; and what is said of a wrong command line.

use clap::CommandFactory as _;
use rave::cli::Cli;

use super::world::{World, text};

/// All commands that users are told of, as the words that one types.
fn commands() -> Vec<Vec<String>> {
    fn walk(command: &clap::Command, words: &[String], all: &mut Vec<Vec<String>>) {
        all.push(words.to_vec());
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            walk(sub, &[words, &[sub.get_name().to_owned()]].concat(), all);
        }
    }
    let mut all = Vec::new();
    walk(&Cli::command(), &[], &mut all);
    all
}

/// What one types for a command; nothing stands for an argument that belongs before the word behind it, such as the name
/// in `rave vm secrets NAME push`.
fn shape(words: &[String]) -> Vec<Option<String>> {
    let root = Cli::command();
    let mut command = &root;
    let mut shape = vec![Some("rave".to_owned())];
    for word in words {
        shape.extend(command.get_positionals().map(|_| None));
        shape.push(Some(word.clone()));
        command = command.find_subcommand(word).unwrap();
    }
    shape
}

#[test]
fn the_help_of_every_command_teaches_by_example() {
    let world = World::new();
    let commands = commands();
    assert!(commands.contains(&vec!["vm".to_owned(), "rm".to_owned()]), "{commands:?}");
    for words in commands {
        let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
        arguments.push("--help");
        let ran = world.run(&arguments);
        let help = ran.clean();
        let (_, examples) = help.split_once("\nExample").unwrap_or_else(|| panic!("{words:?} has no example:\n{help}"));
        let shape = shape(&words);
        let shows = |said: &[&str]| said.iter().zip(&shape).all(|(said, word)| word.as_ref().is_none_or(|w| w == said));
        let said: Vec<&str> = examples.split_whitespace().collect();
        assert!(said.windows(shape.len()).any(shows), "the examples of {words:?} do not show it:\n{help}");
        let first = help.lines().next().unwrap();
        assert!(first.len() > 10 && !first.starts_with("Usage"), "{words:?} does not say what it does: {first:?}");
        assert!(help.lines().all(|line| line.chars().count() <= 120), "{words:?} has long lines");
    }
}

/// Options and positionals without a description would be holes in help, manual and completions alike.
#[test]
fn every_argument_is_described() {
    fn walk(command: &clap::Command) {
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{} of {}", argument.get_id(), command.get_name());
        }
        command.get_subcommands().for_each(walk);
    }
    walk(&Cli::command());
}

#[test]
fn the_version_has_a_commit() {
    let ran = World::new().run(&["--version"]);
    let version = ran.clean().strip_prefix(concat!("rave ", env!("CARGO_PKG_VERSION"), " (")).unwrap();
    let commit = version.strip_suffix(")\n").unwrap();
    let is_commit = commit.len() == 12 && commit.bytes().all(|b| b.is_ascii_hexdigit());
    assert!(is_commit || commit == "unknown", "{commit:?}");
}

#[test]
fn completions_name_the_commands_in_every_shell() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "elvish"] {
        let ran = world.run(&["completions", shell]);
        let script = ran.clean();
        for word in ["rave", "build", "completions", "plan", "full-pipe"] {
            // clap's script for elvish completes no values.
            let is_there = script.contains(word) || (shell, word) == ("elvish", "full-pipe");
            assert!(is_there, "{word} is not in the completions of {shell}");
        }
    }
    world.run(&["completions", "tcl"]).refused(1, &["tcl", "bash"]);
}

#[test]
fn each_command_has_a_manual_page() {
    let world = World::new();
    let to = world.path("man/man1");
    assert_eq!(world.run(&["man", text(&to)]).clean(), "");
    let mut pages: Vec<String> =
        std::fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    pages.sort();
    let name = |words: &Vec<String>| format!("{}.1", [&["rave".to_owned()], words.as_slice()].concat().join("-"));
    let mut wanted: Vec<String> = commands().iter().map(name).collect();
    wanted.sort();
    assert_eq!(pages, wanted);
    for page in pages {
        let page = std::fs::read_to_string(to.join(&page)).unwrap();
        for part in [".TH ", ".SH NAME", ".SH SYNOPSIS", ".SH EXAMPLES\n  rave"] {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
        assert!(!page.contains("rave\\-help(1)") && !page.contains("\\-guest(1)"), "{page}");
    }
    let ran = world.run(&["man"]);
    assert_eq!(ran.clean(), std::fs::read_to_string(to.join("rave.1")).unwrap());
}

#[test]
fn a_wrong_command_line_is_wrong_input() {
    let world = World::new();
    let before = world.files();
    world.run(&["biuld"]).refused(1, &["biuld", "build"]);
    world.run(&["build"]).refused(1, &["<IMAGE>"]);
    world.run(&["build", "minimal", "--fromat", "raw"]).refused(1, &["--fromat", "--format"]);
    world.run(&["build", "minimal", "--format", "vdi"]).refused(1, &["vdi", "qcow2"]);
    world.run(&["build", "minimal", "--set", "hostname"]).refused(1, &["expected OPTION=VALUE"]);
    world.run(&["build", "minimal", "--plan", "--check"]).refused(1, &["--plan", "--check"]);
    world.run(&["lock", "minimal", "--update", "--check"]).refused(1, &["--check"]);
    world.run(&["lock", "minimal", "--update", "Nope!"]).refused(1, &["\"Nope!\" is not a package name"]);
    world.run(&["up", "--mode", "fast"]).refused(1, &["fast", "full-pipe"]);
    world.run(&["check", "minimal", "--stage", "sssh"]).refused(1, &["\"sssh\" is not a stage", "ssh, https"]);
    world.run(&["vm", "list", "--quiet", "--verbose"]).refused(1, &["--quiet"]);
    world.run(&[]).refused(1, &["Usage: rave"]);
    world.run(&["vm"]).refused(1, &["Usage: rave vm"]);
    super::world::ran(world.rave().env("RAVE_COLOR", "purple").args(["vm", "list"])).refused(1, &["purple", "always"]);
    assert_eq!(world.files(), before, "a wrong command line wrote something");
}

#[test]
fn without_a_home_the_remedy_is_named() {
    let world = World::new();
    let mut command = world.rave();
    command.env_remove("HOME").env_remove("XDG_CACHE_HOME").args(["store", "du"]);
    super::world::ran(&mut command).refused(1, &["HOME is not set", "RAVE_STORE"]);
}
