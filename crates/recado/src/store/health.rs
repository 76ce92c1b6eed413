//! The health of the store: the recount, sizes and depths.

use std::time::Duration;

use delivery::state::State;
use delivery::time::Timestamp;

use super::{StoreError, StoreFuture};

/// The health of the store.
pub trait Health: Send + Sync {
    /// Recounts everything from the log and compares.
    fn verify(&self) -> StoreFuture<'_, VerifyReport>;

    /// Sizes and depths for the metrics page.
    fn gauges(&self, now: Timestamp) -> StoreFuture<'_, Gauges>;

    /// Whether a commit goes through now: makes one that changes nothing.
    fn probe(&self) -> StoreFuture<'_, ()>;

    /// Whether the last commits went through. Asking makes none.
    ///
    /// # Errors
    /// Why they did not.
    fn writable(&self) -> Result<(), StoreError>;
}

/// What a recount found.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    /// Messages looked at.
    pub messages: u64,
    /// Events looked at.
    pub events: u64,
    /// Counters compared.
    pub counters: u64,
    /// Groups of counters that were not compared, because old messages of theirs were being removed
    /// meanwhile.
    pub skipped: u64,
    /// Everything that differs, in words.
    pub differences: Vec<String>,
}

/// Sizes and depths.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    /// Messages by state.
    pub states: Vec<(State, u64)>,
    /// Messages waiting in the queue.
    pub queued: u64,
    /// Due time of the oldest due message.
    pub oldest_due_at: Option<Timestamp>,
    /// Attempts open.
    pub open_attempts: u64,
    /// Attempts whose outcome is unknown and still looked for.
    pub unknown_watched: u64,
    /// Those of them for which the time is over within which evidence usually comes, however often
    /// they were looked for; counted among the 10,000 whose look is due first.
    pub unknown_overdue: u64,
    /// Those of them that have been looked for longer than any look goes on that succeeds: their looks
    /// fail, or their rows cannot be read. Their messages are kept.
    pub unknown_endless: u64,
    /// The largest lag of the provider's list within a day; `None` when none was measured.
    pub list_lag: Option<Duration>,
    /// Reports of messages that nobody knows.
    pub parked: u64,
    /// Bytes of the database file.
    pub database_bytes: u64,
    /// Errors by code since the beginning.
    pub errors: Vec<(i64, u64)>,
    /// Anomalies since the beginning.
    pub anomalies: u64,
}
