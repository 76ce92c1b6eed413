//! Inbound messages: the tables `inbound`, `inbound_cursor` and `consent_check`.

use delivery::consent::ConsentWord;
use delivery::consent::order::{Standing, standing};
use delivery::row::{IdentityRow, PersonRow, SenderRow};
use delivery::sid::Sid;
use delivery::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SqliteStore;
use super::column::{limit, message_id, stored_at, stored_or_null, time_or_null};
use super::statements::{ACCOUNT, Statements};
use crate::store::operations::columns::{InboundColumns, KnownInbound, WordColumns};
use crate::store::operations::consent_check::{SettleConsentChecks, said_words};
use crate::store::operations::inbound::{KeepCursor, RecordInbound};
use crate::store::operations::removal::{Ages, Removal};
use crate::store::operations::rows::{Broken, InboundRows, PersonRows, WORDS_MAX};
use crate::store::operations::transaction::Shared;
use crate::store::person::{Person, blind_index};
use crate::store::seal::payload_data;
use crate::store::{
    AskedInbound, ConsentCheck, ConsentCheckQuery, ConsentCheckResult, ConsentChecks,
    InboundCursor, InboundQuery, InboundReading, InboundResult, InboundView, Inbounds, MessageId,
    NewInbound, StoreFuture,
};

impl Inbounds for SqliteStore {
    fn inbound(&self, batch: Vec<NewInbound>) -> StoreFuture<'_, Vec<InboundResult>> {
        Box::pin(self.writer.run(RecordInbound(batch)))
    }

    fn inbound_messages(&self, query: InboundQuery) -> StoreFuture<'_, Vec<InboundView>> {
        Box::pin(self.read_long(&self.readers.lists, move |db, shared| {
            read_page(db, shared, &query)
        }))
    }

    fn known_inbound(&self, sids: Vec<Sid>) -> StoreFuture<'_, Vec<Sid>> {
        Box::pin(self.read_long(&self.readers.work, move |db, _| {
            let mut rows = Statements { db };
            let mut known = Vec::new();
            for sid in sids {
                if rows.inbound(sid)?.is_some() {
                    known.push(sid);
                }
            }
            Ok(known)
        }))
    }

    fn inbound_cursor(
        &self,
        sender: SenderRow,
        recipient: String,
    ) -> StoreFuture<'_, Option<InboundCursor>> {
        Box::pin(self.read_long(&self.readers.work, move |db, _| {
            read_cursor(db, sender, &recipient)
        }))
    }

    fn set_inbound_cursor(&self, cursor: InboundCursor) -> StoreFuture<'_, ()> {
        Box::pin(self.writer.run(KeepCursor(cursor)))
    }

    fn consent_checks(&self, query: ConsentCheckQuery) -> StoreFuture<'_, ConsentChecks> {
        Box::pin(self.read_long(&self.readers.work, move |db, _| read_checks(db, query)))
    }

    fn settle_consent_checks(&self, batch: Vec<ConsentCheckResult>) -> StoreFuture<'_, ()> {
        Box::pin(self.writer.run(SettleConsentChecks(batch)))
    }
}

