#![doc = include_str!("ARCHITECTURE.md")]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests prepare files as they need them"))]

// words: types that every room may know
pub mod digest;
pub mod event;
pub mod name;
pub mod origin;
pub mod probe;
pub mod quantity;
pub mod system;
pub mod tree;
pub use rave_init::uuid;

// hands: the only rooms that touch the host
pub mod client;
pub mod disk;
pub mod interrupt;
pub mod sandbox;
pub mod tool;

// rooms
pub mod check;
pub mod cloud;
pub mod debian;
pub mod deploy;
pub mod evidence;
pub mod export;
pub mod guest;
pub mod images;
pub mod leaks;
pub mod modules;
pub mod qemu;
pub mod secrets;
pub mod store;

// the command line
pub mod cli;
pub mod commands;
pub mod ui;
