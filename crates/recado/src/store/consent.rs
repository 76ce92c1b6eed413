//! What people said about receiving messages.

use delivery::address::Address;
use delivery::consent::{Consent, ConsentKind};
use delivery::event::Source;
use delivery::identity::IdentityKind;
use delivery::row::PersonRow;
use delivery::sid::Sid;
use delivery::time::Timestamp;

use super::{MessageId, StoreFuture};

/// What people said about receiving messages.
pub trait Consents: Send + Sync {
    /// What a person said about receiving messages; `None` for somebody we never met.
    fn consent(&self, address: delivery::address::Address) -> StoreFuture<'_, Option<ConsentView>>;

    /// By which names a person is known, and everything that changed their consent, oldest first;
    /// `None` for somebody we never met.
    fn consent_history(&self, address: Address) -> StoreFuture<'_, Option<ConsentHistory>>;

    /// Opts a person out or in on the operator's word.
    fn set_consent(
        &self,
        address: Address,
        opted_out: bool,
        now: Timestamp,
    ) -> StoreFuture<'_, ConsentView>;
}

/// What a person said about receiving messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsentView {
    /// The row of the person.
    pub person: PersonRow,
    /// What they said.
    pub consent: Consent,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Who told us: the person, a refusal by the provider, or the operator.
    pub source: Option<Source>,
    /// Pending messages that the last change stopped or freed.
    pub affected: u64,
}

/// By which names a person is known, and what changed their consent.
#[derive(Clone, Debug, Default)]
pub struct ConsentHistory {
    /// Their identities, in the order in which we met them.
    pub identities: Vec<IdentityView>,
    /// What happened, oldest first.
    pub entries: Vec<ConsentEntry>,
}

/// One of a person's identities.
#[derive(Clone, Debug)]
pub struct IdentityView {
    /// What it is.
    pub kind: IdentityKind,
    /// The address; `None` when the person was erased.
    pub address: Option<Address>,
}

/// Something that changed a person's consent, or who they are.
#[derive(Clone, Debug)]
pub struct ConsentEntry {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: ConsentEntryKind,
    /// Who told us.
    pub source: Source,
    /// The provider's id of the message that said it, or whose callback showed it.
    pub sid: Option<Sid>,
    /// Our message whose refusal or report showed it.
    pub message: Option<MessageId>,
    /// The code of that refusal.
    pub code: Option<u32>,
}

/// What an entry of a person's history is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsentEntryKind {
    /// The consent became this.
    Consent(ConsentKind),
    /// An identity that nobody had was tied to them.
    IdentityTied(IdentityKind),
    /// Somebody else, whose identity this was, turned out to be them.
    PersonMerged(IdentityKind),
}