impl InboundRows for Statements<'_> {
    fn inbound(&mut self, sid: Sid) -> rusqlite::Result<Option<KnownInbound>> {
        self.db
            .prepare_cached(
                "SELECT id, identity_id, word, listed FROM inbound \
                 WHERE account_id = ?1 AND sid = ?2",
            )?
            .query_row(params![ACCOUNT, sid.to_bytes()], |row| {
                Ok(KnownInbound {
                    key: row.get(0)?,
                    identity: IdentityRow(row.get(1)?),
                    word: stored_or_null(row, 2, ConsentWord::from_number)?,
                    listed: row.get(3)?,
                })
            })
            .optional()
    }

    fn insert_inbound(&mut self, inbound: &InboundColumns<'_>) -> rusqlite::Result<i64> {
        self.db
            .prepare_cached(
                "INSERT INTO inbound (account_id, sid, person_id, identity_id, sender_id, type, \
                 media, reply_to, received_at, sealed_payload, written_at, word, listed) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            )?
            .execute(params![
                ACCOUNT,
                inbound.sid.to_bytes(),
                inbound.person.0,
                inbound.identity.0,
                inbound.sender.map(|sender| sender.0),
                inbound.message_type,
                inbound.media,
                inbound.reply_to.map(|message| message.0),
                inbound.received_at.micros(),
                inbound.sealed_payload,
                inbound.written_at.map(Timestamp::micros),
                inbound.word.map(ConsentWord::number),
                inbound.listed,
            ])?;
        Ok(self.db.last_insert_rowid())
    }

    fn complete_inbound(&mut self, key: i64, inbound: &InboundColumns<'_>) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "UPDATE inbound SET type = ?2, media = ?3, reply_to = ?4, sealed_payload = ?5, \
                 word = ?6, listed = 0 WHERE id = ?1",
            )?
            .execute(params![
                key,
                inbound.message_type,
                inbound.media,
                inbound.reply_to.map(|message| message.0),
                inbound.sealed_payload,
                inbound.word.map(ConsentWord::number),
            ])?;
        Ok(())
    }

    fn words(&mut self, person: PersonRow) -> rusqlite::Result<Vec<WordColumns>> {
        self.db
            .prepare_cached(
                "SELECT id, sid, word, received_at, written_at FROM inbound \
                 WHERE account_id = ?1 AND person_id = ?2 AND word IS NOT NULL \
                 ORDER BY id DESC LIMIT ?3",
            )?
            .query_map(params![ACCOUNT, person.0, limit(WORDS_MAX)], |row| {
                let sid = Sid::from_bytes(row.get_ref(1)?.as_blob()?);
                Ok(WordColumns {
                    key: row.get(0)?,
                    sid: sid.ok_or(rusqlite::Error::InvalidQuery)?,
                    word: stored_at(row, 2, ConsentWord::from_number)?,
                    received_at: Timestamp::from_micros(row.get(3)?),
                    written_at: time_or_null(row, 4)?,
                })
            })?
            .collect()
    }

    fn set_written_at(
        &mut self,
        _person: PersonRow,
        key: i64,
        written_at: Timestamp,
    ) -> rusqlite::Result<()> {
        self.db
            .prepare_cached("UPDATE inbound SET written_at = ?2 WHERE id = ?1")?
            .execute([key, written_at.micros()])?;
        Ok(())
    }

    fn set_consent_check(&mut self, person: PersonRow, due_at: Timestamp) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO consent_check (account_id, person_id, due_at) \
                 VALUES (?1, ?2, ?3)",
            )?
            .execute([ACCOUNT, person.0, due_at.micros()])?;
        Ok(())
    }

    fn delete_consent_check(&mut self, person: PersonRow) -> rusqlite::Result<()> {
        self.db
            .prepare_cached("DELETE FROM consent_check WHERE account_id = ?1 AND person_id = ?2")?
            .execute([ACCOUNT, person.0])?;
        Ok(())
    }

    fn give_inbound(&mut self, from: PersonRow, to: PersonRow) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "UPDATE inbound SET person_id = ?3 WHERE account_id = ?1 AND person_id = ?2",
            )?
            .execute([ACCOUNT, from.0, to.0])?;
        self.db
            .prepare_cached(
                "UPDATE OR REPLACE consent_check SET person_id = ?3 \
                 WHERE account_id = ?1 AND person_id = ?2",
            )?
            .execute([ACCOUNT, from.0, to.0])?;
        Ok(())
    }

    fn set_inbound_cursor(&mut self, cursor: &InboundCursor) -> rusqlite::Result<()> {
        let reading = cursor.reading.as_ref();
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO inbound_cursor (account_id, sender_id, recipient, \
                 listed_until, reading_until, reading_since, next_page) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                ACCOUNT,
                cursor.sender.0,
                cursor.recipient,
                cursor.listed_until.map(Timestamp::micros),
                reading.map(|reading| reading.until.micros()),
                reading.map(|reading| reading.since.micros()),
                reading.map(|reading| &reading.next_page),
            ])?;
        Ok(())
    }
}

fn read_cursor(
    db: &Connection,
    sender: SenderRow,
    recipient: &str,
) -> rusqlite::Result<Option<InboundCursor>> {
    db.prepare_cached(
        "SELECT listed_until, reading_until, reading_since, next_page FROM inbound_cursor \
         WHERE account_id = ?1 AND sender_id = ?2 AND recipient = ?3",
    )?
    .query_row(params![ACCOUNT, sender.0, recipient], |row| {
        let (until, since) = (time_or_null(row, 1)?, time_or_null(row, 2)?);
        let next_page: Option<String> = row.get(3)?;
        Ok(InboundCursor {
            sender,
            recipient: recipient.to_owned(),
            listed_until: time_or_null(row, 0)?,
            reading: match (until, since, next_page) {
                (Some(until), Some(since), Some(next_page)) => Some(InboundReading {
                    until,
                    since,
                    next_page,
                }),
                _ => None,
            },
        })
    })
    .optional()
}

