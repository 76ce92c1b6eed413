//! A database that was restored, copied or moved: it sends nothing before the operator has looked.

use delivery::time::Timestamp;

use super::StoreFuture;

/// The reason of a pause of all senders because the database was restored, copied or moved.
pub const PAUSED_AS_RESTORED: &str = "restored";

/// A database that was restored, copied or moved.
pub trait Restores: Send + Sync {
    /// Why it waits for the operator, when it does.
    fn waiting_since_restore(&self) -> StoreFuture<'_, Option<RestoreView>>;

    /// Lets it send again; returns how many senders were resumed. What waited before the restore is
    /// looked for at the provider before it leaves, unless the database was only moved.
    fn resume_after(&self, after: ResumeAfter, now: Timestamp) -> StoreFuture<'_, usize>;
}

/// Why a database waits for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreView {
    /// Since when.
    pub at: Timestamp,
    /// How it was recognized, in words.
    pub reason: String,
}

/// What the operator says has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResumeAfter {
    /// It was restored or copied: what waited in it may have left from elsewhere since.
    Restore,
    /// It was moved: nothing was sent from elsewhere.
    Move,
}

impl ResumeAfter {
    /// Both.
    pub const ALL: &'static [Self] = &[Self::Restore, Self::Move];

    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restore => "restore",
            Self::Move => "move",
        }
    }
}
