//! Who carries messages to people and brings theirs: a few verbs, no SQL, no policy.

pub mod twilio;

use delivery::message::{Content, SenderName};
use delivery::outcome::{Outcome, ProviderStatus};
use delivery::sid::Sid;
use delivery::time::{ClockDifference, Timestamp};

use crate::effects::BoxFuture;

/// Carries messages to people.
pub trait Provider: Send + Sync {
    /// Asks the provider to create a message, exactly once: nothing below this call retries. When
    /// the deadline passes before the first byte, for example because connecting took long, the
    /// outcome is [`NotSentCause::DeadlinePassed`](delivery::outcome::NotSentCause).
    fn create<'a>(&'a self, request: &'a CreateRequest) -> BoxFuture<'a, Outcome>;

    /// Reads one message back.
    fn fetch(&self, sid: Sid) -> BoxFuture<'_, Result<ProviderMessage, ProviderError>>;

    /// Lists the messages to one address, newest first, back to `created_since`.
    fn list<'a>(
        &'a self,
        query: &'a ListQuery,
    ) -> BoxFuture<'a, Result<Vec<ProviderMessage>, ProviderError>>;

    /// When the youngest message of the account was created that the provider lists, whoever sent
    /// it; `None` when there is none, or when the provider cannot be asked.
    fn youngest(&self) -> BoxFuture<'_, Result<Option<Timestamp>, ProviderError>> {
        Box::pin(async { Ok(None) })
    }

    /// How far the provider's clock may be from ours, by all answers so far.
    fn clock_difference(&self) -> ClockDifference {
        ClockDifference::NONE
    }

    /// Lists what people wrote to us, one page at a time, newest first.
    fn list_inbound<'a>(
        &'a self,
        query: &'a InboundListQuery,
    ) -> BoxFuture<'a, Result<InboundPage, ProviderError>>;

    /// The media of one message, as the callback about it names them.
    fn media(&self, sid: Sid) -> BoxFuture<'_, Result<Vec<ProviderMedium>, ProviderError>>;
}

/// A create request.
#[derive(Clone)]
pub struct CreateRequest {
    /// The number (`+E164`) or user id (`CC.id`) to send to.
    pub to: String,
    /// The sender's lane: one number (`+E164`) or a Messaging Service (`MG…`).
    pub from: SenderName,
    /// A Messaging Service whose features apply although `from` names a number.
    pub messaging_service: Option<Sid>,
    /// What it says.
    pub content: Content,
    /// Nothing is sent at or after this instant, and the provider is told for how long it may keep
    /// the message in its queue: whole seconds, 1 to 36,000.
    pub expires_at: Option<Timestamp>,
    /// Our id of the attempt; the provider repeats it in its reports. Letters and digits only.
    pub correlation_id: String,
}

/// A message as the provider shows it. Every field may be missing.
#[derive(Clone)]
pub struct ProviderMessage {
    /// The provider's id.
    pub sid: Sid,
    /// Recipient: `+E164` or `CC.id`.
    pub to: Option<String>,
    /// Sender: `+E164`.
    pub from: Option<String>,
    /// The text; for templates the rendered one, when the provider shows it.
    pub body: Option<String>,
    /// How many media it carries.
    pub media: Option<u32>,
    /// Where the provider says it is.
    pub status: ProviderStatus,
    /// Whether it went from the business to the person.
    pub outbound: bool,
    /// When the provider created it, to the second.
    pub created_at: Option<Timestamp>,
    /// Twilio's error code, for failed and undelivered messages.
    pub error_code: Option<u32>,
}

/// Which messages to list.
#[derive(Clone)]
pub struct ListQuery {
    /// The recipient's address as sent: `+E164` or `CC.id`.
    pub to: String,
    /// One of our numbers (`+E164`); `None` when a Messaging Service chooses it.
    pub from: Option<String>,
    /// Paging stops at messages created before this instant.
    pub created_since: Timestamp,
}

/// Which page of the inbound messages to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundListQuery {
    /// To whom they were written.
    pub recipient: InboundRecipient,
    /// Where the page before said that the list goes on; `None` for the newest messages.
    pub page: Option<String>,
}

/// To whom inbound messages were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InboundRecipient {
    /// One of our numbers: `+E164`.
    Number(String),
    /// Any number of a Messaging Service. The provider cannot be asked for these alone, so the pages
    /// hold whatever the account sent and received, of which only these are returned.
    Service(Sid),
}

/// A page of inbound messages.
pub struct InboundPage {
    /// What people wrote, newest first.
    pub messages: Vec<InboundListed>,
    /// When each message of the page was created that has no readable id; it may have been anything.
    pub unreadable: Vec<Option<Timestamp>>,
    /// When the newest message of the page was created, those that are not returned included. Later
    /// pages are older as a whole, though not one by one. `None` for an empty page.
    pub newest: Option<Timestamp>,
    /// Where the list goes on; `None` at its end.
    pub next: Option<String>,
    /// When the provider answered, by its own clock.
    pub answered_at: Option<Timestamp>,
}

/// An inbound message as the list shows it, which is less than a callback tells. Every field may be
/// missing.
#[derive(Clone)]
pub struct InboundListed {
    /// The provider's id.
    pub sid: Sid,
    /// Who wrote: `+E164` or `CC.id`.
    pub from: Option<String>,
    /// The text.
    pub body: Option<String>,
    /// Number of media.
    pub media: u32,
    /// When the provider created it, to the second.
    pub created_at: Option<Timestamp>,
}

/// A medium that the provider stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderMedium {
    /// Where.
    pub url: String,
    /// MIME type.
    pub content_type: Option<String>,
}

/// Why a request that only reads has failed. It changed nothing, so it may be repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// No connection, no answer in time, or a 5xx.
    #[error("the provider cannot be reached or does not answer")]
    Unreachable,
    /// Too many requests.
    #[error("the provider asks us to slow down")]
    RateLimited,
    /// The provider itself refuses the credentials (401, 403).
    #[error("the provider refuses our credentials (HTTP {http_status}, code {code:?})")]
    Unauthorized {
        /// HTTP status of the answer.
        http_status: u16,
        /// Twilio's error code.
        code: Option<u32>,
    },
    /// No such message.
    #[error("the provider knows no such message")]
    NotFound,
    /// Refused for another reason.
    #[error("the provider refused the request (HTTP {http_status}, code {code:?})")]
    Refused {
        /// HTTP status of the answer.
        http_status: u16,
        /// Twilio's error code.
        code: Option<u32>,
    },
    /// The answer cannot be parsed.
    #[error("the provider's answer cannot be read")]
    Garbage,
}
