//! Where a message is, and the only function that moves it.
//!
//! Reports of the provider are a *join*: the state is the highest one seen, so that any order and
//! any repetition of the same reports ends in the same state. What we decide ourselves (retry,
//! cancel, hold …) moves the state only from where the decision makes sense.

#[cfg(test)]
mod tests;

use crate::outcome::ProviderStatus;

crate::stored! {
    /// Where a message is.
    State {
        /// Stored; waits for its turn.
        Accepted = 0 "accepted",
        /// Waits for a time: the caller's `send_at`, or a retry.
        Scheduled = 1 "scheduled",
        /// An attempt is open.
        Sending = 2 "sending",
        /// An attempt ended without our knowing whether the provider created the message.
        Unknown = 3 "unknown",
        /// Held: an operator or a policy must decide.
        Held = 4 "held",
        /// Never sent: the person has opted out.
        Suppressed = 5 "suppressed",
        /// Never sent: its time ran out.
        Expired = 6 "expired",
        /// Never sent: canceled by the caller or superseded by a newer notice.
        Canceled = 7 "canceled",
        /// The provider has it.
        Queued = 8 "queued",
        /// WhatsApp has it.
        Sent = 9 "sent",
        /// It could not be sent.
        Failed = 10 "failed",
        /// WhatsApp could not deliver it.
        Undelivered = 11 "undelivered",
        /// On the person's device.
        Delivered = 12 "delivered",
        /// Opened by the person; implies delivered.
        Read = 13 "read",
    }
}

impl State {
    /// The place in the order of the join: what is higher wins over what is lower.
    ///
    /// The resting states that mean "never sent" (`canceled` … `held`) stand below `queued`,
    /// because a report that the message went out after all is a fact that wins over our decision.
    pub const fn rank(self) -> u8 {
        match self {
            Self::Accepted => 0,
            Self::Scheduled => 1,
            Self::Sending => 2,
            Self::Unknown => 3,
            Self::Held => 4,
            Self::Suppressed => 5,
            Self::Expired => 6,
            Self::Canceled => 7,
            Self::Queued => 8,
            Self::Sent => 9,
            Self::Failed => 10,
            Self::Undelivered => 11,
            Self::Delivered => 12,
            Self::Read => 13,
        }
    }

    /// Whether this state or a higher one has been reached.
    pub const fn is_at_least(self, other: Self) -> bool {
        self.rank() >= other.rank()
    }

    /// Whether a message in this state is stopped by an opt-out and held by a question: it waits,
    /// or is held.
    pub const fn is_stoppable(self) -> bool {
        matches!(self, Self::Accepted | Self::Scheduled | Self::Held)
    }

    /// Whether the message waits in the queue and no attempt is open.
    pub fn is_waiting(self) -> bool {
        matches!(self, Self::Accepted | Self::Scheduled)
    }

    /// Whether nothing more happens to the message by itself.
    pub fn is_resting(self) -> bool {
        match self {
            Self::Accepted | Self::Scheduled | Self::Sending | Self::Queued | Self::Sent => false,
            Self::Unknown
            | Self::Held
            | Self::Suppressed
            | Self::Expired
            | Self::Canceled
            | Self::Failed
            | Self::Undelivered
            | Self::Delivered
            | Self::Read => true,
        }
    }
}

/// Something that the rules are told about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// The attempt row was committed; the request leaves now.
    AttemptOpened,
    /// The attempt told us that nothing was created.
    OutcomeNotSent,
    /// The attempt told us that the provider created the message.
    OutcomeSent(ProviderStatus),
    /// The attempt ended without our knowing.
    OutcomeUnknown,
    /// What was concluded about the latest attempt is taken back; nobody knows again.
    EvidenceWithdrawn,
    /// The provider, or a rule at dispatch, refused the message for good.
    Refused,
    /// The provider reports about the latest attempt.
    Reported(ProviderStatus),
    /// The provider reports about an attempt that a later one has replaced.
    ReportedEarlier(ProviderStatus),
    /// A new attempt of the same message was decided, by a rule or by an operator.
    RetryDecided,
    /// The caller canceled it, or a newer notice superseded it.
    CancelDecided,
    /// `expires_at` has passed.
    ExpiryPassed,
    /// The person has opted out.
    OptedOut,
    /// A policy or the operator holds it.
    HoldDecided,
    /// The hold is over.
    ReleaseDecided,
}

