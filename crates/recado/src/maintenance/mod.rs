//! Room 6: what is done by time alone. Deadlines that passed, questions that were not answered,
//! rows that are no longer needed, and times that follow a clock that was set back.
//!
//! Must not know: the provider, HTTP, SQL, other rooms.

mod clock;
mod counters;
mod retention;
mod trust;

pub use self::trust::Start;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::clock::ClockSteps;
use self::trust::{CONCERN, ClockTrust};
use crate::effects::Effects;
use crate::store::{self, ClockNote};

/// Between two runs. A run that finds nothing writes nothing.
const INTERVAL: Duration = Duration::from_secs(1);

/// What the room needs.
#[derive(Clone)]
pub struct Maintenance {
    /// Where the work is done: in one verb of the store.
    pub store: Arc<dyn store::Maintenance>,
    /// The clock.
    pub effects: Effects,
    /// What was known when the server started.
    pub start: Start,
    /// For how long messages to which nothing happens any more are kept; `None` for ever.
    pub keep: Option<Duration>,
    /// Why the clock is not trusted with removing anything, when it is not.
    pub concern: watch::Sender<Option<String>>,
}

impl Maintenance {
    /// Runs until shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        let clock = &*self.effects.clock;
        let trust = Mutex::new(ClockTrust::new(&self.start));
        // Each looks for itself before it does anything: a step may have come just before.
        let look = || {
            let mut trust = trust.lock().unwrap_or_else(PoisonError::into_inner);
            trust.look(clock)
        };
        let is_doubted = || look().right_since.is_some();
        let retention = retention::run(&*self.store, clock, self.keep, is_doubted, &shutdown);
        let counters = counters::run(&*self.store, clock, &shutdown);
        tokio::join!(self.each_second(look, &shutdown), retention, counters);
    }

    async fn each_second(&self, look: impl Fn() -> ClockNote, shutdown: &CancellationToken) {
        let clock = Arc::clone(&self.effects.clock);
        let mut steps = ClockSteps::new(&*clock, self.start.newest_event_at);
        let mut noted = None;
        while !shutdown.is_cancelled() {
            let follows = steps.follow(&*clock, &*self.store).await;
            let now = clock.now();
            let note = look();
            let doubted = note.right_since.is_some();
            self.tell(doubted);
            if trust::is_news(note, noted) && self.store.note_clock(note).await.is_ok() {
                noted = Some(note);
            }
            let maintained = if doubted {
                self.store.maintain_in_doubt(now).await
            } else {
                self.store.maintain(now).await
            };
            let more = match maintained {
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

    /// Tells everybody whether the clock is doubted, and the log when that changes.
    fn tell(&self, doubted: bool) {
        let changed = self.concern.send_if_modified(|concern| {
            let changed = concern.is_some() != doubted;
            *concern = doubted.then(|| CONCERN.to_owned());
            changed
        });
        match (changed, doubted) {
            (true, true) => tracing::warn!("{CONCERN}"),
            (true, false) => tracing::info!("the clock has been right for a day: what is old goes"),
            (false, _) => {}
        }
    }
}
