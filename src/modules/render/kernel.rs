//! Kernel modules: which the initrd loads, which are loaded at boot, which nobody may load.

use std::collections::BTreeSet;

use crate::modules::template::Scope;
use crate::modules::yaml::Node;
use crate::origin::{Diagnostic, Origin};
use crate::tree::Entry;

use super::entries::parts;
use super::{By, Render};

/// What happens to a kernel module, by the key that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Initrd,
    Load,
    Deny,
}

const FATES: [(&str, Fate); 3] = [("initrd", Fate::Initrd), ("load", Fate::Load), ("deny", Fate::Deny)];

/// One module with its fate, in the order in which modules name them.
pub(super) struct KernelModule {
    name: String,
    fate: Fate,
    by: By,
    origin: Origin,
}

/// The file that says so in the image.
fn file(fate: Fate) -> Option<&'static str> {
    match fate {
        Fate::Initrd => None,
        Fate::Load => Some("/etc/modules-load.d/50-rave.conf"),
        Fate::Deny => Some("/etc/modprobe.d/50-rave.conf"),
    }
}

/// Whether a text can name a kernel module.
fn is_kernel_module(text: &str) -> bool {
    !text.is_empty() && text.len() < 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

impl Render<'_> {
    /// The section `kernel-modules`.
    pub(super) fn kernel_modules(&mut self, node: &Node, by: &By) {
        for (key, fate) in FATES {
            for part in node.get(key).map(parts).unwrap_or_default() {
                self.make(by, &BTreeSet::new(), |this| {
                    for (name, origin) in this.words(&format!("`{key}`"), &part, by) {
                        this.made.add("kernel-modules", name.as_str(), &origin);
                        this.kernel_module(name, fate, origin, by);
                    }
                });
            }
        }
    }

    fn kernel_module(&mut self, name: String, fate: Fate, origin: Origin, by: &By) {
        if !is_kernel_module(&name) {
            return self.refuse(&origin, format!("{name:?} is not the name of a kernel module"));
        }
        // To the kernel `-` and `_` are one letter.
        let same = |other: &&KernelModule| other.name.replace('-', "_") == name.replace('-', "_");
        let mut others = self.kernel_modules.iter().filter(same);
        let at_odds = |other: &KernelModule| (other.fate == Fate::Deny) != (fate == Fate::Deny);
        match others.find(|other| other.fate == fate || at_odds(other)) {
            Some(other) if at_odds(other) => {
                let error = Diagnostic::error(&origin, format!("kernel module {name} is loaded and denied"));
                self.errors.push(error.remark("here").label(&other.origin, "and here"));
            }
            Some(_) => {}
            None => {
                if let Some(path) = file(fate) {
                    self.made.add("files", path, &origin);
                }
                self.kernel_modules.push(KernelModule { name, fate, by: by.clone(), origin });
            }
        }
    }

    /// The modules of one fate.
    pub(super) fn kernel_modules_of(&self, fate: Fate) -> impl Iterator<Item = &str> {
        self.kernel_modules.iter().filter(move |module| module.fate == fate).map(|module| module.name.as_str())
    }

    /// Writes modules-load.d(5) and modprobe.d(5).
    pub(super) fn write_kernel_modules(&mut self) {
        let line = |module: &KernelModule| match module.fate {
            Fate::Deny => format!("blacklist {0}\ninstall {0} /bin/false\n", module.name),
            Fate::Load | Fate::Initrd => format!("{}\n", module.name),
        };
        for fate in [Fate::Load, Fate::Deny] {
            let modules: Vec<&KernelModule> = self.kernel_modules.iter().filter(|module| module.fate == fate).collect();
            let (Some(first), Some(path)) = (modules.first(), file(fate)) else { continue };
            let text: String = modules.iter().map(|module| line(module)).collect();
            let (origin, by) = (first.origin.clone(), By { scope: Scope::default(), ..first.by.clone() });
            self.put_at(path, Entry::file(text, 0o644), &origin, &by);
            // Whoever named a module has been noted as its maker.
            self.made.forget();
        }
    }
}
