//! Persons: found by the blind index, with their key, their address and their consent.

use std::sync::LazyLock;

use delivery::address::{Address, AddressVariant};
use delivery::codes::Scope;
use delivery::consent::{Consent, ConsentKind};
use delivery::event::Source;
use delivery::state::State;
use delivery::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Shared;
use super::context::{Context, TransitionInput, decrypt_error, numbers, stored_at, stored_or_null};
use crate::secrets::PersonKey;
use delivery::progress::Progress;

/// A person as stored.
pub(super) struct Person {
    pub(super) id: i64,
    pub(super) blind_index: Vec<u8>,
    pub(super) wrapped_key: Option<Vec<u8>>,
    pub(super) sealed_address: Option<Vec<u8>>,
    pub(super) has_variant: bool,
    /// The variant that the person wrote from, or the one without the ninth digit when a message
    /// was delivered under it.
    pub(super) variant: Option<AddressVariant>,
    pub(super) consent: Consent,
    pub(super) consent_at: Option<Timestamp>,
    pub(super) consent_source: Option<Source>,
}

const PERSON_COLUMNS: &str = "id, blind_index, wrapped_key, sealed_address, has_variant, variant, \
     consent, consent_at, consent_source";

/// A new person, made ready outside the transaction.
pub(super) struct Candidate {
    pub(super) blind_index: [u8; 32],
    pub(super) key: PersonKey,
    pub(super) wrapped_key: Vec<u8>,
    pub(super) sealed_address: Vec<u8>,
    pub(super) area: i64,
    pub(super) has_variant: bool,
}

impl Candidate {
    pub(super) fn new(shared: &Shared, blind_index: [u8; 32], address: &Address) -> Self {
        let (key, wrapped_key) = shared.vault.create_person(&blind_index);
        let data = address_data(&blind_index);
        let sealed_address = shared
            .vault
            .seal(&key, &data, address.canonical().as_bytes());
        Self {
            blind_index,
            key,
            wrapped_key,
            sealed_address,
            area: address.area_code().map_or(0, |area| i64::from(area.ddd)),
            has_variant: address.alternative().is_some(),
        }
    }
}

impl Person {
    /// Opens the person's key; an erased person has none.
    pub(super) fn key(&self, shared: &Shared) -> rusqlite::Result<PersonKey> {
        let wrapped = self.wrapped_key.as_deref().unwrap_or_default();
        shared
            .vault
            .open_person(&self.blind_index, wrapped)
            .map_err(decrypt_error)
    }

    /// Opens the person's address; `None` when they were erased.
    pub(super) fn address(&self, shared: &Shared) -> rusqlite::Result<Option<Address>> {
        let (Some(_), Some(sealed)) = (&self.wrapped_key, &self.sealed_address) else {
            return Ok(None);
        };
        let key = self.key(shared)?;
        let plain = shared
            .vault
            .unseal(&key, &address_data(&self.blind_index), sealed)
            .map_err(decrypt_error)?;
        Ok(std::str::from_utf8(&plain)
            .ok()
            .and_then(Address::from_canonical))
    }
}

/// The blind index of an address.
pub(super) fn blind_index(shared: &Shared, address: &Address) -> [u8; 32] {
    shared.vault.index("person", address.canonical().as_bytes())
}

/// Finds a person by blind index.
pub(super) fn find(db: &Connection, blind_index: &[u8]) -> rusqlite::Result<Option<Person>> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!("SELECT {PERSON_COLUMNS} FROM person WHERE account_id = 1 AND blind_index = ?1")
    });
    db.prepare_cached(&SQL)?
        .query_row([blind_index], read_person)
        .optional()
}

/// Reads a person by key.
pub(super) fn by_id(db: &Connection, id: i64) -> rusqlite::Result<Person> {
    static SQL: LazyLock<String> =
        LazyLock::new(|| format!("SELECT {PERSON_COLUMNS} FROM person WHERE id = ?1"));
    db.prepare_cached(&SQL)?.query_row([id], read_person)
}

