//! The truth log: what was accepted, and what became of it.

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
    /// The text; of templates, the rendered one.
    pub body: String,
    /// The template.
    pub content_sid: Option<String>,
    /// Its values, as the JSON text that was given.
    pub content_variables: Option<String>,
    /// Where its reports go.
    pub status_callback: Option<String>,
    /// When its request had come in whole (RFC 3339).
    pub received_at: String,
    /// When it was accepted (RFC 3339).
    pub accepted_at: String,
    /// How the create was answered: a status, or `reset`, `hang`.
    pub answered: String,
    /// What became of it, in order.
    pub statuses: Vec<TruthStatus>,
}

/// A status that a message really took.
#[derive(Clone, Debug, Serialize)]
pub struct TruthStatus {
    /// Twilio's word.
    pub status: String,
    /// When (RFC 3339).
    pub at: String,
    /// Twilio's error code.
    pub error_code: Option<u32>,
    /// What became of its callback.
    pub callback: TruthCallback,
}

/// What became of a callback.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TruthCallback {
    /// How often it was tried.
    pub tries: u32,
    /// The status of the last answer; `None` when there was none.
    pub answered: Option<u16>,
    /// Whether it was lost on purpose.
    pub lost: bool,
}
