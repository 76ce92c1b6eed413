//! Watches: unknown attempts and silent messages, and what asking about them brought.

use std::time::Duration;

use delivery::absence::{Doubt, Proof};
use delivery::message::Policy;
use delivery::outcome::{ProviderStatus, SettledBy};
use delivery::progress::WatchKind;
use delivery::row::{AttemptRow, PersonRow};
use delivery::settle::TextEvidence;
use delivery::sid::Sid;
use delivery::state::State;
use delivery::time::{ClockDifference, Timestamp};

use super::{Stamp, StoreFuture};

/// What must be asked about.
pub trait Watches: Send + Sync {
    /// The watches whose time has come.
    fn due_watches(&self, query: WatchQuery) -> StoreFuture<'_, Vec<DueWatch>>;

    /// Records what looking brought.
    fn settle(&self, batch: Vec<Settlement>) -> StoreFuture<'_, ()>;

    /// Every unknown attempt to a person among their last messages, those included that are not
    /// due, newest message first: what is listed may be any one's.
    fn unknown_attempts(&self, person: PersonRow) -> StoreFuture<'_, Vec<UnknownView>>;

    /// Which attempts have these SIDs.
    fn holders(&self, sids: Vec<Sid>) -> StoreFuture<'_, Vec<Holder>>;

    /// The newest attempt to a phone number whose SID its own answer named since a time, and what its
    /// message looks like: the list must show it soon.
    fn newest_answered(&self, since: Timestamp) -> StoreFuture<'_, Option<Answered>>;

    /// Notes how late the provider's list was, and how far its clock is from ours.
    fn note_list_lag(&self, measured: ListLag) -> StoreFuture<'_, ()>;

    /// The largest lag and the widest difference of the clocks that were noted since a time.
    fn list_lag(&self, since: Timestamp) -> StoreFuture<'_, ListLag>;

    /// The earliest time at which anything is due: a watch or an unanswered question.
    fn next_watch(&self) -> StoreFuture<'_, Option<Timestamp>>;
}

/// Which watches to read: of each four, the three that became due last and the one that has been
/// due longest.
#[derive(Clone, Copy, Debug)]
pub struct WatchQuery {
    /// Now.
    pub now: Timestamp,
    /// What they look for.
    pub kind: WatchKind,
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
    /// When its request had ended.
    pub ended_at: Timestamp,
    /// What may be done in doubt.
    pub policy: Policy,
    /// The recipient.
    pub person: PersonRow,
    /// Whether the attempt is still unknown.
    pub is_unknown: bool,
}

/// An unknown attempt, or one that is open and may become unknown.
#[derive(Clone)]
pub struct UnknownView {
    /// The attempt.
    pub attempt: AttemptRow,
    /// When it was opened.
    pub started_at: Timestamp,
    /// When its request had ended.
    pub ended_at: Timestamp,
    /// Until when its message may have been created, by our clock.
    pub created_until: Timestamp,
    /// The keyed hash of person and content: the same for the same content.
    pub content_index: [u8; 16],
    /// What to look for; `None` when the person was erased, or cannot be read.
    pub evidence: Option<Evidence>,
    /// Whether its request is open.
    pub is_open: bool,
    /// Whether something that is sealed could not be opened.
    pub is_unreadable: bool,
}

/// An attempt that has a SID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The SID.
    pub sid: Sid,
    /// The attempt.
    pub attempt: AttemptRow,
    /// How the SID was learned.
    pub settled_by: SettledBy,
    /// The keyed hash of person and content.
    pub content_index: [u8; 16],
}

/// A message that its own answer named.
#[derive(Clone)]
pub struct Answered {
    /// Its SID.
    pub sid: Sid,
    /// When the answer was recorded.
    pub at: Timestamp,
    /// What it looks like at the provider.
    pub evidence: Evidence,
}

/// How late the provider's list was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListLag {
    /// When it was measured.
    pub at: Timestamp,
    /// The lag; `None` when only the clocks were compared.
    pub lag: Option<Duration>,
    /// The difference of the clocks.
    pub clock: ClockDifference,
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
    /// What tells its content apart although the list does not show it: the template's SID, the
    /// URL of a medium, a place.
    pub unlisted: Option<String>,
    /// Its text.
    pub text: TextEvidence,
    /// How many media it carries; `None` when a template decides.
    pub media: Option<u32>,
}

/// What looking after an attempt brought.
pub struct Settlement {
    /// The watch that this answers: its time and its attempt.
    pub watch: (Timestamp, AttemptRow),
    /// What was found.
    pub finding: Finding,
    /// When to look again; `None` ends the watch.
    pub next: Option<NextWatch>,
    /// When to look again if what was found cannot be written down yet; `None` ends the watch.
    pub postponed: Option<NextWatch>,
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
    /// The time for evidence is over; why absence is not proven, when that was tried.
    HorizonPassed(Option<Doubt>),
    /// It is proven that the provider has no such message.
    Absent(Proof),
}
