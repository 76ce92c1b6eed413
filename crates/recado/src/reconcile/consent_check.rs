//! Asks when words about consent were written, so that the last one stands.

use std::collections::HashMap;
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
/// The longest wait before it is asked again about a message of which it says nothing that can be
/// read; they double from the one above.
const USELESS_WAIT_MAX: Duration = Duration::from_secs(3_600);
/// Such answers about one message until nobody asks about it any more: most of a day.
const USELESS_MAX: u32 = 30;

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

/// What the provider has not answered so far.
#[derive(Default)]
struct Silence {
    /// An outage of the provider is said once, however many words wait and for how long.
    told: bool,
    /// By the key of a message: how often it said nothing about it that can be read.
    useless: HashMap<i64, u32>,
}

impl ConsentOrder {
    /// Asks whenever words wait, until shutdown.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut silence = Silence::default();
        while !shutdown.is_cancelled() {
            self.checks.borrow_and_update();
            let rest = match self.round(&mut silence).await {
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
    async fn round(&self, silence: &mut Silence) -> Result<Duration, StoreError> {
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
        while let Some((check, answer)) = answers.next().await {
            let wait = match &answer {
                Ok(learned) => silence.over(*learned),
                Err(error) => silence.wait(&check, error),
            };
            let now = self.effects.clock.now();
            let result = ConsentCheckResult {
                person: check.person,
                learned: answer.ok().flatten(),
                again_at: wait.map(|wait| now.plus(wait / self.clock_scale.max(1))),
                now,
            };
            self.store.settle_consent_checks(vec![result]).await?;
        }
        Ok(Duration::ZERO)
    }

    /// What asking about one person brought.
    async fn ask(
        &self,
        check: ConsentCheck,
    ) -> (
        ConsentCheck,
        Result<Option<(i64, Timestamp)>, ProviderError>,
    ) {
        let answer = match check.ask {
            Some(asked) => self.written_at(asked).await.map(Some),
            None => Ok(None),
        };
        (check, answer)
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

impl Silence {
    /// The provider has answered, or need not be asked. Returns how long until it may be asked the next
    /// thing.
    fn over(&mut self, learned: Option<(i64, Timestamp)>) -> Option<Duration> {
        if let Some((key, _)) = learned {
            self.told = false;
            self.useless.remove(&key);
        }
        Some(Duration::ZERO)
    }

    /// Says what is wrong, and returns how long until the provider is asked again; `None` when it has
    /// said nothing about this message for so long that nobody asks any more.
    fn wait(&mut self, check: &ConsentCheck, error: &ProviderError) -> Option<Duration> {
        if !self.told {
            tracing::warn!(
                %error,
                "the provider does not say when words about consent were written; until it does \
                 the stricter ones stand"
            );
        }
        self.told = true;
        let asked = match error {
            ProviderError::Garbage | ProviderError::Refused { .. } => check.ask?,
            // It says nothing about any message.
            ProviderError::Unreachable
            | ProviderError::RateLimited
            | ProviderError::Unauthorized { .. }
            | ProviderError::NotFound => return Some(SILENCE_WAIT),
        };
        let answers = self.useless.entry(asked.key).or_default();
        *answers += 1;
        if *answers < USELESS_MAX {
            let doubled = SILENCE_WAIT.saturating_mul(1 << (*answers - 1).min(16));
            return Some(doubled.min(USELESS_WAIT_MAX));
        }
        self.useless.remove(&asked.key);
        tracing::error!(
            %error,
            inbound = %asked.sid,
            "the provider does not say when this inbound message was written; nobody asks any more: \
             its opt-in has no effect, and the stricter word stands until the person or you say otherwise"
        );
        None
    }
}

#[cfg(test)]
mod tests {
    use delivery::row::PersonRow;
    use delivery::sid::Sid;

    use super::*;

    fn check(key: i64) -> ConsentCheck {
        let asked = AskedInbound {
            key,
            sid: Sid::parse_message(&format!("SM{key:032x}")).unwrap(),
            received_at: Timestamp::from_seconds(0),
        };
        ConsentCheck {
            person: PersonRow(key),
            ask: Some(asked),
        }
    }

    #[test]
    fn what_nobody_can_read_is_asked_less_and_less_and_in_the_end_not_at_all() {
        let mut silence = Silence::default();
        let unreadable = ProviderError::Garbage;
        let waits: Vec<Option<Duration>> = (0..USELESS_MAX)
            .map(|_| silence.wait(&check(1), &unreadable))
            .collect();
        let seconds = |n: usize| waits[n].unwrap().as_secs();
        assert_eq!((seconds(0), seconds(1), seconds(2)), (15, 30, 60));
        let total: u64 = (0..waits.len() - 1).map(seconds).sum();
        assert!((20..24).contains(&(total / 3_600)), "{total} s");
        assert_eq!(waits.last(), Some(&None));
        assert!(silence.useless.is_empty(), "nothing is kept of it");
    }

    #[test]
    fn an_outage_lasts_as_long_as_it_lasts_and_another_message_has_waits_of_its_own() {
        let mut silence = Silence::default();
        for _ in 0..1_000 {
            let wait = silence.wait(&check(1), &ProviderError::Unreachable);
            assert_eq!(wait, Some(SILENCE_WAIT));
        }
        silence.wait(&check(1), &ProviderError::Garbage);
        silence.wait(&check(1), &ProviderError::Garbage);
        let other = silence.wait(&check(2), &ProviderError::Garbage);
        assert_eq!(other, Some(SILENCE_WAIT));
        // An answer ends it.
        silence.over(Some((1, Timestamp::from_seconds(0))));
        let again = silence.wait(&check(1), &ProviderError::Garbage);
        assert_eq!(again, Some(SILENCE_WAIT));
    }
}
