use super::*;

/// The examples of systemd.time(7), and forms that it does not show.
#[test]
fn expressions_take_the_form_that_systemd_prints() {
    for (text, wanted) in [
        ("Sat,Thu,Mon..Wed,Sat..Sun", "Mon..Thu,Sat,Sun *-*-* 00:00:00"),
        ("Mon,Sun 12-*-* 2,1:23", "Mon,Sun 2012-*-* 01,02:23:00"),
        ("Wed *-1", "Wed *-*-01 00:00:00"),
        ("Wed..Wed,Wed *-1", "Wed *-*-01 00:00:00"),
        ("Wed, 17:48", "Wed *-*-* 17:48:00"),
        ("Wed..Sat,Tue 12-10-15 1:2:3", "Tue..Sat 2012-10-15 01:02:03"),
        ("*-*-7 0:0:0", "*-*-07 00:00:00"),
        ("10-15", "*-10-15 00:00:00"),
        ("monday *-12-* 17:00", "Mon *-12-* 17:00:00"),
        ("Mon,Fri *-*-3,1,2 *:30:45", "Mon,Fri *-*-01,02,03 *:30:45"),
        ("12,14,13,12:20,10,30", "*-*-* 12,13,14:10,20,30:00"),
        ("12..14:10,20,30", "*-*-* 12..14:10,20,30:00"),
        ("mon,fri *-1/2-1,3 *:30:45", "Mon,Fri *-01/2-01,03 *:30:45"),
        ("03-05 08:05:40", "*-03-05 08:05:40"),
        ("08:05:40", "*-*-* 08:05:40"),
        ("05:40", "*-*-* 05:40:00"),
        ("Sat,Sun 12-05 08:05:40", "Sat,Sun *-12-05 08:05:40"),
        ("Sat,Sun 08:05:40", "Sat,Sun *-*-* 08:05:40"),
        ("2003-03-05 05:40", "2003-03-05 05:40:00"),
        ("05:40:23.4200004/3.1700005", "*-*-* 05:40:23.420000/3.170001"),
        ("2003-02..04-05", "2003-02..04-05 00:00:00"),
        ("2003-03-05 05:40 UTC", "2003-03-05 05:40:00 UTC"),
        ("2003-03-05", "2003-03-05 00:00:00"),
        ("hourly", "*-*-* *:00:00"),
        ("Daily UTC", "*-*-* 00:00:00 UTC"),
        ("weekly Pacific/Auckland", "Mon *-*-* 00:00:00 Pacific/Auckland"),
        ("annually", "*-01-01 00:00:00"),
        ("*:2/3", "*-*-* *:02/3:00"),
        ("*-02~03", "*-02~03 00:00:00"),
        ("Mon *-05~07/1", "Mon *-05~07/1 00:00:00"),
        ("*:0/15:*", "*-*-* *:00/15:*"),
        ("1..20/7:00", "*-*-* 01..15/7:00:00"),
        ("Mon..Sun 5:00", "*-*-* 05:00:00"),
    ] {
        assert_eq!(canonical(text), Ok(wanted.to_owned()), "{text}");
        assert_eq!(canonical(wanted), Ok(wanted.to_owned()), "{wanted} is canonical");
    }
}

#[test]
fn cron_becomes_a_calendar_expression() {
    for (text, wanted) in [
        ("30 3 * * *", "*-*-* 03:30:00"),
        ("*/5 * * * *", "*-*-* *:00/5:00"),
        ("0 9-17/2 * * 1-5", "Mon..Fri *-*-* 09..17/2:00:00"),
        ("0 0 1,15 * *", "*-*-01,15 00:00:00"),
        ("0 0 * JAN,jul sun", "Sun *-01,07-* 00:00:00"),
        ("15 2 * * 0,7", "Sun *-*-* 02:15:00"),
        ("0 0 * * */2", "Tue,Thu,Sat,Sun *-*-* 00:00:00"),
        ("0 0 * * 5-7", "Fri..Sun *-*-* 00:00:00"),
        ("*/1 */1 */1 * *", "*-*-* *:*:00"),
        ("@daily", "*-*-* 00:00:00"),
        ("@weekly", "Sun *-*-* 00:00:00"),
    ] {
        assert_eq!(canonical(text), Ok(wanted.to_owned()), "{text}");
    }
}

#[test]
fn what_is_neither_is_refused_with_a_remedy() {
    for (text, help) in [
        ("@reboot", Some("OnBootSec=")),
        ("0 0 1 * 1", Some("two calendar expressions")),
        ("*:*/15", Some("*:00/15")),
        ("3", Some("03:00")),
        ("25:00", None),
        ("12:60", None),
        ("*-13-01", None),
        ("*-02~29", None),
        ("Sat..Mon", None),
        ("Someday", None),
        ("10..5:00", None),
        ("5:0/0", None),
        ("60 * * * *", None),
        ("* * * *", None),
        ("", None),
        ("daily daily", None),
        ("12:00 Mon", None),
        ("99999999999999999999:00", None),
        ("0:0:99999999999999999999", None),
    ] {
        let refusal = canonical(text).expect_err(text);
        match help {
            Some(help) => assert!(refusal.as_ref().is_some_and(|text| text.contains(help)), "{text}: {refusal:?}"),
            None => assert_eq!(refusal, None, "{text}"),
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic_and_canonical_stays(text in "[A-Za-z0-9*,./:~@ -]{0,40}") {
        if let Ok(once) = canonical(&text) {
            proptest::prop_assert_eq!(canonical(&once), Ok(once.clone()));
        }
    }
}
