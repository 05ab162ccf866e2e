//! The fixed keys of images and modules as data, and the check of a file against them. It runs on a file as it is
//! written, also on what a condition switches off, and again on what templates made of an entry.

use super::fields;
use super::template::is_template;
use super::yaml::{Kind, Node};
use crate::origin::Diagnostic;

/// What may stand at a place.
pub(super) enum Shape {
    /// A text or number.
    Text,
    /// true or false.
    Flag,
    /// A condition: an expression, true or false.
    Condition,
    List(&'static Shape),
    Map(&'static Shape),
    Record(&'static [Key]),
    /// A text, nothing, or a list of texts: the value of a directive.
    Directive,
    /// The first shape, or a record that says more.
    Either(&'static Shape, &'static Shape),
    /// Read elsewhere.
    Any,
}

/// A key of a record.
pub(super) struct Key {
    pub name: &'static str,
    pub shape: Shape,
    pub required: bool,
}

const fn may(name: &'static str, shape: Shape) -> Key {
    Key { name, shape, required: false }
}

const fn must(name: &'static str, shape: Shape) -> Key {
    Key { name, shape, required: true }
}

use Shape::{Any, Condition, Directive, Either, Flag, List, Map, Record, Text};

static TEXTS: Shape = List(&Text);
const WHEN: Key = may("when", Condition);
/// An entry that is made once for each of a map or list.
const EACH: Key = may("each", Any);

/// A word, or one that counts under a condition: `{ value: WORD, when: CONDITION }`.
static WORD: Shape = Either(&Text, &Record(&[must("value", Text), WHEN]));

/// An image file.
pub(super) static IMAGE: Shape = Record(&[
    must("name", Text),
    must("version", Text),
    may("description", Text),
    may("extends", Text),
    may("imports", List(&Text)),
    may("mode", Text),
    may("archive", Record(ARCHIVE)),
    may("config", Any),
]);

const ARCHIVE: &[Key] = &[
    may("suite", Text),
    may("components", List(&Text)),
    may("mirrors", List(&Text)),
    may("extra", List(&Record(EXTRA))),
    may("debs", List(&Text)),
];

const EXTRA: &[Key] =
    &[must("name", Text), must("url", Text), must("suite", Text), must("components", List(&Text)), must("key", Text)];

/// A module file.
pub(super) static MODULE: Shape = Record(&[
    must("description", Text),
    may("imports", List(&Text)),
    may("options", Any),
    WHEN,
    may("packages", List(&WORD)),
    may("build-packages", List(&WORD)),
    may("exclude", List(&WORD)),
    may("set-id", List(&WORD)),
    may("prepare", Map(&Record(PREPARE))),
    may("validate", Map(&Record(VALIDATE))),
    may("groups", Map(&Record(GROUP))),
    may("users", Map(&Record(USER))),
    may("files", Map(&FILE)),
    may("units", Map(&Record(UNIT))),
    may("sysctl", Map(&WORD)),
    may("cmdline", List(&WORD)),
    may("kernel-modules", Record(KERNEL_MODULES)),
    may("mounts", Map(&MOUNT)),
    may("state", List(&Record(STATE))),
    may("active", List(&WORD)),
    may("open", List(&WORD)),
    may("local", List(&WORD)),
    may("behind-firewall", List(&WORD)),
    may("secrets", Map(&Record(SECRET))),
    may("secret-files", Map(&Record(SECRET_FILE))),
    may("certificates", Map(&Record(CERTIFICATE))),
    may("certificate-files", List(&WORD)),
    may("ssh", Record(SSH)),
    may("https", Map(&Record(HTTPS))),
    may("journal-allow", List(&Record(ALLOW))),
    may("key-allow", List(&Record(ALLOW))),
    may("suite-allow", List(&Record(SUITE_ALLOW))),
    may("stages", List(&WORD)),
    may("set", Any),
    may("assertions", List(&Record(CLAIM))),
    may("warnings", List(&Record(CLAIM))),
    may("probes", List(&Record(PROBE))),
    may("profiles", Map(&Map(&Directive))),
]);

/// A file of a module or of `environment.files`.
pub(super) static FILE: Shape = Record(&[
    may("text", Text),
    may("template", Text),
    may("source", Text),
    may("format", Text),
    may("link", Text),
    may("directory", Flag),
    may("absent", Flag),
    may("mode", Text),
    may("owner", Text),
    may("group", Text),
    EACH,
    WHEN,
]);

/// What runs once in the configured file system, before it is packed.
const PREPARE: &[Key] = &[must("command", List(&Text)), EACH, WHEN];

/// What runs in the finished file system, to say whether a program can read its files.
const VALIDATE: &[Key] = &[must("command", List(&Text)), must("files", List(&Text)), EACH, WHEN];

const GROUP: &[Key] = &[must("gid", Text), EACH, WHEN];

const USER: &[Key] = &[
    must("uid", Text),
    may("group", Text),
    may("groups", List(&Text)),
    may("home", Text),
    may("shell", Text),
    may("description", Text),
    EACH,
    WHEN,
];

const KERNEL_MODULES: &[Key] = &[may("initrd", List(&WORD)), may("load", List(&WORD)), may("deny", List(&WORD))];

/// Options that a mount must have, or what to mount there.
static MOUNT: Shape =
    Either(&TEXTS, &Record(&[may("type", Text), may("what", Text), may("options", List(&Text)), EACH, WHEN]));

const SECRET: &[Key] = &[
    may("kind", Text),
    may("owner", Text),
    may("group", Text),
    may("mode", Text),
    may("units", List(&Text)),
    may("on-change", Text),
    may("description", Text),
    EACH,
    WHEN,
];

/// A file in memory that is made of text and secrets.
const SECRET_FILE: &[Key] = &[
    may("text", Text),
    may("template", Text),
    may("owner", Text),
    may("group", Text),
    may("mode", Text),
    may("units", List(&Text)),
    may("on-change", Text),
    EACH,
    WHEN,
];

const CERTIFICATE: &[Key] = &[must("hosts", List(&Text)), must("key", Text), EACH, WHEN];

const SECTION: Shape = Map(&Directive);

const UNIT: &[Key] = &[
    may("unit", SECTION),
    may("service", SECTION),
    may("socket", SECTION),
    may("timer", SECTION),
    may("path", SECTION),
    may("mount", SECTION),
    may("automount", SECTION),
    may("swap", SECTION),
    may("slice", SECTION),
    may("install", SECTION),
    may("enable", Flag),
    may("sandbox", Text),
    may("expect", Flag),
    may("dropin", Flag),
    may("wanted-by", List(&Text)),
    may("credentials", List(&Text)),
    may("mask", Flag),
    EACH,
    WHEN,
];

const SSH: &[Key] = &[
    must("user", Text),
    may("kex", List(&Text)),
    may("host-keys", List(&Text)),
    may("ciphers", List(&Text)),
    may("macs", List(&Text)),
    must("host-key-file", Text),
    may("bans", Text),
    may("bans-option", Text),
    may("pardon", List(&Text)),
    WHEN,
];

/// What a site must be like, seen from outside.
const HTTPS: &[Key] = &[
    must("port", Text),
    may("hosts", List(&Text)),
    must("certificate", Text),
    may("headers", Map(&Text)),
    may("csp", Text),
    may("http2", Flag),
    may("pages", Map(&Text)),
    may("rate", Text),
    may("burst", Text),
    may("webhooks", Map(&Record(WEBHOOK))),
    EACH,
    WHEN,
];

const WEBHOOK: &[Key] = &[must("secret", Text), must("schemes", List(&Text)), must("body", Text)];

const ALLOW: &[Key] = &[must("pattern", Text), must("reason", Text), WHEN];
const SUITE_ALLOW: &[Key] =
    &[must("suite", Text), must("finding", Text), must("reason", Text), may("at-most", Text), EACH, WHEN];
const CLAIM: &[Key] = &[must("that", Condition), must("message", Text), WHEN];

/// A claim whose condition is held back.
pub(super) static CLAIM_EXPANDED: Shape = Record(&[must("message", Text)]);

const STATE: &[Key] =
    &[must("path", Text), may("owner", Text), may("group", Text), may("mode", Text), may("backup", Flag), EACH, WHEN];

const PROBE: &[Key] = &[
    must("stage", Text),
    must("id", Text),
    may("command", List(&Text)),
    may("http", Text),
    may("http_json", Text),
    may("alert", Text),
    may("tcp", Text),
    may("unix", Text),
    may("status", Text),
    may("headers", Map(&Text)),
    may("at", Text),
    may("equals", Text),
    may("messages", Text),
    may("send", Text),
    may("contains", Text),
    may("inapplicable", Text),
    EACH,
    WHEN,
];

/// The shape of one entry of a module's section; of the whole section if it has no entries.
pub(super) fn section(name: &str) -> Option<&'static Shape> {
    let Record(keys) = &MODULE else { return None };
    keys.iter().find(|key| key.name == name).map(|key| &key.shape)
}

/// Reports what in `node` does not have that shape. A scalar with a template passes for anything.
pub(super) fn check(node: &Node, shape: &Shape, what: &str, errors: &mut Vec<Diagnostic>) {
    if matches!(&node.kind, Kind::Scalar { text, .. } if is_template(text)) {
        return;
    }
    if node.tag.is_some() && !matches!(shape, Any) {
        let error = Diagnostic::error(&node.origin, format!("{what} has a tag, which would say nothing"));
        errors.push(error.help("tags count in `config` of images and in `set` of modules"));
    }
    match shape {
        Any => {}
        Either(_, record) if matches!(node.kind, Kind::Map(_)) => check(node, record, what, errors),
        Either(plain, _) => check(node, plain, what, errors),
        Text => drop(fields::text(node, what, errors)),
        Flag => drop(fields::flag(node, what, errors)),
        Condition if matches!(node.kind, Kind::Scalar { .. }) && !node.is_null() => {}
        Condition => errors.push(Diagnostic::error(&node.origin, format!("{what} must be an expression"))),
        List(item) => {
            for node in fields::list(node, what, errors) {
                check(node, item, &format!("an entry of {what}"), errors);
            }
        }
        Map(value) => {
            for (key, node) in fields::map(node, what, errors) {
                check(node, value, &format!("`{}`", key.text), errors);
            }
        }
        Record(keys) => record(node, keys, what, errors),
        Directive => match &node.kind {
            Kind::Scalar { .. } => {}
            _ => check(node, &TEXTS, what, errors),
        },
    }
}

fn record(node: &Node, keys: &[Key], what: &str, errors: &mut Vec<Diagnostic>) {
    let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
    let entries = fields::entries(node, what, &names, errors);
    for (name, node) in entries {
        if let Some(key) = keys.iter().find(|key| key.name == name.text) {
            check(node, &key.shape, &format!("`{}`", key.name), errors);
        }
    }
    let missing = |key: &&Key| key.required && fields::find(entries, key.name).is_none();
    if matches!(node.kind, Kind::Map(_)) {
        for key in keys.iter().filter(missing) {
            errors.push(Diagnostic::error(&node.origin, format!("{what} has no `{}`", key.name)));
        }
    }
}
