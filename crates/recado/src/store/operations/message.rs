//! Messages: accepted with everything that belongs to them, canceled and retried on command.

use delivery::admission::{counts_as_duplicate, first_state, is_superseded, sender_for};
use delivery::consent::Consent;
use delivery::event::{EventKind, Source};
use delivery::message::{Content, DedupeChoice, WindowChoice};
use delivery::progress::{Flags, Progress};
use delivery::row::{MessageRow, SenderRow};
use delivery::state::State;
use delivery::time::Timestamp;
use delivery::window::{self, WindowCheck};

use super::columns::{Cohort, MessageColumns, NewestAbout, Subject};
use super::prepare::Prepared;
use super::rows::{Broken, KeyRows, Read, Rows};
use super::transaction::{Transaction, TransitionInput};
use super::verb::{Verb, each};
use crate::store::person::{Person, area};
use crate::store::{
    AcceptRefusal, AcceptResult, CommandCondition, CommandResult, Idempotency, MessageCommand,
    MessageId,
};

/// Accepts messages.
pub(crate) struct Accept(pub(crate) Vec<Prepared>);

impl Verb for Accept {
    type Answer = Vec<AcceptResult>;

    fn run<R: Rows>(
        &self,
        transaction: &mut Transaction<'_, R>,
    ) -> Result<Vec<AcceptResult>, R::Error> {
        let mut earlier = Vec::new();
        let is_alone = self.0.len() == 1;
        each(transaction, &self.0, |transaction, item| {
            let result = accept(transaction, item, &earlier)?;
            if !is_alone {
                earlier.extend(result.id());
            }
            Ok(result)
        })
    }
}

/// Cancels and retries messages.
pub(crate) struct Command {
    /// Which messages, and what is asked of them.
    pub(crate) batch: Vec<(MessageId, MessageCommand)>,
    /// What they must still be.
    pub(crate) condition: Option<CommandCondition>,
    /// Now.
    pub(crate) now: Timestamp,
}

impl Verb for Command {
    type Answer = Vec<CommandResult>;

    fn run<R: Rows>(
        &self,
        transaction: &mut Transaction<'_, R>,
    ) -> Result<Vec<CommandResult>, R::Error> {
        each(transaction, &self.batch, |transaction, (id, command)| {
            obey(transaction, *id, *command, self.condition, self.now)
        })
    }
}

/// Accepts one item; `earlier` are the messages of the items before it in the same request.
fn accept<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    item: &Prepared,
    earlier: &[MessageId],
) -> Result<AcceptResult, R::Error> {
    if let Some(idempotency) = &item.new.idempotency
        && let Some(earlier) = replay(&mut transaction.rows, idempotency)?
    {
        return Ok(earlier);
    }
    let (person, is_new) = recipient(transaction, item)?;
    let Some(sender) = choose_sender(transaction, &person, is_new, item)? else {
        return Ok(AcceptResult::Refused(AcceptRefusal::UnknownSender));
    };
    let newest = match item.subject(&person) {
        // Nothing was ever said to a new person.
        Some(Subject {
            person: Some(_), ..
        }) if is_new => None,
        Some(subject) => transaction.rows.newest_about(&subject)?,
        None => None,
    };
    if let Some(refusal) = refusal(transaction, &person, is_new, sender, newest, item)? {
        return Ok(AcceptResult::Refused(refusal));
    }
    // It would cancel, in the same commit, what the same request is told was accepted.
    if let Some(newest) = newest.filter(|newest| earlier.contains(&newest.id)) {
        return Ok(AcceptResult::Refused(AcceptRefusal::KeyRepeated {
            first: newest.id,
        }));
    }
    let state = insert(transaction, &person, sender, newest, item)?;
    Ok(AcceptResult::Accepted {
        id: item.new.id,
        state,
    })
}

/// The answer to an earlier request with this key.
pub(crate) fn replay<R: KeyRows>(
    rows: &mut R,
    idempotency: &Idempotency,
) -> Read<R, Option<AcceptResult>> {
    let Some(earlier) = rows.earlier_answer(&idempotency.key)? else {
        return Ok(None);
    };
    if earlier.body != idempotency.body {
        return Ok(Some(AcceptResult::Refused(AcceptRefusal::KeyReused)));
    }
    Ok(Some(AcceptResult::Replayed {
        id: earlier.id,
        state: earlier.state,
    }))
}

