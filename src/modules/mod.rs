//! YAML modules: parse, resolve, render.
