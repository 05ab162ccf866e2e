//! What a store can fail at.

use std::path::PathBuf;

use crate::digest::Digest;
use crate::disk;

/// The store could not do its job.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused something.
    #[error(transparent)]
    Disk(disk::Error),
    /// The file system, or the user's share of it, is full.
    #[error("no space left on the file system that holds {}", path.display())]
    Full {
        /// What could not be written.
        path: PathBuf,
        /// What said so.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The directory was written by another version.
    #[error("the store {} has the layout {found:?}, and this rave knows only {known:?}", path.display())]
    Version {
        /// The store.
        path: PathBuf,
        /// Its marker.
        found: String,
        /// The marker of this version.
        known: &'static str,
    },
    /// The directory holds other things.
    #[error("{} is neither empty nor a store", .0.display())]
    NotAStore(PathBuf),
    /// Another user could put things into the store.
    #[error("other users can change the store {}", .0.display())]
    Exposed(PathBuf),
    /// What was made is not what was named by its content.
    #[error("the content has the digest {found} instead of {expected}")]
    Mismatch {
        /// The name.
        expected: Digest,
        /// The content.
        found: Digest,
    },
    /// The work left neither a file nor a directory.
    #[error("{kind} {} was to be a file or a directory, and is neither", digest.short())]
    NotMade {
        /// Kind of the object.
        kind: &'static str,
        /// Name of the object.
        digest: Digest,
    },
    /// The name of a pin could escape its directory, or be mistaken for something else.
    #[error("{0:?} cannot name a pin")]
    PinName(String),
    /// A pin's file was changed by something else.
    #[error("the pin {} is damaged", path.display())]
    Pin {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        source: crate::digest::NotADigest,
    },
    /// A record cannot be written as JSON.
    #[error("cannot write the record of an object")]
    Record(#[from] serde_json::Error),
}

impl From<disk::Error> for Error {
    fn from(error: disk::Error) -> Self {
        if error.is_full() {
            Self::Full { path: error.path.clone(), source: Box::new(error) }
        } else {
            Self::Disk(error)
        }
    }
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Full { .. } => Some("free space with `rave store gc`, or choose another place with --store"),
            Self::Version { .. } | Self::NotAStore(_) => Some("choose another place with --store"),
            Self::Exposed(_) => Some("own the directory and take write permission from others, or use --store"),
            Self::Pin { .. } => Some("remove the file, and build what it held again"),
            Self::PinName(_) => Some("use letters, digits, `.`, `_` and `-`, and begin with a letter or digit"),
            Self::Disk(_) | Self::Mismatch { .. } | Self::NotMade { .. } | Self::Record(_) => None,
        }
    }
}

/// Why an object could not be put into the store.
#[derive(Debug, thiserror::Error)]
pub enum PutError<E: std::error::Error + 'static> {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
    /// The work failed for a reason of its own.
    #[error(transparent)]
    Make(E),
}

/// Whether a lack of space is among the causes of an error.
pub(super) fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).filter_map(|error| error.downcast_ref()).any(
        |error: &std::io::Error| {
            matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
        },
    )
}
