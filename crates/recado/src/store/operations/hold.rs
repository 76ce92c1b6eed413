//! Holds: what is known about a code before a fact is worked in, what a fact holds, and how a hold
//! that was lifted lets go of what waits for it.

use std::time::Duration;

use delivery::codes::ErrorSource;
use delivery::hold::{self, HoldScope, NewHold, Standing};
use delivery::limits::EVIDENCE_WINDOW;
use delivery::message::Kind;
use delivery::progress::Progress;
use delivery::row::HoldRow;
use delivery::time::Timestamp;

use super::columns::{HoldColumns, HoldSubject};
use super::rows::Rows;
use super::transaction::{Consequences, Transaction, TransitionInput};
use super::verb::Verb;
use crate::store::notify::Notice;

/// Messages that one step of lifting a hold brings back, so that no commit takes long.
const STEP_MAX: usize = 500;

/// Lifts a hold. What waits for it is due again: some at once, the rest in steps that follow.
pub(crate) struct LiftHold {
    /// Which.
    pub(crate) hold: HoldRow,
    /// Now.
    pub(crate) now: Timestamp,
}

impl Verb for LiftHold {
    type Answer = bool;

    fn run<R: Rows>(&self, transaction: &mut Transaction<'_, R>) -> Result<bool, R::Error> {
        if !transaction.rows.lift_hold(self.hold, self.now)? {
            return Ok(false);
        }
        release_some(transaction, self.hold, self.now)?;
        // Lanes look again: what they hold back may leave.
        transaction.pending.queue = true;
        Ok(true)
    }
}

/// What is known about a code, as far as it decides what follows from it.
pub(super) fn standing<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    progress: &Progress,
    code: Option<u32>,
    now: Timestamp,
) -> Result<Standing, R::Error> {
    let Some(code) = code else {
        return Ok(Standing::default());
    };
    let codes = &transaction.shared.rules.codes;
    // Where it was met decides about codes that are not listed, and those hold nothing.
    let rule = codes.rule(Some(code), ErrorSource::Status);
    if !hold::standing_matters(&rule) {
        return Ok(Standing::default());
    }
    let template = transaction.rows.template_of(progress.message)?;
    let started_at = match progress.attempt {
        Some(attempt) => transaction.rows.started_at(attempt)?,
        None => None,
    };
    let since = now.minus(transaction.shared.rules.wait(EVIDENCE_WINDOW));
    let evidence = transaction.rows.evidence(progress, code, since)?;
    let earlier = match hold::scope_of(&rule, evidence.others_met_it) {
        Some(scope) => {
            let subject = subject(progress, template, scope, rule.kind);
            transaction.rows.last_hold(&subject)?
        }
        None => None,
    };
    Ok(Standing {
        started_at: started_at.unwrap_or(now),
        hold: earlier,
        has_template: template > 0,
        met_before: evidence.met_before,
        stopped_others_before: evidence.stopped_others_before,
        others_met_it: evidence.others_met_it,
    })
}

/// Writes the hold that a fact has begun, and the evidence that it leaves. `paused` says whether the
/// fact has paused somebody.
pub(super) fn follow_hold<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    progress: &Progress,
    consequences: &Consequences,
    paused: bool,
    now: Timestamp,
) -> Result<(), R::Error> {
    let code = progress.error.and_then(|error| error.code);
    if let Some(new) = &consequences.hold {
        begin(transaction, progress, new, code)?;
    }
    // A message that met a code while others had paused because of it already has stopped nobody.
    let held_others = consequences
        .hold
        .is_some_and(|new| hold::is_shared(new.scope));
    let stopped_others = paused || held_others;
    if let Some(code) = consequences.evidence
        && (stopped_others || consequences.pause.is_none())
    {
        transaction
            .rows
            .keep_evidence(progress, code, stopped_others, now)?;
    }
    Ok(())
}

fn begin<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    progress: &Progress,
    new: &NewHold,
    code: Option<u32>,
) -> Result<(), R::Error> {
    let template = transaction.rows.template_of(progress.message)?;
    let columns = HoldColumns {
        subject: subject(progress, template, new.scope, new.kind),
        since: new.since,
        until: new.until,
        step: new.step,
        code,
        message: progress.message,
    };
    transaction.rows.insert_hold(&columns)?;
    if hold::is_shared(new.scope) {
        transaction.pending.notices.push(Notice::Held {
            scope: new.scope,
            code,
            until: (!hold::ends_when_lifted(new.until)).then(|| new.until.since(new.since)),
        });
    }
    Ok(())
}

fn subject(
    progress: &Progress,
    template: i64,
    scope: HoldScope,
    kind: Option<Kind>,
) -> HoldSubject {
    let subject = match scope {
        HoldScope::Recipient => progress.person.0,
        HoldScope::Template => template,
        HoldScope::Sender => progress.sender.0,
        HoldScope::Account => 0,
    };
    HoldSubject {
        scope,
        subject,
        kind,
    }
}

/// Brings back some of what waits for a hold that was lifted; returns whether there is more.
pub(super) fn release_some<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    hold: HoldRow,
    now: Timestamp,
) -> Result<bool, R::Error> {
    let waiting = transaction.rows.waiting_for_hold(hold, STEP_MAX)?;
    for &message in &waiting {
        if let Some(mut progress) = transaction.rows.progress(message)? {
            // One that was never tried may have been meant for that very time. It moves all the same, by
            // nothing that counts, so that it is not found again.
            let send_at = transaction.rows.send_at(message)?;
            let at = send_at.map_or(now, |send_at| send_at.max(now));
            let at = match progress.due_at {
                Some(due) if due == at => at.plus(Duration::from_micros(1)),
                _ => at,
            };
            let input = TransitionInput::at(now);
            transaction.apply_alone(&mut progress, input, |transition| transition.defer(at))?;
        }
    }
    if waiting.len() < STEP_MAX {
        transaction.rows.end_release(hold)?;
        return Ok(false);
    }
    Ok(true)
}
