//! Watches: the table `watch`, and what attempts that are asked about must look like.

use delivery::address::AddressVariant;
use delivery::message::SenderName;
use delivery::outcome::OutcomeKind;
use delivery::progress::{Watch, WatchKind};
use delivery::row::{AttemptRow, IdentityRow, MessageRow, PersonRow};
use delivery::sid::Sid;
use delivery::state::State;
use delivery::time::Timestamp;
use rusqlite::{Connection, Row, params};

use super::SqliteStore;
use super::column::{limit, message_id, stored_at, stored_or_null};
use super::statements::{ACCOUNT, Statements};
use crate::store::operations::rows::{Broken, PersonRows, WatchRows};
use crate::store::operations::transaction::Shared;
use crate::store::operations::watch::{Settle, evidence};
use crate::store::seal::open_content;
use crate::store::{DueWatch, Evidence, Settlement, StoreFuture, WatchQuery, Watches};

impl Watches for SqliteStore {
    fn due_watches(&self, query: WatchQuery) -> StoreFuture<'_, Vec<DueWatch>> {
        Box::pin(self.read_long(&self.readers.work, move |db, shared| {
            read_due(db, shared, query)
        }))
    }

    fn settle(&self, batch: Vec<Settlement>) -> StoreFuture<'_, ()> {
        Box::pin(self.writer.run(Settle(batch)))
    }

    fn known_sids(&self, sids: Vec<Sid>) -> StoreFuture<'_, Vec<Sid>> {
        Box::pin(async move {
            self.read(|db| {
                let mut statement =
                    db.prepare_cached("SELECT 1 FROM attempt WHERE account_id = ?1 AND sid = ?2")?;
                let mut known = Vec::new();
                for sid in sids {
                    if statement.exists(params![ACCOUNT, sid.to_bytes()])? {
                        known.push(sid);
                    }
                }
                Ok(known)
            })
            .await
        })
    }

    fn next_watch(&self) -> StoreFuture<'_, Option<Timestamp>> {
        Box::pin(async move {
            self.read(|db| {
                let at: Option<i64> = db
                    .prepare_cached("SELECT min(at) FROM watch WHERE account_id = ?1")?
                    .query_row([ACCOUNT], |row| row.get(0))?;
                Ok(at.map(Timestamp::from_micros))
            })
            .await
        })
    }
}

impl WatchRows for Statements<'_> {
    fn set_watch(&mut self, watch: Watch, polls: u32) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO watch (account_id, at, attempt_id, kind, polls) \
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute([
                ACCOUNT,
                watch.at.micros(),
                watch.attempt.0,
                watch.kind.number(),
                i64::from(polls),
            ])?;
        Ok(())
    }

    fn delete_watch(&mut self, at: Timestamp, attempt: AttemptRow) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "DELETE FROM watch WHERE account_id = ?1 AND at = ?2 AND attempt_id = ?3",
            )?
            .execute([ACCOUNT, at.micros(), attempt.0])?;
        Ok(())
    }
}

/// A watch and its polls so far.
pub(super) struct LaterWatch {
    pub(super) watch: Watch,
    pub(super) polls: u32,
}

/// Watches whose time comes after `now`, from the one after this time and attempt.
pub(super) fn watches_later(
    db: &Connection,
    now: Timestamp,
    after: [i64; 2],
    rows: usize,
) -> rusqlite::Result<Vec<LaterWatch>> {
    let [at, attempt] = after;
    db.prepare_cached(
        "SELECT at, attempt_id, kind, polls FROM watch WHERE account_id = ?1 \
         AND (at, attempt_id) > (?2, ?3) ORDER BY at, attempt_id LIMIT ?4",
    )?
    .query_map(
        [ACCOUNT, at.max(now.micros()), attempt, limit(rows)],
        |row| {
            Ok(LaterWatch {
                watch: Watch {
                    attempt: AttemptRow(row.get(1)?),
                    at: Timestamp::from_micros(row.get(0)?),
                    kind: stored_at(row, 2, WatchKind::from_number)?,
                },
                polls: row.get(3)?,
            })
        },
    )?
    .collect()
}

fn read_due(
    db: &Connection,
    shared: &Shared,
    query: WatchQuery,
) -> rusqlite::Result<Vec<DueWatch>> {
    let mut statement = db.prepare_cached(
        "SELECT watch.at, watch.attempt_id, watch.kind, watch.polls, attempt.sid, \
         progress.state, attempt.started_at, attempt.message_id, attempt.variant, attempt.outcome \
         FROM watch JOIN attempt ON attempt.id = watch.attempt_id \
         JOIN progress ON progress.message_id = attempt.message_id \
         WHERE watch.account_id = ?1 AND watch.at <= ?2 ORDER BY watch.at LIMIT ?3",
    )?;
    let mut rows = statement.query([ACCOUNT, query.now.micros(), limit(query.limit)])?;
    let mut watches = Vec::new();
    while let Some(row) = rows.next()? {
        watches.push(read_watch(row, db, shared)?);
    }
    Ok(watches)
}

fn read_watch(row: &Row<'_>, db: &Connection, shared: &Shared) -> rusqlite::Result<DueWatch> {
    let kind = stored_at(row, 2, WatchKind::from_number)?;
    let outcome = stored_or_null(row, 9, OutcomeKind::from_number)?;
    let evidence = if kind == WatchKind::Unknown && outcome == Some(OutcomeKind::Unknown) {
        let variant = stored_at(row, 8, AddressVariant::from_number)?;
        read_evidence(db, shared, MessageRow(row.get(7)?), variant)?
    } else {
        None
    };
    Ok(DueWatch {
        at: Timestamp::from_micros(row.get(0)?),
        attempt: AttemptRow(row.get(1)?),
        kind,
        polls: row.get(3)?,
        sid: row.get_ref(4)?.as_blob_or_null()?.and_then(Sid::from_bytes),
        state: stored_at(row, 5, State::from_number)?,
        started_at: Timestamp::from_micros(row.get(6)?),
        evidence,
    })
}

/// What an attempt must look like at the provider; `None` when its person was erased.
fn read_evidence(
    db: &Connection,
    shared: &Shared,
    message: MessageRow,
    variant: AddressVariant,
) -> rusqlite::Result<Option<Evidence>> {
    let (id, identity, sealed, sender) = db
        .prepare_cached(
            "SELECT message.public_id, message.identity_id, message.sealed_content, sender.name \
             FROM message JOIN progress ON progress.message_id = message.id \
             JOIN sender ON sender.id = progress.sender_id WHERE message.id = ?1",
        )?
        .query_row([message.0], |row| {
            let id = message_id(row.get_ref(0)?.as_blob()?)?;
            let sealed: Vec<u8> = row.get(2)?;
            let sender: String = row.get(3)?;
            Ok((id, IdentityRow(row.get(1)?), sealed, sender))
        })?;
    let person = Statements { db }.person_at(identity)?;
    let person = person.ok_or(Broken::Gone("identity"))?;
    let vault = &shared.vault;
    let Some(address) = person.address(vault).map_err(Broken::from)? else {
        return Ok(None);
    };
    let key = person.key(vault).map_err(Broken::from)?;
    let content = open_content(vault, &key, id, &sealed);
    Ok(content.map(|content| {
        let sender = SenderName::new(sender);
        // Attempts to one address are looked for together; each identity is a number of its person.
        evidence(PersonRow(identity.0), &address, variant, sender, content)
    }))
}
