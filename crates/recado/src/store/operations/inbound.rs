//! Inbound messages: deduplicated by SID, sealed, tied to the person; they open the window, teach
//! the address variant, and may change consent, all in one transaction.

use delivery::consent::{self, Consent, ConsentChange, InboundText};
use delivery::departure::variant_written_from;
use delivery::event::Source;
use delivery::keyword::KeywordLanguage;
use delivery::limits::CONSENT_ANSWER_MAX;
use delivery::message::{Content, Kind, Policy, Priority};
use delivery::progress::{Flags, Progress};
use delivery::row::SenderRow;
use delivery::state::State;
use delivery::window::WindowCheck;

use super::columns::{Cohort, ConsentCause, InboundColumns, MessageColumns};
use super::consent::{change_consent, person_at};
use super::message::variant_flag;
use super::rows::{Broken, Rows};
use super::transaction::{Transaction, TransitionInput};
use super::verb::{Verb, each};
use crate::store::person::{Person, area};
use crate::store::seal::{SealedColumns, encode, payload_data, seal_column};
use crate::store::{InboundResult, NewInbound};

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

fn record<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    inbound: &NewInbound,
) -> Result<InboundResult, R::Error> {
    let person = person_at(transaction, &inbound.from)?;
    if transaction.rows.has_inbound(inbound.sid)? {
        return Ok(InboundResult {
            duplicate: true,
            person: person.row,
            change: ConsentChange::None,
        });
    }
    let sender = match &inbound.to {
        Some(name) => transaction.rows.sender(name)?,
        None => None,
    };
    let key = insert(transaction, inbound, &person, sender)?;
    if let Some(sender) = sender {
        transaction
            .rows
            .set_last_inbound(person.row, sender, inbound.now)?;
    }
    learn_variant(transaction, &person, inbound)?;
    let text = InboundText {
        body: &inbound.body,
        button_payload: inbound.button_payload.as_deref(),
        provider_keyword: inbound.provider_keyword,
    };
    let (_, change) = consent::read_inbound(person.consent, &text);
    apply_change(transaction, inbound, &person, sender, key, change)?;
    Ok(InboundResult {
        duplicate: false,
        person: person.row,
        change,
    })
}

fn insert<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    inbound: &NewInbound,
    person: &Person,
    sender: Option<SenderRow>,
) -> Result<i64, R::Error> {
    let vault = &transaction.shared.vault;
    let key = person.key(vault).map_err(Broken::from)?;
    let sealed_payload = vault.seal(&key, &payload_data(inbound.sid), inbound.payload.as_bytes());
    let reply_to = match inbound.reply_to {
        Some(sid) => transaction.rows.message_with(sid)?,
        None => None,
    };
    transaction.rows.insert_inbound(&InboundColumns {
        sid: inbound.sid,
        person: person.row,
        sender,
        message_type: &inbound.message_type,
        media: inbound.media,
        reply_to,
        received_at: inbound.now,
        sealed_payload: &sealed_payload,
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
        transaction.rows.set_variant(person.row, variant)?;
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
