//! Path patterns: `*` stands for any text within one part of a path, `?` for one character, `**` for any
//! number of whole parts, none included.

/// Patterns of which any may match.
#[derive(Debug, Clone, Default)]
pub struct Globs(Vec<Vec<String>>);

impl Globs {
    /// Patterns as users write them, absolute paths.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Self {
        Self(patterns.into_iter().map(|pattern| parts(pattern.as_ref()).map(str::to_owned).collect()).collect())
    }

    /// Whether any pattern matches the whole of `path`.
    pub fn matches(&self, path: &str) -> bool {
        let path: Vec<&str> = parts(path).collect();
        self.0.iter().any(|pattern| matches(pattern, &path))
    }
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

/// Whether each pattern part meets its path part. Backtracks to the last `**` only, so it takes at most
/// the product of both lengths.
fn matches(pattern: &[String], path: &[&str]) -> bool {
    let (mut p, mut t, mut retry) = (0, 0, None);
    loop {
        match pattern.get(p) {
            Some(part) if part == "**" => {
                retry = Some((p, t));
                p += 1;
                continue;
            }
            Some(part) if t < path.len() && within(part.as_bytes(), path[t].as_bytes()) => {
                p += 1;
                t += 1;
                continue;
            }
            None if t == path.len() => return true,
            _ => {}
        }
        match retry {
            Some((at, from)) if from < path.len() => {
                retry = Some((at, from + 1));
                p = at + 1;
                t = from + 1;
            }
            _ => return false,
        }
    }
}

/// The same with `*` and `?` over the bytes of one part.
fn within(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut retry) = (0, 0, None);
    loop {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, t));
                p += 1;
                continue;
            }
            Some(&c) if t < text.len() && (c == b'?' || c == text[t]) => {
                p += 1;
                t += 1;
                continue;
            }
            None if t == text.len() => return true,
            _ => {}
        }
        match retry {
            Some((at, from)) if from < text.len() => {
                retry = Some((at, from + 1));
                p = at + 1;
                t = from + 1;
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stay_within_a_part_and_double_stars_do_not() {
        for (pattern, path, expected) in [
            ("/usr/share/doc/**", "/usr/share/doc/a/b", true),
            ("/usr/share/doc/**", "/usr/share/doc", true),
            ("/usr/share/doc/*", "/usr/share/doc", false),
            ("/usr/share/doc/*", "/usr/share/doc/a/b", false),
            ("/usr/**/*.pyc", "/usr/lib/python3/x.pyc", true),
            ("/usr/**/*.pyc", "/usr/x.pyc", true),
            ("/usr/**/*.pyc", "/usr/x.py", false),
            ("/a/**/b/**/c", "/a/b/x/b/c", true),
            ("/a/**/b/**/c", "/a/x/c", false),
            ("/etc/?sh", "/etc/ssh", true),
            ("/etc", "/etc/ssh", false),
            ("**", "/anything/at/all", true),
        ] {
            assert_eq!(Globs::new([pattern]).matches(path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_malicious_pattern_ends_quickly() {
        let pattern = "/**/a*a*a*a*a*a*a*a*b".repeat(8);
        assert!(!Globs::new([pattern]).matches(&"/aaaaaaaaaaaaaaaaaaaaaaaaaaaa".repeat(40)));
    }
}
