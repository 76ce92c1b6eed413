//! The progress of a message: everything that decides what happens to it, and what one fact changes.
//!
//! A [`Transition`] works one fact into one [`Progress`], as a value: the events to append, the
//! counters to move, the change of the queue, the watch to set. Whoever keeps the rows loads a
//! progress, calls one function, and writes the [`ProgressChange`].

mod decide;
mod fact;
#[cfg(test)]
mod tests;
mod transition;

pub use fact::ReportFact;
pub use transition::Transition;

use std::time::Duration;

use crate::codes::{Codes, Scope};
use crate::counter::Count;
use crate::event::{EventKind, Source};
use crate::hold::NewHold;
use crate::message::{Policy, Priority};
use crate::outcome::ProviderStatus;
use crate::retry::RetryPolicy;
use crate::row::{AttemptRow, CohortRow, MessageRow, PersonRow, SenderRow};
use crate::state::State;
use crate::time::Timestamp;

/// The rules that transactions need.
#[derive(Clone)]
pub struct Rules {
    /// Error codes and what to do about them.
    pub codes: Codes,
    /// How often and how late attempts are repeated.
    pub retry_policy: RetryPolicy,
    /// Waits of retry and reconcile are divided by this; 1 except in tests and demonstrations.
    pub clock_scale: u32,
}

impl Default for Rules {
    /// The built-in codes, real waits.
    fn default() -> Self {
        Self {
            codes: Codes::builtin(),
            retry_policy: RetryPolicy::default(),
            clock_scale: 1,
        }
    }
}

impl Rules {
    /// A wait, divided by the clock scale.
    pub fn wait(&self, duration: Duration) -> Duration {
        duration / self.clock_scale.max(1)
    }
}

/// Everything of a message that decides what happens to it. Its keys are numbers that whoever keeps
/// the rows has given them; the rules only pass them on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Key of the message.
    pub message: MessageRow,
    /// Key of the counters' cohort: hour of acceptance, sender, kind, template, area code.
    pub cohort: CohortRow,
    /// Key of the person.
    pub person: PersonRow,
    /// Key of the sender.
    pub sender: SenderRow,
    /// Where it is.
    pub state: State,
    /// Attempts made.
    pub attempts: u32,
    /// How many of them do not count against its limit: the provider was not reached or is proven to
    /// have created nothing, a pause or a hold ended them, or an operator asked for more.
    pub spared: u32,
    /// Its age, as far as trying again goes: the sum of the waits that were decided between its
    /// attempts. The time in the queue, in a pause, in a hold, under way, or until the provider can be
    /// reached is not part of it.
    pub tried_for: Duration,
    /// Key of the latest attempt.
    pub attempt: Option<AttemptRow>,
    /// One bit for each provider status seen on the latest attempt.
    pub seen: u32,
    /// See the constants of [`Flags`].
    pub flags: Flags,
    /// What may overtake what.
    pub priority: Priority,
    /// What may happen in doubt.
    pub policy: Policy,
    /// When it was stored.
    pub accepted_at: Timestamp,
    /// Never sent at or after this.
    pub expires_at: Option<Timestamp>,
    /// When it is due; `Some` exactly while it stands in the queue.
    pub due_at: Option<Timestamp>,
    /// First seen at WhatsApp.
    pub sent_at: Option<Timestamp>,
    /// First seen on the device.
    pub delivered_at: Option<Timestamp>,
    /// First seen opened.
    pub read_at: Option<Timestamp>,
    /// When it failed; cleared when a new attempt is decided.
    pub failed_at: Option<Timestamp>,
    /// Why it failed, or what its last attempt said.
    pub error: Option<LastError>,
    /// Key of the last event; events point back to the one before.
    pub last_event: i64,
}

impl Progress {
    /// A progress in which nothing has happened yet; every caller names what differs.
    pub fn empty() -> Self {
        Self {
            message: MessageRow::default(),
            cohort: CohortRow::default(),
            person: PersonRow::default(),
            sender: SenderRow::default(),
            state: State::Accepted,
            attempts: 0,
            spared: 0,
            tried_for: Duration::ZERO,
            attempt: None,
            seen: 0,
            flags: Flags::default(),
            priority: Priority::Normal,
            policy: Policy::Once,
            accepted_at: Timestamp::default(),
            expires_at: None,
            due_at: None,
            sent_at: None,
            delivered_at: None,
            read_at: None,
            failed_at: None,
            error: None,
            last_event: 0,
        }
    }
}

/// Why a message is where it is: a stable reason, and the provider's code when it gave one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LastError {
    /// The reason.
    pub reason: Reason,
    /// Twilio's error code.
    pub code: Option<u32>,
}

crate::stored! {
    /// Stable reasons for failures.
    Reason {
        /// The provider refused it or reported a failure.
        Provider = 0 "provider",
        /// The provider could not be reached.
        Network = 1 "network",
        /// The provider asked us to slow down.
        RateLimited = 2 "rate_limited",
        /// Free-form content outside the 24-hour window.
        WindowClosed = 3 "window_closed",
        /// Attempts are used up.
        AttemptsMax = 4 "attempts_max",
        /// The message became too old.
        AgeMax = 5 "age_max",
        /// Nobody can say whether it was sent.
        Unsettled = 6 "unsettled",
        /// The sealed content cannot be opened.
        Unreadable = 7 "unreadable",
    }
}

/// The detail of an event whose fact contradicts what was known.
pub const CONTRADICTS: &str = "contradicts";

