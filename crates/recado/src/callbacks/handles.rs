//! What the room was given: its handles on the store, and what the operator set.

use std::sync::Arc;

use delivery::message::SenderName;
use tokio::sync::watch;

use super::signature::Verifier;
use crate::effects::Effects;
use crate::store::{Inbounds, Queue, Reports};

/// What the room needs.
pub struct Callbacks {
    /// Where status reports go.
    pub reports: Arc<dyn Reports>,
    /// Where inbound messages go.
    pub inbounds: Arc<dyn Inbounds>,
    /// What an opt-out waits for: the open attempts.
    pub queue: Arc<dyn Queue>,
    /// Clock and randomness.
    pub effects: Effects,
    /// Verifies what comes to the status URL.
    pub status: Arc<Verifier>,
    /// Verifies what comes to the inbound URL.
    pub webhook: Arc<Verifier>,
    /// Our senders by their canonical address: the provider may write them without the ninth
    /// digit.
    pub senders: Arc<Vec<(String, SenderName)>>,
    /// Changes whenever an attempt was closed.
    pub closed: watch::Receiver<u64>,
    /// Changed whenever an inbound message could not be taken.
    pub lost: watch::Sender<u64>,
}
