//! State: directories below /var that services own.

use crate::modules::fields;
use crate::modules::yaml::Node;
use crate::name::GuestPath;
use crate::origin::Diagnostic;
use crate::system::State;
use crate::tree::Entry;

use super::people::Wanted;
use super::{By, Render};

/// The file by which systemd-tmpfiles makes them at every boot.
const TMPFILES: &str = "/etc/tmpfiles.d/30-rave-modules.conf";

impl Render<'_> {
    /// Adds a directory; `node` is a record without templates.
    pub(super) fn state(&mut self, node: &Node, by: &By) {
        let Some(place) = node.get("path") else { return };
        let Some(path) = fields::name::<GuestPath>(place, "`path`", &mut self.errors) else { return };
        let mut text = |key: &str| fields::text(node.get(key)?, &format!("`{key}`"), &mut self.errors);
        let owner = text("owner").unwrap_or_else(|| "root".to_owned());
        let group = text("group").unwrap_or_else(|| owner.clone());
        let mode = match node.get("mode") {
            Some(mode) => self.mode(mode),
            None => Some(0o750),
        };
        let backup = node.get("backup").map_or(Some(true), |node| fields::flag(node, "`backup`", &mut self.errors));
        let (Some(mode), Some(backup)) = (mode, backup) else { return };
        if !path.as_str().starts_with("/var/") || path.as_str().contains(|c: char| c.is_whitespace() || c == '%') {
            let error = Diagnostic::error(&place.origin, format!("state cannot be kept in {path}"));
            self.errors.push(error.help("it lives in a directory below /var, the only place that is written to disk"));
            return;
        }
        for (name, user) in [(&owner, true), (&group, false)] {
            self.wanted.push(Wanted::new(name, user, format!("{path} belongs to"), &place.origin));
        }
        self.made.add("files", TMPFILES, &place.origin);
        let entry = (State { owner, group, mode, backup }, place.origin.clone(), by.option.clone());
        if let Some((_, first, _)) = self.state.insert(path.clone(), entry) {
            let error = Diagnostic::error(&place.origin, format!("{path} is the state of two services"));
            self.errors.push(error.remark("here").label(&first, "and here"));
        }
    }

    /// Has all of them made at boot (tmpfiles.d(5)).
    pub(super) fn write_state(&mut self) {
        let Some((_, origin, option)) = self.state.values().next().cloned() else { return };
        let lines = self
            .state
            .iter()
            .map(|(path, (state, ..))| format!("d {path} {:04o} {} {} -\n", state.mode, state.owner, state.group));
        let entry = Entry::file(lines.collect::<String>(), 0o644);
        let by = By { scope: crate::modules::template::Scope::default(), option, folder: String::new() };
        if let Ok(path) = TMPFILES.parse::<GuestPath>() {
            self.put(path, entry, &origin, &by);
            // Whoever keeps state has been noted as its maker.
            self.made.forget();
        }
    }
}
