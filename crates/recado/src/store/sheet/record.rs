//! Rows of a sheet as they are on disk, and what may be missing.

use delivery::address::AddressVariant;
use delivery::consent::{ConsentKind, ConsentWord};
use delivery::event::Source;
use delivery::message::Kind;
use delivery::outcome::{OutcomeKind, ProviderStatus, SettledBy};
use delivery::progress::{Event, PauseSource};
use delivery::row::{AttemptRow, IdentityRow, MessageRow, PersonRow, SenderRow};
use delivery::sid::Sid;
use delivery::state::State;
use delivery::time::Timestamp;
use delivery::window::WindowCheck;

use crate::store::operations::columns::{Attempt, Cohort, HoldSubject, ParkedReport, Subject};
use crate::store::operations::removal::Removal;
use crate::store::{AttemptId, KeyScope, MessageId};

/// What must be loaded before a run can go on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Need {
    /// A message and its progress.
    Message(MessageRow),
    /// The message of a public id.
    Id(MessageId),
    /// The last messages of a person, with their progress and attempts.
    Recent(PersonRow),
    /// The messages of a person that wait or are held, with their progress.
    Stoppable(PersonRow),
    /// Messages whose deadline passed before a time.
    Overdue(Timestamp),
    /// An attempt.
    Attempt(AttemptRow),
    /// An attempt with its message's progress.
    Correlated(AttemptId),
    /// Which attempt has a SID, with its message's progress.
    Sid(Sid),
    /// The open attempt of a sender to a person.
    Open(PersonRow, SenderRow),
    /// Attempts that servers before this epoch left open.
    LeftOpen(i64),
    /// Whether a report with a code is known.
    Coded(AttemptRow, ProviderStatus, u32),
    /// The reports with a code of an attempt.
    CodedOf(AttemptRow),
    /// The reports parked under a SID.
    Parked(Sid),
    /// Under which SIDs reports are parked since before a time.
    OldParked(Timestamp),
    /// An identity.
    Identity(IdentityRow),
    /// The identities that are tied to a person.
    Tied(PersonRow),
    /// Every message of a person, with its progress.
    All(PersonRow),
    /// Every inbound message of a person.
    InboundOf(PersonRow),
    /// The person of a blind index.
    Index([u8; 32]),
    /// People who were asked before a time.
    Unanswered(Timestamp),
    /// To whom a person wrote, and when.
    Conversations(PersonRow),
    /// A cohort.
    Cohort(Cohort),
    /// A template.
    Template(String),
    /// Messages that are due at a time.
    WaitingUntil(Timestamp),
    /// An inbound message.
    Inbound(Sid),
    /// The last words of a person about consent.
    Words(PersonRow),
    /// Every URL of status callbacks.
    CallbackUrls,
    /// The answer to an earlier request.
    Answer([u8; 16]),
    /// Answers given before a time.
    OldAnswers(Timestamp),
    /// The newest message about a subject.
    Subject(Subject),
    /// The subjects of a person.
    SubjectsOf(PersonRow),
    /// Old messages that may be removed.
    Removable(Removal),
    /// A key of the API.
    ApiKey(String),
}

/// The last number given in each table that gives its own.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Numbers {
    pub(crate) message: i64,
    pub(crate) attempt: i64,
    pub(crate) event: i64,
    pub(crate) person: i64,
    pub(crate) inbound: i64,
    pub(crate) cohort: i64,
    pub(crate) template: i64,
    pub(crate) hold: i64,
}

/// A row of `message`.
#[derive(Clone)]
pub(crate) struct MessageRecord {
    pub(crate) id: MessageId,
    pub(crate) person: PersonRow,
    pub(crate) identity: IdentityRow,
    pub(crate) content_index: [u8; 16],
    pub(crate) template: i64,
    pub(crate) kind: Kind,
    pub(crate) window_check: WindowCheck,
    pub(crate) send_at: Option<Timestamp>,
    pub(crate) accepted_at: Timestamp,
    pub(crate) sealed_content: Vec<u8>,
    pub(crate) sealed_metadata: Option<Vec<u8>>,
    pub(crate) sealed_business_key: Option<Vec<u8>>,
}

/// A row of `attempt`.
#[derive(Clone)]
pub(crate) struct AttemptRecord {
    pub(crate) message: MessageRow,
    pub(crate) n: u32,
    pub(crate) nonce: u64,
    pub(crate) started_at: Timestamp,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) outcome: Option<OutcomeKind>,
    pub(crate) cause: Option<String>,
    pub(crate) variant: AddressVariant,
    pub(crate) seen: u32,
    pub(crate) sid: Option<Sid>,
    pub(crate) settled_by: Option<SettledBy>,
    pub(crate) error_code: Option<u32>,
}

