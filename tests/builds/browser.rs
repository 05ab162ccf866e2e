//! The dashboards and the status page in a real browser, with a real Prometheus behind them. Chromium, Prometheus and
//! the node exporter come as Debian packages, so the host needs none of them; promtool is among them, and tries the alert
//! rules. Pictures are left in the directory for temporary files of the build's target, `browser/pictures`.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "tests look from outside, and tell where they are")]

#[path = "browser/alerts.rs"]
mod alerts;
#[path = "browser/devtools.rs"]
mod devtools;
#[path = "browser/tree.rs"]
mod tree;
#[path = "browser/world.rs"]
mod world;

use std::time::{Duration, Instant};

use devtools::Page;
use rave::disk;
use serde_json::{Value, json};
use world::{World, wait_for};

const RAVE: &str = env!("CARGO_BIN_EXE_rave");

/// Title, state and coloured pixels of each panel.
const PANELS: &str = "[...document.querySelectorAll('.panel')].map((panel) => {
    const canvas = panel.querySelector('canvas');
    let coloured = 0;
    if (canvas) {
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        for (let at = 0; at < data.length; at += 4) {
            const [r, g, b, a] = data.subarray(at, at + 4);
            if (a > 200 && Math.max(r, g, b) - Math.min(r, g, b) > 60) coloured += 1;
        }
    }
    const text = panel.querySelector('.body').innerText;
    const values = [...panel.querySelectorAll('.legend tbody td')].map((cell) => cell.innerText);
    return { title: panel.querySelector('h2').textContent, state: panel.dataset.state, picture: canvas !== null, coloured, text, values };
})";

const SETTLED: &str =
    "document.querySelectorAll('.panel').length > 0 && !document.querySelector('.panel[data-state=loading]')";

fn keep(name: &str, png: &[u8]) {
    disk::create_dir_all(tree::shared("pictures")).unwrap();
    disk::write_atomic(tree::shared("pictures").join(format!("{name}.png")), png, 0o644).unwrap();
}

/// Whether a panel has values, and all of them are 0.
fn is_idle(panel: &Value) -> bool {
    let values = panel["values"].as_array().unwrap();
    let is_nothing = |value: &Value| !value.as_str().unwrap().contains(|c: char| ('1'..='9').contains(&c));
    !values.is_empty() && values.iter().all(is_nothing)
}

fn no_complaints(page: &mut Page, at: &str) {
    let complaints = page.complaints();
    assert!(complaints.is_empty(), "{at}: {}", json!(complaints));
}

