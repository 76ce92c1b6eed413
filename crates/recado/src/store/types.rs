//! What goes into the store and what its verbs answer.

use std::time::Duration;

use delivery::address::Address;
use delivery::consent::ConsentChange;
use delivery::event::Source;
use delivery::message::{Content, Message, SenderName};
use delivery::outcome::{Outcome, ProviderStatus};
use delivery::sid::Sid;
use delivery::state::State;
use delivery::time::Timestamp;

/// The public id of a message: a UUIDv7, so that ids sort by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub uuid::Uuid);

impl MessageId {
    /// Reads the hyphenated form.
    pub fn parse(text: &str) -> Option<Self> {
        uuid::Uuid::try_parse(text).ok().map(Self)
    }
}

/// A fresh id: the instant's milliseconds and 74 random bits (RFC 9562, version 7).
pub fn new_message_id(now: Timestamp, random: &dyn crate::effects::Random) -> MessageId {
    let mut bytes = [0u8; 10];
    random.fill(&mut bytes);
    let millis = u64::try_from(now.millis()).unwrap_or_default();
    MessageId(uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid())
}

impl std::fmt::Display for MessageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.hyphenated().fmt(f)
    }
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

/// What became of a message at the door.
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

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandResult {
    /// Done; the state now.
    Done(State),
    /// It was so already; the state now.
    Already(State),
    /// The state does not allow it.
    TooLate(State),
    /// No such message.
    NotFound,
}

/// Which due messages to read.
pub struct DueQuery {
    /// The sender's key.
    pub sender: i64,
    /// Now.
    pub now: Timestamp,
    /// At most this many.
    pub limit: usize,
    /// Messages in somebody's hands already.
    pub except: Vec<i64>,
}

/// Due messages, and when the next one will be.
#[derive(Debug, Default)]
pub struct DuePage {
    /// Due now, in the order in which they shall leave.
    pub due: Vec<DueMessage>,
    /// The earliest due time of any other message of the sender.
    pub next_due_at: Option<Timestamp>,
    /// Whether the sender is paused: nothing may leave.
    pub paused: bool,
}

/// A message whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueMessage {
    /// Its key.
    pub message: i64,
    /// The person.
    pub person: i64,
    /// What may overtake what.
    pub priority: delivery::message::Priority,
    /// Since when it is due.
    pub due_at: Timestamp,
}

/// A message to open an attempt for.
#[derive(Clone, Copy, Debug)]
pub struct OpenRequest {
    /// The message.
    pub message: i64,
    /// 64 random bits of the correlation id.
    pub nonce: u64,
    /// Now.
    pub now: Timestamp,
}

/// Whether an attempt was opened.
pub enum OpenResult {
    /// It is on disk; send it now.
    Open(Box<OpenAttempt>),
    /// The person has another open attempt of this sender; come again.
    Busy,
    /// It is no longer due: cancelled, expired, suppressed, held, or refused by a rule.
    Gone,
}

/// An open attempt: everything that the request needs.
pub struct OpenAttempt {
    /// The attempt.
    pub attempt: AttemptId,
    /// Key of the message.
    pub message: i64,
    /// Public id of the message.
    pub id: MessageId,
    /// The address to use: `whatsapp:+E164` or `whatsapp:CC.id`.
    pub to: String,
    /// What it says.
    pub content: Content,
    /// The message's deadline.
    pub expires_at: Option<Timestamp>,
}

/// The correlation id of an attempt: its time-ordered key and 64 random bits, written as 32
/// hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttemptId {
    /// The store's key.
    pub key: i64,
    /// The random bits.
    pub nonce: u64,
}

impl AttemptId {
    /// Reads the 16 bytes that the digits stand for.
    pub fn from_bytes(raw: [u8; 16]) -> Option<Self> {
        let both = u128::from_be_bytes(raw);
        let key = u64::try_from(both >> 64)
            .ok()
            .and_then(|key| i64::try_from(key).ok())?;
        let nonce = u64::try_from(both & u128::from(u64::MAX)).ok()?;
        Some(Self { key, nonce })
    }

    /// Reads 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let (key, nonce) = text.split_at_checked(16)?;
        let key = i64::try_from(u64::from_str_radix(key, 16).ok()?).ok()?;
        Some(Self {
            key,
            nonce: u64::from_str_radix(nonce, 16).ok()?,
        })
    }
}