/// The person, and whether they are new: then they have no history that could matter.
fn recipient<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    item: &Prepared,
) -> Result<(Person, bool), R::Error> {
    let inserted = match &item.candidate {
        Some(candidate) => transaction.rows.insert_person(candidate)?,
        None => None,
    };
    if let Some(person) = inserted {
        return Ok((person, true));
    }
    // Known while preparing and gone now: persons are never removed, only erased.
    let known = transaction.rows.person_of(&item.blind_index)?;
    Ok((known.ok_or(Broken::Gone("person"))?, false))
}

/// The sender that the caller names; else the one this person wrote to last, so that an answer comes
/// from where they wrote; else one that is always the same for this person.
fn choose_sender<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    person: &Person,
    is_new: bool,
    item: &Prepared,
) -> Result<Option<SenderRow>, R::Error> {
    if let Some(name) = &item.new.message.sender {
        return transaction.rows.sender(name);
    }
    if !is_new && let Some(sender) = transaction.rows.last_addressed(person.row)? {
        return Ok(Some(sender));
    }
    let senders = transaction.rows.configured_senders()?;
    Ok(sender_for(person.row, &senders))
}

fn refusal<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    person: &Person,
    is_new: bool,
    sender: SenderRow,
    newest: Option<NewestAbout>,
    item: &Prepared,
) -> Result<Option<AcceptRefusal>, R::Error> {
    let new = &item.new;
    let message = &new.message;
    if message.content.needs_window() && message.window == WindowChoice::Enforce {
        let last = transaction.rows.last_inbound(person.row, sender)?;
        if !window::is_open(last, new.now) {
            return Ok(Some(AcceptRefusal::WindowClosed));
        }
    }
    if let (Some(newest), Some(key)) = (newest, &message.business_key)
        && is_superseded(newest.version, key.version)
    {
        return Ok(Some(AcceptRefusal::Superseded { by: newest.id }));
    }
    if message.dedupe == DedupeChoice::Refuse && !is_new {
        let since = new.now.minus(new.dedupe_window);
        let indexes = content_indexes(transaction, person, item)?;
        let first =
            transaction
                .rows
                .same_content(person.row, &indexes, since, counts_as_duplicate)?;
        return Ok(first.map(|first| AcceptRefusal::Duplicate { first }));
    }
    Ok(None)
}

/// The content index is bound to the address; to somebody with several the same content may have
/// gone to another one.
fn content_indexes<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    person: &Person,
    item: &Prepared,
) -> Result<Vec<[u8; 16]>, R::Error> {
    let mut indexes = vec![item.content_index];
    if person.tied {
        for other in transaction.rows.tied_to(person.row)? {
            indexes.push(item.content_index_at(transaction.shared, &other.blind_index));
        }
    }
    Ok(indexes)
}

fn insert<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    person: &Person,
    sender: SenderRow,
    newest: Option<NewestAbout>,
    item: &Prepared,
) -> Result<State, R::Error> {
    let new = &item.new;
    let message = &new.message;
    let template = transaction.template(content_sid(&message.content).as_deref())?;
    let row = insert_columns(transaction, person, template, item)?;
    let cohort = transaction.cohort(Cohort {
        hour: new.now.hour(),
        sender,
        kind: message.kind,
        template,
        area: area(&message.to),
    })?;
    let mut progress = Progress {
        message: row,
        cohort,
        person: person.row,
        sender,
        state: first_state(message.send_at, new.now),
        priority: message.priority,
        policy: message.policy,
        accepted_at: new.now,
        expires_at: message.expires_at,
        flags: variant_flag(person),
        ..Progress::empty()
    };
    let due_at = message.send_at.unwrap_or(new.now);
    let opted_out = person.consent == Consent::OptedOut;
    let input = TransitionInput::at(new.now);
    transaction.apply_alone(&mut progress, input, |transition| {
        transition.accepted(due_at, Source::Api);
        if opted_out {
            transition.suppress(Source::Api);
        }
    })?;
    supersede(transaction, person, row, newest, item)?;
    if let Some(idempotency) = &new.idempotency {
        transaction
            .rows
            .insert_answer(idempotency, row, progress.state, new.now)?;
    }
    Ok(progress.state)
}

