//! The open database: the writer, the readers, and how a read runs.

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::Connection;

use super::error::store_error;
use super::lock::ServerLock;
#[cfg(feature = "sheet")]
use super::readers::Reader;
use super::readers::{Pool, Readers};
#[cfg(feature = "sheet")]
use super::through::Noted;
use super::writer::Writer;
use crate::store::operations::transaction::Shared;
use crate::store::{Notifier, StoreError};

/// The embedded store.
pub struct SqliteStore {
    /// Closed before the writer: the last connection checkpoints, which a reader cannot.
    pub(super) readers: Readers,
    pub(super) writer: Writer,
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

    /// Lets the writer panic at its next commit.
    pub fn break_writer(&self) {
        self.writer.controls.break_writer();
    }

    /// Lets the write-ahead log grow by so many pages between two checkpoints.
    pub fn checkpoint_every(&self, pages: usize) {
        self.writer.controls.checkpoint_every(pages);
    }

    /// Lets the thread of the checkpoints panic at its next one.
    pub fn break_checkpoints(&self) {
        self.writer.controls.break_checkpoints();
    }

    /// Lets the next commit wait until it can take this many requests.
    pub fn commit_together(&self, requests: usize) {
        self.writer.controls.commit_together(requests);
    }

    /// Takes every connection for long reads, as four long lists and a scrape would.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn hold_long_reads(&self) -> Result<Vec<Reader>, StoreError> {
        self.readers.hold_long_reads().await
    }

    /// Notes every statement that runs on any connection from now on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_statements(&self) -> Result<Noted, StoreError> {
        let noted = Noted::default();
        self.readers.note_statements(&noted).await?;
        self.writer.controls.note_statements(noted.clone());
        Ok(noted)
    }

    /// Takes every connection for short reads.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn hold_short_reads(&self) -> Result<Vec<Reader>, StoreError> {
        self.readers.hold_short_reads().await
    }
}

impl SqliteStore {
    /// What the writer tells after each commit.
    pub fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    /// Runs a short read, as soon as a connection is free.
    pub(super) async fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let reader = self.readers.short.take().await?;
        read(&reader).map_err(|error| store_error(&error))
    }

    /// Runs a long read in a transaction of its own, so that it sees one moment, and without
    /// holding up the runtime. While all connections of the pool are in use it waits, and holds no
    /// thread.
    pub(super) async fn read_long<T: Send + 'static>(
        &self,
        pool: &Arc<Pool>,
        read: impl FnOnce(&Connection, &Shared) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let reader = pool.take().await?;
        let shared = Arc::clone(&self.shared);
        let joined = tokio::task::spawn_blocking(move || {
            let transaction = reader
                .unchecked_transaction()
                .map_err(|e| store_error(&e))?;
            read(&transaction, &shared).map_err(|error| store_error(&error))
        });
        joined.await.map_err(|_| StoreError::Closed)?
    }
}
