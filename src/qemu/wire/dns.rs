//! A name server (RFC 1035) that knows the names of a provider, and says of all others that they do not exist.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// The port of name servers.
pub const PORT: u16 = 53;
/// Length of a message's header, in bytes, and the longest name (RFC 1035, 2.3.4).
const HEADER: usize = 12;
const LONGEST: usize = 255;
/// How long an answer holds, in seconds.
const TTL: u32 = 60;
/// Types and the class that are known (RFC 1035, 3.2).
const TYPE_A: u16 = 1;
const CLASS_IN: u16 = 1;

/// The answer to a query; nothing if it is none, or has another form than one question.
pub fn answer(query: &[u8], names: &BTreeMap<String, Ipv4Addr>) -> Option<Vec<u8>> {
    let &[id1, id2, flags1, _, 0, 1, _, _, _, _, _, _] = query.first_chunk::<HEADER>()? else {
        return None;
    };
    // Not an answer, and a standard query (RFC 1035, 4.1.1).
    if flags1 & 0b1111_1000 != 0 {
        return None;
    }
    let (name, length) = name(query.get(HEADER..)?)?;
    let &[t1, t2, c1, c2] = query.get(HEADER + length..)?.first_chunk()?;
    let (kind, class) = (u16::from_be_bytes([t1, t2]), u16::from_be_bytes([c1, c2]));
    let known = names.get(&name).filter(|_| class == CLASS_IN);
    let address = known.filter(|_| kind == TYPE_A);
    let refusal = if known.is_some() { 0 } else { 3 };
    let mut bytes = vec![id1, id2, 0x84 | flags1 & 1, 0x80 | refusal, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0];
    bytes.extend(query.get(HEADER..HEADER + length + 4)?);
    if let Some(address) = address {
        // The name is that of the question (RFC 1035, 4.1.4).
        bytes.extend([0xc0, 0x0c, t1, t2, c1, c2]);
        bytes.extend(TTL.to_be_bytes());
        bytes.extend([0, 4]);
        bytes.extend(address.octets());
    }
    Some(bytes)
}

/// A name in lower case without its last dot, and its length in bytes.
fn name(bytes: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), 0);
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1;
        // Two bits tell of a reference, which a question needs not have.
        if length >= 64 || at + length > LONGEST {
            return None;
        }
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(bytes.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names() -> BTreeMap<String, Ipv4Addr> {
        BTreeMap::from([("metadata.google.internal".to_owned(), Ipv4Addr::new(169, 254, 169, 254))])
    }

    fn query(name: &str, kind: u8) -> Vec<u8> {
        let mut bytes = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend(label.bytes());
        }
        bytes.extend([0, 0, kind, 0, 1]);
        bytes
    }

    #[test]
    fn a_known_name_has_an_address_and_others_do_not_exist() {
        let asked = query("Metadata.google.internal", 1);
        let said = answer(&asked, &names()).unwrap();
        assert_eq!(said[..12], [7, 9, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert_eq!(said[12..asked.len()], asked[12..]);
        assert_eq!(said[asked.len()..], [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 169, 254, 169, 254]);
        // It has no other kind of address, which is not the same as not to exist.
        let said = answer(&query("metadata.google.internal", 28), &names()).unwrap();
        assert_eq!((said[3] & 15, said[7]), (0, 0));
        let said = answer(&query("deb.debian.org", 1), &names()).unwrap();
        assert_eq!((said[3] & 15, said[7]), (3, 0));
    }

    #[test]
    fn what_is_no_question_has_no_answer() {
        let whole = query("a.b", 1);
        for length in 0..whole.len() {
            assert_eq!(answer(&whole[..length], &names()), None, "{length}");
        }
        let mut reply = whole.clone();
        reply[2] = 0x81;
        assert_eq!(answer(&reply, &names()), None, "an answer");
        let mut loops = whole;
        loops[12] = 0xc0;
        assert_eq!(answer(&loops, &names()), None, "a reference");
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_shortly_or_not_at_all(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Some(said) = answer(&bytes, &names()) {
                prop_assert!(said.len() <= 12 + 255 + 4 + 16);
            }
        }
    }
}
