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

/// After how long without a look an attempt is forgotten: it was settled by something else. Looks
/// are at most an hour apart.
const FORGET_AFTER: Duration = Duration::from_secs(3 * 60 * 60);
/// Attempts that are remembered without looking which of them can be forgotten.
const SWEEP_FROM: usize = 64;

/// The readings of every unknown attempt that is looked for.
pub(super) struct Readings {
    effects: Effects,
    clock_scale: u32,
    began: Instant,
    attempts: Mutex<Attempts>,
    unreadable: Mutex<HashSet<AttemptRow>>,
}

#[derive(Default)]
struct Attempts {
    observed: HashMap<AttemptRow, Observed>,
    /// At how many it is looked next which of them can be forgotten.
    sweep_at: usize,
}

struct Observed {
    /// When its request had ended, as far as this process can tell.
    ended: Instant,
    looked: Instant,
    readings: Vec<Reading>,
    /// When it began is not known, because our clock was wrong.
    is_distrusted: bool,
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
        attempts.sweep(now, FORGET_AFTER / self.clock_scale);
        let observed = attempts.observed.entry(attempt.attempt);
        let observed = observed.or_insert_with(|| {
            let before = shown
                .min(BEFORE_FIRST_MAX / self.clock_scale)
                .min(now.saturating_duration_since(self.began));
            Observed {
                ended: now.checked_sub(before).unwrap_or(now),
                looked: now,
                readings: Vec::new(),
                is_distrusted: false,
            }
        });
        observed.looked = now;
        let age = now.saturating_duration_since(observed.ended);
        age.saturating_mul(self.clock_scale)
    }

    /// Adds a reading; returns all of this attempt, oldest first.
    pub(super) fn add(&self, attempt: AttemptRow, reading: Reading) -> Vec<Reading> {
        let mut attempts = lock(&self.attempts);
        let Some(observed) = attempts.observed.get_mut(&attempt) else {
            return Vec::new();
        };
        observed.readings.push(reading);
        observed.readings.clone()
    }

    /// Nobody knows when an attempt began.
    pub(super) fn distrust(&self, attempt: AttemptRow) {
        if let Some(observed) = lock(&self.attempts).observed.get_mut(&attempt) {
            observed.is_distrusted = true;
        }
    }

    /// Whether nobody knows when an attempt began.
    pub(super) fn is_distrusted(&self, attempt: AttemptRow) -> bool {
        let attempts = lock(&self.attempts);
        let observed = attempts.observed.get(&attempt);
        observed.is_some_and(|observed| observed.is_distrusted)
    }

    /// Nobody asks about an attempt any more.
    pub(super) fn forget(&self, attempt: AttemptRow) {
        lock(&self.attempts).observed.remove(&attempt);
        lock(&self.unreadable).remove(&attempt);
    }

    /// Whether it is news that an attempt cannot be read.
    pub(super) fn is_newly_unreadable(&self, attempt: AttemptRow) -> bool {
        lock(&self.unreadable).insert(attempt)
    }
}

impl Attempts {
    /// Forgets those that nobody has looked for of late. Each time as many may be added as were
    /// left, so that a look costs the same however many there are.
    fn sweep(&mut self, now: Instant, after: Duration) {
        if self.observed.len() < self.sweep_at.max(SWEEP_FROM) {
            return;
        }
        let is_looked_for = |observed: &Observed| {
            let unseen = now.saturating_duration_since(observed.looked);
            unseen < after
        };
        self.observed.retain(|_, observed| is_looked_for(observed));
        self.sweep_at = self.observed.len() * 2;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under the lock can leave it half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
