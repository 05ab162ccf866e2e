//! What a cloud hands a machine at its start, seen from whoever writes it: user-data and the media it comes on. All of it
//! is text and bytes in memory.

pub mod iso;
pub mod seed;
