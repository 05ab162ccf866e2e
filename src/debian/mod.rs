//! From package names to a configured root file system.

pub mod archive;
pub mod error;
pub mod fetch;
pub mod lock;
pub mod mirrors;
pub mod resolve;

pub use archive::{Accept, ArchiveRef, Base, Source};
pub use error::{Error, FetchError};
pub use lock::{Change, Lock, LockedArchive, LockedPackage, Place, Stale};
pub use resolve::{Request, Update, resolve};
