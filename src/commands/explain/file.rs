//! A file of the newest build: what the manifest knows of it.

use serde::Serialize;

use crate::images::Manifest;
use crate::images::erofs::FileRecord;

/// A file that no module writes.
#[derive(Serialize)]
pub struct BuiltFile<'a> {
    /// Its path in the root file system, which may be another than the one that was asked for.
    pub path: String,
    image: &'a str,
    image_version: &'a str,
    package_version: Option<&'a str>,
    #[serde(flatten)]
    record: &'a FileRecord,
}

impl<'a> BuiltFile<'a> {
    /// The file of a path in the machine.
    pub fn find(manifest: &'a Manifest, path: &str) -> Option<Self> {
        let (path, record) = manifest.file(path)?;
        let package = record.package.as_ref();
        Some(Self {
            path,
            image: manifest.image.as_str(),
            image_version: manifest.version.as_str(),
            package_version: package.and_then(|name| manifest.packages.get(name)).map(String::as_str),
            record,
        })
    }

    /// The package that brought it.
    pub fn package(&self) -> Option<&str> {
        self.record.package.as_ref().map(|name| name.as_str())
    }

    /// What it is, in words.
    pub fn describe(&self) -> String {
        let what = match (&self.record.link, self.record.sha256) {
            (Some(target), _) => format!("link to {target}"),
            (None, Some(_)) => "file".to_owned(),
            (None, None) => "directory".to_owned(),
        };
        let version = self.package_version.map_or(String::new(), |version| format!(" {version}"));
        match (self.package(), &self.record.option) {
            (Some(package), _) => format!("{what} of the package {package}{version}"),
            (None, Some(option)) => format!("{what} of {option}"),
            (None, None) if what == "directory" => "directory that packages share, or that rave made".to_owned(),
            (None, None) => format!("{what} of no package: made while they were configured, or by rave"),
        }
    }

    /// The build that was looked at.
    pub fn built(&self) -> String {
        format!("{} {}", self.image, self.image_version)
    }
}
