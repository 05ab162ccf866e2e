//! What all modules together ask for, as templates see it under the name `gathered`.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::Value;
use minijinja::value::{Enumerator, Object};

use super::provenance::Read;
use super::resolve::Evaluator;

/// A kind of things that are gathered: its name in templates, and the sections of modules that ask for them.
pub(super) struct Kind {
    pub name: &'static str,
    pub sections: &'static [&'static str],
}

/// All kinds. Each is read on its own: who writes the firewall's rules depends on no secret.
pub(super) const KINDS: [Kind; 3] = [
    Kind { name: "open", sections: &["open"] },
    Kind { name: "load", sections: &["kernel-modules"] },
    Kind { name: "secrets", sections: &["secrets", "secret-files"] },
];

/// The values by kind, which note who reads them.
pub(super) struct Gathered {
    pub around: Arc<Evaluator>,
}

impl Gathered {
    fn values(&self) -> Option<&BTreeMap<&'static str, Value>> {
        self.around.gathered.get()
    }
}

impl std::fmt::Debug for Gathered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.values().into_iter().flatten()).finish()
    }
}

impl Object for Gathered {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let (name, value) = self.values()?.get_key_value(key.as_str()?)?;
        self.around.state().notes.read(Read::Gathered(name));
        Some(value.clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(KINDS.iter().map(|kind| Value::from(kind.name)).collect())
    }
}
