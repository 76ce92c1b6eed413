//! Inbound messages: deduplicated by SID, sealed, tied to the person; they open the window, teach
//! the address variant, and may change consent, all in one transaction.

use delivery::consent::{self, Consent, ConsentChange, ConsentWord, InboundText};
use delivery::departure::variant_written_from;
use delivery::event::Source;
use delivery::keyword::KeywordLanguage;
use delivery::limits::CONSENT_ANSWER_MAX;
use delivery::message::{Content, Kind, Policy, Priority};
use delivery::progress::{Flags, Progress};
use delivery::row::SenderRow;
use delivery::state::State;
use delivery::window::WindowCheck;

use super::columns::{
    Cohort, ConsentCause, InboundColumns, KnownInbound, MessageColumns, TieCause,
};
use super::consent::{change_consent, person_with};
use super::consent_check::in_order;
use super::identity::tie;
use super::message::variant_flag;
use super::rows::{Broken, Rows};
use super::transaction::{Transaction, TransitionInput};
use super::verb::{Verb, each};
use crate::store::person::{Person, area};
use crate::store::seal::{SealedColumns, encode, payload_data, seal_column};
use crate::store::{InboundCursor, InboundResult, NewInbound};

/// Records inbound messages.
pub(crate) struct RecordInbound(pub(crate) Vec<NewInbound>);

impl Verb for RecordInbound {
    type Answer = Vec<InboundResult>;

    fn run<R: Rows>(
        &self,
        transaction: &mut Transaction<'_, R>,
    ) -> Result<Vec<InboundResult>, R::Error> {
        each(transaction, &self.0, record)
    }
}

/// Writes how far the provider's list was read.
pub(crate) struct KeepCursor(pub(crate) InboundCursor);

impl Verb for KeepCursor {
    type Answer = ();

    fn run<R: Rows>(&self, transaction: &mut Transaction<'_, R>) -> Result<(), R::Error> {
        transaction.rows.set_inbound_cursor(&self.0)
    }
}

fn record<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    inbound: &NewInbound,
) -> Result<InboundResult, R::Error> {
    let person = person_with(transaction, &inbound.from)?;
    let person = if inbound.also.is_empty() {
        person
    } else {
        let cause = TieCause {
            source: Source::Recipient,
            now: inbound.now,
            sid: Some(inbound.sid),
            message: None,
        };
        tie(transaction, person, &inbound.also, cause)?
    };
    if let Some(known) = transaction.rows.inbound(inbound.sid)? {
        return repeat(transaction, inbound, &person, known);
    }
    let sender = match &inbound.to {
        Some(name) => transaction.rows.sender(name)?,
        None => None,
    };
    let (word, change) = consent::read_inbound(person.consent, &text_of(inbound));
    let key = insert(transaction, inbound, &person, sender, word)?;
    // A message that was found late has opened the window when it was written.
    let opened = inbound.written_at.unwrap_or(inbound.now).min(inbound.now);
    let mut is_newest = true;
    if let Some(sender) = sender {
        if inbound.listed {
            let last = transaction.rows.last_inbound(person.row, sender)?;
            is_newest = last.is_none_or(|last| last <= opened);
        }
        transaction
            .rows
            .set_last_inbound(person.row, sender, opened)?;
    }
    if is_newest {
        learn_variant(transaction, &person, inbound)?;
    }
    let change = in_order(transaction, &person, change, inbound.now)?;
    apply_change(transaction, inbound, &person, sender, key, change)?;
    Ok(InboundResult {
        duplicate: false,
        person: person.row,
        change,
    })
}

fn text_of(inbound: &NewInbound) -> InboundText<'_> {
    InboundText {
        body: &inbound.body,
        button_payload: inbound.button_payload.as_deref(),
        provider_keyword: inbound.provider_keyword,
    }
}

/// A message that is known already. Its callback tells what the list, in which it was found, does not
/// show: buttons, for example, and a button may opt out.
fn repeat<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    inbound: &NewInbound,
    person: &Person,
    known: KnownInbound,
) -> Result<InboundResult, R::Error> {
    let mut result = InboundResult {
        duplicate: true,
        person: person.row,
        change: ConsentChange::None,
    };
    if !known.listed || inbound.listed {
        return Ok(result);
    }
    let (word, change) = match known.word {
        Some(word) => consent::read_again(person.consent, word, &text_of(inbound)),
        None => consent::read_inbound(person.consent, &text_of(inbound)),
    };
    let owner = transaction.rows.person_at(known.identity)?;
    let owner = owner.ok_or(Broken::Gone("identity"))?;
    let sender = match &inbound.to {
        Some(name) => transaction.rows.sender(name)?,
        None => None,
    };
    let sealed = seal(transaction, inbound, &owner)?;
    let columns = columns(transaction, inbound, &owner, sender, word, &sealed)?;
    transaction.rows.complete_inbound(known.key, &columns)?;
    result.change = in_order(transaction, person, change, inbound.now)?;
    apply_change(
        transaction,
        inbound,
        person,
        sender,
        known.key,
        result.change,
    )?;
    Ok(result)
}

