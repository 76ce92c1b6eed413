//! Whether and when to try again.

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::codes::{Action, Evidence, Rule, Scope};
use crate::hold::{self, HoldScope, Holding, Standing};
use crate::limits::{EVIDENCE_WAIT, PERSON_HOLDS_IN_A_ROW_MAX, RATE_LIMITED_ATTEMPTS_MAX};
use crate::message::Policy;
use crate::outcome::RetryAfter;
use crate::time::Timestamp;

/// With less time than this to its deadline, a message is not tried again after an outage.
const LEFT_MIN: Duration = Duration::from_secs(1);

/// How often and how late attempts are repeated. Both ladders are exponential with full jitter: each wait is drawn evenly
/// between nothing and the step, so that many messages that failed together do not return
/// together.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// First step for failures that pass within seconds.
    pub backoff_first: Duration,
    /// Longest step for them.
    pub backoff_cap: Duration,
    /// First step for limits that clear within minutes to a day.
    pub later_first: Duration,
    /// Longest step for them.
    pub later_cap: Duration,
    /// Most attempts of one message, without those that are spared.
    pub attempts_max: u32,
    /// A message that was tried for longer than this is not tried again.
    pub age_max: Duration,
    /// The longest `Retry-After` that is believed.
    pub retry_after_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            backoff_first: Duration::from_secs(1),
            backoff_cap: Duration::from_secs(5 * 60),
            later_first: Duration::from_secs(60),
            later_cap: Duration::from_secs(6 * 3_600),
            attempts_max: 8,
            age_max: Duration::from_secs(24 * 3_600),
            retry_after_max: Duration::from_secs(3_600),
        }
    }
}

/// Why an attempt did not end well.
#[derive(Clone, Debug)]
pub enum AttemptFailure {
    /// The provider was not reached. That says nothing about the message.
    NotReached,
    /// The provider did not take it because there are too many requests (429).
    RateLimited {
        /// How long the provider asked us to wait.
        retry_after: Option<RetryAfter>,
    },
    /// The provider said why, in its answer or on the message.
    Coded(Rule),
    /// Nobody can say whether it was sent, and the time for evidence is over.
    Unsettled,
    /// It was unknown, and is proven to have created nothing.
    Absent,
}

/// What is known about the message when the question is asked.
#[derive(Clone, Copy, Debug)]
pub struct RetryInput {
    /// Attempts made so far that count against a limit.
    pub attempts: u32,
    /// All attempts made so far.
    pub attempts_in_all: u32,
    /// The sum of the waits that were decided between its attempts.
    pub tried_for: Duration,
    /// The message's own deadline.
    pub expires_at: Option<Timestamp>,
    /// What may be done when nobody can say whether it was sent.
    pub policy: Policy,
    /// Whether a resend after doubt was already made.
    pub resent_after_doubt: bool,
    /// What is known about the code.
    pub standing: Standing,
    /// Now.
    pub now: Timestamp,
    /// 64 random bits, for the jitter.
    pub random: u64,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Try again, not before `at`.
    Retry {
        /// When.
        at: Timestamp,
        /// Whether the earlier attempt may have reached the person.
        possible_duplicate: bool,
    },
    /// Try again when the operator has resumed what is paused.
    RetryWhenResumed {
        /// What must be paused: the sender or the whole account.
        scope: Scope,
    },
    /// Try again when what is held is no longer held.
    RetryAfterHold(Holding),
    /// Try again after a while; it may be about the recipient, or about the sender. The message is
    /// noted as evidence.
    RetryAsEvidence {
        /// When.
        at: Timestamp,
    },
    /// It stays as it is.
    GiveUp(GiveUp),
    /// The person is suppressed, and with them this message.
    Suppress,
    /// Held for the operator.
    Hold,
}

/// Why there is no further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveUp {
    /// Another attempt cannot help.
    Permanent,
    /// Attempts are used up.
    AttemptsMax,
    /// The message is too old.
    AgeMax,
    /// It would come after the message's own deadline.
    Expires,
    /// The policy does not allow a resend after doubt.
    Policy,
}

