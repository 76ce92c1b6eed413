//! Messages made ready outside the transaction: hashing and sealing happen on the caller's core.

use delivery::message::{BusinessKey, BusinessScope};

use super::columns::Subject;
use super::rows::{PersonRows, Read};
use super::transaction::Shared;
use crate::secrets::PersonKey;
use crate::store::person::{Candidate, Person, blind_index};
use crate::store::seal::{SealedColumns, encode, seal_column, short};
use crate::store::{Idempotency, NewMessage};
use delivery::row::IdentityRow;

/// A message made ready.
pub(crate) struct Prepared {
    /// The message; its idempotency key is hashed again under a key of the store.
    pub(super) new: NewMessage,
    /// The keyed hash of the recipient's address.
    pub(super) blind_index: [u8; 32],
    /// The keyed hash of address, content and what the message is about: two notices with the same
    /// words about different things are no repetition.
    pub(super) content_index: [u8; 16],
    /// The keyed hash of what the message is about.
    subject_index: Option<[u8; 16]>,
    /// Set when the person was not known.
    pub(super) candidate: Option<Candidate>,
    sealed: SealedColumns,
    /// With whose key it was sealed, when the identity was known.
    sealed_for: Option<IdentityRow>,
}

impl Prepared {
    /// Makes a message ready. The person is looked up, and may be stored by somebody else before
    /// the transaction begins.
    pub(crate) fn new<R: PersonRows>(
        rows: &mut R,
        shared: &Shared,
        mut new: NewMessage,
    ) -> Read<R, Self> {
        new.idempotency = new.idempotency.map(|plain| keyed(shared, &plain));
        let blind_index = blind_index(&shared.vault, &new.message.to);
        let known = rows.person_of(&blind_index)?;
        let (key, candidate, sealed_for) = match &known {
            Some(person) if person.wrapped_key.is_some() => {
                let key = person.key(&shared.vault);
                (
                    key.map_err(super::rows::Broken::from)?,
                    None,
                    Some(person.identity),
                )
            }
            _ => {
                let candidate = Candidate::new(&shared.vault, blind_index, &new.message.to);
                (candidate.key.clone(), Some(candidate), None)
            }
        };
        let plain = encode(&new.message.content);
        let key_of_message = new.message.business_key.as_ref();
        let subject = key_of_message.map_or(&[][..], |key| key.subject.as_bytes());
        let content_index = content_index(shared, &blind_index, &plain, subject);
        let subject_index =
            key_of_message.map(|_| short(shared.vault.index("business_key", subject)));
        let sealed = seal_columns(shared, &key, &new, &plain);
        Ok(Self {
            new,
            blind_index,
            content_index,
            subject_index,
            candidate,
            sealed,
            sealed_for,
        })
    }

    /// What it is about, when it says so.
    pub(super) fn subject(&self, person: &Person) -> Option<Subject> {
        let key = self.new.message.business_key.as_ref()?;
        Some(Subject {
            person: match key.scope {
                BusinessScope::Person => Some(person.row),
                BusinessScope::Account => None,
            },
            index: self.subject_index?,
        })
    }

    /// The sealed columns, when they were sealed with this person's key.
    pub(super) fn sealed_for(&self, person: &Person) -> Option<&SealedColumns> {
        let same = match (&self.candidate, self.sealed_for) {
            (_, Some(known)) => known == person.identity,
            (Some(candidate), None) => {
                person.wrapped_key.as_deref() == Some(candidate.wrapped_key.as_slice())
            }
            (None, None) => false,
        };
        same.then_some(&self.sealed)
    }

    /// The keyed hash of another address of the person and this content.
    pub(super) fn content_index_at(&self, shared: &Shared, blind_index: &[u8]) -> [u8; 16] {
        let plain = encode(&self.new.message.content);
        let key = self.new.message.business_key.as_ref();
        let subject = key.map_or(&[][..], |key| key.subject.as_bytes());
        content_index(shared, blind_index, &plain, subject)
    }

    /// Seals again, when somebody else stored the person while the message was made ready.
    pub(super) fn seal_again(&self, shared: &Shared, key: &PersonKey) -> SealedColumns {
        let plain = encode(&self.new.message.content);
        seal_columns(shared, key, &self.new, &plain)
    }
}

fn content_index(shared: &Shared, blind_index: &[u8], plain: &[u8], subject: &[u8]) -> [u8; 16] {
    let content = [blind_index, plain, subject].concat();
    short(shared.vault.index("content", &content))
}

fn seal_columns(
    shared: &Shared,
    key: &PersonKey,
    new: &NewMessage,
    content: &[u8],
) -> SealedColumns {
    let seal = |column: &str, plain: &[u8]| seal_column(&shared.vault, key, column, new.id, plain);
    let message = &new.message;
    SealedColumns {
        content: seal("content", content),
        metadata: message
            .metadata
            .as_ref()
            .map(|data| seal("metadata", data.as_bytes())),
        business_key: message
            .business_key
            .as_ref()
            .map(|key| seal("business_key", key_text(key).as_bytes())),
    }
}

/// A plain hash of a body could be tried against every telephone number.
pub(crate) fn keyed(shared: &Shared, plain: &Idempotency) -> Idempotency {
    Idempotency {
        key: short(shared.vault.index("idempotency_key", &plain.key)),
        body: short(shared.vault.index("idempotency_body", &plain.body)),
    }
}

/// The business key as its caller wrote it.
fn key_text(key: &BusinessKey) -> String {
    match key.version {
        Some(version) => format!("{}:v{version}", key.subject),
        None => key.subject.clone(),
    }
}
