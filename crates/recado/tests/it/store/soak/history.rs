//! What the history of a message keeps, whatever happened.

use delivery::event::{EventKind, Source};
use delivery::message::Policy;
use delivery::state::State;
use recado::store::MessageView;

/// What the history of every message must keep, whatever happened.
pub(super) fn check(view: &MessageView) {
    let summary = &view.summary;
    assert_eq!(view.attempts.len(), summary.attempts as usize);
    assert_eq!(view.history[0].kind, EventKind::Accepted);
    let mut before = view.history[0].state;
    let (mut doubt, mut must_be_marked) = (false, false);
    for entry in &view.history[1..] {
        match entry.kind {
            EventKind::Reported | EventKind::AttemptSent | EventKind::Settled => {
                assert!(
                    entry.state.is_at_least(before),
                    "{entry:?} moved {before:?} back"
                );
                doubt &= entry.state == State::Unknown;
                must_be_marked &= entry.state == State::Scheduled;
            }
            EventKind::AttemptUnknown => doubt = entry.state == State::Unknown,
            // It may be sent again; what was concluded before counts no more.
            EventKind::AttemptAbsent => (doubt, must_be_marked) = (false, false),
            EventKind::EvidenceWithdrawn => doubt = entry.state == State::Unknown,
            EventKind::RetryDecided if doubt => {
                let allowed =
                    summary.policy == Policy::AtLeastOnce || entry.source == Source::Operator;
                let told: Vec<_> = view.history.iter().map(|e| (e.kind, e.state)).collect();
                assert!(allowed, "{:?} was tried again: {told:?}", summary.policy);
                (doubt, must_be_marked) = (false, true);
            }
            EventKind::AttemptOpened => {
                assert!(
                    matches!(before, State::Accepted | State::Scheduled),
                    "opened from {before:?}"
                );
                assert!(
                    !must_be_marked || summary.possible_duplicate,
                    "sent again in doubt and not marked"
                );
                (doubt, must_be_marked) = (false, false);
            }
            _ => {}
        }
        before = entry.state;
    }
    assert_eq!(summary.state, before);
    assert_eq!(
        summary.due_at.is_some(),
        matches!(before, State::Accepted | State::Scheduled)
    );
}
