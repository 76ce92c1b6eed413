//! Forgets counters that are zero, in small steps, once an hour: a message leaves a zero behind in each
//! state that it was in.

use std::time::Duration;

use delivery::row::CohortRow;
use tokio_util::sync::CancellationToken;

use crate::effects::Clock;
use crate::store::{self, ZeroCountQuery};

/// Between two walks.
const INTERVAL: Duration = Duration::from_secs(3_600);
/// Between two steps, so that others write in between.
const PAUSE: Duration = Duration::from_millis(50);
/// Messages that are older seldom move. Where one does, a zero that it leaves stays until the next
/// start.
const MOVING: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Runs until shutdown. The first walk begins with the oldest counters, each other one where those
/// begin that were too young before.
pub(super) async fn run(
    store: &dyn store::Maintenance,
    clock: &dyn Clock,
    shutdown: &CancellationToken,
) {
    let (mut after, mut begin_after) = (CohortRow(0), None);
    while !shutdown.is_cancelled() {
        let now = clock.now();
        let before = now.minus(MOVING);
        let query = ZeroCountQuery { before, now, after };
        let wait = match store.forget_zero_counts(query).await {
            Ok(step) => {
                begin_after = begin_after.or(step.young_after);
                let next = step.next.or_else(|| begin_after.take());
                after = next.unwrap_or(after);
                step.next.map_or(INTERVAL, |_| PAUSE)
            }
            Err(error) => {
                tracing::error!(%error, "counters that are zero could not be removed; it is retried");
                INTERVAL
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = clock.sleep(wait) => {}
        }
    }
}
