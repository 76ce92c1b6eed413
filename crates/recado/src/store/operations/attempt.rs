//! Attempts: opened after a last look, closed with what they told us, deferred when their turn has
//! not come.

use delivery::consent::Consent;
use delivery::departure::{Departure, departure, is_due};
use delivery::event::Source;
use delivery::outcome::{Outcome, SettledBy, UnknownCause};
use delivery::progress::{Progress, Reason};
use delivery::row::{AttemptRow, IdentityRow, MessageRow};
use delivery::time::Timestamp;
use delivery::window::{self, WindowCheck};

use super::columns::{AttemptChange, NewAttempt, OpenAttemptColumns};
use super::consequence::follow;
use super::report::{attach, bind_parked};
use super::rows::{Broken, Rows};
use super::transaction::{Transaction, TransitionInput};
use super::variant::{next_variant, transition_input};
use super::verb::{Verb, each};
use crate::store::person::Person;
use crate::store::seal::open_content;
use crate::store::{
    AttemptId, CloseRequest, CloseResult, OpenAttempt, OpenRequest, OpenResult, Stamp,
};

/// Opens attempts, or says why not.
pub(crate) struct OpenAttempts(pub(crate) Vec<OpenRequest>);

impl Verb for OpenAttempts {
    type Answer = Vec<OpenResult>;

    fn run<R: Rows>(
        &self,
        transaction: &mut Transaction<'_, R>,
    ) -> Result<Vec<OpenResult>, R::Error> {
        each(transaction, &self.0, open)
    }
}

/// Records what attempts told us.
pub(crate) struct CloseAttempts(pub(crate) Vec<CloseRequest>);

impl Verb for CloseAttempts {
    type Answer = Vec<CloseResult>;

    fn run<R: Rows>(
        &self,
        transaction: &mut Transaction<'_, R>,
    ) -> Result<Vec<CloseResult>, R::Error> {
        each(transaction, &self.0, close)
    }
}

/// Moves due times, for messages whose turn has not come.
pub(crate) struct Defer(pub(crate) Vec<(MessageRow, Timestamp)>);

impl Verb for Defer {
    type Answer = ();

    fn run<R: Rows>(&self, transaction: &mut Transaction<'_, R>) -> Result<(), R::Error> {
        each(transaction, &self.0, |transaction, (message, at)| {
            defer(transaction, *message, *at)
        })?;
        Ok(())
    }
}

/// Puts off those messages whose person or template is held, until that ends. Returns which.
pub(crate) struct PutOffHeld {
    /// Messages that are due.
    pub(crate) messages: Vec<MessageRow>,
    /// Now.
    pub(crate) now: Timestamp,
}

impl Verb for PutOffHeld {
    type Answer = Vec<MessageRow>;

    fn run<R: Rows>(
        &self,
        transaction: &mut Transaction<'_, R>,
    ) -> Result<Vec<MessageRow>, R::Error> {
        let held = each(transaction, &self.messages, |transaction, message| {
            let progress = transaction.rows.progress(*message)?;
            let Some(mut progress) = progress.filter(|progress| is_due(progress, self.now)) else {
                return Ok(None);
            };
            let held = put_off_if_held(transaction, &mut progress, self.now)?;
            Ok(held.then_some(*message))
        })?;
        Ok(held.into_iter().flatten().collect())
    }
}

/// Makes every attempt that an earlier server left open unknown: nobody can say any more whether its
/// request left. Returns how many.
pub(crate) struct Recover {
    /// Now.
    pub(crate) now: Timestamp,
}

impl Verb for Recover {
    type Answer = usize;

    fn run<R: Rows>(&self, transaction: &mut Transaction<'_, R>) -> Result<usize, R::Error> {
        let epoch = transaction.shared.epoch;
        let left = transaction.rows.attempts_left_open(epoch)?;
        for &attempt in &left {
            let request = CloseRequest {
                attempt,
                outcome: Outcome::Unknown(UnknownCause::ProcessEnded),
                stamp: Stamp {
                    now: self.now,
                    random: 0,
                },
            };
            close(transaction, &request)?;
        }
        Ok(left.len())
    }
}

