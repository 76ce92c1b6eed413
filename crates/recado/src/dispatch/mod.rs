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
