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
    /// The message's deadline passed before the first byte of the request could leave.
    DeadlinePassed,
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
    /// The database was restored or copied: another server may have sent the message since.
    Restored,
}

/// The value of a `Retry-After` header (RFC 9110, section 10.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// Wait this long from now.
    Delay(Duration),
    /// Wait until this instant.
    Until(Timestamp),
}

crate::stored! {
    /// A message status in Twilio's words (`message_enum_status` of its API description).
    #[derive(PartialOrd, Ord)]
    ProviderStatus {
        /// First status with a Messaging Service: the sender is not chosen yet.
        Accepted = 0 "accepted",
        /// Waiting at Twilio for its `SendAt`.
        Scheduled = 1 "scheduled",
        /// First status with a plain sender: waiting for the sender's rate.
        Queued = 2 "queued",
        /// Being handed to WhatsApp.
        Sending = 3 "sending",
        /// Taken over by WhatsApp.
        Sent = 4 "sent",
        /// On the person's device.
        Delivered = 5 "delivered",
        /// Deprecated at Twilio; treated like delivered.
        PartiallyDelivered = 6 "partially_delivered",
        /// Opened by the person. Implies delivered.
        Read = 7 "read",
        /// WhatsApp reported that it could not deliver.
        Undelivered = 8 "undelivered",
        /// It could not be sent.
        Failed = 9 "failed",
        /// Canceled before it was sent.
        Canceled = 10 "canceled",
        /// Inbound messages only.
        Receiving = 11 "receiving",
        /// Inbound messages only.
        Received = 12 "received",
        /// A word that this version does not know. Logged and counted, never an error.
        Other = 13 "other",
    }
}

impl ProviderStatus {
    /// Reads Twilio's word; words that are not known become [`ProviderStatus::Other`].
    pub fn read(word: &str) -> Self {
        Self::from_name(word).unwrap_or(Self::Other)
    }

    /// A bit of its own, for sets of statuses.
    pub const fn bit(self) -> u32 {
        1 << self.number()
    }
}

crate::stored! {
    /// How we know which message of the provider an attempt became, or that it became none.
    SettledBy {
        /// The answer to the request itself.
        Answer = 0 "answer",
        /// A signed callback that carries our correlation id.
        Callback = 1 "callback",
        /// The provider's list: circumstances alone.
        List = 2 "list",
        /// The provider's list, in which it is proven to be missing.
        Absence = 3 "absence",
    }
}

impl SettledBy {
    /// Whether a provider's id that this source gave to another attempt is taken from it when
    /// `newer` names this attempt. What the provider itself said about both stays as it is.
    pub const fn yields_to(self, newer: Self) -> bool {
        match (self, newer) {
            (Self::List, Self::Answer | Self::Callback) => true,
            (Self::Answer | Self::Callback | Self::List | Self::Absence, _) => false,
        }
    }
}

crate::stored! {
    /// The class of an outcome.
    OutcomeKind {
        /// See [`Outcome::NotSent`].
        NotSent = 0 "not_sent",
        /// See [`Outcome::Sent`].
        Sent = 1 "sent",
        /// See [`Outcome::Unknown`].
        Unknown = 2 "unknown",
        /// See [`Outcome::Refused`].
        Refused = 3 "refused",
        /// Unknown at first; then it was proven that the provider never created the message
        /// (module [`absence`](crate::absence)).
        Absent = 4 "absent",
    }
}

impl Outcome {
    /// Its class.
    pub const fn kind(&self) -> OutcomeKind {
        match self {
            Self::NotSent { .. } => OutcomeKind::NotSent,
            Self::Sent { .. } => OutcomeKind::Sent,
            Self::Unknown(_) => OutcomeKind::Unknown,
            Self::Refused { .. } => OutcomeKind::Refused,
        }
    }

    /// The word for why nothing was sent or why nobody knows; `None` for the other classes.
    pub const fn cause(&self) -> Option<&'static str> {
        match self {
            Self::NotSent { cause, .. } => Some(cause.as_str()),
            Self::Unknown(cause) => Some(cause.as_str()),
            Self::Sent { .. } | Self::Refused { .. } => None,
        }
    }

    /// The provider's error code in a refusal.
    pub const fn code(&self) -> Option<u32> {
        match self {
            Self::Refused { code, .. } => *code,
            Self::NotSent { .. } | Self::Sent { .. } | Self::Unknown(_) => None,
        }
    }
}

impl NotSentCause {
    /// The stable word for the cause.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::ConnectionLost => "connection_lost_unwritten",
            Self::RateLimited => "rate_limited",
            Self::DeadlinePassed => "deadline_passed",
        }
    }
}

impl UnknownCause {
    /// The stable word for the cause.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::ConnectionLost => "connection_lost",
            Self::ServerError(_) => "server_error",
            Self::Garbage(_) => "garbage",
            Self::ProcessEnded => "process_ended",
            Self::Restored => "restored",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_word_reads_back() {
        for &status in ProviderStatus::ALL {
            assert_eq!(ProviderStatus::read(status.as_str()), status);
        }
        assert_eq!(ProviderStatus::read("teleported"), ProviderStatus::Other);
    }
}
