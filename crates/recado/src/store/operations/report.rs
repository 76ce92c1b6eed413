//! Status reports: found by the attempt key in the callback's URL, else by SID, else parked.

use delivery::address::AddressVariant;
use delivery::event::Source;
use delivery::limits::LIST_LAG_KEPT;
use delivery::outcome::{OutcomeKind, SettledBy};
use delivery::progress::{Progress, ReportFact};
use delivery::row::AttemptRow;
use delivery::sid::Sid;
use delivery::state::{State, state_of};
use delivery::time::{ClockDifference, Timestamp};

use super::columns::{Attempt, AttemptChange, ParkedReport, TieCause};
use super::consequence::follow;
use super::identity::tie;
use super::rows::{Broken, Rows};
use super::transaction::{Transaction, TransitionInput};
use super::variant::transition_input;
use super::verb::{Verb, each};
use crate::store::notify::Notice;
use crate::store::person::blind_index;
use crate::store::{ListLag, Report, ReportResult, Stamp};

/// Records status reports.
pub(crate) struct RecordReports(pub(crate) Vec<Report>);

impl Verb for RecordReports {
    type Answer = Vec<ReportResult>;

    fn run<R: Rows>(
        &self,
        transaction: &mut Transaction<'_, R>,
    ) -> Result<Vec<ReportResult>, R::Error> {
        each(transaction, &self.0, report)
    }
}

fn report<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    report: &Report,
) -> Result<ReportResult, R::Error> {
    let Some((attempt, mut progress)) = reported(transaction, report)? else {
        return park(transaction, report);
    };
    let (attempt, learned) = learn_sid(transaction, attempt, &mut progress, report)?;
    let fact = ReportFact {
        attempt: attempt.row,
        status: report.status,
        word: report.word.as_deref(),
        code: report.code,
        source: report.source,
        was_unknown: is_doubted(attempt.outcome),
    };
    let new = is_new(transaction, &progress, &attempt, &fact)?;
    if new {
        apply_report(transaction, &mut progress, &attempt, &fact, report.stamp)?;
    }
    if let Some(sid) = learned {
        bind_parked(transaction, &mut progress, attempt.row, sid, report.stamp)?;
    }
    if !report.names.is_empty() {
        tie_names(transaction, &progress, report)?;
    }
    Ok(if new {
        ReportResult::Recorded
    } else {
        ReportResult::Duplicate
    })
}

/// A report that carries ids of the person ties them together, when one of its names is known as the
/// person's: then the others are theirs too.
fn tie_names<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    progress: &Progress,
    report: &Report,
) -> Result<(), R::Error> {
    let recipient = transaction.rows.recipient(progress.message)?;
    let person = transaction.rows.person_at(recipient)?;
    let person = person.ok_or(Broken::Gone("identity"))?;
    for name in &report.names {
        let index = blind_index(&transaction.shared.vault, name);
        let known = transaction.rows.person_of(&index)?;
        if known.is_some_and(|known| known.row == person.row) {
            let cause = TieCause {
                source: report.source,
                now: report.stamp.now,
                sid: report.sid,
                message: Some(progress.message),
            };
            tie(transaction, person, &report.names, cause)?;
            break;
        }
    }
    Ok(())
}

/// The attempt that a report is about, and its message: by the key in the callback's URL, else by
/// the provider's id.
fn reported<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    report: &Report,
) -> Result<Option<(Attempt, Progress)>, R::Error> {
    if let Some(id) = report.attempt
        && let Some(found) = transaction.rows.attempt_of(id)?
    {
        return Ok(Some(found));
    }
    match report.sid {
        Some(sid) => transaction.rows.attempt_with(sid),
        None => Ok(None),
    }
}

/// Applies a report unless it is known.
pub(super) fn report_once<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    progress: &mut Progress,
    fact: &ReportFact<'_>,
    stamp: Stamp,
) -> Result<(), R::Error> {
    let Some(attempt) = transaction.rows.attempt(fact.attempt)? else {
        return Ok(());
    };
    if is_new(transaction, progress, &attempt, fact)? {
        apply_report(transaction, progress, &attempt, fact, stamp)?;
    }
    Ok(())
}

