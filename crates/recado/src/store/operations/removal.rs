//! Removing old messages: what is asked of the rows.

use delivery::row::MessageRow;
use delivery::state::State;
use delivery::time::Timestamp;

use super::columns::CounterKey;
use super::halting::{Halting, Read};

/// Which old messages are to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Removal {
    /// Those to which nothing has happened since.
    pub(crate) before: Timestamp,
    /// Now.
    pub(crate) now: Timestamp,
    /// Messages after this one.
    pub(crate) after: MessageRow,
    /// Inbound messages after this one.
    pub(crate) after_inbound: i64,
    /// At most so many are looked at, and as many inbound messages.
    pub(crate) limit: usize,
}

/// Old messages that nobody waits for any more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Removable {
    /// Our messages.
    pub(crate) messages: Vec<RemovableMessage>,
    /// Rows of inbound messages.
    pub(crate) inbound: Vec<i64>,
    /// The last message that was looked at, when there are more.
    pub(crate) next: Option<MessageRow>,
    /// The last inbound message that was looked at, when there are more.
    pub(crate) next_inbound: Option<i64>,
    /// The provider is still to be asked about messages of that time.
    pub(crate) waits: bool,
}

/// Whether a walk in the order of acceptance is at its end: a whole step of rows that are too young.
/// A single one may have come while the clock was wrong.
#[derive(Default)]
pub(crate) struct Ages {
    rows: usize,
    old: usize,
    young: usize,
}

impl Ages {
    /// Counts a row; whether it is old enough.
    pub(crate) fn is_old(&mut self, removal: &Removal, at: Timestamp) -> bool {
        self.rows += 1;
        let is_old = at < removal.before;
        self.old += usize::from(is_old);
        self.young += usize::from(!is_old && at <= removal.now);
        is_old
    }

    /// Whether nothing old comes any more.
    pub(crate) fn are_over(&self, removal: &Removal) -> bool {
        self.rows < removal.limit || (self.old == 0 && self.young > 0)
    }
}

/// An old message, and what was counted for it.
#[derive(Clone, Debug)]
pub(crate) struct RemovableMessage {
    /// The message.
    pub(crate) message: MessageRow,
    /// Where it rests.
    pub(crate) state: State,
    /// Its last event.
    pub(crate) last_event: i64,
    /// What its log counts.
    pub(crate) counts: Vec<(CounterKey, i64)>,
}

/// What belongs to messages that are old, in every table.
pub(crate) trait RetentionRows: Halting {
    /// The next messages that may be removed.
    fn removable(&mut self, removal: &Removal) -> Read<Self, Removable>;

    /// Removes them with their attempts, events, reports and business keys, and moves what was
    /// counted for them into the baseline.
    fn remove(&mut self, removable: &Removable) -> Read<Self, ()>;
}