impl std::fmt::Display for AttemptId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}{:016x}", self.key, self.nonce)
    }
}

/// What an attempt told us.
pub struct CloseRequest {
    /// The attempt.
    pub attempt: i64,
    /// What it told us.
    pub outcome: Outcome,
    /// Now.
    pub now: Timestamp,
    /// 64 random bits, for jitter.
    pub random: u64,
}

/// What closing an attempt led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloseResult {
    /// The sender or the account is paused now.
    pub paused: bool,
    /// When the message will be tried again.
    pub retry_at: Option<Timestamp>,
}

/// A status report of the provider.
#[derive(Clone, Debug)]
pub struct Report {
    /// The correlation id from the callback's URL.
    pub attempt: Option<AttemptId>,
    /// The provider's id.
    pub sid: Option<Sid>,
    /// Its status.
    pub status: ProviderStatus,
    /// Its word, when we do not know it: at most 32 letters, digits and underscores.
    pub word: Option<String>,
    /// Its error code.
    pub code: Option<u32>,
    /// Callback or poll.
    pub source: Source,
    /// Now.
    pub now: Timestamp,
    /// 64 random bits, for jitter.
    pub random: u64,
}

/// What a report did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportResult {
    /// It moved or completed the record.
    Recorded,
    /// It was known.
    Duplicate,
    /// Nobody knows the message yet: kept for 24 hours.
    Parked,
}

/// An inbound message on its way into the store.
pub struct NewInbound {
    /// The provider's id; the key of deduplication.
    pub sid: Sid,
    /// Who wrote.
    pub from: Address,
    /// The exact E.164 form they wrote from, when it differs from the canonical one.
    pub sent_form: Option<String>,
    /// The sender (ours) they wrote to, as `+E164` or the Messaging Service.
    pub to: Option<SenderName>,
    /// Its type in Twilio's words, or what its fields show: text, image, location, button …
    pub message_type: String,
    /// Everything readable, as JSON; sealed.
    pub payload: String,
    /// Number of media.
    pub media: u32,
    /// The message they replied to.
    pub reply_to: Option<Sid>,
    /// What it says about consent is read inside the transaction from these.
    pub body: String,
    /// The payload of a pressed button.
    pub button_payload: Option<String>,
    /// Twilio's `OptOutType`.
    pub opt_out_type: Option<String>,
    /// A fresh id for the question that an ambiguous word leads to.
    pub question_id: MessageId,
    /// Now.
    pub now: Timestamp,
}

/// What an inbound message did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboundResult {
    /// It was known already; nothing changed.
    pub duplicate: bool,
    /// The person's key.
    pub person: i64,
    /// What it changed about consent.
    pub change: ConsentChange,
}

/// What the chores did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaintenanceResult {
    /// Messages whose deadline passed.
    pub expired: u64,
    /// Unanswered questions that became opt-outs.
    pub opted_out: u64,
    /// Old rows removed.
    pub pruned: u64,
    /// Whether there is more to do at once.
    pub more: bool,
}

/// A new API key.
#[derive(Clone)]
pub struct NewApiKey {
    /// Its public id, part of the key's text.
    pub id: String,
    /// What the operator calls it.
    pub name: String,
    /// What it may do.
    pub scope: KeyScope,
    /// SHA-256 of its secret part.
    pub hash: [u8; 32],
    /// Now.
    pub now: Timestamp,
}

delivery::stored! {
    /// What a key may do; each scope includes the ones before it.
    KeyScope {
        /// Read messages, events and numbers.
        Read = 0 "read",
        /// Also send, cancel and retry messages.
        Send = 1 "send",
        /// Also change consent, senders and everything else.
        Admin = 2 "admin",
    }
}

impl KeyScope {
    /// Whether a key of this scope may do what `needed` says.
    pub const fn includes(self, needed: Self) -> bool {
        self.number() >= needed.number()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlation_ids_read_back_and_nothing_else_does() {
        let id = AttemptId {
            key: 42,
            nonce: u64::MAX - 1,
        };
        let text = id.to_string();
        assert_eq!(text.len(), 32);
        assert_eq!(AttemptId::parse(&text), Some(id));
        for bad in [
            "",
            "zz",
            &text[1..],
            &format!("{text}0"),
            &text.replace('0', "+"),
            &"f".repeat(32),
        ] {
            assert_eq!(AttemptId::parse(bad), None, "{bad}");
        }
    }
}