fn open<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    request: &OpenRequest,
) -> Result<OpenResult, R::Error> {
    let now = request.stamp.now;
    let Some(mut progress) = transaction.rows.progress(request.message)? else {
        return Ok(OpenResult::Gone);
    };
    if !is_due(&progress, now) {
        return Ok(OpenResult::Gone);
    }
    let person = transaction.rows.person(progress.person)?;
    let person = person.ok_or(Broken::Gone("person"))?;
    if !may_leave(transaction, &mut progress, person.consent, now)? {
        return Ok(OpenResult::Gone);
    }
    if let Some(waits) = must_wait(transaction, &mut progress, now)? {
        return Ok(waits);
    }
    let stored = transaction.rows.sealed_content(progress.message)?;
    let person = recipient(transaction, person, stored.identity)?;
    let vault = &transaction.shared.vault;
    let content = person
        .key(vault)
        .ok()
        .and_then(|key| open_content(vault, &key, stored.id, &stored.sealed));
    let Some(content) = content else {
        give_up(transaction, &mut progress, Reason::Unreadable, now)?;
        return Ok(OpenResult::Gone);
    };
    let Some(to) = person.address(vault).map_err(Broken::from)? else {
        return Ok(OpenResult::Gone);
    };
    let variant = next_variant(transaction, &progress, &person)?;
    if let Some(since) = transaction.shared.may_have_left_since(&progress) {
        let from_elsewhere = NewAttempt {
            message: progress.message,
            n: progress.attempts + 1,
            nonce: request.stamp.random,
            started_at: since.min(now),
            variant,
        };
        look_first(transaction, &mut progress, &from_elsewhere, request.stamp)?;
        return Ok(OpenResult::Gone);
    }
    let new = NewAttempt {
        message: progress.message,
        n: progress.attempts + 1,
        nonce: request.stamp.random,
        started_at: now,
        variant,
    };
    let row = insert_attempt(transaction, &mut progress, &new, now)?;
    Ok(OpenResult::Open(Box::new(OpenAttempt {
        attempt: AttemptId {
            row,
            nonce: request.stamp.random,
        },
        message: progress.message,
        id: stored.id,
        to,
        variant,
        content,
        expires_at: progress.expires_at,
    })))
}

/// Why a message that may leave does not leave now: a hold, whose end it waits for, or what its
/// sender does.
fn must_wait<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    progress: &mut Progress,
    now: Timestamp,
) -> Result<Option<OpenResult>, R::Error> {
    if put_off_if_held(transaction, progress, now)? {
        return Ok(Some(OpenResult::Held));
    }
    let busy = transaction
        .rows
        .has_open_attempt(progress.person, progress.sender)?
        || transaction.rows.is_paused(progress.sender)?
        || transaction.rows.is_held(progress.sender, now)?;
    Ok(busy.then_some(OpenResult::Busy))
}

fn put_off_if_held<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    progress: &mut Progress,
    now: Timestamp,
) -> Result<bool, R::Error> {
    let Some(until) = transaction.rows.held_until(progress, now)? else {
        return Ok(false);
    };
    let input = TransitionInput::at(now);
    transaction.apply_alone(progress, input, |transition| transition.defer(until))?;
    Ok(true)
}

/// The person at the address to which a message goes.
fn recipient<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    person: Person,
    identity: IdentityRow,
) -> Result<Person, R::Error> {
    if identity == person.identity {
        return Ok(person);
    }
    let recipient = transaction.rows.person_at(identity)?;
    Ok(recipient.ok_or(Broken::Gone("identity"))?)
}

/// The last look before anything leaves: deadline, opt-out, hold, window. What may not leave is
/// ended or held here.
fn may_leave<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    progress: &mut Progress,
    consent: Consent,
    now: Timestamp,
) -> Result<bool, R::Error> {
    let departure = departure(progress, consent, now);
    if departure == Departure::Leaves {
        let check = transaction.rows.window_check(progress.message)?;
        if check == WindowCheck::Enforce {
            let last = transaction
                .rows
                .last_inbound(progress.person, progress.sender)?;
            if !window::is_open(last, now) {
                give_up(transaction, progress, Reason::WindowClosed, now)?;
                return Ok(false);
            }
        }
        return Ok(true);
    }
    let input = TransitionInput::at(now);
    transaction.apply_alone(progress, input, |transition| match departure {
        Departure::Leaves => {}
        Departure::Expired => {
            transition.expire();
        }
        Departure::Superseded => transition.supersede(Source::Dispatch),
        Departure::Suppressed => {
            transition.suppress(Source::Dispatch);
        }
        Departure::AwaitsAnswer => {
            transition.hold_for_answer(Source::Dispatch);
        }
    })?;
    Ok(false)
}

