//! Room 6: the night shift. Deadlines that passed, questions that were not answered, rows that
//! have served.
//!
//! Must not know: the provider, HTTP, SQL, other rooms.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::effects::Effects;
use crate::store::Maintenance;

/// Between two runs. A run that finds nothing writes nothing.
const INTERVAL: Duration = Duration::from_secs(1);

/// What the room needs.
#[derive(Clone)]
pub struct Upkeep {
    /// What is done by time alone.
    pub store: Arc<dyn Maintenance>,
    /// The clock.
    pub effects: Effects,
}

impl Upkeep {
    /// Does the chores until shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let more = match self.store.maintain(self.effects.clock.now()).await {
                Ok(result) => result.more,
                Err(error) => {
                    tracing::error!(%error, "the chores cannot be done now");
                    false
                }
            };
            let wait = if more { Duration::ZERO } else { INTERVAL };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.effects.clock.sleep(wait) => {}
            }
        }
    }
}
