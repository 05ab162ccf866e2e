//! The webhook dispatcher of the production image, with the handlers of its scene: what it takes in and hands on, and what it
//! does when it is full, when a handler fails for good, and when events grow old.

use std::time::SystemTime;

use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::lab::wait_for;
use crate::scene::Scene;
use crate::site::{Reply, Site};

/// Deliveries that may wait, as the scene's image has it.
const QUEUE: usize = 6;

/// Events that grew old: name, handler (none for no delivery), state, and for how many days they and their state are.
const AGED: [(&str, &str, &str, u32, u32); 9] = [
    ("dead for 29 days", "note", "dead", 29, 29),
    ("dead for 31 days", "note", "dead", 31, 31),
    ("done 6 days ago", "note", "done", 6, 6),
    ("done 8 days ago", "note", "done", 8, 8),
    ("given up late", "note", "dead", 31, 1),
    ("unheard 6 days ago", "", "", 6, 6),
    ("unheard 8 days ago", "", "", 8, 8),
    ("waits for nobody", "gone", "waiting", 8, 8),
    ("waits for long", "note", "waiting", 31, 31),
];

/// Those that are still known afterwards, by whether their bodies are. Done ones need none.
const KEPT: &str = "dead for 29 days true|done 6 days ago false|given up late true|unheard 6 days ago false|\
                    waits for long true|waits for nobody true";

/// A body signed as GitHub does.
pub fn github(site: &Site, secret: &str, delivery: &str, event: &str, body: &[u8]) -> Reply {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let signature = format!("sha256={hex}");
    let headers = [
        ("x-hub-signature-256", signature.as_str()),
        ("x-github-delivery", delivery),
        ("x-github-event", event),
        ("content-type", "application/json"),
    ];
    site.ask(Method::POST, "/webhook", &headers, body)
}

/// A body signed by the Standard Webhooks specification, `age` seconds ago.
fn standard(site: &Site, secret: &str, id: &str, age: u64, body: &[u8]) -> Reply {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let time = (now - age).to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{id}.{time}.").as_bytes());
    mac.update(body);
    let signature = base64::prelude::BASE64_STANDARD.encode(mac.finalize().into_bytes());
    let signature = format!("v1,{signature}");
    let headers = [("webhook-id", id), ("webhook-timestamp", time.as_str()), ("webhook-signature", signature.as_str())];
    site.ask(Method::POST, "/webhook", &headers, body)
}

/// What events from outside meet, in an order in which each finds what it needs.
pub fn work(scene: &Scene, site: &Site, secret: &str) {
    takes_in(scene, site, secret);
    gives_up(scene, site, secret);
    fills(scene, site, secret);
    stays_given_up(scene);
    forgets(scene);
    drops(scene);
}

fn takes_in(scene: &Scene, site: &Site, secret: &str) {
    println!("webhooks: only signed and fresh ones are taken, each once");
    assert_eq!(site.get("/webhook").status, 405);
    assert_eq!(site.ask(Method::POST, "/webhook", &[("x-github-event", "push")], b"{}").status, 401);
    assert_eq!(github(site, "another secret of a forger", "forged", "push", b"{}").status, 401);
    assert_eq!(standard(site, secret, "stale", 3600, b"{\"type\":\"push\"}").status, 401);
    assert_eq!(github(site, secret, "large", "push", &vec![b' '; 2 << 20]).status, 413);
    assert_eq!(standard(site, secret, "fresh", 0, b"{\"type\":\"push\"}").status, 202);
    assert_eq!(github(site, secret, "one", "push", b"{\"n\":1}").status, 202);
    let again = github(site, secret, "one", "push", b"{\"n\":1}").status;
    assert!((200..=202).contains(&again), "{again}");
    let known = "select count(*) filter (where type = 'push'), string_agg(delivery, ',') filter (where type <> 'push'), \
                 string_agg(type, ',') filter (where type <> 'push' and body is null) from webhook.event";
    // What the check has left can be told from the rest, and waits for nobody: it is in no handler's types.
    let known = scene.sql(known);
    assert!(known.starts_with("2|rave-check-") && known.ends_with("|rave.check") && !known.contains(','), "{known}");

    println!("what a handler is doing when the dispatcher dies is done again");
    assert_eq!(github(site, secret, "long", "long", b"{\"long\":1}").status, 202);
    let begun = || scene.root("cat /var/lib/note/long 2> /dev/null || true").matches("{\"long\":1}").count();
    wait_for("the handler", || (begun() == 1).then_some(()));
    scene.root("systemctl kill --signal=KILL webhook.service");
    wait_for("the handler again", || (begun() == 2).then_some(()));
    wait_for("its end", || (scene.delivery("long") == "done|2").then_some(()));

    println!("what was accepted reaches its handlers");
    let handled = || scene.root("cat /var/lib/note/events 2> /dev/null || true");
    wait_for("the handler", || handled().contains("{\"n\":1}").then_some(()));
    wait_for("the unit", || scene.root("cat /run/counted 2> /dev/null || true").contains("counted").then_some(()));
}