fn give_up<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    progress: &mut Progress,
    reason: Reason,
    now: Timestamp,
) -> Result<(), R::Error> {
    let input = TransitionInput::at(now);
    transaction.apply_alone(progress, input, |transition| transition.give_up(reason))?;
    Ok(())
}

/// What a restored database still has to send may have left from elsewhere in the meantime: that is
/// written down as an attempt whose outcome nobody knows, so that it is looked for like any other.
fn look_first<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    progress: &mut Progress,
    from_elsewhere: &NewAttempt,
    stamp: Stamp,
) -> Result<(), R::Error> {
    let attempt = insert_attempt(transaction, progress, from_elsewhere, stamp.now)?;
    let request = CloseRequest {
        attempt,
        outcome: Outcome::Unknown(UnknownCause::Restored),
        stamp,
    };
    close(transaction, &request)?;
    Ok(())
}

fn insert_attempt<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    progress: &mut Progress,
    new: &NewAttempt,
    now: Timestamp,
) -> Result<AttemptRow, R::Error> {
    if let Some(earlier) = progress.attempt {
        let change = AttemptChange::Seen(progress.seen);
        transaction.rows.change_attempt(earlier, change)?;
    }
    let attempt = transaction.rows.insert_attempt(new)?;
    transaction.rows.insert_open_attempt(&OpenAttemptColumns {
        person: progress.person,
        sender: progress.sender,
        attempt,
        epoch: transaction.shared.epoch,
    })?;
    let input = TransitionInput::at(now);
    transaction.apply_alone(progress, input, |transition| {
        transition.attempt_opened(attempt);
    })?;
    Ok(attempt)
}

/// Records what an attempt told us. An attempt that is closed already stays as it is.
fn close<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    request: &CloseRequest,
) -> Result<CloseResult, R::Error> {
    let CloseRequest {
        attempt,
        outcome,
        stamp,
    } = request;
    let (attempt, stamp) = (*attempt, *stamp);
    let found = transaction.rows.attempt(attempt)?;
    let Some(found) = found.filter(|found| found.outcome.is_none()) else {
        return Ok(CloseResult::default());
    };
    let Some(mut progress) = transaction.rows.progress(found.message)? else {
        return Ok(CloseResult::default());
    };
    let change = AttemptChange::Closed(outcome, stamp.now);
    transaction.rows.change_attempt(attempt, change)?;
    transaction.rows.delete_open_attempt(&progress, attempt)?;
    transaction.pending.closed = true;
    let input = transition_input(transaction, &progress, outcome.code(), stamp)?;
    let ((), consequences) = transaction.apply(&mut progress, input, |transition| {
        transition.outcome(attempt, outcome, Source::Dispatch);
    })?;
    follow(transaction, &mut progress, &consequences, stamp.now)?;
    if let Outcome::Sent { sid, .. } = outcome {
        let by = SettledBy::Answer;
        attach(transaction, attempt, *sid, by, &mut progress, stamp.now)?;
        bind_parked(transaction, &mut progress, attempt, *sid, stamp)?;
    }
    Ok(CloseResult {
        paused: transaction.rows.is_paused(progress.sender)?
            || transaction.rows.is_held(progress.sender, stamp.now)?,
        retry_at: progress.due_at,
    })
}

fn defer<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    message: MessageRow,
    at: Timestamp,
) -> Result<(), R::Error> {
    let Some(mut progress) = transaction.rows.progress(message)? else {
        return Ok(());
    };
    let Some(due) = progress.due_at else {
        return Ok(());
    };
    let input = TransitionInput::at(due);
    transaction.apply_alone(&mut progress, input, |transition| transition.defer(at))?;
    Ok(())
}
