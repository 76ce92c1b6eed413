//! Checkpoints the write-ahead log beside the writer, so that commits wait for
//! it only at its very end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::error::stop_on_failed_sync;
use super::thread;

/// Pages that the log may grow by between two checkpoints: 128 MiB.
const PAGES: usize = 32_768;

/// The thread and what it shares with the writer.
pub(super) struct Checkpointer {
    start: Option<SyncSender<()>>,
    nearly_done: Arc<AtomicBool>,
    /// Pages in the log after the last commit.
    pages: Arc<AtomicUsize>,
    /// Pages in the log when the last checkpoint began.
    checkpointed: usize,
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
        let thread = match thread::start("recado-checkpoint", move || {
            run(&connection, &asked, &done);
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
        if pages >= self.checkpointed + PAGES {
            match &self.start {
                Some(start) if self.thread.is_some() => {
                    if start.try_send(()).is_ok() {
                        self.checkpointed = pages;
                    }
                }
                _ => checkpoint(writer),
            }
        }
        if self.nearly_done.swap(false, Ordering::AcqRel) {
            checkpoint(writer);
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

fn run(connection: &Connection, asked: &Receiver<()>, nearly_done: &AtomicBool) {
    while asked.recv().is_ok() {
        checkpoint(connection);
        // What came while the first was under way.
        checkpoint(connection);
        nearly_done.store(true, Ordering::Release);
    }
}

/// Checkpoints what no reader needs any more, without making anybody wait.
fn checkpoint(connection: &Connection) {
    let done = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    if let Err(error) = done {
        stop_on_failed_sync(&error);
        // Nothing is lost: the log keeps everything, and the next time may be better.
        tracing::warn!(%error, "the write-ahead log could not be checkpointed");
    }
}
