//! Users and groups.

use std::collections::{BTreeMap, BTreeSet};

use crate::modules::fields;
use crate::modules::scalars::{USER_NAME_RULE, is_user_name};
use crate::modules::yaml::{Key, Node};
use crate::name::GuestPath;
use crate::origin::{Diagnostic, Origin};
use crate::system::{Group, User};

use super::Render;

/// A user or group that something names and that must exist.
pub(super) struct Wanted {
    name: String,
    user: bool,
    /// What names it, and as what: `the unit runs as`.
    role: String,
    origin: Origin,
}

impl Wanted {
    pub fn new(name: &str, user: bool, role: impl Into<String>, origin: &Origin) -> Self {
        Self { name: name.to_owned(), user, role: role.into(), origin: origin.clone() }
    }
}

/// Users that every Debian system has, with ids that never change (base-passwd).
const DEBIAN_USERS: [(&str, u32); 18] = [
    ("root", 0),
    ("daemon", 1),
    ("bin", 2),
    ("sys", 3),
    ("sync", 4),
    ("games", 5),
    ("man", 6),
    ("lp", 7),
    ("mail", 8),
    ("news", 9),
    ("uucp", 10),
    ("proxy", 13),
    ("www-data", 33),
    ("backup", 34),
    ("list", 38),
    ("irc", 39),
    ("_apt", 42),
    ("nobody", 65534),
];

/// Groups that every Debian system has, with ids that never change (base-passwd).
const DEBIAN_GROUPS: [(&str, u32); 38] = [
    ("root", 0),
    ("daemon", 1),
    ("bin", 2),
    ("sys", 3),
    ("adm", 4),
    ("tty", 5),
    ("disk", 6),
    ("lp", 7),
    ("mail", 8),
    ("news", 9),
    ("uucp", 10),
    ("man", 12),
    ("proxy", 13),
    ("kmem", 15),
    ("dialout", 20),
    ("fax", 21),
    ("voice", 22),
    ("cdrom", 24),
    ("floppy", 25),
    ("tape", 26),
    ("sudo", 27),
    ("audio", 29),
    ("dip", 30),
    ("www-data", 33),
    ("backup", 34),
    ("operator", 37),
    ("list", 38),
    ("irc", 39),
    ("src", 40),
    ("shadow", 42),
    ("utmp", 43),
    ("video", 44),
    ("sasl", 45),
    ("plugdev", 46),
    ("staff", 50),
    ("games", 60),
    ("users", 100),
    ("nogroup", 65534),
];

