//! Keys of the API: the table `api_key`.

use delivery::time::Timestamp;
use rusqlite::{OptionalExtension, Row, params};

use super::SqliteStore;
use super::column::{stored_at, time_or_null};
use super::statements::{ACCOUNT, Statements};
use crate::store::operations::api_key::{CreateApiKey, RevokeApiKey};
use crate::store::operations::rows::ApiKeyRows;
use crate::store::{ApiKeyView, ApiKeys, KeyScope, NewApiKey, StoreFuture};

impl ApiKeys for SqliteStore {
    fn create_key(&self, key: NewApiKey) -> StoreFuture<'_, ()> {
        Box::pin(self.writer.run(CreateApiKey(key)))
    }

    fn key(&self, id: String) -> StoreFuture<'_, Option<ApiKeyView>> {
        Box::pin(async move {
            self.read(|db| {
                db.prepare_cached(
                    "SELECT id, name, scope, hash, created_at, revoked_at FROM api_key \
                     WHERE account_id = ?1 AND id = ?2",
                )?
                .query_row(params![ACCOUNT, id], read_view)
                .optional()
            })
            .await
        })
    }

    fn keys(&self) -> StoreFuture<'_, Vec<ApiKeyView>> {
        Box::pin(async move {
            self.read(|db| {
                let mut statement = db.prepare_cached(
                    "SELECT id, name, scope, hash, created_at, revoked_at FROM api_key \
                     WHERE account_id = ?1 ORDER BY created_at, id",
                )?;
                statement.query_map([ACCOUNT], read_view)?.collect()
            })
            .await
        })
    }

    fn revoke_key(&self, id: String, now: Timestamp) -> StoreFuture<'_, bool> {
        Box::pin(self.writer.run(RevokeApiKey { id, now }))
    }
}

impl ApiKeyRows for Statements<'_> {
    fn insert_api_key(&mut self, key: &NewApiKey) -> rusqlite::Result<()> {
        self.db.execute(
            "INSERT INTO api_key (account_id, id, name, scope, hash, created_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                ACCOUNT,
                key.id,
                key.name,
                key.scope.number(),
                key.hash,
                key.now.micros()
            ],
        )?;
        Ok(())
    }

    fn revoke_api_key(&mut self, id: &str, now: Timestamp) -> rusqlite::Result<bool> {
        let changed = self.db.execute(
            "UPDATE api_key SET revoked_at = coalesce(revoked_at, ?3) \
             WHERE account_id = ?1 AND id = ?2",
            params![ACCOUNT, id, now.micros()],
        )?;
        Ok(changed > 0)
    }
}

fn read_view(row: &Row<'_>) -> rusqlite::Result<ApiKeyView> {
    Ok(ApiKeyView {
        id: row.get(0)?,
        name: row.get(1)?,
        scope: stored_at(row, 2, KeyScope::from_number)?,
        hash: row.get(3)?,
        created_at: Timestamp::from_micros(row.get(4)?),
        revoked_at: time_or_null(row, 5)?,
    })
}