fn insert_columns<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    person: &Person,
    template: i64,
    item: &Prepared,
) -> Result<MessageRow, R::Error> {
    let new = &item.new;
    let again;
    let sealed = match item.sealed_for(person) {
        Some(sealed) => sealed,
        None => {
            let key = person.key(&transaction.shared.vault);
            again = item.seal_again(transaction.shared, &key.map_err(Broken::from)?);
            &again
        }
    };
    transaction.rows.insert_message(&MessageColumns {
        id: new.id,
        person: person.row,
        identity: person.identity,
        content_index: item.content_index,
        template,
        kind: new.message.kind,
        window_check: WindowCheck::of(&new.message.content, new.message.window),
        send_at: new.message.send_at,
        accepted_at: new.now,
        sealed,
    })
}

/// The newest message about a subject takes the place of an unsent older one.
fn supersede<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    person: &Person,
    row: MessageRow,
    newest: Option<NewestAbout>,
    item: &Prepared,
) -> Result<(), R::Error> {
    let (Some(subject), Some(key)) = (item.subject(person), &item.new.message.business_key) else {
        return Ok(());
    };
    transaction
        .rows
        .set_newest_about(&subject, key.version, row)?;
    let Some(older) = newest else { return Ok(()) };
    if let Some(mut progress) = transaction.rows.progress(older.message)? {
        let input = TransitionInput::at(item.new.now);
        transaction.apply_alone(&mut progress, input, |transition| {
            transition.supersede(Source::Api);
        })?;
    }
    Ok(())
}

/// The flag of a message to a person whose address has another variant.
pub(super) fn variant_flag(person: &Person) -> Flags {
    Flags(if person.has_variant {
        Flags::HAS_VARIANT
    } else {
        0
    })
}

fn content_sid(content: &Content) -> Option<String> {
    match content {
        Content::Template { content_sid, .. } => Some(content_sid.to_string()),
        Content::Text { .. } | Content::Media { .. } => None,
    }
}

fn obey<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    id: MessageId,
    command: MessageCommand,
    condition: Option<CommandCondition>,
    now: Timestamp,
) -> Result<CommandResult, R::Error> {
    let progress = match transaction.rows.message_of(id)? {
        Some(row) => transaction.rows.progress(row)?,
        None => None,
    };
    let Some(mut progress) = progress else {
        return Ok(CommandResult::NotFound);
    };
    let before = progress.state;
    if condition.is_some_and(|condition| !holds(condition, &progress)) {
        return Ok(CommandResult::TooLate(before));
    }
    let input = TransitionInput::at(now);
    let done = match command {
        MessageCommand::Cancel => transaction.apply_alone(&mut progress, input, |transition| {
            transition.cancel(EventKind::Canceled, Source::Api)
        })?,
        MessageCommand::Retry => {
            let send_at = transaction.rows.send_at(progress.message)?;
            transaction.apply_alone(&mut progress, input, |transition| {
                transition.retry_by_operator(send_at)
            })?
        }
    };
    Ok(match (done, is_done_already(command, before)) {
        (true, _) => CommandResult::Done(progress.state),
        (false, true) => CommandResult::Already(before),
        (false, false) => CommandResult::TooLate(before),
    })
}

fn holds(condition: CommandCondition, progress: &Progress) -> bool {
    let code = progress.error.and_then(|error| error.code);
    progress.state == condition.state
        && (condition.error.is_none() || condition.error == code)
        && condition
            .since
            .is_none_or(|since| progress.accepted_at >= since)
        && condition
            .until
            .is_none_or(|until| progress.accepted_at < until)
}

/// Whether a repeated command changes nothing: the message is canceled, or is under way or has
/// arrived.
fn is_done_already(command: MessageCommand, before: State) -> bool {
    match command {
        MessageCommand::Cancel => before == State::Canceled,
        MessageCommand::Retry => matches!(
            before,
            State::Accepted
                | State::Scheduled
                | State::Sending
                | State::Queued
                | State::Sent
                | State::Delivered
                | State::Read
        ),
    }
}
