//! What a cloud hands a machine at its start, seen from whoever writes it: user-data and the media it comes on. All of it
//! is text and bytes in memory. [`metadata`] is what a provider answers when a machine asks, [`status`] what cloud-init
//! says came of it.

pub mod iso;
pub mod metadata;
pub mod seed;
pub mod status;
