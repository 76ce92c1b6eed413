//! Under which variant of the address a person is reached.

use delivery::address::AddressVariant;
use delivery::codes::is_unknown_number;
use delivery::departure::{VariantChoice, variant_choice};
use delivery::progress::{Flags, Progress};

use super::hold::standing;
use super::rows::{Broken, Rows};
use super::transaction::{Transaction, TransitionInput};
use crate::store::Stamp;
use crate::store::person::Person;

/// The variant for the next attempt.
pub(super) fn next_variant<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    progress: &Progress,
    person: &Person,
) -> Result<AddressVariant, R::Error> {
    let choice = variant_choice(progress.flags);
    if choice == VariantChoice::AsWritten {
        return Ok(person.variant.unwrap_or(AddressVariant::Canonical));
    }
    if choice == VariantChoice::ProvenOrLast
        && let Some(proven) = proven_variant(transaction, person)?
    {
        return Ok(proven);
    }
    let last = match progress.attempt {
        Some(attempt) => transaction.rows.attempt(attempt)?,
        None => None,
    };
    let last = last.ok_or(Broken::Gone("attempt"))?.variant;
    Ok(if choice == VariantChoice::OtherThanLast {
        last.other()
    } else {
        last
    })
}

/// The variant under which the person was reached: the one that is written down, or the canonical
/// one when one of their last messages was delivered under it.
fn proven_variant<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    person: &Person,
) -> Result<Option<AddressVariant>, R::Error> {
    if person.variant.is_some() {
        return Ok(person.variant);
    }
    let canonical = AddressVariant::Canonical;
    let delivered = transaction.rows.was_delivered(person, canonical)?;
    Ok(delivered.then_some(canonical))
}

/// The input for a fact with this error code: whether the other variant is untried, and what is known
/// about the code, are only looked up when the code makes them matter.
pub(super) fn transition_input<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    progress: &Progress,
    code: Option<u32>,
    stamp: Stamp,
) -> Result<TransitionInput, R::Error> {
    let variant_untried = if is_unknown_number(code) && progress.flags.has(Flags::HAS_VARIANT) {
        let recipient = transaction.rows.recipient(progress.message)?;
        let person = transaction.rows.person_at(recipient)?;
        let person = person.ok_or(Broken::Gone("identity"))?;
        proven_variant(transaction, &person)?.is_none()
    } else {
        false
    };
    let standing = standing(transaction, progress, code, stamp.now)?;
    Ok(TransitionInput {
        now: stamp.now,
        random: stamp.random,
        variant_untried,
        standing,
    })
}