fn insert<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    inbound: &NewInbound,
    person: &Person,
    sender: Option<SenderRow>,
    word: Option<ConsentWord>,
) -> Result<i64, R::Error> {
    let sealed = seal(transaction, inbound, person)?;
    let columns = columns(transaction, inbound, person, sender, word, &sealed)?;
    transaction.rows.insert_inbound(&columns)
}

fn seal<R: Rows>(
    transaction: &Transaction<'_, R>,
    inbound: &NewInbound,
    person: &Person,
) -> Result<Vec<u8>, R::Error> {
    let vault = &transaction.shared.vault;
    let key = person.key(vault).map_err(Broken::from)?;
    Ok(vault.seal(&key, &payload_data(inbound.sid), inbound.payload.as_bytes()))
}

fn columns<'a, R: Rows>(
    transaction: &mut Transaction<'_, R>,
    inbound: &'a NewInbound,
    person: &Person,
    sender: Option<SenderRow>,
    word: Option<ConsentWord>,
    sealed_payload: &'a [u8],
) -> Result<InboundColumns<'a>, R::Error> {
    let reply_to = match inbound.reply_to {
        Some(sid) => transaction.rows.message_with(sid)?,
        None => None,
    };
    Ok(InboundColumns {
        sid: inbound.sid,
        person: person.row,
        identity: person.identity,
        sender,
        message_type: &inbound.message_type,
        media: inbound.media,
        reply_to,
        received_at: inbound.now,
        written_at: inbound.written_at,
        word,
        listed: inbound.listed,
        sealed_payload,
    })
}

/// We answer to the variant of the address from which the person writes.
fn learn_variant<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    person: &Person,
    inbound: &NewInbound,
) -> Result<(), R::Error> {
    if !person.has_variant {
        return Ok(());
    }
    let variant = variant_written_from(inbound.sent_form.as_deref());
    if person.variant != Some(variant) {
        transaction.rows.set_variant(person.identity, variant)?;
    }
    Ok(())
}

fn apply_change<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    inbound: &NewInbound,
    person: &Person,
    sender: Option<SenderRow>,
    key: i64,
    change: ConsentChange,
) -> Result<(), R::Error> {
    let cause = ConsentCause {
        source: Source::Recipient,
        now: inbound.now,
        since: inbound.now,
        inbound: Some(key),
        message: None,
        code: None,
    };
    let consent = match change {
        ConsentChange::None => return Ok(()),
        ConsentChange::OptOut => Consent::OptedOut,
        ConsentChange::OptIn => Consent::Open,
        ConsentChange::Ask(_) => Consent::Asking { since: inbound.now },
    };
    change_consent(transaction, person.row, consent, cause)?;
    match (change, sender) {
        (ConsentChange::Ask(language), Some(sender)) => {
            ask(transaction, inbound, person, sender, language)
        }
        // Somebody who wrote to a sender that is not ours any more cannot be asked; the hold and its
        // deadline stand all the same.
        _ => Ok(()),
    }
}

/// Puts our question into the queue: an urgent free-form message inside the window that the person
/// has just opened.
fn ask<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    inbound: &NewInbound,
    person: &Person,
    sender: SenderRow,
    language: KeywordLanguage,
) -> Result<(), R::Error> {
    let (now, id) = (inbound.now, inbound.question_id);
    let content = Content::Text {
        body: consent::question(language).to_owned(),
        persistent_action: None,
    };
    let vault = &transaction.shared.vault;
    let key = person.key(vault).map_err(Broken::from)?;
    let sealed = SealedColumns {
        content: seal_column(vault, &key, "content", id, &encode(&content)),
        metadata: None,
        business_key: None,
    };
    let message = transaction.rows.insert_message(&MessageColumns {
        id,
        person: person.row,
        identity: person.identity,
        content_index: [0; 16],
        template: 0,
        kind: Kind::Service,
        window_check: WindowCheck::Enforce,
        send_at: None,
        accepted_at: now,
        sealed: &sealed,
    })?;
    let cohort = transaction.cohort(Cohort {
        hour: now.hour(),
        sender,
        kind: Kind::Service,
        template: 0,
        area: area(&inbound.from),
    })?;
    let mut flags = variant_flag(person);
    flags.set(Flags::OWN_QUESTION);
    let mut progress = Progress {
        message,
        cohort,
        person: person.row,
        sender,
        state: State::Accepted,
        priority: Priority::Urgent,
        policy: Policy::AtMostOnce,
        accepted_at: now,
        expires_at: Some(now.plus(CONSENT_ANSWER_MAX)),
        flags,
        ..Progress::empty()
    };
    let input = TransitionInput::at(now);
    transaction.apply_alone(&mut progress, input, |transition| {
        transition.accepted(now, Source::Recipient);
    })?;
    Ok(())
}
