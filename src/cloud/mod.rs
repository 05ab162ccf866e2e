//! What a cloud hands a machine at its start, seen from whoever writes it: user-data, whether it is right, and the media it
//! comes on. All of it is text and bytes in memory. `docs/decisions/0018-cloud-init-in-memory.md` tells of the other side.

pub mod iso;
pub mod limits;
pub mod render;
pub mod seed;
pub mod target;
mod told;
pub mod validate;
pub mod yaml;

pub use target::Target;