impl Context<'_> {
    /// Stores a new person; `None` when somebody else did it a moment before.
    pub(super) fn insert_person(&self, candidate: &Candidate) -> rusqlite::Result<Option<Person>> {
        let inserted = self
            .db
            .prepare_cached(
                "INSERT INTO person (account_id, blind_index, wrapped_key, sealed_address, area, \
                 has_variant) VALUES (1, ?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT (account_id, blind_index) DO NOTHING",
            )?
            .execute(params![
                candidate.blind_index,
                candidate.wrapped_key,
                candidate.sealed_address,
                candidate.area,
                candidate.has_variant
            ])?;
        if inserted == 0 {
            return Ok(None);
        }
        Ok(Some(Person {
            id: self.db.last_insert_rowid(),
            blind_index: candidate.blind_index.to_vec(),
            wrapped_key: Some(candidate.wrapped_key.clone()),
            sealed_address: Some(candidate.sealed_address.clone()),
            has_variant: candidate.has_variant,
            variant: None,
            consent: Consent::Open,
            consent_at: None,
            consent_source: None,
        }))
    }

    /// The person of an address, stored now when they are new.
    pub(super) fn person(&self, address: &Address) -> rusqlite::Result<Person> {
        let index = blind_index(self.shared, address);
        match find(self.db, &index)? {
            Some(person) => Ok(person),
            None => self
                .insert_person(&Candidate::new(self.shared, index, address))?
                .ok_or(rusqlite::Error::QueryReturnedNoRows),
        }
    }

    /// Writes a change of consent and its record, and stops or frees the person's pending
    /// messages in the same transaction. Comes back with their number.
    pub(super) fn change_consent(
        &mut self,
        person: i64,
        consent: Consent,
        cause: ConsentCause,
    ) -> rusqlite::Result<u64> {
        let number = consent.kind().number();
        let source = cause.source.number();
        self.db
            .prepare_cached(
                "UPDATE person SET consent = ?2, consent_at = ?3, consent_source = ?4 WHERE id = ?1",
            )?
            .execute(params![person, number, cause.now.micros(), source])?;
        self.db
            .prepare_cached(
                "INSERT INTO consent_event (person_id, at, consent, source, inbound_id, \
                 message_id, code) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                person,
                cause.now.micros(),
                number,
                source,
                cause.inbound,
                cause.message,
                cause.code
            ])?;
        let mut affected = 0;
        for message in self.stoppable_messages(person)? {
            let Some(mut progress) = self.progress(message)? else {
                continue;
            };
            let input = TransitionInput::at(cause.now);
            let send_at = match consent {
                Consent::Open => self.send_at(message)?,
                Consent::Asking { .. } | Consent::OptedOut => None,
            };
            let changed = self.apply(&mut progress, input, |transition| match consent {
                Consent::OptedOut => transition.suppress(cause.source),
                Consent::Asking { .. } => transition.hold_for_answer(cause.source),
                Consent::Open => transition.release_after_answer(send_at, cause.source),
            })?;
            affected += u64::from(changed);
        }
        Ok(affected)
    }

    /// The person's messages that wait or are held.
    fn stoppable_messages(&self, person: i64) -> rusqlite::Result<Vec<i64>> {
        static SQL: LazyLock<String> = LazyLock::new(|| {
            let stoppable = numbers(State::ALL.iter().filter(|state| state.is_stoppable()));
            format!(
                "SELECT message.id FROM message JOIN progress ON progress.message_id = message.id \
                 WHERE message.person_id = ?1 AND progress.state IN ({stoppable}) \
                 ORDER BY message.id"
            )
        });
        let mut statement = self.db.prepare_cached(&SQL)?;
        statement.query_map([person], |row| row.get(0))?.collect()
    }

    /// A refusal of the class `opt_out` opts the person out, unless they are already.
    pub(super) fn suppress_refused_person(
        &mut self,
        progress: &Progress,
        code: Option<u32>,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        if by_id(self.db, progress.person)?.consent == Consent::OptedOut {
            return Ok(());
        }
        let cause = ConsentCause {
            source: Source::Callback,
            now,
            inbound: None,
            message: Some(progress.message),
            code,
        };
        self.change_consent(progress.person, Consent::OptedOut, cause)?;
        Ok(())
    }

    /// Pauses a sender, or all of them, because of an error code.
    pub(super) fn pause(
        &self,
        sender: i64,
        scope: Scope,
        code: Option<u32>,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let reason = code.map_or_else(|| "unlisted".to_owned(), |code| code.to_string());
        let changed = self
            .db
            .prepare_cached(
                "UPDATE sender SET paused_at = ?1, pause_reason = ?2 \
                 WHERE paused_at IS NULL AND (id = ?3 OR ?4)",
            )?
            .execute(params![
                now.micros(),
                reason,
                sender,
                scope == Scope::Account
            ])?;
        if changed > 0 {
            tracing::error!(
                code = reason,
                senders = changed,
                "the provider refuses what a sender is configured with; it is paused until resumed"
            );
        }
        Ok(())
    }
}

/// Why consent changed.
#[derive(Clone, Copy)]
pub(super) struct ConsentCause {
    pub(super) source: Source,
    pub(super) now: Timestamp,
    pub(super) inbound: Option<i64>,
    pub(super) message: Option<i64>,
    pub(super) code: Option<u32>,
}

fn read_person(row: &Row<'_>) -> rusqlite::Result<Person> {
    let consent_at: Option<i64> = row.get(7)?;
    let consent_at = consent_at.map(Timestamp::from_micros);
    let consent = stored_at(row, 6, ConsentKind::from_number)?;
    Ok(Person {
        id: row.get(0)?,
        blind_index: row.get(1)?,
        wrapped_key: row.get(2)?,
        sealed_address: row.get(3)?,
        has_variant: row.get(4)?,
        variant: stored_or_null(row, 5, AddressVariant::from_number)?,
        consent: Consent::of(consent, consent_at.unwrap_or_default()),
        consent_at,
        consent_source: stored_or_null(row, 8, Source::from_number)?,
    })
}

/// The associated data of a person's address.
pub(super) fn address_data(blind_index: &[u8]) -> Vec<u8> {
    [b"person.address:".as_slice(), blind_index].concat()
}
