//! The truth log: what was accepted, and what happened to it.

use serde::Serialize;

/// An accepted message, as the truth log shows it.
#[derive(Clone, Debug, Serialize)]
pub struct TruthMessage {
    /// Twilio's id.
    pub sid: String,
    /// Recipient as given.
    pub to: String,
    /// Sender as given, or as the Messaging Service chose it.
    pub from: Option<String>,
    /// Messaging Service as given.
    pub messaging_service_sid: Option<String>,
    /// The text; for templates, the rendered text.
    pub body: String,
    /// The template.
    pub content_sid: Option<String>,
    /// The template's values, as the JSON text that was given.
    pub content_variables: Option<String>,
    /// Where its status callbacks go.
    pub status_callback: Option<String>,
    /// When its request was received completely (RFC 3339).
    pub received_at: String,
    /// When it was accepted (RFC 3339).
    pub accepted_at: String,
    /// How the create was answered: an HTTP status, `reset`, `hang` or `garbage`.
    pub answered: String,
    /// Its statuses, in order.
    pub statuses: Vec<TruthStatus>,
}

/// A status that a message really had.
#[derive(Clone, Debug, Serialize)]
pub struct TruthStatus {
    /// Twilio's name of the status.
    pub status: String,
    /// When (RFC 3339).
    pub at: String,
    /// Twilio's error code.
    pub error_code: Option<u32>,
    /// What happened to its callback.
    pub callback: TruthCallback,
}

/// What happened to a callback.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TruthCallback {
    /// How many times sending it was tried.
    pub tries: u32,
    /// The status of the last response; `None` without one.
    pub answered: Option<u16>,
    /// Whether a fault kept it from being sent.
    pub lost: bool,
}

/// An inbound message, as the truth log shows it.
#[derive(Clone, Debug, Serialize)]
pub struct TruthInbound {
    /// Twilio's id.
    pub sid: String,
    /// The person, as the webhook is told.
    pub from: String,
    /// Our sender.
    pub to: String,
    /// The text; that of a button is its label.
    pub body: String,
    /// When the person wrote it (RFC 3339).
    pub written_at: String,
    /// What became of telling the webhook.
    pub webhook: TruthWebhook,
    /// Each request to the webhook, in order.
    pub tries: Vec<TruthTry>,
}

/// What became of telling the webhook of an inbound message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TruthWebhook {
    /// It has not been told yet.
    Pending,
    /// It has answered with success.
    Taken,
    /// It was not tried again: only the list has the message.
    GivenUp,
    /// A fault kept it from being told.
    Lost,
    /// There is none.
    None,
}

/// One request to the webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TruthTry {
    /// When it began (RFC 3339).
    pub at: String,
    /// The status of the response; `None` without one.
    pub answered: Option<u16>,
    /// Why there was none: `connect` or `read`.
    pub failed: Option<&'static str>,
}
