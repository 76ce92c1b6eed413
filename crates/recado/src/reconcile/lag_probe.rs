//! Measures how late the provider's list is: about once a minute, while messages are sent, the newest
//! one that its own answer named is looked for until the list shows it.

use std::sync::Arc;
use std::time::Duration;

use delivery::limits::SETTLE_BEFORE;
use delivery::time::ClockDifference;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::lag::LagMeter;
use crate::provider::ListQuery;
use crate::store::{Answered, ListLag};

/// How often a message is looked for.
const EVERY: Duration = Duration::from_secs(60);
/// The first wait until it is looked for again; each one is twice the one before.
const AGAIN_FIRST: Duration = Duration::from_secs(1);
/// The longest wait.
const AGAIN_MAX: Duration = Duration::from_secs(60);
/// When it is given up; the lag is noted as this long.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60 * 60);
/// Differences of the clocks that are noted, in microseconds.
const CLOCK_STEP: i64 = 5_000_000;

/// Measures until shutdown.
pub(super) async fn measure(context: Arc<Context>, shutdown: CancellationToken) {
    let meter = &context.lag;
    let mut noted = ClockDifference::NONE;
    while !shutdown.is_cancelled() {
        sleep(meter, EVERY, &shutdown).await;
        let now = meter.effects.clock.now();
        let fresh = now.minus(EVERY / meter.clock_scale);
        let lag = match context.store.newest_answered(fresh).await {
            // What was answered before the clock was set back says nothing about now.
            Ok(Some(answered)) if answered.at <= now => {
                lag_of(&context, &answered, &shutdown).await
            }
            Ok(_) | Err(_) => None,
        };
        let clock = context.provider.clock_difference();
        if lag.is_none() && !differs(noted, clock) {
            continue;
        }
        let at = meter.effects.clock.now();
        // It is measured again in a minute; a database that cannot be written is told elsewhere.
        if context
            .store
            .note_list_lag(ListLag { at, lag, clock })
            .await
            .is_ok()
        {
            noted = clock;
        }
        meter.set_missing(None);
    }
}

/// Whether two differences are far enough from each other to be written down.
pub(super) fn differs(one: ClockDifference, other: ClockDifference) -> bool {
    let ((one_least, one_most), (least, most)) = (one.bounds(), other.bounds());
    one_least.abs_diff(least) > CLOCK_STEP.unsigned_abs()
        || one_most.abs_diff(most) > CLOCK_STEP.unsigned_abs()
}

/// How long after its answer the list showed a message; `None` when it cannot be said.
async fn lag_of(
    context: &Context,
    answered: &Answered,
    shutdown: &CancellationToken,
) -> Option<Duration> {
    let meter = &context.lag;
    let age = meter.effects.clock.now().since(answered.at);
    let age = age.min(EVERY / meter.clock_scale);
    let since = meter.effects.clock.monotonic().checked_sub(age)?;
    let query = ListQuery {
        to: answered.evidence.to.clone(),
        from: answered.evidence.from.clone(),
        created_since: context
            .provider
            .clock_difference()
            .earliest(answered.at)
            .minus(SETTLE_BEFORE),
    };
    let mut wait = AGAIN_FIRST;
    let mut seen = Seen::default();
    while !shutdown.is_cancelled() {
        let looked = meter.elapsed(since);
        match context.provider.list(&query).await {
            Ok(listed) if listed.iter().any(|message| message.sid == answered.sid) => {
                return seen.shown(looked);
            }
            Ok(_) => {
                seen.missing(looked);
                meter.set_missing(Some(since));
            }
            Err(_) => {
                seen.unreadable();
                meter.set_missing(None);
            }
        }
        if looked > GIVE_UP_AFTER / meter.clock_scale {
            return seen.missing;
        }
        sleep(meter, wait, shutdown).await;
        wait = wait.saturating_mul(2).min(AGAIN_MAX);
    }
    None
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
