//! What distinguishes two builds that should be the same.

use super::manifest::Manifest;

/// The first difference, from the files up to the disk; none if both are the same bytes.
pub fn first_difference(a: &Manifest, b: &Manifest) -> Option<String> {
    for (path, file) in &a.files {
        match b.files.get(path) {
            None => return Some(format!("{path} is only in the first")),
            Some(other) if other.sha256 != file.sha256 => {
                let digest = |d: Option<crate::digest::Digest>| d.map_or("no file".to_owned(), |d| d.to_string());
                return Some(format!("{path} has SHA-256 {} and {}", digest(file.sha256), digest(other.sha256)));
            }
            Some(other) if other != file => return Some(format!("{path} has other owner, mode, size or target")),
            Some(_) => {}
        }
    }
    if let Some(path) = b.files.keys().find(|path| !a.files.contains_key(*path)) {
        return Some(format!("{path} is only in the second"));
    }
    let blobs = [("the initrd", &a.initrd, &b.initrd), ("the unified kernel image", &a.uki, &b.uki)];
    if let Some((name, ..)) = blobs.iter().find(|(_, a, b)| a != b) {
        return Some(format!("{name} differs"));
    }
    let differs = a.partitions.iter().zip(&b.partitions).find(|(a, b)| a != b);
    if let Some((partition, _)) = differs {
        return Some(format!("the partition {} differs", partition.label));
    }
    (a.disk != b.disk).then(|| "the partition table differs".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::images::fixture::manifest;

    #[test]
    fn the_first_difference_is_named() {
        assert_eq!(first_difference(&manifest(), &manifest()), None);
        let changed = |change: fn(&mut Manifest)| {
            let mut other = manifest();
            change(&mut other);
            first_difference(&manifest(), &other).unwrap()
        };
        let content = changed(|m| m.files.get_mut("/b").unwrap().sha256 = Some(Digest::of(b"x")));
        assert!(content.starts_with("/b has SHA-256 "), "{content}");
        assert!(changed(|m| m.files.get_mut("/a").unwrap().mode = "0600".into()).contains("/a has other owner"));
        assert_eq!(changed(|m| drop(m.files.remove("/a"))), "/a is only in the first");
        assert_eq!(
            changed(|m| m.files.extend(m.files.get("/a").cloned().map(|f| ("/c".into(), f)))),
            "/c is only in the second"
        );
        assert_eq!(changed(|m| m.initrd.size = 2), "the initrd differs");
        assert_eq!(changed(|m| m.partitions[0].size = 2), "the partition esp differs");
        assert_eq!(changed(|m| m.disk.size = 2), "the partition table differs");
    }
}
