//! Removes messages that are older than what is kept, in small steps, once an hour.

use std::sync::Arc;
use std::time::Duration;

use delivery::row::MessageRow;
use tokio_util::sync::CancellationToken;

use crate::effects::Effects;
use crate::store::{self, RetentionQuery};

/// Between two times at which it is looked for old messages.
const INTERVAL: Duration = Duration::from_secs(3_600);
/// Between two steps, so that others write in between.
const PAUSE: Duration = Duration::from_millis(50);
/// After a step that failed.
const RETRY: Duration = Duration::from_secs(30);

/// Runs until shutdown.
pub(super) async fn run(
    store: Arc<dyn store::Maintenance>,
    effects: Effects,
    keep: Option<Duration>,
    shutdown: CancellationToken,
) {
    let Some(keep) = keep else { return };
    let mut after = MessageRow(0);
    let mut removed = 0;
    while !shutdown.is_cancelled() {
        let before = effects.clock.now().minus(keep);
        let wait = match store.retain(RetentionQuery { before, after }).await {
            Ok(step) => {
                removed += step.messages;
                after = step.next.unwrap_or(MessageRow(0));
                if step.more { PAUSE } else { INTERVAL }
            }
            Err(error) => {
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
            () = effects.clock.sleep(wait) => {}
        }
    }
}
