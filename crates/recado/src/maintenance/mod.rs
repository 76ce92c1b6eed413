//! Room 6: what is done by time alone. Deadlines that passed, questions that were not answered,
//! rows that are no longer needed, and times that follow a clock that was set back.
//!
//! Must not know: the provider, HTTP, SQL, other rooms.

mod clock;
mod retention;

use std::sync::Arc;
use std::time::Duration;

use delivery::time::Timestamp;
use tokio_util::sync::CancellationToken;

use self::clock::ClockSteps;
use crate::effects::Effects;
use crate::store;

/// Between two runs. A run that finds nothing writes nothing.
const INTERVAL: Duration = Duration::from_secs(1);

/// What the room needs.
#[derive(Clone)]
pub struct Maintenance {
    /// Where the work is done: in one verb of the store.
    pub store: Arc<dyn store::Maintenance>,
    /// The clock.
    pub effects: Effects,
    /// The time of the newest event when the server started.
    pub newest_event_at: Option<Timestamp>,
    /// For how long messages to which nothing happens any more are kept; `None` for ever.
    pub keep: Option<Duration>,
}

impl Maintenance {
    /// Runs until shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        let (store, effects) = (Arc::clone(&self.store), self.effects.clone());
        let retention = retention::run(store, effects, self.keep, shutdown.clone());
        tokio::join!(self.each_second(&shutdown), retention);
    }

    async fn each_second(&self, shutdown: &CancellationToken) {
        let clock = Arc::clone(&self.effects.clock);
        let mut steps = ClockSteps::new(&*clock, self.newest_event_at);
        while !shutdown.is_cancelled() {
            let follows = steps.follow(&*clock, &*self.store).await;
            let more = match self.store.maintain(self.effects.clock.now()).await {
                Ok(result) => result.more,
                Err(error) => {
                    tracing::error!(%error, "maintenance failed; it is retried automatically");
                    false
                }
            };
            if let Err(error) = self.store.probe_when_idle().await {
                tracing::debug!(%error, "commits do not go through");
            }
            let wait = if more || follows {
                Duration::ZERO
            } else {
                INTERVAL
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.effects.clock.sleep(wait) => {}
            }
        }
    }
}
