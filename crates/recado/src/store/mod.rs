//! The memory: everything that is kept, behind traits of a few verbs each. Every verb takes a
//! batch and is one commit; when it comes back, the commit is on disk.
//!
//! Engines contain SQL and nothing else: what a fact does is decided in [`delivery::progress`], who a person is
//! in [`delivery::address`], and both are shared.

mod idle;
mod sealed;
pub mod sqlite;
mod types;
mod view;
mod watches;

pub use idle::wait_until_idle;
pub use types::*;
pub use view::*;
pub use watches::*;

use delivery::time::Timestamp;

use crate::effects::BoxFuture;

/// What every verb gives back.
pub type StoreFuture<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Why a verb could not be done. Nothing of it was done then.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full, or the database may not grow any more. Try again later.
    #[error("the database cannot grow: the disk is full")]
    Full,
    /// The database is busy or its queue of writers is full. Try again soon.
    #[error("the database is busy")]
    Busy,
    /// The folder or the file cannot be written.
    #[error("the database cannot be written: {0}")]
    ReadOnly(String),
    /// The file is damaged. Restore a backup.
    #[error("the database file is damaged: {0}")]
    Corrupt(String),
    /// A sealed value cannot be opened.
    #[error("a sealed value cannot be opened: wrong master key, or damaged data")]
    DecryptError,
    /// Another server uses the database.
    #[error("another server is using this database ({0}); stop it first")]
    Locked(String),
    /// The store has stopped.
    #[error("the database has been closed")]
    Closed,
    /// Anything else, with the engine's own words for the operator.
    #[error("the database failed: {0}")]
    Engine(String),
}

/// Accepting messages and deciding about them.
pub trait Messages: Send + Sync {
    /// Stores messages: message, event, queue row, counters and idempotency key together. The
    /// whole batch is one commit; each item has a result of its own.
    fn accept(&self, batch: Vec<NewMessage>) -> StoreFuture<'_, Vec<AcceptResult>>;

    /// What an earlier request with the same key and body was answered; `None` when there was
    /// none.
    fn replay(&self, idempotency: Idempotency) -> StoreFuture<'_, Option<AcceptResult>>;

    /// Cancels, retries or releases messages.
    fn command(
        &self,
        batch: Vec<(MessageId, MessageCommand)>,
        now: Timestamp,
    ) -> StoreFuture<'_, Vec<CommandResult>>;

    /// One message with its whole history.
    fn message(&self, id: MessageId) -> StoreFuture<'_, Option<MessageView>>;

    /// A page of messages, newest first.
    fn messages(&self, filter: MessageFilter) -> StoreFuture<'_, MessagePage>;
}

/// The queue and the attempts.
pub trait Queue: Send + Sync {
    /// The due messages of one sender: urgent first, then normal, then bulk, each by due time.
    /// Messages in `except` (already in somebody's hands) are left out.
    fn due(&self, query: DueQuery) -> StoreFuture<'_, DuePage>;

    /// Opens attempts, or says why not. Opt-out, window, expiry and holds are checked inside the
    /// transaction; when this comes back, the attempt is on disk and nothing has left yet.
    fn open_attempts(&self, batch: Vec<OpenRequest>) -> StoreFuture<'_, Vec<OpenResult>>;

    /// Records what attempts told us.
    fn close_attempts(&self, batch: Vec<CloseRequest>) -> StoreFuture<'_, Vec<CloseResult>>;

    /// Moves due times, for messages whose turn has not come.
    fn defer(&self, batch: Vec<(i64, Timestamp)>) -> StoreFuture<'_, ()>;

    /// How many attempts of this person are open now.
    fn open_attempts_of(&self, person: i64) -> StoreFuture<'_, u64>;
}

/// What the provider reports.
pub trait Reports: Send + Sync {
    /// Records status reports: deduplicated, joined into the state, logged and counted.
    fn report(&self, batch: Vec<Report>) -> StoreFuture<'_, Vec<ReportResult>>;

