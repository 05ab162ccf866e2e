//! Reads files of secrets, and writes them whole.

use std::path::{Path, PathBuf};

use crate::cli::secrets::{Opening, SecretsFormat};
use crate::disk::{self, Lock};
use crate::secrets::{File, Format, Layout, Mac, Opened, Secret, config};

use super::super::{Context, Failure, Result};
use super::{failure, identities, refused};

/// Stands for standard input.
const STDIN: &str = "-";

/// sops' status for a file that does not exist.
pub const NO_FILE: u8 = 100;

/// sops' status for changing who can open a file that does not exist.
pub const NO_FILE_TO_SHARE: u8 = 49;

/// sops' status for arguments that exclude each other.
pub const CONFLICT: u8 = 8;

/// The format of a file: as it was said, else by its name.
pub fn format(path: &Path, said: Option<SecretsFormat>) -> Format {
    match said {
        None => Format::of(path),
        Some(SecretsFormat::Yaml) => Format::Yaml,
        Some(SecretsFormat::Json) => Format::Json,
        Some(SecretsFormat::Dotenv) => Format::Dotenv,
        Some(SecretsFormat::Ini) => Format::Ini,
        Some(SecretsFormat::Binary) => Format::Binary,
    }
}

/// The bytes of a file or of standard input.
pub fn read(path: &Path) -> Result<Secret> {
    if path.as_os_str() == STDIN {
        return read_stdin();
    }
    match disk::read(path) {
        Ok(bytes) => Ok(Secret::new(bytes)),
        Err(error) if error.is_not_found() => Err(no_file(path)),
        Err(error) => Err(error.into()),
    }
}

fn no_file(path: &Path) -> Failure {
    refused(NO_FILE, format!("there is no file {}", path.display()))
}

/// All of standard input.
pub fn read_stdin() -> Result<Secret> {
    let read = Secret::read(std::io::stdin().lock(), crate::secrets::file::LIMIT as u64 + 1);
    Ok(read.map_err(|source| disk::Error { verb: "read", path: "standard input".into(), source })?)
}

/// Reads an encrypted file.
pub fn load(path: &Path, said: Option<SecretsFormat>) -> Result<(Secret, File)> {
    let bytes = read(path)?;
    let file = parse(path, &bytes, said)?;
    Ok((bytes, file))
}

fn parse(path: &Path, bytes: &Secret, said: Option<SecretsFormat>) -> Result<File> {
    let mut file = File::read(format(path, said), bytes.expose()).map_err(|error| failure(path.display(), &error))?;
    file.layout = layout(path)?;
    Ok(file)
}

/// Reads and opens a file.
pub fn open(path: &Path, opening: &Opening, context: &Context) -> Result<Opened> {
    decrypt(path, load(path, opening.types.input_type)?.1, opening, context)
}

/// Opens a file that was read from `path`.
pub fn decrypt(path: &Path, file: File, opening: &Opening, context: &Context) -> Result<Opened> {
    let mac = if opening.ignore_mac { Mac::Ignore } else { Mac::Check };
    file.open(&identities(context), mac).map_err(|error| failure(path.display(), &error))
}

/// A file that no other command of rave changes meanwhile.
pub struct Held {
    path: PathBuf,
    read: Secret,
    /// Of the file itself, so that nothing is left beside it: who waited for a file that was replaced takes the lock
    /// of its successor.
    _lock: Lock,
}

impl Held {
    /// Waits until nobody else changes the file, and reads it.
    pub fn new(path: &Path) -> Result<Self> {
        let missing = |error: disk::Error| if error.is_not_found() { no_file(path) } else { error.into() };
        let file = disk::followed(path).map_err(missing)?;
        if !disk::metadata(&file).map_err(missing)?.is_file() {
            return Err(Failure::request(format!("{} is not a file that can be replaced", path.display())));
        }
        let lock = Lock::existing(file).map_err(missing)?;
        Ok(Self { path: path.to_owned(), read: read(path)?, _lock: lock })
    }

    /// Its bytes.
    pub fn read(&self) -> &Secret {
        &self.read
    }

    /// Reads the bytes as an encrypted file.
    pub fn file(&self, said: Option<SecretsFormat>) -> Result<File> {
        parse(&self.path, &self.read, said)
    }

    /// Replaces the file whole; its owner and mode stay, and a link to it stays a link. Refuses if it is no longer what
    /// was read: other programs know nothing of the lock.
    pub fn replace(self, bytes: &[u8]) -> Result<()> {
        self.replace_as(bytes, None)
    }

    /// The same, with a new mode.
    pub fn replace_as(self, bytes: &[u8], mode: Option<u32>) -> Result<()> {
        if Secret::new(disk::read(&self.path)?) != self.read {
            let message =
                format!("{} was changed by somebody else meanwhile; nothing was written", self.path.display());
            return Err(Failure::request(message).hint("run the command again"));
        }
        Ok(disk::rewrite(&self.path, bytes, mode)?)
    }
}

/// What the nearest .sops.yaml says of a new file.
pub fn creation(path: &Path) -> Result<Option<config::Creation>> {
    configured(path, |found, text| config::creation(found, text, path))
}

/// The same; nothing also if no rule is for this file.
pub fn rule(path: &Path) -> Result<Option<config::Creation>> {
    configured(path, |found, text| config::matching(found, text, path)).map(Option::flatten)
}

/// How the nearest .sops.yaml wants a file to be laid out.
pub fn layout(path: &Path) -> Result<Layout> {
    configured(path, config::layout).map(Option::unwrap_or_default)
}

fn configured<T>(path: &Path, read: impl FnOnce(&Path, &str) -> crate::secrets::Result<T>) -> Result<Option<T>> {
    let Some(found) = config::find(path) else { return Ok(None) };
    let text = disk::read_to_string(&found)?;
    read(&found, &text).map(Some).map_err(|error| refused(error.status(), error.to_string()))
}
