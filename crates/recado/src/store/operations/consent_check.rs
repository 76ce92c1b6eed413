//! Words about consent in the order in which they were written: until that is known, the stricter of
//! them stands, and the provider is asked.

use delivery::consent::order::{SaidWord, Standing, standing};
use delivery::consent::{Consent, ConsentChange, ConsentWord};
use delivery::event::Source;
use delivery::time::Timestamp;

use super::columns::{ConsentCause, WordColumns};
use super::consent::change_consent;
use super::rows::Rows;
use super::transaction::Transaction;
use super::verb::{Verb, each};
use crate::store::ConsentCheckResult;
use crate::store::person::Person;

/// Writes when words were written, and lets the last ones stand.
pub(crate) struct SettleConsentChecks(pub(crate) Vec<ConsentCheckResult>);

impl Verb for SettleConsentChecks {
    type Answer = ();

    fn run<R: Rows>(&self, transaction: &mut Transaction<'_, R>) -> Result<(), R::Error> {
        each(transaction, &self.0, settle)?;
        Ok(())
    }
}

fn settle<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    item: &ConsentCheckResult,
) -> Result<(), R::Error> {
    let rows = &mut transaction.rows;
    // They may have become one with somebody else since.
    let Some(person) = rows.person(item.person)? else {
        return Ok(());
    };
    if let Some((key, written_at)) = item.learned {
        rows.set_written_at(person.row, key, written_at)?;
    }
    rows.delete_consent_check(person.row)?;
    let words = rows.words(person.row)?;
    let word = match standing(&said_words(&words, &person)) {
        Standing::Word(word) => word,
        Standing::Silent => return Ok(()),
        Standing::Ask(_) => {
            // The stricter word stands, as it has all the time.
            if let Some(again_at) = item.again_at {
                rows.set_consent_check(person.row, again_at)?;
                transaction.pending.consent_checks = true;
            }
            return Ok(());
        }
    };
    let consent = match (word, person.consent) {
        (ConsentWord::OptIn, Consent::Asking { .. } | Consent::OptedOut) => Consent::Open,
        (ConsentWord::OptOut, Consent::Asking { .. } | Consent::Open) => Consent::OptedOut,
        // It stands already. A question is asked when its word arrives, and not again.
        (ConsentWord::OptIn | ConsentWord::OptOut | ConsentWord::Ask, _) => return Ok(()),
    };
    let cause = ConsentCause {
        source: Source::Recipient,
        now: item.now,
        since: item.now,
        inbound: words
            .iter()
            .find(|said| said.word == word)
            .map(|said| said.key),
        message: None,
        code: None,
    };
    change_consent(transaction, person.row, consent, cause)?;
    Ok(())
}

/// What of a change stands at once. The word that asks for it is stored already. An opt-in waits
/// until it is known that no stricter word was written after it. An opt-out stands at once, unless it
/// is known that it was taken back later; when it may have been, that is looked up.
pub(super) fn in_order<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    person: &Person,
    change: ConsentChange,
    now: Timestamp,
) -> Result<ConsentChange, R::Error> {
    if matches!(change, ConsentChange::None | ConsentChange::Ask(_)) {
        return Ok(change);
    }
    let words = transaction.rows.words(person.row)?;
    let said = said_words(&words, person);
    let opts_out = change == ConsentChange::OptOut;
    if opts_out && said.iter().all(|said| said.word != ConsentWord::OptIn) {
        return Ok(change);
    }
    let stands = match (standing(&said), opts_out) {
        (Standing::Word(ConsentWord::OptIn), _) => !opts_out,
        (Standing::Ask(_), _) => {
            transaction.rows.set_consent_check(person.row, now)?;
            transaction.pending.consent_checks = true;
            opts_out
        }
        (Standing::Word(_) | Standing::Silent, opts_out) => opts_out,
    };
    Ok(if stands { change } else { ConsentChange::None })
}

/// A person's words as the rule takes them. What the operator, a refusal or silence has changed is
/// among them: it stands as if it had been written when it happened.
pub(crate) fn said_words(words: &[WordColumns], person: &Person) -> Vec<SaidWord> {
    let mut said: Vec<SaidWord> = words
        .iter()
        .map(|word| SaidWord {
            word: word.word,
            arrived_at: word.received_at,
            written_at: word.written_at,
        })
        .collect();
    said.extend(unwritten(person, &said));
    said
}

/// The present consent, when no word of the person has made it.
fn unwritten(person: &Person, said: &[SaidWord]) -> Option<SaidWord> {
    let at = person.consent_at?;
    let word = match person.consent {
        Consent::OptedOut => ConsentWord::OptOut,
        Consent::Open => ConsentWord::OptIn,
        Consent::Asking { .. } => return None,
    };
    let wrote_it = person.consent_source == Some(Source::Recipient)
        && (word == ConsentWord::OptIn
            || said
                .iter()
                .any(|known| known.word == word && known.arrived_at == at));
    (!wrote_it).then_some(SaidWord {
        word,
        arrived_at: at,
        written_at: Some(at),
    })
}
