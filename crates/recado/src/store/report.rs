//! Status reports of the provider.

use delivery::address::Address;
use delivery::event::Source;
use delivery::outcome::ProviderStatus;
use delivery::sid::Sid;

use super::{AttemptId, Stamp, StoreFuture};

/// Status reports.
pub trait Reports: Send + Sync {
    /// Records status reports: deduplicated, joined into the state, logged and counted.
    fn report(&self, batch: Vec<Report>) -> StoreFuture<'_, Vec<ReportResult>>;
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
    /// The names of the person that it carries, when there is more than the address that it was sent
    /// to: they are tied together.
    pub names: Vec<Address>,
    /// Callback or poll.
    pub source: Source,
    /// Now, and chance for the wait until a retry.
    pub stamp: Stamp,
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
