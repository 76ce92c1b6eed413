//! Messages: accepting them, giving commands about them, showing them.

use std::time::Duration;

use delivery::address::Address;
use delivery::event::{EventKind, Source};
use delivery::message::{Kind, Message, Policy, Priority};
use delivery::outcome::ProviderStatus;
use delivery::progress::LastError;
use delivery::sid::Sid;
use delivery::state::State;
use delivery::time::Timestamp;

use super::{AttemptView, StoreFuture};

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

    /// The same command for many messages, in one commit. Those that are no longer what the condition
    /// says are left alone; the answer for them is [`CommandResult::TooLate`].
    fn command_if(
        &self,
        messages: Vec<MessageId>,
        command: MessageCommand,
        condition: CommandCondition,
        now: Timestamp,
    ) -> StoreFuture<'_, Vec<CommandResult>>;

    /// One message with its whole history.
    fn message(&self, id: MessageId) -> StoreFuture<'_, Option<MessageView>>;

    /// A page of messages, newest first.
    fn messages(&self, filter: MessageFilter) -> StoreFuture<'_, MessagePage>;

    /// The same, with as much of each message as it takes to count it and to give it a command.
    fn selection(&self, filter: MessageFilter) -> StoreFuture<'_, SelectionPage>;
}

/// The public id of a message: a UUIDv7, so that ids sort by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub uuid::Uuid);

impl MessageId {
    /// Reads the hyphenated form.
    pub fn parse(text: &str) -> Option<Self> {
        uuid::Uuid::try_parse(text).ok().map(Self)
    }
}

impl std::fmt::Display for MessageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// A fresh id: the instant's milliseconds and 74 random bits (RFC 9562, version 7).
pub fn new_message_id(now: Timestamp, random: &dyn crate::effects::Random) -> MessageId {
    let mut bytes = [0u8; 10];
    random.fill(&mut bytes);
    let millis = u64::try_from(now.millis()).unwrap_or_default();
    MessageId(uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid())
}

/// A checked message on its way into the store.
pub struct NewMessage {
    /// Its public id.
    pub id: MessageId,
    /// What to store.
    pub message: Message,
    /// The caller's key for safe repetition.
    pub idempotency: Option<Idempotency>,
    /// Now.
    pub now: Timestamp,
    /// Within how long the same content to the same person is refused.
    pub dedupe_window: Duration,
}

/// A caller's `Idempotency-Key`, hashed with the API key it belongs to, and a hash of the body.
/// The store keeps neither as it is, but hashes both again under a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// Hash of the key.
    pub key: [u8; 16],
    /// Hash of the request body.
    pub body: [u8; 16],
}

/// What became of a message that a caller sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcceptResult {
    /// It is on disk.
    Accepted {
        /// Its id.
        id: MessageId,
        /// `accepted`, `scheduled`, or `suppressed` when the person has opted out.
        state: State,
    },
    /// The same key with the same body was accepted before.
    Replayed {
        /// The id of the message accepted then.
        id: MessageId,
        /// The state answered then.
        state: State,
    },
    /// It is not stored.
    Refused(AcceptRefusal),
}

impl AcceptResult {
    /// The message that is stored, by this request or an earlier one.
    pub fn id(&self) -> Option<MessageId> {
        match self {
            Self::Accepted { id, .. } | Self::Replayed { id, .. } => Some(*id),
            Self::Refused(_) => None,
        }
    }
}

/// Why a message was not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcceptRefusal {
    /// The idempotency key was used with another body.
    KeyReused,
    /// The same content went to the same person a moment ago.
    Duplicate {
        /// That message.
        first: MessageId,
    },
    /// A message with the same business key and this or a newer version exists.
    Superseded {
        /// That message.
        by: MessageId,
    },
    /// An item before it in the same request has the same business key: it would cancel that one.
    KeyRepeated {
        /// That item's message.
        first: MessageId,
    },
    /// Free-form content while the person has not written within 24 hours.
    WindowClosed,
    /// No such sender.
    UnknownSender,
}

/// What a caller or operator wants of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageCommand {
    /// Never send it.
    Cancel,
    /// Try it again.
    Retry,
}

