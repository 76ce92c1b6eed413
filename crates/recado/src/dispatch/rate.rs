//! Two rate limits: messages per second of a sender, and messages to one person.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use delivery::row::PersonRow;

/// Messages that a person may receive at once before the interval holds.
const PERSON_BURST: u32 = 5;
/// Persons remembered; the ones whose burst is full again are forgotten first.
const PERSONS_MAX: usize = 65_536;

/// A token bucket for one sender. The burst counts into the rate, so that no second ever has more
/// messages than the limit.
pub(super) struct TokenBucket {
    /// Microseconds between messages; zero for no limit.
    interval: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl TokenBucket {
    pub(super) fn new(per_second: Option<f64>, now: Instant) -> Self {
        let Some(limit) = per_second else {
            return Self {
                interval: 0.0,
                burst: f64::MAX,
                tokens: f64::MAX,
                at: now,
            };
        };
        let burst = (limit * 0.02).max(1.0);
        let refill = if limit > 50.0 { limit - burst } else { limit };
        Self {
            interval: 1_000_000.0 / refill,
            burst,
            tokens: burst,
            at: now,
        }
    }

    /// How many messages may leave now, at most `wanted`.
    pub(super) fn available(&mut self, now: Instant, wanted: usize) -> usize {
        if self.interval == 0.0 {
            return wanted;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "seconds at most between two looks"
        )]
        let passed = now.saturating_duration_since(self.at).as_micros() as f64;
        self.at = self.at.max(now);
        self.tokens = (self.tokens + passed / self.interval).min(self.burst);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bounded by the burst"
        )]
        let whole = self.tokens as usize;
        whole.min(wanted)
    }

    /// Takes the tokens of messages that leave.
    pub(super) fn take(&mut self, messages: usize) {
        if self.interval > 0.0 {
            #[expect(clippy::cast_precision_loss, reason = "at most a batch")]
            let messages = messages as f64;
            self.tokens -= messages;
        }
    }

    /// How long until the next message may leave.
    pub(super) fn wait(&self) -> Duration {
        let missing = (1.0 - self.tokens).max(0.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bounded by one interval"
        )]
        let micros = (missing * self.interval).ceil() as u64;
        Duration::from_micros(micros)
    }
}

/// One message per person and interval after a burst: WhatsApp limits each business-person pair
/// to about one message in 6 seconds (Meta error 131056).
pub(super) struct PairRateLimit {
    interval: Duration,
    /// When the person's burst will be full again.
    full_at: HashMap<PersonRow, Instant>,
    /// At how many entries those that are not needed any more are dropped.
    sweep_at: usize,
}

impl PairRateLimit {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            full_at: HashMap::new(),
            sweep_at: PERSONS_MAX,
        }
    }

    /// How long a message to this person must wait: zero when it may leave now, which is then
    /// reserved.
    pub(super) fn reserve(&mut self, person: PersonRow, now: Instant) -> Duration {
        if self.interval.is_zero() {
            return Duration::ZERO;
        }
        if self.full_at.len() >= self.sweep_at {
            self.full_at.retain(|_, full| *full > now);
            // Those who are left wrote within the last burst; sweeping again at once would find nothing.
            self.sweep_at = PERSONS_MAX.max(self.full_at.len().saturating_mul(2));
        }
        let full = self.full_at.get(&person).copied().unwrap_or(now).max(now);
        let burst = self.interval.saturating_mul(PERSON_BURST - 1);
        let wait = full.saturating_duration_since(now).saturating_sub(burst);
        if wait.is_zero() {
            self.full_at.insert(person, full + self.interval);
        }
        wait
    }

    /// Gives a reservation back: its message did not leave.
    pub(super) fn release(&mut self, person: PersonRow) {
        if let Some(full) = self.full_at.get_mut(&person) {
            *full = full.checked_sub(self.interval).unwrap_or(*full);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "no number here is above some thousands, or negative"
    )]
    fn no_second_has_more_messages_than_the_limit() {
        let start = Instant::now();
        for limit in [1.0 / 3.0, 1.0, 10.0, 80.0, 400.0, 1_000.0] {
            let mut bucket = TokenBucket::new(Some(limit), start);
            let mut left: Vec<Instant> = Vec::new();
            let mut now = start;
            while left.len() < 2_000 && now < start + Duration::from_secs(60) {
                let n = bucket.available(now, 100);
                bucket.take(n);
                left.extend(std::iter::repeat_n(now, n));
                now += Duration::from_micros(700);
            }
            let bound = (limit.ceil() as usize).max(1) + usize::from(limit <= 50.0);
            for (at, first) in left.iter().enumerate() {
                let within = left[at..]
                    .iter()
                    .filter(|t| t.duration_since(*first) < Duration::from_secs(1));
                assert!(within.count() <= bound, "{limit}");
            }
            let seconds = now.duration_since(start).as_secs_f64();
            assert!(
                left.len() as f64 >= seconds * limit * 0.9 - 1.0,
                "{limit}: {}",
                left.len()
            );
        }
    }

    #[test]
    fn a_released_reservation_costs_nothing() {
        let start = Instant::now();
        let mut limit = PairRateLimit::new(Duration::from_secs(6));
        for _ in 0..50 {
            assert!(limit.reserve(PersonRow(1), start).is_zero());
            limit.release(PersonRow(1));
        }
        for _ in 0..5 {
            assert!(limit.reserve(PersonRow(1), start).is_zero());
        }
        assert!(!limit.reserve(PersonRow(1), start).is_zero());
    }

    #[test]
    fn a_person_gets_a_burst_and_then_one_per_interval() {
        let start = Instant::now();
        let interval = Duration::from_secs(6);
        let mut limit = PairRateLimit::new(interval);
        for _ in 0..5 {
            assert!(limit.reserve(PersonRow(1), start).is_zero());
        }
        assert_eq!(limit.reserve(PersonRow(1), start), interval);
        assert!(limit.reserve(PersonRow(2), start).is_zero());
        let later = start + interval;
        assert!(limit.reserve(PersonRow(1), later).is_zero());
        assert_eq!(limit.reserve(PersonRow(1), later), interval);
    }
}
