//! What runs inside a machine: its secrets, its health, the answers to probes, and rave's own services.
//! The initrd's init is a program of its own, [`rave_init`].

mod accounts;
pub mod answer;
pub mod dashboards;
pub mod health;
pub mod secrets;
pub mod serve;
pub mod status;
mod web;
pub mod webhook;
