//! Our senders: the table `sender`.

use delivery::message::SenderName;
use delivery::progress::PauseSource;
use delivery::row::{PersonRow, SenderRow};
use delivery::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SqliteStore;
use super::account;
use super::column::{stored_or_null, time_or_null};
use super::statements::{ACCOUNT, Statements};
use crate::store::operations::columns::Pausing;
use crate::store::operations::rows::SenderRows;
use crate::store::operations::sender::{PauseSender, ResumeRestored};
use crate::store::{
    PAUSED_AS_RESTORED, RestoreView, Restores, ResumeAfter, SenderView, Senders, StoreFuture,
};

impl Senders for SqliteStore {
    fn senders(&self) -> StoreFuture<'_, Vec<SenderView>> {
        Box::pin(self.read_long(&self.readers.gauges, |db, _| {
            let mut statement = db.prepare_cached(
                "SELECT id, name, configured, paused_at, pause_reason, pause_source, \
                 coalesce((SELECT n FROM total WHERE total.account_id = sender.account_id \
                  AND total.what = 4 AND total.code = sender.id), 0), \
                 (SELECT count(*) FROM open_attempt WHERE open_attempt.account_id = sender.account_id \
                  AND open_attempt.sender_id = sender.id) \
                 FROM sender WHERE account_id = ?1 ORDER BY name",
            )?;
            statement.query_map([ACCOUNT], read_view)?.collect()
        }))
    }

    fn pause_sender(&self, name: String, paused: bool, now: Timestamp) -> StoreFuture<'_, bool> {
        Box::pin(self.writer.run(PauseSender { name, paused, now }))
    }
}

impl Restores for SqliteStore {
    fn waiting_since_restore(&self) -> StoreFuture<'_, Option<RestoreView>> {
        Box::pin(self.read(account::waiting))
    }

    fn resume_after(&self, after: ResumeAfter, now: Timestamp) -> StoreFuture<'_, usize> {
        Box::pin(self.writer.run(ResumeRestored { after, now }))
    }
}

impl SenderRows for Statements<'_> {
    fn sender(&mut self, name: &SenderName) -> rusqlite::Result<Option<SenderRow>> {
        self.db
            .prepare_cached(
                "SELECT id FROM sender WHERE account_id = ?1 AND name = ?2 AND configured",
            )?
            .query_row(params![ACCOUNT, name.as_str()], |row| {
                row.get(0).map(SenderRow)
            })
            .optional()
    }

    fn configured_senders(&mut self) -> rusqlite::Result<Vec<SenderRow>> {
        self.db
            .prepare_cached(
                "SELECT id FROM sender WHERE account_id = ?1 AND configured ORDER BY id",
            )?
            .query_map([ACCOUNT], |row| row.get(0).map(SenderRow))?
            .collect()
    }

    fn last_addressed(&mut self, person: PersonRow) -> rusqlite::Result<Option<SenderRow>> {
        self.db
            .prepare_cached(
                "SELECT sender_id FROM conversation JOIN sender ON sender.id = sender_id \
                 WHERE conversation.account_id = ?1 AND person_id = ?2 AND sender.configured \
                 ORDER BY last_inbound_at DESC LIMIT 1",
            )?
            .query_row([ACCOUNT, person.0], |row| row.get(0).map(SenderRow))
            .optional()
    }

    fn is_paused(&mut self, sender: SenderRow) -> rusqlite::Result<bool> {
        self.db
            .prepare_cached("SELECT 1 FROM sender WHERE id = ?1 AND paused_at IS NOT NULL")?
            .exists([sender.0])
    }

    fn pause(
        &mut self,
        whom: Pausing,
        reason: &str,
        source: PauseSource,
        now: Timestamp,
    ) -> rusqlite::Result<usize> {
        let (sender, all) = match whom {
            Pausing::One(sender) => (sender.0, false),
            Pausing::All => (0, true),
        };
        if source == PauseSource::Report {
            self.db
                .prepare_cached(
                    "UPDATE sender SET pause_reason = ?2, pause_source = ?3 WHERE account_id = ?1 \
                     AND pause_source = ?4 AND (id = ?5 OR ?6)",
                )?
                .execute(params![
                    ACCOUNT,
                    reason,
                    source.number(),
                    PauseSource::Answer.number(),
                    sender,
                    all
                ])?;
        }
        self.db
            .prepare_cached(
                "UPDATE sender SET paused_at = ?2, pause_reason = ?3, pause_source = ?4 \
                 WHERE account_id = ?1 AND paused_at IS NULL AND (id = ?5 OR ?6)",
            )?
            .execute(params![
                ACCOUNT,
                now.micros(),
                reason,
                source.number(),
                sender,
                all
            ])
    }

    fn resume_because(&mut self, reason: &str) -> rusqlite::Result<usize> {
        self.db
            .prepare_cached(
                "UPDATE sender SET paused_at = NULL, pause_reason = NULL, pause_source = NULL \
                 WHERE account_id = ?1 AND pause_reason = ?2",
            )?
            .execute(params![ACCOUNT, reason])
    }

    fn set_paused(&mut self, name: &str, paused: bool, now: Timestamp) -> rusqlite::Result<bool> {
        let sql = if paused {
            "UPDATE sender SET paused_at = coalesce(paused_at, ?3), pause_reason = 'operator', \
             pause_source = ?4 WHERE account_id = ?1 AND name = ?2"
        } else {
            "UPDATE sender SET resumed_at = iif(paused_at IS NULL, resumed_at, ?3), \
             paused_at = NULL, pause_reason = NULL, pause_source = NULL \
             WHERE account_id = ?1 AND name = ?2 AND ?4 = 0"
        };
        let operator = PauseSource::Operator.number();
        let changed = self
            .db
            .execute(sql, params![ACCOUNT, name, now.micros(), operator])?;
        Ok(changed > 0)
    }
}

