//! Commands that run when the image is built.

use crate::modules::fields;
use crate::modules::yaml::{Key, Node};
use crate::origin::Diagnostic;
use crate::system::Validation;

use super::{Claims, Render};

impl Render<'_> {
    /// Adds a command that runs once; `node` is a record without templates.
    pub(super) fn prepare(&mut self, key: &Key, node: &Node) {
        if let Some(command) = self.command(node) {
            let error = claim(&mut self.prepare, key, command, "prepared");
            self.errors.extend(error);
        }
    }

    /// Adds a command that judges files; `node` is a record without templates.
    pub(super) fn validate(&mut self, key: &Key, node: &Node) {
        let (Some(command), Some(asked)) = (self.command(node), node.get("files")) else { return };
        let files = fields::texts(asked, "`files`", &mut self.errors);
        if let Some((_, origin)) = files.iter().find(|(path, _)| !path.starts_with('/')) {
            return self.refuse(origin, "the path of a file must begin with /");
        }
        let files = files.into_iter().map(|(path, _)| path).collect();
        let error = claim(&mut self.validate, key, Validation { command, files }, "validated");
        self.errors.extend(error);
    }

    fn command(&mut self, node: &Node) -> Option<Vec<String>> {
        let asked = node.get("command")?;
        let words = fields::texts(asked, "`command`", &mut self.errors);
        let command: Vec<String> = words.into_iter().map(|(word, _)| word).collect();
        if command.first().is_some_and(|program| program.starts_with('/')) {
            return Some(command);
        }
        self.refuse(&asked.origin, "a command must begin with the path of a program");
        None
    }
}

/// Notes who said it; an error if somebody else had said something of the same name.
fn claim<T>(claims: &mut Claims<T>, key: &Key, value: T, what: &str) -> Option<Diagnostic> {
    let (_, first) = claims.insert(key.text.clone(), (value, key.origin.clone()))?;
    let error = Diagnostic::error(&key.origin, format!("two modules say how `{}` is {what}", key.text));
    Some(error.remark("here").label(&first, "and here"))
}