#[test]
fn dashboards_and_status_in_a_browser() {
    let tree = tree::tree();
    let begin = Instant::now();
    let mut world = World::new(tree);
    let (_browser, tools) = world.browser();
    let mut page = Page::open(&tools);
    let minute = Duration::from_secs(60);
    // Rates need two samples, and a picture a point of its grid after them.
    let path = "GET /api/v1/query?query=(min(count_over_time(up[1m]))%3Ebool+17)*min(min_over_time(up[10s]))*(count(up)==bool+3)";
    let prometheus = format!("127.0.0.1:{}", world.ports[0]);
    let end = Instant::now() + minute;
    let mut told = String::new();
    while !told.contains("\"1\"]") {
        assert!(Instant::now() < end, "{told}\n{}", devtools::http(&prometheus, "GET /api/v1/targets"));
        std::thread::sleep(Duration::from_millis(500));
        told = devtools::http(&prometheus, path);
    }

    println!("every board is drawn from what was measured");
    page.size(1280, 900, false);
    page.wish("light");
    for board in ["system-health", "project-health", "agent-performance"] {
        page.go(&world.url(&format!("/grafana/?board={board}&range=1h")));
        page.wait(SETTLED, minute);
        let panels = page.eval(PANELS);
        let panels = panels.as_array().unwrap();
        let (mut drawn, mut empty) = (0, 0);
        for panel in panels {
            match panel["state"].as_str() {
                // Many lines at nothing lie upon each other, and the last of many is grey.
                Some("ready") if panel["picture"] == true && is_idle(panel) => {}
                Some("ready") if panel["picture"] == true => {
                    // A line of two points is short; one that is not drawn has none.
                    assert_ne!(panel["coloured"], 0, "{board}: {panel}");
                    drawn += 1;
                }
                Some("ready") => {
                    assert!(panel["text"].as_str().unwrap().contains(|c: char| c.is_ascii_digit()), "{panel}")
                }
                Some("empty") => {
                    assert_eq!(panel["text"], "No data");
                    empty += 1;
                }
                _ => panic!("{board}: {panel}"),
            }
        }
        // Nobody measures file systems here, and a host may have no disk of its own.
        assert!(drawn >= 2 && empty <= 2 && (empty > 0 || board != "system-health"), "{board}: {}", json!(panels));
        no_complaints(&mut page, board);
        keep(board, &page.picture());
    }

    println!("links, ranges, keys and colours work");
    page.eval(
        "[...document.querySelectorAll('#boards a')].find((link) => link.textContent === 'System Health').click()",
    );
    page.wait(&format!("document.title.startsWith('System Health') && {SETTLED}"), minute);
    page.eval(
        "[...document.querySelectorAll('#ranges button')].find((button) => button.textContent === '24h').click()",
    );
    page.wait("location.search === '?board=system-health&range=24h' && document.querySelector('#ranges [aria-pressed=true]').textContent === '24h'", minute);
    page.eval("history.back()");
    page.wait("document.querySelector('#ranges [aria-pressed=true]').textContent === '1h'", minute);
    page.wait(SETTLED, minute);
    page.eval("document.querySelector('.plot').focus()");
    page.call(
        "Input.dispatchKeyEvent",
        json!({ "type": "keyDown", "key": "ArrowLeft", "code": "ArrowLeft", "windowsVirtualKeyCode": 37 }),
    );
    page.wait("/^\\d\\d:\\d\\d:\\d\\d$/.test(document.querySelector('.plot:focus + .legend thead th:nth-child(2)').textContent)", minute);
    let paper = "getComputedStyle(document.body).backgroundColor";
    let light = page.eval(paper);
    page.wish("dark");
    let dark = page.eval(paper);
    assert_ne!(light, dark);
    keep("dark", &page.picture());
    page.eval("document.getElementById('theme').click()");
    assert_eq!(page.eval(paper), light, "the button is stronger than the browser's wish");
    page.eval("document.getElementById('theme').click()");
    assert_eq!(page.eval(paper), dark);
    page.eval("localStorage.clear()");
    no_complaints(&mut page, "controls");

    println!("it is readable on a phone");
    page.size(390, 844, true);
    for board in ["system-health", "project-health", "agent-performance"] {
        page.go(&world.url(&format!("/grafana/?board={board}&range=1h")));
        page.wait(SETTLED, minute);
        let width = page.eval("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)");
        assert!(width.as_u64().unwrap() <= 390, "{board} is {width} pixels wide");
        keep(&format!("phone-{board}"), &page.picture());
    }
    no_complaints(&mut page, "phone");

    println!("nothing comes from elsewhere, and nothing could");
    let own = world.url("/grafana/");
    let requested = page.requested();
    assert!(requested.len() > 30, "{requested:?}");
    for url in requested.iter().filter(|url| !url.starts_with("about:")) {
        assert!(url.starts_with(&own), "{url}");
    }
    let refused = page.eval(
        "new Promise((done) => {
            const refused = [];
            document.addEventListener('securitypolicyviolation', (event) => {
                refused.push(event.effectiveDirective);
                if (refused.length === 3) done(refused.sort());
            });
            document.head.append(Object.assign(document.createElement('style'), { textContent: 'body { color: red }' }));
            document.head.append(Object.assign(document.createElement('script'), { textContent: 'document.title = 1' }));
            fetch('http://127.0.0.1:1/').catch(() => null);
        })",
    );
    assert_eq!(refused, json!(["connect-src", "script-src-elem", "style-src-elem"]));
    assert!(!page.complaints().is_empty(), "what the policy refuses is a complaint, or the checks above see nothing");

    println!("without Prometheus every panel says so, and with it they come back");
    page.size(1280, 900, false);
    world.prometheus = None;
    page.go(&world.url("/grafana/?board=project-health&range=1h"));
    // Looks once after each round of questions, and asks again if the panels are not all so.
    let all = |state: &str| {
        format!(
            "(() => {{
                const root = document.documentElement.dataset;
                if (root.rounds === root.seen) return false;
                root.seen = root.rounds;
                const panels = [...document.querySelectorAll('.panel')];
                const all = panels.length > 0 && panels.every((panel) => panel.dataset.state === '{state}');
                if (!all) document.getElementById('reload').click();
                return all;
            }})()"
        )
    };
    page.wait(&all("error"), minute);
    for panel in page.eval(PANELS).as_array().unwrap() {
        assert_eq!(panel["text"], "Prometheus cannot be reached");
    }
    keep("without-prometheus", &page.picture());
    world.start_prometheus();
    wait_for(world.ports[0]);
    page.eval("document.getElementById('reload').click()");
    page.wait(&all("ready"), minute);

    println!("the status page needs no script");
    page.call("Emulation.setScriptExecutionDisabled", json!({ "value": true }));
    let status = format!("http://127.0.0.1:{}/", world.ports[3]);
    page.complaints();
    for (name, width, phone) in [("status", 900, false), ("phone-status", 390, true)] {
        page.size(width, 800, phone);
        page.go(&status);
        let text = page.eval("document.body.innerText");
        assert!(text.as_str().unwrap().contains("machine 1.0.0"), "{text}");
        let link = page.eval("document.querySelector('nav a').getAttribute('href')");
        assert_eq!(link, Value::from("/grafana/"));
        assert!(page.eval("document.documentElement.scrollWidth").as_u64().unwrap() <= u64::from(width));
        keep(name, &page.picture());
    }
    no_complaints(&mut page, "status");
    assert!(page.requested().iter().all(|url| url.starts_with("http://127.0.0.1:") || url.starts_with("about:")));
    println!("{} s", begin.elapsed().as_secs());
}
