//! Holds: who waits because of what the provider said about somebody's message.

use delivery::address::Address;
use delivery::hold::HoldScope;
use delivery::message::Kind;
use delivery::row::HoldRow;
use delivery::time::Timestamp;

use super::{MessageId, StoreFuture};

/// Holds.
pub trait Holds: Send + Sync {
    /// Holds that are in effect, newest first.
    fn holds(&self, filter: HoldFilter) -> StoreFuture<'_, HoldPage>;

    /// Lifts a hold: what waits for it is due again. `false` when none of that row is in effect.
    fn lift_hold(&self, hold: HoldRow, now: Timestamp) -> StoreFuture<'_, bool>;

    /// How many holds of each scope are in effect, up to [`HOLDS_COUNTED_MAX`] of each.
    fn hold_counts(&self, now: Timestamp) -> StoreFuture<'_, Vec<(HoldScope, u64)>>;
}

/// How far holds are counted: a campaign may hold each of its people, and a count is asked for often.
pub const HOLDS_COUNTED_MAX: u64 = 10_000;

/// Which holds to list.
#[derive(Clone, Copy, Debug)]
pub struct HoldFilter {
    /// Now: what has ended is not listed.
    pub now: Timestamp,
    /// Only of this scope.
    pub scope: Option<HoldScope>,
    /// Only those with a smaller row: where the page before ended.
    pub before: Option<i64>,
    /// At most this many.
    pub limit: usize,
}

/// A page of holds, newest first.
#[derive(Clone, Debug, Default)]
pub struct HoldPage {
    /// The holds.
    pub holds: Vec<HoldView>,
    /// Where the next page starts, if there is one.
    pub next: Option<i64>,
}

/// A hold that is in effect.
#[derive(Clone, Debug)]
pub struct HoldView {
    /// Its row.
    pub row: HoldRow,
    /// What is held.
    pub scope: HoldScope,
    /// The only kind of message that is held; `None` for all.
    pub kind: Option<Kind>,
    /// The sender's name, when it is held.
    pub sender: Option<String>,
    /// The template's ContentSid, when it is held.
    pub template: Option<String>,
    /// The person's canonical address, when they are held and were not erased.
    pub recipient: Option<Address>,
    /// The provider's code.
    pub code: Option<u32>,
    /// When it began.
    pub since: Timestamp,
    /// When it ends by itself; `None` when it must be lifted.
    pub until: Option<Timestamp>,
    /// How many holds of the same came just before it.
    pub step: u32,
    /// The message that met the code.
    pub message: Option<MessageId>,
}
