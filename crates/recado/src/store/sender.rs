//! Our senders.

use delivery::progress::PauseSource;
use delivery::row::SenderRow;
use delivery::time::Timestamp;

use super::StoreFuture;

/// Our senders.
pub trait Senders: Send + Sync {
    /// Every sender with its queue and pause.
    fn senders(&self) -> StoreFuture<'_, Vec<SenderView>>;

    /// Pauses or resumes a sender. `false` when there is none of that name.
    fn pause_sender(&self, name: String, paused: bool, now: Timestamp) -> StoreFuture<'_, bool>;
}

/// One of our senders.
#[derive(Clone, Debug)]
pub struct SenderView {
    /// Its row.
    pub row: SenderRow,
    /// `+E164` or `MG…`.
    pub name: String,
    /// Whether the configuration still names it.
    pub configured: bool,
    /// Since when it is paused.
    pub paused_at: Option<Timestamp>,
    /// `operator`, or the provider's code that paused it.
    pub pause_reason: Option<String>,
    /// Who has paused it.
    pub pause_source: Option<PauseSource>,
    /// Messages waiting.
    pub queued: u64,
    /// Attempts open.
    pub open: u64,
}