/// What a message must still be, when a command given to many reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandCondition {
    /// In this state.
    pub state: State,
    /// With this error code.
    pub error: Option<u32>,
    /// Accepted at or after.
    pub since: Option<Timestamp>,
    /// Accepted before.
    pub until: Option<Timestamp>,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandResult {
    /// Done; the state now.
    Done(State),
    /// It was so already; the state now.
    Already(State),
    /// The state does not allow it, or the message is no longer what the condition says.
    TooLate(State),
    /// No such message.
    NotFound,
}

/// One message as it is now, with its whole history.
#[derive(Clone, Debug)]
pub struct MessageView {
    /// The message itself.
    pub summary: MessageSummary,
    /// Its attempts, first to last.
    pub attempts: Vec<AttemptView>,
    /// Everything that happened, first to last.
    pub history: Vec<HistoryView>,
}

/// One line of a list of messages.
#[derive(Clone, Debug)]
pub struct MessageSummary {
    /// Its id.
    pub id: MessageId,
    /// Where it is.
    pub state: State,
    /// The recipient's canonical address; `None` when the person was erased.
    pub to: Option<Address>,
    /// The sender's name.
    pub from: String,
    /// What it is for.
    pub kind: Kind,
    /// What may overtake what.
    pub priority: Priority,
    /// What may happen in doubt.
    pub policy: Policy,
    /// The template, when it is one.
    pub content_sid: Option<Sid>,
    /// The business key as given.
    pub business_key: Option<String>,
    /// The caller's own data.
    pub metadata: Option<String>,
    /// The SID of the latest attempt that has one.
    pub provider_sid: Option<Sid>,
    /// When it was stored.
    pub accepted_at: Timestamp,
    /// Not before.
    pub send_at: Option<Timestamp>,
    /// Never at or after.
    pub expires_at: Option<Timestamp>,
    /// When it is due next, while it waits.
    pub due_at: Option<Timestamp>,
    /// First seen at WhatsApp.
    pub sent_at: Option<Timestamp>,
    /// First seen on the device.
    pub delivered_at: Option<Timestamp>,
    /// First seen opened.
    pub read_at: Option<Timestamp>,
    /// When it failed.
    pub failed_at: Option<Timestamp>,
    /// Why.
    pub error: Option<LastError>,
    /// Whether the person may have received it twice.
    pub possible_duplicate: bool,
    /// Attempts made.
    pub attempts: u32,
}

/// One entry of a message's history.
#[derive(Clone, Debug)]
pub struct HistoryView {
    /// What happened.
    pub kind: EventKind,
    /// The state after it.
    pub state: State,
    /// Who told us.
    pub source: Source,
    /// When it was committed.
    pub at: Timestamp,
    /// The number of the attempt it is about.
    pub attempt: Option<u32>,
    /// The provider's status.
    pub status: Option<ProviderStatus>,
    /// The provider's code.
    pub code: Option<u32>,
    /// A stable word that says more.
    pub detail: Option<String>,
}

/// Which messages to list.
#[derive(Clone, Debug, Default)]
pub struct MessageFilter {
    /// Only in this state.
    pub state: Option<State>,
    /// Only to this person, in any form of the address.
    pub to: Option<Address>,
    /// Only from this sender.
    pub sender: Option<String>,
    /// Only with this error code.
    pub error: Option<u32>,
    /// Only with this template.
    pub template: Option<Sid>,
    /// Accepted at or after.
    pub since: Option<Timestamp>,
    /// Accepted before.
    pub until: Option<Timestamp>,
    /// Only messages with a smaller key: where the page before ended.
    pub before: Option<i64>,
    /// At most this many.
    pub limit: usize,
}

/// A page of messages, newest first.
#[derive(Clone, Debug)]
pub struct MessagePage {
    /// The messages.
    pub messages: Vec<MessageSummary>,
    /// Where the next page starts, if there is one.
    pub next: Option<i64>,
}

/// A message that a filter finds.
#[derive(Clone, Debug)]
pub struct SelectedMessage {
    /// Its id.
    pub id: MessageId,
    /// Its state.
    pub state: State,
    /// The sender's name.
    pub from: String,
    /// Its error code.
    pub code: Option<u32>,
}

/// A page of messages that a filter finds, newest first.
#[derive(Clone, Debug)]
pub struct SelectionPage {
    /// The messages.
    pub messages: Vec<SelectedMessage>,
    /// Where the next page starts, if there is one.
    pub next: Option<i64>,
}
