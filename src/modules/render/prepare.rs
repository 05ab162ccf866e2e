//! Commands that run once, when the image is built.

use crate::modules::fields;
use crate::modules::yaml::{Key, Node};
use crate::origin::Diagnostic;

use super::Render;

impl Render<'_> {
    /// Adds a command; `node` is a record without templates.
    pub(super) fn prepare(&mut self, key: &Key, node: &Node) {
        let Some(asked) = node.get("command") else { return };
        let words = fields::texts(asked, "`command`", &mut self.errors);
        let command: Vec<String> = words.into_iter().map(|(word, _)| word).collect();
        if !command.first().is_some_and(|program| program.starts_with('/')) {
            return self.refuse(&asked.origin, "a command must begin with the path of a program");
        }
        if let Some((_, first)) = self.prepare.insert(key.text.clone(), (command, key.origin.clone())) {
            let error = Diagnostic::error(&key.origin, format!("two modules say how `{}` is prepared", key.text));
            self.errors.push(error.remark("here").label(&first, "and here"));
        }
    }
}