fn apply_report<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    progress: &mut Progress,
    attempt: &Attempt,
    fact: &ReportFact<'_>,
    stamp: Stamp,
) -> Result<(), R::Error> {
    let failed = matches!(
        state_of(fact.status),
        Some(State::Failed | State::Undelivered)
    );
    let code = fact.code.filter(|_| failed);
    let input = transition_input(transaction, progress, code, stamp)?;
    let ((), consequences) =
        transaction.apply(progress, input, |transition| transition.reported(fact))?;
    follow(transaction, progress, &consequences, stamp.now)?;
    if failed {
        let change = AttemptChange::Error(fact.code);
        transaction.rows.change_attempt(attempt.row, change)?;
    }
    // What was delivered under the other variant shows that it is the right one. That the canonical
    // one is right is not written: nearly always it is, and each person's row would be written once
    // more. Whoever must know looks at what was delivered.
    if consequences.variant_proven && attempt.variant == AddressVariant::WithoutNinthDigit {
        let recipient = transaction.rows.recipient(progress.message)?;
        transaction.rows.set_variant(recipient, attempt.variant)?;
    }
    Ok(())
}

/// A callback may come before the answer to the request, or instead of it. Returns the attempt as it
/// was before the report, and the provider's id when it is news: reports that named nothing else may
/// be parked under it.
fn learn_sid<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    attempt: Attempt,
    progress: &mut Progress,
    report: &Report,
) -> Result<(Attempt, Option<Sid>), R::Error> {
    let now = report.stamp.now;
    let mut attempt = attempt;
    // Only a report with our correlation id says whose the message is.
    let names_attempt = report.attempt.is_some_and(|named| named.row == attempt.row);
    let learned = report.sid.filter(|_| match attempt.settled_by {
        None | Some(SettledBy::Absence) => true,
        Some(SettledBy::List) => names_attempt,
        Some(SettledBy::Answer | SettledBy::Callback) => false,
    });
    if let Some(sid) = learned {
        if attempt.sid.is_some_and(|other| other != sid) {
            // What the list seemed to show was another's message.
            withdraw(transaction, attempt.row, progress, Source::Callback, now)?;
            attempt.outcome = Some(OutcomeKind::Unknown);
            (attempt.seen, attempt.sid) = (0, None);
        }
        let by = SettledBy::Callback;
        attach(transaction, attempt.row, sid, by, progress, now)?;
    }
    if is_doubted(attempt.outcome) {
        if attempt.outcome == Some(OutcomeKind::Absent) {
            contradict_absence(transaction, &attempt, now)?;
        }
        let change = AttemptChange::Settled(now);
        transaction.rows.change_attempt(attempt.row, change)?;
    }
    Ok((attempt, learned))
}

/// Whether nobody knew that an attempt of this outcome created anything.
fn is_doubted(outcome: Option<OutcomeKind>) -> bool {
    matches!(outcome, Some(OutcomeKind::Unknown | OutcomeKind::Absent))
}

/// A message that was proven absent exists: the list was later than it may be, and for a day no
/// absence is believed.
fn contradict_absence<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    attempt: &Attempt,
    now: Timestamp,
) -> Result<(), R::Error> {
    transaction.rows.note_list_lag(&ListLag {
        at: now,
        lag: Some(LIST_LAG_KEPT),
        clock: ClockDifference::NONE,
    })?;
    transaction.pending.notices.push(Notice::AbsentExists {
        attempt: attempt.row,
    });
    Ok(())
}

