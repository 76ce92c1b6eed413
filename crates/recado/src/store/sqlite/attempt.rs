//! The tables `attempt` and `open_attempt`.

use std::sync::LazyLock;

use delivery::address::AddressVariant;
use delivery::outcome::{OutcomeKind, SettledBy};
use delivery::progress::Progress;
use delivery::row::{AttemptRow, MessageRow, PersonRow, SenderRow};
use delivery::sid::Sid;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::column::{stored_at, stored_or_null, time_or_null};
use super::progress::{PROGRESS_COLUMNS, PROGRESS_WIDTH, read_progress};
use super::statements::{ACCOUNT, Statements};
use crate::store::AttemptId;
use crate::store::operations::columns::{Attempt, AttemptChange, NewAttempt, OpenAttemptColumns};
use crate::store::operations::rows::AttemptRows;

const ATTEMPT_COLUMNS: &str = "attempt.id, attempt.message_id, attempt.outcome, attempt.sid, \
     attempt.variant, attempt.seen, attempt.settled_by, attempt.finished_at";

impl AttemptRows for Statements<'_> {
    fn attempt(&mut self, attempt: AttemptRow) -> rusqlite::Result<Option<Attempt>> {
        static SQL: LazyLock<String> =
            LazyLock::new(|| format!("SELECT {ATTEMPT_COLUMNS} FROM attempt WHERE id = ?1"));
        self.db
            .prepare_cached(&SQL)?
            .query_row([attempt.0], |row| read_attempt(row, 0))
            .optional()
    }

    fn attempt_of(&mut self, id: AttemptId) -> rusqlite::Result<Option<(Attempt, Progress)>> {
        static SQL: LazyLock<String> =
            LazyLock::new(|| with_progress("attempt.id = ?1 AND attempt.nonce = ?2"));
        self.find_with_progress(&SQL, [id.row.0, id.nonce.cast_signed()])
    }

    fn attempt_with(&mut self, sid: Sid) -> rusqlite::Result<Option<(Attempt, Progress)>> {
        static SQL: LazyLock<String> =
            LazyLock::new(|| with_progress("attempt.account_id = ?1 AND attempt.sid = ?2"));
        self.find_with_progress(&SQL, params![ACCOUNT, sid.to_bytes()])
    }

    fn holder(&mut self, sid: Sid) -> rusqlite::Result<Option<AttemptRow>> {
        self.db
            .prepare_cached("SELECT id FROM attempt WHERE account_id = ?1 AND sid = ?2")?
            .query_row(params![ACCOUNT, sid.to_bytes()], |row| {
                row.get(0).map(AttemptRow)
            })
            .optional()
    }

    fn message_with(&mut self, sid: Sid) -> rusqlite::Result<Option<MessageRow>> {
        self.db
            .prepare_cached("SELECT message_id FROM attempt WHERE account_id = ?1 AND sid = ?2")?
            .query_row(params![ACCOUNT, sid.to_bytes()], |row| {
                row.get(0).map(MessageRow)
            })
            .optional()
    }

    fn insert_attempt(&mut self, attempt: &NewAttempt) -> rusqlite::Result<AttemptRow> {
        self.db
            .prepare_cached(
                "INSERT INTO attempt (account_id, message_id, n, nonce, started_at, variant) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                ACCOUNT,
                attempt.message.0,
                attempt.n,
                attempt.nonce.cast_signed(),
                attempt.started_at.micros(),
                attempt.variant.number(),
            ])?;
        Ok(AttemptRow(self.db.last_insert_rowid()))
    }

    fn change_attempt(
        &mut self,
        attempt: AttemptRow,
        change: AttemptChange<'_>,
    ) -> rusqlite::Result<()> {
        let id = attempt.0;
        match change {
            AttemptChange::Seen(seen) => self.update(
                "UPDATE attempt SET seen = ?2 WHERE id = ?1",
                params![id, seen],
            ),
            AttemptChange::AlsoSeen(status) => self.update(
                "UPDATE attempt SET seen = seen | ?2 WHERE id = ?1",
                params![id, status.bit()],
            ),
            AttemptChange::Sid(sid, by) => self.update(
                "UPDATE attempt SET sid = ?2, settled_by = ?3 WHERE id = ?1",
                params![id, sid.to_bytes(), by.number()],
            ),
            AttemptChange::Withdrawn => self.update(
                "UPDATE attempt SET sid = NULL, settled_by = NULL, outcome = ?2, \
                 cause = 'evidence_withdrawn', seen = 0, error_code = NULL WHERE id = ?1",
                params![id, OutcomeKind::Unknown.number()],
            ),
            AttemptChange::Absent => self.update(
                "UPDATE attempt SET outcome = ?2, settled_by = ?3 WHERE id = ?1",
                params![
                    id,
                    OutcomeKind::Absent.number(),
                    SettledBy::Absence.number()
                ],
            ),
            AttemptChange::Closed(outcome, now) => self.update(
                "UPDATE attempt SET finished_at = ?2, outcome = ?3, cause = ?4, error_code = ?5 \
                 WHERE id = ?1",
                params![
                    id,
                    now.micros(),
                    outcome.kind().number(),
                    outcome.cause(),
                    outcome.code()
                ],
            ),
            AttemptChange::Settled(now) => self.update(
                "UPDATE attempt SET outcome = ?3, cause = NULL, finished_at = ?2 WHERE id = ?1",
                params![id, now.micros(), OutcomeKind::Sent.number()],
            ),
            AttemptChange::Error(code) => self.update(
                "UPDATE attempt SET error_code = ?2 WHERE id = ?1",
                params![id, code],
            ),
        }
    }

    fn has_open_attempt(&mut self, person: PersonRow, sender: SenderRow) -> rusqlite::Result<bool> {
        self.db
            .prepare_cached(
                "SELECT 1 FROM open_attempt \
                 WHERE account_id = ?1 AND person_id = ?2 AND sender_id = ?3",
            )?
            .exists([ACCOUNT, person.0, sender.0])
    }

    fn has_any_open_attempt(&mut self, person: PersonRow) -> rusqlite::Result<bool> {
        self.db
            .prepare_cached("SELECT 1 FROM open_attempt WHERE account_id = ?1 AND person_id = ?2")?
            .exists([ACCOUNT, person.0])
    }

    fn insert_open_attempt(&mut self, open: &OpenAttemptColumns) -> rusqlite::Result<()> {
        self.update(
            "INSERT INTO open_attempt (account_id, person_id, sender_id, attempt_id, epoch) \
             VALUES (?1, ?2, ?3, ?4, ?5)",
            [
                ACCOUNT,
                open.person.0,
                open.sender.0,
                open.attempt.0,
                open.epoch,
            ],
        )
    }

    fn delete_open_attempt(
        &mut self,
        progress: &Progress,
        attempt: AttemptRow,
    ) -> rusqlite::Result<()> {
        self.update(
            "DELETE FROM open_attempt WHERE account_id = ?1 AND person_id = ?2 AND sender_id = ?3 \
             AND attempt_id = ?4",
            [ACCOUNT, progress.person.0, progress.sender.0, attempt.0],
        )
    }

    fn give_open_attempts(&mut self, from: PersonRow, to: PersonRow) -> rusqlite::Result<()> {
        self.update(
            "UPDATE open_attempt SET person_id = ?3 WHERE account_id = ?1 AND person_id = ?2",
            [ACCOUNT, from.0, to.0],
        )
    }

    fn attempts_left_open(&mut self, epoch: i64) -> rusqlite::Result<Vec<AttemptRow>> {
        self.db
            .prepare_cached(
                "SELECT attempt_id FROM open_attempt WHERE account_id = ?1 AND epoch < ?2",
            )?
            .query_map([ACCOUNT, epoch], |row| row.get(0).map(AttemptRow))?
            .collect()
    }
}

