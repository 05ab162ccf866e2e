//! Users and groups by name and number (passwd(5), group(5)). An image has them all in its two files, so no name
//! service is asked.

use std::collections::BTreeMap;
use std::path::Path;

use crate::disk;

/// Neither file is larger, in bytes.
const LIMIT: u64 = 1 << 20;

/// The users and groups of one machine.
#[derive(Debug, Default)]
pub struct Accounts {
    users: BTreeMap<String, u32>,
    groups: BTreeMap<String, u32>,
}

impl Accounts {
    /// Reads the two files in a machine's /etc.
    pub fn read(etc: &Path) -> Result<Self, disk::Error> {
        let table = |name| Ok(table(&String::from_utf8_lossy(&disk::read_start(etc.join(name), LIMIT)?)));
        Ok(Self { users: table("passwd")?, groups: table("group")? })
    }

    /// The id of a user that is given by name or number.
    pub fn user(&self, name: &str) -> Option<u32> {
        id(&self.users, name)
    }

    /// The id of a group that is given by name or number.
    pub fn group(&self, name: &str) -> Option<u32> {
        id(&self.groups, name)
    }

    /// The name of a user, or the number where there is no name.
    pub fn user_name(&self, id: u32) -> String {
        name(&self.users, id)
    }

    /// The name of a group, or the number where there is no name.
    pub fn group_name(&self, id: u32) -> String {
        name(&self.groups, id)
    }
}

/// Both files have the name in the first field and the id in the third.
fn table(text: &str) -> BTreeMap<String, u32> {
    let entry = |line: &str| {
        let mut fields = line.split(':');
        Some((fields.next()?.to_owned(), fields.nth(1)?.parse().ok()?))
    };
    text.lines().filter_map(entry).collect()
}

fn id(table: &BTreeMap<String, u32>, name: &str) -> Option<u32> {
    table.get(name).copied().or_else(|| name.parse().ok())
}

fn name(table: &BTreeMap<String, u32>, id: u32) -> String {
    let found = table.iter().find(|(_, known)| **known == id);
    found.map_or_else(|| id.to_string(), |(name, _)| name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let dir = tempfile::tempdir().unwrap();
        disk::write(dir.path().join("passwd"), b"root:x:0:0::/root:/bin/sh\nweb:x:801:802::/:\nbad:x\n", 0o644)
            .unwrap();
        disk::write(dir.path().join("group"), b"root:x:0:\nweb:x:802:agent\n", 0o644).unwrap();
        let accounts = Accounts::read(dir.path()).unwrap();
        assert_eq!((accounts.user("web"), accounts.group("web")), (Some(801), Some(802)));
        assert_eq!((accounts.user("77"), accounts.user("bad"), accounts.user("-1")), (Some(77), None, None));
        assert_eq!((accounts.user_name(801), accounts.group_name(5)), ("web".to_owned(), "5".to_owned()));
    }
}
