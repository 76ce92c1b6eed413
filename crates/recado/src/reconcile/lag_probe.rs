//! Measures how late the provider's list is: about once a minute, while messages are sent, the newest
//! one that its own answer named is looked for until the list shows it. Whether a clock was set is
//! looked at each second.

use std::sync::Arc;
use std::time::Duration;

use delivery::limits::SETTLE_BEFORE;
use delivery::time::ClockDifference;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::lag::LagMeter;
use crate::provider::{ListQuery, ProviderError};
use crate::store::{Answered, ListLag, StoreError};

/// How often a message is looked for.
const EVERY: Duration = Duration::from_secs(60);
/// The first wait until it is looked for again; each one is twice the one before.
const AGAIN_FIRST: Duration = Duration::from_secs(1);
/// The longest wait.
const AGAIN_MAX: Duration = Duration::from_secs(60);
/// When it is given up; the lag is noted as this long.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60 * 60);
/// How often it is looked whether a clock was set, in real time.
const CLOCKS_EVERY: Duration = Duration::from_secs(1);
/// Differences of the clocks that are noted, in microseconds.
const CLOCK_STEP: i64 = 5_000_000;

/// Measures until shutdown.
pub(super) async fn measure(context: Arc<Context>, shutdown: CancellationToken) {
    tokio::join!(
        measure_lag(&context, &shutdown),
        compare_clocks(&context, &shutdown)
    );
}

async fn measure_lag(context: &Context, shutdown: &CancellationToken) {
    let meter = &context.lag;
    // The last process may have waited for a message.
    let mut reach = GIVE_UP_AFTER;
    while !shutdown.is_cancelled() {
        sleep(meter, EVERY, shutdown).await;
        let now = meter.effects.clock.now();
        let fresh = now.minus(reach / meter.clock_scale);
        reach = EVERY;
        let lag = match context.store.newest_answered(fresh).await {
            // What was answered before the clock was set back says nothing about now.
            Ok(Some(answered)) if answered.at <= now => lag_of(context, &answered, shutdown).await,
            Ok(_) | Err(_) => None,
        };
        // It is measured again in a minute; a database that cannot be written is told elsewhere.
        if lag.is_none() || note(context, lag).await.is_ok() {
            meter.set_missing(None);
        }
    }
}

/// Writes down that one of the clocks was set as soon as an answer tells it: what was begun before
/// must be found by a process that knows it from the store alone.
async fn compare_clocks(context: &Context, shutdown: &CancellationToken) {
    let mut noted = ClockDifference::NONE;
    while !shutdown.is_cancelled() {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = context.settlements.sleep(CLOCKS_EVERY) => {}
        }
        let clock = context.provider.clock_difference();
        if differs(noted, clock) && note(context, None).await.is_ok() {
            noted = clock;
        }
    }
}

async fn note(context: &Context, lag: Option<Duration>) -> Result<(), StoreError> {
    let measured = ListLag {
        at: context.settlements.now(),
        lag,
        clock: context.provider.clock_difference(),
    };
    context.store.note_list_lag(measured).await
}

/// Whether two differences are far enough from each other to be written down.
pub(super) fn differs(one: ClockDifference, other: ClockDifference) -> bool {
    let ((one_least, one_most), (least, most)) = (one.bounds(), other.bounds());
    one_least.abs_diff(least) > CLOCK_STEP.unsigned_abs()
        || one_most.abs_diff(most) > CLOCK_STEP.unsigned_abs()
}

/// How long after its answer the list showed a message; `None` when it cannot be said. That it is
/// too late to be believed is written down as soon as it is seen.
async fn lag_of(
    context: &Context,
    answered: &Answered,
    shutdown: &CancellationToken,
) -> Option<Duration> {
    let meter = &context.lag;
    let age = meter.effects.clock.now().since(answered.at);
    let every = EVERY / meter.clock_scale;
    let since = meter
        .effects
        .clock
        .monotonic()
        .checked_sub(age.min(every))?;
    let mut wait = AGAIN_FIRST;
    let mut seen = Seen::default();
    while !shutdown.is_cancelled() {
        let looked = meter.elapsed(since);
        match is_listed(context, answered).await {
            // Nobody looked while it was new.
            Ok(true) if age > every && seen.missing.is_none() => return None,
            Ok(true) => return seen.shown(looked),
            Ok(false) => {
                seen.missing(looked);
                meter.set_missing(Some(since));
                if meter.is_late(looked) {
                    let _ = note(context, Some(looked)).await;
                }
            }
            Err(_) => seen.unreadable(),
        }
        if looked > GIVE_UP_AFTER / meter.clock_scale && !seen.is_interrupted {
            return seen.missing;
        }
        sleep(meter, wait, shutdown).await;
        wait = wait.saturating_mul(2).min(AGAIN_MAX);
    }
    None
}

/// Whether the list shows a message, in either form of the number.
async fn is_listed(context: &Context, answered: &Answered) -> Result<bool, ProviderError> {
    let evidence = &answered.evidence;
    let clock = context.provider.clock_difference();
    for to in [Some(&evidence.to), evidence.to_alternative.as_ref()] {
        let Some(to) = to else { continue };
        let query = ListQuery {
            to: to.clone(),
            from: evidence.from.clone(),
            created_since: clock.earliest(answered.at).minus(SETTLE_BEFORE),
        };
        let listed = context.provider.list(&query).await?;
        if listed.iter().any(|message| message.sid == answered.sid) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What the looks for one message have shown so far.
#[derive(Default)]
struct Seen {
    /// How old the message was when the list was last read without it.
    missing: Option<Duration>,
    /// Whether the list could not be read since then.
    is_interrupted: bool,
}

impl Seen {
    fn missing(&mut self, looked: Duration) {
        self.missing = Some(looked);
        self.is_interrupted = false;
    }

    fn unreadable(&mut self) {
        self.is_interrupted = true;
    }

    /// The lag, now that the list shows it. A list that could not be read is not late by that: then
    /// the lag is what was seen before.
    fn shown(&self, looked: Duration) -> Option<Duration> {
        if self.is_interrupted {
            self.missing
        } else {
            Some(looked)
        }
    }
}

async fn sleep(meter: &LagMeter, wait: Duration, shutdown: &CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = meter.effects.clock.sleep(wait / meter.clock_scale) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_list_that_cannot_be_read_is_not_late() {
        let mut seen = Seen::default();
        assert_eq!(seen.shown(SECOND), Some(SECOND));
        seen.unreadable();
        assert_eq!(seen.shown(600 * SECOND), None);
        seen.missing(601 * SECOND);
        assert_eq!(seen.shown(602 * SECOND), Some(602 * SECOND));
        seen.unreadable();
        assert_eq!(seen.shown(900 * SECOND), Some(601 * SECOND));
    }
}
