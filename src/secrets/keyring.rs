//! The data key of a file: split among key groups, encrypted for each recipient, and recovered.

use std::sync::Arc;

use super::cipher::DATA_KEY;
use super::error::{Error, Result};
use super::identity::Identities;
use super::metadata::{AgeKey, Group};
use super::prompt::Prompt;
use super::recipient::Recipient;
use super::tree::Entry;
use super::{Secret, shamir};

/// Encrypts the data key for all groups, a share each if there are several.
pub(super) fn wrap(
    key: &Secret,
    groups: &mut [Group],
    threshold: &mut Option<u8>,
    prompt: &Arc<dyn Prompt>,
) -> Result<()> {
    for group in &*groups {
        if let Some((kind, _)) = group.others.first().and_then(Entry::pair) {
            let reason = "rave encrypts for age only; `sops` has to change files with such keys".to_owned();
            return Err(Error::Recipient { recipient: format!("a key of {kind}"), reason });
        }
        if group.age.is_empty() {
            return Err(Error::NoRecipients);
        }
    }
    let shares = shares(key, groups.len(), threshold)?;
    for (group, share) in groups.iter_mut().zip(&shares) {
        for AgeKey { recipient, enc } in &mut group.age {
            *enc = Recipient::parse(recipient)?.wrap(share, prompt)?;
        }
    }
    Ok(())
}

fn shares(key: &Secret, groups: usize, threshold: &mut Option<u8>) -> Result<Vec<Secret>> {
    match groups {
        0 => return Err(Error::NoRecipients),
        1 => {
            *threshold = None;
            return Ok(vec![key.clone()]);
        }
        _ => {}
    }
    let wrong = |text: &str| Error::Rule(text.to_owned());
    let parts = u8::try_from(groups).map_err(|_| wrong("there are more than 255 key groups"))?;
    let needed = *threshold.get_or_insert(parts);
    if !(2..=parts).contains(&needed) {
        return Err(wrong("shamir_threshold must be at least 2, and at most the number of key groups"));
    }
    Ok(shamir::split(key, parts, needed)?)
}

/// Recovers the data key.
pub(super) fn unwrap(groups: &[Group], threshold: Option<u8>, identities: &Identities) -> Result<Secret> {
    let mut reasons = Vec::new();
    let opened: Vec<Secret> = groups.iter().filter_map(|group| open(group, identities, &mut reasons)).collect();
    let locked = |mut reasons: Vec<String>| {
        reasons.extend(identities.notes.iter().cloned());
        Err(Error::Locked(reasons))
    };
    let key = match groups.len() {
        0 | 1 => opened.into_iter().next(),
        several => {
            let needed = threshold.map_or(several, usize::from);
            if opened.len() < needed.max(2) {
                reasons.insert(0, format!("{} of {several} key groups open, {needed} are needed", opened.len()));
                return locked(reasons);
            }
            shamir::combine(&opened)
        }
    };
    match key {
        Some(key) if key.expose().len() == DATA_KEY => Ok(key),
        Some(_) => Err(Error::Metadata(format!("the data key does not have {DATA_KEY} bytes"))),
        None => locked(reasons),
    }
}

/// A group's share, by any of its keys.
fn open(group: &Group, identities: &Identities, reasons: &mut Vec<String>) -> Option<Secret> {
    let mut keys: Vec<&AgeKey> = group.age.iter().collect();
    keys.sort_by_key(|key| identities.rank(&key.recipient));
    let mut failed = Vec::new();
    for AgeKey { recipient, enc } in keys {
        if identities.is_empty() {
            failed.push(format!("{recipient}: there is no identity to open it with"));
            continue;
        }
        match identities.unwrap(enc.as_bytes()) {
            Ok(share) => return Some(share),
            Err(reason) => failed.push(format!("{recipient}: {reason}")),
        }
    }
    let others = group.others.iter().filter_map(Entry::pair);
    failed.extend(others.map(|(kind, _)| format!("a key of {kind}, which rave cannot use")));
    reasons.extend(failed);
    None
}
