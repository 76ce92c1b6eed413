//! The rows of an account itself: its senders, keys and URLs.

use delivery::message::SenderName;
use delivery::progress::PauseSource;
use delivery::row::{PersonRow, SenderRow};
use delivery::time::Timestamp;

use super::columns::Pausing;
use super::halting::{Halting, Read};
use crate::store::{ClockNote, NewApiKey, ResumeAfter};

/// The table `sender`.
pub(crate) trait SenderRows: Halting {
    /// The row of a configured sender.
    fn sender(&mut self, name: &SenderName) -> Read<Self, Option<SenderRow>>;

    /// Every configured sender, oldest first.
    fn configured_senders(&mut self) -> Read<Self, Vec<SenderRow>>;

    /// The configured sender that a person wrote to last.
    fn last_addressed(&mut self, person: PersonRow) -> Read<Self, Option<SenderRow>>;

    /// Whether a sender is paused.
    fn is_paused(&mut self, sender: SenderRow) -> Read<Self, bool>;

    /// Pauses a sender, or all of them, unless they are paused; returns how many were not. A pause
    /// that ends with a restart becomes one that does not, when this one does not.
    fn pause(
        &mut self,
        whom: Pausing,
        reason: &str,
        source: PauseSource,
        now: Timestamp,
    ) -> Read<Self, usize>;

    /// Resumes the senders that are paused for this reason; returns how many.
    fn resume_because(&mut self, reason: &str) -> Read<Self, usize>;

    /// Pauses or resumes a sender by the operator's word. `false` when there is none.
    fn set_paused(&mut self, name: &str, paused: bool, now: Timestamp) -> Read<Self, bool>;
}

/// The table `callback_url`.
pub(crate) trait CallbackUrlRows: Halting {
    /// Every URL, and since when it is not in use any more.
    fn callback_urls(&mut self) -> Read<Self, Vec<(String, Option<Timestamp>)>>;

    /// Writes a URL, in use or replaced.
    fn set_callback_url(&mut self, url: &str, replaced_at: Option<Timestamp>) -> Read<Self, ()>;

    /// Forgets a URL.
    fn delete_callback_url(&mut self, url: &str) -> Read<Self, ()>;
}

/// The table `account`.
pub(crate) trait AccountRows: Halting {
    /// Writes that the operator lets a restored database send again, and after what.
    fn end_restore(&mut self, after: ResumeAfter, now: Timestamp) -> Read<Self, ()>;

    /// Writes what is known of the clock.
    fn note_clock(&mut self, note: ClockNote) -> Read<Self, ()>;
}

/// The table `api_key`.
pub(crate) trait ApiKeyRows: Halting {
    /// Inserts a key.
    fn insert_api_key(&mut self, key: &NewApiKey) -> Read<Self, ()>;

    /// Revokes a key. `false` when there is none of that id.
    fn revoke_api_key(&mut self, id: &str, now: Timestamp) -> Read<Self, bool>;
}

/// What shows whether a commit goes through.
pub(crate) trait HealthRows: Halting {
    /// Changes something that means nothing.
    fn probe(&mut self) -> Read<Self, ()>;
}
