//! Consent by the operator's word, senders, and keys of the API.

use delivery::address::Address;
use delivery::consent::Consent;
use delivery::event::Source;
use delivery::time::Timestamp;
use rusqlite::{OptionalExtension, Row, params};

use super::SqliteStore;
use super::context::stored_at;
use super::person::{self, ConsentCause, Person};
use crate::store::{ApiKeyView, ConsentView, KeyScope, NewApiKey, SenderView, StoreError};

impl SqliteStore {
    pub(super) fn consent_of(&self, address: &Address) -> Result<Option<ConsentView>, StoreError> {
        let index = person::blind_index(&self.shared, address);
        self.read(|db| Ok(person::find(db, &index)?.map(|person| consent_view(&person, 0))))
    }

    pub(super) async fn change_consent_of(
        &self,
        address: Address,
        opted_out: bool,
        now: Timestamp,
    ) -> Result<ConsentView, StoreError> {
        let consent = if opted_out {
            Consent::OptedOut
        } else {
            Consent::Open
        };
        self.writer
            .run(move |context| {
                let person = context.person(&address)?;
                if std::mem::discriminant(&person.consent) == std::mem::discriminant(&consent) {
                    return Ok(consent_view(&person, 0));
                }
                let cause = ConsentCause {
                    source: Source::Operator,
                    now,
                    inbound: None,
                    message: None,
                    code: None,
                };
                let affected = context.change_consent(person.id, consent, cause)?;
                let person = person::by_id(context.db, person.id)?;
                Ok(consent_view(&person, affected))
            })
            .await
    }

    pub(super) fn all_senders(&self) -> Result<Vec<SenderView>, StoreError> {
        self.read(|db| {
            let mut statement = db.prepare_cached(
                "SELECT id, name, configured, paused_at, pause_reason, \
                 (SELECT count(*) FROM queue WHERE queue.sender_id = sender.id), \
                 (SELECT count(*) FROM open_attempt WHERE open_attempt.sender_id = sender.id) \
                 FROM sender ORDER BY name",
            )?;
            statement.query_map([], read_sender)?.collect()
        })
    }

    pub(super) async fn set_pause(
        &self,
        name: String,
        paused: bool,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.writer
            .run(move |context| {
                let sql = if paused {
                    "UPDATE sender SET paused_at = coalesce(paused_at, ?2), \
                     pause_reason = 'operator' WHERE name = ?1"
                } else {
                    "UPDATE sender SET paused_at = NULL, pause_reason = NULL \
                     WHERE name = ?1 AND ?2 > 0"
                };
                let changed = context.db.execute(sql, params![name, now.micros()])?;
                context.pending.queue = true;
                Ok(changed > 0)
            })
            .await
    }

    pub(super) async fn insert_key(&self, key: NewApiKey) -> Result<(), StoreError> {
        self.writer
            .run(move |context| {
                context.db.execute(
                    "INSERT INTO api_key (id, account_id, name, scope, hash, created_at) \
                     VALUES (?1, 1, ?2, ?3, ?4, ?5)",
                    params![
                        key.id,
                        key.name,
                        key.scope.number(),
                        key.hash,
                        key.now.micros()
                    ],
                )?;
                Ok(())
            })
            .await
    }

    pub(super) fn find_key(&self, id: &str) -> Result<Option<ApiKeyView>, StoreError> {
        self.read(|db| {
            db.prepare_cached(
                "SELECT id, name, scope, hash, created_at, revoked_at FROM api_key WHERE id = ?1",
            )?
            .query_row([id], read_key)
            .optional()
        })
    }

    pub(super) fn all_keys(&self) -> Result<Vec<ApiKeyView>, StoreError> {
        self.read(|db| {
            let mut statement = db.prepare_cached(
                "SELECT id, name, scope, hash, created_at, revoked_at FROM api_key \
                 ORDER BY created_at, id",
            )?;
            statement.query_map([], read_key)?.collect()
        })
    }

    pub(super) async fn end_key(&self, id: String, now: Timestamp) -> Result<bool, StoreError> {
        self.writer
            .run(move |context| {
                let changed = context.db.execute(
                    "UPDATE api_key SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1",
                    params![id, now.micros()],
                )?;
                Ok(changed > 0)
            })
            .await
    }
}

fn consent_view(person: &Person, affected: u64) -> ConsentView {
    ConsentView {
        person: person.id,
        consent: person.consent,
        since: person.consent_at,
        source: person.consent_source,
        affected,
    }
}

fn read_sender(row: &Row<'_>) -> rusqlite::Result<SenderView> {
    Ok(SenderView {
        key: row.get(0)?,
        name: row.get(1)?,
        configured: row.get(2)?,
        paused_at: row.get::<_, Option<i64>>(3)?.map(Timestamp::from_micros),
        pause_reason: row.get(4)?,
        queued: row.get(5)?,
        open: row.get(6)?,
    })
}

fn read_key(row: &Row<'_>) -> rusqlite::Result<ApiKeyView> {
    Ok(ApiKeyView {
        id: row.get(0)?,
        name: row.get(1)?,
        scope: stored_at(row, 2, KeyScope::from_number)?,
        hash: row.get(3)?,
        created_at: Timestamp::from_micros(row.get(4)?),
        revoked_at: row.get::<_, Option<i64>>(5)?.map(Timestamp::from_micros),
    })
}
