//! Consent: a change stops or frees the person's waiting messages in the same transaction.

use delivery::address::Address;
use delivery::consent::Consent;
use delivery::event::Source;
use delivery::row::PersonRow;
use delivery::time::Timestamp;

use super::columns::ConsentCause;
use super::rows::{Broken, Rows};
use super::transaction::{Transaction, TransitionInput};
use super::verb::Verb;
use crate::store::ConsentView;
use crate::store::person::{Candidate, Person, blind_index};

/// Opts a person out or in on the operator's word.
pub(crate) struct SetConsent {
    /// Who.
    pub(crate) address: Address,
    /// Whether they want no messages.
    pub(crate) opted_out: bool,
    /// Now.
    pub(crate) now: Timestamp,
}

impl Verb for SetConsent {
    type Answer = ConsentView;

    fn run<R: Rows>(&self, transaction: &mut Transaction<'_, R>) -> Result<ConsentView, R::Error> {
        let consent = if self.opted_out {
            Consent::OptedOut
        } else {
            Consent::Open
        };
        let person = person_with(transaction, &self.address)?;
        // An opt-out is written even when it stands: it must outlive an opt-in that was written before
        // it and is not known yet.
        if !self.opted_out && person.consent == Consent::Open {
            return Ok(consent_view(&person, 0));
        }
        let cause = ConsentCause {
            source: Source::Operator,
            now: self.now,
            since: self.now,
            inbound: None,
            message: None,
            code: None,
        };
        let affected = change_consent(transaction, person.row, consent, cause)?;
        let person = transaction.rows.person(person.row)?;
        Ok(consent_view(
            &person.ok_or(Broken::Gone("person"))?,
            affected,
        ))
    }
}

/// What is shown of a person's consent.
pub(crate) fn consent_view(person: &Person, affected: u64) -> ConsentView {
    ConsentView {
        person: person.row,
        consent: person.consent,
        since: person.consent_at,
        source: person.consent_source,
        affected,
    }
}

/// The person of an address, inserted when they are new.
pub(super) fn person_with<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    address: &Address,
) -> Result<Person, R::Error> {
    let vault = &transaction.shared.vault;
    let index = blind_index(vault, address);
    match transaction.rows.person_of(&index)? {
        Some(person) => Ok(person),
        None => {
            let candidate = Candidate::new(vault, index, address);
            let inserted = transaction.rows.insert_person(&candidate)?;
            Ok(inserted.ok_or(Broken::Gone("person"))?)
        }
    }
}

/// Writes a change of consent and its record, and stops or frees the person's waiting messages.
/// Returns their number.
pub(super) fn change_consent<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    person: PersonRow,
    consent: Consent,
    cause: ConsentCause,
) -> Result<u64, R::Error> {
    transaction.rows.set_consent(person, consent, &cause)?;
    apply_consent(transaction, person, consent, cause)
}

/// Stops or frees the person's waiting messages as their consent says. Returns their number.
pub(super) fn apply_consent<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    person: PersonRow,
    consent: Consent,
    cause: ConsentCause,
) -> Result<u64, R::Error> {
    let mut affected = 0;
    for message in transaction.rows.stoppable_messages(person)? {
        let Some(mut progress) = transaction.rows.progress(message)? else {
            continue;
        };
        let send_at = match consent {
            Consent::Open => transaction.rows.send_at(message)?,
            Consent::Asking { .. } | Consent::OptedOut => None,
        };
        let input = TransitionInput::at(cause.now);
        let changed =
            transaction.apply_alone(&mut progress, input, |transition| match consent {
                Consent::OptedOut => transition.suppress(cause.source),
                Consent::Asking { .. } => transition.hold_for_answer(cause.source),
                Consent::Open => transition.release_after_answer(send_at, cause.source),
            })?;
        affected += u64::from(changed);
    }
    Ok(affected)
}
