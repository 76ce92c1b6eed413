//! What people said about receiving messages, and by which names they are known.

use delivery::address::Address;
use delivery::consent::ConsentKind;
use delivery::event::Source;
use delivery::identity::IdentityKind;
use delivery::row::PersonRow;
use delivery::sid::Sid;
use delivery::time::Timestamp;
use rusqlite::{Connection, Row};

use super::SqliteStore;
use super::column::{message_id, stored_at};
use super::statements::{ACCOUNT, Statements};
use crate::store::operations::consent::{SetConsent, consent_view};
use crate::store::operations::rows::{Broken, PersonRows};
use crate::store::operations::transaction::Shared;
use crate::store::person::blind_index;
use crate::store::{
    ConsentEntry, ConsentEntryKind, ConsentHistory, ConsentView, Consents, IdentityView,
    StoreFuture,
};

impl Consents for SqliteStore {
    fn consent(&self, address: Address) -> StoreFuture<'_, Option<ConsentView>> {
        Box::pin(async move {
            let index = blind_index(&self.shared.vault, &address);
            self.read(|db| {
                let person = Statements { db }.person_of(&index)?;
                Ok(person.map(|person| consent_view(&person, 0)))
            })
            .await
        })
    }

    fn consent_history(&self, address: Address) -> StoreFuture<'_, Option<ConsentHistory>> {
        Box::pin(self.read_long(&self.readers.lists, move |db, shared| {
            read_history(db, shared, &address)
        }))
    }

    fn set_consent(
        &self,
        address: Address,
        opted_out: bool,
        now: Timestamp,
    ) -> StoreFuture<'_, ConsentView> {
        Box::pin(self.writer.run(SetConsent {
            address,
            opted_out,
            now,
        }))
    }
}

fn read_history(
    db: &Connection,
    shared: &Shared,
    address: &Address,
) -> rusqlite::Result<Option<ConsentHistory>> {
    let mut people = Statements { db };
    let Some(person) = people.person_of(&blind_index(&shared.vault, address))? else {
        return Ok(None);
    };
    let all = if person.tied {
        people.tied_to(person.row)?
    } else {
        vec![person]
    };
    let mut history = ConsentHistory::default();
    for identity in all {
        // What was told before two people became one stands under the number of each.
        let number = PersonRow(identity.identity.0);
        read_ties(db, number, &mut history.entries)?;
        read_changes(db, number, &mut history.entries)?;
        history.identities.push(IdentityView {
            kind: identity.kind,
            address: identity.address(&shared.vault).map_err(Broken::from)?,
        });
    }
    // What was tied and what that changed have one time: the sort leaves them in this order.
    history.entries.sort_by_key(|entry| entry.at);
    Ok(Some(history))
}

fn read_changes(
    db: &Connection,
    person: PersonRow,
    entries: &mut Vec<ConsentEntry>,
) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached(
        "SELECT consent_event.at, consent_event.source, inbound.sid, \
         message.public_id, consent_event.code, consent_event.consent FROM consent_event \
         LEFT JOIN inbound ON inbound.id = consent_event.inbound_id \
         LEFT JOIN message ON message.id = consent_event.message_id \
         WHERE consent_event.account_id = ?1 AND consent_event.person_id = ?2 \
         ORDER BY consent_event.id",
    )?;
    let mut rows = statement.query([ACCOUNT, person.0])?;
    while let Some(row) = rows.next()? {
        let consent = stored_at(row, 5, ConsentKind::from_number)?;
        entries.push(read_entry(row, ConsentEntryKind::Consent(consent))?);
    }
    Ok(())
}

fn read_ties(
    db: &Connection,
    person: PersonRow,
    entries: &mut Vec<ConsentEntry>,
) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached(
        "SELECT identity_tie.at, identity_tie.source, identity_tie.sid, \
         message.public_id, NULL, identity.kind, identity_tie.merged_id IS NOT NULL \
         FROM identity_tie JOIN identity ON identity.id = identity_tie.identity_id \
         LEFT JOIN message ON message.id = identity_tie.message_id \
         WHERE identity_tie.account_id = ?1 AND identity_tie.person_id = ?2 \
         ORDER BY identity_tie.id",
    )?;
    let mut rows = statement.query([ACCOUNT, person.0])?;
    while let Some(row) = rows.next()? {
        let kind = stored_at(row, 5, IdentityKind::from_number)?;
        let what = if row.get(6)? {
            ConsentEntryKind::PersonMerged(kind)
        } else {
            ConsentEntryKind::IdentityTied(kind)
        };
        entries.push(read_entry(row, what)?);
    }
    Ok(())
}

/// Reads the columns `at, source, sid, message, code`.
fn read_entry(row: &Row<'_>, what: ConsentEntryKind) -> rusqlite::Result<ConsentEntry> {
    let message = row.get_ref(3)?.as_blob_or_null()?;
    Ok(ConsentEntry {
        at: Timestamp::from_micros(row.get(0)?),
        what,
        source: stored_at(row, 1, Source::from_number)?,
        sid: row.get_ref(2)?.as_blob_or_null()?.and_then(Sid::from_bytes),
        message: message.map(message_id).transpose()?,
        code: row.get(4)?,
    })
}
