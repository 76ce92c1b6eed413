//! People: the tables `identity`, `identity_tie`, `consent_event` and `conversation`.

use std::sync::LazyLock;

use delivery::address::AddressVariant;
use delivery::consent::{Consent, ConsentKind};
use delivery::event::Source;
use delivery::identity::IdentityKind;
use delivery::row::{IdentityRow, PersonRow, SenderRow};
use delivery::time::Timestamp;
use rusqlite::{OptionalExtension, Row, params};

use super::column::{limit, stored_at, stored_or_null, time_or_null};
use super::statements::{ACCOUNT, Statements};
use crate::store::operations::columns::{ConsentCause, TieColumns};
use crate::store::operations::rows::PersonRows;
use crate::store::person::{Candidate, Person};

const PERSON_COLUMNS: &str = "id, blind_index, wrapped_key, sealed_address, has_variant, variant, \
     consent, consent_at, consent_source, person_id, kind";
/// The identities of a person, whether there are others than their own or not.
const IDENTITIES: &str =
    "SELECT ?1 UNION SELECT id FROM identity WHERE account_id = ?2 AND person_id = ?1";
/// Messages of a person among which a delivery is looked for.
const DELIVERED_MAX: i64 = 100;

impl PersonRows for Statements<'_> {
    fn person(&mut self, person: PersonRow) -> rusqlite::Result<Option<Person>> {
        self.person_at(Person::first_identity(person))
    }

    fn person_at(&mut self, identity: IdentityRow) -> rusqlite::Result<Option<Person>> {
        static SQL: LazyLock<String> =
            LazyLock::new(|| format!("SELECT {PERSON_COLUMNS} FROM identity WHERE id = ?1"));
        self.db
            .prepare_cached(&SQL)?
            .query_row([identity.0], read_person)
            .optional()
    }

    fn person_of(&mut self, blind_index: &[u8; 32]) -> rusqlite::Result<Option<Person>> {
        static SQL: LazyLock<String> = LazyLock::new(|| {
            format!(
                "SELECT {PERSON_COLUMNS} FROM identity WHERE account_id = ?1 AND blind_index = ?2"
            )
        });
        self.db
            .prepare_cached(&SQL)?
            .query_row(params![ACCOUNT, blind_index], read_person)
            .optional()
    }

    fn tied_to(&mut self, person: PersonRow) -> rusqlite::Result<Vec<Person>> {
        static SQL: LazyLock<String> = LazyLock::new(|| {
            format!(
                "SELECT {PERSON_COLUMNS} FROM identity \
                 WHERE account_id = ?1 AND person_id = ?2 ORDER BY id"
            )
        });
        self.db
            .prepare_cached(&SQL)?
            .query_map([ACCOUNT, person.0], read_person)?
            .collect()
    }

    fn insert_person(&mut self, candidate: &Candidate) -> rusqlite::Result<Option<Person>> {
        let inserted = self
            .db
            .prepare_cached(
                "INSERT INTO identity (account_id, blind_index, wrapped_key, sealed_address, area, \
                 has_variant, kind) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
                 ON CONFLICT (account_id, blind_index) DO NOTHING",
            )?
            .execute(params![
                ACCOUNT,
                candidate.blind_index,
                candidate.wrapped_key,
                candidate.sealed_address,
                candidate.area,
                candidate.has_variant,
                candidate.kind.number()
            ])?;
        let row = IdentityRow(self.db.last_insert_rowid());
        Ok((inserted > 0).then(|| candidate.person(row, None)))
    }

    fn insert_tied(&mut self, candidate: &Candidate, person: &Person) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "INSERT INTO identity (account_id, person_id, kind, blind_index, wrapped_key, \
                 sealed_address, area, has_variant, consent, consent_at, consent_source) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute(params![
                ACCOUNT,
                person.row.0,
                candidate.kind.number(),
                candidate.blind_index,
                candidate.wrapped_key,
                candidate.sealed_address,
                candidate.area,
                candidate.has_variant,
                person.consent.kind().number(),
                person.consent_at.map(Timestamp::micros),
                person.consent_source.map(Source::number)
            ])?;
        self.db
            .prepare_cached(
                "UPDATE identity SET person_id = id WHERE id = ?1 AND person_id IS NULL",
            )?
            .execute([person.row.0])?;
        Ok(())
    }

    fn give_identities(&mut self, from: &Person, to: &Person) -> rusqlite::Result<()> {
        static SQL: LazyLock<String> = LazyLock::new(|| {
            format!(
                "UPDATE identity SET person_id = ?3, consent = ?4, consent_at = ?5, \
                 consent_source = ?6 WHERE id IN ({IDENTITIES})"
            )
        });
        let (from, to_row) = (from.row.0, to.row.0);
        self.db.prepare_cached(&SQL)?.execute(params![
            from,
            ACCOUNT,
            to_row,
            to.consent.kind().number(),
            to.consent_at.map(Timestamp::micros),
            to.consent_source.map(Source::number)
        ])?;
        self.db
            .prepare_cached(
                "UPDATE identity SET person_id = id WHERE id = ?1 AND person_id IS NULL",
            )?
            .execute([to_row])?;
        self.db
            .prepare_cached(
                "INSERT INTO conversation (account_id, person_id, sender_id, last_inbound_at) \
                 SELECT account_id, ?3, sender_id, last_inbound_at FROM conversation \
                 WHERE account_id = ?1 AND person_id = ?2 \
                 ON CONFLICT (account_id, person_id, sender_id) DO UPDATE \
                 SET last_inbound_at = max(last_inbound_at, excluded.last_inbound_at)",
            )?
            .execute([ACCOUNT, from, to_row])?;
        self.db
            .prepare_cached("DELETE FROM conversation WHERE account_id = ?1 AND person_id = ?2")?
            .execute([ACCOUNT, from])?;
        Ok(())
    }

    fn append_tie(&mut self, tie: &TieColumns) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "INSERT INTO identity_tie (account_id, person_id, identity_id, merged_id, at, \
                 source, sid, message_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                ACCOUNT,
                tie.person.0,
                tie.identity.0,
                tie.merged.map(|person| person.0),
                tie.cause.now.micros(),
                tie.cause.source.number(),
                tie.cause.sid.map(|sid| sid.to_bytes()),
                tie.cause.message.map(|message| message.0)
            ])?;
        Ok(())
    }

    fn set_variant(
        &mut self,
        identity: IdentityRow,
        variant: AddressVariant,
    ) -> rusqlite::Result<()> {
        self.db
            .prepare_cached("UPDATE identity SET variant = ?2 WHERE id = ?1 AND variant IS NOT ?2")?
            .execute([identity.0, variant.number()])?;
        Ok(())
    }

    fn was_delivered(
        &mut self,
        person: &Person,
        variant: AddressVariant,
    ) -> rusqlite::Result<bool> {
        self.db
            .prepare_cached(
                "SELECT 1 FROM (SELECT id, identity_id FROM message \
                 WHERE account_id = ?1 AND person_id = ?2 \
                 ORDER BY id DESC LIMIT ?4) AS last \
                 JOIN progress ON progress.message_id = last.id \
                 JOIN attempt ON attempt.id = progress.attempt_id \
                 WHERE last.identity_id = ?5 AND progress.delivered_at IS NOT NULL \
                 AND attempt.variant = ?3",
            )?
            .exists([
                ACCOUNT,
                person.row.0,
                variant.number(),
                DELIVERED_MAX,
                person.identity.0,
            ])
    }

    fn set_consent(
        &mut self,
        person: PersonRow,
        consent: Consent,
        cause: &ConsentCause,
    ) -> rusqlite::Result<()> {
        let (number, source) = (consent.kind().number(), cause.source.number());
        let (now, since) = (cause.now.micros(), cause.since.micros());
        static SQL: LazyLock<String> = LazyLock::new(|| {
            format!(
                "UPDATE identity SET consent = ?3, consent_at = ?4, consent_source = ?5 \
                 WHERE id IN ({IDENTITIES})"
            )
        });
        self.db
            .prepare_cached(&SQL)?
            .execute([person.0, ACCOUNT, number, since, source])?;
        self.db
            .prepare_cached(
                "INSERT INTO consent_event (account_id, person_id, at, consent, source, \
                 inbound_id, message_id, code) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                ACCOUNT,
                person.0,
                now,
                number,
                source,
                cause.inbound,
                cause.message.map(|message| message.0),
                cause.code
            ])?;
        Ok(())
    }

    fn unanswered(&mut self, before: Timestamp, rows: usize) -> rusqlite::Result<Vec<PersonRow>> {
        static SQL: LazyLock<String> = LazyLock::new(|| {
            format!(
                "SELECT id FROM identity WHERE account_id = ?1 AND consent = {} AND consent_at <= ?2 \
                 AND (person_id IS NULL OR person_id = id) \
                 LIMIT ?3",
                ConsentKind::Asking.number()
            )
        });
        self.db
            .prepare_cached(&SQL)?
            .query_map([ACCOUNT, before.micros(), limit(rows)], |row| {
                row.get(0).map(PersonRow)
            })?
            .collect()
    }

    fn last_inbound(
        &mut self,
        person: PersonRow,
        sender: SenderRow,
    ) -> rusqlite::Result<Option<Timestamp>> {
        self.db
            .prepare_cached(
                "SELECT last_inbound_at FROM conversation \
                 WHERE account_id = ?1 AND person_id = ?2 AND sender_id = ?3",
            )?
            .query_row([ACCOUNT, person.0, sender.0], |row| {
                row.get(0).map(Timestamp::from_micros)
            })
            .optional()
    }

    fn set_last_inbound(
        &mut self,
        person: PersonRow,
        sender: SenderRow,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "INSERT INTO conversation (account_id, person_id, sender_id, last_inbound_at) \
                 VALUES (?1, ?2, ?3, ?4) ON CONFLICT (account_id, person_id, sender_id) DO UPDATE \
                 SET last_inbound_at = max(last_inbound_at, excluded.last_inbound_at)",
            )?
            .execute([ACCOUNT, person.0, sender.0, now.micros()])?;
        Ok(())
    }
}

fn read_person(row: &Row<'_>) -> rusqlite::Result<Person> {
    let consent = stored_at(row, 6, ConsentKind::from_number)?;
    let consent_at = time_or_null(row, 7)?;
    let identity: i64 = row.get(0)?;
    let person: Option<i64> = row.get(9)?;
    Ok(Person {
        row: PersonRow(person.unwrap_or(identity)),
        identity: IdentityRow(identity),
        kind: stored_at(row, 10, IdentityKind::from_number)?,
        tied: person.is_some(),
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
