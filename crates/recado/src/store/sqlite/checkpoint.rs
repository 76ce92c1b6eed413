//! Checkpoints the write-ahead log beside the writer, so that commits wait for
//! it only at its very end.
//!
//! The log starts over when all of it is in the database and nobody reads from it. Someone who reads
//! all the time, in many short transactions, would never let that happen: so when the log has become
//! twice as long as it should be, a commit waits for those readers for a moment. For one who has been
//! reading for long nobody waits; until that read ends, the log grows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::error::stop_on_failed_sync;
use super::options::BUSY_WAIT;
use super::thread;

/// Pages that the log may grow by between two checkpoints: 128 MiB.
const PAGES: usize = 32_768;
/// How long a commit waits for short reads, once in as many pages.
const READERS_WAIT: Duration = Duration::from_millis(100);

/// The thread and what it shares with the writer.
pub(super) struct Checkpointer {
    start: Option<SyncSender<()>>,
    nearly_done: Arc<AtomicBool>,
    /// Pages in the log after the last commit.
    pages: Arc<AtomicUsize>,
    /// Pages in the log when the last checkpoint began.
    checkpointed: usize,
    /// Pages that the log may grow by between two checkpoints.
    pub(super) every: usize,
    /// Whether a test wants the thread to panic.
    #[cfg(feature = "sheet")]
    pub(super) breaks: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the thread with a connection of its own, and watches the writer's.
    ///
    /// # Errors
    /// When the writer cannot be watched.
    pub(super) fn start(connection: Connection, writer: &mut Connection) -> rusqlite::Result<Self> {
        let pages = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&pages);
        // In the place of SQLite's own checkpoints, which would be the writer's work.
        writer.wal_hook(Some(move |_: &mut Wal, pages: i32| {
            counted.store(usize::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        let (start, asked) = sync_channel(1);
        let nearly_done = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&nearly_done);
        #[cfg(feature = "sheet")]
        let breaks = Arc::<AtomicBool>::default();
        #[cfg(feature = "sheet")]
        let broken = Arc::clone(&breaks);
        let thread = match thread::start("recado-checkpoint", move || {
            while asked.recv().is_ok() {
                #[cfg(feature = "sheet")]
                assert!(!broken.load(Ordering::SeqCst), "a test wants a panic");
                checkpoint(&connection, "PASSIVE");
                // What came while the first was under way.
                checkpoint(&connection, "PASSIVE");
                done.store(true, Ordering::Release);
            }
        }) {
            Ok(thread) => Some(thread),
            Err(error) => {
                tracing::warn!(%error, "the thread of the checkpoints cannot start");
                None
            }
        };
        Ok(Self {
            start: Some(start),
            nearly_done,
            pages,
            checkpointed: 0,
            every: PAGES,
            #[cfg(feature = "sheet")]
            breaks,
            thread,
        })
    }

    /// Told by the writer after each commit. When the thread has done nearly all of it, the writer
    /// does the rest, because only with nothing left over can the log start over.
    pub(super) fn committed(&mut self, writer: &Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.checkpointed {
            // The log has started over.
            self.checkpointed = 0;
        }
        if pages >= self.checkpointed + self.every {
            match &self.start {
                Some(start) if self.thread.is_some() => {
                    if start.try_send(()).is_ok() {
                        self.checkpointed = pages;
                    }
                }
                _ => {
                    checkpoint(writer, "PASSIVE");
                }
            }
        }
        if self.nearly_done.swap(false, Ordering::AcqRel) {
            self.finish(writer, pages);
        }
    }

    /// Does the rest of a checkpoint. `pages` are in the log.
    fn finish(&mut self, writer: &Connection, pages: usize) {
        let left = checkpoint(writer, "PASSIVE");
        // Whoever reads has begun so many pages ago.
        let is_close = left.is_some_and(|left| left < self.every / 2);
        if pages < 2 * self.every || !is_close {
            return;
        }
        let waited = writer
            .busy_timeout(READERS_WAIT)
            .map(|()| checkpoint(writer, "RESTART"))
            .and_then(|left| writer.busy_timeout(BUSY_WAIT).map(|()| left));
        match waited {
            Ok(Some(0)) => {}
            // Once more, soon.
            Ok(_) => self.checkpointed = (pages + self.every / 8).saturating_sub(self.every),
            Err(error) => tracing::warn!(%error, "a time limit of the database cannot be set"),
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        drop(self.start.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread would have ended the process.
            drop(thread.join());
        }
    }
}

/// Checkpoints what no reader needs any more. Returns how many pages of the log are left over, or that
/// are still read from: `None` when nobody knows.
fn checkpoint(connection: &Connection, mode: &str) -> Option<usize> {
    let done = connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        let (busy, pages, done): (bool, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok((busy, usize::try_from(pages - done).ok()))
    });
    match done {
        Ok((false, left)) => left,
        Ok((true, left)) => left.map(|left| left.max(1)),
        Err(error) => {
            stop_on_failed_sync(&error);
            // Nothing is lost: the log keeps everything, and the next time may be better.
            tracing::warn!(%error, "the write-ahead log could not be checkpointed");
            None
        }
    }
}
