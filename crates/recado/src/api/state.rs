//! What the handlers of the API share, and the bounds of a request.

use std::sync::Arc;
use std::time::Duration;

use delivery::time::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::auth::KeyVerifier;
use crate::effects::Effects;
use crate::store::Store;

/// Bytes of a request body.
pub(super) const BODY_BYTES_MAX: usize = 1 << 20;
/// Bytes of a bulk request's body.
pub(super) const BULK_BODY_BYTES_MAX: usize = 8 << 20;
/// Items of a bulk request.
pub(super) const BULK_ITEMS_MAX: usize = 1_000;

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
    /// Changes whenever an attempt was closed.
    pub closed: watch::Receiver<u64>,
    /// Since when the provider cannot be reached.
    pub unreachable_since: watch::Receiver<Option<Timestamp>>,
    /// Within how long the same content to the same person is refused.
    pub dedupe_window: Duration,
    /// What to do about error codes, for the explanations.
    pub codes: Arc<delivery::codes::Codes>,
    /// Ends the live streams.
    pub shutdown: CancellationToken,
}
