//! Idempotency keys and business keys.

use delivery::row::{MessageRow, PersonRow};
use delivery::state::State;
use delivery::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::column::{limit, message_id, stored_at};
use super::statements::{ACCOUNT, Statements};
use crate::store::Idempotency;
use crate::store::operations::columns::{EarlierAnswer, NewestAbout, Subject, TakenSubject};
use crate::store::operations::rows::KeyRows;

impl KeyRows for Statements<'_> {
    fn earlier_answer(&mut self, key: &[u8; 16]) -> rusqlite::Result<Option<EarlierAnswer>> {
        self.db
            .prepare_cached(
                "SELECT idempotency.body, message.public_id, idempotency.state \
                 FROM idempotency JOIN message ON message.id = idempotency.message_id \
                 WHERE idempotency.account_id = ?1 AND idempotency.key = ?2",
            )?
            .query_row(params![ACCOUNT, key], |row| {
                Ok(EarlierAnswer {
                    body: row.get(0)?,
                    id: message_id(row.get_ref(1)?.as_blob()?)?,
                    state: stored_at(row, 2, State::from_number)?,
                })
            })
            .optional()
    }

    fn insert_answer(
        &mut self,
        idempotency: &Idempotency,
        message: MessageRow,
        state: State,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "INSERT INTO idempotency (account_id, key, body, message_id, state, created_at) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                ACCOUNT,
                idempotency.key,
                idempotency.body,
                message.0,
                state.number(),
                now.micros()
            ])?;
        Ok(())
    }

    fn prune_answers(&mut self, before: Timestamp, rows: usize) -> rusqlite::Result<u64> {
        let removed = self
            .db
            .prepare_cached(
                "DELETE FROM idempotency WHERE account_id = ?1 AND key IN (SELECT key \
                 FROM idempotency WHERE account_id = ?1 AND created_at <= ?2 LIMIT ?3)",
            )?
            .execute([ACCOUNT, before.micros(), limit(rows)])?;
        Ok(u64::try_from(removed).unwrap_or(u64::MAX))
    }

    fn newest_about(&mut self, subject: &Subject) -> rusqlite::Result<Option<NewestAbout>> {
        self.db
            .prepare_cached(
                "SELECT business_key.version, message.id, message.public_id FROM business_key \
                 JOIN message ON message.id = business_key.message_id \
                 WHERE business_key.account_id = ?1 AND business_key.person_id = ?2 \
                 AND business_key.subject_index = ?3",
            )?
            .query_row(params![ACCOUNT, owner(subject), subject.index], |row| {
                Ok(NewestAbout {
                    version: row.get(0)?,
                    message: MessageRow(row.get(1)?),
                    id: message_id(row.get_ref(2)?.as_blob()?)?,
                })
            })
            .optional()
    }

    fn take_subjects(&mut self, person: PersonRow) -> rusqlite::Result<Vec<TakenSubject>> {
        let taken = self
            .db
            .prepare_cached(
                "SELECT subject_index, version, message_id FROM business_key \
                 WHERE account_id = ?1 AND person_id = ?2",
            )?
            .query_map([ACCOUNT, person.0], |row| {
                Ok(TakenSubject {
                    index: row.get(0)?,
                    version: row.get(1)?,
                    message: MessageRow(row.get(2)?),
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        self.db
            .prepare_cached("DELETE FROM business_key WHERE account_id = ?1 AND person_id = ?2")?
            .execute([ACCOUNT, person.0])?;
        Ok(taken)
    }

    fn set_newest_about(
        &mut self,
        subject: &Subject,
        version: Option<u64>,
        message: MessageRow,
    ) -> rusqlite::Result<()> {
        // SQLite's integers end at half of ours.
        let version = version.map(|version| i64::try_from(version).unwrap_or(i64::MAX));
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO business_key (account_id, person_id, subject_index, \
                 version, message_id) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                ACCOUNT,
                owner(subject),
                subject.index,
                version,
                message.0
            ])?;
        Ok(())
    }
}

/// The column `person_id` of a subject: 0 for the account's.
pub(super) fn owner(subject: &Subject) -> i64 {
    subject.person.map_or(0, |person| person.0)
}

/// Removes the subject of which a message is the newest.
pub(super) fn remove(db: &Connection, message: MessageRow) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM business_key WHERE account_id = ?1 AND message_id = ?2")?
        .execute([ACCOUNT, message.0])?;
    Ok(())
}
