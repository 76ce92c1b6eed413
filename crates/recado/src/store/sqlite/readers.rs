//! Connections for reading, in pools by who waits for them. A long read holds up none but its like:
//! callbacks, lanes and the check of keys never wait for a list, and a list never for a scrape.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[cfg(feature = "sheet")]
use super::error::store_error;
#[cfg(feature = "sheet")]
use super::through::{Noted, note};
use crate::store::StoreError;

/// Connections for lists and sums that callers ask for.
const LISTS: usize = 3;
/// Connections for long reads of the program's own: contents of many messages, evidence.
const WORK: usize = 3;
/// Short reads run on the runtime's threads, so more connections than those are never in use.
const SHORT_MAX: usize = 8;

/// The pools of one store.
pub(super) struct Readers {
    /// Reads that take microseconds; they run where they are called.
    pub(super) short: Arc<Pool>,
    /// Long reads of the program's own.
    pub(super) work: Arc<Pool>,
    /// Lists and sums that callers ask for.
    pub(super) lists: Arc<Pool>,
    /// Sizes and depths. They need no API key, so they have one connection and hold no other.
    pub(super) gauges: Arc<Pool>,
}

impl Readers {
    /// Opens every connection.
    ///
    /// # Errors
    /// That of the first connection that cannot be opened.
    pub(super) fn open(
        connect: impl Fn() -> Result<Connection, StoreError>,
    ) -> Result<Self, StoreError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let pool = |connections: usize| {
            let idle = (0..connections)
                .map(|_| connect())
                .collect::<Result<Vec<_>, _>>()?;
            Ok(Arc::new(Pool {
                #[cfg(feature = "sheet")]
                size: connections,
                free: Arc::new(Semaphore::new(idle.len())),
                idle: Mutex::new(idle),
            }))
        };
        Ok(Self {
            short: pool(threads.clamp(2, SHORT_MAX))?,
            work: pool(WORK)?,
            lists: pool(LISTS)?,
            gauges: pool(1)?,
        })
    }
}

#[cfg(feature = "sheet")]
impl Readers {
    pub(super) async fn hold_long_reads(&self) -> Result<Vec<Reader>, StoreError> {
        let mut held = Vec::new();
        for pool in [&self.work, &self.lists, &self.gauges] {
            held.extend(pool.take_all().await?);
        }
        Ok(held)
    }

    pub(super) async fn note_statements(&self, noted: &Noted) -> Result<(), StoreError> {
        let mut held = self.hold_long_reads().await?;
        held.extend(self.hold_short_reads().await?);
        for reader in &mut held {
            if let Some(connection) = &mut reader.connection {
                note(connection, noted).map_err(|e| store_error(&e))?;
            }
        }
        Ok(())
    }

    pub(super) async fn hold_short_reads(&self) -> Result<Vec<Reader>, StoreError> {
        self.short.take_all().await
    }
}

/// Connections of which one read has one at a time.
pub(super) struct Pool {
    idle: Mutex<Vec<Connection>>,
    free: Arc<Semaphore>,
    #[cfg(feature = "sheet")]
    size: usize,
}

impl Pool {
    /// Takes a connection, or waits until one is given back. Waiting holds no thread, and ends with
    /// whoever waits.
    ///
    /// # Errors
    /// [`StoreError::Closed`] when there is none, which cannot be while the store is open.
    pub(super) async fn take(self: &Arc<Self>) -> Result<Reader, StoreError> {
        let permit = Arc::clone(&self.free).acquire_owned().await;
        let permit = permit.map_err(|_| StoreError::Closed)?;
        // The one that was used last has the warmest cache.
        let connection = self.idle().pop().ok_or(StoreError::Closed)?;
        Ok(Reader {
            connection: Some(connection),
            pool: Arc::clone(self),
            _permit: permit,
        })
    }

    /// Takes every connection.
    #[cfg(feature = "sheet")]
    pub(super) async fn take_all(self: &Arc<Self>) -> Result<Vec<Reader>, StoreError> {
        let mut held = Vec::new();
        for _ in 0..self.size {
            held.push(self.take().await?);
        }
        Ok(held)
    }

    /// A panic while the lock was held has been reported; connections stay usable.
    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that goes back to its pool when it is dropped.
#[cfg_attr(
    not(feature = "sheet"),
    expect(unreachable_pub, reason = "only tests hold readers from outside")
)]
pub struct Reader {
    /// `Some` until it is dropped.
    connection: Option<Connection>,
    pool: Arc<Pool>,
    /// Given back after the connection: fields are dropped after `drop`.
    _permit: OwnedSemaphorePermit,
}

impl Deref for Reader {
    type Target = Connection;

    #[expect(clippy::expect_used, reason = "only `drop` takes the connection out")]
    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("a reader has a connection")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.idle().push(connection);
        }
    }
}