    /// Records inbound messages: deduplicated by SID, sealed, with what they change.
    fn inbound(&self, batch: Vec<NewInbound>) -> StoreFuture<'_, Vec<InboundResult>>;

    /// Inbound messages, newest first.
    fn inbound_messages(&self, query: InboundQuery) -> StoreFuture<'_, Vec<InboundView>>;
}

/// What must be looked after.
pub trait Watches: Send + Sync {
    /// The watches whose time has come.
    fn due_watches(&self, query: WatchQuery) -> StoreFuture<'_, Vec<DueWatch>>;

    /// Records what looking brought.
    fn settle(&self, batch: Vec<Settlement>) -> StoreFuture<'_, ()>;

    /// Which of these SIDs an attempt has.
    fn known_sids(&self, sids: Vec<delivery::sid::Sid>)
    -> StoreFuture<'_, Vec<delivery::sid::Sid>>;

    /// The earliest time at which anything is due: a watch or an unanswered question.
    fn next_watch(&self) -> StoreFuture<'_, Option<Timestamp>>;
}

/// What is done by time alone.
pub trait Maintenance: Send + Sync {
    /// Expired messages, unanswered questions, old parked reports and keys.
    fn maintain(&self, now: Timestamp) -> StoreFuture<'_, MaintenanceResult>;
}

/// What people said about receiving messages.
pub trait Consents: Send + Sync {
    /// What a person said about receiving messages; `None` for somebody we never met.
    fn consent(&self, address: delivery::address::Address) -> StoreFuture<'_, Option<ConsentView>>;

    /// Opts a person out or in on the operator's word.
    fn set_consent(
        &self,
        address: delivery::address::Address,
        opted_out: bool,
        now: Timestamp,
    ) -> StoreFuture<'_, ConsentView>;
}

/// Our senders.
pub trait Senders: Send + Sync {
    /// Every sender with its queue and pause.
    fn senders(&self) -> StoreFuture<'_, Vec<SenderView>>;

    /// Pauses or resumes a sender. `false` when there is none of that name.
    fn pause_sender(&self, name: String, paused: bool, now: Timestamp) -> StoreFuture<'_, bool>;
}

/// Keys of the API.
pub trait ApiKeys: Send + Sync {
    /// Stores a new key.
    fn create_key(&self, key: NewApiKey) -> StoreFuture<'_, ()>;

    /// Finds a key by its public id, revoked or not.
    fn key(&self, id: String) -> StoreFuture<'_, Option<ApiKeyView>>;

    /// Every key.
    fn keys(&self) -> StoreFuture<'_, Vec<ApiKeyView>>;

    /// Revokes a key. `false` when there is none of that id.
    fn revoke_key(&self, id: String, now: Timestamp) -> StoreFuture<'_, bool>;
}

/// The log, the numbers and the health.
pub trait Log: Send + Sync {
    /// Events after `after`, oldest first, at most `limit`.
    fn events(&self, after: i64, limit: usize) -> StoreFuture<'_, Vec<EventView>>;

    /// The key of the last event.
    fn last_event(&self) -> StoreFuture<'_, i64>;

    /// Counters summed over a range of hours.
    fn counters(&self, query: CounterQuery) -> StoreFuture<'_, Vec<CounterRow>>;

    /// Recounts everything from the log and compares.
    fn verify(&self) -> StoreFuture<'_, VerifyReport>;

    /// Sizes and depths for the metrics page.
    fn gauges(&self) -> StoreFuture<'_, Gauges>;

    /// Whether a commit goes through now.
    fn probe(&self) -> StoreFuture<'_, ()>;
}

/// Everything that is remembered.
pub trait Store:
    Messages + Queue + Reports + Watches + Maintenance + Consents + Senders + ApiKeys + Log
{
}
impl<T> Store for T where
    T: Messages + Queue + Reports + Watches + Maintenance + Consents + Senders + ApiKeys + Log
{
}
