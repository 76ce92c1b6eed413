//! The one writer: a thread that drains requests, runs them in one transaction, commits, and
//! only then answers. The cost of a commit is shared by everybody who waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::account::last_attempt;
use super::checkpoint::Checkpointer;
use super::error::{stop_on_failed_sync, store_error};
use super::marker::Notes;
use super::readiness::Readiness;
use super::statements::Statements;
use super::thread;
#[cfg(feature = "sheet")]
use super::through::{self, Controls, OnSheet};
use crate::store::notify::PendingNotifications;
use crate::store::operations::transaction::{Gathered, Shared, Transaction};
use crate::store::operations::verb::Verb;
#[cfg(feature = "sheet")]
use crate::store::sheet::{Halt, Sheet};
use crate::store::{Notifier, StoreError};

/// Requests that may wait for the writer before callers are told to come again.
const WAITING_MAX: usize = 16_384;
/// How long a commit under load waits for the next requests.
const GATHER_POLL: Duration = Duration::from_micros(100);
/// How often at most.
const GATHER_POLLS_MAX: usize = 5;
/// After so long without a request nobody is expected any more.
const EXPECTED_TTL: Duration = Duration::from_millis(2);
/// Fewer requests than these are not divided among two commits.
const SMALL_BATCH: usize = 16;
/// A disk is slow when a commit takes so many times as long as the statements before it.
const SLOW_DISK: u32 = 4;
/// Requests of one transaction.
const BATCH_MAX: usize = 1_024;

/// What the writer does for a server beside committing.
pub(super) struct OfServer {
    /// Checkpoints.
    pub(super) checkpointer: Checkpointer,
    /// Notes the last attempt in the marker.
    pub(super) notes: Notes,
}

/// A handle to the writer thread.
pub(super) struct Writer {
    sender: Option<SyncSender<Box<dyn Work>>>,
    /// Requests that were handed over and that no commit has taken yet.
    waiting: Arc<AtomicUsize>,
    /// What the last commits showed.
    pub(super) readiness: Arc<Readiness>,
    thread: Option<JoinHandle<()>>,
    #[cfg(feature = "sheet")]
    pub(super) controls: Arc<Controls>,
}

/// A request to the writer, whatever its verb.
trait Work: OnSheet + Send {
    fn run(&mut self, transaction: &mut Transaction<'_, Statements<'_>>) -> rusqlite::Result<()>;
    fn finish(self: Box<Self>, result: Result<(), StoreError>);
}

struct Task<V: Verb> {
    verb: V,
    answer: Option<V::Answer>,
    reply: oneshot::Sender<Result<V::Answer, StoreError>>,
}

impl<V: Verb> Work for Task<V> {
    fn run(&mut self, transaction: &mut Transaction<'_, Statements<'_>>) -> rusqlite::Result<()> {
        self.answer = Some(self.verb.run(transaction)?);
        Ok(())
    }

    fn finish(self: Box<Self>, result: Result<(), StoreError>) {
        let answer = match (result, self.answer) {
            (Ok(()), Some(answer)) => Ok(answer),
            (Err(error), _) => Err(error),
            (Ok(()), None) => Err(StoreError::Closed),
        };
        // Whoever asked may have gone; the commit stands all the same.
        drop(self.reply.send(answer));
    }
}

#[cfg(feature = "sheet")]
impl<V: Verb> OnSheet for Task<V> {
    fn run_on_sheet(&mut self, transaction: &mut Transaction<'_, Sheet>) -> Result<(), Halt> {
        self.answer = Some(self.verb.run(transaction)?);
        Ok(())
    }
}

/// Without the test build's sheet there is nothing to run on it.
#[cfg(not(feature = "sheet"))]
trait OnSheet {}
#[cfg(not(feature = "sheet"))]
impl<V: Verb> OnSheet for Task<V> {}

