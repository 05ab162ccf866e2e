//! Makes small packages for tests, also with members that no honest tool would write.

use std::path::{Path, PathBuf};

/// A package in the making.
pub struct Package {
    control: String,
    files: Vec<(String, String)>,
    data: Vec<u8>,
}

impl Package {
    /// An empty package, version 1; `fields` are further lines of the control file.
    pub fn new(name: &str, fields: &str) -> Self {
        let fields = if fields.is_empty() { String::new() } else { format!("{fields}\n") };
        let control = format!(
            "Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: Test <test@example.org>\n{fields}Description: test\n"
        );
        Self { control, files: Vec::new(), data: Vec::new() }
    }

    /// Adds a control file such as `postinst`.
    pub fn control(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.into(), text.into()));
        self
    }

    /// Adds a file.
    pub fn file(self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> Self {
        self.member(path, tar::EntryType::Regular, "", content.as_ref(), mode, (0, 0))
    }

    /// Adds a directory.
    pub fn dir(self, path: &str, mode: u32, owner: (u64, u64)) -> Self {
        self.member(path, tar::EntryType::Directory, "", b"", mode, owner)
    }

    /// Adds a symbolic link.
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.member(path, tar::EntryType::Symlink, target, b"", 0o777, (0, 0))
    }

    /// Adds a second name of a file.
    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.member(path, tar::EntryType::Link, target, b"", 0o644, (0, 0))
    }

    fn member(
        mut self,
        path: &str,
        kind: tar::EntryType,
        link: &str,
        bytes: &[u8],
        mode: u32,
        owner: (u64, u64),
    ) -> Self {
        append(&mut self.data, path, kind, link, bytes, mode, owner);
        self
    }

    /// Writes the package into a directory.
    pub fn write(mut self, directory: &Path) -> PathBuf {
        let mut control = Vec::new();
        append(&mut control, "control", tar::EntryType::Regular, "", self.control.as_bytes(), 0o644, (0, 0));
        for (name, text) in &self.files {
            append(&mut control, name, tar::EntryType::Regular, "", text.as_bytes(), 0o755, (0, 0));
        }
        control.extend([0; 1024]);
        self.data.extend([0; 1024]);
        let mut bytes = b"!<arch>\n".to_vec();
        for (name, body) in [("debian-binary", b"2.0\n".to_vec()), ("control.tar", control), ("data.tar", self.data)] {
            bytes.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, body.len()).bytes());
            bytes.extend(body);
        }
        let name = self.control.lines().next().unwrap().trim_start_matches("Package: ");
        let path = directory.join(format!("{name}.deb"));
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn append(to: &mut Vec<u8>, path: &str, kind: tar::EntryType, link: &str, bytes: &[u8], mode: u32, owner: (u64, u64)) {
    let mut header = tar::Header::new_gnu();
    let fields = header.as_gnu_mut().unwrap();
    let path = format!("./{path}");
    fields.name[..path.len()].copy_from_slice(path.as_bytes());
    fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner.0);
    header.set_gid(owner.1);
    header.set_mtime(1_000);
    header.set_size(bytes.len() as u64);
    header.set_cksum();
    to.extend(header.as_bytes());
    to.extend(bytes);
    to.resize(to.len().next_multiple_of(512), 0);
}
