//! The one writer: a thread that drains requests, runs them in one transaction, commits, and
//! only then answers. The cost of a commit is shared by everybody who waits for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, oneshot, watch};

use super::checkpoint::Checkpointer;
use super::context::Context;
use crate::store::StoreError;

/// Requests that may wait for the writer before callers are told to come again.
const WAITING_MAX: usize = 16_384;
/// How long a commit under load waits for the next requests.
const GATHER_NAP: Duration = Duration::from_micros(100);
/// How often at most.
const NAPS_MAX: usize = 5;
/// After so long without a request nobody is about any more.
const ABOUT_MAX: Duration = Duration::from_millis(2);
/// Fewer requests than these are not divided among two commits.
const SMALL_BATCH: usize = 16;
/// A disk is slow when a commit takes so many times as long as the statements before it.
const SLOW_DISK: u32 = 4;
/// Requests of one transaction.
const BATCH_MAX: usize = 1_024;

/// A handle to the writer thread.
pub(super) struct Writer {
    sender: Option<SyncSender<Box<dyn Work>>>,
    /// Requests that were handed over and that no commit has taken yet.
    waiting: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

/// What the writer tells the rest of the program after each commit.
#[derive(Clone)]
pub struct Notifier {
    /// The key of the last event on disk.
    pub last_event: watch::Sender<i64>,
    /// Changes whenever the queue gained a row that may be due.
    pub queue: watch::Sender<u64>,
    /// Changes whenever a watch was set.
    pub watches: watch::Sender<u64>,
    /// Changes whenever an attempt was closed.
    pub closed: watch::Sender<u64>,
    /// Whether the last commit went through.
    pub writable: watch::Sender<bool>,
}

impl Default for Notifier {
    fn default() -> Self {
        Self {
            last_event: watch::Sender::new(0),
            queue: watch::Sender::new(0),
            watches: watch::Sender::new(0),
            closed: watch::Sender::new(0),
            writable: watch::Sender::new(true),
        }
    }
}

/// A request to the writer. It may run twice: a batch that fails is rolled back, and its requests
/// run again one by one, so that one bad request does not take others with it.
trait Work: Send {
    fn run(&mut self, context: &mut Context<'_>) -> rusqlite::Result<()>;
    fn finish(self: Box<Self>, result: Result<(), StoreError>);
}

struct Task<F, T> {
    run: F,
    value: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Work for Task<F, T>
where
    F: FnMut(&mut Context<'_>) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn run(&mut self, context: &mut Context<'_>) -> rusqlite::Result<()> {
        self.value = Some((self.run)(context)?);
        Ok(())
    }

    fn finish(self: Box<Self>, result: Result<(), StoreError>) {
        let answer = match (result, self.value) {
            (Ok(()), Some(value)) => Ok(value),
            (Err(error), _) => Err(error),
            (Ok(()), None) => Err(StoreError::Closed),
        };
        // Whoever asked may have gone; the commit stands all the same.
        drop(self.reply.send(answer));
    }
}

impl Writer {
    /// Starts the thread. Replies travel through one task of the runtime, so that a commit wakes
    /// it once and not each waiting request from outside.
    pub(super) fn start(
        connection: Connection,
        checkpointer: Option<Checkpointer>,
        shared: Arc<super::Shared>,
        notifier: Notifier,
    ) -> Self {
        let (sender, receiver) = sync_channel(WAITING_MAX);
        let waiting = Arc::new(AtomicUsize::new(0));
        let queued = Arc::clone(&waiting);
        let (replies, mut finished) = mpsc::unbounded_channel::<Vec<Finished>>();
        tokio::spawn(async move {
            while let Some(batch) = finished.recv().await {
                for (work, result) in batch {
                    work.finish(result);
                }
            }
        });
        let thread = std::thread::Builder::new()
            .name("recado-writer".to_owned())
            .spawn(move || {
                Room {
                    connection,
                    checkpointer,
                    shared,
                    notifier,
                    replies,
                    waiting: queued,
                    slow_disk: false,
                }
                .run(&receiver)
            })
            .expect("the operating system starts a thread");
        Self {
            sender: Some(sender),
            waiting,
            thread: Some(thread),
        }
    }

