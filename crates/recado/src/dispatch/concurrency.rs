//! How many requests may be open at once. The number follows what the provider does: it grows
//! while requests are answered, halves at a 429, and falls with the time that answers take. A
//! provider that takes 5 s for each answer needs patience, not 512 connections.

use std::time::Duration;

const LIMIT_FIRST: f64 = 8.0;
const LIMIT_MIN: f64 = 1.0;
const LIMIT_MAX: f64 = 512.0;
/// Open requests times the seconds that an answer takes.
const REQUEST_SECONDS_MAX: f64 = 128.0;
/// However long answers take, so many may be open.
const SLOW_LIMIT_MIN: f64 = 4.0;
/// The part of the latest answer in the smoothed time.
const LATENCY_WEIGHT: f64 = 0.125;
/// By how much the limit grows with each full round of answers, once it does not double any more.
const GROWTH_PER_ROUND: f64 = 4.0;

/// The limit of one account.
pub(super) struct ConcurrencyLimit {
    limit: f64,
    /// Until the provider has refused for the first time, each round of answers doubles it.
    doubling: bool,
    /// Smoothed time of an answer in seconds.
    latency: Option<f64>,
}

impl ConcurrencyLimit {
    pub(super) fn new() -> Self {
        Self {
            limit: LIMIT_FIRST,
            doubling: true,
            latency: None,
        }
    }

    /// How many requests may be open, at least one.
    pub(super) fn value(&self) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "1 to 512"
        )]
        let whole = self.limit.clamp(LIMIT_MIN, LIMIT_MAX) as usize;
        whole
    }

    /// A request was answered after `latency`, while `open` were. What nobody makes use of does
    /// not grow.
    pub(super) fn answered(&mut self, latency: Duration, open: usize) {
        let seconds = latency.as_secs_f64();
        let smoothed = match self.latency {
            Some(before) => before + (seconds - before) * LATENCY_WEIGHT,
            None => seconds,
        };
        self.latency = Some(smoothed);
        if open.saturating_mul(2) >= self.value() {
            self.limit += if self.doubling {
                1.0
            } else {
                GROWTH_PER_ROUND / self.limit.max(1.0)
            };
        }
        let bound = (REQUEST_SECONDS_MAX / smoothed.max(f64::EPSILON)).max(SLOW_LIMIT_MIN);
        self.limit = self.limit.min(bound).min(LIMIT_MAX);
    }

    /// The provider asks us to slow down.
    pub(super) fn refused(&mut self) {
        self.limit = (self.limit / 2.0).max(LIMIT_MIN);
        self.doubling = false;
    }

    /// After an outage it begins with one request, and grows back.
    pub(super) fn restart(&mut self) {
        self.limit = LIMIT_MIN;
        self.doubling = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUARTER: Duration = Duration::from_millis(250);

    /// Rounds in which every request that may be open is answered after `latency`.
    fn rounds(limit: &mut ConcurrencyLimit, latency: Duration, rounds: usize) {
        for _ in 0..rounds {
            let open = limit.value();
            for _ in 0..open {
                limit.answered(latency, open);
            }
        }
    }

    #[test]
    fn it_doubles_with_each_round_until_the_time_of_an_answer_bounds_it() {
        let mut limit = ConcurrencyLimit::new();
        assert_eq!(limit.value(), 8);
        rounds(&mut limit, QUARTER, 1);
        assert_eq!(limit.value(), 16);
        rounds(&mut limit, QUARTER, 20);
        assert_eq!(limit.value(), 512);
    }

    #[test]
    fn slow_answers_hold_few_requests_and_quick_ones_bring_them_back() {
        let mut limit = ConcurrencyLimit::new();
        rounds(&mut limit, QUARTER, 20);
        rounds(&mut limit, Duration::from_secs(5), 20);
        assert_eq!(limit.value(), 25);
        rounds(&mut limit, Duration::from_secs(60), 40);
        assert_eq!(limit.value(), 4);
        rounds(&mut limit, QUARTER, 40);
        assert!(limit.value() > 500, "{}", limit.value());
    }

    #[test]
    fn it_halves_at_a_429_and_then_grows_by_steps() {
        let mut limit = ConcurrencyLimit::new();
        rounds(&mut limit, QUARTER, 20);
        limit.refused();
        assert_eq!(limit.value(), 256);
        rounds(&mut limit, QUARTER, 1);
        assert_eq!(limit.value(), 259);
        for _ in 0..20 {
            limit.refused();
        }
        assert_eq!(limit.value(), 1);
    }

    #[test]
    fn what_nobody_uses_does_not_grow() {
        let mut limit = ConcurrencyLimit::new();
        for _ in 0..1_000 {
            limit.answered(QUARTER, 1);
        }
        assert_eq!(limit.value(), 8);
    }

    #[test]
    fn after_an_outage_it_begins_with_one() {
        let mut limit = ConcurrencyLimit::new();
        rounds(&mut limit, QUARTER, 20);
        limit.restart();
        assert_eq!(limit.value(), 1);
        rounds(&mut limit, QUARTER, 3);
        assert_eq!(limit.value(), 8);
    }
}
