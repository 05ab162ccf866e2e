//! What can be wrong with a file of secrets, and with those who want to open it. Nothing here shows a value.

use super::format::Format;

/// Shorthand of this room.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a file of secrets could not be read, opened or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not what its format says.
    #[error("this is not {format}: {reason}{}", at(*line))]
    Syntax {
        /// The format that was expected.
        format: Format,
        /// What is wrong.
        reason: String,
        /// Line, counted from 1; 0 where none can be named.
        line: usize,
    },
    /// The file cannot be expressed in a format.
    #[error("{path} cannot be written as {format}: {reason}")]
    Unwritable {
        /// The format.
        format: Format,
        /// Where in the file.
        path: String,
        /// Why not.
        reason: &'static str,
    },
    /// The file has no metadata: it is not encrypted.
    #[error("it has no SOPS metadata: it is not encrypted")]
    NotEncrypted,
    /// The file that shall be encrypted has metadata already.
    #[error("it is encrypted already: it has a top-level `sops` entry")]
    AlreadyEncrypted,
    /// The file that shall be encrypted holds no document.
    #[error("it is empty: there is nothing to encrypt")]
    Empty,
    /// The metadata is wrong.
    #[error("its SOPS metadata is wrong: {0}")]
    Metadata(String),
    /// A value did not decrypt.
    #[error("{path}: {reason}")]
    Value {
        /// Where in the file.
        path: String,
        /// Why not.
        reason: Refusal,
    },
    /// The MAC is absent, does not decrypt, or is of other content.
    #[error("{0}")]
    Mac(BadMac),
    /// None of the identities opens the file, or not enough of its key groups.
    #[error("no identity opens it{}", details(.0))]
    Locked(Vec<String>),
    /// There is nobody to encrypt for.
    #[error("no recipients: nobody could open the file")]
    NoRecipients,
    /// A recipient cannot be encrypted for.
    #[error("{recipient} cannot be a recipient: {reason}")]
    Recipient {
        /// The recipient as written, or what it is where that is a private key.
        recipient: String,
        /// Why not.
        reason: String,
    },
    /// The rules that say what is encrypted are wrong.
    #[error("{0}")]
    Rule(String),
    /// A path does not lead anywhere.
    #[error("{0}")]
    Path(String),
    /// A path cannot be understood.
    #[error("{0:?} is not a path such as '[\"a\"][0][\"k\"]' or a/0/k")]
    PathSyntax(String),
    /// The configuration is wrong.
    #[error("{file}: {reason}")]
    Config {
        /// The configuration file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The kernel gave no random numbers.
    #[error("cannot get random numbers: {0}")]
    Random(#[from] getrandom::Error),
    /// A certificate or key could not be made.
    #[error("cannot make {what}: {reason}")]
    Generate {
        /// What was to be made.
        what: &'static str,
        /// Why it was not.
        reason: String,
    },
}

/// Why one value did not decrypt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no ciphertext.
    #[error("the value is not encrypted, but the file's rule says that it should be")]
    Plain,
    /// It is a list, a number ... where ciphertext was expected.
    #[error("expected an encrypted text, found another type")]
    NotText,
    /// The ciphertext is not in SOPS' form.
    #[error("the encrypted value is damaged: {0}")]
    Malformed(&'static str),
    /// It was changed, or moved here from elsewhere.
    #[error("the value was changed or moved: it does not decrypt at this place with the file's key")]
    Forged,
    /// What it decrypts to is not of the type it names.
    #[error("it decrypts to something that is not {0}")]
    Type(&'static str),
}

/// What is wrong with a MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadMac {
    /// There is none.
    #[error("MAC missing: the file may have been changed by somebody without its key")]
    Missing,
    /// It does not decrypt with `lastmodified`.
    #[error("the MAC does not decrypt: `mac` or `lastmodified` was changed")]
    Forged,
    /// It is that of other content.
    #[error("MAC mismatch: values were added, removed, changed or reordered without the file's key")]
    Mismatch,
}

fn at(line: usize) -> String {
    if line == 0 { String::new() } else { format!(" (line {line})") }
}

fn details(reasons: &[String]) -> String {
    reasons.iter().map(|reason| format!("\n  {reason}")).collect()
}

impl Error {
    /// The exit status of sops for the same failure, where a script could depend on it. The numbers are those of
    /// sops' own table (cmd/sops/codes).
    pub fn status(&self) -> u8 {
        match self {
            Self::Unwritable { .. } => 4,
            Self::Value { .. } => 25,
            Self::Mac(_) => 51,
            Self::PathSyntax(_) => 91,
            Self::Empty => 92,
            Self::NoRecipients => 111,
            Self::Locked(_) => 128,
            Self::AlreadyEncrypted => 203,
            Self::Random(_) => 2,
            _ => 1,
        }
    }
}
