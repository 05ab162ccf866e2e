//! Dashboards as Grafana keeps them (its dashboard JSON model), as far as the console draws them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk;

/// The largest file that is read, in bytes.
const FILE: usize = 1 << 20;
/// Boards, panels of one board, and expressions of one panel, at most.
const BOARDS: usize = 64;
const PANELS: usize = 100;
const TARGETS: usize = 8;
/// Letters of a name or title, and of an expression.
const TITLE: usize = 200;
const EXPRESSION: usize = 4096;

/// One dashboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    /// Its name in addresses: that of its file.
    pub name: String,
    /// What people read.
    pub title: String,
    /// How far back it looks at first, in seconds.
    pub seconds: u64,
    /// In the order in which they are shown.
    pub panels: Vec<Panel>,
}

/// One picture of a dashboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panel {
    /// Its number in addresses, one of its kind on the board.
    pub id: u32,
    /// What people read.
    pub title: String,
    /// Grafana's name for the unit of the values.
    pub unit: String,
    /// How it is drawn.
    pub kind: Kind,
    /// What is drawn.
    pub targets: Vec<Target>,
}

/// How a panel is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Lines over time.
    Timeseries,
    /// The newest value as a number.
    Stat,
}

/// An expression, and how its lines are called.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// In PromQL.
    pub expr: String,
    /// With labels between double braces; empty for all labels.
    #[serde(default)]
    pub legend_format: String,
}

/// A file that is no dashboard.
#[derive(Debug, thiserror::Error)]
#[error("{} is not a dashboard: {reason}", path.display())]
pub struct Malformed {
    path: PathBuf,
    reason: String,
}

/// Why there are no dashboards.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// They cannot be read.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// One of them is not what it should be.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// The model, as far as it is read; Grafana knows much more.
#[derive(Deserialize)]
struct Model {
    title: String,
    time: Time,
    #[serde(default)]
    panels: Vec<PanelModel>,
}

#[derive(Deserialize)]
struct Time {
    from: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PanelModel {
    id: u32,
    #[serde(rename = "type")]
    kind: Kind,
    title: String,
    field_config: FieldConfig,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct FieldConfig {
    defaults: Defaults,
}

#[derive(Deserialize)]
struct Defaults {
    unit: String,
}

/// Reads every `NAME.json` of a directory, in the order of their titles.
pub fn read(directory: &Path) -> Result<Vec<Board>, Error> {
    let mut boards = Vec::new();
    for path in disk::list(directory)? {
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let malformed = |reason: String| Malformed { path: path.clone(), reason };
        if boards.len() == BOARDS {
            return Err(malformed(format!("there are {BOARDS} others already")).into());
        }
        let bytes = disk::read_start(&path, FILE as u64 + 1)?;
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        boards.push(parse(name, &bytes).map_err(malformed)?);
    }
    boards.sort_by(|a, b| (&a.title, &a.name).cmp(&(&b.title, &b.name)));
    Ok(boards)
}

/// One dashboard; the error says what is wrong with it.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Board, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.starts_with('.') || name.len() > TITLE || !name.chars().all(plain) {
        return Err("its name must be letters, digits, -, _ and .".to_owned());
    }
    if bytes.len() > FILE {
        return Err(format!("it has more than {FILE} bytes"));
    }
    let model: Model = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let seconds = model.time.from.strip_prefix("now-").and_then(seconds);
    let seconds = seconds.ok_or_else(|| format!("`{}` is not a time such as now-6h", short(&model.time.from)))?;
    if model.panels.len() > PANELS {
        return Err(format!("it has more than {PANELS} panels"));
    }
    let mut ids = BTreeSet::new();
    let panels = model.panels.into_iter().map(|panel| {
        if !ids.insert(panel.id) {
            return Err(format!("two panels have the id {}", panel.id));
        }
        self::panel(panel)
    });
    Ok(Board { name: name.to_owned(), title: title(model.title)?, seconds, panels: panels.collect::<Result<_, _>>()? })
}

fn panel(panel: PanelModel) -> Result<Panel, String> {
    let PanelModel { id, kind, title, field_config, targets } = panel;
    if targets.is_empty() || targets.len() > TARGETS {
        return Err(format!("panel {id} must have 1 to {TARGETS} targets"));
    }
    for target in &targets {
        if target.expr.trim().is_empty() || target.expr.len() > EXPRESSION || target.legend_format.len() > TITLE {
            return Err(format!("panel {id} has an empty or overlong expression or legend"));
        }
    }
    Ok(Panel { id, kind, title: self::title(title)?, unit: self::title(field_config.defaults.unit)?, targets })
}

