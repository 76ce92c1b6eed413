//! Holds and the evidence for them, on their way into a sheet and back.

use delivery::hold::HoldScope;
use delivery::message::Kind;
use delivery::row::{HoldRow, MessageRow, PersonRow, SenderRow};
use delivery::time::Timestamp;
use rusqlite::{Connection, Params, Row, params};

use crate::store::operations::columns::HoldSubject;
use crate::store::sheet::{EvidenceRecord, HoldRecord, Sheet};
use crate::store::sqlite::column::stored_at;
use crate::store::sqlite::statements::ACCOUNT;

/// Loads every hold, and the evidence for them.
pub(super) fn load(db: &Connection, sheet: &mut Sheet) -> rusqlite::Result<()> {
    let sql = "SELECT id, scope, subject, kind, since, until, ends_at, lifted, releasing, step, \
               code, message_id FROM hold";
    let holds = read_all(db, sql, |row| {
        let record = HoldRecord {
            subject: HoldSubject {
                scope: stored_at(row, 1, HoldScope::from_number)?,
                subject: row.get(2)?,
                kind: Kind::from_number(row.get(3)?),
            },
            since: Timestamp::from_micros(row.get(4)?),
            until: Timestamp::from_micros(row.get(5)?),
            ends_at: Timestamp::from_micros(row.get(6)?),
            lifted: row.get(7)?,
            releasing: row.get(8)?,
            step: row.get(9)?,
            code: row.get(10)?,
            message: MessageRow(row.get(11)?),
        };
        Ok((HoldRow(row.get(0)?), record))
    })?;
    for (row, record) in holds {
        sheet.holds.load(row, Some(record));
    }
    let sql =
        "SELECT message_id, code, person_id, sender_id, at, stopped_others FROM hold_evidence";
    let evidence = read_all(db, sql, |row| {
        let record = EvidenceRecord {
            person: PersonRow(row.get(2)?),
            sender: SenderRow(row.get(3)?),
            at: Timestamp::from_micros(row.get(4)?),
            stopped_others: row.get(5)?,
        };
        Ok(((MessageRow(row.get(0)?), row.get(1)?), record))
    })?;
    for (key, record) in evidence {
        sheet.evidence.load(key, Some(record));
    }
    Ok(())
}

/// Writes what has changed of them.
pub(super) fn save(db: &Connection, sheet: &Sheet) -> rusqlite::Result<()> {
    for (row, hold) in sheet.holds.changes() {
        execute(db, "DELETE FROM hold WHERE id = ?1", [row.0])?;
        let Some(hold) = hold else { continue };
        execute(
            db,
            "INSERT INTO hold (id, account_id, scope, subject, kind, since, until, ends_at, lifted, \
             releasing, step, code, message_id) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            params![
                row.0,
                ACCOUNT,
                hold.subject.scope.number(),
                hold.subject.subject,
                hold.subject.kind.map_or(-1, Kind::number),
                hold.since.micros(),
                hold.until.micros(),
                hold.ends_at.micros(),
                hold.lifted,
                hold.releasing,
                hold.step,
                hold.code,
                hold.message.0
            ],
        )?;
    }
    for ((message, code), known) in sheet.evidence.changes() {
        execute(
            db,
            "DELETE FROM hold_evidence WHERE message_id = ?1 AND code = ?2",
            params![message.0, code],
        )?;
        let Some(known) = known else { continue };
        execute(
            db,
            "INSERT INTO hold_evidence (account_id, message_id, code, person_id, sender_id, at, \
             stopped_others) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                ACCOUNT,
                message.0,
                code,
                known.person.0,
                known.sender.0,
                known.at.micros(),
                known.stopped_others
            ],
        )?;
    }
    Ok(())
}

fn read_all<T>(
    db: &Connection,
    sql: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    db.prepare_cached(sql)?.query_map([], read)?.collect()
}

fn execute(db: &Connection, sql: &str, values: impl Params) -> rusqlite::Result<()> {
    db.prepare_cached(sql)?.execute(values)?;
    Ok(())
}
