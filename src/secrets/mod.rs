//! Secrets, encrypted at rest.
