//! Inbound messages.

use delivery::address::Address;
use delivery::consent::{ConsentChange, ProviderKeyword};
use delivery::message::SenderName;
use delivery::row::PersonRow;
use delivery::sid::Sid;
use delivery::time::Timestamp;

use super::{MessageId, StoreFuture};

/// Inbound messages.
pub trait Inbounds: Send + Sync {
    /// Records inbound messages: deduplicated by SID, sealed, with what they change.
    fn inbound(&self, batch: Vec<NewInbound>) -> StoreFuture<'_, Vec<InboundResult>>;

    /// Inbound messages, newest first.
    fn inbound_messages(&self, query: InboundQuery) -> StoreFuture<'_, Vec<InboundView>>;
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
    /// What the provider has understood and answered itself.
    pub provider_keyword: Option<ProviderKeyword>,
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