impl Writer {
    /// Starts the thread. Replies travel through one task of the runtime, so that a commit wakes
    /// it once and not each waiting request from outside.
    pub(super) fn start(
        connection: Connection,
        of_server: Option<OfServer>,
        shared: Arc<Shared>,
        notifier: Notifier,
    ) -> Self {
        let (sender, receiver) = sync_channel(WAITING_MAX);
        let waiting = Arc::new(AtomicUsize::new(0));
        let queued = Arc::clone(&waiting);
        let readiness = Arc::new(Readiness::new());
        let shown = Arc::clone(&readiness);
        #[cfg(feature = "sheet")]
        let controls = Arc::<Controls>::default();
        #[cfg(feature = "sheet")]
        let controlled = Arc::clone(&controls);
        let (replies, mut finished) = mpsc::unbounded_channel::<Vec<Finished>>();
        tokio::spawn(async move {
            while let Some(batch) = finished.recv().await {
                for (work, result) in batch {
                    work.finish(result);
                }
            }
        });
        #[expect(
            clippy::expect_used,
            reason = "a machine without a thread to spare runs no server"
        )]
        let thread = thread::start("recado-writer", move || {
            WriterThread {
                connection,
                of_server,
                shared,
                notifier,
                replies,
                waiting: queued,
                readiness: shown,
                slow_disk: false,
                #[cfg(feature = "sheet")]
                controls: controlled,
            }
            .run(&receiver);
        })
        .expect("the operating system starts a thread");
        Self {
            sender: Some(sender),
            waiting,
            readiness,
            thread: Some(thread),
            #[cfg(feature = "sheet")]
            controls,
        }
    }

    /// Runs a verb in the next transaction and returns after its commit.
    pub(super) async fn run<V: Verb>(&self, verb: V) -> Result<V::Answer, StoreError> {
        let (reply, answer) = oneshot::channel();
        let task = Box::new(Task {
            verb,
            answer: None,
            reply,
        });
        let sender = self.sender.as_ref().ok_or(StoreError::Closed)?;
        self.waiting.fetch_add(1, Ordering::Relaxed);
        sender.try_send(task).map_err(|error| {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            match error {
                TrySendError::Full(_) => StoreError::Busy,
                TrySendError::Disconnected(_) => StoreError::Closed,
            }
        })?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the writer would have ended the process.
            drop(thread.join());
        }
    }
}

type Finished = (Box<dyn Work>, Result<(), StoreError>);

struct WriterThread {
    connection: Connection,
    of_server: Option<OfServer>,
    shared: Arc<Shared>,
    notifier: Notifier,
    replies: mpsc::UnboundedSender<Vec<Finished>>,
    waiting: Arc<AtomicUsize>,
    readiness: Arc<Readiness>,
    slow_disk: bool,
    #[cfg(feature = "sheet")]
    controls: Arc<Controls>,
}

impl WriterThread {
    fn run(mut self, receiver: &Receiver<Box<dyn Work>>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let mut last = 0;
        while let Some(first) = Self::next(receiver, &mut last) {
            batch.push(first);
            self.gather(receiver, &mut batch, last);
            last = batch.len();
            let finished = self.commit(&mut batch);
            if self.replies.send(finished).is_err() {
                break;
            }
            if let Some(of_server) = &mut self.of_server {
                #[cfg(feature = "sheet")]
                self.controls.tell(&mut of_server.checkpointer);
                of_server.checkpointer.committed(&self.connection);
                of_server.notes.committed(|| last_attempt(&self.connection));
            }
        }
        // Only a server, which is alone: a tool would make it wait.
        let Some(of_server) = self.of_server.take() else {
            return;
        };
        drop(of_server.checkpointer);
        of_server.notes.end(last_attempt(&self.connection));
        // Readers may still look at the log of changes; a checkpoint that fails loses nothing.
        if let Err(error) = self
            .connection
            .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        {
            stop_on_failed_sync(&error);
            tracing::warn!(%error, "the write-ahead log could not be checkpointed at the end");
        }
    }

