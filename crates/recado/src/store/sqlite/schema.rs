//! The schema of the file: whose it is, which version it has, and how a server brings it up to date.

use rusqlite::{Connection, OptionalExtension};

use super::error::store_error;
use crate::store::StoreError;

mod migrations {
    refinery::embed_migrations!("src/store/sqlite/migrations");
}

/// Marks a file as ours in its header ("Rcdo"). The first migration writes it.
const APPLICATION: i64 = 0x5263_646f;

/// Refuses the database of another program before anything is written to it.
///
/// # Errors
/// [`StoreError::OtherProgram`], or why the file cannot be read.
pub(super) fn check_owner(connection: &Connection) -> Result<(), StoreError> {
    let engine = |error: rusqlite::Error| store_error(&error);
    if is_new(connection).map_err(engine)? {
        return Ok(());
    }
    let application: i64 = connection
        .query_row("PRAGMA application_id", [], |row| row.get(0))
        .map_err(engine)?;
    if application == APPLICATION {
        Ok(())
    } else {
        Err(StoreError::OtherProgram)
    }
}

/// Brings the schema up to date, in one transaction: one by one, a migration and the note that it
/// was done would be two commits, and a process that is killed between them leaves a database
/// that never opens again.
///
/// # Errors
/// Why the schema cannot be changed.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    migrations::migrations::runner()
        .set_grouped(true)
        .run(connection)
        .map(|_| ())
        .map_err(|error| migration_error(&error))
}

/// Makes the schema of a new database. One that a server may be using keeps the schema that this
/// server knows, so a tool of another version stops here.
///
/// # Errors
/// [`StoreError::OtherVersion`], or why the schema cannot be made or read.
pub(super) fn make_or_check(connection: &mut Connection) -> Result<(), StoreError> {
    if is_new(connection).map_err(|error| store_error(&error))? {
        migrate(connection)
    } else {
        check_version(connection)
    }
}

/// Whether nothing has been made in the file yet. The table of migrations comes in a commit of its
/// own, after which an opening may have been killed.
fn is_new(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema \
         WHERE tbl_name <> 'refinery_schema_history')",
        [],
        |row| row.get(0),
    )
}

fn check_version(connection: &Connection) -> Result<(), StoreError> {
    let runner = migrations::migrations::runner();
    let known = runner.get_migrations().iter();
    let ours = known
        .max_by_key(|migration| migration.version())
        .map(|migration| {
            (
                i64::from(migration.version()),
                migration.checksum().to_string(),
            )
        });
    let stored = connection
        .query_row(
            "SELECT version, checksum FROM refinery_schema_history ORDER BY version DESC LIMIT 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
        .map_err(|error| store_error(&error))?;
    if stored == ours {
        return Ok(());
    }
    let text = |version: Option<(i64, String)>| {
        version.map_or_else(|| "none".to_owned(), |(version, _)| version.to_string())
    };
    Err(StoreError::OtherVersion {
        stored: text(stored),
        known: text(ours),
    })
}

fn migration_error(error: &refinery::Error) -> StoreError {
    let cause = match error.kind() {
        refinery::error::Kind::Connection(_, cause) => cause.downcast_ref(),
        _ => None,
    };
    match cause.map(store_error) {
        None | Some(StoreError::Engine(_)) => {
            StoreError::Engine(format!("the database cannot be migrated: {error}"))
        }
        Some(known) => known,
    }
}
