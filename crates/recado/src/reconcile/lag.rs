//! How late the provider's list was, how far its clock is from ours, and how young its youngest message
//! is. Absence is believed only while the largest lag of a day is small.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use delivery::limits::{LIST_LAG_KEPT, LIST_LAG_MAX};
use delivery::time::{ClockDifference, Timestamp};

use crate::effects::Effects;
use crate::provider::{Provider, ProviderError};
use crate::store::{StoreError, Watches};

/// How long it is remembered which message of the account is the youngest.
const YOUNGEST_KEPT: Duration = Duration::from_secs(30);

/// What is known about the provider's list and clock.
pub(super) struct LagMeter {
    pub(super) effects: Effects,
    pub(super) clock_scale: u32,
    /// Since when the list has not shown a message that it should.
    missing_since: Mutex<Option<Instant>>,
    youngest: Mutex<Option<(Instant, Option<Timestamp>)>>,
}

impl LagMeter {
    /// Times are multiplied by `clock_scale`.
    pub(super) fn new(effects: Effects, clock_scale: u32) -> Self {
        Self {
            effects,
            clock_scale,
            missing_since: Mutex::default(),
            youngest: Mutex::default(),
        }
    }

    /// The largest lag of a day, and the widest difference of the clocks.
    pub(super) async fn known(
        &self,
        store: &dyn Watches,
        provider: &dyn Provider,
    ) -> Result<(Option<Duration>, ClockDifference), StoreError> {
        let since = self.effects.clock.now();
        let since = since.minus(LIST_LAG_KEPT / self.clock_scale);
        let noted = store.list_lag(since).await?;
        let missing = *lock(&self.missing_since);
        let missing = missing.map(|since| self.elapsed(since));
        let lag = noted.lag.max(missing);
        let lag = lag.map(|lag| lag.saturating_mul(self.clock_scale));
        Ok((lag, noted.clock.or(provider.clock_difference())))
    }

    /// When the youngest message of the account was created that the provider lists.
    pub(super) async fn youngest(
        &self,
        provider: &dyn Provider,
    ) -> Result<Option<Timestamp>, ProviderError> {
        let known = *lock(&self.youngest);
        if let Some((at, youngest)) = known
            && self.elapsed(at) < YOUNGEST_KEPT / self.clock_scale
        {
            return Ok(youngest);
        }
        let at = self.effects.clock.monotonic();
        let youngest = provider.youngest().await?;
        *lock(&self.youngest) = Some((at, youngest));
        Ok(youngest)
    }

    /// How long ago a reading of the clock that nobody sets was.
    pub(super) fn elapsed(&self, since: Instant) -> Duration {
        let now = self.effects.clock.monotonic();
        now.saturating_duration_since(since)
    }

    /// Whether a message that the list has not shown for so long makes it too late to be believed.
    pub(super) fn is_late(&self, missing: Duration) -> bool {
        missing.saturating_mul(self.clock_scale) > LIST_LAG_MAX
    }

    /// Since when the list has not shown a message that it should; `None` when it shows all.
    pub(super) fn set_missing(&self, since: Option<Instant>) {
        *lock(&self.missing_since) = since;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing under the lock can leave it half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
