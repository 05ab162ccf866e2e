//! What can be seen of secrets from outside of their files.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;

use super::{Machine, Trouble, kernel};
use crate::disk;
use crate::guest::accounts::Accounts;
use crate::probe::{Answer, SecretFile};

/// Whose each file is and where it is stored.
pub fn files(machine: &Machine, names: &BTreeSet<String>) -> Result<Answer, Trouble> {
    let accounts = Accounts::read(&machine.root.join("etc"))?;
    let mounts = kernel::mounts(&machine.proc)?;
    let mut files = BTreeMap::new();
    for name in names.iter().filter(|name| !name.split('/').any(|part| matches!(part, "" | "." | ".."))) {
        let found = match disk::metadata(machine.root.join("run/secrets").join(name)) {
            Err(error) if error.is_not_found() => continue,
            found => found?,
        };
        let device = format!("{}:{}", rustix::fs::major(found.dev()), rustix::fs::minor(found.dev()));
        let mount = mounts.iter().rfind(|mount| mount.device == device);
        let file = SecretFile {
            owner: accounts.user_name(found.uid()),
            group: accounts.group_name(found.gid()),
            mode: found.mode() & 0o7777,
            fs: mount.map(|mount| mount.fs.clone()).unwrap_or_default(),
            options: mount.map(|mount| mount.options.clone()).unwrap_or_default(),
        };
        files.insert(name.clone(), file);
    }
    Ok(Answer::Secrets { files })
}
