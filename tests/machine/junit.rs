//! JUnit's XML, as much of it as reports are written in.

use serde_json::Value;

use crate::lab::checks;

/// The file is well-formed and tells of every check what the report does.
pub fn assert_tells(xml: &str, report: &Value) {
    let document = Element::parse(xml);
    let cases: Vec<&Element> = document.children.iter().flat_map(|suite| &suite.children).collect();
    let told = |id: &str| cases.iter().find(|case| case.attribute("name") == Some(id));
    for check in checks(report) {
        let case = told(check["id"].as_str().unwrap()).unwrap_or_else(|| panic!("{} is missing", check["id"]));
        let failed = case.children.iter().any(|child| child.name == "failure");
        assert_eq!(failed, check["verdict"] == "unhealthy", "{check}");
    }
    // Stages without checks are one case each.
    assert_eq!(cases.len(), checks(report).len() + 2);
}

/// As much of XML as JUnit files have: any violation of nesting, quoting or escaping panics.
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    children: Vec<Element>,
}

impl Element {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn parse(xml: &str) -> Self {
        let body = xml.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n").unwrap();
        let mut open = vec![Self { name: String::new(), attributes: Vec::new(), children: Vec::new() }];
        let mut rest = body;
        while let Some((text, after)) = rest.split_once('<') {
            unescape(text);
            // An angle bracket in an attribute must be escaped, so the first one ends the tag.
            let (tag, after) = after.split_once('>').unwrap();
            rest = after;
            if let Some(name) = tag.strip_prefix('/') {
                let closed = open.pop().unwrap();
                assert_eq!(closed.name, name);
                open.last_mut().unwrap().children.push(closed);
            } else {
                let element = Self::open(tag.strip_suffix('/').unwrap_or(tag));
                match tag.ends_with('/') {
                    true => open.last_mut().unwrap().children.push(element),
                    false => open.push(element),
                }
            }
        }
        unescape(rest);
        assert_eq!(open.len(), 1, "an element is not closed");
        let mut roots = open.remove(0).children;
        assert_eq!(roots.len(), 1);
        roots.remove(0)
    }

    fn open(tag: &str) -> Self {
        let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
        let mut attributes = Vec::new();
        while !rest.is_empty() {
            let (key, after) = rest.split_once("=\"").unwrap();
            let (value, after) = after.split_once('"').unwrap();
            attributes.push((key.trim().to_owned(), unescape(value)));
            rest = after;
        }
        Self { name: name.to_owned(), attributes, children: Vec::new() }
    }
}

fn unescape(text: &str) -> String {
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&#10;", "\n"),
        ("&#13;", "\r"),
        ("&#9;", "\t"),
    ];
    let bare = text.replace("&amp;", "");
    let bare = entities.iter().fold(bare, |text, (entity, _)| text.replace(entity, ""));
    assert!(!bare.contains('&') && !bare.contains(|c: char| c.is_control() && !"\n\t\r".contains(c)), "{text}");
    entities.iter().fold(text.to_owned(), |text, (entity, plain)| text.replace(entity, plain)).replace("&amp;", "&")
}
