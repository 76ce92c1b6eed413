//! Removes messages that are older than what is kept, in small steps, once an hour, and only by a clock
//! that is trusted.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::effects::Clock;
use crate::store::{self, RetentionCursor, RetentionQuery};

/// Between two times at which it is looked for old messages.
const INTERVAL: Duration = Duration::from_secs(3_600);
/// Between two steps, so that others write in between.
const PAUSE: Duration = Duration::from_millis(50);
/// After a step that failed.
const RETRY: Duration = Duration::from_secs(30);

/// Runs until shutdown.
pub(super) async fn run(
    store: &dyn store::Maintenance,
    clock: &dyn Clock,
    keep: Option<Duration>,
    is_doubted: impl Fn() -> bool,
    shutdown: &CancellationToken,
) {
    let Some(keep) = keep else { return };
    let mut after = RetentionCursor::default();
    let mut removed = 0;
    while !shutdown.is_cancelled() {
        let now = clock.now();
        let before = now.minus(keep);
        let query = RetentionQuery { before, now, after };
        let step = if is_doubted() {
            None
        } else {
            Some(store.retain(query).await)
        };
        let wait = match step {
            None => INTERVAL,
            Some(Ok(step)) => {
                removed += step.messages;
                if step.waits && step.next.is_none() {
                    tracing::info!(
                        "old messages stay for now: Twilio is still to be asked about some of their \
                         time"
                    );
                }
                after = step.next.unwrap_or_default();
                step.next.map_or(INTERVAL, |_| PAUSE)
            }
            Some(Err(error)) => {
                tracing::error!(%error, "old messages could not be removed; it is retried");
                RETRY
            }
        };
        if wait == INTERVAL && removed > 0 {
            tracing::info!(messages = removed, "old messages were removed");
            removed = 0;
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = clock.sleep(wait) => {}
        }
    }
}
