//! Checkpoints the write-ahead log beside the writer, so that commits wait for
//! it only at its very end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::error::stop_on_failed_sync;

/// Pages that the log may grow by between two foldings: 128 MiB.
const PAGES: usize = 32_768;

/// The thread and what it shares with the writer.
pub(super) struct Checkpointer {
    start: Option<SyncSender<()>>,
    nearly_done: Arc<AtomicBool>,
    /// Pages in the log after the last commit.
    pages: Arc<AtomicUsize>,
    /// Pages in the log when the last folding began.
    folded: usize,
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
        // In the place of SQLite's own folding, which would be the writer's work.
        writer.wal_hook(Some(move |_: &mut Wal, pages: i32| {
            counted.store(usize::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        let (start, asked) = sync_channel(1);
        let nearly_done = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&nearly_done);
        let thread = std::thread::Builder::new()
            .name("recado-checkpoint".to_owned())
            .spawn(move || run(&connection, &asked, &done));
        let thread = match thread {
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
            folded: 0,
            thread,
        })
    }

    /// Told by the writer after each commit. When the thread has done nearly all of it, the writer
    /// does the rest, because only with nothing left over can the log start over.
    pub(super) fn committed(&mut self, writer: &Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.folded {
            // The log has started over.
            self.folded = 0;
        }
        if pages >= self.folded + PAGES {
            match &self.start {
                Some(start) if self.thread.is_some() => {
                    if start.try_send(()).is_ok() {
                        self.folded = pages;
                    }
                }
                _ => fold(writer),
            }
        }
        if self.nearly_done.swap(false, Ordering::AcqRel) {
            fold(writer);
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        drop(self.start.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported when it happened.
            drop(thread.join());
        }
    }
}

fn run(connection: &Connection, asked: &Receiver<()>, nearly_done: &AtomicBool) {
    while asked.recv().is_ok() {
        fold(connection);
        // What came while the first was under way.
        fold(connection);
        nearly_done.store(true, Ordering::Release);
    }
}

/// Checkpoints what no reader needs any more, without making anybody wait.
fn fold(connection: &Connection) {
    let folded = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    if let Err(error) = folded {
        stop_on_failed_sync(&error);
        // Nothing is lost: the log keeps everything, and the next time may be better.
        tracing::warn!(%error, "the write-ahead log could not be folded in");
    }
}
