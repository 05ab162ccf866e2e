//! Which kernel modules a machine must load, and in which order: the index files of depmod (modules.dep(5)).

use std::collections::{BTreeMap, BTreeSet};

/// A module that is neither there nor part of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the kernel has no module {name}{}", similar.as_ref().map(|name| format!(" (there is {name})")).unwrap_or_default())]
pub struct UnknownModule {
    /// The name asked for.
    pub name: String,
    /// The most similar one that exists.
    pub similar: Option<String>,
}

/// The texts of `/usr/lib/modules/RELEASE/modules.*`.
#[derive(Debug, Clone, Copy, Default)]
pub struct IndexFiles<'a> {
    /// `modules.dep`: each module's path and those it needs.
    pub dep: &'a str,
    /// `modules.builtin`: paths that modules of the kernel itself would have.
    pub builtin: &'a str,
    /// `modules.alias`: other names, such as `crypto-sha256`.
    pub alias: &'a str,
    /// `modules.softdep`: what to load before and after, if it exists.
    pub softdep: &'a str,
}

/// The modules of one kernel.
#[derive(Debug, Default)]
pub struct Index<'a> {
    paths: BTreeMap<String, &'a str>,
    needs: BTreeMap<String, Vec<String>>,
    before: BTreeMap<String, Vec<String>>,
    after: BTreeMap<String, Vec<String>>,
    aliases: BTreeMap<String, BTreeSet<String>>,
    builtin: BTreeSet<String>,
}

/// The kernel's form of a module's name: from a path, or with `-` for `_`.
pub fn normal(name: &str) -> String {
    let file = name.rsplit('/').next().unwrap_or(name);
    let stem = file.find(".ko").map_or(file, |at| &file[..at]);
    stem.replace('-', "_")
}

impl<'a> Index<'a> {
    /// Reads the index files; lines that make no sense are of no consequence.
    pub fn parse(files: &IndexFiles<'a>) -> Self {
        let mut index = Self::default();
        for (path, needs) in files.dep.lines().filter_map(|line| line.split_once(':')) {
            let name = normal(path.trim());
            index.needs.insert(name.clone(), needs.split_whitespace().map(normal).collect());
            index.paths.insert(name, path.trim());
        }
        index.builtin = files.builtin.lines().map(|line| normal(line.trim())).collect();
        for line in files.alias.lines() {
            if let ["alias", alias, name] = line.split_whitespace().collect::<Vec<_>>()[..] {
                index.aliases.entry(normal(alias)).or_default().insert(normal(name));
            }
        }
        for line in files.softdep.lines() {
            index.add_soft(line);
        }
        index
    }

    /// `softdep NAME pre: A B post: C`
    fn add_soft(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let (Some("softdep"), Some(name)) = (words.next(), words.next()) else { return };
        let mut target = None;
        for word in words {
            match word {
                "pre:" => target = Some(&mut self.before),
                "post:" => target = Some(&mut self.after),
                other => {
                    if let Some(map) = &mut target {
                        map.entry(normal(name)).or_default().push(normal(other));
                    }
                }
            }
        }
    }

    /// Paths as `modules.dep` writes them, in the order of loading: what `wanted` names, and before each
    /// module what it needs. What the kernel has built in is left out. An alias stands for all its modules.
    ///
    /// Names in `optional` may be missing, as may soft dependencies.
    pub fn order(&self, wanted: &[&str], optional: &[&str]) -> Result<Vec<&'a str>, UnknownModule> {
        let mut roots = Vec::new();
        for name in wanted {
            let found = self.resolve(&normal(name));
            if found.is_empty() && !self.builtin.contains(&normal(name)) {
                return Err(self.unknown(name));
            }
            roots.extend(found);
        }
        roots.extend(optional.iter().flat_map(|name| self.resolve(&normal(name))));

