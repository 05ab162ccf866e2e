//! What can go wrong when an image is made.

use std::io;

use crate::{disk, tool};

use super::validate::Refusal;

/// Why an image could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host's file system refused.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// A tool failed.
    #[error(transparent)]
    Tool(#[from] tool::Error),
    /// Something in the root file system is missing or unusable.
    #[error("cannot use the root file system: {what}")]
    Root {
        /// What is wrong with it.
        what: String,
    },
    /// A file that a module asks for cannot be put where it says.
    #[error("cannot put {path} into the image: {why}")]
    Place {
        /// Its path.
        path: String,
        /// Why not.
        why: String,
    },
    /// Content does not fit its partition.
    #[error("the {what} takes {needed} bytes, its partition has {available}")]
    TooSmall {
        /// Which partition.
        what: &'static str,
        /// Bytes needed.
        needed: u64,
        /// Bytes there.
        available: u64,
    },
    /// The image has private keys or password hashes.
    #[error("there are secrets in the image: {}", .0.join("; "))]
    Leaks(Vec<String>),
    /// Programs cannot read their files.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Refused(Vec<Refusal>),
    /// A format could not be written.
    #[error("cannot make the {what}")]
    Format {
        /// Which part of the image.
        what: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// An error of a part of the image.
    pub fn format(what: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Format { what, source: source.into() }
    }
}

impl From<crate::store::PutError<Self>> for Error {
    fn from(error: crate::store::PutError<Self>) -> Self {
        match error {
            crate::store::PutError::Make(error) => error,
            crate::store::PutError::Store(error) => Self::Store(error),
        }
    }
}

/// For reads of the root file system, whose errors name the path themselves.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Root { what: error.to_string() }
    }
}
