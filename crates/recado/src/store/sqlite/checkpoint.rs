//! Folds the write-ahead log back into the database beside the writer, so that commits wait for
//! it only at its very end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;

/// Rows changed between two foldings; about half of them are on pages of their own.
const CHANGES: u64 = 50_000;

/// The thread and what it shares with the writer.
pub(super) struct Checkpointer {
    start: Option<SyncSender<()>>,
    nearly_done: Arc<AtomicBool>,
    /// Rows that the writer had changed when the last folding began.
    folded: u64,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the thread with a connection of its own.
    pub(super) fn start(connection: Connection) -> Self {
        let (start, asked) = sync_channel(1);
        let nearly_done = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&nearly_done);
        let thread = std::thread::Builder::new()
            .name("recado-checkpoint".to_owned())
            .spawn(move || run(&connection, &asked, &done));
        let thread = match thread {
            Ok(thread) => Some(thread),
            Err(error) => {
                // SQLite folds in by itself when the log is long, in the writer's time.
                tracing::warn!(%error, "the thread that folds in the log cannot start");
                None
            }
        };
        Self {
            start: Some(start),
            nearly_done,
            folded: 0,
            thread,
        }
    }

    /// Told by the writer after each commit. When the thread has done nearly all of it, the writer
    /// does the rest, because only with nothing left over can the log begin anew.
    pub(super) fn committed(&mut self, writer: &Connection) {
        let changed = writer.total_changes();
        if changed >= self.folded + CHANGES
            && let Some(start) = &self.start
            && start.try_send(()).is_ok()
        {
            self.folded = changed;
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

/// Folds in what no reader needs any more, without making anybody wait.
fn fold(connection: &Connection) {
    let folded = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    if let Err(error) = folded {
        // Nothing is lost: the log keeps everything, and the next time may be better.
        tracing::warn!(%error, "the write-ahead log could not be folded in");
    }
}
