use super::*;

/// What becomes of `value` after `before`.
#[track_caller]
fn check(format: Format, before: &str, value: &str, wanted: Option<&str>) {
    let mut cursor = Cursor::new(format);
    cursor.feed(before);
    assert_eq!(cursor.escape(value).ok().as_deref(), wanted, "{format:?} {before:?} {value:?}");
}

#[test]
fn a_value_keeps_its_place_in_every_format() {
    use Format::*;
    for (format, before, value, wanted) in [
        (Lines, "a = ", "x y", Some("x y")),
        (Lines, "a = ", "x\nb = 1", None),
        (Lines, "a = ", "x\r", None),
        (Lines, "a = ", "x\\", None),
        (Lines, "a = \"", "x\" b=\"", None),
        (Lines, "a = '", "it's", None),
        (Lines, "a = '", "its", Some("its")),
        (Lines, "# don't\na = ", "it's", Some("it's")),
        (Lines, "don't \"", "a'b", Some("a'b")),
        (Lines, "a = \"open\nb = ", "\"x\"", Some("\"x\"")),
        (Json, "{\"a\": \"", "x\", \"b\": \"\n", Some("x\\\", \\\"b\\\": \\\"\\n")),
        (Json, "{\"a\": ", "x\"", Some("\"x\\\"\"")),
        (Json, "{\"a\\\"b\": ", "x", Some("\"x\"")),
        (Yaml, "a: ", "x", Some("x")),
        (Yaml, "a: ", "no", Some("\"no\"")),
        (Yaml, "a: ", "12", Some("\"12\"")),
        (Yaml, "a: ", "", Some("\"\"")),
        (Yaml, "a: ", "x\nb: 1", Some("\"x\\nb: 1\"")),
        (Yaml, "a: ", "x # y", Some("\"x # y\"")),
        (Yaml, "- ", "*x", Some("\"*x\"")),
        (Yaml, "a: http://", "host", Some("host")),
        (Yaml, "a: http://", "x: y", None),
        (Yaml, "a: \"", "\"x\n", Some("\\\"x\\n")),
        (Yaml, "a: 'it''s ", "it's", Some("it''s")),
        (Yaml, "a: 'x ", "\n", None),
        (Yaml, "a: don't ", "x: y", None),
        (Yaml, "a: |\n  text ", "x: \"y\"", Some("x: \"y\"")),
        (Yaml, "a: |\n  text ", "\nb: 1", None),
        (Yaml, "a: |\n  'text\nb: ", "no", Some("\"no\"")),
        (Yaml, "l: [a, ", "b]", Some("\"b]\"")),
        (Yaml, "a: 1 # it's ", "b\nc: 1", None),
        (Toml, "a = ", "x\"\nb = 1", Some("\"x\\\"\\nb = 1\"")),
        (Toml, "a = \"", "\"", Some("\\\"")),
        (Toml, "a = '", "it's", None),
        (Toml, "a = '", "c:\\x", Some("c:\\x")),
        (Nginx, "server_name ", "example.org", Some("example.org")),
        (Nginx, "server_name ", "x; } server { listen 80", Some("\"x; } server { listen 80\"")),
        (Nginx, "server_name ", "", Some("\"\"")),
        (Nginx, "root /srv/", "a;b", None),
        (Nginx, "root /srv/", "a-b", Some("a-b")),
        (Nginx, "root \"/srv/", "a\";b", Some("a\\\";b")),
        (Nginx, "log '", "a'\\", Some("a\\'\\\\")),
        (Nginx, "# x ", "\n}", None),
        (Nginx, "a ", "x\ny", None),
        (Shell, "A=", "x", Some("x")),
        (Shell, "A=", "", Some("''")),
        (Shell, "A=", "$(reboot)", Some("'$(reboot)'")),
        (Shell, "A=", "it's", Some("'it'\\''s'")),
        (Shell, "A=\"", "$(x) `y` \"", Some("\\$(x) \\`y\\` \\\"")),
        (Shell, "A='", "it's", Some("it'\\''s")),
        (Shell, "A=", "x\nreboot", None),
        (Json, "{\"a\": \"\\", "x", None),
        (Html, "<a href=", "x onclick=y", None),
        (Html, "<a ", "onclick=y", None),
        (Html, "<", "script", None),
        (Html, "<a onclick=\"", "x", None),
        (Html, "<p style='", "x", None),
        (Html, "<script>var a = \"", "x", None),
        (Html, "<script src=\"a\">x</script> ", "<", Some("&lt;")),
        (Html, "<STYLE>", "x", None),
        (Html, "<!-- ", "-->", Some("--&gt;")),
        (Html, "<!-- > ", "<", Some("&lt;")),
        (Html, "<!DOCTYPE ", "x", None),
        (Html, "<!DOCTYPE html>\n<p class=a id=\"b\">", "x", Some("x")),
        (Html, "<a href=\"", "java\nscript:x", None),
        (Html, "<a href=\"/", "javascript:x", Some("javascript:x")),
        (Html, "1 < 2 ", "x", Some("x")),
        (Shell, "A=\"$(echo ", "x; touch HIT", None),
        (Shell, "A=\"$(echo '", "'; touch HIT; '", None),
        (Shell, "A=\"$(echo x)", "$(y)", Some("\\$(y)")),
        (Shell, "A=\"$(case x in a) echo b;; esac)", "x", None),
        (Shell, "A=$(echo ", "x; y", Some("'x; y'")),
        (Shell, "A=`echo ", "x", None),
        (Shell, "A=\"`echo ", "x", None),
        (Shell, "A=`x`; B=", "a b", Some("'a b'")),
        (Shell, "A=$'", "x", None),
        (Shell, "A=$'it\\'s'; B=", "a b", Some("'a b'")),
        (Shell, "A=$((", "a[$(x)]", None),
        (Shell, "A=\"$((1 + ", "x", None),
        (Shell, "(( ", "x", None),
        (Shell, "A=$(((1) + 2)); B=", "a b", Some("'a b'")),
        (Shell, "A=\"${B:-", "x}", None),
        (Shell, "A=${B:-x}", "a b", Some("'a b'")),
        (Shell, "A=\"$", "(touch HIT)", None),
        (Shell, "A=$", "HOME", None),
        (Shell, "A=\"\\", "\"; touch HIT", None),
        (Shell, "", "PATH=/x", Some("'PATH=/x'")),
        (Shell, "cat <<EOF\n", "$(touch HIT) `x` \\", Some("\\$(touch HIT) \\`x\\` \\\\")),
        (Shell, "cat <<'EOF'\n", "$(x)", Some("$(x)")),
        (Shell, "cat <<EOF\n", "EOF", None),
        (Shell, "cat <<EOF\nE", "OF", None),
        (Shell, "cat <<-EOF\n\t", "EOF", None),
        (Shell, "cat <<EOF\n$(", "x", None),
        (Shell, "cat <<EOF; echo ", "a b", Some("'a b'")),
        (Shell, "cat <<EOF\nit's\nEOF\necho ", "$(x)", Some("'$(x)'")),
        (Shell, "cat <<A <<\\B\nit's\nA\n$", "x", Some("x")),
        (Shell, "cat <<", "EOF", None),
        (Shell, "cat <<< ", "a b", Some("'a b'")),
        (Shell, "# don't\nA=", "$(x)", Some("'$(x)'")),
        (Html, "<a title=\"", "\"><script>", Some("&quot;&gt;&lt;script&gt;")),
        (Text, "", "any\n\"thing'", Some("any\n\"thing'")),
    ] {
        check(format, before, value, wanted);
    }
}

