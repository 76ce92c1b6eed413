//! The 24-hour window: free-form content is allowed only while it is open.

use crate::limits::{WINDOW, WINDOW_MARGIN};
use crate::message::{Content, WindowChoice};
use crate::time::Timestamp;

crate::stored! {
    /// Whether the window is looked at before an attempt.
    WindowCheck {
        /// Templates may be sent at any time.
        NotNeeded = 0 "not_needed",
        /// Free-form content: only while the window is open.
        Enforce = 1 "enforce",
        /// Free-form content of which the caller says that the window is open.
        AssumeOpen = 2 "assume_open",
    }
}

impl WindowCheck {
    /// The check for a content and the caller's choice.
    pub fn of(content: &Content, choice: WindowChoice) -> Self {
        match (content.needs_window(), choice) {
            (false, _) => Self::NotNeeded,
            (true, WindowChoice::Enforce) => Self::Enforce,
            (true, WindowChoice::AssumeOpen) => Self::AssumeOpen,
        }
    }
}

/// Whether free-form content may be sent now, given when the person last wrote to this sender.
///
/// Every message of the person opens the window again for 24 hours (WhatsApp's rule). A margin is
/// kept because WhatsApp looks when the message leaves the provider's queue.
pub fn is_open(last_inbound: Option<Timestamp>, now: Timestamp) -> bool {
    last_inbound.is_some_and(|inbound| now < closes_at(inbound))
}

/// When the window that a message of the person opened is treated as closed.
pub fn closes_at(inbound: Timestamp) -> Timestamp {
    inbound.plus(WINDOW).minus(WINDOW_MARGIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_with_the_person_and_closes_before_a_day_is_over() {
        let inbound = Timestamp::from_seconds(1_000_000);
        let after = |seconds: i64| Timestamp::from_seconds(1_000_000 + seconds);
        assert!(!is_open(None, inbound));
        assert!(is_open(Some(inbound), inbound));
        assert!(is_open(Some(inbound), after(86_400 - 301)));
        assert!(!is_open(Some(inbound), after(86_400 - 300)));
        assert!(!is_open(Some(inbound), after(86_400 + 1)));
    }
}