fn title(text: String) -> Result<String, String> {
    match text.trim().is_empty() || text.len() > TITLE {
        true => Err(format!("`{}` is not a title of 1 to {TITLE} bytes", short(&text))),
        false => Ok(text),
    }
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Seconds of a time such as 90s or 6h.
fn seconds(text: &str) -> Option<u64> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return None,
    };
    let number: u64 = text.get(..text.len() - 1)?.parse().ok()?;
    number.checked_mul(unit).filter(|seconds| *seconds > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = r#"{"uid":"x","title":"Shop","time":{"from":"now-21600s","to":"now"},"panels":[
        {"id":1,"type":"stat","title":"Orders","gridPos":{"x":0},"fieldConfig":{"defaults":{"unit":"short"}},
         "targets":[{"refId":"A","expr":"sum(orders)","legendFormat":"{{shop}}"}]}]}"#;

    #[test]
    fn what_grafana_reads_is_read() {
        let board = parse("shop", GOOD.as_bytes()).unwrap();
        assert_eq!((board.title.as_str(), board.seconds), ("Shop", 21_600));
        let target = Target { expr: "sum(orders)".to_owned(), legend_format: "{{shop}}".to_owned() };
        let [panel] = &board.panels[..] else { panic!() };
        assert_eq!((panel.id, panel.kind, &panel.targets[..]), (1, Kind::Stat, &[target][..]));
        for (text, expected) in [("90s", Some(90)), ("6h", Some(21_600)), ("2w", Some(1_209_600)), ("0s", None)] {
            assert_eq!(seconds(text), expected);
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let wrong = |from: &str, to: &str| {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD);
            parse("shop", text.as_bytes()).unwrap_err()
        };
        assert!(wrong("now-21600s", "yesterday").contains("`yesterday` is not a time"));
        assert!(wrong("now-21600s", "now-99999999999999999999d").contains("is not a time"));
        assert!(wrong("now-21600s", "now-€").contains("is not a time"));
        assert!(wrong("Shop", " ").contains("not a title"));
        assert!(wrong("sum(orders)", "").contains("empty or overlong"));
        assert!(wrong("\"stat\"", "\"table\"").contains("unknown variant"));
        assert!(wrong("sum(orders)", &"x".repeat(5000)).contains("overlong"));
        let panels = GOOD.split_once("[\n").unwrap().1.strip_suffix("]}").unwrap();
        assert!(wrong(panels, &format!("{panels},{panels}")).contains("two panels have the id 1"));
        let many: Vec<String> = (0..=PANELS).map(|id| panels.replace("\"id\":1", &format!("\"id\":{id}"))).collect();
        assert!(wrong(panels, &many.join(",")).contains("more than 100 panels"));
        assert!(parse("shop", &vec![b' '; FILE + 1]).unwrap_err().contains("bytes"));
        assert!(parse("shop", "[".repeat(100_000).as_bytes()).is_err());
        for name in ["", "..", ".x", "a/b", "a b", "ü"] {
            assert!(parse(name, GOOD.as_bytes()).is_err(), "{name}");
        }
    }

    #[test]
    fn a_directory_is_read_in_the_order_of_titles() {
        let dir = tempfile::tempdir().unwrap();
        disk::write_atomic(dir.path().join("a.json"), GOOD.as_bytes(), 0o644).unwrap();
        disk::write_atomic(dir.path().join("b.json"), GOOD.replace("Shop", "Bakery").as_bytes(), 0o644).unwrap();
        disk::write_atomic(dir.path().join("README"), b"no board", 0o644).unwrap();
        let names: Vec<String> = read(dir.path()).unwrap().into_iter().map(|board| board.name).collect();
        assert_eq!(names, ["b", "a"]);
        disk::write_atomic(dir.path().join("c.json"), b"{}", 0o644).unwrap();
        let error = read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("c.json is not a dashboard: missing field `title`"), "{error}");
    }

    proptest! {
        #[test]
        fn anything_is_a_board_or_an_error(bytes: Vec<u8>, at: prop::sample::Index, byte: u8) {
            drop(parse("x", &bytes));
            let mut damaged = GOOD.as_bytes().to_vec();
            let at = at.index(damaged.len());
            damaged[at] = byte;
            drop(parse("x", &damaged));
        }
    }
}
