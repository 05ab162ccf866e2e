use proptest::prelude::*;

use super::*;

/// Reads what Linux would: Rock Ridge names from the root's extent on, checking both byte orders on the way.
fn list(image: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let root = &image[PRIMARY * BLOCK + 156..][..34];
    let mut open = vec![(String::new(), extent(root))];
    while let Some((prefix, (block, length))) = open.pop() {
        assert_eq!(length % BLOCK, 0);
        for sector in image[block * BLOCK..][..length].chunks(BLOCK) {
            let mut at = 0;
            while at < BLOCK && sector[at] != 0 {
                let record = &sector[at..at + sector[at] as usize];
                at += record.len();
                let short = record[32] as usize;
                let more = &record[RECORD + short + (short + 1) % 2..];
                let Some(name) = more.strip_prefix(b"NM") else { continue };
                let name = format!("{prefix}{}", std::str::from_utf8(&name[3..name[0] as usize - 2]).unwrap());
                let place = extent(record);
                match record[25] & 2 {
                    0 => drop(found.insert(name, image[place.0 * BLOCK..][..place.1].to_vec())),
                    _ => open.push((format!("{name}/"), place)),
                }
            }
        }
    }
    found
}

fn extent(record: &[u8]) -> (usize, usize) {
    let number = |at: usize| {
        let little = u32::from_le_bytes(record[at..at + 4].try_into().unwrap());
        assert_eq!(little, u32::from_be_bytes(record[at + 4..at + 8].try_into().unwrap()));
        little as usize
    };
    (number(2), number(10))
}

#[test]
fn files_are_found_under_their_names() {
    let long = vec![7; 3 * BLOCK + 1];
    let files: [(&str, &[u8]); 5] = [
        ("user-data", b"#cloud-config\n"),
        ("openstack/latest/meta_data.json", b"{}"),
        ("openstack/latest/user_data", &long),
        ("openstack/2018-08-27/meta_data.json", b"{ }"),
        ("empty", b""),
    ];
    let image = image("config-2", &files).unwrap();
    assert_eq!(image.len() % BLOCK, 0);
    assert_eq!(&image[PRIMARY * BLOCK + 40..][..9], b"config-2 ");
    let expected: BTreeMap<String, Vec<u8>> =
        files.iter().map(|(path, content)| ((*path).to_owned(), content.to_vec())).collect();
    assert_eq!(list(&image), expected);
}

#[test]
fn many_files_of_similar_names_take_more_than_a_block() {
    let names: Vec<String> = (0..100).map(|number| format!("scripts/a-long-name-{number}.sh")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    let found = list(&image("cidata", &files).unwrap());
    assert_eq!(found.len(), 100);
    assert!(found.iter().all(|(name, content)| name.as_bytes() == content));
}

#[test]
fn what_cannot_be_on_a_medium_is_refused() {
    let of = |path: &str| image("cidata", &[(path, b"")]).unwrap_err();
    for path in ["", "/a", "a//b", "../a", "a/.", "a b", "ä", &"x".repeat(65), "a/b/c/d/e/f/g/h"] {
        assert_eq!(of(path), Error::Path(path.into()));
    }
    assert_eq!(image("cidata", &[("a", b""), ("a/b", b"")]).unwrap_err(), Error::Twice("a/b".into()));
    assert_eq!(image("cidata", &[("a/b", b""), ("a", b"")]).unwrap_err(), Error::Twice("a".into()));
    assert_eq!(image("ci data", &[]).unwrap_err(), Error::Label("ci data".into()));
    assert_eq!(image("cidata", &[("a", &vec![0; LARGEST + 1])]).unwrap_err(), Error::Large);
}

proptest! {
    #[test]
    fn any_files_come_back(files in prop::collection::btree_map("[a-z]{1,3}(/[a-zA-Z0-9._-]{1,20}){0,3}", prop::collection::vec(any::<u8>(), 0..5000), 0..20)) {
        let list_of: Vec<(&str, &[u8])> = files.iter().map(|(path, content)| (path.as_str(), content.as_slice())).collect();
        if let Ok(image) = image("cidata", &list_of) {
            prop_assert_eq!(list(&image), files);
        }
    }
}
