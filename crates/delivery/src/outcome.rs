//! What an attempt told us. `Unknown` is an outcome, not an error: it has its own path.

use std::time::Duration;

use crate::sid::Sid;
use crate::time::Timestamp;

/// What the provider's answer (or its absence) to one create request means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was created: no request byte left, or the provider said that it did not process
    /// the request (429).
    NotSent {
        /// Why not.
        cause: NotSentCause,
        /// How long the provider asked us to wait, when it did.
        retry_after: Option<RetryAfter>,
    },
    /// The provider created the message: a 2xx answer with a SID that reads as one.
    Sent {
        /// The provider's id of the message.
        sid: Sid,
        /// The first status, from the answer itself.
        status: ProviderStatus,
    },
    /// Some byte of the request may have left and no complete answer came back.
    Unknown(UnknownCause),
    /// The provider refused the request with an error body of its own; nothing was created.
    Refused {
        /// HTTP status of the answer, 400 to 499.
        http_status: u16,
        /// Twilio's error code; it can be missing from the body.
        code: Option<u32>,
    },
}

/// Why nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSentCause {
    /// The host name could not be resolved.
    Dns,
    /// No TCP connection could be made (refused, unreachable, timed out).
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The connection was lost before the first byte of this request was written.
    ConnectionLost,
    /// 429 (Twilio 20429): too many requests, not processed.
    RateLimited,
}

/// Why we do not know whether the message was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownCause {
    /// No complete answer within the time limit.
    Timeout,
    /// The connection ended after request bytes may have left.
    ConnectionLost,
    /// A 5xx or 408 answer: the provider itself may not know.
    ServerError(u16),
    /// An answer that does not read as Twilio's: garbage, a redirect, a 2xx without SID.
    Garbage(u16),
    /// The process ended while the attempt was open.
    ProcessEnded,
}

/// The value of a `Retry-After` header (RFC 9110, section 10.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// Wait this long from now.
    Delay(Duration),
    /// Wait until this instant.
    Until(Timestamp),
}

/// A message status in Twilio's words (`message_enum_status` of its API description).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProviderStatus {
    /// First status with a Messaging Service: the sender is not chosen yet.
    Accepted,
    /// Waiting at Twilio for its `SendAt`.
    Scheduled,
    /// First status with a plain sender: waiting for the sender's rate.
    Queued,
    /// Being handed to WhatsApp.
    Sending,
    /// Taken over by WhatsApp.
    Sent,
    /// On the person's device.
    Delivered,
    /// Deprecated at Twilio; treated like delivered.
    PartiallyDelivered,
    /// Opened by the person. Implies delivered.
    Read,
    /// WhatsApp reported that it could not deliver.
    Undelivered,
    /// It could not be sent.
    Failed,
    /// Cancelled before it was sent.
    Canceled,
    /// Inbound messages only.
    Receiving,
    /// Inbound messages only.
    Received,
    /// A word that this version does not know. Logged and counted, never an error.
    Other,
}

impl ProviderStatus {
    /// Every status, in the order of their numbers in the store.
    pub const ALL: [Self; 14] = [
        Self::Accepted,
        Self::Scheduled,
        Self::Queued,
        Self::Sending,
        Self::Sent,
        Self::Delivered,
        Self::PartiallyDelivered,
        Self::Read,
        Self::Undelivered,
        Self::Failed,
        Self::Canceled,
        Self::Receiving,
        Self::Received,
        Self::Other,
    ];

    /// Reads Twilio's word; words that are not known become [`ProviderStatus::Other`].
    pub fn from_name(word: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == word)
            .unwrap_or(Self::Other)
    }

    /// Twilio's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::PartiallyDelivered => "partially_delivered",
            Self::Read => "read",
            Self::Undelivered => "undelivered",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Receiving => "receiving",
            Self::Received => "received",
            Self::Other => "other",
        }
    }
}

impl Outcome {
    /// The stable word for the outcome's class, as the API and the store write it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NotSent { .. } => "not_sent",
            Self::Sent { .. } => "sent",
            Self::Unknown(_) => "unknown",
            Self::Refused { .. } => "refused",
        }
    }
}

impl NotSentCause {
    /// The stable word for the cause.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::ConnectionLost => "connection_lost_unwritten",
            Self::RateLimited => "rate_limited",
        }
    }
}

impl UnknownCause {
    /// The stable word for the cause.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::ConnectionLost => "connection_lost",
            Self::ServerError(_) => "server_error",
            Self::Garbage(_) => "garbage",
            Self::ProcessEnded => "process_ended",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_word_reads_back() {
        for status in ProviderStatus::ALL {
            assert_eq!(ProviderStatus::from_name(status.as_str()), status);
        }
        assert_eq!(
            ProviderStatus::from_name("teleported"),
            ProviderStatus::Other
        );
    }
}
