//! When nothing to a person is under way any more.

use std::time::Duration;

use delivery::row::PersonRow;
use tokio::sync::watch;

use super::Queue;
use crate::effects::Clock;

/// An opt-out is acknowledged when nothing to that person is under way any more, so that no
/// request starts after the acknowledgement. New ones cannot start: the commit stands. `closed`
/// changes whenever an attempt was closed. After `wait_max` it is acknowledged all the same.
pub async fn wait_until_idle(
    queue: &(impl Queue + ?Sized),
    mut closed: watch::Receiver<u64>,
    clock: &dyn Clock,
    person: PersonRow,
    wait_max: Duration,
) {
    let waiting = async {
        loop {
            closed.borrow_and_update();
            // Not knowing, after an error, is no reason to acknowledge early.
            if let Ok(0) = queue.open_attempts_of(person).await {
                return;
            }
            if closed.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = waiting => {}
        () = clock.sleep(wait_max) => {
            tracing::warn!("an opt-out was acknowledged while a request to the person is open");
        }
    }
}
