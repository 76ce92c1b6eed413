//! The queue: the table `queue`, and the verbs of dispatch.

use delivery::hold::LIFTED_ONLY;
use delivery::message::Priority;
use delivery::progress::Progress;
use delivery::row::{MessageRow, PersonRow};
use delivery::time::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use super::column::{limit, time_or_null};
use super::statements::{ACCOUNT, Statements};
use super::{SqliteStore, hold, sender};
use crate::store::operations::attempt::{CloseAttempts, Defer, OpenAttempts, PutOffHeld};
use crate::store::operations::rows::QueueRows;
use crate::store::{
    CloseRequest, CloseResult, DueMessage, DuePage, DueQuery, OpenRequest, OpenResult, Queue,
    StoreFuture,
};

impl Queue for SqliteStore {
    fn due(&self, query: DueQuery) -> StoreFuture<'_, DuePage> {
        Box::pin(async move { self.read(|db| read_page(db, &query)).await })
    }

    fn open_attempts(&self, batch: Vec<OpenRequest>) -> StoreFuture<'_, Vec<OpenResult>> {
        Box::pin(self.writer.run(OpenAttempts(batch)))
    }

    fn close_attempts(&self, batch: Vec<CloseRequest>) -> StoreFuture<'_, Vec<CloseResult>> {
        Box::pin(self.writer.run(CloseAttempts(batch)))
    }

    fn defer(&self, batch: Vec<(MessageRow, Timestamp)>) -> StoreFuture<'_, ()> {
        Box::pin(self.writer.run(Defer(batch)))
    }

    fn put_off_held(
        &self,
        messages: Vec<MessageRow>,
        now: Timestamp,
    ) -> StoreFuture<'_, Vec<MessageRow>> {
        Box::pin(self.writer.run(PutOffHeld { messages, now }))
    }

    fn open_attempts_of(&self, person: PersonRow) -> StoreFuture<'_, u64> {
        Box::pin(async move {
            self.read(|db| {
                // Who waits may have become one with somebody else meanwhile.
                db.prepare_cached(
                    "SELECT count(*) FROM open_attempt WHERE account_id = ?1 AND person_id = \
                     (SELECT coalesce(person_id, id) FROM identity WHERE id = ?2)",
                )?
                .query_row([ACCOUNT, person.0], |row| row.get(0))
            })
            .await
        })
    }
}

impl QueueRows for Statements<'_> {
    fn enqueue(&mut self, progress: &Progress, due_at: Timestamp) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "INSERT INTO queue (account_id, sender_id, priority, due_at, message_id, person_id) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute([
                ACCOUNT,
                progress.sender.0,
                progress.priority.number(),
                due_at.micros(),
                progress.message.0,
                progress.person.0,
            ])?;
        Ok(())
    }

    fn dequeue(&mut self, progress: &Progress, due_at: Timestamp) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "DELETE FROM queue WHERE account_id = ?1 AND sender_id = ?2 AND priority = ?3 \
                 AND due_at = ?4 AND message_id = ?5",
            )?
            .execute([
                ACCOUNT,
                progress.sender.0,
                progress.priority.number(),
                due_at.micros(),
                progress.message.0,
            ])?;
        Ok(())
    }
}

