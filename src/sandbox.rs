//! Namespaces, id maps and mounts: where other people's code runs.
