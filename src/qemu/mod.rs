//! Virtual machines: what they are made of ([`machine`], [`args`]), how they are kept, started and found again
//! ([`machines`]), watched and ended ([`vm`]), and how QEMU and the guest's agent are talked to (`qmp`,
//! [`agent`]).
//!
//! This is the one asynchronous room, and it keeps that to itself: what it offers blocks. A [`vm::Vm`] owns an
//! event loop; every operation of it also ends when the user interrupts, with [`Error::Interrupted`]. Files and
//! sockets of a machine live in one directory that only its owner may enter.

pub mod agent;
pub mod args;
pub mod console;
pub mod debugger;
pub mod fault;
pub mod hosted;
pub mod journal;
pub mod machine;
pub mod machines;
pub mod outside;
pub mod peer;
pub mod program;
pub mod provider;
pub mod ssh;
pub mod state;
pub mod vm;
pub mod wire;

mod accel;
mod engine;
mod error;
pub(crate) mod keys;
mod launch;
mod link;
mod ports;
mod process;
mod qcow2;
mod qmp;
mod ready;
mod screen;

pub use error::{Error, LinkError, Peer, Result};
