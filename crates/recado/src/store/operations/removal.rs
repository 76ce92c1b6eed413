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
    /// Those after this one.
    pub(crate) after: MessageRow,
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
