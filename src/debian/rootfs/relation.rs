//! Relations between packages in control files (Debian Policy, 7.1), as far as installed packages need them.

/// `name (operator version)`: one alternative.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation<'a> {
    /// The other package, without architecture qualifier.
    pub name: &'a str,
    /// `<<`, `<=`, `=`, `>=` or `>>`, and the version.
    pub version: Option<(&'a str, &'a str)>,
}

impl Relation<'_> {
    /// Whether a package of this version is meant. A version that cannot be read is not.
    pub fn admits(&self, version: &str) -> bool {
        let Some((operator, wanted)) = self.version else { return true };
        let parse = |text: &str| text.parse::<debversion::Version>().ok();
        let (Some(have), Some(wanted)) = (parse(version), parse(wanted)) else { return false };
        match operator {
            "<<" | "<" => have < wanted,
            "<=" => have <= wanted,
            "=" => have == wanted,
            ">=" => have >= wanted,
            ">>" | ">" => have > wanted,
            _ => false,
        }
    }
}

/// The relations of a field: all of the outer list, one of each inner list. What is malformed is left out: a
/// package that states its relations badly cannot take over files or come first by them.
pub fn parse(field: &str) -> Vec<Vec<Relation<'_>>> {
    field.split(',').map(|group| group.split('|').filter_map(one).collect()).collect()
}

fn one(text: &str) -> Option<Relation<'_>> {
    let text = text.trim();
    let (name, rest) = match text.split_once('(') {
        Some((name, rest)) => (name, Some(rest.split_once(')')?.0.trim())),
        None => (text, None),
    };
    let name = name.split([':', '[', '<']).next()?.trim();
    let version = match rest {
        None => None,
        Some(rest) => {
            let at = rest.find(|c: char| !"<>=".contains(c))?;
            let (operator, version) = rest.split_at_checked(at)?;
            Some((operator, version.trim()))
        }
    };
    (!name.is_empty()).then_some(Relation { name, version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_are_read_and_held_against_versions() {
        let relations = parse("libc6 (>= 2.38), a:any | b (<<1.0~) , c [amd64] (= 1:2-3),, bad (1");
        let names: Vec<Vec<_>> = relations.iter().map(|group| group.iter().map(|r| r.name).collect()).collect();
        assert_eq!(names, [vec!["libc6"], vec!["a", "b"], vec!["c"], vec![], vec![]]);
        assert!(relations[0][0].admits("2.41-1") && !relations[0][0].admits("2.37"));
        assert!(relations[1][1].admits("0.9") && !relations[1][1].admits("1.0"));
        assert!(relations[1][0].admits("nonsense version") && !relations[0][0].admits("nonsense version"));
        assert!(relations[2][0].admits("1:2-3") && !relations[2][0].admits("2-3"));
    }
}
