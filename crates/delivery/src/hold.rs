//! Holds: who else waits because of what the provider said about one message, for how long, and
//! what had happened before.
//!
//! A hold names a person, a template, a sender or the account. What is held costs no attempt, and
//! its time is no age. A hold ends by itself, or when an operator lifts it.

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::codes::{Action, Evidence, Rule, Scope};
use crate::limits::HOLDS_IN_A_ROW_WITHIN;
use crate::message::Kind;
use crate::time::Timestamp;

crate::stored! {
    /// What is held.
    HoldScope {
        /// Everything to one person, or everything of one kind.
        Recipient = 0 "recipient",
        /// Everything with one template.
        Template = 1 "template",
        /// Everything from one sender.
        Sender = 2 "sender",
        /// Everything of the account.
        Account = 3 "account",
    }
}

/// From this instant on (the beginning of the year 9999), the end of a hold means: when it is
/// lifted, and not before.
pub const LIFTED_ONLY: Timestamp = Timestamp::from_seconds(253_370_764_800);
/// Holds that wait to be lifted have ends of their own, so that what waits for one of them is found
/// by its due time: microseconds of about a hundred days.
const LIFTED_ONLY_SPREAD_MICROS: i64 = 10_000_000_000_000;

/// A hold to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewHold {
    /// What is held.
    pub scope: HoldScope,
    /// The only kind of message that is held; `None` for all.
    pub kind: Option<Kind>,
    /// When it begins.
    pub since: Timestamp,
    /// When it ends; see [`ends_when_lifted`].
    pub until: Timestamp,
    /// How many holds of the same came just before it.
    pub step: u32,
}

/// The last hold of the same, over or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarlierHold {
    /// When it began.
    pub since: Timestamp,
    /// When it was to end.
    pub until: Timestamp,
    /// When it was lifted.
    pub lifted_at: Option<Timestamp>,
    /// How many holds of the same came just before it.
    pub step: u32,
}

/// What is known about a code, beside the message that has just met it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// When the attempt began that met it.
    pub started_at: Timestamp,
    /// The last hold of what the code names.
    pub hold: Option<EarlierHold>,
    /// Whether the message has a template that could be held.
    pub has_template: bool,
    /// Whether the message met this code before.
    pub met_before: bool,
    /// Whether the message has paused or held others because of this code before.
    pub stopped_others_before: bool,
    /// Whether another person's message met this code within [`EVIDENCE_WINDOW`].
    ///
    /// [`EVIDENCE_WINDOW`]: crate::limits::EVIDENCE_WINDOW
    pub others_met_it: bool,
}

/// A hold that a rule asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// What is to be held.
    pub scope: HoldScope,
    /// The only kind of message that is to be held; `None` for all.
    pub kind: Option<Kind>,
    /// The wait of the first hold; `None` until it is lifted.
    pub wait: Option<Duration>,
    /// Whether the attempt which met the code does not count.
    pub spares: bool,
    /// How many holds in a row there may be before the message fails; `None` when only its deadline
    /// ends it.
    pub in_a_row_max: Option<u32>,
    /// Whether it is to be kept as evidence that the message met the code.
    pub is_evidence: bool,
}

/// Until when the message waits that met the code, and the hold that it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// When it is tried again.
    pub until: Timestamp,
    /// The hold that begins; `None` when one is in effect, or when the message says nothing new.
    pub begins: Option<NewHold>,
}

/// What a rule holds, if anything. What needs two people as evidence holds the one person as long as
/// no other is known.
pub fn scope_of(rule: &Rule, others_met_it: bool) -> Option<HoldScope> {
    let proven = rule.evidence == Evidence::One || others_met_it;
    match (rule.action, rule.scope) {
        (Action::RetryLater, Scope::Template | Scope::Sender | Scope::Account) if !proven => {
            Some(HoldScope::Recipient)
        }
        (Action::RetryLater, Scope::Recipient) => Some(HoldScope::Recipient),
        (Action::RetryLater, Scope::Template) => Some(HoldScope::Template),
        (Action::RetryLater, Scope::Sender) => Some(HoldScope::Sender),
        (Action::RetryLater, Scope::Account) => Some(HoldScope::Account),
        (Action::ConfigAlert, Scope::Template) if rule.evidence != Evidence::Message => {
            Some(HoldScope::Template)
        }
        _ => None,
    }
}

/// Whether what is known about a code decides what follows from it, so that it must be looked up.
pub fn standing_matters(rule: &Rule) -> bool {
    scope_of(rule, true).is_some() || rule.action == Action::ConfigAlert
}

/// Whether the end of a hold means that it ends when it is lifted.
pub fn ends_when_lifted(until: Timestamp) -> bool {
    until >= LIFTED_ONLY
}

/// Whether what is known about holds concerns more than one person: then what it costs is not the
/// message's own.
pub fn is_shared(scope: HoldScope) -> bool {
    match scope {
        HoldScope::Recipient => false,
        HoldScope::Template | HoldScope::Sender | HoldScope::Account => true,
    }
}

/// Decides about a hold. Waits are divided by `clock_scale`; `cap` bounds them unless the rule's own
/// wait is longer.
pub fn hold(
    holding: Holding,
    standing: &Standing,
    now: Timestamp,
    cap: Duration,
    clock_scale: u32,
) -> Held {
    let scaled = |wait: Duration| wait / clock_scale.max(1);
    if let Some(earlier) = standing.hold {
        let end = earlier.end();
        let is_over = earlier.is_over(now);
        let for_longer = holding.wait.is_none() && !ends_when_lifted(earlier.until);
        if !is_over && !for_longer {
            return Held {
                until: earlier.until,
                begins: None,
            };
        }
        if is_over && standing.started_at < end {
            // It was under way before: that says nothing about the time since.
            return Held {
                until: now,
                begins: None,
            };
        }
    }
    let step = standing
        .hold
        .filter(|earlier| earlier.is_followed_at(now, scaled(HOLDS_IN_A_ROW_WITHIN)))
        .map_or(0, |earlier| earlier.step.saturating_add(1));
    let until = match holding.wait {
        Some(first) => {
            let full = first.saturating_mul(1 << step.min(31)).min(cap.max(first));
            now.plus(scaled(full))
        }
        None => until_lifted(now),
    };
    Held {
        until,
        begins: Some(NewHold {
            scope: holding.scope,
            kind: holding.kind,
            since: now,
            until,
            step,
        }),
    }
}

impl EarlierHold {
    /// When it ended or will end.
    pub fn end(&self) -> Timestamp {
        self.lifted_at
            .map_or(self.until, |lifted| lifted.min(self.until))
    }

    /// Whether it has ended. One that was lifted has, also when `now` is from before that: facts are
    /// worked in with the time at which they were received.
    fn is_over(&self, now: Timestamp) -> bool {
        self.lifted_at.is_some() || self.until <= now
    }

    /// Whether a hold that begins now comes in a row with it: soon after its end, counted by its
    /// own length, and not after somebody has put things right and lifted it.
    fn is_followed_at(&self, now: Timestamp, within: Duration) -> bool {
        self.lifted_at.is_none()
            && self.until <= now
            && now.since(self.until) <= within.max(self.until.since(self.since))
    }
}

fn until_lifted(since: Timestamp) -> Timestamp {
    let spread = since.micros().rem_euclid(LIFTED_ONLY_SPREAD_MICROS);
    LIFTED_ONLY.plus(Duration::from_micros(spread.unsigned_abs()))
}
