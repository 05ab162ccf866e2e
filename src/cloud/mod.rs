//! What a cloud hands a machine at its start, seen from whoever writes it: user-data, whether it is right, and the media it
//! comes on. All of it is text and bytes in memory. `docs/decisions/0018-cloud-init-in-memory.md` tells of the other side.
//! [`metadata`] is what a provider answers when a machine asks, [`status`] what cloud-init says came of it.

pub mod iso;
pub mod limits;
pub mod metadata;
pub mod render;
pub mod seed;
pub mod status;
pub mod target;
mod told;
pub mod validate;
pub mod yaml;

pub use target::Target;
