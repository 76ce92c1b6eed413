//! The log: the table `event`.

use std::collections::BTreeSet;

use delivery::event::{EventKind, Source};
use delivery::outcome::ProviderStatus;
use delivery::progress::{Event, Progress};
use delivery::state::State;
use delivery::time::Timestamp;
use rusqlite::{Connection, Row, params};

use super::SqliteStore;
use super::column::{limit, message_id, stored_at, stored_or_null};
use super::statements::{ACCOUNT, Statements};
use crate::store::operations::rows::EventRows;
use crate::store::{EventView, Events, HistoryView, StoreFuture};

impl Events for SqliteStore {
    fn events(&self, after: i64, count: usize) -> StoreFuture<'_, Vec<EventView>> {
        Box::pin(async move {
            self.read(|db| {
                let mut statement = db.prepare_cached(
                    "SELECT event.id, event.kind, event.state, event.source, event.at, attempt.n, \
                     event.status, event.code, event.detail, message.public_id \
                     FROM event JOIN message ON message.id = event.message_id \
                     LEFT JOIN attempt ON attempt.id = event.attempt_id \
                     WHERE event.account_id = ?1 AND event.id > ?2 ORDER BY event.id LIMIT ?3",
                )?;
                statement
                    .query_map([ACCOUNT, after, limit(count)], read_event)?
                    .collect()
            })
            .await
        })
    }

    fn last_event(&self) -> StoreFuture<'_, i64> {
        Box::pin(async move { Ok(*self.notifier.last_event.borrow()) })
    }
}

/// The latest time among the last events: after a step of the clock they are not in its order.
pub(super) fn newest_at(db: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let at: Option<i64> = db
        .prepare_cached(
            "SELECT max(at) FROM event \
             WHERE account_id = ?1 AND id > (SELECT max(id) FROM event) - 1000",
        )?
        .query_row([ACCOUNT], |row| row.get(0))?;
    Ok(at.map(Timestamp::from_micros))
}

impl EventRows for Statements<'_> {
    fn append_event(
        &mut self,
        progress: &Progress,
        event: &Event,
        now: Timestamp,
    ) -> rusqlite::Result<i64> {
        self.db
            .prepare_cached(
                "INSERT INTO event (account_id, message_id, prev, at, kind, source, state, \
                 attempt_id, status, code, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute(params![
                ACCOUNT,
                progress.message.0,
                progress.last_event,
                now.micros(),
                event.kind.number(),
                event.source.number(),
                event.state.number(),
                event.attempt.map(|attempt| attempt.0),
                event.status.map(ProviderStatus::number),
                event.code,
                event.detail,
            ])?;
        Ok(self.db.last_insert_rowid())
    }
}

fn read_event(row: &Row<'_>) -> rusqlite::Result<EventView> {
    let mut entry = read_entry(row)?;
    entry.attempt = row.get(5)?;
    Ok(EventView {
        key: row.get(0)?,
        message: message_id(row.get_ref(9)?.as_blob()?)?,
        entry,
    })
}

/// Reads the columns `kind, state, source, at, _, status, code, detail` after the first one.
pub(super) fn read_entry(row: &Row<'_>) -> rusqlite::Result<HistoryView> {
    Ok(HistoryView {
        kind: stored_at(row, 1, EventKind::from_number)?,
        state: stored_at(row, 2, State::from_number)?,
        source: stored_at(row, 3, Source::from_number)?,
        at: Timestamp::from_micros(row.get(4)?),
        attempt: None,
        status: stored_or_null(row, 6, ProviderStatus::from_number)?,
        code: row.get(7)?,
        detail: row.get(8)?,
    })
}

/// Removes the log that ends with an event; returns the attempts that it names.
pub(super) fn remove(db: &Connection, last_event: i64) -> rusqlite::Result<BTreeSet<i64>> {
    let mut attempts = BTreeSet::new();
    let mut next = last_event;
    while next > 0 {
        let (prev, attempt): (i64, Option<i64>) = db
            .prepare_cached("SELECT prev, attempt_id FROM event WHERE id = ?1")?
            .query_row([next], |row| Ok((row.get(0)?, row.get(1)?)))?;
        db.prepare_cached("DELETE FROM event WHERE id = ?1")?
            .execute([next])?;
        attempts.extend(attempt);
        next = prev;
    }
    Ok(attempts)
}
