//! What is done by time alone: deadlines that passed, questions that were not answered, rows that
//! have served.

use std::collections::BTreeMap;
use std::time::Duration;

use delivery::consent::Consent;
use delivery::event::Source;
use delivery::limits::CONSENT_ANSWER_MAX;
use delivery::progress::Watch;
use delivery::row::{HoldRow, MessageRow};
use delivery::time::Timestamp;

use super::columns::{ConsentCause, CounterKey, HoldStep, Total, TotalKey};
use super::consent::change_consent;
use super::hold::release_some;
use super::removal::Removal;
use super::rows::Rows;
use super::transaction::{Transaction, TransitionInput};
use super::verb::{Verb, each};
use crate::store::{
    ClockNote, MaintenanceResult, RetentionCursor, RetentionQuery, RetentionResult,
};

/// Rows of each kind that one run changes, so that no commit takes long.
const RUN_MAX: usize = 500;
/// Old messages that one step looks at. Each takes about twenty statements.
const REMOVED_MAX: usize = 200;
/// How long an idempotency key is kept.
const IDEMPOTENCY_AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How long a report waits for somebody to know its message.
const PARKED_AGE_MAX: Duration = Duration::from_secs(24 * 3_600);

/// How long a hold is remembered after its end.
const HOLD_AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How long it is remembered which message met a code that stops others: longer than most messages
/// may wait.
const EVIDENCE_AGE_MAX: Duration = Duration::from_secs(400 * 24 * 3_600);

/// Moves times along with a clock that was set back.
pub(crate) struct FollowClock {
    /// Messages, with the due time that each had when it was looked at, and its new one.
    pub(crate) messages: Vec<(MessageRow, Timestamp, Timestamp)>,
    /// Watches, with the times at which they stand.
    pub(crate) watches: Vec<(Timestamp, Watch, u32)>,
    /// Holds. What waits for their ends moves by as much, so that it is found when they are lifted.
    pub(crate) holds: Vec<(HoldRow, HoldStep)>,
}

impl Verb for FollowClock {
    type Answer = u64;

    fn run<R: Rows>(&self, transaction: &mut Transaction<'_, R>) -> Result<u64, R::Error> {
        let moved = each(transaction, &self.messages, |transaction, item| {
            let (message, due_at, new) = *item;
            let Some(mut progress) = transaction.rows.progress(message)? else {
                return Ok(0);
            };
            // Somebody has put it off, or sent it, in between.
            if progress.due_at != Some(due_at) {
                return Ok(0);
            }
            let input = TransitionInput::at(due_at);
            transaction.apply_alone(&mut progress, input, |transition| transition.defer(new))?;
            Ok(1)
        })?;
        each(transaction, &self.watches, |transaction, item| {
            let (at, watch, polls) = *item;
            transaction.rows.delete_watch(at, watch.attempt)?;
            transaction.rows.set_watch(watch, polls)
        })?;
        transaction.pending.watches |= !self.watches.is_empty();
        let holds = each(transaction, &self.holds, |transaction, (hold, step)| {
            transaction.rows.move_hold(*hold, step).map(u64::from)
        })?;
        transaction.pending.queue |= !self.holds.is_empty();
        Ok(moved.iter().chain(&holds).sum::<u64>() + self.watches.len() as u64)
    }
}

/// One run.
pub(crate) struct Maintain {
    /// Now.
    pub(crate) now: Timestamp,
    /// The clock may be wrong: what nobody could bring back stays.
    pub(crate) in_doubt: bool,
}

impl Verb for Maintain {
    type Answer = MaintenanceResult;

