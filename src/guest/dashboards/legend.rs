//! The name of a line, from its labels.

use std::collections::BTreeMap;

/// Letters of a name, at most.
const LENGTH: usize = 120;

/// The name by a template, where `{{label}}` stands for the value of a label, as in Grafana. Without a template it is
/// what Prometheus would write: the metric's name and its labels.
pub fn name(template: &str, labels: &BTreeMap<String, String>) -> String {
    let name = if template.trim().is_empty() { plain(labels) } else { filled(template, labels) };
    name.chars().filter(|c| !c.is_control()).take(LENGTH).collect()
}

fn filled(template: &str, labels: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        text.push_str(before);
        let Some((label, behind)) = after.split_once("}}") else {
            text.push_str("{{");
            rest = after;
            break;
        };
        text.push_str(labels.get(label.trim()).map_or("", String::as_str));
        rest = behind;
    }
    text.push_str(rest);
    text
}

fn plain(labels: &BTreeMap<String, String>) -> String {
    let metric = labels.get("__name__").map_or("", String::as_str);
    let others = labels.iter().filter(|(label, _)| *label != "__name__");
    let others: Vec<String> = others.map(|(label, value)| format!("{label}={value:?}")).collect();
    match (metric, others.is_empty()) {
        ("", true) => "value".to_owned(),
        (_, true) => metric.to_owned(),
        _ => format!("{metric}{{{}}}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_fill_templates() {
        let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let disk: BTreeMap<String, String> = labels(&[("__name__", "up"), ("device", "sda"), ("job", "a\"b")]);
        for (template, expected) in [
            ("{{device}} in", "sda in"),
            ("{{ device }}/{{job}}", "sda/a\"b"),
            ("all", "all"),
            ("{{none}}x", "x"),
            ("{{device", "{{device"),
            ("}}{{", "}}{{"),
            ("", "up{device=\"sda\", job=\"a\\\"b\"}"),
        ] {
            assert_eq!(name(template, &disk), expected, "{template}");
        }
        assert_eq!(name("", &labels(&[])), "value");
        assert_eq!(name("", &labels(&[("__name__", "up")])), "up");
        assert_eq!(name("{{a}}", &labels(&[("a", "x\u{1b}\ny")])), "xy");
        assert_eq!(name("{{a}}", &labels(&[("a", &"é".repeat(1000))])).chars().count(), LENGTH);
    }
}
