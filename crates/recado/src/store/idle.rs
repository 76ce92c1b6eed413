//! When nothing to a person is under way any more.

use std::time::Duration;

use tokio::sync::watch;

use super::Queue;
use crate::effects::Clock;

/// How long the answer to an opt-out waits for requests to that person that are under way. Twilio
/// waits 15 seconds for the answer to an inbound message.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// An opt-out is acknowledged when nothing to that person is under way any more, so that no
/// request starts after the acknowledgement. New ones cannot start: the commit stands. `closed`
/// changes whenever an attempt was closed.
pub async fn wait_until_idle(
    queue: &(impl Queue + ?Sized),
    mut closed: watch::Receiver<u64>,
    clock: &dyn Clock,
    person: i64,
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
        () = clock.sleep(WAIT_MAX) => {
            tracing::warn!("an opt-out was acknowledged while a request to the person is open");
        }
    }
}