#[test]
fn a_name_tells_the_format() {
    for (path, wanted) in [
        ("/etc/prometheus/prometheus.yml", Format::Yaml),
        ("/etc/x/daemon.json", Format::Json),
        ("/etc/containers/storage.toml", Format::Toml),
        ("/etc/nginx/conf.d/site.conf", Format::Nginx),
        ("/etc/nftables.conf", Format::Nginx),
        ("/etc/caddy/Caddyfile", Format::Nginx),
        ("/etc/default/prometheus", Format::Shell),
        ("/etc/profile.d/50-rave.sh", Format::Shell),
        ("/etc/systemd/system/a.service", Format::Systemd),
        ("/usr/lib/systemd/system/a.timer.d/x.conf", Format::Systemd),
        ("/etc/systemd/journald.conf", Format::Lines),
        ("/usr/share/web/index.html", Format::Html),
        ("/etc/ssh/sshd_config", Format::Lines),
        ("/etc/postgresql/postgresql.conf", Format::Lines),
    ] {
        assert_eq!(Format::of(path), wanted, "{path}");
    }
}

/// Reads the one value of a file back, by the format's own reader.
fn read_back(format: Format, file: &str) -> Option<String> {
    let text = |value: serde_json::Value| value["a"].as_str().map(str::to_owned);
    match format {
        Format::Json => serde_json::from_str(file).ok().and_then(text),
        Format::Yaml => serde_yaml::from_str(file).ok().and_then(text),
        _ => None,
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 512, ..Default::default() })]

    #[test]
    fn any_text_comes_back_as_it_was(value in "[ -~\n\té:#'\"{}\\[\\]]{0,24}") {
        for (format, before, after) in [
            (Format::Json, "{\"b\": 1, \"a\": ", "}"),
            (Format::Json, "{\"a\": \"", "\"}"),
            (Format::Yaml, "b: 1\na: ", "\nc: 2\n"),
            (Format::Yaml, "a: \"", "\" # it's\nc: 2\n"),
            (Format::Yaml, "{b: 1, a: ", "}"),
            (Format::Yaml, "a: '", "'\nc: 2\n"),
        ] {
            let mut cursor = Cursor::new(format);
            cursor.feed(before);
            if let Ok(escaped) = cursor.escape(&value) {
                let file = format!("{before}{escaped}{after}");
                proptest::prop_assert_eq!(read_back(format, &file), Some(value.clone()), "{}", file);
            }
        }
    }

    #[test]
    fn what_is_accepted_in_a_line_stays_in_it(before in "[a-z =\"'#\\\\\n;{}]{0,20}", value in "[ -~\n]{0,12}") {
        for (_, format) in FORMATS {
            let mut cursor = Cursor::new(format);
            cursor.feed(&before);
            if let Ok(escaped) = cursor.escape(&value) {
                let line = [Format::Lines, Format::Nginx, Format::Shell].contains(&format);
                proptest::prop_assert!(!line || !escaped.contains('\n'));
            }
        }
    }
}

