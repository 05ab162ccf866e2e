//! The secrets of one machine, by name: gathered from the project's files, encrypted once more for the deployment's
//! recipients into one file, and opened inside the machine. Synchronous, and nothing here touches the host.
//!
//! ```
//! use std::collections::BTreeMap;
//! use rave::secrets::{Identities, Recipient, Secret, deploy, identity};
//!
//! let machine = identity::generate(false)?;
//! let recipients = [Recipient::parse(&machine.recipient)?];
//! let values = BTreeMap::from([("db-password".to_owned(), Secret::from("hunter2"))]);
//! let ciphertext = deploy::seal(&values, &recipients, jiff::Timestamp::now())?;
//! // In the machine, with what came as a credential:
//! let identities = Identities::parse("credential", machine.identity.expose())?;
//! assert_eq!(deploy::open(&ciphertext, &identities)?, values);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::{Error, Result};
use super::file::{File, Mac, Opened};
use super::identity::Identities;
use super::metadata::{Group, Metadata};
use super::prompt::{Nobody, Prompt};
use super::tree::{Entry, Value};
use super::{Format, Recipient, Secret, rule};

/// Encrypts named values for all of the recipients, each of whom can open the file alone. The file is one of SOPS in
/// JSON, and as good as any other; its names are readable.
pub fn seal(values: &BTreeMap<String, Secret>, recipients: &[Recipient], now: jiff::Timestamp) -> Result<Vec<u8>> {
    let group = Group::of(recipients.iter().map(|recipient| recipient.as_str().to_owned()));
    // Matches every name: no value stays plain, whatever it is called.
    let rule = rule::Written { name: "encrypted_regex", text: "^".to_owned() };
    let metadata = Metadata::new(vec![group], None, Some(rule), false);
    let pairs = values.iter().map(|(name, value)| Entry::Pair(name.clone(), Value::str(value.clone())));
    let nobody: Arc<dyn Prompt> = Arc::new(Nobody);
    Opened::create(Format::Json, vec![pairs.collect()], metadata, &nobody)?.seal(now)
}

/// Opens what [`seal`] made.
pub fn open(bytes: &[u8], identities: &Identities) -> Result<BTreeMap<String, Secret>> {
    let opened = File::read(Format::Json, bytes)?.open(identities, Mac::Check)?;
    let entries = opened.documents.iter().flatten().filter_map(Entry::pair);
    entries
        .map(|(name, value)| match value {
            Value::Leaf(leaf) => Ok((name.to_owned(), leaf.text.clone())),
            other => Err(Error::Path(format!("{name} is {}, and must be a single value", other.describe()))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::identity::generate;
    use super::*;

    #[test]
    fn each_recipient_opens_the_file_and_nobody_else() {
        let (one, two, other) = (generate(false).unwrap(), generate(false).unwrap(), generate(false).unwrap());
        let recipients = [&one, &two].map(|new| Recipient::parse(&new.recipient).unwrap());
        let values = BTreeMap::from([
            ("db_unencrypted".to_owned(), Secret::from("hunter2")),
            ("blob".to_owned(), Secret::from(&b"\x00\xff"[..])),
            ("nothing".to_owned(), Secret::from("")),
        ]);
        let sealed = seal(&values, &recipients, jiff::Timestamp::now()).unwrap();
        assert!(!String::from_utf8_lossy(&sealed).contains("hunter2"));
        for new in [&one, &two] {
            let identities = Identities::parse("x", new.identity.expose()).unwrap();
            assert_eq!(open(&sealed, &identities).unwrap(), values);
        }
        let identities = Identities::parse("x", other.identity.expose()).unwrap();
        assert!(matches!(open(&sealed, &identities), Err(Error::Locked(_))));
        assert!(matches!(seal(&values, &[], jiff::Timestamp::now()), Err(Error::NoRecipients)));
    }
}
