//! Where SSH leads to.

/// The port of SSH (RFC 4253, 4.1).
const PORT: u16 = 22;

/// User, host and port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Who logs in.
    pub user: String,
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Place {
    /// Reads `[ssh://][USER@]HOST[:PORT]`; `default` is who logs in where nobody is named. The error says what is wrong.
    pub fn parse(text: &str, default: Option<&str>) -> std::result::Result<Self, String> {
        let text = text.strip_prefix("ssh://").unwrap_or(text);
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) => (user, rest),
            None => (default.ok_or("its image lets no user in, so that one has to be named: USER@HOST")?, text),
        };
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':').or(port.is_empty().then_some(""))),
            // More than one colon is an address of IPv6 by itself.
            None if rest.matches(':').count() == 1 => rest.split_once(':').map_or((rest, None), |(h, p)| (h, Some(p))),
            None => (rest, Some("")),
        };
        let port = match port {
            Some("") if !rest.ends_with(':') => PORT,
            port => port.and_then(|port| port.parse().ok()).filter(|port| *port > 0).ok_or("the port is no number")?,
        };
        let is_name = |text: &str, more: &str| {
            text.starts_with(|c: char| c.is_ascii_alphanumeric() || "_:".contains(c))
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c) || more.contains(c))
        };
        if !is_name(user, "") || !is_name(host, ":%") {
            return Err("it is not USER@HOST or USER@HOST:PORT".to_owned());
        }
        Ok(Self { user: user.to_owned(), host: host.to_owned(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_user_host_and_port() {
        let place = |text: &str| Place::parse(text, Some("agent")).map(|p| format!("{} {} {}", p.user, p.host, p.port));
        for (text, told) in [
            ("ops@web.example.org", "ops web.example.org 22"),
            ("ops@10.0.0.5:2222", "ops 10.0.0.5 2222"),
            ("ssh://ops@web:22", "ops web 22"),
            ("web", "agent web 22"),
            ("ops@[fe80::1%eth0]:2222", "ops fe80::1%eth0 2222"),
            ("ops@::1", "ops ::1 22"),
            ("ops@[::1]", "ops ::1 22"),
        ] {
            assert_eq!(place(text).as_deref(), Ok(told), "{text}");
        }
        for text in [
            "",
            "@web",
            "ops@",
            "-oProxyCommand=x",
            "ops@-x",
            "o ps@web",
            "ops@web:",
            "ops@web:0",
            "ops@web:x",
            "ops@a b",
            "ops@[::1]x",
        ] {
            assert!(place(text).is_err(), "{text}");
        }
        assert!(Place::parse("web", None).is_err());
    }
}
