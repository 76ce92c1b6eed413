//! What it means that the list cannot be read: whether messages may be sent all the same, when it is tried
//! again, and when that is said.

use std::time::Duration;

use crate::provider::ProviderError;
use crate::store::StoreError;

/// How long until a reading that failed is tried again; doubled up to the longest.
const FAILURE_WAIT: Duration = Duration::from_secs(2);
const FAILURE_WAIT_MAX: Duration = Duration::from_secs(60);
/// Readings in a row that end with an answer that nobody can read, before messages may be sent all the
/// same: a quarter of an hour. It is told from the first one on.
pub(super) const GARBAGE_MAX: u32 = 20;
/// How long until what is wrong is said again.
const SAID_WAIT: Duration = Duration::from_secs(3_600);

/// Why a reading ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Provider(#[from] ProviderError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Readings that failed, one after another.
#[derive(Debug, Default)]
pub(super) struct Failures {
    failures: u32,
    /// Of the last of them, those whose answers nobody could read.
    garbage: u32,
    /// What was said last.
    said: Option<Said>,
}

#[derive(Debug)]
struct Said {
    refused: bool,
    /// How long ago, in waits.
    ago: Duration,
}

/// What follows from a reading that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Consequence {
    /// Waiting would help nobody: messages may be sent.
    pub(super) opens: bool,
    /// It is said now.
    pub(super) is_said: bool,
    /// When to read again.
    pub(super) wait: Duration,
}

impl Failures {
    /// Readings that have failed since the last good one.
    pub(super) fn number(&self) -> u32 {
        self.failures
    }

    /// A reading failed.
    pub(super) fn failed(&mut self, error: &ReadError) -> Consequence {
        let grade = Grade::of(error);
        self.garbage = match grade {
            Grade::Garbage => self.garbage.saturating_add(1),
            Grade::Refusal | Grade::Wait => 0,
        };
        let opens = match grade {
            Grade::Refusal => true,
            Grade::Garbage => self.garbage >= GARBAGE_MAX,
            Grade::Wait => false,
        };
        let doubled = FAILURE_WAIT * 2u32.saturating_pow(self.failures.min(8));
        let wait = doubled.min(FAILURE_WAIT_MAX);
        self.failures = self.failures.saturating_add(1);
        Consequence {
            opens,
            is_said: self.is_said(opens, wait),
            wait,
        }
    }

    /// Said when it begins, when it means something else, and every hour.
    fn is_said(&mut self, refused: bool, wait: Duration) -> bool {
        if let Some(said) = &mut self.said
            && said.refused == refused
            && said.ago < SAID_WAIT
        {
            said.ago += wait;
            return false;
        }
        self.said = Some(Said { refused, ago: wait });
        true
    }
}

/// How much a failure leaves open, from the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Grade {
    /// The provider itself will not show the list.
    Refusal,
    /// Nobody knows who has answered, or what.
    Garbage,
    /// It may pass by itself.
    Wait,
}

impl Grade {
    fn of(error: &ReadError) -> Self {
        match error {
            // What cannot be stored cannot be sent either.
            ReadError::Store(_)
            | ReadError::Provider(ProviderError::Unreachable | ProviderError::RateLimited) => {
                Self::Wait
            }
            ReadError::Provider(ProviderError::Garbage) => Self::Garbage,
            ReadError::Provider(
                ProviderError::Unauthorized { .. }
                | ProviderError::NotFound
                | ProviderError::Refused { .. },
            ) => Self::Refusal,
        }
    }
}

/// Of the failures of one reading, the first of those that leave the most open.
pub(super) fn graver(known: Option<ReadError>, other: ReadError) -> ReadError {
    match known {
        Some(known) if Grade::of(&known) >= Grade::of(&other) => known,
        Some(_) | None => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GARBAGE: ReadError = ReadError::Provider(ProviderError::Garbage);
    const AWAY: ReadError = ReadError::Provider(ProviderError::Unreachable);

    fn refused() -> ReadError {
        ReadError::Provider(ProviderError::Unauthorized {
            http_status: 401,
            code: Some(20_003),
        })
    }

    #[test]
    fn only_unreadable_answers_one_after_another_open_the_lanes() {
        let mut failures = Failures::default();
        for _ in 0..5 {
            for _ in 0..GARBAGE_MAX - 1 {
                assert!(!failures.failed(&GARBAGE).opens);
            }
            assert!(!failures.failed(&AWAY).opens, "it begins again");
        }
        for n in 1..=GARBAGE_MAX {
            assert_eq!(failures.failed(&GARBAGE).opens, n == GARBAGE_MAX);
        }
        for error in [
            AWAY,
            ReadError::Provider(ProviderError::RateLimited),
            ReadError::Store(StoreError::Full),
        ] {
            let mut failures = Failures::default();
            assert!((0..10_000).all(|_| !failures.failed(&error).opens));
        }
    }

    #[test]
    fn a_quarter_of_an_hour_passes_before_unreadable_answers_open_the_lanes() {
        let mut failures = Failures::default();
        let waits = (0..GARBAGE_MAX).map(|_| failures.failed(&GARBAGE));
        let waited: Duration = waits.filter(|it| !it.opens).map(|it| it.wait).sum();
        assert_eq!(waited.as_secs() / 60, 15);
    }

    #[test]
    fn what_is_wrong_is_said_when_it_begins_when_it_changes_and_again() {
        let mut failures = Failures::default();
        assert!(failures.failed(&AWAY).is_said);
        assert!(!failures.failed(&AWAY).is_said && !failures.failed(&AWAY).is_said);
        // A refusal is something else, whenever it comes.
        let consequence = failures.failed(&refused());
        assert!(consequence.is_said && consequence.opens);
        assert!(consequence.wait <= FAILURE_WAIT_MAX);
        assert!(!failures.failed(&refused()).is_said);
        // For a week: seldom, and not never.
        let mut waited = Duration::ZERO;
        let mut lines = 0;
        let mut last = Duration::ZERO;
        while waited < Duration::from_secs(7 * 24 * 3_600) {
            let consequence = failures.failed(&refused());
            if consequence.is_said {
                lines += 1;
                assert!(waited - last < SAID_WAIT + 2 * FAILURE_WAIT_MAX);
                last = waited;
            }
            waited += consequence.wait;
        }
        assert!((160..=168).contains(&lines), "{lines}");
    }

    #[test]
    fn of_several_failures_the_one_that_leaves_the_most_open_counts() {
        let all = [refused(), GARBAGE, refused(), AWAY, GARBAGE];
        let gravest = all
            .into_iter()
            .fold(None, |known, error| Some(graver(known, error)));
        assert!(matches!(
            gravest,
            Some(ReadError::Provider(ProviderError::Unreachable))
        ));
    }
}
