//! The URLs of status callbacks: the table `callback_url`.

use delivery::time::Timestamp;
use rusqlite::params;

use super::SqliteStore;
use super::column::time_or_null;
use super::statements::{ACCOUNT, Statements};
use crate::store::operations::callback_url::UseCallbackUrl;
use crate::store::operations::rows::CallbackUrlRows;
use crate::store::{CallbackUrls, StoreFuture};

impl CallbackUrls for SqliteStore {
    fn use_callback_url(&self, url: String, now: Timestamp) -> StoreFuture<'_, Vec<String>> {
        Box::pin(self.writer.run(UseCallbackUrl { url, now }))
    }
}

impl CallbackUrlRows for Statements<'_> {
    fn callback_urls(&mut self) -> rusqlite::Result<Vec<(String, Option<Timestamp>)>> {
        self.db
            .prepare_cached(
                "SELECT url, replaced_at FROM callback_url WHERE account_id = ?1 ORDER BY url",
            )?
            .query_map([ACCOUNT], |row| Ok((row.get(0)?, time_or_null(row, 1)?)))?
            .collect()
    }

    fn set_callback_url(
        &mut self,
        url: &str,
        replaced_at: Option<Timestamp>,
    ) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO callback_url (account_id, url, replaced_at) \
                 VALUES (?1, ?2, ?3)",
            )?
            .execute(params![ACCOUNT, url, replaced_at.map(Timestamp::micros)])?;
        Ok(())
    }

    fn delete_callback_url(&mut self, url: &str) -> rusqlite::Result<()> {
        self.db
            .prepare_cached("DELETE FROM callback_url WHERE account_id = ?1 AND url = ?2")?
            .execute(params![ACCOUNT, url])?;
        Ok(())
    }
}
