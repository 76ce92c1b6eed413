//! What asking the provider brought: unknown attempts are settled, silent messages reported.

use delivery::address::{Address, AddressVariant};
use delivery::event::Source;
use delivery::message::{Content, SenderName};
use delivery::outcome::{Outcome, OutcomeKind};
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
use crate::store::{Evidence, Finding, Settlement};

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
    record_finding(transaction, &mut progress, &found, item)?;
    if let Some(next) = item.next {
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

fn record_finding<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    progress: &mut Progress,
    found: &Attempt,
    item: &Settlement,
) -> Result<(), R::Error> {
    let (attempt, stamp) = (found.row, item.stamp);
    let is_unknown = found.outcome == Some(OutcomeKind::Unknown);
    let input = transition_input(transaction, progress, None, stamp)?;
    match item.finding {
        Finding::Nothing => Ok(()),
        Finding::HorizonPassed if is_unknown => {
            let ((), consequences) = transaction.apply(progress, input, |transition| {
                transition.horizon_passed(attempt);
            })?;
            follow(transaction, progress, &consequences, stamp.now)
        }
        Finding::HorizonPassed => Ok(()),
        Finding::Found { sid, status, code } => {
            if is_unknown {
                let outcome = Outcome::Sent { sid, status };
                settle_as_sent(transaction, progress, found, &outcome, input)?;
                bind_parked(transaction, progress, attempt, sid, stamp)?;
            }
            let report = ReportFact {
                attempt,
                status,
                word: None,
                code,
                source: Source::Poll,
            };
            report_once(transaction, progress, &report, stamp)
        }
    }
}

fn settle_as_sent<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    progress: &mut Progress,
    found: &Attempt,
    outcome: &Outcome,
    input: TransitionInput,
) -> Result<(), R::Error> {
    if let Outcome::Sent { sid, .. } = outcome {
        attach(transaction, found.row, *sid)?;
    }
    let change = AttemptChange::Settled(input.now);
    transaction.rows.change_attempt(found.row, change)?;
    let ((), consequences) = transaction.apply(progress, input, |transition| {
        transition.outcome(found.row, outcome, Source::Poll);
    })?;
    follow(transaction, progress, &consequences, input.now)
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
