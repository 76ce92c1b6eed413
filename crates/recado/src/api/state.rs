//! What the handlers of the API share.

use std::sync::Arc;
use std::time::Duration;

use delivery::outage::{Outage, Unlisted};
use delivery::time::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::auth::KeyVerifier;
use crate::effects::Effects;
use crate::store::Store;

/// What the API needs.
#[derive(Clone)]
pub struct Api {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Clock and randomness.
    pub effects: Effects,
    /// Keys and their rates.
    pub key_verifier: Arc<KeyVerifier>,
    /// The key of the last event on disk.
    pub last_event: watch::Receiver<i64>,
    /// Changes whenever an attempt is closed.
    pub closed: watch::Receiver<u64>,
    /// Outages of the provider, with those that nobody has asked about for long.
    pub outages: watch::Receiver<Vec<Outage>>,
    /// For how long the same content to the same person is refused.
    pub dedupe_window: Duration,
    /// What to do about error codes, for the explanations.
    pub codes: Arc<delivery::codes::Codes>,
    /// Ends the live streams.
    pub shutdown: CancellationToken,
    /// What is wrong with listing inbound messages.
    pub unlisted: watch::Receiver<Option<Unlisted>>,
    /// Why the clock is not trusted with removing anything.
    pub clock_concern: watch::Receiver<Option<String>>,
}

impl Api {
    /// The outages that there are, as far as requests have shown lately.
    pub(super) fn outages(&self, now: Timestamp) -> Vec<Outage> {
        let known = self.outages.borrow();
        let believed = known.iter().filter(|outage| outage.is_believed(now));
        believed.cloned().collect()
    }
}
