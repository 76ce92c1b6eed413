//! Room 2: claim, check, limit, send, record. One lane for each sender.
//!
//! Must not know: HTTP, SQL, Twilio's words, or any other room.

mod breaker;
mod busy;
mod concurrency;
mod handles;
mod lane;
mod limiter;
mod ramp;
mod rate;

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::handles::{Dispatch, Settings};
use self::lane::{Lane, LaneOf};
use self::limiter::RequestLimiter;

impl Dispatch {
    /// Runs every lane until shutdown, as soon as it is known what people wrote while the server was
    /// away; open requests are waited for as long as the drain allows.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let caught_up = async {
            let wanted = self.caught_up.wait_for(|caught_up| *caught_up).await;
            wanted.is_ok()
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            caught_up = caught_up => if !caught_up {
                // Nobody will say it any more; shutdown follows.
                shutdown.cancelled().await;
                return;
            }
        }
        let names = self.settings.senders.iter();
        let limiter = Arc::new(RequestLimiter::new(
            names.map(|(_, name, _)| name.clone()).collect(),
            self.settings.clock_scale,
            self.effects.clone(),
            self.outages.clone(),
        ));
        let mut lanes = JoinSet::new();
        for (number, (row, name, rate)) in self.settings.senders.iter().cloned().enumerate() {
            let of = LaneOf {
                row,
                name,
                rate,
                number,
            };
            let lane = Lane::new(self.clone(), of, Arc::clone(&limiter));
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
