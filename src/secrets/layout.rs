//! How files are indented. `stores` in `.sops.yaml` says otherwise.

/// Spaces of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// In YAML.
    pub yaml: usize,
    /// In JSON; nothing: a tab.
    pub json: Option<usize>,
    /// In the JSON that encrypted binary files are; nothing: a tab.
    pub binary: Option<usize>,
}

impl Default for Layout {
    fn default() -> Self {
        Self { yaml: 4, json: None, binary: None }
    }
}
