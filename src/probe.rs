//! Questions to a machine, and its answers.
