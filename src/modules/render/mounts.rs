//! Mount points: what to mount there, and the options that each must have in the running machine.

use crate::modules::fields;
use crate::modules::yaml::{Key, Kind, Node};
use crate::name::GuestPath;
use crate::origin::Origin;
use crate::tree::Entry;

use super::{By, Render};

/// Options that the kernel shows as they were given.
const SHOWN: [&str; 8] = ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime", "sync"];

/// Folders in which systemd makes mount points itself, since they can be written to.
const WRITABLE: [&str; 5] = ["/var", "/run", "/tmp", "/dev", "/proc"];

/// The name of the unit that mounts `path`, without its suffix (systemd-escape --path).
fn escaped(path: &GuestPath) -> String {
    if path.relative().is_empty() {
        return "-".to_owned();
    }
    let byte = |(at, b): (usize, u8)| match b {
        b'/' => "-".to_owned(),
        b'.' if at == 0 => "\\x2e".to_owned(),
        b if b.is_ascii_alphanumeric() || b":_.".contains(&b) => char::from(b).to_string(),
        b => format!("\\x{b:02x}"),
    };
    path.relative().bytes().enumerate().map(byte).collect()
}

impl Render<'_> {
    /// A list of options that the mount point must have, or a record of what is mounted there.
    pub(super) fn mount(&mut self, key: &Key, node: &Node, by: &By) {
        let path = match key.text.parse::<GuestPath>() {
            Ok(path) => path,
            Err(error) => return self.refuse(&key.origin, error.to_string()),
        };
        let record = matches!(node.kind, Kind::Map(_));
        let options = if record { node.get("options") } else { Some(node) };
        let options: Vec<String> = options.map_or(Vec::new(), |node| {
            fields::texts(node, "mount options", &mut self.errors).into_iter().map(|(text, _)| text).collect()
        });
        let made = record && (node.get("type").is_some() || node.get("what").is_some());
        if made {
            self.mount_unit(&path, node, &options, &key.origin, by);
        }
        let entry = self.expect.mounts.entry(path).or_insert_with(|| (Default::default(), by.option.clone()));
        entry.0.extend(options.into_iter().filter(|option| !made || SHOWN.contains(&option.as_str())));
    }

    fn mount_unit(&mut self, path: &GuestPath, node: &Node, options: &[String], origin: &Origin, by: &By) {
        let mut text = |key: &str| fields::text(node.get(key)?, &format!("`{key}`"), &mut self.errors);
        let (fs, what) = (text("type"), text("what"));
        let what = match (fs.as_deref(), what) {
            (_, Some(what)) => what,
            (Some("tmpfs"), None) => "tmpfs".to_owned(),
            _ => return self.refuse(&node.origin, format!("nothing says what is mounted at {path}: give `what`")),
        };
        let mut lines = vec![("What", what), ("Where", path.to_string())];
        lines.extend(fs.map(|fs| ("Type", fs)));
        if !options.is_empty() {
            lines.push(("Options", options.join(",")));
        }
        if lines.iter().any(|(_, value)| value.contains(char::is_control) || value.ends_with('\\')) {
            return self.refuse(&node.origin, "what is mounted, and how, must be one line");
        }
        let name = format!("{}.mount", escaped(path));
        // A specifier of systemd begins with %.
        let lines = lines.into_iter().map(|(key, value)| format!("{key}={}\n", value.replace('%', "%%")));
        let unit = format!("[Unit]\nDescription={path}\n\n[Mount]\n{}", lines.collect::<String>());
        self.put_at(&format!("/etc/systemd/system/{name}"), Entry::file(unit, 0o644), origin, by);
        let link = Entry::symlink(format!("/etc/systemd/system/{name}"));
        self.put_at(&format!("/etc/systemd/system/local-fs.target.requires/{name}"), link, origin, by);
        self.expect.units.insert(name, by.option.clone());
        let writable = |top: &str| path.as_str() == top || path.as_str().starts_with(&format!("{top}/"));
        if !WRITABLE.into_iter().any(writable) {
            self.mount_points.push((path.clone(), origin.clone(), by.clone()));
        }
    }

    /// Makes the mount points that no module makes: the root file system is read-only when they are needed.
    pub(super) fn make_mount_points(&mut self) {
        for (path, origin, by) in std::mem::take(&mut self.mount_points) {
            if !self.files.contains_key(&path) {
                self.put(path, Entry::directory(0o755), &origin, &by);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_mount_units_are_those_of_systemd_escape() {
        for (path, wanted) in [
            ("/", "-"),
            ("/srv/data", "srv-data"),
            ("/srv/my-data", "srv-my\\x2ddata"),
            ("/.hidden/.x", "\\x2ehidden-.x"),
            ("/a b/é", "a\\x20b-\\xc3\\xa9"),
        ] {
            assert_eq!(escaped(&path.parse().unwrap()), wanted);
        }
    }
}
