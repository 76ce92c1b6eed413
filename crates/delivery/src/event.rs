//! The closed list of things that happen. The log, the live stream and every counter derive from
//! it, so a change here is a change of what we promise to others.

crate::stored! {
    /// What happened. No kind is ever removed. The word is what the log and the live stream use,
    /// after `message.`.
    EventKind {
        /// A message was stored.
        Accepted = 0 "accepted",
        /// An attempt row was committed; the request leaves after it.
        AttemptOpened = 1 "attempt_opened",
        /// The provider created the message.
        AttemptSent = 2 "attempt_sent",
        /// The attempt created nothing.
        AttemptNotSent = 3 "attempt_not_sent",
        /// The attempt ended without our knowing.
        AttemptUnknown = 4 "attempt_unknown",
        /// The provider refused the request.
        AttemptRefused = 5 "attempt_refused",
        /// The provider reported a status.
        Reported = 6 "reported",
        /// Evidence settled an unknown attempt.
        Settled = 7 "settled",
        /// The time for evidence is over, and the attempt is still unknown.
        HorizonPassed = 8 "horizon_passed",
        /// A new attempt was decided.
        RetryDecided = 9 "retry_decided",
        /// No further attempt: a rule at dispatch or the retry policy ended it.
        GivenUp = 10 "given_up",
        /// The caller canceled the message.
        Canceled = 11 "canceled",
        /// A newer notice with the same business key took its place.
        Superseded = 12 "superseded",
        /// Its deadline passed before it was sent.
        Expired = 13 "expired",
        /// The person has opted out.
        Suppressed = 14 "suppressed",
        /// Held for a decision.
        Held = 15 "held",
        /// The hold is over.
        Released = 16 "released",
        /// It is proven that an unknown attempt created nothing.
        AttemptAbsent = 17 "attempt_absent",
        /// Stronger evidence gave the provider's message to another attempt: what was concluded
        /// about this one from the list is taken back.
        EvidenceWithdrawn = 18 "evidence_withdrawn",
    }
}

crate::stored! {
    /// Who told us.
    Source {
        /// A caller of the API.
        Api = 0 "api",
        /// The dispatcher, from the answer to a request or a rule at dispatch.
        Dispatch = 1 "dispatch",
        /// A signed callback of the provider.
        Callback = 2 "callback",
        /// A question we asked the provider.
        Poll = 3 "poll",
        /// An operator.
        Operator = 4 "operator",
        /// The person, by an inbound message.
        Recipient = 5 "recipient",
    }
}
