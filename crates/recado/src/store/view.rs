//! What the store shows: messages with their history, counters, senders, keys.

use delivery::address::AddressVariant;
use delivery::consent::Consent;
use delivery::event::{EventKind, Source};
use delivery::message::{Kind, Policy, Priority};
use delivery::outcome::{OutcomeKind, ProviderStatus};
use delivery::sid::Sid;
use delivery::state::State;
use delivery::time::Timestamp;

use super::{KeyScope, MessageId};
use delivery::counter::Metric;
use delivery::progress::LastError;

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
    pub to: Option<delivery::address::Address>,
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

/// One attempt.
#[derive(Clone, Debug)]
pub struct AttemptView {
    /// Its number, from 1.
    pub n: u32,
    /// The class of its outcome; `None` while it is open.
    pub outcome: Option<OutcomeKind>,
    /// The provider's id.
    pub sid: Option<Sid>,
    /// Under which variant of the address it was sent.
    pub variant: AddressVariant,
    /// When it was opened.
    pub started_at: Timestamp,
    /// When its outcome was recorded.
    pub finished_at: Option<Timestamp>,
    /// The provider's code, from its answer or reported later.
    pub code: Option<u32>,
    /// The cause of an outcome that is not `sent`.
    pub cause: Option<String>,
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
    pub to: Option<delivery::address::Address>,
    /// Only from this sender.
    pub sender: Option<String>,
    /// Only with this error code.
    pub error: Option<u32>,
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

/// What a person said about receiving messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsentView {
    /// The store's key of the person; 0 for nobody.
    pub person: i64,
    /// What they said.
    pub consent: Consent,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Who told us: the person, a refusal by the provider, or the operator.
    pub source: Option<Source>,
    /// Pending messages that the last change stopped or freed.
    pub affected: u64,
}

/// One of our senders.
#[derive(Clone, Debug)]
pub struct SenderView {
    /// Its key.
    pub key: i64,
    /// `+E164` or `MG…`.
    pub name: String,
    /// Whether the configuration still names it.
    pub configured: bool,
    /// Since when it is paused.
    pub paused_at: Option<Timestamp>,
    /// `operator`, or the provider's code that paused it.
    pub pause_reason: Option<String>,
    /// Messages waiting.
    pub queued: u64,
    /// Attempts open.
    pub open: u64,
}

/// An inbound message.
#[derive(Clone, Debug)]
pub struct InboundView {
    /// Its key, for paging.
    pub key: i64,
    /// The provider's id.
    pub sid: Sid,
    /// Who wrote; `None` when the person was erased.
    pub from: Option<delivery::address::Address>,
    /// The sender they wrote to.
    pub to: Option<String>,
    /// Its type.
    pub message_type: String,
    /// Everything readable, as JSON.
    pub payload: Option<String>,
    /// Our message that it replies to.
    pub reply_to: Option<MessageId>,
    /// When we stored it.
    pub received_at: Timestamp,
}

/// Which inbound messages to list.
#[derive(Clone, Debug, Default)]
pub struct InboundQuery {
    /// Only from this person.
    pub from: Option<delivery::address::Address>,
    /// Only smaller keys.
    pub before: Option<i64>,
    /// At most this many.
    pub limit: usize,
}

/// A key of the API.
#[derive(Clone, Debug)]
pub struct ApiKeyView {
    /// Its public id.
    pub id: String,
    /// What the operator calls it.
    pub name: String,
    /// What it may do.
    pub scope: KeyScope,
    /// SHA-256 of its secret part.
    pub hash: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// One event of the live stream. It names no person.
#[derive(Clone, Debug)]
pub struct EventView {
    /// Its key: the `Last-Event-ID`.
    pub key: i64,
    /// The message.
    pub message: MessageId,
    /// What happened.
    pub entry: HistoryView,
}

/// Which counters to sum.
#[derive(Clone, Copy, Debug)]
pub struct CounterQuery {
    /// First hour, in hours since the Unix epoch.
    pub from_hour: i64,
    /// The hour after the last.
    pub to_hour: i64,
    /// By what to group.
    pub group: CounterGroup,
}

/// By what counters are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterGroup {
    /// Everything in one row.
    None,
    /// By hour of acceptance.
    Hour,
    /// By UTC day of acceptance.
    Day,
    /// By sender.
    Sender,
    /// By kind.
    Kind,
    /// By template.
    Template,
    /// By Brazilian area code.
    Area,
}

/// One counter of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterRow {
    /// The group's value as text.
    pub group: String,
    /// What is counted.
    pub metric: Metric,
    /// State number, error code, outcome number or bucket.
    pub code: i64,
    /// How many.
    pub n: i64,
}

/// What a recount found.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    /// Messages looked at.
    pub messages: u64,
    /// Events looked at.
    pub events: u64,
    /// Counters compared.
    pub counters: u64,
    /// Everything that differs, in words.
    pub differences: Vec<String>,
}

/// Sizes and depths.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    /// Messages by state.
    pub states: Vec<(State, u64)>,
    /// Messages waiting in the queue.
    pub queued: u64,
    /// Due time of the oldest due message.
    pub oldest_due_at: Option<Timestamp>,
    /// Attempts open.
    pub open_attempts: u64,
    /// Attempts whose outcome is unknown and still looked for.
    pub unknown_watched: u64,
    /// Reports of messages that nobody knows.
    pub parked: u64,
    /// Bytes of the database file.
    pub database_bytes: u64,
    /// Errors by code since the beginning.
    pub errors: Vec<(i64, u64)>,
    /// Anomalies since the beginning.
    pub anomalies: u64,
}
