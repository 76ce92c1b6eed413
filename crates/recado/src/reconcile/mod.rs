//! Room 4: asks about what nobody reported. Unknown attempts are looked for in the provider's
//! list, and messages that went silent are fetched; what people wrote while we could not be told is
//! listed, and when they wrote it is asked where it decides about consent.
//!
//! Must not know: HTTP servers, SQL, other rooms.

mod consent_check;
mod inbound;
mod settlement;
mod silent;
mod unknown;

pub use self::consent_check::ConsentOrder;
pub use self::inbound::InboundReader;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use delivery::progress::WatchKind;
use futures_util::stream::{self, StreamExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::settlement::Settlements;
use crate::effects::Effects;
use crate::provider::Provider;
use crate::store::{DueWatch, Evidence, Settlement, StoreError, WatchQuery, Watches};

/// Watches read at once.
const PAGE: usize = 256;
/// Polls of the provider that are open at once.
const POLLS_MAX: usize = 8;
/// How long to rest when nothing is due.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// How long to rest after the database failed.
const FAILURE_WAIT: Duration = Duration::from_secs(5);

/// What the room needs.
#[derive(Clone)]
pub struct Reconcile {
    /// What must be asked about.
    pub store: Arc<dyn Watches>,
    /// The provider that is asked.
    pub provider: Arc<dyn Provider>,
    /// Clock and randomness.
    pub effects: Effects,
    /// Changes whenever a watch was set.
    pub watches: watch::Receiver<u64>,
    /// Divides every wait.
    pub clock_scale: u32,
}

impl Reconcile {
    /// Asks whenever a watch is due, until shutdown.
    pub async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            self.watches.borrow_and_update();
            let rest = match self.round().await {
                Ok(rest) => rest,
                Err(error) => {
                    tracing::error!(%error, "watches cannot be read or settled now");
                    FAILURE_WAIT
                }
            };
            let sleep = self.effects.clock.sleep(rest);
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = sleep => {}
                changed = self.watches.changed(), if rest > FAILURE_WAIT / self.clock_scale => {
                    if changed.is_err() {
                        shutdown.cancelled().await;
                    }
                }
            }
        }
    }

    /// Asks about everything that is due, and says how long to rest.
    async fn round(&self) -> Result<Duration, StoreError> {
        let now = self.effects.clock.now();
        let query = WatchQuery { now, limit: PAGE };
        let due = self.store.due_watches(query).await?;
        let full = due.len() == PAGE;
        let Due {
            unknown,
            silent,
            over,
        } = Due::sort(due);
        let settlements = Settlements::new(self.effects.clone(), self.clock_scale);
        let ended = over.iter().map(|watch| settlements.nothing(watch, None));
        let mut settled: Vec<Settlement> = ended.collect();
        let (store, provider) = (&*self.store, &*self.provider);
        let searches = stream::iter(unknown)
            .map(|group| unknown::look_for(store, provider, &settlements, group))
            .buffer_unordered(POLLS_MAX);
        settled.extend(searches.collect::<Vec<_>>().await.into_iter().flatten());
        let polls = stream::iter(silent)
            .map(|watch| silent::ask(provider, &settlements, watch))
            .buffer_unordered(POLLS_MAX);
        settled.extend(polls.collect::<Vec<_>>().await);
        if !settled.is_empty() {
            self.store.settle(settled).await?;
        }
        if full {
            return Ok(Duration::ZERO);
        }
        let next = self.store.next_watch().await?;
        Ok(next.map_or(IDLE_MAX, |at| {
            at.since(self.effects.clock.now()).min(IDLE_MAX)
        }))
    }
}

/// Due watches by what is done about them.
struct Due {
    /// Unknown attempts, in one group for each person and sender, because the list is asked for
    /// both.
    unknown: Vec<Vec<(DueWatch, Evidence)>>,
    /// Messages that nobody reports about.
    silent: Vec<DueWatch>,
    /// Nothing is left to ask.
    over: Vec<DueWatch>,
}

impl Due {
    fn sort(due: Vec<DueWatch>) -> Self {
        let mut unknown: HashMap<_, Vec<(DueWatch, Evidence)>> = HashMap::new();
        let mut silent = Vec::new();
        let mut over = Vec::new();
        for mut watch in due {
            match (watch.kind, watch.evidence.take()) {
                (WatchKind::Unknown, Some(evidence)) => {
                    unknown
                        .entry((evidence.person, evidence.from.clone()))
                        .or_default()
                        .push((watch, evidence));
                }
                _ if watch.state.is_resting() || watch.sid.is_none() => over.push(watch),
                _ => silent.push(watch),
            }
        }
        Self {
            unknown: unknown.into_values().collect(),
            silent,
            over,
        }
    }
}
