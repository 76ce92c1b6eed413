//! Where Twilio is, and how to talk to it.

use std::time::Duration;

use crate::config::Credentials;

/// Where Twilio is and how to talk to it. No `Debug`: it holds a secret.
#[derive(Clone)]
pub struct TwilioSettings {
    /// `https://api.twilio.com`, a regional host, or `http://127.0.0.1:PORT` of a simulator.
    pub base_url: String,
    /// The account: `AC` and 32 hexadecimal digits.
    pub account_sid: String,
    /// What proves that we may use it.
    pub credentials: Credentials,
    /// Our status callback as Twilio reaches it, without correlation id; `None` for no callbacks.
    pub status_callback_url: Option<String>,
    /// For a free connection, name resolution, TCP and TLS together.
    pub connect_timeout: Duration,
    /// From the first byte of a request to the last byte of its answer. Twilio's own limit is
    /// about 26 s; a shorter one makes unknown outcomes of slow answers.
    pub answer_timeout: Duration,
    /// Bytes of one answer's body.
    pub answer_bytes_max: usize,
    /// Connections open at one time, and so requests in flight.
    pub connections_max: usize,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TwilioSettingsError {
    /// The base URL is more or less than scheme, host and port.
    #[error("the Twilio base URL must be http:// or https:// and a host, without a path")]
    BaseUrl,
    /// The account SID is not one.
    #[error("the Twilio account SID must be AC and 32 hexadecimal digits")]
    AccountSid,
    /// The API key's SID is not one.
    #[error("the Twilio API key SID must be SK and 32 hexadecimal digits")]
    ApiKeySid,
    /// The TLS library does not start.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl TwilioSettings {
    /// Settings with the default limits.
    pub fn new(base_url: String, account_sid: String, credentials: Credentials) -> Self {
        Self {
            base_url,
            account_sid,
            credentials,
            status_callback_url: None,
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(30),
            answer_bytes_max: 1024 * 1024,
            connections_max: 50,
        }
    }
}
