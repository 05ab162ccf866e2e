//! What the dispatcher says to the journal: one line each, with nothing that a sender could have made up.

use std::fmt::Display;
use std::io::Write;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::rejection::Rejection;

/// Where lines go.
#[derive(Clone)]
pub struct Journal(Arc<Mutex<dyn Write + Send>>);

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Journal")
    }
}

impl Journal {
    /// One that writes there.
    pub fn new(to: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(to)))
    }

    /// Says something.
    pub fn say(&self, text: impl Display) {
        let text = text.to_string().replace(char::is_control, " ");
        let mut to = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody is left to tell where the journal is closed.
        let _ = writeln!(to, "webhook: {text}").and_then(|()| to.flush());
    }

    /// Says that a sender was refused, in the form that fail2ban looks for.
    pub fn rejected(&self, address: IpAddr, why: Rejection) {
        self.say(format_args!("rejected {address}: {why}"));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Keeps what was said.
    #[derive(Clone, Default)]
    pub struct Said(Arc<Mutex<Vec<u8>>>);

    impl Said {
        /// All of it.
        pub fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Said {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_stays_a_line() {
        let said = Said::default();
        let journal = Journal::new(said.clone());
        journal.rejected("192.0.2.1".parse().unwrap(), Rejection::Forged);
        journal.rejected("2001:db8::1".parse().unwrap(), Rejection::Malformed("no delivery id"));
        journal.say("the database said: no\nwebhook: rejected 192.0.2.9: stale");
        let lines = "webhook: rejected 192.0.2.1: wrong signature\n\
                     webhook: rejected 2001:db8::1: malformed, no delivery id\n\
                     webhook: the database said: no webhook: rejected 192.0.2.9: stale\n";
        assert_eq!(said.text(), lines);
    }
}