impl Render<'_> {
    /// Adds a user, which other modules may declare alike; `node` is a record without templates.
    pub(super) fn user(&mut self, key: &Key, node: &Node) {
        let errors = &mut self.errors;
        let mut text = |name: &str| fields::text(node.get(name)?, &format!("`{name}`"), errors);
        let description = text("description").unwrap_or_default();
        let group = text("group").unwrap_or_else(|| key.text.clone());
        let groups = node.get("groups").map(|node| fields::texts(node, "`groups`", errors)).unwrap_or_default();
        let mut path = |name: &str, otherwise: &str| match node.get(name) {
            Some(node) => fields::name::<GuestPath>(node, &format!("`{name}`"), errors),
            None => otherwise.parse().ok(),
        };
        let (home, shell) = (path("home", "/nonexistent"), path("shell", "/usr/sbin/nologin"));
        let uid = self.id(key, node, "uid");
        let (Some(uid), Some(home), Some(shell)) = (uid, home, shell) else { return };
        let in_one_line = |text: &str| !text.contains(|c: char| c == ':' || c.is_control());
        if !in_one_line(&description) || !in_one_line(home.as_str()) || !in_one_line(shell.as_str()) {
            self.refuse(&node.origin, "what stands in /etc/passwd cannot hold `:` or a line break");
            return;
        }
        let role = format!("user `{}` belongs to", key.text);
        self.wanted.extend(groups.iter().map(|(name, origin)| Wanted::new(name, false, role.as_str(), origin)));
        let groups: BTreeSet<String> = groups.into_iter().map(|(name, _)| name).collect();
        let user = User { uid, group, groups, description, home, shell };
        if let Some((other, first)) = self.users.insert(key.text.clone(), (user.clone(), key.origin.clone()))
            && other != user
        {
            let error = Diagnostic::error(&key.origin, format!("user `{}` is declared in two ways", key.text));
            self.errors.push(error.remark("here").label(&first, "and here"));
        }
    }

    /// Adds a group, which other modules may declare alike; `node` is a record without templates.
    pub(super) fn group(&mut self, key: &Key, node: &Node) {
        let Some(gid) = self.id(key, node, "gid") else { return };
        if let Some((other, first)) = self.groups.insert(key.text.clone(), (Group { gid }, key.origin.clone()))
            && other.gid != gid
        {
            let error = Diagnostic::error(&key.origin, format!("group `{}` is declared in two ways", key.text));
            self.errors.push(error.remark("here").label(&first, "and here"));
        }
    }

    fn id(&mut self, key: &Key, node: &Node, name: &str) -> Option<u32> {
        if !is_user_name(&key.text) {
            let error = Diagnostic::error(&key.origin, format!("{:?} cannot name a user or group", key.text));
            self.errors.push(error.help(USER_NAME_RULE));
            return None;
        }
        let value = node.get(name)?;
        let text = fields::text(value, name, &mut self.errors)?;
        match text.parse::<u32>() {
            // The kernel and old tools take these for "no id".
            Ok(id) if id != 65535 && id != u32::MAX && text.bytes().all(|b| b.is_ascii_digit()) => Some(id),
            _ => {
                self.refuse(&value.origin, format!("`{name}` must be a number that can be an id, not {text}"));
                None
            }
        }
    }

    /// Refuses ids that are used twice, and whatever names somebody unknown.
    pub(super) fn check_people(&mut self) {
        let mut errors = Vec::new();
        let users = self.users.iter().map(|(name, (user, origin))| (name.as_str(), user.uid, origin));
        refuse_twins("user", users, &DEBIAN_USERS, &mut errors);
        let groups = self.groups.iter().map(|(name, (group, origin))| (name.as_str(), group.gid, origin));
        refuse_twins("group", groups, &DEBIAN_GROUPS, &mut errors);
        for (name, (user, origin)) in &self.users {
            let known = self.groups.contains_key(&user.group) || DEBIAN_GROUPS.iter().any(|(g, _)| *g == user.group);
            if !known {
                let error = Diagnostic::error(origin, format!("user `{name}` belongs to no group `{}`", user.group));
                errors.push(error.help(format!("declare it: groups: {{ {}: {{ gid: {} }} }}", user.group, user.uid)));
            }
        }
        for (path, (entry, origin)) in &self.files {
            for (name, user) in
                [(&entry.owner, true), (&entry.group, false)].into_iter().filter(|who| !self.knows(*who))
            {
                errors.push(self.stranger(&Wanted::new(name, user, format!("{path} belongs to"), origin)));
            }
        }
        let strangers = self.wanted.iter().filter(|wanted| !self.knows((&wanted.name, wanted.user)));
        errors.extend(strangers.map(|wanted| self.stranger(wanted)));
        self.errors.append(&mut errors);
    }

    /// Whether there is a user, or else a group, of that name; a number needs no name.
    fn knows(&self, (name, user): (&String, bool)) -> bool {
        let is_number = name.bytes().all(|b| b.is_ascii_digit()) && name.parse::<u32>().is_ok();
        let declared = if user { self.users.contains_key(name) } else { self.groups.contains_key(name) };
        is_number || declared || debian(user).iter().any(|(known, _)| known == name)
    }

    fn stranger(&self, Wanted { name, user, role, origin }: &Wanted) -> Diagnostic {
        let declared: Vec<&str> = match user {
            true => self.users.keys().map(String::as_str).collect(),
            false => self.groups.keys().map(String::as_str).collect(),
        };
        let known = declared.into_iter().chain(debian(*user).iter().map(|(name, _)| *name));
        let what = if *user { "user" } else { "group" };
        let error = Diagnostic::error(origin, format!("{role} {what} `{name}`, which is not declared"));
        match fields::nearest(name, known) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error.help(format!("declare it with a static id in `{what}s`")),
        }
    }
}

/// The users, or else the groups, of every Debian system.
fn debian(user: bool) -> &'static [(&'static str, u32)] {
    if user { &DEBIAN_USERS } else { &DEBIAN_GROUPS }
}

fn refuse_twins<'a>(
    what: &str,
    declared: impl Iterator<Item = (&'a str, u32, &'a Origin)>,
    debian: &[(&str, u32)],
    errors: &mut Vec<Diagnostic>,
) {
    let mut by_id: BTreeMap<u32, (&str, &Origin)> = BTreeMap::new();
    for (name, id, origin) in declared {
        if let Some((other, debian_id)) = debian.iter().find(|(other, other_id)| (*other == name) != (*other_id == id))
        {
            let message = format!("{what} `{name}` has id {id}, but Debian gives {debian_id} to {what} `{other}`");
            errors.push(Diagnostic::error(origin, message));
        }
        match by_id.get(&id) {
            Some((other, first)) => {
                let error = Diagnostic::error(origin, format!("{what}s `{other}` and `{name}` have one id, {id}"));
                errors.push(error.remark("here").label(first, "and here"));
            }
            None => drop(by_id.insert(id, (name, origin))),
        }
    }
}
