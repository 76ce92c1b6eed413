//! Room 4: ask about what nobody reported. Settles unknown attempts from the provider's list, and
//! fetches messages that went silent.
//!
//! Must not know: HTTP servers, SQL, other rooms.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use delivery::limits::{SETTLE_BEFORE, SETTLE_POLLS, SILENT_AGE_MAX, SILENT_POLLS};
use delivery::settle::{Listed, UnknownAttempt, settle};
use delivery::sid::Sid;
use delivery::state::state_of;
use delivery::time::Timestamp;
use futures_util::stream::{self, StreamExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::effects::Effects;
use crate::provider::{ListQuery, Provider, ProviderError, ProviderMessage};
use crate::store::{
    DueWatch, Evidence, Finding, NextWatch, Settlement, StoreError, WatchQuery, Watches,
};
use delivery::progress::WatchKind;

/// Watches read at once.
const PAGE: usize = 256;
/// Questions to the provider that are open at once.
const QUESTIONS_MAX: usize = 8;
/// How long to rest when nothing is due.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// How long to rest after the provider or the database failed.
const TROUBLE_WAIT: Duration = Duration::from_secs(5);

/// What the room needs.
#[derive(Clone)]
pub struct Reconcile {
    /// What must be asked about.
    pub store: Arc<dyn Watches>,
    /// The outside.
    pub provider: Arc<dyn Provider>,
    /// Clock and randomness.
    pub effects: Effects,
    /// Changes whenever a watch was set.
    pub watches: watch::Receiver<u64>,
    /// Divides every wait.
    pub clock_scale: u32,
}

impl Reconcile {
    /// Looks after watches until shutdown.
    pub async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            self.watches.borrow_and_update();
            let rest = match self.round().await {
                Ok(rest) => rest,
                Err(error) => {
                    tracing::error!(%error, "watches cannot be looked after now");
                    TROUBLE_WAIT
                }
            };
            let sleep = self.effects.clock.sleep(rest);
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = sleep => {}
                changed = self.watches.changed(), if rest > TROUBLE_WAIT / self.clock_scale => {
                    if changed.is_err() {
                        shutdown.cancelled().await;
                    }
                }
            }
        }
    }

    /// Looks after everything that is due, and says how long to rest.
    async fn round(&self) -> Result<Duration, StoreError> {
        let now = self.effects.clock.now();
        let due = self
            .store
            .due_watches(WatchQuery { now, limit: PAGE })
            .await?;
        let full = due.len() == PAGE;
        // One question for each person and sender, because the list is asked for both.
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
        let ended = over
            .iter()
            .map(|watch| self.settlement(watch, Finding::Nothing, None));
        let mut settlements: Vec<Settlement> = ended.collect();
        let groups = stream::iter(unknown.into_values())
            .map(|group| self.look_for(group))
            .buffer_unordered(QUESTIONS_MAX);
        settlements.extend(groups.collect::<Vec<_>>().await.into_iter().flatten());
        let asked = stream::iter(silent)
            .map(|watch| self.ask(watch))
            .buffer_unordered(QUESTIONS_MAX);
        settlements.extend(asked.collect::<Vec<_>>().await);
        if !settlements.is_empty() {
            self.store.settle(settlements).await?;
        }
        if full {
            return Ok(Duration::ZERO);
        }
        let next = self.store.next_watch().await?;
        Ok(next.map_or(IDLE_MAX, |at| {
            at.since(self.effects.clock.now()).min(IDLE_MAX)
        }))
    }

    /// Looks for the unknown attempts of one sender to one person in the provider's list.
    async fn look_for(&self, group: Vec<(DueWatch, Evidence)>) -> Vec<Settlement> {
        let listed = match self.list(&group).await {
            Ok(listed) => listed,
            Err(error) => {
                tracing::warn!(%error, "unknown attempts cannot be looked for now");
                return group.iter().map(|(watch, _)| self.again(watch)).collect();
            }
        };
        let sids = listed.iter().map(|message| message.sid).collect();
        let known = match self.store.known_sids(sids).await {
            Ok(known) => known,
            Err(_) => return group.iter().map(|(watch, _)| self.again(watch)).collect(),
        };
        let attempts: Vec<_> = group
            .iter()
            .map(|(watch, e)| unknown_attempt(watch, e))
            .collect();
        let candidates: Vec<Listed> = listed.iter().filter_map(listed_message).collect();
        let found: HashMap<i64, Sid> = settle(&attempts, &candidates, |sid| known.contains(&sid))
            .into_iter()
            .collect();
        group
            .iter()
            .map(|(watch, _)| {
                let sid = found.get(&watch.attempt);
                match sid.and_then(|sid| listed.iter().find(|message| message.sid == *sid)) {
                    Some(message) => self.found(watch, message),
                    None => self.not_found(watch),
                }
            })
            .collect()
    }

    /// Asks for the messages to one person, in both forms of the address.
    async fn list(
        &self,
        group: &[(DueWatch, Evidence)],
    ) -> Result<Vec<ProviderMessage>, ProviderError> {
        let Some((_, evidence)) = group.first() else {
            return Ok(Vec::new());
        };
        let earliest = group
            .iter()
            .map(|(watch, _)| watch.started_at)
            .min()
            .unwrap_or_default();
        let forms = [Some(evidence.to.clone()), evidence.to_alternative.clone()];
        let mut listed: Vec<ProviderMessage> = Vec::new();
        for to in forms.into_iter().flatten() {
            let query = ListQuery {
                to: format!("whatsapp:{to}"),
                from: evidence.from.clone(),
                created_since: earliest.minus(SETTLE_BEFORE),
            };
            for message in self.provider.list(&query).await? {
                if !listed.iter().any(|known| known.sid == message.sid) {
                    listed.push(message);
                }
            }
        }
        Ok(listed)
    }

    /// Asks for one message that nobody reports about.
    async fn ask(&self, watch: DueWatch) -> Settlement {
        let Some(sid) = watch.sid else {
            return self.settlement(&watch, Finding::Nothing, None);
        };
        match self.provider.fetch(sid).await {
            Ok(message) => self.found(&watch, &message),
            Err(error) => {
                if !matches!(error, ProviderError::NotFound) {
                    tracing::warn!(%error, "a silent message cannot be asked about now");
                }
                let next = self.next_silent(&watch);
                self.settlement(&watch, Finding::Nothing, next)
            }
        }
    }

    fn found(&self, watch: &DueWatch, message: &ProviderMessage) -> Settlement {
        let finding = Finding::Found {
            sid: message.sid,
            status: message.status,
            code: message.error_code,
        };
        let rests = state_of(message.status).is_some_and(|state| state.is_resting());
        let next = match watch.kind {
            // The commit that settles an unknown attempt sets the watch for its silence.
            WatchKind::Unknown => None,
            WatchKind::Silent if rests => None,
            WatchKind::Silent => self.next_silent(watch),
        };
        self.settlement(watch, finding, next)
    }

    fn not_found(&self, watch: &DueWatch) -> Settlement {
        let polls = watch.polls + 1;
        let place = usize::try_from(polls).unwrap_or(usize::MAX);
        match (
            SETTLE_POLLS.get(place),
            SETTLE_POLLS.get(place.saturating_sub(1)),
        ) {
            (Some(next), Some(last)) => {
                let at = self.later(next.saturating_sub(*last));
                let next = NextWatch {
                    at,
                    kind: WatchKind::Unknown,
                    polls,
                };
                self.settlement(watch, Finding::Nothing, Some(next))
            }
            _ => self.settlement(watch, Finding::HorizonPassed, None),
        }
    }

    /// The question could not be asked: it is asked again, and does not count.
    fn again(&self, watch: &DueWatch) -> Settlement {
        let at = self.later(TROUBLE_WAIT);
        let next = NextWatch {
            at,
            kind: watch.kind,
            polls: watch.polls,
        };
        self.settlement(watch, Finding::Nothing, Some(next))
    }

    fn next_silent(&self, watch: &DueWatch) -> Option<NextWatch> {
        let polls = watch.polls + 1;
        let place = usize::try_from(polls)
            .unwrap_or(usize::MAX)
            .min(SILENT_POLLS.len() - 1);
        let wait = SILENT_POLLS.get(place).copied()?;
        let at = self.later(wait);
        let age = at.since(watch.started_at).saturating_mul(self.clock_scale);
        (age <= SILENT_AGE_MAX).then_some(NextWatch {
            at,
            kind: WatchKind::Silent,
            polls,
        })
    }

    fn later(&self, wait: Duration) -> Timestamp {
        self.effects
            .clock
            .now()
            .plus(wait / self.clock_scale.max(1))
    }

    fn settlement(
        &self,
        watch: &DueWatch,
        finding: Finding,
        next: Option<NextWatch>,
    ) -> Settlement {
        Settlement {
            watch: (watch.at, watch.attempt),
            finding,
            next,
            now: self.effects.clock.now(),
            random: self.effects.random.next_u64(),
        }
    }
}

fn unknown_attempt(watch: &DueWatch, evidence: &Evidence) -> UnknownAttempt<i64> {
    UnknownAttempt {
        key: watch.attempt,
        started_at: watch.started_at,
        to: evidence.to.clone(),
        to_alternative: evidence.to_alternative.clone(),
        from: evidence.from.clone(),
        text: evidence.text.clone(),
    }
}

fn listed_message(message: &ProviderMessage) -> Option<Listed> {
    let bare = |text: &String| text.strip_prefix("whatsapp:").unwrap_or(text).to_owned();
    Some(Listed {
        sid: message.sid,
        to: bare(message.to.as_ref()?),
        from: message.from.as_ref().map(bare),
        body: message.body.clone(),
        outbound: message.outbound,
        created_at: message.created_at?,
    })
}