    /// The next request, and how many the last commit stored: none of those who were answered
    /// long ago are expected to come back.
    fn next(receiver: &Receiver<Box<dyn Work>>, last: &mut usize) -> Option<Box<dyn Work>> {
        match receiver.recv_timeout(EXPECTED_TTL) {
            Ok(work) => Some(work),
            Err(RecvTimeoutError::Timeout) => {
                *last = 0;
                receiver.recv().ok()
            }
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Takes what the next commit stores. One commit of many costs little more than a commit of
    /// few, so under load it is worth a short wait for the callers who were just answered and come
    /// back at once. But not for all of them: when half of those who are expected are here, the
    /// commit begins, and the other half is worked on meanwhile. If all waited for one commit,
    /// the processors would wait with them. On a slow disk it is the disk that everybody waits
    /// for, and then all who are here go together. Whoever is alone does not wait.
    ///
    /// The thread polls instead of waiting on the channel, because each arrival would wake it.
    fn gather(
        &self,
        receiver: &Receiver<Box<dyn Work>>,
        batch: &mut Vec<Box<dyn Work>>,
        last: usize,
    ) {
        #[cfg(feature = "sheet")]
        self.controls.gather(receiver, batch);
        let expected = last + self.waiting.load(Ordering::Relaxed);
        let half = (expected / 2).clamp(1, BATCH_MAX);
        let most = if self.slow_disk || half < SMALL_BATCH {
            BATCH_MAX
        } else {
            half
        };
        let mut polls = 0;
        loop {
            let before = batch.len();
            batch.extend(receiver.try_iter().take(most - before));
            let nobody_came = polls > 0 && batch.len() == before;
            if batch.len() >= half || nobody_came || polls == GATHER_POLLS_MAX {
                break;
            }
            std::thread::sleep(GATHER_POLL);
            polls += 1;
        }
        self.waiting.fetch_sub(batch.len(), Ordering::Relaxed);
    }

    fn commit(&mut self, batch: &mut Vec<Box<dyn Work>>) -> Vec<Finished> {
        match self.transaction(batch) {
            Ok(pending) => {
                self.notifier.notify(pending);
                batch.drain(..).map(|work| (work, Ok(()))).collect()
            }
            Err(_) => batch
                .drain(..)
                .map(|work| self.retry_individually(work))
                .collect(),
        }
    }

    fn retry_individually(&mut self, work: Box<dyn Work>) -> Finished {
        let mut one = [work];
        let result = self.transaction(&mut one);
        let [work] = one;
        match result {
            Ok(pending) => {
                self.notifier.notify(pending);
                (work, Ok(()))
            }
            Err(error) => {
                let error = store_error(&error);
                self.readiness.failed(&error);
                tracing::error!(%error, "a request could not be stored");
                (work, Err(error))
            }
        }
    }

    fn transaction(
        &mut self,
        batch: &mut [Box<dyn Work>],
    ) -> rusqlite::Result<PendingNotifications> {
        #[cfg(feature = "sheet")]
        self.controls.begin_noting(&mut self.connection)?;
        let begun = Instant::now();
        let changes = self.connection.total_changes();
        self.readiness.begins();
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let worked = self.work(batch);
        let worked_for = begun.elapsed();
        let committed = worked.and_then(|gathered| {
            self.connection.execute_batch("COMMIT")?;
            // A commit that had nothing to store shows nothing.
            if self.connection.total_changes() == changes {
                self.readiness.ended();
            } else {
                self.readiness.stored();
            }
            Ok(self.shared.committed(gathered))
        });
        self.slow_disk = begun.elapsed() > worked_for * (SLOW_DISK + 1);
        if let Err(error) = &committed {
            stop_on_failed_sync(error);
            if !self.connection.is_autocommit() {
                self.connection.execute_batch("ROLLBACK")?;
            }
        }
        committed
    }

    /// Runs a batch inside the transaction that has begun.
    fn work(&self, batch: &mut [Box<dyn Work>]) -> rusqlite::Result<Gathered> {
        let db = &self.connection;
        #[cfg(feature = "sheet")]
        if let Some(fault) = self.controls.sheet() {
            return through::run(db, &self.shared, fault, batch);
        }
        let mut transaction = Transaction::new(Statements { db }, &self.shared);
        for work in batch {
            work.run(&mut transaction)?;
        }
        transaction.flush_counts()?;
        Ok(transaction.gathered())
    }
}