/// Runs a script in an empty directory: what it printed, and whether it ran what no module wrote.
fn run(shell: &str, script: &str) -> (String, bool) {
    let directory = tempfile::tempdir().expect("a directory");
    let ran = std::process::Command::new(shell).args(["-c", script]).current_dir(directory.path()).output();
    let printed = String::from_utf8_lossy(&ran.expect("a shell").stdout).into_owned();
    (printed, directory.path().join("HIT").exists())
}

#[test]
fn shells_run_nothing_that_a_value_says() {
    let values = [
        "$(touch HIT)",
        "`touch HIT`",
        "x; touch HIT",
        "x\" ; touch HIT; \"",
        "'; touch HIT; '",
        "\\'; touch HIT #",
        "a[$(touch HIT)]",
        "} $(touch HIT)",
        "(touch HIT)",
        "\\",
        "EOF",
    ];
    // Each with whether it prints the value itself.
    let places = [
        ("printf %s ", "", true),
        ("printf %s \"", "\"", true),
        ("printf %s '", "'", true),
        ("cat <<EOF\n", "\nEOF\n", true),
        ("cat <<'EOF'\n", "\nEOF\n", true),
        ("cat <<-'E' | cat\n\t", "\n\tE\n", true),
        ("# ", "\n", false),
        ("a=$(printf %s ", "); printf %s \"$a\"", true),
        ("a=\"$(echo x)\"; printf %s \"", "\"", true),
        ("echo \"$(echo ", ")\"", false),
        ("echo \"$(echo '", "')\"", false),
        ("echo `echo ", "`", false),
        ("echo \"`echo '", "'`\"", false),
        ("echo $'", "'", false),
        ("echo $(( ", " ))", false),
        ("echo \"${x:-", "}\"", false),
        ("echo \"$", "\"", false),
        ("echo \"\\", "\"", false),
        ("cat <<EOF\n$(echo ", ")\nEOF\n", false),
        ("cat <<EOF\n`echo ", "`\nEOF\n", false),
    ];
    for (before, after, prints) in places {
        for value in values {
            let Ok(escaped) = Cursor::after(Format::Shell, before).escape(value) else { continue };
            for shell in ["sh", "bash"] {
                let script = format!("{before}{escaped}{after}");
                let (printed, hit) = run(shell, &script);
                assert!(!hit, "{shell} ran {script}");
                assert!(!prints || printed.trim_end_matches('\n') == value, "{shell}: {script} gives {printed}");
            }
        }
    }
}
