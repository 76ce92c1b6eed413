//! What is done by time alone.

use delivery::time::Timestamp;

use super::StoreFuture;

/// What is done by time alone.
pub trait Maintenance: Send + Sync {
    /// Expired messages, unanswered questions, old parked reports and keys.
    fn maintain(&self, now: Timestamp) -> StoreFuture<'_, MaintenanceResult>;

    /// Makes a commit that changes nothing, but only when it takes one to know whether commits go
    /// through: after a failure, or when there was none for a while.
    fn probe_when_idle(&self) -> StoreFuture<'_, ()>;
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaintenanceResult {
    /// Messages whose deadline passed.
    pub expired: u64,
    /// Unanswered questions that became opt-outs.
    pub opted_out: u64,
    /// Old rows removed.
    pub pruned: u64,
    /// Whether there is more to do at once.
    pub more: bool,
}
