//! The account's row: its keys, the servers that have opened the database, and what a database that
//! was restored or copied may not send before it was looked for.

use delivery::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::column::time_or_null;
use super::error::store_error;
use super::marker::{FileIdentity, Found, Marker, host_hash};
use super::options::{OpenMode, Options};
use super::statements::{ACCOUNT, Statements};
use crate::secrets::{Vault, WrappedKeys};
use crate::store::operations::rows::AccountRows;
use crate::store::operations::transaction::{Restored, Restores};
use crate::store::{ClockNote, RestoreView, ResumeAfter, StoreError};

/// The account as it is opened.
pub(super) struct Account {
    /// Seals and opens columns.
    pub(super) vault: Vault,
    /// How often a server has opened the database.
    pub(super) epoch: i64,
    /// What must be looked for before it leaves.
    pub(super) restores: Restores,
    /// The marker, for a server.
    pub(super) marker: Option<Marker>,
}

/// Opens the account, and makes it when it is new. A server is counted, and tells first whether the
/// database is still the one that the last server left here.
///
/// # Errors
/// [`StoreError`]: another master key, another account at the provider, a marker that cannot be
/// written.
pub(super) fn open(connection: &mut Connection, options: &Options) -> Result<Account, StoreError> {
    let vault = open_keys(connection, options)?;
    let mut marker = None;
    if options.mode == OpenMode::Server {
        check_provider(connection, &vault, options)?;
        let found = find(connection, options)?;
        let next = options.random.next_u64();
        if epoch(connection)? > 0
            && let Some(difference) = Marker::difference(&options.path, &found)?
        {
            tracing::warn!(
                reason = difference.as_str(),
                "this database was restored, copied or moved: nothing is sent until `recado resume`"
            );
            note_restore(connection, difference.as_str(), options.now)
                .map_err(|error| store_error(&error))?;
        }
        // From here on the marker vouches for this file, so what it had against it is on disk.
        let mut announced = Marker::announce(&options.path, &found, next)?;
        count_start(connection, next).map_err(|error| store_error(&error))?;
        if let Err(error) = announced.started() {
            tracing::warn!(%error, "the marker beside the database could not be completed");
        }
        marker = Some(announced);
    }
    Ok(Account {
        vault,
        epoch: epoch(connection)?,
        restores: restores(connection).map_err(|error| store_error(&error))?,
        marker,
    })
}

/// The number of the last attempt, also of one that was removed since.
pub(super) fn last_attempt(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'attempt'")?
        .query_row([], |row| row.get(0))
        .optional()
        .map(Option::unwrap_or_default)
}

/// Since when the database waits for the operator because it was restored, and why it is thought so.
pub(super) fn waiting(connection: &Connection) -> rusqlite::Result<Option<RestoreView>> {
    connection
        .prepare_cached(
            "SELECT restored_at, restored_reason FROM account \
             WHERE id = ?1 AND restored_at IS NOT NULL AND resumed_at IS NULL",
        )?
        .query_row([ACCOUNT], |row| {
            Ok(RestoreView {
                at: Timestamp::from_micros(row.get(0)?),
                reason: row.get(1)?,
            })
        })
        .optional()
}

impl AccountRows for Statements<'_> {
    fn end_restore(&mut self, after: ResumeAfter, now: Timestamp) -> rusqlite::Result<()> {
        let sql = match after {
            ResumeAfter::Restore => {
                "UPDATE account SET resumed_at = ?2 \
                 WHERE id = ?1 AND restored_at IS NOT NULL AND resumed_at IS NULL"
            }
            ResumeAfter::Move => {
                "UPDATE account SET resumed_at = ?2, restored_since = earlier_since, \
                 restored_message = earlier_message, restored_attempt = earlier_attempt \
                 WHERE id = ?1 AND restored_at IS NOT NULL AND resumed_at IS NULL"
            }
        };
        self.db
            .prepare_cached(sql)?
            .execute([ACCOUNT, now.micros()])?;
        Ok(())
    }

    fn note_clock(&mut self, note: ClockNote) -> rusqlite::Result<()> {
        let right_since = note.right_since.map(Timestamp::micros);
        self.db
            .prepare_cached(
                "UPDATE account SET clock_noted_at = ?2, clock_right_since = ?3 WHERE id = ?1",
            )?
            .execute(params![ACCOUNT, note.at.micros(), right_since])?;
        Ok(())
    }
}

/// What was known of the clock when this was noted last.
pub(super) fn noted_clock(connection: &Connection) -> rusqlite::Result<Option<ClockNote>> {
    connection
        .prepare_cached("SELECT clock_noted_at, clock_right_since FROM account WHERE id = ?1")?
        .query_row([ACCOUNT], |row| {
            let (at, right_since) = (time_or_null(row, 0)?, time_or_null(row, 1)?);
            Ok(at.map(|at| ClockNote { at, right_since }))
        })
}

