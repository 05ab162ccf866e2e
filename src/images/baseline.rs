//! The file by which a machine knows what it should be; see [`Baseline`].

use std::collections::BTreeMap;

use crate::name::{OptionPath, PackageName};
use crate::system::{Baseline, Expect, System};

use super::archive::{Archive, resolve};
use super::error::Error;
use super::owned::{self, Owned};
use super::union::{self, Bytes, Finals, Node};

/// Where units are, the first place that has one counts (systemd.unit(5)).
const UNITS: [&str; 2] = ["/etc/systemd/system", "/usr/lib/systemd/system"];

/// What may stand before a program in `ExecStart=` (systemd.service(5)).
const PREFIXES: [char; 6] = ['@', '-', ':', '+', '!', '|'];

/// What a machine is held against: what the modules expect, and that units run which packages start by themselves.
pub fn expect(system: &System, started: BTreeMap<String, OptionPath>) -> Expect {
    let mut expect = system.expect.clone();
    for (unit, option) in started {
        expect.units.entry(unit).or_insert(option);
    }
    expect
}

/// The file's content, as JSON text.
pub fn text(archive: &Archive, owned: &Owned, system: &System, finals: &Finals) -> Result<Vec<u8>, Error> {
    let expect = expect(system, owned::started(&system.starts, archive, owned, finals)?);
    let packages = owned::versions(archive)?;
    let mut versions = BTreeMap::new();
    for unit in expect.units.keys() {
        if let Some(version) = version(unit, finals, &packages) {
            versions.insert(unit.clone(), version);
        }
    }
    let baseline = Baseline {
        image: system.name.clone(),
        version: system.version.clone(),
        mode: system.mode,
        cmdline: system.cmdline.clone(),
        expect,
        versions,
    };
    serde_json::to_vec(&baseline).map_err(|e| Error::format("baseline", e))
}

/// The version of what a unit runs: of the package that brought the unit or, for one of the modules, of the package of
/// its program; rave's own if that is rave. None for a unit that is no file or runs nothing.
fn version(unit: &str, finals: &Finals, packages: &BTreeMap<String, String>) -> Option<String> {
    let of = |package: &PackageName| packages.get(package.as_str()).cloned();
    let file = UNITS.iter().find_map(|folder| finals.get(&format!("{folder}/{unit}")))?;
    let text = match (&file.node, &file.package) {
        (Node::File(_), Some(package)) => return of(package),
        (Node::File(Bytes::Inline(bytes)), None) => String::from_utf8_lossy(bytes),
        _ => return None,
    };
    let program = finals.get(&resolve(program(&text)?, |path| union::link(finals, path))?)?;
    match (&program.node, &program.package) {
        (Node::File(Bytes::Rave), _) => Some(env!("CARGO_PKG_VERSION").to_owned()),
        (_, package) => package.as_ref().and_then(of),
    }
}

/// The program that a unit of the modules starts. Those hold no assignment that a later one takes back.
fn program(unit: &str) -> Option<&str> {
    let commands = unit.lines().filter_map(|line| line.trim().strip_prefix("ExecStart=")?.split_whitespace().next());
    commands.map(|word| word.trim_start_matches(PREFIXES)).find(|path| path.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_in_its_unit() {
        for (text, path) in [
            ("[Service]\nExecStart=/usr/bin/a --b\n", Some("/usr/bin/a")),
            ("[Service]\nExecStart=-!!/usr/bin/a\n", Some("/usr/bin/a")),
            ("[Service]\nExecStart=\nExecStart=@/usr/bin/a name\nExecStart=/b", Some("/usr/bin/a")),
            ("[Service]\nExecStartPre=/usr/bin/a\n", None),
            ("[Service]\nExecStart=a\n", None),
            ("", None),
        ] {
            assert_eq!(program(text), path, "{text}");
        }
    }
}
