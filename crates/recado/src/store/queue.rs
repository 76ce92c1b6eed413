//! The queue and the attempts: what is due, and what became of it.

use delivery::address::{Address, AddressVariant};
use delivery::message::{Content, Priority};
use delivery::outcome::Outcome;
use delivery::row::{AttemptRow, MessageRow, PersonRow, SenderRow};
use delivery::time::Timestamp;

use super::{AttemptId, MessageId, Stamp, StoreFuture};

/// The queue and the attempts.
pub trait Queue: Send + Sync {
    /// The due messages of one sender: urgent first, then normal, then bulk, each by due time.
    fn due(&self, query: DueQuery) -> StoreFuture<'_, DuePage>;

    /// Opens attempts, or says why not. Opt-out, window, expiry and holds are checked inside the
    /// transaction; when this returns, the attempt is on disk and nothing has left yet.
    fn open_attempts(&self, batch: Vec<OpenRequest>) -> StoreFuture<'_, Vec<OpenResult>>;

    /// Records what attempts told us.
    fn close_attempts(&self, batch: Vec<CloseRequest>) -> StoreFuture<'_, Vec<CloseResult>>;

    /// Moves due times, for messages whose turn has not come.
    fn defer(&self, batch: Vec<(MessageRow, Timestamp)>) -> StoreFuture<'_, ()>;

    /// Puts off those due messages whose person or template is held, until that ends. Returns which,
    /// in the order of the batch.
    fn put_off_held(
        &self,
        batch: Vec<MessageRow>,
        now: Timestamp,
    ) -> StoreFuture<'_, Vec<MessageRow>>;

    /// How many attempts of this person are open now.
    fn open_attempts_of(&self, person: PersonRow) -> StoreFuture<'_, u64>;
}

/// Which due messages to read.
pub struct DueQuery {
    /// The sender's key.
    pub sender: SenderRow,
    /// Now.
    pub now: Timestamp,
    /// At most this many.
    pub limit: usize,
    /// Only urgent ones.
    pub urgent_only: bool,
}

/// Due messages, and when the next one will be.
#[derive(Debug, Default)]
pub struct DuePage {
    /// Due now, in the order in which they are to leave.
    pub due: Vec<DueMessage>,
    /// The earliest due time of any other message of the sender.
    pub next_due_at: Option<Timestamp>,
    /// Whether the sender is paused or held, or the account: nothing may leave.
    pub paused: bool,
    /// When the last pause or hold of the sender or the account ended: from then on messages leave
    /// slowly at first, because what is wrong may still be, and reports of it come late.
    pub ramp_since: Option<Timestamp>,
}

/// A message whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueMessage {
    /// Its key.
    pub message: MessageRow,
    /// The person.
    pub person: PersonRow,
    /// What may overtake what.
    pub priority: Priority,
    /// Since when it is due.
    pub due_at: Timestamp,
}

/// A message to open an attempt for.
#[derive(Clone, Copy, Debug)]
pub struct OpenRequest {
    /// The message.
    pub message: MessageRow,
    /// Now; the random bits become those of the correlation id.
    pub stamp: Stamp,
}

/// Whether an attempt was opened.
pub enum OpenResult {
    /// It is on disk; send it now.
    Open(Box<OpenAttempt>),
    /// The person has another open attempt of this sender; come again.
    Busy,
    /// Its person or its template is held; it is due again when that ends.
    Held,
    /// It is no longer due: canceled, expired, suppressed, held for an answer, or refused by a rule.
    Gone,
}

/// An open attempt: everything that the request needs.
pub struct OpenAttempt {
    /// The attempt.
    pub attempt: AttemptId,
    /// The row of the message.
    pub message: MessageRow,
    /// Public id of the message.
    pub id: MessageId,
    /// To whom.
    pub to: Address,
    /// Under which variant of the address.
    pub variant: AddressVariant,
    /// What it says.
    pub content: Content,
    /// The message's deadline.
    pub expires_at: Option<Timestamp>,
}

/// What an attempt told us.
pub struct CloseRequest {
    /// The attempt.
    pub attempt: AttemptRow,
    /// What it told us.
    pub outcome: Outcome,
    /// Now, and chance for the wait until a retry.
    pub stamp: Stamp,
}

/// What closing an attempt led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloseResult {
    /// The sender or the account is paused now.
    pub paused: bool,
    /// When the message will be tried again.
    pub retry_at: Option<Timestamp>,
}