fn begin(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

fn open_keys(connection: &mut Connection, options: &Options) -> Result<Vault, StoreError> {
    let engine = |error: rusqlite::Error| store_error(&error);
    let transaction = begin(connection).map_err(engine)?;
    let stored = transaction
        .query_row(
            "SELECT wrapped_account_key, wrapped_index_key FROM account WHERE id = ?1",
            [ACCOUNT],
            |row| {
                Ok(WrappedKeys {
                    account_key: row.get(0)?,
                    index_key: row.get(1)?,
                })
            },
        )
        .optional()
        .map_err(engine)?;
    if let Some(wrapped) = stored {
        return Vault::open(&options.master_key, &wrapped, &options.random)
            .map_err(|_| StoreError::DecryptError);
    }
    let (vault, wrapped) = Vault::create(&options.master_key, &options.random);
    let database = options.random.next_u64();
    transaction
        .execute(
            "INSERT INTO account (id, name, wrapped_account_key, wrapped_index_key, database) \
             VALUES (?1, 'default', ?2, ?3, ?4)",
            params![
                ACCOUNT,
                wrapped.account_key,
                wrapped.index_key,
                database.cast_signed()
            ],
        )
        .map_err(engine)?;
    transaction.commit().map_err(engine)?;
    Ok(vault)
}

/// Messages of one account at the provider cannot be looked for in another.
fn check_provider(
    connection: &mut Connection,
    vault: &Vault,
    options: &Options,
) -> Result<(), StoreError> {
    let Some(name) = &options.provider_account else {
        return Ok(());
    };
    let index = vault.index("provider_account", name.as_bytes());
    let engine = |error: rusqlite::Error| store_error(&error);
    let stored: Option<Vec<u8>> = connection
        .query_row(
            "SELECT provider_index FROM account WHERE id = ?1",
            [ACCOUNT],
            |row| row.get(0),
        )
        .map_err(engine)?;
    match stored {
        Some(stored) if stored == index => Ok(()),
        Some(_) => Err(StoreError::OtherAccount),
        None => {
            connection
                .execute(
                    "UPDATE account SET provider_index = ?2 WHERE id = ?1",
                    params![ACCOUNT, index],
                )
                .map_err(engine)?;
            Ok(())
        }
    }
}

fn find(connection: &Connection, options: &Options) -> Result<Found, StoreError> {
    let engine = |error: rusqlite::Error| store_error(&error);
    let (database, run): (i64, i64) = connection
        .query_row(
            "SELECT database, run FROM account WHERE id = ?1",
            [ACCOUNT],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .map_err(engine)?;
    let database = database.cast_unsigned();
    let machine = options.machine.as_deref();
    Ok(Found {
        database,
        run: run.cast_unsigned(),
        attempt: last_attempt(connection).map_err(engine)?,
        file: FileIdentity::of(&options.path)?,
        host: machine.map(|machine| host_hash(database, machine)),
    })
}

fn epoch(connection: &Connection) -> Result<i64, StoreError> {
    connection
        .query_row(
            "SELECT epoch FROM account WHERE id = ?1",
            [ACCOUNT],
            |row| row.get(0),
        )
        .map_err(|error| store_error(&error))
}

fn count_start(connection: &Connection, run: u64) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE account SET epoch = epoch + 1, run = ?2 WHERE id = ?1",
        [ACCOUNT, run.cast_signed()],
    )?;
    Ok(())
}

/// Notes what the database knew when it was copied. What an earlier restore has left to be looked for
/// is looked for from the earlier time on; and what the database knew then stays noted, in case this
/// is a mere move. One answer of the operator is for all that have waited for it.
fn note_restore(connection: &mut Connection, reason: &str, now: Timestamp) -> rusqlite::Result<()> {
    let transaction = begin(connection)?;
    let last_event: Option<i64> = transaction
        .query_row("SELECT at FROM event ORDER BY id DESC LIMIT 1", [], |row| {
            row.get(0)
        })
        .optional()?;
    let since = last_event.unwrap_or(now.micros());
    let known = restores(&transaction)?;
    let since = match known.last {
        Some(earlier) if has_left_over(&transaction, &earlier)? => {
            since.min(earlier.since.micros())
        }
        _ => since,
    };
    let attempt = last_attempt(&transaction)?;
    if !known.is_waiting {
        transaction.execute(
            "UPDATE account SET restored_reason = NULL, earlier_since = restored_since, \
             earlier_message = restored_message, earlier_attempt = restored_attempt \
             WHERE id = ?1",
            [ACCOUNT],
        )?;
    }
    transaction.execute(
        "UPDATE account SET restored_at = ?2, restored_since = ?4, \
         restored_reason = CASE WHEN restored_reason IS NULL OR restored_reason = ?3 THEN ?3 \
         ELSE restored_reason || ', and then: ' || ?3 END, \
         restored_message = (SELECT coalesce(max(id), 0) FROM message), restored_attempt = ?5, \
         resumed_at = NULL WHERE id = ?1",
        params![ACCOUNT, now.micros(), reason, since, attempt],
    )?;
    transaction.commit()
}

fn restores(connection: &Connection) -> rusqlite::Result<Restores> {
    connection.query_row(
        "SELECT restored_message, restored_attempt, restored_since, earlier_message, \
         earlier_attempt, earlier_since, restored_at IS NOT NULL AND resumed_at IS NULL \
         FROM account WHERE id = ?1",
        [ACCOUNT],
        |row| {
            Ok(Restores {
                last: read_restored(row, 0)?,
                earlier: read_restored(row, 3)?,
                is_waiting: row.get(6)?,
            })
        },
    )
}

/// What the database knew at a restore, in three columns from this one on.
fn read_restored(row: &Row<'_>, from: usize) -> rusqlite::Result<Option<Restored>> {
    let restored = Restored {
        message: row.get(from)?,
        attempt: row.get(from + 1)?,
        since: Timestamp::from_micros(row.get(from + 2)?),
    };
    Ok((restored.message > 0).then_some(restored))
}

/// Whether a message still waits that was to be looked for after an earlier restore.
fn has_left_over(connection: &Connection, earlier: &Restored) -> rusqlite::Result<bool> {
    connection
        .prepare(
            "SELECT 1 FROM queue JOIN progress ON progress.message_id = queue.message_id \
             WHERE queue.account_id = ?1 AND queue.message_id <= ?2 \
             AND coalesce(progress.attempt_id, 0) <= ?3 LIMIT 1",
        )?
        .exists([ACCOUNT, earlier.message, earlier.attempt])
}
