//! Watches: unknown attempts and silent messages, and what asking about them brought.

use delivery::outcome::ProviderStatus;
use delivery::progress::WatchKind;
use delivery::row::{AttemptRow, PersonRow};
use delivery::settle::TextEvidence;
use delivery::sid::Sid;
use delivery::state::State;
use delivery::time::Timestamp;

use super::{Stamp, StoreFuture};

/// What must be asked about.
pub trait Watches: Send + Sync {
    /// The watches whose time has come.
    fn due_watches(&self, query: WatchQuery) -> StoreFuture<'_, Vec<DueWatch>>;

    /// Records what looking brought.
    fn settle(&self, batch: Vec<Settlement>) -> StoreFuture<'_, ()>;

    /// Which of these SIDs an attempt has.
    fn known_sids(&self, sids: Vec<Sid>) -> StoreFuture<'_, Vec<Sid>>;

    /// The earliest time at which anything is due: a watch or an unanswered question.
    fn next_watch(&self) -> StoreFuture<'_, Option<Timestamp>>;
}

/// Which watches to read.
#[derive(Clone, Copy, Debug)]
pub struct WatchQuery {
    /// Now.
    pub now: Timestamp,
    /// At most this many.
    pub limit: usize,
}

/// A watch whose time has come.
pub struct DueWatch {
    /// When it was due; part of its key.
    pub at: Timestamp,
    /// The attempt.
    pub attempt: AttemptRow,
    /// What it looks for.
    pub kind: WatchKind,
    /// Polls made so far.
    pub polls: u32,
    /// The provider's id, when it is known.
    pub sid: Option<Sid>,
    /// Where the message is.
    pub state: State,
    /// When the attempt was opened.
    pub started_at: Timestamp,
    /// For unknown attempts: what to look for.
    pub evidence: Option<Evidence>,
}

/// What an unknown attempt must look like at the provider.
#[derive(Clone)]
pub struct Evidence {
    /// The person's key: attempts to one person are settled together.
    pub person: PersonRow,
    /// The address used: `+E164` or a user id.
    pub to: String,
    /// Its other variant.
    pub to_alternative: Option<String>,
    /// The sender's number; `None` for a Messaging Service.
    pub from: Option<String>,
    /// Its text.
    pub text: TextEvidence,
}

/// What looking after an attempt brought.
pub struct Settlement {
    /// The watch that this answers: its time and its attempt.
    pub watch: (Timestamp, AttemptRow),
    /// What was found.
    pub finding: Finding,
    /// When to look again; `None` ends the watch.
    pub next: Option<NextWatch>,
    /// Now, and chance for the wait until a retry.
    pub stamp: Stamp,
}

/// When to look again, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextWatch {
    /// When.
    pub at: Timestamp,
    /// What to look for.
    pub kind: WatchKind,
    /// Polls made by then.
    pub polls: u32,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nothing new.
    Nothing,
    /// The provider has the message.
    Found {
        /// Its id there.
        sid: Sid,
        /// Its status there.
        status: ProviderStatus,
        /// Its error code there.
        code: Option<u32>,
    },
    /// The time for evidence is over.
    HorizonPassed,
}