impl Statements<'_> {
    fn update(self, sql: &str, values: impl Params) -> rusqlite::Result<()> {
        self.db.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }

    fn find_with_progress(
        self,
        sql: &str,
        values: impl Params,
    ) -> rusqlite::Result<Option<(Attempt, Progress)>> {
        self.db
            .prepare_cached(sql)?
            .query_row(values, |row| {
                Ok((read_attempt(row, PROGRESS_WIDTH)?, read_progress(row)?))
            })
            .optional()
    }
}

fn with_progress(condition: &str) -> String {
    format!(
        "SELECT {PROGRESS_COLUMNS}, {ATTEMPT_COLUMNS} FROM attempt \
         JOIN progress ON progress.message_id = attempt.message_id WHERE {condition}"
    )
}

/// Reads [`ATTEMPT_COLUMNS`], of which the first is column `first`.
fn read_attempt(row: &Row<'_>, first: usize) -> rusqlite::Result<Attempt> {
    let sid = row.get_ref(first + 3)?.as_blob_or_null()?;
    Ok(Attempt {
        row: AttemptRow(row.get(first)?),
        message: MessageRow(row.get(first + 1)?),
        outcome: stored_or_null(row, first + 2, OutcomeKind::from_number)?,
        sid: sid.and_then(Sid::from_bytes),
        variant: stored_at(row, first + 4, AddressVariant::from_number)?,
        seen: row.get(first + 5)?,
        settled_by: stored_or_null(row, first + 6, SettledBy::from_number)?,
        finished_at: time_or_null(row, first + 7)?,
    })
}

/// Removes an attempt.
pub(super) fn remove(db: &Connection, attempt: AttemptRow) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM attempt WHERE id = ?1")?
        .execute([attempt.0])?;
    Ok(())
}
