//! Outages of the provider, or of the way to it: what an outcome says about them, whatever it says
//! about its message.

use std::fmt;

use crate::message::SenderName;
use crate::outcome::{NotSentCause, Outcome, UnknownCause};
use crate::time::Timestamp;

/// What an outcome says about the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The provider itself has answered: it takes, refuses or limits requests.
    Reached,
    /// The provider was not reached, or what came back does not come from it in good order.
    Failed(OutageReason),
    /// Nothing: no request was made.
    Nothing,
}

/// Why a request did not end with an answer of the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutageReason {
    /// Its name cannot be resolved.
    Dns,
    /// No connection can be made.
    Connect,
    /// The TLS handshake fails.
    Tls,
    /// Connections break.
    ConnectionLost,
    /// There is no complete answer in time.
    NoAnswer,
    /// It answers with this status, 408 or 500 to 599.
    ServerError(u16),
    /// The answer with this status does not read as the provider's: a page of a firewall, a
    /// redirect. 0 when it is not even HTTP.
    Garbage(u16),
}

/// A time in which requests fail one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// The sender whose requests alone are concerned; `None` for all of the account.
    pub sender: Option<SenderName>,
    /// When the first of the requests failed.
    pub since: Timestamp,
    /// Why the latest one did.
    pub reason: OutageReason,
    /// Requests made since then to see whether it is over.
    pub probes: u64,
    /// Until when it is believed in, unless another request fails
    /// ([`OUTAGE_BELIEVED_FOR`](crate::limits::OUTAGE_BELIEVED_FOR)).
    pub believed_until: Timestamp,
}

impl Outage {
    /// Whether requests have failed lately. Where nothing waits nobody asks, and an outage of last
    /// night says nothing about the morning.
    pub fn is_believed(&self, now: Timestamp) -> bool {
        now < self.believed_until
    }
}

/// What people wrote cannot be listed, or not all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlisted {
    /// Since when.
    pub since: Timestamp,
    /// Whether nothing is sent before it is listed.
    pub sending_waits: bool,
    /// What is wrong, in words for the operator.
    pub why: String,
}

/// What an outcome says about the provider.
pub const fn verdict(outcome: &Outcome) -> Verdict {
    use {NotSentCause as NotSent, OutageReason as Reason, UnknownCause as Unknown};
    let reason = match outcome {
        Outcome::Sent { .. } | Outcome::Refused { .. } => return Verdict::Reached,
        Outcome::NotSent { cause, .. } => match cause {
            NotSent::RateLimited => return Verdict::Reached,
            NotSent::DeadlinePassed => return Verdict::Nothing,
            NotSent::Dns => Reason::Dns,
            NotSent::Connect => Reason::Connect,
            NotSent::Tls => Reason::Tls,
            NotSent::ConnectionLost => Reason::ConnectionLost,
        },
        Outcome::Unknown(cause) => match cause {
            Unknown::ProcessEnded | Unknown::Restored => return Verdict::Nothing,
            Unknown::Timeout => Reason::NoAnswer,
            Unknown::ConnectionLost => Reason::ConnectionLost,
            Unknown::ServerError(status) => Reason::ServerError(*status),
            Unknown::Garbage(status) => Reason::Garbage(*status),
        },
    };
    Verdict::Failed(reason)
}

impl OutageReason {
    /// The stable word, for the labels of metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::ConnectionLost => "connection_lost",
            Self::NoAnswer => "no_answer",
            Self::ServerError(_) => "server_error",
            Self::Garbage(_) => "garbage",
        }
    }
}

/// In words, as the end of a sentence about Twilio.
impl fmt::Display for OutageReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns => f.write_str("its name cannot be resolved"),
            Self::Connect => f.write_str("no connection"),
            Self::Tls => f.write_str("the TLS handshake fails"),
            Self::ConnectionLost => f.write_str("connections break"),
            Self::NoAnswer => f.write_str("no answer in time"),
            Self::ServerError(status) => write!(f, "HTTP {status}"),
            Self::Garbage(0) => f.write_str("answers that are not HTTP"),
            Self::Garbage(status) => write!(f, "HTTP {status} that is not from Twilio"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::ProviderStatus;
    use crate::sid::Sid;

    #[test]
    fn an_answer_of_the_provider_is_no_failure_whatever_it_says() {
        let sid = Sid::parse("SM00000000000000000000000000000001", &["SM"]).unwrap();
        let sent = Outcome::Sent {
            sid,
            status: ProviderStatus::Failed,
        };
        let refused = Outcome::Refused {
            http_status: 401,
            code: Some(20_003),
        };
        let limited = not_sent(NotSentCause::RateLimited);
        for outcome in [sent, refused, limited] {
            assert_eq!(verdict(&outcome), Verdict::Reached, "{outcome:?}");
        }
    }

    #[test]
    fn whatever_else_ends_a_request_is_a_failure_and_says_why() {
        for (outcome, word, text) in [
            (
                not_sent(NotSentCause::Dns),
                "dns",
                "its name cannot be resolved",
            ),
            (not_sent(NotSentCause::Connect), "connect", "no connection"),
            (
                not_sent(NotSentCause::Tls),
                "tls",
                "the TLS handshake fails",
            ),
            (
                not_sent(NotSentCause::ConnectionLost),
                "connection_lost",
                "connections break",
            ),
            (
                Outcome::Unknown(UnknownCause::Timeout),
                "no_answer",
                "no answer in time",
            ),
            (
                Outcome::Unknown(UnknownCause::ServerError(503)),
                "server_error",
                "HTTP 503",
            ),
            (
                Outcome::Unknown(UnknownCause::Garbage(403)),
                "garbage",
                "HTTP 403 that is not from Twilio",
            ),
        ] {
            let Verdict::Failed(reason) = verdict(&outcome) else {
                panic!("{outcome:?} is a failure");
            };
            assert_eq!((reason.as_str(), reason.to_string().as_str()), (word, text));
        }
        let ended = Outcome::Unknown(UnknownCause::ProcessEnded);
        for outcome in [ended, not_sent(NotSentCause::DeadlinePassed)] {
            assert_eq!(verdict(&outcome), Verdict::Nothing, "{outcome:?}");
        }
    }

    fn not_sent(cause: NotSentCause) -> Outcome {
        Outcome::NotSent {
            cause,
            retry_after: None,
        }
    }
}