/// The detail of an event that takes back what was concluded about a message: its times with it.
pub const TAKEN_BACK: &str = "taken_back";

/// Small yes-or-no facts of a message, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    /// A later attempt was made although an earlier one may have reached the person.
    pub const POSSIBLE_DUPLICATE: u32 = 1;
    /// The one resend after doubt was made.
    pub const RESENT_AFTER_DOUBT: u32 = 2;
    /// The other variant of the address was tried.
    pub const VARIANT_TRIED: u32 = 4;
    /// The next attempt uses the other variant.
    pub const VARIANT_NEXT: u32 = 8;
    /// The recipient is a Brazilian mobile, so another variant exists.
    pub const HAS_VARIANT: u32 = 16;
    /// A retry was decided and its attempt is not open yet.
    pub const RETRY_WAITS: u32 = 32;
    /// The retry was decided because of doubt, so evidence for the earlier attempt stops it.
    pub const RETRY_IN_DOUBT: u32 = 64;
    /// The message is one of our own questions and passes a hold on the person.
    pub const OWN_QUESTION: u32 = 128;
    /// Held until the person answers our question about consent.
    pub const HELD_FOR_ANSWER: u32 = 256;
    /// Somebody or something decided that it must not be sent; only an operator's retry ends it.
    pub const STOPPED: u32 = 512;
    /// A newer notice has taken its place: should it come back to us, it does not leave again.
    pub const SUPERSEDED: u32 = 1_024;
    /// The retry was decided because the earlier attempt is proven absent; should evidence for it
    /// come all the same before the retry leaves, the retry is stopped.
    pub const RETRY_AFTER_ABSENCE: u32 = 2_048;
    /// A retry that evidence for the earlier attempt stops.
    const RETRY_STOPPABLE: u32 = Self::RETRY_IN_DOUBT | Self::RETRY_AFTER_ABSENCE;

    /// Whether a bit is set.
    pub fn has(self, bit: u32) -> bool {
        self.0 & bit != 0
    }

    /// Sets a bit.
    pub fn set(&mut self, bit: u32) {
        self.0 |= bit;
    }

    /// Clears a bit.
    pub fn clear(&mut self, bit: u32) {
        self.0 &= !bit;
    }
}

/// One row of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// Who told us.
    pub source: Source,
    /// The state after it.
    pub state: State,
    /// The attempt it is about.
    pub attempt: Option<AttemptRow>,
    /// The provider's status.
    pub status: Option<ProviderStatus>,
    /// The provider's error code.
    pub code: Option<u32>,
    /// A stable word that says more: a cause, a reason, an unknown status.
    pub detail: Option<String>,
}

/// What happens to the queue row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueChange {
    /// It stays as it is.
    #[default]
    Unchanged,
    /// It is enqueued at this time, or moved to it.
    Enqueue(Timestamp),
    /// It is removed.
    Dequeue,
}

/// A pause to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// The sender of the message, or the whole account.
    pub scope: Scope,
    /// The code that asks for it.
    pub code: Option<u32>,
    /// Where the code was met.
    pub source: PauseSource,
}

crate::stored! {
    /// Who has paused a sender, which decides when the pause ends.
    PauseSource {
        /// The operator; it ends by the operator's word.
        Operator = 0 "operator",
        /// An answer to a request. It also ends with a restart: settings may be corrected by then, and
        /// if they are not, the first answer pauses again.
        Answer = 1 "answer",
        /// A report about a message that had left; reports come too late to stop the next ones, so it
        /// ends by the operator's word only.
        Report = 2 "report",
        /// The start of a server with a restored, copied or moved database; it ends when the operator
        /// has said what is to become of what waits.
        Restore = 3 "restore",
    }
}

/// A watch to set on an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The attempt.
    pub attempt: AttemptRow,
    /// When to look.
    pub at: Timestamp,
    /// What to look for.
    pub kind: WatchKind,
}

crate::stored! {
    /// What a watch looks for.
    WatchKind {
        /// Whether the provider has a message that nobody knows of.
        Unknown = 0 "unknown",
        /// What became of a message that nobody reports about.
        Silent = 1 "silent",
    }
}

/// Everything that one fact changes besides the progress itself.
#[derive(Debug, Default)]
pub struct ProgressChange {
    /// Events to append, in order.
    pub events: Vec<Event>,
    /// Counters to move.
    pub counts: Vec<Count>,
    /// What happens to the queue row.
    pub queue: QueueChange,
    /// A watch to set.
    pub watch: Option<Watch>,
    /// The person must be suppressed.
    pub suppress_person: bool,
    /// The sender or the account must be paused.
    pub pause: Option<Pause>,
    /// A hold begins.
    pub hold: Option<NewHold>,
    /// The message met this code, which may be about its person or about the sender: that is to be
    /// kept as evidence.
    pub evidence: Option<u32>,
    /// The address variant of the reported attempt has been proven by a delivery.
    pub variant_proven: bool,
    /// The fact contradicts what we knew.
    pub anomaly: bool,
}

impl ProgressChange {
    /// Empties it for the next message, keeping its memory.
    pub fn clear(&mut self) {
        self.events.clear();
        self.counts.clear();
        self.queue = QueueChange::Unchanged;
        self.watch = None;
        self.suppress_person = false;
        self.pause = None;
        self.hold = None;
        self.evidence = None;
        self.variant_proven = false;
        self.anomaly = false;
    }
}
