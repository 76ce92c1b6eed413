//! What asking the provider brought: unknown attempts are settled, silent messages reported.

use delivery::address::{Address, AddressVariant};
use delivery::event::Source;
use delivery::message::{Content, SenderName};
use delivery::outcome::{Outcome, OutcomeKind, SettledBy};
use delivery::progress::{Progress, ReportFact, Watch};
use delivery::row::PersonRow;
use delivery::settle::TextEvidence;

use super::columns::{Attempt, AttemptChange};
use super::consequence::follow;
use super::report::{attach, bind_parked, report_once};
use super::rows::Rows;
use super::transaction::{Transaction, TransitionInput};
use super::variant::transition_input;
use super::verb::{Verb, each};
use crate::store::{Evidence, Finding, ListLag, Settlement};

/// Records what asking brought.
pub(crate) struct Settle(pub(crate) Vec<Settlement>);

impl Verb for Settle {
    type Answer = ();

    fn run<R: Rows>(&self, transaction: &mut Transaction<'_, R>) -> Result<(), R::Error> {
        each(transaction, &self.0, settle)?;
        Ok(())
    }
}

fn settle<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    item: &Settlement,
) -> Result<(), R::Error> {
    let (at, attempt) = item.watch;
    transaction.rows.delete_watch(at, attempt)?;
    let Some(found) = transaction.rows.attempt(attempt)? else {
        return Ok(());
    };
    let Some(mut progress) = transaction.rows.progress(found.message)? else {
        return Ok(());
    };
    let recorded = record_finding(transaction, &mut progress, &found, item)?;
    let next = match recorded {
        Recorded::Done => item.next,
        Recorded::Postponed => item.postponed,
    };
    if let Some(next) = next {
        let watch = Watch {
            attempt,
            at: next.at,
            kind: next.kind,
        };
        transaction.rows.set_watch(watch, next.polls)?;
        transaction.pending.watches = true;
    }
    Ok(())
}

/// Whether what was found could be written down.
enum Recorded {
    Done,
    /// What is on disk by now says otherwise, or cannot be known yet: it is looked for again.
    Postponed,
}

/// Whoever looked did so before this transaction; so everything that it concluded from is read
/// again here.
fn record_finding<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    progress: &mut Progress,
    found: &Attempt,
    item: &Settlement,
) -> Result<Recorded, R::Error> {
    let (attempt, stamp) = (found.row, item.stamp);
    let is_unknown = found.outcome == Some(OutcomeKind::Unknown) && found.sid.is_none();
    let concludes = matches!(item.finding, Finding::Found { .. } | Finding::Absent(_));
    // A request to this person that is under way may be the one whose message was listed.
    if concludes && is_unknown && transaction.rows.has_any_open_attempt(progress.person)? {
        return Ok(Recorded::Postponed);
    }
    let input = transition_input(transaction, progress, None, stamp)?;
    match item.finding {
        Finding::HorizonPassed(doubt) if is_unknown => {
            let ((), consequences) = transaction.apply(progress, input, |transition| {
                transition.horizon_passed(attempt, doubt);
            })?;
            follow(transaction, progress, &consequences, stamp.now)?;
        }
        Finding::Absent(proof) if is_unknown => {
            let (absent, consequences) = transaction.apply(progress, input, |transition| {
                transition.proven_absent(attempt, &proof)
            })?;
            if absent {
                let change = AttemptChange::Absent;
                transaction.rows.change_attempt(attempt, change)?;
            }
            follow(transaction, progress, &consequences, stamp.now)?;
        }
        Finding::Nothing | Finding::HorizonPassed(_) | Finding::Absent(_) => {}
        Finding::Found { sid, status, code } => {
            if is_unknown {
                let by = SettledBy::List;
                if !attach(transaction, attempt, sid, by, progress, stamp.now)? {
                    return Ok(Recorded::Postponed);
                }
                let outcome = Outcome::Sent { sid, status };
                settle_as_sent(transaction, progress, found, &outcome, input)?;
                bind_parked(transaction, progress, attempt, sid, stamp)?;
            } else if found.sid != Some(sid) {
                // It was asked about a message that is another's by now.
                return Ok(Recorded::Done);
            }
            let report = ReportFact {
                attempt,
                status,
                word: None,
                code,
                source: Source::Poll,
                was_unknown: is_unknown,
            };
            report_once(transaction, progress, &report, stamp)?;
        }
    }
    Ok(Recorded::Done)
}

fn settle_as_sent<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    progress: &mut Progress,
    found: &Attempt,
    outcome: &Outcome,
    input: TransitionInput,
) -> Result<(), R::Error> {
    let change = AttemptChange::Settled(input.now);
    transaction.rows.change_attempt(found.row, change)?;
    let ((), consequences) = transaction.apply(progress, input, |transition| {
        transition.outcome(found.row, outcome, Source::Poll);
    })?;
    follow(transaction, progress, &consequences, input.now)
}

/// Notes how late the provider's list was, and how far its clock is from ours.
pub(crate) struct NoteListLag(pub(crate) ListLag);

impl Verb for NoteListLag {
    type Answer = ();

    fn run<R: Rows>(&self, transaction: &mut Transaction<'_, R>) -> Result<(), R::Error> {
        transaction.rows.note_list_lag(&self.0)
    }
}

/// What an unknown attempt must look like at the provider.
pub(crate) fn evidence(
    person: PersonRow,
    address: &Address,
    variant: AddressVariant,
    sender: SenderName,
    content: Content,
) -> Evidence {
    let canonical = address.canonical().to_owned();
    let other = address.alternative();
    let (to, to_alternative) = match (variant, other) {
        (AddressVariant::WithoutNinthDigit, Some(other)) => (other, Some(canonical)),
        (_, other) => (canonical, other),
    };
    Evidence {
        person,
        to,
        to_alternative,
        from: (!sender.is_messaging_service()).then(|| sender.as_str().to_owned()),
        unlisted: match &content {
            Content::Text {
                persistent_action, ..
            } => persistent_action.clone(),
            Content::Media { url, .. } => Some(url.clone()),
            Content::Template { content_sid, .. } => Some(content_sid.to_string()),
        },
        media: match &content {
            Content::Text { .. } => Some(0),
            Content::Media { .. } => Some(1),
            // Its header may carry one.
            Content::Template { .. } => None,
        },
        text: text_evidence(content),
    }
}

fn text_evidence(content: Content) -> TextEvidence {
    match content {
        Content::Text { body, .. } => TextEvidence::Exact(body),
        Content::Media { caption, .. } => TextEvidence::Exact(caption.unwrap_or_default()),
        Content::Template { variables, .. } => {
            TextEvidence::Contains(variables.into_iter().map(|(_, value)| value).collect())
        }
    }
}
