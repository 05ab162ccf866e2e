//! Looks that are made again where that can help.

use std::time::Duration;

/// What is measured regularly is there some time after a start, later on a busy host: how often it is looked at again, and
/// after which time.
const MEASURED: &str = "monitoring.";
const AGAIN: u32 = 2;
const SETTLE: Duration = Duration::from_secs(60);

/// The troubles that `look` finds, when they have had time to pass; `pause` waits.
///
/// # Errors
/// A look that failed.
pub fn settled<E>(
    mut look: impl FnMut() -> Result<Vec<String>, E>,
    mut pause: impl FnMut(Duration),
) -> Result<Vec<String>, E> {
    let mut again = AGAIN;
    loop {
        let troubles = look()?;
        let may_pass = !troubles.is_empty() && troubles.iter().all(|trouble| trouble.starts_with(MEASURED));
        if again == 0 || !may_pass {
            return Ok(troubles);
        }
        again -= 1;
        pause(SETTLE);
    }
}