fn gives_up(scene: &Scene, site: &Site, secret: &str) {
    println!("what no handler can do becomes a dead letter, with the reason");
    assert_eq!(github(site, secret, "two", "doomed", b"{}").status, 202);
    let letter = wait_for("a dead letter", || letters(scene).as_array().unwrap().first().cloned());
    let expected = json!({ "delivery": "two", "handler": "fails", "attempts": 2, "error": "exit status 1" });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&letter[name], value, "{letter}");
    }
}

fn fills(scene: &Scene, site: &Site, secret: &str) {
    println!("a full queue refuses what is one too many, and takes it in when there is room again");
    let open = || scene.sql("select count(*) from webhook.delivery where state in ('waiting', 'running')");
    wait_for("an empty queue", || (open() == "0").then_some(()));
    let send = |id: &str, kind: &str| github(site, secret, id, kind, b"{}");
    let refused = |reply: &Reply| assert_eq!((reply.status, reply.header("retry-after")), (503, "10"), "{reply:?}");
    for number in 1..QUEUE {
        assert_eq!(send(&format!("held {number}"), "held").status, 202);
    }
    // There is room for one delivery, and this would be two.
    refused(&send("both", "push"));
    assert_eq!(send("last", "held").status, 202);
    refused(&send("more", "held"));
    // Neither what is known nor what nobody is told of takes any room.
    assert_eq!(send("last", "held").status, 200);
    assert_eq!(send("unheard", "nothing").status, 202);
    assert_eq!(scene.sql("select count(*) from webhook.event where delivery in ('both', 'more')"), "0");
    assert!(has(scene, r#"webhook_events_total{source="default",type="other",result="full"} 2"#));
    wait_for("the depth of the queue", || has(scene, &format!("webhook_queue_depth {QUEUE}")).then_some(()));

    scene.root("touch /var/lib/note/gate");
    wait_for("an empty queue", || (open() == "0").then_some(()));
    let done = "select count(*) from webhook.delivery where handler = 'waits' and state = 'done' and attempts = 1";
    assert_eq!(scene.sql(done), QUEUE.to_string());
    for (id, kind) in [("both", "push"), ("more", "held")] {
        assert_eq!(send(id, kind).status, 202);
    }
    wait_for("what was refused before", || (scene.delivery("more") == "done|1").then_some(()));
}

fn stays_given_up(scene: &Scene) {
    println!("a dead letter is counted and left alone");
    assert_eq!(scene.delivery("two"), "dead|2");
    for (result, count) in [("failed", 1), ("dead", 1)] {
        let line = format!(r#"webhook_deliveries_total{{handler="fails",result="{result}"}} {count}"#);
        assert!(has(scene, &line), "{line}");
    }
    assert!(has(scene, "webhook_dead_letters 1"));
}

fn forgets(scene: &Scene) {
    println!("what is older than it is kept is forgotten, and nothing else; what waits for nobody is given up");
    let aged = AGED.map(|(name, handler, state, received, changed)| {
        format!(
            "with new as (insert into webhook.event (source, delivery, type, received, body) \
             values ('aged', '{name}', 'push', now() - interval '{received} days', '{{}}') returning id) \
             insert into webhook.delivery (event, handler, state, changed, next) select id, '{handler}', '{state}', \
             now() - interval '{changed} days', now() + interval '5 minutes' from new where '{handler}' <> ''; "
        )
    });
    scene.sql(&aged.concat());
    // It looks after what is old, and for what is nobody's, at its start and every minute.
    scene.root("systemctl restart webhook.service");
    let known = |what: &str| scene.sql(&format!("select {what} from webhook.event where source = 'aged'"));
    wait_for("the old to go", || (known("count(*)") != AGED.len().to_string()).then_some(()));
    assert_eq!(known("string_agg(delivery || ' ' || (body is not null), '|' order by delivery)"), KEPT);
    let letters = letters(scene);
    let orphan = letters.as_array().unwrap().iter().find(|letter| letter["delivery"] == "waits for nobody");
    assert_eq!(orphan.map(|letter| &letter["error"]), Some(&json!("there is no such handler")), "{letters}");
    scene.sql("delete from webhook.event where source = 'aged'");
}

fn drops(scene: &Scene) {
    println!("an operator sees what was given up, and drops it");
    assert_eq!(letters(scene).as_array().map(Vec::len), Some(1));
    scene.root("sudo -u webhook rave guest dead-letters drop --all");
    assert_eq!(letters(scene), json!([]));
}

/// What was given up, as an operator sees it.
fn letters(scene: &Scene) -> Value {
    serde_json::from_str(&scene.root("sudo -u webhook rave guest dead-letters --json")).unwrap()
}

/// Whether the dispatcher tells this of itself.
fn has(scene: &Scene, line: &str) -> bool {
    scene.get(8090, "/metrics").lines().any(|told| told == line)
}