/// Whether a sender is paused, and when it was last resumed.
pub(super) fn pause_state(
    db: &Connection,
    sender: SenderRow,
) -> rusqlite::Result<(bool, Option<Timestamp>)> {
    let found = db
        .prepare_cached("SELECT paused_at IS NOT NULL, resumed_at FROM sender WHERE id = ?1")?
        .query_row([sender.0], |row| Ok((row.get(0)?, time_or_null(row, 1)?)))
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// Writes the configured senders. A pause that an answer caused ends with a restart: the operator
/// has had the chance to correct the settings, and a wrong one pauses it again at once. A pause by
/// hand stays, and one that a report caused: before the next report, hundreds of messages may leave.
pub(super) fn configure(
    connection: &mut Connection,
    senders: &[SenderName],
    now: Timestamp,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute(
        "UPDATE sender SET configured = 0 WHERE account_id = ?1",
        [ACCOUNT],
    )?;
    for sender in senders {
        transaction.execute(
            "INSERT INTO sender (account_id, name, configured) VALUES (?1, ?2, 1) \
             ON CONFLICT (account_id, name) DO UPDATE SET configured = 1",
            params![ACCOUNT, sender.as_str()],
        )?;
    }
    transaction.execute(
        "UPDATE sender SET paused_at = NULL, pause_reason = NULL, pause_source = NULL, \
         resumed_at = ?2 WHERE account_id = ?1 AND pause_source = ?3",
        [ACCOUNT, now.micros(), PauseSource::Answer.number()],
    )?;
    transaction.commit()
}

/// Pauses every configured sender of a database that was restored, until the operator has looked. A
/// pause by hand stays one.
pub(super) fn pause_restored(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE sender SET paused_at = ?2, pause_reason = ?3, pause_source = ?4 \
         WHERE account_id = ?1 AND configured AND paused_at IS NULL",
        params![
            ACCOUNT,
            now.micros(),
            PAUSED_AS_RESTORED,
            PauseSource::Restore.number()
        ],
    )?;
    Ok(())
}

fn read_view(row: &Row<'_>) -> rusqlite::Result<SenderView> {
    Ok(SenderView {
        row: SenderRow(row.get(0)?),
        name: row.get(1)?,
        configured: row.get(2)?,
        paused_at: time_or_null(row, 3)?,
        pause_reason: row.get(4)?,
        pause_source: stored_or_null(row, 5, PauseSource::from_number)?,
        queued: row.get(6)?,
        open: row.get(7)?,
    })
}
