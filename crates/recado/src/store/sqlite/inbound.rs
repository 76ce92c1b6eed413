//! Inbound messages: the table `inbound`.

use delivery::row::PersonRow;
use delivery::sid::Sid;
use delivery::time::Timestamp;
use rusqlite::{Connection, Row, params};

use super::SqliteStore;
use super::column::{limit, message_id};
use super::statements::{ACCOUNT, Statements};
use crate::store::operations::columns::InboundColumns;
use crate::store::operations::inbound::RecordInbound;
use crate::store::operations::rows::{Broken, InboundRows, PersonRows};
use crate::store::operations::transaction::Shared;
use crate::store::person::{Person, blind_index};
use crate::store::seal::payload_data;
use crate::store::{
    InboundQuery, InboundResult, InboundView, Inbounds, MessageId, NewInbound, StoreFuture,
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
}

impl InboundRows for Statements<'_> {
    fn has_inbound(&mut self, sid: Sid) -> rusqlite::Result<bool> {
        self.db
            .prepare_cached("SELECT 1 FROM inbound WHERE account_id = ?1 AND sid = ?2")?
            .exists(params![ACCOUNT, sid.to_bytes()])
    }

    fn insert_inbound(&mut self, inbound: &InboundColumns<'_>) -> rusqlite::Result<i64> {
        self.db
            .prepare_cached(
                "INSERT INTO inbound (account_id, sid, person_id, sender_id, type, media, \
                 reply_to, received_at, sealed_payload) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                ACCOUNT,
                inbound.sid.to_bytes(),
                inbound.person.0,
                inbound.sender.map(|sender| sender.0),
                inbound.message_type,
                inbound.media,
                inbound.reply_to.map(|message| message.0),
                inbound.received_at.micros(),
                inbound.sealed_payload,
            ])?;
        Ok(self.db.last_insert_rowid())
    }
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
        "SELECT inbound.id, inbound.sid, inbound.person_id, sender.name, inbound.type, \
         inbound.sealed_payload, message.public_id, inbound.received_at \
         FROM inbound {indexed} LEFT JOIN sender ON sender.id = inbound.sender_id \
         LEFT JOIN message ON message.id = inbound.reply_to \
         WHERE inbound.account_id = ?1 AND inbound.id < ?2 \
         AND {of_person} ORDER BY inbound.id DESC LIMIT ?4"
    ))?;
    let mut rows = statement.query(params![ACCOUNT, before, person, limit(query.limit)])?;
    let mut views = Vec::new();
    while let Some(row) = rows.next()? {
        let person = people.person(PersonRow(row.get(2)?))?;
        let person = person.ok_or(Broken::Gone("person"))?;
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
    })
}