/// The due time of the message that has been or will be due first, over all senders.
pub(super) fn oldest_due(db: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let senders: Vec<i64> = db
        .prepare_cached("SELECT id FROM sender WHERE account_id = ?1")?
        .query_map([ACCOUNT], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut statement = db.prepare_cached(
        "SELECT due_at FROM queue WHERE account_id = ?1 AND sender_id = ?2 AND priority = ?3 \
         ORDER BY due_at LIMIT 1",
    )?;
    let mut oldest: Option<i64> = None;
    for sender in senders {
        for priority in Priority::ALL {
            let first = statement
                .query_row([ACCOUNT, sender, priority.number()], |row| row.get(0))
                .optional()?;
            oldest = [oldest, first].into_iter().flatten().min();
        }
    }
    Ok(oldest.map(Timestamp::from_micros))
}

/// A message that is due later, with the key of its row in the queue.
pub(super) struct LaterMessage {
    pub(super) key: [i64; 4],
    pub(super) message: MessageRow,
    pub(super) due_at: Timestamp,
    pub(super) send_at: Option<Timestamp>,
}

/// Messages that are due after `now` and do not wait to be lifted, in the order of the queue's key, from the one after `after`.
pub(super) fn due_later(
    db: &Connection,
    now: Timestamp,
    after: [i64; 4],
    rows: usize,
) -> rusqlite::Result<Vec<LaterMessage>> {
    let [sender, priority, due_at, message] = after;
    db.prepare_cached(
        "SELECT queue.sender_id, queue.priority, queue.due_at, queue.message_id, message.send_at \
         FROM queue JOIN message ON message.id = queue.message_id \
         WHERE queue.account_id = ?1 AND queue.due_at > ?2 AND queue.due_at < ?8 \
         AND (queue.sender_id, queue.priority, queue.due_at, queue.message_id) > (?3, ?4, ?5, ?6) \
         ORDER BY queue.sender_id, queue.priority, queue.due_at, queue.message_id LIMIT ?7",
    )?
    .query_map(
        [
            ACCOUNT,
            now.micros(),
            sender,
            priority,
            due_at,
            message,
            limit(rows),
            LIFTED_ONLY.micros(),
        ],
        |row| {
            let key = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
            let [_, _, due_at, message] = key;
            Ok(LaterMessage {
                key,
                message: MessageRow(message),
                due_at: Timestamp::from_micros(due_at),
                send_at: time_or_null(row, 4)?,
            })
        },
    )?
    .collect()
}

fn read_page(db: &Connection, query: &DueQuery) -> rusqlite::Result<DuePage> {
    let (paused, resumed_at) = sender::pause_state(db, query.sender)?;
    let holds = hold::of_sender(db, query.sender)?;
    let held = holds.is_held(query.now);
    let mut page = DuePage {
        paused: paused || held,
        ramp_since: resumed_at.max(holds.last_end.filter(|_| !held)),
        ..DuePage::default()
    };
    let urgent = [Priority::Urgent];
    let wanted = if query.urgent_only {
        &urgent[..]
    } else {
        Priority::ALL
    };
    for priority in wanted {
        read_due(db, query, *priority, &mut page)?;
    }
    Ok(page)
}

fn read_due(
    db: &Connection,
    query: &DueQuery,
    priority: Priority,
    page: &mut DuePage,
) -> rusqlite::Result<()> {
    let (sender, number, now) = (query.sender.0, priority.number(), query.now.micros());
    let missing = query.limit.saturating_sub(page.due.len());
    let mut statement = db.prepare_cached(
        "SELECT message_id, person_id, due_at FROM queue \
         WHERE account_id = ?1 AND sender_id = ?2 AND priority = ?3 AND due_at <= ?4 \
         ORDER BY due_at, message_id LIMIT ?5",
    )?;
    let mut rows = statement.query([ACCOUNT, sender, number, now, limit(missing)])?;
    while let Some(row) = rows.next()? {
        page.due.push(DueMessage {
            message: MessageRow(row.get(0)?),
            person: PersonRow(row.get(1)?),
            priority,
            due_at: Timestamp::from_micros(row.get(2)?),
        });
    }
    let next: Option<i64> = db
        .prepare_cached(
            "SELECT due_at FROM queue \
             WHERE account_id = ?1 AND sender_id = ?2 AND priority = ?3 AND due_at > ?4 \
             ORDER BY due_at LIMIT 1",
        )?
        .query_row([ACCOUNT, sender, number, now], |row| row.get(0))
        .optional()?;
    let next = next.map(Timestamp::from_micros);
    page.next_due_at = [page.next_due_at, next].into_iter().flatten().min();
    Ok(())
}
