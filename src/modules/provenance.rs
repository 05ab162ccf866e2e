//! Who made what: for every contribution of a module or image the place that wrote it, and every option that was
//! read for it. Kept beside the machine and never hashed.

use std::collections::{BTreeMap, BTreeSet};

use super::gathered;
use crate::name::OptionPath;
use crate::origin::Origin;

/// One thing that a module or an image puts into the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contribution {
    /// The section of a module that such things stand in: `files`, `packages`, `units`, `open` ...
    pub section: String,
    /// Its name there: a path, a package, a unit, `tcp/22` ...
    pub name: String,
    /// The module that wrote it; none for an image.
    pub module: Option<String>,
    /// The place that wrote it.
    pub origin: Origin,
    /// What was read to make it.
    reads: BTreeSet<Read>,
}

/// Something that a value depends on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Read {
    /// An option, by its full name.
    Option(String),
    /// Whether a module is active, by its path.
    Condition(String),
    /// What all modules together ask for of one kind, as templates see it.
    Gathered(&'static str),
}

impl Read {
    /// What to call it in a message.
    pub fn describe(&self) -> String {
        match self {
            Self::Option(name) => name.clone(),
            Self::Condition(module) => format!("the condition of {module}"),
            Self::Gathered(kind) => format!("gathered.{kind}"),
        }
    }
}

/// What an evaluation made, and from what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    /// In the order of modules and of their sections.
    pub contributions: Vec<Contribution>,
    /// What each option and condition was directly made from.
    reads: BTreeMap<Read, BTreeSet<Read>>,
}

impl Provenance {
    /// What was made by `name`: a file, unit, package ... of any section.
    pub fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Contribution> {
        self.contributions.iter().filter(move |contribution| contribution.name == name)
    }

    /// Every option that had a part in a contribution, over others or not.
    pub fn options(&self, contribution: &Contribution) -> BTreeSet<OptionPath> {
        options(&self.closure(contribution.reads.iter()))
    }

    /// Every option that the value of `option` was made from, over others or not.
    pub fn sources(&self, option: &OptionPath) -> BTreeSet<OptionPath> {
        let read = Read::Option(option.to_string());
        options(&self.closure(self.reads.get(&read).into_iter().flatten()))
    }

    /// The contributions and the other options that `option` had a part in.
    pub fn touched(&self, option: &OptionPath) -> (Vec<&Contribution>, BTreeSet<OptionPath>) {
        let readers = self.readers(Read::Option(option.to_string()));
        let made = self.contributions.iter().filter(|made| made.reads.iter().any(|read| readers.contains(read)));
        let mut others = options(&readers);
        others.remove(option);
        (made.collect(), others)
    }

    fn closure<'a>(&'a self, from: impl Iterator<Item = &'a Read>) -> BTreeSet<Read> {
        let mut waiting: Vec<&Read> = from.collect();
        let mut seen = BTreeSet::new();
        while let Some(read) = waiting.pop() {
            if seen.insert(read.clone()) {
                waiting.extend(self.reads.get(read).into_iter().flatten());
            }
        }
        seen
    }

    /// Everything that reads `read`, and `read` itself.
    fn readers(&self, read: Read) -> BTreeSet<Read> {
        let mut back: BTreeMap<&Read, Vec<&Read>> = BTreeMap::new();
        for (reader, reads) in &self.reads {
            for read in reads {
                back.entry(read).or_default().push(reader);
            }
        }
        let mut seen = BTreeSet::from([read.clone()]);
        let mut waiting = vec![&read];
        while let Some(read) = waiting.pop() {
            for reader in back.get(read).into_iter().flatten() {
                if seen.insert((*reader).clone()) {
                    waiting.push(reader);
                }
            }
        }
        seen
    }
}

fn options(reads: &BTreeSet<Read>) -> BTreeSet<OptionPath> {
    let named = reads.iter().filter_map(|read| match read {
        Read::Option(name) => name.parse().ok(),
        Read::Condition(_) | Read::Gathered(_) => None,
    });
    named.collect()
}

/// Notes what is read while something is made. Whoever makes something opens a page, and closes it when done: what
/// was read in between, and not on another page, stands on it.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pages: Vec<BTreeSet<Read>>,
    finished: BTreeMap<Read, BTreeSet<Read>>,
}

impl Notes {
    pub fn open(&mut self) {
        self.pages.push(BTreeSet::new());
    }

    pub fn close(&mut self) -> BTreeSet<Read> {
        self.pages.pop().unwrap_or_default()
    }

    /// Something is read for whatever is being made.
    pub fn read(&mut self, read: Read) {
        if let Some(page) = self.pages.last_mut() {
            page.insert(read);
        }
    }

    /// Closes the page of an option or condition.
    pub fn finish(&mut self, made: Read) {
        let page = self.close();
        self.finished.insert(made, page);
    }

    /// What the modules ask for together was made from what each of them asks for of that kind.
    pub fn gathered(&mut self, made: &Made) {
        for kind in gathered::KINDS {
            let asked = made.contributions.iter().filter(|made| kind.sections.contains(&made.section.as_str()));
            let reads = asked.flat_map(|made| made.reads.iter().cloned()).collect();
            self.finished.insert(Read::Gathered(kind.name), reads);
        }
    }

    /// All there is to know, with what was made.
    pub fn provenance(&mut self, contributions: Vec<Contribution>) -> Provenance {
        Provenance { contributions, reads: std::mem::take(&mut self.finished) }
    }
}

/// What is made on the page that is open: sections, names and places.
#[derive(Debug, Default)]
pub(super) struct Made {
    contributions: Vec<Contribution>,
    /// Where those begin whose page is open.
    open: usize,
}

