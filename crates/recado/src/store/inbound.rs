//! Inbound messages.

use delivery::address::Address;
use delivery::consent::{ConsentChange, ProviderKeyword};
use delivery::message::SenderName;
use delivery::row::{PersonRow, SenderRow};
use delivery::sid::Sid;
use delivery::time::Timestamp;

use super::{MessageId, StoreFuture};

/// Inbound messages.
pub trait Inbounds: Send + Sync {
    /// Records inbound messages: deduplicated by SID, sealed, with what they change.
    fn inbound(&self, batch: Vec<NewInbound>) -> StoreFuture<'_, Vec<InboundResult>>;

    /// Inbound messages, newest first.
    fn inbound_messages(&self, query: InboundQuery) -> StoreFuture<'_, Vec<InboundView>>;

    /// Which of these SIDs an inbound message has.
    fn known_inbound(&self, sids: Vec<Sid>) -> StoreFuture<'_, Vec<Sid>>;

    /// How far the provider's list was read for a sender's number; `None` when it never was.
    fn inbound_cursor(
        &self,
        sender: SenderRow,
        recipient: String,
    ) -> StoreFuture<'_, Option<InboundCursor>>;

    /// Writes how far the list was read.
    fn set_inbound_cursor(&self, cursor: InboundCursor) -> StoreFuture<'_, ()>;

    /// People whose words wait to be put into order.
    fn consent_checks(&self, query: ConsentCheckQuery) -> StoreFuture<'_, ConsentChecks>;

    /// Writes when words were written, and lets the last one of each person stand when that is
    /// known by now.
    fn settle_consent_checks(&self, batch: Vec<ConsentCheckResult>) -> StoreFuture<'_, ()>;
}

/// An inbound message on its way into the store.
#[derive(Clone)]
pub struct NewInbound {
    /// The provider's id; the key of deduplication.
    pub sid: Sid,
    /// Who wrote.
    pub from: Address,
    /// Other names of the same person that it carries: they are tied together.
    pub also: Vec<Address>,
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
    /// What the provider has understood and answered itself.
    pub provider_keyword: Option<ProviderKeyword>,
    /// A fresh id for the question that an ambiguous word leads to.
    pub question_id: MessageId,
    /// When it was written, by the provider's clock; a callback does not say it.
    pub written_at: Option<Timestamp>,
    /// Found in the provider's list, which shows less than a callback tells.
    pub listed: bool,
    /// Now.
    pub now: Timestamp,
}

/// What an inbound message did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboundResult {
    /// It was known already; nothing changed.
    pub duplicate: bool,
    /// The row of the person.
    pub person: PersonRow,
    /// What it changed about consent.
    pub change: ConsentChange,
}

/// An inbound message.
#[derive(Clone, Debug)]
pub struct InboundView {
    /// Its key, for paging.
    pub key: i64,
    /// The provider's id.
    pub sid: Sid,
    /// Who wrote; `None` when the person was erased.
    pub from: Option<Address>,
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
    /// When it was written, by the provider's clock, when that is known.
    pub written_at: Option<Timestamp>,
    /// Found in the provider's list; no callback has told of it.
    pub listed: bool,
}

/// Which inbound messages to list.
#[derive(Clone, Debug, Default)]
pub struct InboundQuery {
    /// Only from this person.
    pub from: Option<Address>,
    /// Only smaller keys.
    pub before: Option<i64>,
    /// At most this many.
    pub limit: usize,
}

/// How far the provider's list of inbound messages was read. Times are the provider's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundCursor {
    /// The sender that they were written to.
    pub sender: SenderRow,
    /// Its number in one form (`+E164`), or the Messaging Service.
    pub recipient: String,
    /// Whatever was written before is stored.
    pub listed_until: Option<Timestamp>,
    /// A reading that is not at its end.
    pub reading: Option<InboundReading>,
}

/// A reading of the provider's list, newest first, that is not at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundReading {
    /// What `listed_until` becomes at its end.
    pub until: Timestamp,
    /// How far back it goes.
    pub since: Timestamp,
    /// Where it goes on, in the provider's words.
    pub next_page: String,
}

/// Which waiting words to read.
#[derive(Clone, Copy, Debug)]
pub struct ConsentCheckQuery {
    /// Now.
    pub now: Timestamp,
    /// At most this many people.
    pub limit: usize,
}

/// People whose words wait to be put into order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsentChecks {
    /// Those whose time has come.
    pub due: Vec<ConsentCheck>,
    /// When the next one comes, unless some are due.
    pub next_at: Option<Timestamp>,
}

/// A person whose words wait to be put into order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsentCheck {
    /// Who.
    pub person: PersonRow,
    /// The message about which the provider must be asked; `None` when enough is known.
    pub ask: Option<AskedInbound>,
}

/// An inbound message about which the provider is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskedInbound {
    /// Its key.
    pub key: i64,
    /// The provider's id.
    pub sid: Sid,
    /// When we stored it.
    pub received_at: Timestamp,
}

/// What asking brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsentCheckResult {
    /// Whose words.
    pub person: PersonRow,
    /// The key of the message, and when it was written; `None` when the provider did not answer.
    pub learned: Option<(i64, Timestamp)>,
    /// When to look again, if more must be known; `None` when nobody asks any more, and what stands
    /// goes on to stand.
    pub again_at: Option<Timestamp>,
    /// Now.
    pub now: Timestamp,
}