/// What a fact did to the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The state moved.
    To(State),
    /// The fact tells nothing new, or comes too late to matter.
    Same,
    /// The fact contradicts the state: kept on record and counted, and the state is the given
    /// one, moved only where a device receipt proves it.
    Anomaly(State),
}

impl Step {
    /// The state after the step, given the one before.
    pub fn state(self, before: State) -> State {
        match self {
            Self::To(state) | Self::Anomaly(state) => state,
            Self::Same => before,
        }
    }
}

/// Moves a state by a fact. Total and pure; the whole table is a snapshot in the tests.
pub fn advance(state: State, fact: Fact) -> Step {
    match fact {
        Fact::AttemptOpened => only_from(state.is_waiting(), State::Sending),
        Fact::OutcomeNotSent => Step::Same,
        Fact::OutcomeSent(status) => join_sent(state, status),
        Fact::OutcomeUnknown => match state {
            State::Sending => Step::To(State::Unknown),
            _ => Step::Same,
        },
        Fact::EvidenceWithdrawn => match state {
            State::Scheduled
            | State::Queued
            | State::Sent
            | State::Failed
            | State::Undelivered
            | State::Delivered
            | State::Read => Step::To(State::Unknown),
            _ => Step::Same,
        },
        Fact::Refused => match state {
            State::Accepted | State::Scheduled | State::Sending | State::Unknown | State::Held => {
                Step::To(State::Failed)
            }
            _ => Step::Anomaly(state),
        },
        Fact::Reported(status) => join_report(state, status),
        Fact::ReportedEarlier(status) => match status {
            ProviderStatus::Delivered
            | ProviderStatus::PartiallyDelivered
            | ProviderStatus::Read => join_report(state, status),
            _ => Step::Same,
        },
        Fact::RetryDecided => only_from(may_retry(state), State::Scheduled),
        Fact::CancelDecided => only_from(may_stop(state), State::Canceled),
        Fact::ExpiryPassed => only_from(may_stop(state), State::Expired),
        Fact::OptedOut => only_from(may_stop(state), State::Suppressed),
        Fact::HoldDecided => only_from(state.is_waiting() || state == State::Unknown, State::Held),
        Fact::ReleaseDecided => only_from(state == State::Held, State::Scheduled),
    }
}

/// Whether a retry may be decided in this state.
pub fn may_retry(state: State) -> bool {
    matches!(
        state,
        State::Sending | State::Unknown | State::Held | State::Failed | State::Undelivered
    )
}

/// Whether the message can still be stopped: it waits, and no attempt is open.
pub fn may_stop(state: State) -> bool {
    state.is_stoppable()
}

/// The state that a provider's status stands for; `None` for statuses that say nothing about an
/// outbound message.
pub fn state_of(status: ProviderStatus) -> Option<State> {
    match status {
        ProviderStatus::Accepted
        | ProviderStatus::Scheduled
        | ProviderStatus::Queued
        | ProviderStatus::Sending => Some(State::Queued),
        ProviderStatus::Sent => Some(State::Sent),
        ProviderStatus::Delivered | ProviderStatus::PartiallyDelivered => Some(State::Delivered),
        ProviderStatus::Read => Some(State::Read),
        ProviderStatus::Undelivered => Some(State::Undelivered),
        // We never cancel a message at the provider. Whoever has done it there has ended it, and it
        // stands where an end of the provider stands: above `queued`.
        ProviderStatus::Failed | ProviderStatus::Canceled => Some(State::Failed),
        ProviderStatus::Receiving | ProviderStatus::Received | ProviderStatus::Other => None,
    }
}

fn only_from(allowed: bool, next: State) -> Step {
    if allowed { Step::To(next) } else { Step::Same }
}

/// A 2xx answer proves that the provider has the message, whatever its status word says.
fn join_sent(state: State, status: ProviderStatus) -> Step {
    let said = match state_of(status) {
        Some(said) if said.is_at_least(State::Queued) => said,
        Some(_) | None => State::Queued,
    };
    if said.rank() > state.rank() {
        Step::To(said)
    } else {
        Step::Same
    }
}

fn join_report(state: State, status: ProviderStatus) -> Step {
    let Some(said) = state_of(status) else {
        return Step::Same;
    };
    if state.is_at_least(said) {
        return Step::Same;
    }
    let contradicts = matches!(
        state,
        State::Suppressed | State::Expired | State::Canceled | State::Failed | State::Undelivered
    );
    if contradicts {
        Step::Anomaly(said)
    } else {
        Step::To(said)
    }
}
