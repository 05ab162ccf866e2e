//! YAML as go-yaml reads and writes it: types by the rules of YAML 1.1 and 1.2 mixed, comments kept, styles not.

mod comments;
mod read;
mod scalar;
mod write;

pub(super) use read::read;
pub(super) use write::{write, write_value};
