//! What runs inside a machine besides init: its secrets, the answers to probes, and rave's own services.

mod accounts;
pub mod answer;
pub mod secrets;
pub mod serve;