        // Depth first on a stack of our own: the files decide how deep it goes.
        let mut stack: Vec<_> = roots.into_iter().rev().map(|name| (name, false)).collect();
        let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
        while let Some((name, ready)) = stack.pop() {
            if ready {
                order.extend(self.paths.get(&name));
                continue;
            }
            if !seen.insert(name.clone()) {
                continue;
            }
            let soft = |map: &BTreeMap<String, Vec<String>>| -> Vec<String> {
                map.get(&name).into_iter().flatten().flat_map(|other| self.resolve(other)).collect()
            };
            let needs = self.needs.get(&name).into_iter().flatten();
            let hard: Vec<_> = needs.filter(|need| !self.builtin.contains(*need)).cloned().collect();
            if let Some(missing) = hard.iter().find(|need| !self.paths.contains_key(*need)) {
                return Err(self.unknown(missing));
            }
            // Popped in reverse: what comes before, what is needed, the module, what comes after.
            stack.extend(soft(&self.after).into_iter().rev().map(|other| (other, false)));
            stack.push((name.clone(), true));
            let first = soft(&self.before);
            stack.extend(hard.into_iter().map(|other| (other, false)));
            stack.extend(first.into_iter().rev().map(|other| (other, false)));
        }
        Ok(order)
    }

    /// Paths of the loadable modules without which the one at `path` does not load.
    pub fn needs(&self, path: &str) -> impl Iterator<Item = &'a str> {
        self.needs.get(&normal(path)).into_iter().flatten().filter_map(|need| self.paths.get(need).copied())
    }

    /// The loadable modules that a normalised name or alias stands for.
    fn resolve(&self, name: &str) -> Vec<String> {
        if self.paths.contains_key(name) {
            return vec![name.to_owned()];
        }
        let named = self.aliases.get(name).into_iter().flatten();
        named.filter(|module| self.paths.contains_key(*module)).cloned().collect()
    }

    fn unknown(&self, name: &str) -> UnknownModule {
        let wanted = normal(name);
        let all = self.paths.keys().chain(&self.builtin);
        let near = all.map(|other| (strsim::damerau_levenshtein(&wanted, other), other));
        let best = near.min().filter(|(distance, _)| *distance <= 2).map(|(_, name)| name.clone());
        UnknownModule { name: name.to_owned(), similar: best }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "\
kernel/fs/erofs/erofs.ko.xz: kernel/lib/libcrc32c.ko.xz
kernel/lib/libcrc32c.ko.xz:
kernel/crypto/crc32c-intel.ko.xz:
kernel/drivers/md/dm-verity.ko.xz: kernel/drivers/md/dm-bufio.ko.xz kernel/drivers/md/dm-mod.ko.xz
kernel/drivers/md/dm-bufio.ko.xz: kernel/drivers/md/dm-mod.ko.xz
kernel/drivers/md/dm-mod.ko.xz:
kernel/a.ko: kernel/b.ko
kernel/b.ko: kernel/a.ko
kernel/broken.ko: kernel/gone.ko
";
    const BUILTIN: &str = "kernel/drivers/virtio/virtio_pci.ko\nkernel/crypto/sha256_generic.ko\n";
    const ALIAS: &str =
        "# Aliases\nalias crc32c crc32c_intel\nalias crypto-crc32c crc32c_intel\nalias dangling nothing\n";
    const SOFTDEP: &str = "softdep libcrc32c pre: crc32c post: a\nsoftdep x y\nsoftdep\nsoftdep erofs pre: none\n";

    fn order(wanted: &[&str], optional: &[&str]) -> Result<Vec<String>, UnknownModule> {
        let files = IndexFiles { dep: DEP, builtin: BUILTIN, alias: ALIAS, softdep: SOFTDEP };
        Ok(Index::parse(&files).order(wanted, optional)?.into_iter().map(normal).collect())
    }

    #[test]
    fn what_a_module_needs_comes_first_and_once() {
        assert_eq!(order(&["dm-verity", "dm_bufio"], &[]).unwrap(), ["dm_mod", "dm_bufio", "dm_verity"]);
        assert_eq!(order(&["erofs"], &[]).unwrap(), ["crc32c_intel", "libcrc32c", "b", "a", "erofs"]);
    }

    #[test]
    fn built_in_modules_are_skipped_and_aliases_stand_for_modules() {
        assert_eq!(order(&["virtio-pci"], &["crypto-crc32c", "crypto-none"]).unwrap(), ["crc32c_intel"]);
    }

    #[test]
    fn unknown_modules_are_errors_with_a_suggestion() {
        let error = order(&["dm_veritty"], &[]).unwrap_err();
        assert_eq!(error.to_string(), "the kernel has no module dm_veritty (there is dm_verity)");
        assert_eq!(order(&["dangling"], &[]).unwrap_err().to_string(), "the kernel has no module dangling");
        assert_eq!(order(&["broken"], &[]).unwrap_err().name, "gone");
        assert!(order(&[""], &[]).is_err());
    }

    #[test]
    fn circles_and_long_chains_end() {
        assert_eq!(order(&["a"], &[]).unwrap(), ["b", "a"]);
        let dep: String = (0..50_000).map(|n| format!("m{n}.ko: m{}.ko\n", n + 1)).collect::<String>() + "m50000.ko:\n";
        let index = Index::parse(&IndexFiles { dep: &dep, ..IndexFiles::default() });
        assert_eq!(index.order(&["m0"], &[]).unwrap().len(), 50_001);
    }
}
