//! Asks when words about consent were written, so that the last one stands.

use std::sync::Arc;
use std::time::Duration;

use delivery::time::Timestamp;
use futures_util::stream::{self, StreamExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::effects::Effects;
use crate::provider::{Provider, ProviderError};
use crate::store::{
    AskedInbound, ConsentCheck, ConsentCheckQuery, ConsentCheckResult, Inbounds, StoreError,
};

/// People read at once.
const PAGE: usize = 64;
/// Questions to the provider that are open at once.
const QUESTIONS_MAX: usize = 4;
/// How long to rest when nothing is due.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// How long until the database is asked again after it failed.
const FAILURE_WAIT: Duration = Duration::from_secs(5);
/// How long until the provider is asked again after it did not answer.
const SILENCE_WAIT: Duration = Duration::from_secs(15);

/// What putting words into order needs.
pub struct ConsentOrder {
    /// Whose words wait.
    pub store: Arc<dyn Inbounds>,
    /// The provider that knows when they were written.
    pub provider: Arc<dyn Provider>,
    /// Clock and randomness.
    pub effects: Effects,
    /// Changes whenever words wait.
    pub checks: watch::Receiver<u64>,
    /// Divides every wait.
    pub clock_scale: u32,
}

impl ConsentOrder {
    /// Asks whenever words wait, until shutdown.
    pub async fn run(mut self, shutdown: CancellationToken) {
        // An outage of the provider is said once, however many words wait and for how long.
        let mut told = false;
        while !shutdown.is_cancelled() {
            self.checks.borrow_and_update();
            let rest = match self.round(&mut told).await {
                Ok(rest) => rest,
                Err(error) => {
                    tracing::error!(%error, "words about consent cannot be put into order now");
                    FAILURE_WAIT
                }
            };
            let sleep = self.effects.clock.sleep(rest);
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = sleep => {}
                changed = self.checks.changed() => {
                    if changed.is_err() {
                        shutdown.cancelled().await;
                    }
                }
            }
        }
    }

    /// Asks about everybody whose words wait, and says how long to rest.
    async fn round(&self, told: &mut bool) -> Result<Duration, StoreError> {
        let now = self.effects.clock.now();
        let query = ConsentCheckQuery { now, limit: PAGE };
        let checks = self.store.consent_checks(query).await?;
        if checks.due.is_empty() {
            let next = checks.next_at.map_or(IDLE_MAX, |at| at.since(now));
            return Ok(next.min(IDLE_MAX));
        }
        let mut answers = stream::iter(checks.due)
            .map(|check| self.ask(check))
            .buffer_unordered(QUESTIONS_MAX);
        // Each by itself: nobody waits for the slowest.
        while let Some((answer, failure)) = answers.next().await {
            if let Some(error) = &failure
                && !*told
            {
                tracing::warn!(
                    %error,
                    "the provider does not say when words about consent were written; until it does \
                     the stricter ones stand"
                );
            }
            *told = failure.is_some();
            self.store.settle_consent_checks(vec![answer]).await?;
        }
        Ok(Duration::ZERO)
    }

    /// What asking about one person brought, and why nothing.
    async fn ask(&self, check: ConsentCheck) -> (ConsentCheckResult, Option<ProviderError>) {
        let asked = match check.ask {
            Some(asked) => self.written_at(asked).await.map(Some),
            None => Ok(None),
        };
        let now = self.effects.clock.now();
        let (learned, failure, wait) = match asked {
            Ok(learned) => (learned, None, Duration::ZERO),
            Err(error) => (None, Some(error), SILENCE_WAIT / self.clock_scale.max(1)),
        };
        let result = ConsentCheckResult {
            person: check.person,
            learned,
            again_at: now.plus(wait),
            now,
        };
        (result, failure)
    }

    /// A message that the provider does not have any more counts as written when it arrived.
    async fn written_at(&self, asked: AskedInbound) -> Result<(i64, Timestamp), ProviderError> {
        let written_at = match self.provider.fetch(asked.sid).await {
            Ok(message) => message.created_at.unwrap_or(asked.received_at),
            Err(ProviderError::NotFound) => asked.received_at,
            Err(error) => return Err(error),
        };
        Ok((asked.key, written_at))
    }
}
