//! How many requests may be open at once. The number follows what the provider accepts: it
//! grows while requests succeed and halves at a 429, and failures of the network stop every lane for a
//! growing time, so that an outage costs a few attempts and not one for each waiting message.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use delivery::outcome::{NotSentCause, Outcome, RetryAfter};
use delivery::time::Timestamp;
use tokio::sync::watch;

const LIMIT_FIRST: f64 = 32.0;
const LIMIT_MIN: f64 = 1.0;
const LIMIT_MAX: f64 = 512.0;
const STOP_FIRST: Duration = Duration::from_millis(250);
const STOP_MAX: Duration = Duration::from_secs(30);
/// A connection that breaks now and then is no outage: this many rounds in a row are.
const OUTAGE_ROUNDS: u32 = 2;
/// The longest that a provider's `Retry-After` stops everything.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Shared by the lanes of one account.
pub(super) struct ConcurrencyLimit {
    lanes: usize,
    clock_scale: u32,
    unreachable_since: watch::Sender<Option<Timestamp>>,
    inner: Mutex<Inner>,
}

struct Inner {
    limit: f64,
    /// Rounds in a row in which no request reached the provider, and when the first of them was.
    failed_rounds: u32,
    failing_since: Timestamp,
    stopped_until: Timestamp,
}

impl ConcurrencyLimit {
    /// `unreachable_since` tells the API since when the provider cannot be reached.
    pub(super) fn new(
        lanes: usize,
        clock_scale: u32,
        unreachable_since: watch::Sender<Option<Timestamp>>,
    ) -> Self {
        let inner = Inner {
            limit: LIMIT_FIRST,
            failed_rounds: 0,
            failing_since: Timestamp::default(),
            stopped_until: Timestamp::default(),
        };
        Self {
            lanes: lanes.max(1),
            clock_scale: clock_scale.max(1),
            unreachable_since,
            inner: Mutex::new(inner),
        }
    }

    /// How many requests one lane may have open.
    pub(super) fn lane_limit(&self) -> usize {
        let limit = self.inner().limit;
        // The limit lies between 1 and 512.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "1 to 512"
        )]
        let whole = limit as usize;
        (whole / self.lanes).max(1)
    }

    /// Until when nothing may be sent.
    pub(super) fn stopped_until(&self) -> Timestamp {
        self.inner().stopped_until
    }

    /// Takes an outcome into account.
    pub(super) fn observe(&self, outcome: &Outcome, now: Timestamp) {
        let mut inner = self.inner();
        match outcome {
            Outcome::Sent { .. } | Outcome::Refused { .. } => {
                inner.failed_rounds = 0;
                // One more for each full round of successes.
                inner.limit = (inner.limit + 1.0 / inner.limit.max(1.0) * 4.0).min(LIMIT_MAX);
            }
            Outcome::NotSent {
                cause: NotSentCause::RateLimited,
                retry_after,
            } => {
                inner.failed_rounds = 0;
                inner.limit = (inner.limit / 2.0).max(LIMIT_MIN);
                if let Some(wait) = retry_after {
                    let wait = match wait {
                        RetryAfter::Delay(delay) => *delay,
                        RetryAfter::Until(instant) => instant.since(now),
                    };
                    let wait = wait.min(RETRY_AFTER_MAX) / self.clock_scale;
                    inner.stopped_until = inner.stopped_until.max(now.plus(wait));
                }
            }
            Outcome::NotSent { .. } => {
                // The requests of one round fail together: only the first of them counts.
                if now >= inner.stopped_until {
                    let wait = STOP_FIRST
                        .saturating_mul(1 << inner.failed_rounds.min(10))
                        .min(STOP_MAX);
                    inner.stopped_until = now.plus(wait / self.clock_scale);
                    if inner.failed_rounds == 0 {
                        inner.failing_since = now;
                    }
                    inner.failed_rounds += 1;
                }
            }
            Outcome::Unknown(_) => {}
        }
        let outage = inner.failed_rounds >= OUTAGE_ROUNDS;
        self.notify(outage.then_some(inner.failing_since));
    }

    /// One line in the log when an outage begins, and one when it ends.
    fn notify(&self, unreachable_since: Option<Timestamp>) {
        self.unreachable_since.send_if_modified(|since| {
            match (since.is_some(), unreachable_since.is_some()) {
                (false, true) => {
                    tracing::warn!(
                        "Twilio cannot be reached; messages wait and are retried automatically"
                    );
                }
                (true, false) => tracing::info!("Twilio can be reached again"),
                (true, true) | (false, false) => {}
            }
            std::mem::replace(since, unreachable_since) != unreachable_since
        });
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_000);

    fn lost() -> Outcome {
        Outcome::NotSent {
            cause: NotSentCause::Connect,
            retry_after: None,
        }
    }

    #[test]
    fn an_outage_stops_everything_for_a_growing_while() {
        let limit = ConcurrencyLimit::new(1, 1, watch::Sender::new(None));
        limit.observe(&lost(), START);
        limit.observe(&lost(), START);
        assert_eq!(limit.stopped_until().since(START), STOP_FIRST);
        let later = limit.stopped_until();
        limit.observe(&lost(), later);
        assert_eq!(limit.stopped_until().since(later), STOP_FIRST * 2);
        for _ in 0..40 {
            let now = limit.stopped_until();
            limit.observe(&lost(), now);
            assert!(limit.stopped_until().since(now) <= STOP_MAX);
        }
    }

    #[test]
    fn an_outage_begins_with_the_second_round_and_ends_with_the_first_answer() {
        let since = watch::Sender::new(None);
        let limit = ConcurrencyLimit::new(1, 1, since.clone());
        // Two requests of one round, and then a round that goes well.
        limit.observe(&lost(), START);
        limit.observe(&lost(), START);
        let refused = Outcome::Refused {
            http_status: 400,
            code: None,
        };
        limit.observe(&refused, START.plus(STOP_FIRST));
        let begin = START.plus(STOP_MAX);
        limit.observe(&lost(), begin);
        assert_eq!(*since.borrow(), None);
        limit.observe(&lost(), begin.plus(STOP_FIRST));
        assert_eq!(*since.borrow(), Some(begin));
        limit.observe(&refused, begin.plus(STOP_MAX));
        assert_eq!(*since.borrow(), None);
    }

    #[test]
    fn the_limit_halves_at_a_429_and_grows_back() {
        let limit = ConcurrencyLimit::new(2, 1, watch::Sender::new(None));
        assert_eq!(limit.lane_limit(), 16);
        let limited = Outcome::NotSent {
            cause: NotSentCause::RateLimited,
            retry_after: Some(RetryAfter::Delay(Duration::from_secs(1_000_000))),
        };
        limit.observe(&limited, START);
        assert_eq!(limit.lane_limit(), 8);
        assert_eq!(limit.stopped_until().since(START), RETRY_AFTER_MAX);
        for _ in 0..100_000 {
            limit.observe(
                &Outcome::Refused {
                    http_status: 400,
                    code: None,
                },
                START,
            );
        }
        assert_eq!(limit.lane_limit(), 256);
    }
}
