//! What the room was given: its handles on store and provider, and what the operator set.

use std::sync::Arc;
use std::time::Duration;

use delivery::message::SenderName;
use delivery::outage::Outage;
use delivery::row::SenderRow;
use delivery::sid::Sid;
use tokio::sync::watch;

use crate::effects::Effects;
use crate::provider::Provider;
use crate::store::Queue;

/// What the room needs.
#[derive(Clone)]
pub struct Dispatch {
    /// The queue and the attempts.
    pub store: Arc<dyn Queue>,
    /// The provider that messages are sent through.
    pub provider: Arc<dyn Provider>,
    /// Clock and randomness.
    pub effects: Effects,
    /// Changes whenever the queue may have gained a due message.
    pub queue: watch::Receiver<u64>,
    /// Outages of the provider, as far as requests show them; the API reads it.
    pub outages: watch::Sender<Vec<Outage>>,
    /// What the operator set.
    pub settings: Settings,
    /// Nothing is sent before this is true: what people wrote while the server was away is known.
    pub caught_up: watch::Receiver<bool>,
}

/// What the operator set.
#[derive(Clone)]
pub struct Settings {
    /// Our senders with their keys in the store, and messages per second (`None`: no limit).
    pub senders: Vec<(SenderRow, SenderName, Option<f64>)>,
    /// A Messaging Service whose features apply.
    pub messaging_service: Option<Sid>,
    /// Between messages to one person, after a burst.
    pub person_interval: Duration,
    /// Divides the pauses of the breaker.
    pub clock_scale: u32,
    /// How long open requests may take to finish at shutdown.
    pub drain: Duration,
}