    /// Runs a request in the next transaction and comes back after its commit.
    pub(super) async fn run<T, F>(&self, run: F) -> Result<T, StoreError>
    where
        F: FnMut(&mut Context<'_>) -> rusqlite::Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let task = Box::new(Task {
            run,
            value: None,
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
            // A panic of the writer was reported when it happened.
            drop(thread.join());
        }
    }
}

type Finished = (Box<dyn Work>, Result<(), StoreError>);

struct Room {
    connection: Connection,
    checkpointer: Option<Checkpointer>,
    shared: Arc<super::Shared>,
    notifier: Notifier,
    replies: mpsc::UnboundedSender<Vec<Finished>>,
    waiting: Arc<AtomicUsize>,
    slow_disk: bool,
}

/// What the rest of the program must hear after a commit.
#[derive(Default)]
pub(super) struct PendingNotifications {
    pub(super) last_event: i64,
    pub(super) queue: bool,
    pub(super) watches: bool,
    pub(super) closed: bool,
}

impl Room {
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
            if let Some(checkpointer) = &mut self.checkpointer {
                checkpointer.committed(&self.connection);
            }
        }
        drop(self.checkpointer.take());
        // Readers may still look at the log of changes; failing to fold it in loses nothing.
        if let Err(error) = self
            .connection
            .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        {
            stop_on_failed_sync(&error);
            tracing::warn!(%error, "the write-ahead log could not be folded in at the end");
        }
    }

    /// The next request, and how many the last commit stored: none of those who were answered
    /// long ago are about to come back.
    fn next(receiver: &Receiver<Box<dyn Work>>, last: &mut usize) -> Option<Box<dyn Work>> {
        match receiver.recv_timeout(ABOUT_MAX) {
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
    /// back at once. But not for all of them: when half of those who are about are here, the
    /// commit begins, and the other half is worked on meanwhile. If all waited for one commit,
    /// the processors would wait with them. On a slow disk it is the disk that everybody waits
    /// for, and then all who are here go together. Whoever is alone does not wait.
    ///
    /// The thread naps instead of waiting on the channel, because each arrival would wake it.
    fn gather(
        &self,
        receiver: &Receiver<Box<dyn Work>>,
        batch: &mut Vec<Box<dyn Work>>,
        last: usize,
    ) {
        let about = last + self.waiting.load(Ordering::Relaxed);
        let half = (about / 2).clamp(1, BATCH_MAX);
        let most = if self.slow_disk || half < SMALL_BATCH {
            BATCH_MAX
        } else {
            half
        };
        let mut naps = 0;
        loop {
            let before = batch.len();
            batch.extend(receiver.try_iter().take(most - before));
            let nobody_came = naps > 0 && batch.len() == before;
            if batch.len() >= half || nobody_came || naps == NAPS_MAX {
                break;
            }
            std::thread::sleep(GATHER_NAP);
            naps += 1;
        }
        self.waiting.fetch_sub(batch.len(), Ordering::Relaxed);
    }

    fn commit(&mut self, batch: &mut Vec<Box<dyn Work>>) -> Vec<Finished> {
        match self.transaction(batch) {
            Ok(pending) => {
                self.notify(pending);
                batch.drain(..).map(|work| (work, Ok(()))).collect()
            }
            Err(_) => batch.drain(..).map(|work| self.alone(work)).collect(),
        }
    }

    fn alone(&mut self, work: Box<dyn Work>) -> Finished {
        let mut one = [work];
        let result = self.transaction(&mut one);
        let [work] = one;
        match result {
            Ok(pending) => {
                self.notify(pending);
                (work, Ok(()))
            }
            Err(error) => {
                let error = store_error(&error);
                self.notifier.writable.send_replace(false);
                tracing::error!(%error, "a request could not be stored");
                (work, Err(error))
            }
        }
    }

    fn transaction(
        &mut self,
        batch: &mut [Box<dyn Work>],
    ) -> rusqlite::Result<PendingNotifications> {
        let begun = Instant::now();
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let mut context = Context {
            db: &self.connection,
            shared: &self.shared,
            counts: HashMap::new(),
            change: delivery::progress::ProgressChange::default(),
            pending: PendingNotifications::default(),
        };
        let worked = batch
            .iter_mut()
            .try_for_each(|work| work.run(&mut context))
            .and_then(|()| context.flush_counts());
        let pending = context.pending;
        let worked_for = begun.elapsed();
        let committed = worked.and_then(|()| self.connection.execute_batch("COMMIT"));
        self.slow_disk = begun.elapsed() > worked_for * (SLOW_DISK + 1);
        if let Err(error) = committed {
            stop_on_failed_sync(&error);
            self.shared.forget();
            if !self.connection.is_autocommit() {
                self.connection.execute_batch("ROLLBACK")?;
            }
            return Err(error);
        }
        Ok(pending)
    }

    fn notify(&self, pending: PendingNotifications) {
        let tell = |channel: &watch::Sender<u64>, changed: bool| {
            if changed {
                channel.send_modify(|n| *n = n.wrapping_add(1));
            }
        };
        if pending.last_event > 0 {
            self.notifier.last_event.send_replace(pending.last_event);
        }
        tell(&self.notifier.queue, pending.queue);
        tell(&self.notifier.watches, pending.watches);
        tell(&self.notifier.closed, pending.closed);
        self.notifier.writable.send_if_modified(|writable| {
            let was = *writable;
            *writable = true;
            !was
        });
    }
}

/// After a failed fsync the kernel may drop what it could not write and report success the next
/// time: nothing this process knows can be trusted any more, so it ends.
pub(super) fn stop_on_failed_sync(error: &rusqlite::Error) {
    let extended = error.sqlite_error().map(|error| error.extended_code);
    let sync_codes = [
        rusqlite::ffi::SQLITE_IOERR_FSYNC,
        rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC,
    ];
    if extended.is_some_and(|code| sync_codes.contains(&code)) {
        tracing::error!(%error, "the disk failed to store a commit; stopping so that nothing is lost");
        std::process::exit(70);
    }
}

/// Codes of a write that the system did not take.
const CANNOT_GROW: [i32; 2] = [
    rusqlite::ffi::SQLITE_IOERR_WRITE,
    rusqlite::ffi::SQLITE_IOERR_SHMSIZE,
];

/// What an engine error means for whoever asked.
pub(super) fn store_error(error: &rusqlite::Error) -> StoreError {
    match error {
        rusqlite::Error::SqliteFailure(failure, text) => {
            let text = text.clone().unwrap_or_else(|| failure.to_string());
            match failure.code {
                ErrorCode::DiskFull => StoreError::Full,
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::Busy,
                ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
                    StoreError::ReadOnly(text)
                }
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::Corrupt(text),
                // A quota or a size limit; only a full disk has a code of its own.
                ErrorCode::SystemIoFailure if CANNOT_GROW.contains(&failure.extended_code) => {
                    StoreError::Full
                }
                _ => StoreError::Engine(text),
            }
        }
        rusqlite::Error::FromSqlConversionFailure(_, _, cause)
            if cause.is::<crate::secrets::DecryptError>() =>
        {
            StoreError::DecryptError
        }
        other => StoreError::Engine(other.to_string()),
    }
}
