//! Runs a transaction on a sheet that is loaded from SQLite and written back to it. Part of the test
//! build only: the conformance suite runs over it as over an engine of its own.

mod holds;
mod load;
mod load_message;
mod save;

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use rusqlite::trace::{TraceEvent, TraceEventCodes};

use super::checkpoint::Checkpointer;
use super::statements::Statements;
use crate::store::operations::transaction::{Gathered, Shared, Transaction};
use crate::store::sheet::{Fault, Halt, Need, Sheet};

/// A request that can run on a sheet.
pub(super) trait OnSheet {
    /// Runs it.
    fn run_on_sheet(&mut self, transaction: &mut Transaction<'_, Sheet>) -> Result<(), Halt>;
}

/// What a test asks of the writer.
#[derive(Default)]
pub(super) struct Controls {
    sheet: Mutex<Option<Option<Fault>>>,
    together: AtomicUsize,
    panic: AtomicBool,
    checkpoint_every: AtomicUsize,
    checkpoint_panic: AtomicBool,
    noted: Mutex<Option<Noted>>,
}

/// The statements that have run, each once.
pub type Noted = Arc<Mutex<BTreeSet<String>>>;

/// Notes what runs on a connection.
pub(super) fn note(connection: &mut Connection, noted: &Noted) -> rusqlite::Result<()> {
    let noted = Arc::clone(noted);
    let note = move |event: TraceEvent<'_>| {
        if let TraceEvent::Stmt(statement, _) = event {
            let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
            noted.insert(statement.sql().into_owned());
        }
    };
    connection.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(note))
}

impl Controls {
    /// Runs every batch from now on on a sheet, with a mistake planted or without.
    pub(super) fn run_on_sheet(&self, fault: Option<Fault>) {
        *self.sheet.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }

    /// Lets the next commit wait until it can take this many requests.
    pub(super) fn commit_together(&self, requests: usize) {
        self.together.store(requests, Ordering::SeqCst);
    }

    /// Notes what the writer's connection runs from the next commit on.
    pub(super) fn note_statements(&self, noted: Noted) {
        *self.noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(noted);
    }

    /// Begins with it, if it was asked for.
    pub(super) fn begin_noting(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        let noted = self
            .noted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        noted.map_or(Ok(()), |noted| note(connection, &noted))
    }

    /// Lets the writer panic at its next commit.
    pub(super) fn break_writer(&self) {
        self.panic.store(true, Ordering::SeqCst);
    }

    /// Lets the log grow by so many pages between two checkpoints.
    pub(super) fn checkpoint_every(&self, pages: usize) {
        self.checkpoint_every.store(pages, Ordering::SeqCst);
    }

    /// Lets the thread of the checkpoints panic at the next one.
    pub(super) fn break_checkpoints(&self) {
        self.checkpoint_panic.store(true, Ordering::SeqCst);
    }

    /// Tells whoever checkpoints, after a commit.
    pub(super) fn tell(&self, checkpointer: &mut Checkpointer) {
        let pages = self.checkpoint_every.load(Ordering::SeqCst);
        if pages > 0 {
            checkpointer.every = pages;
        }
        let panics = self.checkpoint_panic.load(Ordering::SeqCst);
        checkpointer.breaks.store(panics, Ordering::SeqCst);
    }

    /// Whether batches run on a sheet, and with which mistake planted.
    pub(super) fn sheet(&self) -> Option<Option<Fault>> {
        *self.sheet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the requests that the next commit is to take together.
    pub(super) fn gather<W>(&self, receiver: &Receiver<W>, batch: &mut Vec<W>) {
        assert!(!self.panic.load(Ordering::SeqCst), "a test wants a panic");
        let together = self.together.swap(0, Ordering::SeqCst);
        while batch.len() < together {
            match receiver.recv() {
                Ok(work) => batch.push(work),
                Err(_) => return,
            }
        }
    }
}

/// Runs a batch until nothing is missing, and writes what it has changed. The transaction of the
/// database has begun, and is the caller's to commit.
pub(super) fn run<W: OnSheet + ?Sized>(
    db: &Connection,
    shared: &Shared,
    fault: Option<Fault>,
    batch: &mut [Box<W>],
) -> rusqlite::Result<Gathered> {
    let mut sheet = Sheet::new(fault, load::numbers(db)?, load::senders(db)?);
    holds::load(db, &mut sheet)?;
    let mut transaction = Transaction::new(sheet, shared);
    let mut loaded: HashSet<Need> = HashSet::new();
    while !run_once(&mut transaction, batch)? {
        let needs = transaction.rows.take_needs();
        // A round that loads nothing new would be repeated for ever.
        assert!(
            needs.iter().any(|need| !loaded.contains(need)),
            "a run misses what was loaded: {needs:?}"
        );
        for need in needs {
            load::load(Statements { db }, &mut transaction.rows, &need)?;
            loaded.insert(need);
        }
    }
    save::save(db, &transaction.rows)?;
    holds::save(db, &transaction.rows)?;
    Ok(transaction.gathered())
}

/// One run from the beginning; `false` when something was missing.
fn run_once<W: OnSheet + ?Sized>(
    transaction: &mut Transaction<'_, Sheet>,
    batch: &mut [Box<W>],
) -> rusqlite::Result<bool> {
    transaction.restart();
    transaction.rows.forget();
    let mut complete = true;
    for work in batch {
        match work.run_on_sheet(transaction) {
            Ok(()) => {}
            // The rest runs on what is half done, only to learn what else is missing.
            Err(Halt::Missing) => complete = false,
            Err(Halt::Broken(_)) if !complete => {}
            Err(Halt::Broken(broken)) => return Err(broken.into()),
        }
    }
    if complete {
        match transaction.flush_counts() {
            Ok(()) => {}
            Err(Halt::Broken(broken)) => return Err(broken.into()),
            Err(Halt::Missing) => complete = false,
        }
    }
    Ok(complete)
}
