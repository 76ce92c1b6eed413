//! The embedded engine: SQLite with one writer thread and a small pool of readers.

mod api_key;
mod attempt;
mod checkpoint;
mod column;
mod consent;
mod counter;
mod error;
mod event;
mod health;
mod inbound;
mod key;
mod maintenance;
mod message;
mod message_view;
mod open;
mod person;
mod progress;
mod queue;
mod report;
mod sender;
mod statements;
#[cfg(feature = "sheet")]
mod through;
mod verify;
mod watch;
mod writer;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

pub use open::{OpenMode, Options};

use self::error::store_error;
use self::writer::Writer;
use super::operations::transaction::Shared;
use super::{Notifier, StoreError};

/// Connections for reading. Each read takes microseconds; long ones run beside the runtime.
const READERS: usize = 4;

/// The embedded store.
pub struct SqliteStore {
    writer: Writer,
    readers: Arc<Readers>,
    shared: Arc<Shared>,
    notifier: Notifier,
    path: PathBuf,
    /// Held as long as the store is open, so that a second server stops at its start.
    _lock: Option<open::ServerLock>,
}

impl SqliteStore {
    /// What the writer tells after each commit.
    pub fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    /// Runs a short read on a free reader.
    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        read(&self.readers.free()).map_err(|error| store_error(&error))
    }

    /// Runs a long read in a transaction of its own, so that it sees one moment, and without
    /// holding up the runtime.
    async fn read_long<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection, &Shared) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (readers, shared) = (Arc::clone(&self.readers), Arc::clone(&self.shared));
        let joined = tokio::task::spawn_blocking(move || {
            let reader = readers.free();
            let transaction = reader
                .unchecked_transaction()
                .map_err(|e| store_error(&e))?;
            read(&transaction, &shared).map_err(|error| store_error(&error))
        });
        joined.await.map_err(|_| StoreError::Closed)?
    }
}

struct Readers(Vec<Mutex<Connection>>);

impl Readers {
    fn free(&self) -> MutexGuard<'_, Connection> {
        let mut last = None;
        for reader in &self.0 {
            if let Ok(free) = reader.try_lock() {
                return free;
            }
            last = Some(reader);
        }
        locked(last.expect("a store has readers"))
    }
}

/// A panic while a lock was held has been reported; the data behind these locks stays usable.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