fn read_checks(db: &Connection, query: ConsentCheckQuery) -> rusqlite::Result<ConsentChecks> {
    let mut rows = Statements { db };
    let people: Vec<PersonRow> = db
        .prepare_cached(
            "SELECT person_id FROM consent_check WHERE account_id = ?1 AND due_at <= ?2 \
             ORDER BY due_at LIMIT ?3",
        )?
        .query_map([ACCOUNT, query.now.micros(), limit(query.limit)], |row| {
            row.get(0).map(PersonRow)
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut checks = ConsentChecks::default();
    for row in people {
        let words = rows.words(row)?;
        let said = match rows.person(row)? {
            Some(person) => said_words(&words, &person),
            None => Vec::new(),
        };
        let ask = match standing(&said) {
            Standing::Ask(place) => words.get(place),
            Standing::Word(_) | Standing::Silent => None,
        };
        checks.due.push(ConsentCheck {
            person: row,
            ask: ask.map(|word| AskedInbound {
                key: word.key,
                sid: word.sid,
                received_at: word.received_at,
            }),
        });
    }
    if checks.due.is_empty() {
        let next: Option<i64> = db
            .prepare_cached("SELECT min(due_at) FROM consent_check WHERE account_id = ?1")?
            .query_row([ACCOUNT], |row| row.get(0))?;
        checks.next_at = next.map(Timestamp::from_micros);
    }
    Ok(checks)
}

fn read_page(
    db: &Connection,
    shared: &Shared,
    query: &InboundQuery,
) -> rusqlite::Result<Vec<InboundView>> {
    let mut people = Statements { db };
    let person = match &query.from {
        Some(address) => match people.person_of(&blind_index(&shared.vault, address))? {
            Some(person) => Some(person.row.0),
            None => return Ok(Vec::new()),
        },
        None => None,
    };
    let before = query.before.unwrap_or(i64::MAX);
    // Two statements: one that fits both would not use the index of the person, and without a person
    // an index that begins with the account would be sorted first.
    let (indexed, of_person) = match person {
        Some(_) => ("", "inbound.person_id = ?3"),
        None => ("NOT INDEXED", "?3 IS NULL"),
    };
    let mut statement = db.prepare_cached(&format!(
        "SELECT inbound.id, inbound.sid, inbound.identity_id, sender.name, inbound.type, \
         inbound.sealed_payload, message.public_id, inbound.received_at, inbound.written_at, \
         inbound.listed \
         FROM inbound {indexed} LEFT JOIN sender ON sender.id = inbound.sender_id \
         LEFT JOIN message ON message.id = inbound.reply_to \
         WHERE inbound.account_id = ?1 AND inbound.id < ?2 \
         AND {of_person} ORDER BY inbound.id DESC LIMIT ?4"
    ))?;
    let mut rows = statement.query(params![ACCOUNT, before, person, limit(query.limit)])?;
    let mut views = Vec::new();
    while let Some(row) = rows.next()? {
        let person = people.person_at(IdentityRow(row.get(2)?))?;
        let person = person.ok_or(Broken::Gone("identity"))?;
        views.push(read_view(row, &person, shared)?);
    }
    Ok(views)
}

fn read_view(row: &Row<'_>, person: &Person, shared: &Shared) -> rusqlite::Result<InboundView> {
    let sid = row.get_ref(1)?.as_blob()?;
    let sid = Sid::from_bytes(sid).ok_or(rusqlite::Error::InvalidQuery)?;
    let vault = &shared.vault;
    let address = person.address(vault).map_err(Broken::from)?;
    let payload = match &address {
        Some(_) => {
            let key = person.key(vault).map_err(Broken::from)?;
            let sealed: Vec<u8> = row.get(5)?;
            let plain = vault.unseal(&key, &payload_data(sid), &sealed);
            let plain = plain.map_err(Broken::from)?;
            Some(String::from_utf8_lossy(&plain).into_owned())
        }
        None => None,
    };
    let reply_to: Option<MessageId> = match row.get_ref(6)?.as_blob_or_null()? {
        Some(raw) => Some(message_id(raw)?),
        None => None,
    };
    Ok(InboundView {
        key: row.get(0)?,
        sid,
        from: address,
        to: row.get(3)?,
        message_type: row.get(4)?,
        payload,
        reply_to,
        received_at: Timestamp::from_micros(row.get(7)?),
        written_at: time_or_null(row, 8)?,
        listed: row.get(9)?,
    })
}

/// The oldest inbound messages that came before a time, but not the newest of all: SQLite gives the
/// number after the largest. With them the last one that was looked at, when there are more.
pub(super) fn older(
    db: &Connection,
    removal: &Removal,
) -> rusqlite::Result<(Vec<i64>, Option<i64>)> {
    let mut statement = db.prepare_cached(
        "SELECT id, received_at FROM inbound NOT INDEXED WHERE account_id = ?1 AND id > ?2 \
         AND id < (SELECT max(id) FROM inbound) ORDER BY id LIMIT ?3",
    )?;
    let mut rows = statement.query([ACCOUNT, removal.after_inbound, limit(removal.limit)])?;
    let mut ages = Ages::default();
    let (mut older, mut last) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        last = Some(id);
        if ages.is_old(removal, Timestamp::from_micros(row.get(1)?)) {
            older.push(id);
        }
    }
    Ok((older, last.filter(|_| !ages.are_over(removal))))
}

/// Removes inbound messages.
pub(super) fn remove(db: &Connection, rows: &[i64]) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached("DELETE FROM inbound WHERE id = ?1")?;
    for row in rows {
        statement.execute([row])?;
    }
    Ok(())
}
