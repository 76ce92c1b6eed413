//! The closed list of things that happen. The log, the live stream and every counter derive from
//! it, so a change here is a change of what we promise to others.

/// What happened. The numbers of the store are the places in [`EventKind::ALL`]: new kinds are
/// added at the end, and no kind is ever removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A message was stored.
    Accepted,
    /// An attempt row was committed; the request leaves after it.
    AttemptOpened,
    /// The provider created the message.
    AttemptSent,
    /// The attempt created nothing.
    AttemptNotSent,
    /// The attempt ended without our knowing.
    AttemptUnknown,
    /// The provider refused the request.
    AttemptRefused,
    /// The provider reported a status.
    Reported,
    /// Evidence settled an unknown attempt.
    Settled,
    /// The time for evidence is over, and the attempt is still unknown.
    HorizonPassed,
    /// A new attempt was decided.
    RetryDecided,
    /// No further attempt: a rule at dispatch or the retry policy ended it.
    GivenUp,
    /// The caller cancelled the message.
    Canceled,
    /// A newer notice with the same business key took its place.
    Superseded,
    /// Its deadline passed before it was sent.
    Expired,
    /// The person has opted out.
    Suppressed,
    /// Held for a decision.
    Held,
    /// The hold is over.
    Released,
}

impl EventKind {
    /// Every kind, in the order of their numbers in the store.
    pub const ALL: [Self; 17] = [
        Self::Accepted,
        Self::AttemptOpened,
        Self::AttemptSent,
        Self::AttemptNotSent,
        Self::AttemptUnknown,
        Self::AttemptRefused,
        Self::Reported,
        Self::Settled,
        Self::HorizonPassed,
        Self::RetryDecided,
        Self::GivenUp,
        Self::Canceled,
        Self::Superseded,
        Self::Expired,
        Self::Suppressed,
        Self::Held,
        Self::Released,
    ];

    /// The word that the log and the live stream use, after `message.`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::AttemptOpened => "attempt_opened",
            Self::AttemptSent => "attempt_sent",
            Self::AttemptNotSent => "attempt_not_sent",
            Self::AttemptUnknown => "attempt_unknown",
            Self::AttemptRefused => "attempt_refused",
            Self::Reported => "reported",
            Self::Settled => "settled",
            Self::HorizonPassed => "horizon_passed",
            Self::RetryDecided => "retry_decided",
            Self::GivenUp => "given_up",
            Self::Canceled => "canceled",
            Self::Superseded => "superseded",
            Self::Expired => "expired",
            Self::Suppressed => "suppressed",
            Self::Held => "held",
            Self::Released => "released",
        }
    }
}

/// Who told us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A caller of the API.
    Api,
    /// The dispatcher, from the answer to a request or a rule at dispatch.
    Dispatch,
    /// A signed callback of the provider.
    Callback,
    /// A question we asked the provider.
    Poll,
    /// An operator.
    Operator,
    /// The person, by an inbound message.
    Recipient,
}

impl Source {
    /// Every source, in the order of their numbers in the store.
    pub const ALL: [Self; 6] = [
        Self::Api,
        Self::Dispatch,
        Self::Callback,
        Self::Poll,
        Self::Operator,
        Self::Recipient,
    ];

    /// The word that the API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Dispatch => "dispatch",
            Self::Callback => "callback",
            Self::Poll => "poll",
            Self::Operator => "operator",
            Self::Recipient => "recipient",
        }
    }
}
