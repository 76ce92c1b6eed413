//! What people said about receiving messages.

use delivery::address::Address;
use delivery::consent::Consent;
use delivery::event::Source;
use delivery::row::PersonRow;
use delivery::time::Timestamp;

use super::StoreFuture;

/// What people said about receiving messages.
pub trait Consents: Send + Sync {
    /// What a person said about receiving messages; `None` for somebody we never met.
    fn consent(&self, address: delivery::address::Address) -> StoreFuture<'_, Option<ConsentView>>;

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
