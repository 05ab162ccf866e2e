//! Holds the table of rooms in `src/ARCHITECTURE.md` against the `crate::` and `rave_init::` paths in the code.
#![allow(clippy::disallowed_methods, reason = "tests look from outside")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const WORDS: &str = "words";
const HANDS: &str = "hands";
/// The room that is a package of its own. What it uses is between its files; that it uses no other room is held by
/// the compiler, because rave depends on it.
const INIT: &str = "init";

/// The table: each room and what it may use, with the groups `words` and `hands` spelled out.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string("src/ARCHITECTURE.md").unwrap();
    let cells = |line: &str| line.trim_matches('|').split('|').map(str::trim).map(str::to_owned).collect::<Vec<_>>();
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    let rows: Vec<Vec<String>> =
        text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| --- ")).skip(1).map(cells).collect();
    let group = |name: &str| quoted(&rows.iter().find(|row| row[0].starts_with(name)).unwrap()[0]);
    let groups = BTreeMap::from([(WORDS, group(WORDS)), (HANDS, group(HANDS))]);
    let mut table = BTreeMap::new();
    for row in &rows {
        let mut may = quoted(&row[1]);
        for (name, members) in &groups {
            if row[1].contains(name) {
                may.extend(members.iter().cloned());
            }
        }
        for room in quoted(&row[0]) {
            table.insert(room, may.clone());
        }
    }
    table
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// The room of a file, and the rooms it names, each with a line.
fn uses(path: &Path) -> (String, Vec<(usize, String)>) {
    let relative = path.strip_prefix("src").unwrap();
    let room = relative.components().next().unwrap().as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
    let text = fs::read_to_string(path).unwrap();
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap();
        if code.contains("rave_init::") {
            found.push((number + 1, INIT.to_owned()));
        }
        for (at, _) in code.match_indices("crate::") {
            let rest = &code[at + "crate::".len()..];
            let names: Vec<&str> = match rest.strip_prefix('{') {
                Some(list) => list.split('}').next().unwrap().split(',').collect(),
                None => vec![rest],
            };
            for name in names {
                let name: String = name.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                found.push((number + 1, name));
            }
        }
    }
    (room, found)
}

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table = table();
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let rooms: BTreeSet<&str> = table.keys().map(String::as_str).collect();
    let mut wrong = Vec::new();
    let mut edges = 0;
    for file in &files {
        let (room, found) = uses(file);
        if ["main", "lib", "build", "commands", INIT].contains(&room.as_str()) {
            continue;
        }
        let may = table.get(&room).unwrap_or_else(|| panic!("{} is in no room of the table", file.display()));
        for (line, used) in found {
            edges += 1;
            if used != room && rooms.contains(used.as_str()) && !may.contains(&used) {
                wrong.push(format!("{}:{line}: {room} must not use {used}", file.display()));
            }
        }
    }
    assert!(edges > 50, "the search for paths is broken: {edges} found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_lists_every_room() {
    let table = table();
    for entry in fs::read_dir("src").unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().trim_end_matches(".rs").to_owned();
        if !["main", "lib", "build", "ARCHITECTURE.md"].contains(&name.as_str()) {
            assert!(table.contains_key(&name), "{name} is not in the table of rooms");
        }
    }
    assert!(table["check"].contains("probe") && !table["check"].contains("qemu"));
    assert!(table[INIT].is_empty() && table["images"].contains(INIT) && !table["guest"].contains(INIT));
}

#[test]
fn tokio_stays_where_the_table_says() {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    for file in files {
        let name = file.to_string_lossy().into_owned();
        let allowed = ["src/qemu", "src/debian/fetch", "src/guest", "src/interrupt.rs"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
        assert!(allowed || !fs::read_to_string(&file).unwrap().contains("tokio::"), "{name} uses tokio");
    }
}