impl Made {
    pub fn add(&mut self, section: &str, name: impl Into<String>, origin: &Origin) {
        let (section, name, origin) = (section.to_owned(), name.into(), origin.clone());
        // A file of a module is also noted where every file is, whoever makes it.
        if self.contributions.iter().skip(self.open).any(|made| made.section == section && made.name == name) {
            return;
        }
        self.contributions.push(Contribution { section, name, module: None, origin, reads: BTreeSet::new() });
    }

    /// Everything since the last call was made by `module` from `reads`.
    pub fn finish(&mut self, module: Option<&str>, reads: &BTreeSet<Read>) {
        for made in self.contributions.iter_mut().skip(self.open) {
            made.module = module.map(str::to_owned);
            made.reads = reads.clone();
            made.reads.extend(module.map(|module| Read::Condition(module.to_owned())));
        }
        self.open = self.contributions.len();
    }

    /// Whatever is not finished was made by nobody.
    pub fn forget(&mut self) {
        self.contributions.truncate(self.open);
    }

    pub fn take(&mut self) -> Vec<Contribution> {
        self.open = 0;
        std::mem::take(&mut self.contributions)
    }
}

#[cfg(test)]
mod tests {
    use crate::modules::tests::good;

    /// What was made, each with the options behind it.
    fn made(text: &str) -> String {
        let provenance = good(text).provenance;
        let line = |made: &super::Contribution| {
            let options = provenance.options(made);
            let options: Vec<&str> = options.iter().map(|option| option.as_str()).collect();
            format!("{} {} {}: {}\n", made.section, made.name, made.origin, options.join(" "))
        };
        provenance.contributions.iter().map(line).collect()
    }

    const OPTIONS: &str = "description: A.\noptions:\n  x: { type: int, default: 1, description: X. }\n  \
        y: { type: int, default: \"{{ x }}\", description: Y. }\n  \
        z: { type: bool, default: true, description: Z. }\n";

    #[track_caller]
    fn check(module: &str, wanted: &str) {
        let text =
            format!("--- modules/a.yaml\n{OPTIONS}{module}--- images/x.yaml\nname: x\nversion: 1.0\nimports: [a]\n");
        assert_eq!(made(&text), wanted);
    }

    #[test]
    fn each_entry_knows_just_what_was_read_for_it() {
        check(
            "cmdline: [a, \"b={{ y }}\", \"c={{ z }}\"]\n",
            "cmdline a modules/a.yaml:6:11: \n\
            cmdline b=1 modules/a.yaml:6:14: a.x a.y\ncmdline c=true modules/a.yaml:6:27: a.z\n",
        );
        check(
            "files: { /etc/a: { text: \"{{ y }}\" }, /etc/b: { text: x, when: \"{{ z }}\" } }\n",
            "files /etc/a modules/a.yaml:6:10: a.x a.y\nfiles /etc/b modules/a.yaml:6:39: a.z\n",
        );
        check("files: { \"/etc/{{ x }}\": { text: x } }\n", "files /etc/1 modules/a.yaml:6:10: a.x\n");
    }

    #[test]
    fn a_condition_has_a_part_in_all_of_its_module() {
        check("when: \"{{ y == 1 and z }}\"\npackages: [jq]\n", "packages jq modules/a.yaml:7:12: a.x a.y a.z\n");
    }

    #[test]
    fn files_that_others_make_are_known_too() {
        check(
            "sysctl: { kernel.a: \"{{ x }}\", kernel.b: 1 }\n",
            "sysctl kernel.a modules/a.yaml:6:11: a.x\nfiles /etc/sysctl.d/50-rave.conf modules/a.yaml:6:11: a.x\n\
             sysctl kernel.b modules/a.yaml:6:32: \nfiles /etc/sysctl.d/50-rave.conf modules/a.yaml:6:32: \n",
        );
        check(
            "units: { a.service: { service: { ExecStart: \"/a {{ x }}\" } } }\n",
            "units a.service modules/a.yaml:6:10: a.x\nfiles /etc/systemd/system/a.service modules/a.yaml:6:10: a.x\n",
        );
    }

    #[test]
    fn what_is_gathered_of_one_kind_leads_to_nobody_of_another() {
        check(
            "secrets: { s: { description: d, kind: text, owner: root } }\nopen: [\"tcp/{{ x }}\"]\n\
             files: { /etc/a: { text: \"{{ gathered.secrets.names | length }}\" } }\n",
            "secrets s modules/a.yaml:6:12: \nopen tcp/1 modules/a.yaml:7:8: a.x\nfiles /etc/a modules/a.yaml:8:10: \n",
        );
    }

    #[test]
    fn claims_that_hold_are_not_made() {
        check("assertions: [{ that: \"{{ x == 1 }}\", message: m }]\n", "");
        check("warnings: [{ that: \"{{ x == 1 }}\", message: m }]\n", "");
        check(
            "warnings: [{ that: \"{{ x == 2 }}\", message: m }, { that: \"{{ x > 0 }}\", message: n }]\n",
            "warnings m modules/a.yaml:6:12: a.x\n",
        );
    }

    #[test]
    fn what_is_gathered_leads_to_those_who_asked() {
        check(
            "open: [\"tcp/{{ x }}\"]\nfiles: { /etc/a: { text: \"{{ gathered.open.tcp | length }}\" } }\n",
            "open tcp/1 modules/a.yaml:6:8: a.x\nfiles /etc/a modules/a.yaml:7:10: a.x\n",
        );
    }
}
