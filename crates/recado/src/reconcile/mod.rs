//! Room 4: asks about what nobody reported. Unknown attempts are looked for in the provider's
//! list, and messages that went silent are fetched; what people wrote while we could not be told is
//! listed, and when they wrote it is asked where it decides about consent.
//!
//! Must not know: HTTP servers, SQL, other rooms.

mod consent_check;
mod context;
mod inbound;
mod lag;
mod lag_probe;
mod looks;
mod readings;
mod settlement;
mod silent;
mod unknown;

#[cfg(test)]
mod tests;

pub use self::consent_check::ConsentOrder;
pub use self::inbound::InboundReader;

use std::sync::Arc;
use std::time::Duration;

use delivery::progress::WatchKind;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::context::Context;
use self::lag::LagMeter;
use self::looks::{Look, Looks};
use self::readings::Readings;
use self::settlement::Settlements;
use self::silent::OutageRest;
use crate::effects::Effects;
use crate::provider::Provider;
use crate::store::{StoreError, WatchQuery, Watches};

/// Watches of one kind that are read at once.
const PAGE: usize = 64;
/// Polls of the provider for one kind of watch that are open at once: of eight, two are always left
/// to the other kind.
const POLLS_MAX: usize = 6;
/// How long to rest when nothing is due.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// How soon what became due is seen while polls are open.
const BUSY_MAX: Duration = Duration::from_secs(1);
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
    pub async fn run(self, shutdown: CancellationToken) {
        let settlements = Settlements::new(self.effects.clone(), self.clock_scale);
        let context = Arc::new(Context {
            store: Arc::clone(&self.store),
            provider: Arc::clone(&self.provider),
            readings: Readings::new(self.effects.clone(), settlements.clock_scale()),
            lag: LagMeter::new(self.effects.clone(), settlements.clock_scale()),
            outage: OutageRest::new(settlements.clock_scale()),
            settlements,
        });
        let measuring = lag_probe::measure(Arc::clone(&context), shutdown.clone());
        tokio::join!(self.look(context, shutdown), measuring);
    }

    async fn look(mut self, context: Arc<Context>, shutdown: CancellationToken) {
        let mut looks = Looks::default();
        // Tasks of their own: they go on while this one reads what is due.
        let mut open: JoinSet<Look> = JoinSet::new();
        while !shutdown.is_cancelled() {
            self.watches.borrow_and_update();
            let rest = match self.refill(&context, &mut looks).await {
                Ok(rest) => rest,
                Err(error) => {
                    tracing::error!(%error, "watches cannot be read or settled now");
                    FAILURE_WAIT
                }
            };
            let now = self.effects.clock.monotonic();
            let silent = context.outage.places(now, POLLS_MAX);
            while let Some(look) = looks.start(POLLS_MAX, silent) {
                open.spawn(ask(Arc::clone(&context), look));
            }
            let rest = if open.is_empty() {
                rest
            } else {
                rest.min(BUSY_MAX)
            };
            let sleep = self.effects.clock.sleep(rest);
            tokio::select! {
                () = shutdown.cancelled() => {}
                Some(looked) = open.join_next() => match looked {
                    Ok(look) => looks.end(&look),
                    Err(error) => {
                        tracing::error!(%error, "a look at the provider panicked");
                        looks.forget();
                    }
                },
                () = sleep => {}
                changed = self.watches.changed(), if rest > FAILURE_WAIT / self.clock_scale => {
                    if changed.is_err() {
                        shutdown.cancelled().await;
                    }
                }
            }
        }
    }

    /// Reads what is due, for each kind of which nothing is left, and says how long to rest when
    /// nothing can be started.
    async fn refill(&self, context: &Context, looks: &mut Looks) -> Result<Duration, StoreError> {
        let now = self.effects.clock.now();
        for kind in [WatchKind::Unknown, WatchKind::Silent] {
            if looks.wait(kind) {
                continue;
            }
            let limit = PAGE;
            let query = WatchQuery { now, kind, limit };
            let over = looks.add(self.store.due_watches(query).await?);
            let ended: Vec<_> = over
                .iter()
                .map(|watch| context.settlements.nothing(watch, None))
                .collect();
            over.iter()
                .for_each(|watch| context.readings.forget(watch.attempt));
            if !ended.is_empty() {
                self.store.settle(ended).await?;
            }
        }
        if looks.are_open() {
            return Ok(BUSY_MAX);
        }
        // Silent ones that wait for the end of an outage are due already.
        if let Some(rest) = context.outage.rest(self.effects.clock.monotonic()) {
            return Ok(rest.min(BUSY_MAX));
        }
        let next = self.store.next_watch().await?;
        Ok(next.map_or(IDLE_MAX, |at| {
            at.since(self.effects.clock.now()).min(IDLE_MAX)
        }))
    }
}

/// Looks, and writes down what that brought by itself: nothing else waits for it or fails with it.
async fn ask(context: Arc<Context>, look: Look) -> Look {
    let settled = match &look {
        Look::Unknown(group) => unknown::look_for(&context, group).await,
        Look::Silent(watch) => {
            let (provider, outage) = (&*context.provider, &context.outage);
            vec![silent::ask(provider, &context.settlements, outage, watch).await]
        }
    };
    if let Err(error) = context.store.settle(settled).await {
        tracing::error!(%error, "what was found cannot be settled now");
        context.settlements.sleep(FAILURE_WAIT).await;
    }
    look
}
