//! What every command runs in: where things are, and whom to tell.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::Global;
use crate::secrets::Secret;
use crate::secrets::sources::Sources;
use crate::ui::Ui;

use super::failure::Failure;

/// The environment variables that rave reads, read once.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// Home directory.
    pub home: Option<PathBuf>,
    /// `XDG_CACHE_HOME`.
    pub cache: Option<PathBuf>,
    /// `XDG_STATE_HOME`.
    pub state: Option<PathBuf>,
    /// `RAVE_MIRROR`.
    pub mirror: Option<String>,
    /// `CREDENTIALS_DIRECTORY`, inside a machine (systemd.exec(5)).
    pub credentials: Option<PathBuf>,
    /// `TERM`, for shells that rave opens.
    pub term: Option<OsString>,
    /// What SOPS' variables say of identities, and all variables for the programs that it would run.
    pub identities: Sources,
    /// `SOPS_EDITOR`, else `EDITOR`.
    pub editor: Option<String>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime: Option<PathBuf>,
}

impl Environment {
    /// That of this process. Relative XDG paths are ignored, as their specification asks.
    #[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
    pub fn of_process() -> Self {
        let path = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let text = |name| std::env::var(name).ok().filter(|text| !text.trim().is_empty());
        let home = path("HOME");
        let identities = Sources {
            ssh_file: std::env::var_os("SOPS_AGE_SSH_PRIVATE_KEY_FILE").map(PathBuf::from),
            ssh_command: text("SOPS_AGE_SSH_PRIVATE_KEY_CMD"),
            key: text("SOPS_AGE_KEY").map(Secret::from),
            key_file: std::env::var_os("SOPS_AGE_KEY_FILE").map(PathBuf::from),
            key_command: text("SOPS_AGE_KEY_CMD"),
            config: path("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config"))),
            home: home.clone(),
            environment: std::env::vars_os().collect(),
        };
        Self {
            home,
            cache: path("XDG_CACHE_HOME"),
            state: path("XDG_STATE_HOME"),
            credentials: path("CREDENTIALS_DIRECTORY"),
            mirror: text("RAVE_MIRROR"),
            term: std::env::var_os("TERM"),
            identities,
            editor: text("SOPS_EDITOR").or_else(|| text("EDITOR")),
            runtime: path("XDG_RUNTIME_DIR"),
        }
    }

    fn directory(&self, xdg: Option<&PathBuf>, below_home: &str) -> Option<PathBuf> {
        xdg.cloned().or_else(|| self.home.as_ref().map(|home| home.join(below_home))).map(|path| path.join("rave"))
    }
}

/// What every command runs in.
pub struct Context {
    /// Whom to tell.
    pub ui: Arc<Ui>,
    /// The directory that holds images/ and modules/.
    pub project: PathBuf,
    /// The store.
    pub store: PathBuf,
    /// Where machines and what was learnt about the host are kept.
    pub state: PathBuf,
    /// The environment.
    pub environment: Environment,
}

impl Context {
    /// Finds everything.
    pub fn new(global: &Global, environment: Environment, ui: Arc<Ui>) -> Result<Self, Failure> {
        let lost = |what: &str| Failure::request(format!("cannot tell where the {what} is: HOME is not set"));
        let store = global.store.clone().or_else(|| environment.directory(environment.cache.as_ref(), ".cache"));
        let store = store.ok_or_else(|| lost("store").hint("set HOME, or RAVE_STORE to a directory"))?;
        let state = environment.directory(environment.state.as_ref(), ".local/state");
        let state = state.ok_or_else(|| lost("state directory").hint("set HOME or XDG_STATE_HOME"))?;
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Ok(Self { ui, project: absolute(&global.project), store: absolute(&store), state, environment })
    }

    /// One of a test: all below a directory, nothing of the environment, and what is said can be read.
    #[cfg(test)]
    pub fn below(root: &Path) -> Self {
        let style = crate::ui::Style { json: false, events: false, quiet: true, verbose: 0 };
        let [project, store, state] = ["project", "store", "state"].map(|name| root.join(name));
        Self { ui: Arc::new(Ui::new(style)), project, store, state, environment: Environment::default() }
    }
}