/// Attaches a provider's id to an attempt. From an attempt that has it by weaker evidence it is taken
/// away; `progress`, of the message of `attempt`, is read again when that changed it. `false` when
/// another attempt keeps it.
pub(super) fn attach<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    attempt: AttemptRow,
    sid: Sid,
    by: SettledBy,
    progress: &mut Progress,
    now: Timestamp,
) -> Result<bool, R::Error> {
    if let Some(holder) = transaction.rows.holder(sid)? {
        let held = transaction.rows.attempt(holder)?;
        let held_by = held.and_then(|held| held.settled_by);
        let yields = held_by.is_some_and(|held_by| held_by.yields_to(by));
        if holder == attempt {
            if yields {
                let change = AttemptChange::Sid(sid, by);
                transaction.rows.change_attempt(attempt, change)?;
            }
            return Ok(true);
        }
        if !yields {
            let notice = Notice::SameSid { attempt };
            transaction.pending.notices.push(notice);
            return Ok(false);
        }
        let source = match by {
            SettledBy::Answer => Source::Dispatch,
            SettledBy::Callback => Source::Callback,
            SettledBy::List | SettledBy::Absence => Source::Poll,
        };
        withdraw(transaction, holder, progress, source, now)?;
    }
    transaction
        .rows
        .change_attempt(attempt, AttemptChange::Sid(sid, by))?;
    Ok(true)
}

/// Takes back what circumstances had shown of an attempt. `known` is the progress of the message that
/// is worked on; it is written here when it is the attempt's own.
fn withdraw<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    loser: AttemptRow,
    known: &mut Progress,
    source: Source,
    now: Timestamp,
) -> Result<(), R::Error> {
    let Some(attempt) = transaction.rows.attempt(loser)? else {
        return Ok(());
    };
    let change = AttemptChange::Withdrawn;
    transaction.rows.change_attempt(loser, change)?;
    transaction.rows.forget_coded_reports(loser)?;
    transaction
        .pending
        .notices
        .push(Notice::Withdrawn { attempt: loser });
    let mut other = None;
    let progress = if known.message == attempt.message {
        known
    } else {
        let Some(progress) = transaction.rows.progress(attempt.message)? else {
            return Ok(());
        };
        other.insert(progress)
    };
    let input = TransitionInput::at(now);
    transaction.apply_alone(progress, input, |transition| {
        transition.evidence_withdrawn(loser, source);
    })
}

/// Reports without a code are told apart by one bit each; the few with a code have a row.
fn is_new<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    progress: &Progress,
    attempt: &Attempt,
    fact: &ReportFact<'_>,
) -> Result<bool, R::Error> {
    if let Some(code) = fact.code {
        return transaction
            .rows
            .insert_coded_report(attempt.row, fact.status, code);
    }
    let latest = progress.attempt == Some(attempt.row);
    let seen = if latest { progress.seen } else { attempt.seen };
    let new = seen & fact.status.bit() == 0;
    if new && !latest {
        let change = AttemptChange::AlsoSeen(fact.status);
        transaction.rows.change_attempt(attempt.row, change)?;
    }
    Ok(new)
}

/// Keeps a report of a message that nobody knows: it may be bound when its attempt learns its SID,
/// and is dropped after a day.
fn park<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    report: &Report,
) -> Result<ReportResult, R::Error> {
    let Some(sid) = report.sid else {
        return Ok(ReportResult::Duplicate);
    };
    let parked = ParkedReport {
        status: report.status,
        code: report.code,
        word: report.word.clone(),
    };
    transaction
        .rows
        .park_report(sid, &parked, report.stamp.now)?;
    Ok(ReportResult::Parked)
}

/// Applies reports that came before anybody knew whose they were.
pub(super) fn bind_parked<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    progress: &mut Progress,
    attempt: AttemptRow,
    sid: Sid,
    stamp: Stamp,
) -> Result<(), R::Error> {
    let parked = transaction.rows.parked_reports(sid)?;
    if parked.is_empty() {
        return Ok(());
    }
    for report in parked {
        let fact = ReportFact {
            attempt,
            status: report.status,
            word: report.word.as_deref(),
            code: report.code,
            source: Source::Callback,
            was_unknown: false,
        };
        report_once(transaction, progress, &fact, stamp)?;
    }
    transaction.rows.delete_parked_reports(sid)
}
