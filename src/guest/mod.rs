//! What runs inside a machine: init and the answers to probes.
