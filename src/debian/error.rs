//! What can go wrong between a name and a lock.

use std::fmt;

use super::deb822::Malformed;
use super::index::IndexError;
use super::openpgp::{KeyringError, SignatureError};
use super::release::ReleaseError;

/// A file of an archive could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No mirror has it.
    #[error("no mirror has it: {} does not exist", .urls.join(", "))]
    NotFound {
        /// The addresses asked, in order.
        urls: Vec<String>,
    },
    /// It is larger than it may be.
    #[error("{url} is larger than {limit} bytes")]
    TooLarge {
        /// The address.
        url: String,
        /// The most it may have.
        limit: u64,
    },
    /// It arrived and was refused.
    #[error("{url} was refused")]
    Refused {
        /// The address.
        url: String,
        /// Why.
        source: Box<Error>,
    },
    /// It did not arrive.
    #[error("cannot fetch {url}")]
    Failed {
        /// The address.
        url: String,
        /// What the network or the file system said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What can go wrong between a name and a lock.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of an archive could not be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The signature of a suite is not believed.
    #[error("the InRelease file of {archive} is not trusted")]
    Signature {
        /// The archive's name.
        archive: String,
        /// Why.
        source: SignatureError,
    },
    /// A suite's signature is good, but it is not what was asked for.
    #[error("the InRelease file of {archive} is refused")]
    Release {
        /// The archive's name.
        archive: String,
        /// Why.
        source: ReleaseError,
    },
    /// An index is not used.
    #[error("the package index of {archive}, {path}, is refused")]
    Index {
        /// The archive's name.
        archive: String,
        /// Path below the suite's directory.
        path: String,
        /// Why.
        source: IndexError,
    },
    /// An archive has not what was asked for.
    #[error("{archive} cannot be used")]
    Component {
        /// The archive's name.
        archive: String,
        /// Why.
        source: IndexError,
    },
    /// A package is described in a way that cannot be understood.
    #[error("the description of {package} in {archive} is malformed")]
    Package {
        /// The archive's name.
        archive: String,
        /// Name and version, where known.
        package: String,
        /// Why.
        source: Malformed,
    },
    /// The trusted keys of an archive cannot be read.
    #[error("the key of {archive} cannot be used")]
    Keyring {
        /// The archive's name.
        archive: String,
        /// Why.
        source: KeyringError,
    },
    /// A `.deb` file named by the image cannot be read.
    #[error("{path} cannot be used")]
    Deb {
        /// As the image names it.
        path: String,
        /// Why.
        source: super::local::LocalError,
    },
    /// A suite, component or archive name that cannot stand in a path.
    #[error("{0:?} cannot be the name of a suite, component or archive")]
    BadName(String),
    /// Two archives of one name.
    #[error("two archives are called {0}")]
    SameName(String),
    /// Packages that no archive has.
    #[error("no archive has {}", Unknown(.0))]
    UnknownPackages(Vec<(String, Vec<String>)>),
    /// A name that several packages provide.
    #[error("{name} is not a package but provided by {}: name one of them", .providers.join(", "))]
    Virtual {
        /// The name.
        name: String,
        /// Who provides it.
        providers: Vec<String>,
    },
    /// No set of packages fulfils the request.
    #[error("the packages cannot be installed together:{}", Lines(.0))]
    Unsatisfiable(Vec<String>),
}

impl Error {
    /// Whether the request is at fault (exit status 1) and not the archive or the network (2).
    pub fn is_input(&self) -> bool {
        matches!(
            self,
            Self::Keyring { .. }
                | Self::Component { .. }
                | Self::Deb { .. }
                | Self::BadName(_)
                | Self::SameName(_)
                | Self::UnknownPackages(_)
                | Self::Virtual { .. }
                | Self::Unsatisfiable(_)
        )
    }

    /// What to do about it, where that is not plain from the message.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Fetch(FetchError::Refused { source, .. }) => source.hint(),
            Self::Release { source: ReleaseError::Expired(_), .. } => {
                Some("the mirror is stale or this machine's clock is wrong")
            }
            Self::Release { source: ReleaseError::Future(_), .. } => Some("check this machine's clock"),
            Self::Release { source: ReleaseError::Rollback { .. }, .. } => {
                Some("the mirror lags behind: try again later or use another one")
            }
            Self::Release { source: ReleaseError::WrongSuite { .. }, .. } => {
                Some("the mirror serves another suite, or the suite's name is wrong")
            }
            Self::Index { .. } => Some("the mirror is being updated or damaged: try again later or use another one"),
            _ => None,
        }
    }
}

struct Unknown<'a>(&'a [(String, Vec<String>)]);

impl fmt::Display for Unknown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (name, similar)) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str(", ")?;
            }
            write!(f, "the package {name}")?;
            if !similar.is_empty() {
                write!(f, " (did you mean {}?)", similar.join(" or "))?;
            }
        }
        Ok(())
    }
}

struct Lines<'a>(&'a [String]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}