/// Decides what to do about a failure.
pub fn decide(input: &RetryInput, failure: &AttemptFailure, policy: &RetryPolicy) -> Decision {
    match failure {
        AttemptFailure::NotReached => after_outage(input, policy),
        AttemptFailure::RateLimited { retry_after } => {
            let step = step(policy.backoff_first, policy.backoff_cap, input);
            let floor = retry_after.map_or(Duration::ZERO, |wait| asked_wait(wait, input, policy));
            let wait = floor.saturating_add(step);
            try_again(input, policy, wait, RATE_LIMITED_ATTEMPTS_MAX)
        }
        AttemptFailure::Unsettled => after_doubt(input, policy),
        AttemptFailure::Absent => match input.policy {
            Policy::Once | Policy::AtLeastOnce => {
                // Until it was proven, the message has waited long enough for once.
                let wait = match input.attempts_in_all {
                    0..=1 => Some(Duration::ZERO),
                    _ => wait_in_outage(input, policy),
                };
                match wait {
                    Some(wait) => try_again(input, policy, wait, u32::MAX),
                    None => Decision::GiveUp(GiveUp::Expires),
                }
            }
            Policy::AtMostOnce => Decision::GiveUp(GiveUp::Policy),
            Policy::Ask => Decision::Hold,
        },
        AttemptFailure::Coded(rule) => by_rule(input, rule, policy),
    }
}

/// However long it lasts, an outage ends no message: only the deadline does.
fn after_outage(input: &RetryInput, policy: &RetryPolicy) -> Decision {
    let Some(wait) = wait_in_outage(input, policy) else {
        return Decision::GiveUp(GiveUp::Expires);
    };
    Decision::Retry {
        at: input.now.plus(wait),
        possible_duplicate: input.resent_after_doubt,
    }
}

/// The attempts of an outage are spared; what grows with them is the wait, so that a message which
/// was the probe leaves the next probes to others. It ends well before the deadline, because the outage
/// may; `None` when the deadline has come.
fn wait_in_outage(input: &RetryInput, policy: &RetryPolicy) -> Option<Duration> {
    let left = input.expires_at.map(|expires| expires.since(input.now));
    if left.is_some_and(|left| left < LEFT_MIN) {
        return None;
    }
    let cap = left.map_or(policy.backoff_cap, |left| policy.backoff_cap.min(left / 2));
    let attempts = input.attempts_in_all;
    let input = &RetryInput { attempts, ..*input };
    Some(step(policy.backoff_first, cap, input))
}

fn by_rule(input: &RetryInput, rule: &Rule, policy: &RetryPolicy) -> Decision {
    let attempts_max = rule.attempts_max.unwrap_or(policy.attempts_max);
    let floor = rule.wait.unwrap_or(Duration::ZERO);
    if let Some(scope) = hold::scope_of(rule, input.standing.others_met_it) {
        return by_hold(input, rule, scope, policy);
    }
    match rule.action {
        Action::RetryBackoff => {
            let step = step(policy.backoff_first, policy.backoff_cap, input);
            try_again(input, policy, floor.saturating_add(step), attempts_max)
        }
        Action::RetryLater => {
            let step = step(policy.later_first, policy.later_cap, input);
            try_again(input, policy, floor.saturating_add(step), attempts_max)
        }
        Action::ReconcileThenRetry => after_doubt(input, policy),
        Action::ConfigAlert => match rule.scope {
            Scope::Sender | Scope::Account => by_evidence(input, rule),
            Scope::Message
            | Scope::Recipient
            | Scope::Template
            | Scope::Country
            | Scope::Endpoint => Decision::GiveUp(GiveUp::Permanent),
        },
        Action::OptOut => Decision::Suppress,
        Action::PermanentRecipient
        | Action::PermanentContent
        | Action::ClientBug
        | Action::TemplateFallback
        | Action::WebhookHealth
        | Action::Informational => Decision::GiveUp(GiveUp::Permanent),
    }
}

