//! What rules and dashboards of the production image ask for is there: an exporter that has given a metric another name
//! would leave an alert that never fires and a panel that stays empty.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::Url;
use serde_json::Value;

use crate::scene::Scene;
use crate::site::Site;

/// Words of PromQL that may stand before a selector.
const BEFORE: [&str; 13] =
    ["and", "or", "unless", "bool", "offset", "avg", "count", "group", "max", "min", "quantile", "sum", "topk"];
/// Words before names of labels.
const LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// How long a sample may take from where it was left: into the next scrape, which is every 30 s.
const PAUSES: [Duration; 12] = [Duration::from_secs(5); 12];

pub fn exist(scene: &Scene, site: &Site) {
    println!("each series that a rule asks for has been there");
    let rules = prometheus(scene, "rules", &[("type", "alert")]);
    let rules: Vec<&Value> = array(&rules["groups"]).iter().flat_map(|group| array(&group["rules"])).collect();
    let mut asked: Vec<String> = rules.iter().flat_map(|rule| selectors(rule["query"].as_str().unwrap())).collect();
    asked.sort();
    asked.dedup();
    assert!(rules.len() > 15 && asked.len() > 15, "{rules:?}");
    let mut missing = absent(scene, &asked);
    for pause in PAUSES {
        if missing.is_empty() {
            break;
        }
        std::thread::sleep(pause);
        missing = absent(scene, &asked);
    }
    assert_eq!(missing, [""; 0]);
    assert_eq!(absent(scene, &["rave_misspelt{a=\"b\"}".to_owned()]), ["rave_misspelt{a=\"b\"}"]);

    println!("each panel of each dashboard shows something");
    let console = |path: &str| -> Value {
        let reply = site.get(&format!("/grafana/api/boards{path}"));
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        serde_json::from_str(&reply.body).unwrap()
    };
    let boards = console("");
    assert_eq!(array(&boards["boards"]).len(), 3);
    let empty = || {
        let mut empty = Vec::new();
        for board in array(&boards["boards"]) {
            let name = board["name"].as_str().unwrap();
            for panel in array(&console(&format!("/{name}"))["panels"]) {
                let drawn = console(&format!("/{name}/panels/{}?range=1h", panel["id"]));
                let mut values = array(&drawn["lines"]).iter().flat_map(|line| array(&line["values"]));
                if values.all(Value::is_null) {
                    empty.push(format!("{name}: {}", panel["title"]));
                }
            }
        }
        empty
    };
    let mut found = empty();
    // The dispatcher has just started anew, and a single value is that of its next scrape.
    for pause in PAUSES {
        if found.is_empty() {
            break;
        }
        std::thread::sleep(pause);
        found = empty();
    }
    assert_eq!(found, [""; 0]);
}

fn array(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("{value}"))
}

/// What Prometheus answers.
fn prometheus(scene: &Scene, path: &str, parameters: &[(&str, &str)]) -> Value {
    let url = Url::parse_with_params(&format!("http://localhost/api/v1/{path}"), parameters).unwrap();
    let answer = scene.get(9090, &format!("{}?{}", url.path(), url.query().unwrap()));
    let mut answer: Value = serde_json::from_str(&answer).unwrap();
    answer["data"].take()
}

/// The selectors of which there was nothing within the last hour: all at once, since each question takes a login.
fn absent(scene: &Scene, asked: &[String]) -> Vec<String> {
    let found = |(number, selector): (usize, &String)| {
        format!("label_replace(count(last_over_time({selector}[1h])), \"number\", \"{number}\", \"\", \"\")")
    };
    let query = asked.iter().enumerate().map(found).collect::<Vec<_>>().join(" or ");
    let found = prometheus(scene, "query", &[("query", &query)]);
    let numbers = array(&found["result"]).iter().map(|one| one["metric"]["number"].as_str().unwrap().parse().unwrap());
    let known: BTreeSet<usize> = numbers.collect();
    (0..asked.len()).filter(|number| !known.contains(number)).map(|number| asked[number].clone()).collect()
}

/// The selectors of an expression in PromQL: names of metrics with what must match, and what must match without a name.
fn selectors(expression: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '{' => closed(rest, '}'),
            '[' => closed(rest, ']'),
            '"' => quoted(rest),
            'a'..='z' | 'A'..='Z' | '_' | ':' | '0'..='9' | '.' => word(rest),
            _ => first.len_utf8(),
        };
        let (token, behind) = rest.split_at(length);
        rest = behind;
        match first {
            '{' => found.push(token.to_owned()),
            'a'..='z' | 'A'..='Z' | '_' | ':' => {
                let next = behind.trim_start();
                if LABELS.contains(&token) {
                    rest = if next.starts_with('(') { &next[closed(next, ')')..] } else { next };
                } else if next.starts_with('{') {
                    let matchers = closed(next, '}');
                    found.push(format!("{token}{}", &next[..matchers]));
                    rest = &next[matchers..];
                } else if !next.starts_with('(') && !BEFORE.contains(&token) {
                    found.push(token.to_owned());
                }
            }
            _ => {}
        }
    }
    found
}

/// The length of a text in double quotes.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// The length up to a bracket, and with it, that is in no text.
fn closed(text: &str, bracket: char) -> usize {
    let mut at = 0;
    while let Some(next) = text[at..].chars().next() {
        at += if next == '"' { quoted(&text[at..]) } else { next.len_utf8() };
        if next == bracket {
            return at;
        }
    }
    at
}

fn word(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_alphanumeric() && !"_:.".contains(c)).unwrap_or(text.len())
}

#[test]
fn selectors_are_told_from_the_rest_of_an_expression() {
    for (expression, expected) in [
        ("up == 0", &["up"][..]),
        ("sum by (stage) (rave_health_checks{verdict=~\"a|b\"}) > 0", &["rave_health_checks{verdict=~\"a|b\"}"]),
        ("1 - avg by (instance) (rate(cpu{mode=\"}\\\"\"}[5m])) > 0.8", &["cpu{mode=\"}\\\"\"}"]),
        ("sum(a) by (b) / on () group_left () sum(c)", &["a", "c"]),
        (
            "time() - t > 1e6 or absent(t{what=\"x\"}) and on () time() - boot offset 5m",
            &["t", "t{what=\"x\"}", "boot"],
        ),
        ("(sum(increase(d[5m])) or vector(0)) + e > bool 10", &["d", "e"]),
        (
            "label_replace({__name__=~\"load1|load5\"}, \"span\", \"$1\", \"a\", \"b(.*)\")",
            &["{__name__=~\"load1|load5\"}"],
        ),
        ("sum without (a, b) (job:rate5m) unless ignoring (c) d * 129600", &["job:rate5m", "d"]),
    ] {
        assert_eq!(selectors(expression), expected, "{expression}");
    }
}
