//! Room 2: claim, check, limit, send, record. One lane for each sender.
//!
//! Must not know: HTTP, SQL, Twilio's words, or any other room.

mod concurrency;
mod handles;
mod lane;
mod rate;

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::concurrency::ConcurrencyLimit;
pub use self::handles::{Dispatch, Settings};
use self::lane::Lane;

impl Dispatch {
    /// Runs every lane until shutdown; open requests are waited for as long as the drain allows.
    pub async fn run(self, shutdown: CancellationToken) {
        let concurrency = Arc::new(ConcurrencyLimit::new(
            self.settings.senders.len(),
            self.settings.clock_scale,
            self.unreachable_since.clone(),
        ));
        let mut lanes = JoinSet::new();
        for (key, name, rate) in self.settings.senders.clone() {
            let lane = Lane::new(self.clone(), key, name, rate, Arc::clone(&concurrency));
            lanes.spawn(lane.run(shutdown.clone()));
        }
        while let Some(ended) = lanes.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a lane of the dispatcher stopped unexpectedly");
                // A sender that silently sends no more is worse than a restart.
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }
}