/// A hold makes the message and others wait, and its time costs none of them anything. Where it is
/// about many people, only the deadline ends it; where it is about one, so do too many in a row, and
/// the limit that a code brings with it.
fn by_hold(input: &RetryInput, rule: &Rule, scope: HoldScope, policy: &RetryPolicy) -> Decision {
    let attempts_max = rule.attempts_max.unwrap_or(policy.attempts_max);
    let standing = &input.standing;
    let wait = match rule.action {
        Action::ConfigAlert => rule.wait,
        _ => Some(rule.wait.unwrap_or(policy.later_first)),
    };
    let is_shared = hold::scope_of(rule, true).is_some_and(hold::is_shared);
    let spares = is_shared || rule.attempts_max.is_none();
    if !spares && input.attempts >= attempts_max {
        return Decision::GiveUp(GiveUp::AttemptsMax);
    }
    let cannot_be_held = scope == HoldScope::Template && !standing.has_template;
    if cannot_be_held || (wait.is_none() && standing.stopped_others_before) {
        return Decision::GiveUp(GiveUp::Permanent);
    }
    Decision::RetryAfterHold(Holding {
        scope,
        kind: rule.kind,
        wait,
        spares,
        in_a_row_max: (!is_shared).then_some(PERSON_HOLDS_IN_A_ROW_MAX),
        is_evidence: wait.is_none() || rule.evidence == Evidence::TwoPeople,
    })
}

/// Others are stopped only by what cannot be about one recipient, and by each message only once.
fn by_evidence(input: &RetryInput, rule: &Rule) -> Decision {
    let standing = &input.standing;
    let stops_others = match rule.evidence {
        Evidence::Message => false,
        Evidence::One => true,
        Evidence::TwoPeople => standing.others_met_it,
    };
    if standing.stopped_others_before || rule.evidence == Evidence::Message {
        Decision::GiveUp(GiveUp::Permanent)
    } else if stops_others {
        Decision::RetryWhenResumed { scope: rule.scope }
    } else if standing.met_before {
        Decision::GiveUp(GiveUp::Permanent)
    } else {
        Decision::RetryAsEvidence {
            at: input.now.plus(EVIDENCE_WAIT),
        }
    }
}

/// The message may have reached the person: its own policy decides, and one resend is all there
/// is.
fn after_doubt(input: &RetryInput, policy: &RetryPolicy) -> Decision {
    match input.policy {
        Policy::AtMostOnce | Policy::Once => Decision::GiveUp(GiveUp::Policy),
        Policy::Ask => Decision::Hold,
        Policy::AtLeastOnce if input.resent_after_doubt => Decision::GiveUp(GiveUp::Policy),
        Policy::AtLeastOnce => {
            match try_again(input, policy, Duration::ZERO, policy.attempts_max) {
                Decision::Retry { at, .. } => Decision::Retry {
                    at,
                    possible_duplicate: true,
                },
                other => other,
            }
        }
    }
}

fn try_again(
    input: &RetryInput,
    policy: &RetryPolicy,
    wait: Duration,
    attempts_max: u32,
) -> Decision {
    let at = input.now.plus(wait);
    if input.attempts >= attempts_max {
        return Decision::GiveUp(GiveUp::AttemptsMax);
    }
    if input.expires_at.is_some_and(|expires| at >= expires) {
        return Decision::GiveUp(GiveUp::Expires);
    }
    if input.tried_for.saturating_add(wait) > policy.age_max.max(wait.saturating_mul(2)) {
        return Decision::GiveUp(GiveUp::AgeMax);
    }
    Decision::Retry {
        at,
        possible_duplicate: input.resent_after_doubt,
    }
}

/// An even draw between zero and the exponential step of this attempt.
fn step(first: Duration, cap: Duration, input: &RetryInput) -> Duration {
    let doublings = input.attempts.saturating_sub(1).min(31);
    let full = first.saturating_mul(1 << doublings).min(cap);
    let micros = u64::try_from(full.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(((u128::from(input.random) * u128::from(micros)) >> 64) as u64)
}

/// What the provider asked for, within what is believed.
fn asked_wait(wait: RetryAfter, input: &RetryInput, policy: &RetryPolicy) -> Duration {
    let asked = match wait {
        RetryAfter::Delay(delay) => delay,
        RetryAfter::Until(instant) => instant.since(input.now),
    };
    asked.min(policy.retry_after_max)
}