    fn run<R: Rows>(
        &self,
        transaction: &mut Transaction<'_, R>,
    ) -> Result<MaintenanceResult, R::Error> {
        let mut result = MaintenanceResult::default();
        let overdue = transaction.rows.overdue_messages(self.now, RUN_MAX)?;
        for message in &overdue {
            if let Some(mut progress) = transaction.rows.progress(*message)? {
                let input = TransitionInput::at(self.now);
                let done = transaction
                    .apply_alone(&mut progress, input, |transition| transition.expire())?;
                result.expired += u64::from(done);
            }
        }
        let asked_before = self.now.minus(CONSENT_ANSWER_MAX);
        let unanswered = if self.in_doubt {
            Vec::new()
        } else {
            transaction.rows.unanswered(asked_before, RUN_MAX)?
        };
        for person in &unanswered {
            let cause = ConsentCause {
                source: Source::Recipient,
                now: self.now,
                since: self.now,
                inbound: None,
                message: None,
                code: None,
            };
            change_consent(transaction, *person, Consent::OptedOut, cause)?;
            result.opted_out += 1;
        }
        let to_release = transaction.rows.holds_to_release(1)?;
        let mut releases = false;
        for hold in to_release {
            releases = release_some(transaction, hold, self.now)?;
        }
        if !self.in_doubt {
            result.pruned = prune(transaction, self.now)?;
        }
        let pruned = usize::try_from(result.pruned).unwrap_or(usize::MAX);
        result.more = releases
            || [overdue.len(), unanswered.len(), pruned]
                .into_iter()
                .any(|n| n >= RUN_MAX);
        Ok(result)
    }
}

/// Removes old messages: one step.
pub(crate) struct Retain(pub(crate) RetentionQuery);

impl Verb for Retain {
    type Answer = RetentionResult;

    fn run<R: Rows>(
        &self,
        transaction: &mut Transaction<'_, R>,
    ) -> Result<RetentionResult, R::Error> {
        let removal = Removal {
            before: self.0.before,
            now: self.0.now,
            after: self.0.after.message,
            after_inbound: self.0.after.inbound,
            limit: REMOVED_MAX,
        };
        let removable = transaction.rows.removable(&removal)?;
        let mut totals: BTreeMap<TotalKey, i64> = BTreeMap::new();
        for message in &removable.messages {
            *totals
                .entry((Total::State, message.state.number()))
                .or_default() -= 1;
        }
        let totals: Vec<_> = totals.into_iter().collect();
        transaction.rows.remove(&removable)?;
        transaction.rows.add_totals(&totals)?;
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Ok(RetentionResult {
            messages: count(removable.messages.len()),
            inbound: count(removable.inbound.len()),
            next: (removable.next.is_some() || removable.next_inbound.is_some()).then_some(
                RetentionCursor {
                    message: removable.next.unwrap_or(MessageRow(i64::MAX)),
                    inbound: removable.next_inbound.unwrap_or(i64::MAX),
                },
            ),
            waits: removable.waits,
        })
    }
}

/// Forgets counters, those that are still zero.
pub(crate) struct ForgetZeroCounts(pub(crate) Vec<CounterKey>);

impl Verb for ForgetZeroCounts {
    type Answer = ();

    fn run<R: Rows>(&self, transaction: &mut Transaction<'_, R>) -> Result<(), R::Error> {
        transaction.rows.forget_zero_counts(&self.0)
    }
}

/// Writes what is known of the clock.
pub(crate) struct NoteClock(pub(crate) ClockNote);

impl Verb for NoteClock {
    type Answer = ();

    fn run<R: Rows>(&self, transaction: &mut Transaction<'_, R>) -> Result<(), R::Error> {
        transaction.rows.note_clock(self.0)
    }
}

fn prune<R: Rows>(transaction: &mut Transaction<'_, R>, now: Timestamp) -> Result<u64, R::Error> {
    let answers = now.minus(IDEMPOTENCY_AGE_MAX);
    let parked = now.minus(PARKED_AGE_MAX);
    let ended = now.minus(HOLD_AGE_MAX);
    let kept = now.minus(EVIDENCE_AGE_MAX);
    Ok(transaction.rows.prune_holds(ended, kept, RUN_MAX)?
        + transaction.rows.prune_answers(answers, RUN_MAX)?
        + transaction.rows.prune_parked_reports(parked, RUN_MAX)?)
}
