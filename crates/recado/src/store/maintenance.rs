//! What is done by time alone.

use std::time::Duration;

use delivery::row::{CohortRow, MessageRow};
use delivery::time::Timestamp;

use super::StoreFuture;

/// What is done by time alone.
pub trait Maintenance: Send + Sync {
    /// Expired messages, unanswered questions, old parked reports and keys.
    fn maintain(&self, now: Timestamp) -> StoreFuture<'_, MaintenanceResult>;

    /// The same by a clock that may be wrong: nothing is removed, and no question is closed.
    fn maintain_in_doubt(&self, now: Timestamp) -> StoreFuture<'_, MaintenanceResult>;

    /// Writes what is known of the clock, for the next start.
    fn note_clock(&self, note: ClockNote) -> StoreFuture<'_, ()>;

    /// What was noted last; `None` when nothing ever was.
    fn noted_clock(&self) -> StoreFuture<'_, Option<ClockNote>>;

    /// Removes messages to which nothing has happened for a while, in one small step. What waits for
    /// something stays, and so does the newest message, so that no key is given twice.
    fn retain(&self, query: RetentionQuery) -> StoreFuture<'_, RetentionResult>;

    /// Forgets counters that are zero, of messages that were accepted before a time, in one small
    /// step. What is counted stays the same.
    fn forget_zero_counts(&self, query: ZeroCountQuery) -> StoreFuture<'_, ZeroCountResult>;

    /// Makes a commit that changes nothing, but only when it takes one to know whether commits go
    /// through: after a failure, or when there was none for a while.
    fn probe_when_idle(&self) -> StoreFuture<'_, ()>;

    /// The latest time among the newest events; `None` when there are none.
    fn newest_event_at(&self) -> StoreFuture<'_, Option<Timestamp>>;

    /// Moves times of waiting messages, of watches and of holds along with a clock that was set back:
    /// some of them, in one commit. What callers chose stays.
    fn follow_clock(&self, step: ClockStep) -> StoreFuture<'_, ClockStepResult>;
}

/// What is known of the clock at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockNote {
    /// That moment, by the clock.
    pub at: Timestamp,
    /// Since when it has been right, while it is doubted; `None` when it is trusted.
    pub right_since: Option<Timestamp>,
}

/// The clock was set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockStep {
    /// Now, by the clock as it is set now.
    pub now: Timestamp,
    /// By how much it was set back.
    pub by: Duration,
    /// Where the work goes on; the default begins it.
    pub from: ClockStepCursor,
}

/// How far the work is: keys of the last queue row, the last watch and the last hold that were
/// looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockStepCursor {
    pub(crate) queue: [i64; 4],
    pub(crate) watch: [i64; 2],
    pub(crate) hold: i64,
}

/// What one commit did of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockStepResult {
    /// Messages, watches and holds moved.
    pub moved: u64,
    /// Where it goes on; `None` when it is done.
    pub next: Option<ClockStepCursor>,
}

/// Which old messages to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionQuery {
    /// Those to which nothing has happened since.
    pub before: Timestamp,
    /// Now: what is younger was stored by a clock that was ahead, and says nothing about what
    /// comes after it.
    pub now: Timestamp,
    /// Those after these; the default begins.
    pub after: RetentionCursor,
}

/// How far a walk over old messages is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionCursor {
    /// The last message that was looked at.
    pub message: MessageRow,
    /// The key of the last inbound message that was looked at.
    pub inbound: i64,
}

impl Default for RetentionCursor {
    fn default() -> Self {
        Self {
            message: MessageRow(0),
            inbound: 0,
        }
    }
}

/// What a step of removing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionResult {
    /// Messages removed.
    pub messages: u64,
    /// Inbound messages removed.
    pub inbound: u64,
    /// Where the next step goes on; `None` at the end of the walk.
    pub next: Option<RetentionCursor>,
    /// Our messages stay for now, because the provider is still to be asked about some of their time.
    pub waits: bool,
}

/// Which counters to forget when they are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZeroCountQuery {
    /// Those of messages that were accepted in an hour before this one.
    pub before: Timestamp,
    /// Now: what is younger was counted by a clock that was ahead, and says nothing about what comes
    /// after it.
    pub now: Timestamp,
    /// Those of the cohorts after this one; 0 begins.
    pub after: CohortRow,
}

/// How far a walk over counters is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZeroCountResult {
    /// The last cohort that was looked at; `None` at the end of the walk.
    pub next: Option<CohortRow>,
    /// The last cohort before the first one of this step that was too young.
    pub young_after: Option<CohortRow>,
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
