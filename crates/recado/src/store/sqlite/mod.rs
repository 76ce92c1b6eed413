//! The embedded engine: SQLite with one writer thread and a small pool of readers.

mod accept;
mod business_key;
mod checkpoint;
mod context;
mod idempotency;
mod inbound;
mod log;
mod maintenance;
mod messages;
mod open;
mod parties;
mod person;
mod queue;
mod report;
mod verify;
mod watch;
mod writer;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

pub use open::{OpenMode, Options};
pub use writer::Notifier;

use self::context::Cohort;
use self::writer::{Writer, store_error};
use super::StoreError;
use crate::secrets::Vault;
use delivery::progress::Rules;

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

/// What the writer and the readers share.
struct Shared {
    vault: Vault,
    rules: Rules,
    epoch: i64,
    cohorts: Mutex<HashMap<Cohort, i64>>,
}

impl Shared {
    fn cached_cohort(&self, cohort: &Cohort) -> Option<i64> {
        locked(&self.cohorts).get(cohort).copied()
    }

    fn cache_cohort(&self, cohort: Cohort, key: i64) {
        let mut cohorts = locked(&self.cohorts);
        // Cohorts of past hours are not asked for again; a fresh map costs one look-up each.
        if cohorts.len() > 10_000 {
            cohorts.clear();
        }
        cohorts.insert(cohort, key);
    }

    /// Drops what a rolled-back transaction may have put into the caches.
    fn forget(&self) {
        locked(&self.cohorts).clear();
    }
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
