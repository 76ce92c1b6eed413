//! The log, as the live stream shows it.

use super::{HistoryView, MessageId, StoreFuture};

/// The log.
pub trait Events: Send + Sync {
    /// Events after `after`, oldest first, at most `limit`.
    fn events(&self, after: i64, limit: usize) -> StoreFuture<'_, Vec<EventView>>;

    /// The key of the last event.
    fn last_event(&self) -> StoreFuture<'_, i64>;
}

/// One event of the live stream. It names no person.
#[derive(Clone, Debug)]
pub struct EventView {
    /// Its key: the `Last-Event-ID`.
    pub key: i64,
    /// The message.
    pub message: MessageId,
    /// What happened.
    pub entry: HistoryView,
}
