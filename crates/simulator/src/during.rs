//! Times of the real clock: how long to wait, and what holds for a time.

use std::time::{Duration, Instant};

/// The longest wait: a year.
const WAIT_MAX: Duration = Duration::from_secs(365 * 86_400);

/// A time window, and what holds in it.
#[derive(Clone, Debug)]
pub(crate) struct During<T> {
    pub(crate) what: T,
    from: Instant,
    to: Option<Instant>,
}

impl<T> During<T> {
    pub(crate) fn new(what: T, from_ms: f64, to_ms: Option<f64>) -> Self {
        let now = Instant::now();
        Self {
            what,
            from: now + real(from_ms),
            to: to_ms.map(|to| now + real(to)),
        }
    }

    pub(crate) fn holds(&self, now: Instant) -> bool {
        self.from <= now && self.to.is_none_or(|to| now < to)
    }

    /// When it begins or ends, as long as that is ahead.
    pub(crate) fn next_change(&self, now: Instant) -> Option<Instant> {
        [Some(self.from), self.to]
            .into_iter()
            .flatten()
            .find(|at| *at > now)
    }
}

/// Milliseconds of real time as a duration that can be waited for, however large they are.
pub(crate) fn real(millis: f64) -> Duration {
    let seconds = (millis / 1_000.0).max(0.0);
    Duration::try_from_secs_f64(seconds)
        .unwrap_or(WAIT_MAX)
        .min(WAIT_MAX)
}
