//! Virtual machines: what they are made of ([`machine`], [`args`]), how they are started, watched and
//! ended ([`vm`]), and how QEMU and the guest's agent are talked to ([`qmp`], [`agent`]).
//!
//! This is the one asynchronous room, and it keeps that to itself: what it offers blocks. A [`vm::Vm`] owns
//! an event loop; every operation of it also ends when the user interrupts, with [`Error::Interrupted`].
//! Files and sockets of a machine live in one directory that only its owner may enter.

pub mod agent;
pub mod args;
pub mod link;
pub mod machine;
pub mod qcow2;
pub mod qmp;

mod error;

pub use error::{Error, LinkError, Peer, Result};
