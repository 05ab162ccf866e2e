//! What can go wrong between a name and a lock.

/// A file of an archive could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No mirror has it.
    #[error("{url} does not exist")]
    NotFound {
        /// The address asked last.
        url: String,
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
}
