//! What an image does with user-data.

use std::collections::BTreeSet;

use serde_json::Value;

use super::yaml;
use crate::origin::{Diagnostic, Source};

/// Where an image says what cloud-init does in it.
pub const CONFIGURATION: &str = "/etc/cloud/cloud.cfg";

/// What cloud-init does in an image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// Name of the image.
    pub image: String,
    /// The modules that run, as in `cc_NAME`.
    pub modules: BTreeSet<String>,
    /// The datasources that are looked for.
    pub datasources: BTreeSet<String>,
    /// Who may log in over SSH.
    pub logins: BTreeSet<String>,
}

impl Target {
    /// Reads cloud-init's configuration of an image, and takes who may log in.
    ///
    /// # Errors
    /// What is no YAML.
    pub fn read(image: &str, configuration: &str, logins: BTreeSet<String>) -> Result<Self, Diagnostic> {
        let value = yaml::read(&Source::new(format!("{CONFIGURATION} of {image}"), configuration))?.value;
        let list = |key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        // An entry is a name, or a list that a name begins.
        let name = |entry: &Value| entry.as_str().or_else(|| entry.get(0)?.as_str()).map(|name| name.replace('-', "_"));
        let stages = ["cloud_init_modules", "cloud_config_modules", "cloud_final_modules"];
        Ok(Self {
            image: image.to_owned(),
            modules: stages.iter().flat_map(|stage| list(stage)).filter_map(|entry| name(&entry)).collect(),
            datasources: list("datasource_list").iter().filter_map(name).collect(),
            logins,
        })
    }
}
