//! Persons to whom a request is open: each gets one at a time, and what waits for its turn comes back
//! when the request has ended, instead of asking again and again.

use std::collections::HashMap;
use std::time::Duration;

use delivery::row::{MessageRow, PersonRow};
use delivery::time::Timestamp;

use crate::store::DueMessage;

/// How long a message is put off while a request of this lane to its person is open. It returns
/// with the end of the request; this is for the case that the process ends first.
const OWN_WAIT: Duration = Duration::from_secs(10);
/// First and longest wait while somebody else has one open.
const OTHERS_WAIT_FIRST: Duration = Duration::from_millis(20);
const OTHERS_WAIT_MAX: Duration = Duration::from_secs(5);
/// Messages of one person that are remembered; more come back by time alone.
const WAITING_MAX: usize = 64;
/// Persons that somebody else is busy with; when there are more, all begin with the first wait
/// again.
const OTHERS_MAX: usize = 4_096;

/// Persons with an open request, and what waits for its end.
#[derive(Default)]
pub(super) struct BusyPersons {
    own: HashMap<PersonRow, Own>,
    others: HashMap<PersonRow, Duration>,
    free: Vec<(MessageRow, Timestamp)>,
}

#[derive(Default)]
struct Own {
    open: bool,
    waiting: Vec<(MessageRow, Timestamp)>,
}

impl BusyPersons {
    /// Whether a request of this lane to the person is open.
    pub(super) fn is_open(&self, person: PersonRow) -> bool {
        self.own.get(&person).is_some_and(|own| own.open)
    }

    /// A request to the person begins.
    pub(super) fn opened(&mut self, person: PersonRow) {
        self.own.entry(person).or_default().open = true;
        self.others.remove(&person);
    }

    /// Remembers a message that waits until nothing is open to its person. Returns for how long it is
    /// put off at most.
    pub(super) fn keep(&mut self, message: &DueMessage) -> Duration {
        let own = self.own.entry(message.person).or_default();
        let known = own
            .waiting
            .iter()
            .any(|(waiting, _)| *waiting == message.message);
        if !known && own.waiting.len() < WAITING_MAX {
            own.waiting.push((message.message, message.due_at));
        }
        OWN_WAIT
    }

    /// The request to the person has ended.
    pub(super) fn ended(&mut self, person: PersonRow) {
        if let Some(own) = self.own.remove(&person) {
            self.free.extend(own.waiting);
        }
    }

    /// Messages whose turn has come, with the due times that they had, each once.
    pub(super) fn take_free(&mut self) -> Vec<(MessageRow, Timestamp)> {
        // The message before them may never have left: then nothing is open to wait for.
        self.own.retain(|_, own| {
            if !own.open {
                self.free.append(&mut own.waiting);
            }
            own.open
        });
        std::mem::take(&mut self.free)
    }

    /// How long to wait because somebody else has a request to the person open; longer each time.
    pub(super) fn wait(&mut self, person: PersonRow) -> Duration {
        if self.others.len() >= OTHERS_MAX {
            self.others.clear();
        }
        let next = self.others.entry(person).or_insert(OTHERS_WAIT_FIRST);
        let wait = *next;
        *next = wait.saturating_mul(2).min(OTHERS_WAIT_MAX);
        wait
    }
}

#[cfg(test)]
mod tests {
    use delivery::message::Priority;

    use super::*;

    const MARIA: PersonRow = PersonRow(1);

    fn message(row: i64) -> DueMessage {
        DueMessage {
            message: MessageRow(row),
            person: MARIA,
            priority: Priority::Normal,
            due_at: Timestamp::from_seconds(row),
        }
    }

    fn rows(free: &[(MessageRow, Timestamp)]) -> Vec<i64> {
        free.iter().map(|(row, _)| row.0).collect()
    }

    #[test]
    fn what_waits_comes_back_once_with_the_end_of_the_request() {
        let mut busy = BusyPersons::default();
        busy.opened(MARIA);
        for row in [2, 3, 2] {
            busy.keep(&message(row));
        }
        assert!(busy.take_free().is_empty(), "the request is still open");
        assert!(busy.is_open(MARIA));
        busy.ended(MARIA);
        let free = busy.take_free();
        assert_eq!(rows(&free), [2, 3]);
        assert_eq!(free[0].1, message(2).due_at);
        assert!(!busy.is_open(MARIA) && busy.take_free().is_empty());
    }

    #[test]
    fn what_waits_for_a_message_that_never_left_comes_back_too() {
        let mut busy = BusyPersons::default();
        busy.keep(&message(2));
        assert_eq!(rows(&busy.take_free()), [2]);
    }

    #[test]
    fn the_waits_for_others_grow_and_begin_again_after_a_request() {
        let mut busy = BusyPersons::default();
        let waits: Vec<_> = (0..12).map(|_| busy.wait(MARIA)).collect();
        assert_eq!(waits[..3], [20, 40, 80].map(Duration::from_millis));
        assert_eq!(waits[11], OTHERS_WAIT_MAX);
        busy.opened(MARIA);
        assert_eq!(busy.wait(MARIA), OTHERS_WAIT_FIRST);
    }
}
