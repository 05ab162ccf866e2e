//! Why a request is not accepted, and what its sender is told.

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

/// Why a request is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The path names no source.
    #[error("no such source")]
    NoSource,
    /// It has no signature of a scheme that the source takes.
    #[error("unsigned")]
    Unsigned,
    /// No key made its signature.
    #[error("wrong signature")]
    Forged,
    /// It was signed too long ago, or in the future.
    #[error("stale")]
    Stale,
    /// It says too little, or not in JSON.
    #[error("malformed, {0}")]
    Malformed(&'static str),
    /// Its body is larger than the limit.
    #[error("too large")]
    Large,
    /// Its body took too long.
    #[error("too slow")]
    Slow,
    /// Too many requests are under way.
    #[error("too many requests at once")]
    Busy,
    /// Too many deliveries wait.
    #[error("the queue is full")]
    Full,
    /// The database does not answer.
    #[error("the database does not answer")]
    Unavailable,
}

impl Rejection {
    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::NoSource => "no-source",
            Self::Unsigned => "unsigned",
            Self::Forged => "forged",
            Self::Stale => "stale",
            Self::Malformed(_) => "malformed",
            Self::Large => "large",
            Self::Slow => "slow",
            Self::Busy => "busy",
            Self::Full => "full",
            Self::Unavailable => "unavailable",
        }
    }

    /// Whether the sender is at fault, and may be shut out if it goes on.
    pub fn is_of_sender(self) -> bool {
        !matches!(self, Self::Busy | Self::Full | Self::Unavailable)
    }

    fn status(self) -> StatusCode {
        match self {
            Self::NoSource => StatusCode::NOT_FOUND,
            Self::Unsigned | Self::Forged | Self::Stale => StatusCode::UNAUTHORIZED,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Large => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::Full | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Seconds after which the sender may try again.
    fn again(self) -> Option<u64> {
        match self {
            Self::Busy => Some(1),
            Self::Full | Self::Unavailable => Some(10),
            _ => None,
        }
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let mut response = (self.status(), format!("{self}\n")).into_response();
        if let Some(seconds) = self.again() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
