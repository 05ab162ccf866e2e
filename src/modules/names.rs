//! The names that templates see: options, what `each` goes through, and what all modules ask for.

use std::sync::{Arc, Mutex};

use minijinja::value::{Enumerator, Object};

use super::Failed;
use super::escape::{SINK, Sink};
use super::gathered::Gathered;
use super::provenance::Read;
use super::resolve::{Evaluator, lock};
use super::template::Scope;

/// The names that a template sees.
#[derive(Debug)]
pub(super) struct Names {
    pub around: Arc<Evaluator>,
    pub scope: Scope,
    /// The options that a bare name may mean; for a group, those below it.
    pub prefix: Option<String>,
    /// Whether only options below `prefix` are meant.
    pub group: bool,
    /// Whether one of rave's own modules reads them.
    pub library: bool,
    pub outcome: Arc<Mutex<Outcome>>,
    /// The file that the template becomes, if it is one.
    pub sink: Option<Arc<Sink>>,
}

/// What names of one template came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Whether a value could not be had, which has been reported.
    pub failed: bool,
    /// An option that was read as null, for the module in the place of rave's does not declare it.
    pub absent: Option<String>,
}

impl Names {
    fn lookup(&self, name: &str) -> Option<minijinja::Value> {
        if name == SINK {
            return self.sink.clone().map(minijinja::Value::from_dyn_object);
        }
        if let Some(value) = self.scope.item(name).filter(|_| !self.group) {
            return Some(value.clone());
        }
        let inner = self.prefix.as_ref().and_then(|prefix| self.either(&format!("{prefix}."), name));
        if self.group || inner.is_some() {
            return inner.or_else(|| self.replaced(name));
        }
        if name == "gathered" && self.around.gathered.get().is_some() {
            return Some(minijinja::Value::from_object(Gathered { around: Arc::clone(&self.around) }));
        }
        let known = self.around.globals.get(name).cloned();
        known.or_else(|| self.either("", name)).or_else(|| self.replaced(name))
    }

    /// The name as it is, or with `-` where a template has to write `_`.
    fn either(&self, prefix: &str, name: &str) -> Option<minijinja::Value> {
        self.path(format!("{prefix}{name}"))
            .or_else(|| name.contains('_').then(|| self.path(format!("{prefix}{}", name.replace('_', "-"))))?)
    }

    /// What rave's own modules see of an option that a module of the project, in the place of one of theirs, does
    /// not declare: null, as of one that says nothing.
    fn replaced(&self, name: &str) -> Option<minijinja::Value> {
        let prefix = self.prefix.as_ref().filter(|_| self.group).map(|prefix| format!("{prefix}."));
        let path = format!("{}{name}", prefix.unwrap_or_default());
        let mut spellings = [path.replace('_', "-"), path].into_iter();
        let path = spellings.find(|path| self.library && self.around.catalogue.is_projects(path))?;
        let is_module = self.around.catalogue.is_projects_module(&path);
        if is_module {
            return Some(self.group(path));
        }
        lock(&self.outcome).absent = Some(path);
        Some(minijinja::Value::from(()))
    }

    /// The options below a name.
    fn group(&self, path: String) -> minijinja::Value {
        let (around, outcome, library) = (Arc::clone(&self.around), Arc::clone(&self.outcome), self.library);
        let scope = Scope::default();
        minijinja::Value::from_object(Self {
            around,
            scope,
            prefix: Some(path),
            group: true,
            library,
            outcome,
            sink: None,
        })
    }

    fn path(&self, path: String) -> Option<minijinja::Value> {
        if self.around.catalogue.get(&path).is_some() {
            self.around.state().notes.read(Read::Option(path.clone()));
            return Some(match self.around.setting(&path) {
                Ok(setting) => setting.seen.clone(),
                Err(Failed) => {
                    lock(&self.outcome).failed = true;
                    minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, "told elsewhere").into()
                }
            });
        }
        self.around.catalogue.is_group(&path).then(|| self.group(path))
    }
}

impl Object for Names {
    fn get_value(self: &Arc<Self>, key: &minijinja::Value) -> Option<minijinja::Value> {
        self.lookup(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<minijinja::Value> {
        self.lookup(key)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let names = self.prefix.as_ref().filter(|_| self.group).map(|prefix| self.around.catalogue.below(prefix));
        Enumerator::Values(names.unwrap_or_default().into_iter().map(minijinja::Value::from).collect())
    }
}
