//! What the looks for each unknown attempt have shown since this process first looked.
//!
//! Readings are kept in memory, by a clock that nobody sets: after a restart the proof of absence
//! begins again, and neither a step of the clock nor a copied database can shorten it.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use delivery::absence::Reading;
use delivery::row::AttemptRow;

use crate::effects::Effects;
use crate::store::UnknownView;

/// How much of the time before the first look counts, at most: it is measured by a clock that may
/// be set.
const BEFORE_FIRST_MAX: Duration = Duration::from_secs(30);

/// The readings of every unknown attempt that is looked for.
pub(super) struct Readings {
    effects: Effects,
    clock_scale: u32,
    began: Instant,
    attempts: Mutex<HashMap<AttemptRow, Observed>>,
    unreadable: Mutex<HashSet<AttemptRow>>,
}

struct Observed {
    /// When its request had ended, as far as this process can tell.
    ended: Instant,
    readings: Vec<Reading>,
}

impl Readings {
    /// Times are multiplied by `clock_scale`.
    pub(super) fn new(effects: Effects, clock_scale: u32) -> Self {
        Self {
            began: effects.clock.monotonic(),
            effects,
            clock_scale,
            attempts: Mutex::default(),
            unreadable: Mutex::default(),
        }
    }

    /// How long after its request had ended it is now.
    pub(super) fn age(&self, attempt: &UnknownView) -> Duration {
        let now = self.effects.clock.monotonic();
        let shown = self.effects.clock.now().since(attempt.ended_at);
        let mut attempts = lock(&self.attempts);
        let observed = attempts.entry(attempt.attempt).or_insert_with(|| {
            let before = shown
                .min(BEFORE_FIRST_MAX / self.clock_scale)
                .min(now.saturating_duration_since(self.began));
            Observed {
                ended: now.checked_sub(before).unwrap_or(now),
                readings: Vec::new(),
            }
        });
        let age = now.saturating_duration_since(observed.ended);
        age.saturating_mul(self.clock_scale)
    }

    /// Adds a reading; returns all of this attempt, oldest first.
    pub(super) fn add(&self, attempt: AttemptRow, reading: Reading) -> Vec<Reading> {
        let mut attempts = lock(&self.attempts);
        let Some(observed) = attempts.get_mut(&attempt) else {
            return Vec::new();
        };
        observed.readings.push(reading);
        observed.readings.clone()
    }

    /// Nobody asks about an attempt any more.
    pub(super) fn forget(&self, attempt: AttemptRow) {
        lock(&self.attempts).remove(&attempt);
        lock(&self.unreadable).remove(&attempt);
    }

    /// Whether it is news that an attempt cannot be read.
    pub(super) fn is_newly_unreadable(&self, attempt: AttemptRow) -> bool {
        lock(&self.unreadable).insert(attempt)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under the lock can leave it half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
