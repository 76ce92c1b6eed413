//! Room 2: claim, check, limit, send, record. One lane for each sender.
//!
//! Must not know: HTTP, SQL, Twilio's words, or any other room.

mod concurrency;
mod lane;
mod rate;

use std::sync::Arc;
use std::time::Duration;

use delivery::message::SenderName;
use delivery::sid::Sid;
use delivery::time::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::concurrency::ConcurrencyLimit;
use self::lane::Lane;
use crate::effects::Effects;
use crate::provider::Provider;
use crate::store::Queue;

/// What the room needs.
#[derive(Clone)]
pub struct Dispatch {
    /// The queue and the attempts.
    pub store: Arc<dyn Queue>,
    /// Who sends the messages.
    pub provider: Arc<dyn Provider>,
    /// Clock and randomness.
    pub effects: Effects,
    /// Changes whenever the queue may have gained a due message.
    pub queue: watch::Receiver<u64>,
    /// Since when the provider cannot be reached; the API reads it.
    pub unreachable_since: watch::Sender<Option<Timestamp>>,
    /// What the operator set.
    pub settings: Settings,
}

/// What the operator set.
#[derive(Clone)]
pub struct Settings {
    /// Our senders with their keys in the store, and messages per second (`None`: no limit).
    pub senders: Vec<(i64, SenderName, Option<f64>)>,
    /// A Messaging Service whose features apply.
    pub messaging_service: Option<Sid>,
    /// Where the provider reports to, without correlation id.
    pub status_callback_url: String,
    /// Between messages to one person, after a burst.
    pub person_interval: Duration,
    /// Divides the waits after failures of the network.
    pub clock_scale: u32,
    /// How long open requests may take to end at shutdown.
    pub drain: Duration,
}

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
                tracing::error!(%error, "a lane of the dispatcher ended by itself");
                // A sender that silently sends no more is worse than a restart.
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }
}

/// The status callback URL of one attempt: the correlation id in the query, which the signature
/// covers, and how the provider shall retry in the fragment, which it does not (Twilio's
/// connection overrides). By default a 5xx of ours would lose the report for good.
pub fn status_callback(base: &str, correlation: &str) -> String {
    let (base, fragment) = match base.split_once('#') {
        Some((base, fragment)) => (base, fragment),
        None => (base, "rc=5&rp=5xx,ct,rt"),
    };
    let separator = if base.contains('?') { '&' } else { '?' };
    format!("{base}{separator}c={correlation}#{fragment}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_correlation_id_stands_in_the_query_and_the_overrides_in_the_fragment() {
        for (base, url) in [
            ("https://h/s", "https://h/s?c=7#rc=5&rp=5xx,ct,rt"),
            ("https://h/s?t=1", "https://h/s?t=1&c=7#rc=5&rp=5xx,ct,rt"),
            ("https://h/s#e=sao-paulo", "https://h/s?c=7#e=sao-paulo"),
        ] {
            assert_eq!(status_callback(base, "7"), url);
        }
    }
}
