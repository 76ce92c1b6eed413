//! Identities: when a signed callback names one person in several ways, they are tied together.
//!
//! Two people who turn out to be one become the one we met first. The stricter consent stands, and
//! stops what waits for either. Messages keep the address that they were accepted for.

use delivery::address::Address;
use delivery::admission::is_superseded;
use delivery::consent::Consent;
use delivery::event::Source;
use delivery::row::PersonRow;

use super::columns::{ConsentCause, Subject, TieCause, TieColumns};
use super::consent::{apply_consent, change_consent};
use super::rows::{Broken, Rows};
use super::transaction::{Transaction, TransitionInput};
use crate::store::notify::Notice;
use crate::store::person::{Candidate, Person, blind_index};

/// Ties addresses to a person. Returns the person as they are then, at the same identity.
pub(super) fn tie<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    person: Person,
    addresses: &[Address],
    cause: TieCause,
) -> Result<Person, R::Error> {
    let mut person = person;
    for address in addresses {
        let index = blind_index(&transaction.shared.vault, address);
        let other = transaction.rows.person_of(&index)?;
        match other {
            None => insert(
                transaction,
                &person,
                &Candidate::new(&transaction.shared.vault, index, address),
                cause,
            )?,
            Some(other) if other.row == person.row => continue,
            Some(other) => merge(transaction, &person, &other, cause)?,
        }
        let fresh = transaction.rows.person_at(person.identity)?;
        person = fresh.ok_or(Broken::Gone("identity"))?;
    }
    Ok(person)
}

fn insert<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    person: &Person,
    candidate: &Candidate,
    cause: TieCause,
) -> Result<(), R::Error> {
    transaction.rows.insert_tied(candidate, person)?;
    let inserted = transaction.rows.person_of(&candidate.blind_index)?;
    let inserted = inserted.ok_or(Broken::Gone("identity"))?;
    transaction.rows.append_tie(&TieColumns {
        person: person.row,
        identity: inserted.identity,
        merged: None,
        cause,
    })
}

/// Makes two people one: the one whom we met first. Attempts that are open to either stay open, and
/// none is opened by their sender before all of them are closed.
fn merge<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    one: &Person,
    other: &Person,
    cause: TieCause,
) -> Result<(), R::Error> {
    let (to, from) = if one.row < other.row {
        (one, other)
    } else {
        (other, one)
    };
    move_queue(transaction, from.row, to.row)?;
    transaction.rows.give_messages(from.row, to.row)?;
    transaction.rows.give_open_attempts(from.row, to.row)?;
    transaction.rows.give_inbound(from.row, to.row)?;
    transaction.rows.give_holds(from.row, to.row)?;
    transaction.rows.give_identities(from, to)?;
    join_subjects(transaction, from.row, to.row, cause)?;
    transaction.rows.append_tie(&TieColumns {
        person: to.row,
        identity: from.identity,
        merged: Some(from.row),
        cause,
    })?;
    transaction.pending.notices.push(Notice::Merged {
        person: to.row,
        merged: from.row,
    });
    join_consent(transaction, to, from, cause)
}

/// The stricter consent stands for both, since it was said: what they write with both names counts as
/// later.
fn join_consent<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    to: &Person,
    from: &Person,
    cause: TieCause,
) -> Result<(), R::Error> {
    let stricter = to.consent.stricter(from.consent);
    let was_said_last = match stricter {
        Consent::Open => return Ok(()),
        Consent::Asking { .. } => true,
        Consent::OptedOut => from.consent != Consent::OptedOut || to.consent_at >= from.consent_at,
    };
    let stands = to.consent == stricter && was_said_last;
    let said = if stands { to } else { from };
    let change = ConsentCause {
        source: said.consent_source.unwrap_or(Source::Recipient),
        now: cause.now,
        since: said.consent_at.unwrap_or(cause.now),
        inbound: None,
        message: cause.message,
        code: None,
    };
    if stands {
        apply_consent(transaction, to.row, stricter, change)?;
    } else {
        change_consent(transaction, to.row, stricter, change)?;
    }
    Ok(())
}

/// Of two messages about one subject the newer takes the place of the other, when that is unsent.
fn join_subjects<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    from: PersonRow,
    to: PersonRow,
    cause: TieCause,
) -> Result<(), R::Error> {
    for taken in transaction.rows.take_subjects(from)? {
        let subject = Subject {
            person: Some(to),
            index: taken.index,
        };
        let older = match transaction.rows.newest_about(&subject)? {
            Some(known) if is_superseded(known.version, taken.version) => Some(taken.message),
            // Without versions the one that was accepted later is the newer.
            Some(known)
                if !is_superseded(taken.version, known.version)
                    && known.message > taken.message =>
            {
                Some(taken.message)
            }
            Some(known) => Some(known.message),
            None => None,
        };
        if older != Some(taken.message) {
            transaction
                .rows
                .set_newest_about(&subject, taken.version, taken.message)?;
        }
        if let Some(older) = older
            && let Some(mut progress) = transaction.rows.progress(older)?
        {
            let input = TransitionInput::at(cause.now);
            transaction.apply_alone(&mut progress, input, |transition| {
                transition.supersede(cause.source);
            })?;
        }
    }
    Ok(())
}

/// The queue names the person of each message, so that a lane keeps its pace for them.
fn move_queue<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    from: PersonRow,
    to: PersonRow,
) -> Result<(), R::Error> {
    for message in transaction.rows.stoppable_messages(from)? {
        if let Some(mut progress) = transaction.rows.progress(message)?
            && let Some(due) = progress.due_at
        {
            transaction.rows.dequeue(&progress, due)?;
            progress.person = to;
            transaction.rows.enqueue(&progress, due)?;
        }
    }
    Ok(())
}