impl AttemptRecord {
    /// What operations need of it.
    pub(crate) fn attempt(&self, row: AttemptRow) -> Attempt {
        Attempt {
            row,
            message: self.message,
            outcome: self.outcome,
            sid: self.sid,
            settled_by: self.settled_by,
            finished_at: self.finished_at,
            variant: self.variant,
            seen: self.seen,
        }
    }
}

/// A row of `event` on its way in.
#[derive(Clone)]
pub(crate) struct EventRecord {
    pub(crate) id: i64,
    pub(crate) message: MessageRow,
    pub(crate) prev: i64,
    pub(crate) at: Timestamp,
    pub(crate) event: Event,
}

/// What changes about a person whose words must be checked.
#[derive(Clone, Copy)]
pub(crate) enum CheckChange {
    /// They must be checked at this time.
    Due(Timestamp),
    /// They are in order.
    Done,
    /// The person is another one now.
    Given(PersonRow),
}

/// A row of `consent_event` on its way in.
#[derive(Clone)]
pub(crate) struct ConsentRecord {
    pub(crate) person: PersonRow,
    pub(crate) at: Timestamp,
    pub(crate) consent: ConsentKind,
    pub(crate) source: Source,
    pub(crate) inbound: Option<i64>,
    pub(crate) message: Option<MessageRow>,
    pub(crate) code: Option<u32>,
}

/// A row of `parked_report`.
#[derive(Clone)]
pub(crate) struct ParkedRecord {
    pub(crate) report: ParkedReport,
    pub(crate) received_at: Timestamp,
}

/// A row of `sender`.
#[derive(Clone)]
pub(crate) struct SenderRecord {
    pub(crate) name: String,
    pub(crate) configured: bool,
    pub(crate) paused_at: Option<Timestamp>,
    pub(crate) pause_reason: Option<String>,
    pub(crate) pause_source: Option<PauseSource>,
    pub(crate) resumed_at: Option<Timestamp>,
}

/// A row of `hold`.
#[derive(Clone)]
pub(crate) struct HoldRecord {
    pub(crate) subject: HoldSubject,
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) ends_at: Timestamp,
    pub(crate) lifted: bool,
    pub(crate) releasing: bool,
    pub(crate) step: u32,
    pub(crate) code: Option<u32>,
    pub(crate) message: MessageRow,
}

impl HoldRecord {
    pub(crate) fn is_in_effect(&self, now: Timestamp) -> bool {
        !self.lifted && self.ends_at > now
    }
}

/// A row of `hold_evidence`.
#[derive(Clone)]
pub(crate) struct EvidenceRecord {
    pub(crate) person: PersonRow,
    pub(crate) sender: SenderRow,
    pub(crate) at: Timestamp,
    pub(crate) stopped_others: bool,
}

/// A row of `inbound`.
#[derive(Clone)]
pub(crate) struct InboundRecord {
    pub(crate) id: i64,
    pub(crate) person: PersonRow,
    pub(crate) identity: IdentityRow,
    pub(crate) sender: Option<SenderRow>,
    pub(crate) message_type: String,
    pub(crate) media: u32,
    pub(crate) reply_to: Option<MessageRow>,
    pub(crate) received_at: Timestamp,
    pub(crate) written_at: Option<Timestamp>,
    pub(crate) word: Option<ConsentWord>,
    pub(crate) listed: bool,
    pub(crate) sealed_payload: Vec<u8>,
    /// Whether this batch makes it.
    pub(crate) is_new: bool,
}

/// A row of `api_key`.
#[derive(Clone)]
pub(crate) struct ApiKeyRecord {
    pub(crate) name: String,
    pub(crate) scope: KeyScope,
    pub(crate) hash: [u8; 32],
    pub(crate) created_at: Timestamp,
    pub(crate) revoked_at: Option<Timestamp>,
    /// Whether this batch makes it.
    pub(crate) is_new: bool,
}

/// A row of `idempotency`.
#[derive(Clone)]
pub(crate) struct AnswerRecord {
    pub(crate) body: [u8; 16],
    pub(crate) message: MessageRow,
    pub(crate) state: State,
    pub(crate) created_at: Timestamp,
}
