//! Messages and attempts that a sheet misses, read from SQLite.

use delivery::address::AddressVariant;
use delivery::message::Kind;
use delivery::outcome::{OutcomeKind, SettledBy};
use delivery::row::{AttemptRow, IdentityRow, MessageRow, PersonRow};
use delivery::sid::Sid;
use delivery::time::Timestamp;
use delivery::window::WindowCheck;
use rusqlite::{Connection, OptionalExtension, Params, Row};

use crate::store::operations::rows::MessageRows;
use crate::store::sheet::{AttemptRecord, MessageRecord, Sheet};
use crate::store::sqlite::column::{message_id, stored_at, stored_or_null, time_or_null};
use crate::store::sqlite::statements::Statements;

/// Loads the messages whose numbers a statement gives.
pub(super) fn load_messages(
    db: &Connection,
    sheet: &mut Sheet,
    sql: &str,
    values: impl Params,
) -> rusqlite::Result<Vec<MessageRow>> {
    let rows = read_all(db, sql, values, |row| row.get(0).map(MessageRow))?;
    for row in &rows {
        load_message(db, sheet, *row)?;
    }
    Ok(rows)
}

/// Loads a message with its progress and its last attempt.
pub(super) fn load_message(
    db: &Connection,
    sheet: &mut Sheet,
    row: MessageRow,
) -> rusqlite::Result<()> {
    let record = db
        .prepare_cached(
            "SELECT public_id, person_id, content_index, template_id, kind, window_check, send_at, \
             accepted_at, sealed_content, sealed_metadata, sealed_business_key, identity_id \
             FROM message WHERE id = ?1",
        )?
        .query_row([row.0], read_message)
        .optional()?;
    sheet.messages.load(row, record);
    let progress = Statements { db }.progress(row)?;
    let attempt = progress.as_ref().and_then(|progress| progress.attempt);
    sheet.progress.load(row, progress);
    match attempt {
        Some(attempt) => load_attempt(db, sheet, attempt).map(drop),
        None => Ok(()),
    }
}

fn read_message(row: &Row<'_>) -> rusqlite::Result<MessageRecord> {
    Ok(MessageRecord {
        id: message_id(row.get_ref(0)?.as_blob()?)?,
        person: PersonRow(row.get(1)?),
        content_index: row.get(2)?,
        template: row.get(3)?,
        kind: stored_at(row, 4, Kind::from_number)?,
        window_check: stored_at(row, 5, WindowCheck::from_number)?,
        send_at: time_or_null(row, 6)?,
        accepted_at: Timestamp::from_micros(row.get(7)?),
        sealed_content: row.get(8)?,
        sealed_metadata: row.get(9)?,
        sealed_business_key: row.get(10)?,
        identity: IdentityRow(row.get(11)?),
    })
}

/// Loads an attempt and returns its message.
pub(super) fn load_attempt(
    db: &Connection,
    sheet: &mut Sheet,
    attempt: AttemptRow,
) -> rusqlite::Result<Option<MessageRow>> {
    let record = db
        .prepare_cached(
            "SELECT message_id, n, nonce, started_at, finished_at, outcome, cause, variant, seen, \
             sid, error_code, settled_by FROM attempt WHERE id = ?1",
        )?
        .query_row([attempt.0], read_attempt)
        .optional()?;
    let message = record.as_ref().map(|record| record.message);
    sheet.attempts.load(attempt, record);
    Ok(message)
}

fn read_attempt(row: &Row<'_>) -> rusqlite::Result<AttemptRecord> {
    let nonce: i64 = row.get(2)?;
    Ok(AttemptRecord {
        message: MessageRow(row.get(0)?),
        n: row.get(1)?,
        nonce: nonce.cast_unsigned(),
        started_at: Timestamp::from_micros(row.get(3)?),
        finished_at: time_or_null(row, 4)?,
        outcome: stored_or_null(row, 5, OutcomeKind::from_number)?,
        cause: row.get(6)?,
        variant: stored_at(row, 7, AddressVariant::from_number)?,
        seen: row.get(8)?,
        sid: row.get_ref(9)?.as_blob_or_null()?.and_then(Sid::from_bytes),
        error_code: row.get(10)?,
        settled_by: stored_or_null(row, 11, SettledBy::from_number)?,
    })
}

/// Reads every row that a statement gives.
pub(super) fn read_all<T>(
    db: &Connection,
    sql: &str,
    values: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    db.prepare_cached(sql)?.query_map(values, read)?.collect()
}
