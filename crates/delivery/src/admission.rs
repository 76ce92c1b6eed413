//! Whether and how a message is accepted.

use crate::row::{PersonRow, SenderRow};
use crate::state::State;
use crate::time::Timestamp;

/// The state of a message that has just been accepted.
pub fn first_state(send_at: Option<Timestamp>, accepted_at: Timestamp) -> State {
    if send_at.is_some_and(|at| at > accepted_at) {
        State::Scheduled
    } else {
        State::Accepted
    }
}

/// Whether a message in this state stands in the way of another with the same content. What the
/// person did not get does not.
pub fn counts_as_duplicate(state: State) -> bool {
    match state {
        State::Canceled
        | State::Suppressed
        | State::Expired
        | State::Failed
        | State::Undelivered => false,
        State::Accepted
        | State::Scheduled
        | State::Sending
        | State::Unknown
        | State::Held
        | State::Queued
        | State::Sent
        | State::Delivered
        | State::Read => true,
    }
}

/// Whether a message about a subject comes too late: one of this or a newer version was accepted.
/// Messages without a version always replace each other.
pub fn is_superseded(newest: Option<u64>, version: Option<u64>) -> bool {
    matches!((newest, version), (Some(newest), Some(version)) if version <= newest)
}

/// One of our senders, always the same for one person.
pub fn sender_for(person: PersonRow, senders: &[SenderRow]) -> Option<SenderRow> {
    let turn = usize::try_from(person.0).unwrap_or_default();
    let place = turn.checked_rem(senders.len())?;
    senders.get(place).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_for_later_is_scheduled() {
        let now = Timestamp::from_seconds(1_000);
        let at = |seconds| Some(Timestamp::from_seconds(seconds));
        assert_eq!(first_state(None, now), State::Accepted);
        assert_eq!(first_state(at(999), now), State::Accepted);
        assert_eq!(first_state(at(1_000), now), State::Accepted);
        assert_eq!(first_state(at(1_001), now), State::Scheduled);
    }

    #[test]
    fn an_older_or_equal_version_comes_too_late() {
        for (newest, version, late) in [
            (None, None, false),
            (None, Some(1), false),
            (Some(1), None, false),
            (Some(1), Some(2), false),
            (Some(2), Some(2), true),
            (Some(3), Some(2), true),
        ] {
            assert_eq!(
                is_superseded(newest, version),
                late,
                "{newest:?} {version:?}"
            );
        }
    }

    #[test]
    fn a_person_keeps_their_sender_and_people_are_spread_over_all() {
        let senders = [SenderRow(7), SenderRow(8)];
        assert_eq!(sender_for(PersonRow(1), &senders), Some(SenderRow(8)));
        assert_eq!(sender_for(PersonRow(2), &senders), Some(SenderRow(7)));
        assert_eq!(sender_for(PersonRow(3), &senders), Some(SenderRow(8)));
        assert_eq!(sender_for(PersonRow(1), &[]), None);
    }
}
