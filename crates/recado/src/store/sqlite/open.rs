//! Opening the database: lock, settings, migrations, keys, and what an earlier server left open.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use delivery::time::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::account;
use super::checkpoint::Checkpointer;
use super::error::store_error;
use super::lock::lock;
use super::marker::Notes;
use super::options::{BUSY_WAIT, OpenMode, Options};
use super::readers::Readers;
use super::schema;
use super::sender;
use super::store::SqliteStore;
use super::writer::{OfServer, Writer};
use crate::store::operations::attempt::Recover;
use crate::store::operations::transaction::Shared;
use crate::store::{Notifier, StoreError};

impl SqliteStore {
    /// Opens the database, and makes it when it is new. Must be called inside the runtime.
    ///
    /// # Errors
    /// [`StoreError`] with what is wrong: locked, unwritable, damaged, or another master key.
    pub fn open(options: Options) -> Result<Self, StoreError> {
        let path = options.path.display().to_string();
        Self::open_file(options).map_err(|error| match error {
            StoreError::Corrupt(why) => StoreError::Corrupt(format!("{path}: {why}")),
            other => other,
        })
    }

    fn open_file(mut options: Options) -> Result<Self, StoreError> {
        options.path = find_or_make(&options.path)?;
        let lock = match options.mode {
            OpenMode::Server => Some(lock(&options.path)?),
            OpenMode::Tool => None,
        };
        let turn = take_turn(&options.path)?;
        check_owner(&options.path)?;
        let mut connection = connect(&options.path, OpenFlags::default())?;
        match options.mode {
            OpenMode::Server => schema::migrate(&mut connection)?,
            OpenMode::Tool => schema::make_or_check(&mut connection)?,
        }
        let account = account::open(&mut connection, &options)?;
        drop(turn);
        if options.mode == OpenMode::Server {
            let engine = |error: rusqlite::Error| store_error(&error);
            sender::configure(&mut connection, &options.senders, options.now).map_err(engine)?;
            if account::waiting(&connection).map_err(engine)?.is_some() {
                sender::pause_restored(&connection, options.now).map_err(engine)?;
            }
        }
        let shared = Shared::new(
            account.vault,
            options.rules,
            account.epoch,
            account.restores,
        );
        let shared = Arc::new(shared);
        let readers = Readers::open(|| connect(&options.path, OpenFlags::SQLITE_OPEN_READ_ONLY))?;
        let notifier = Notifier::default();
        let last: i64 = connection
            .query_row("SELECT coalesce(max(id), 0) FROM event", [], |row| {
                row.get(0)
            })
            .map_err(|error| store_error(&error))?;
        notifier.last_event.send_replace(last);
        let of_server = match account.marker {
            Some(marker) => {
                let connection_of_its_own = connect(&options.path, OpenFlags::default())?;
                let checkpointer = Checkpointer::start(connection_of_its_own, &mut connection);
                Some(OfServer {
                    checkpointer: checkpointer.map_err(|error| store_error(&error))?,
                    notes: Notes::new(marker),
                })
            }
            None => None,
        };
        let for_writer = Arc::clone(&shared);
        let writer = Writer::start(connection, of_server, for_writer, notifier.clone());
        Ok(Self {
            writer,
            readers,
            shared,
            notifier,
            path: options.path,
            _lock: lock,
        })
    }

    /// Makes every attempt that an earlier server left open unknown: nobody can say any more
    /// whether its request left. Returns their number.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is changed then.
    pub async fn recover(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.writer.run(Recover { now }).await
    }
}

/// Makes the file when it is not there, and follows a symlink: its lock and its other files are those
/// of the file that it names.
fn find_or_make(path: &Path) -> Result<PathBuf, StoreError> {
    check_folder(path)?;
    make_private(path)?;
    if path.is_symlink() {
        std::fs::canonicalize(path)
            .map_err(|error| StoreError::ReadOnly(format!("{}: {error}", path.display())))
    } else {
        Ok(path.to_owned())
    }
}

fn check_folder(path: &Path) -> Result<(), StoreError> {
    let folder = folder(path);
    if folder.is_dir() {
        Ok(())
    } else {
        Err(StoreError::ReadOnly(format!(
            "the folder {} does not exist; create it or change DATABASE_URL",
            folder.display()
        )))
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A new database is its owner's alone; SQLite gives its other files the same mode.
fn make_private(path: &Path) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let made = match options.open(path) {
        // A symlink to a file that is still to come.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && !path.exists() => {
            options.create_new(false).create(true).open(path)
        }
        made => made,
    };
    match made {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::ReadOnly(format!("{}: {error}", path.display()))),
    }
}

/// Several processes may open a new database at the same moment, and SQLite does not wait where
/// two of them change its journal mode or its schema. A lock on the folder needs no other file,
/// and ends with its process.
fn take_turn(path: &Path) -> Result<File, StoreError> {
    let folder = folder(path);
    File::open(folder)
        .and_then(|handle| handle.lock().map(|()| handle))
        .map_err(|error| StoreError::ReadOnly(format!("{}: {error}", folder.display())))
}

/// Looks at a file before any setting of it is changed.
fn check_owner(path: &Path) -> Result<(), StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let looked = Connection::open_with_flags(path, flags).and_then(|connection| {
        connection.busy_timeout(BUSY_WAIT)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        Ok(connection)
    });
    schema::check_owner(&looked.map_err(|error| store_error(&error))?)
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, flags).map_err(|e| store_error(&e))?;
    prepare(
        &connection,
        flags.contains(OpenFlags::SQLITE_OPEN_READ_ONLY),
    )
    .map_err(|error| store_error(&error))?;
    Ok(connection)
}

/// Sets the pragmas and checks that they hold: a library or a build option may ignore them
/// silently, and then a commit would not be on disk.
fn prepare(connection: &Connection, read_only: bool) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_WAIT)?;
    connection.set_prepared_statement_cache_capacity(256);
    // Without it a statement is planned again whenever a value is bound that a partial index could
    // depend on: a fifth of the work of accepting a message.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    if read_only {
        connection.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -8192;")?;
        return Ok(());
    }
    // No commit checkpoints: the server has a thread for it, and beside a server a tool must not
    // make others wait.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON;
         PRAGMA secure_delete = ON;
         PRAGMA temp_store = MEMORY;
         PRAGMA trusted_schema = OFF;
         PRAGMA cache_size = -65536;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = 268435456;",
    )?;
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(unsupported("journal_mode", &mode));
    }
    for (name, wanted) in [
        ("synchronous", 2),
        ("foreign_keys", 1),
        ("secure_delete", 1),
        ("trusted_schema", 0),
    ] {
        let found: i64 = connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))?;
        if found != wanted {
            return Err(unsupported(name, &found.to_string()));
        }
    }
    Ok(())
}

fn unsupported(name: &str, value: &str) -> rusqlite::Error {
    let text = format!(
        "the file system, or this build of SQLite, does not do what safety needs ({name} stays \
         {value}); move the database to a local disk"
    );
    let failure = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY);
    rusqlite::Error::SqliteFailure(failure, Some(text))
}
