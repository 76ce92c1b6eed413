//! The open database: the writer, the readers, and how a read runs.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use super::error::store_error;
use super::lock::ServerLock;
use super::writer::Writer;
use crate::store::operations::transaction::Shared;
use crate::store::{Notifier, StoreError};

/// Connections for reading. Each read takes microseconds; long ones run beside the runtime.
pub(super) const READERS: usize = 4;

/// The embedded store.
pub struct SqliteStore {
    pub(super) writer: Writer,
    pub(super) readers: Arc<Readers>,
    pub(super) shared: Arc<Shared>,
    pub(super) notifier: Notifier,
    pub(super) path: PathBuf,
    /// Held as long as the store is open, so that a second server stops at its start.
    pub(super) _lock: Option<ServerLock>,
}

#[cfg(feature = "sheet")]
impl SqliteStore {
    /// Runs every batch from now on on a sheet, with a mistake planted or without.
    pub fn run_on_sheet(&self, fault: Option<crate::store::Fault>) {
        self.writer.controls.run_on_sheet(fault);
    }

    /// Lets the next commit wait until it can take this many requests.
    pub fn commit_together(&self, requests: usize) {
        self.writer.controls.commit_together(requests);
    }
}

impl SqliteStore {
    /// What the writer tells after each commit.
    pub fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    /// Runs a short read on a free reader.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        read(&self.readers.free()).map_err(|error| store_error(&error))
    }

    /// Runs a long read in a transaction of its own, so that it sees one moment, and without
    /// holding up the runtime.
    pub(super) async fn read_long<T: Send + 'static>(
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

pub(super) struct Readers(pub(super) Vec<Mutex<Connection>>);

impl Readers {
    #[expect(clippy::expect_used, reason = "the number of readers is a constant")]
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
