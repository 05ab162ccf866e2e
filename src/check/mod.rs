//! The six stages: what to ask a machine, and what to think of its answers.
