//! Rows on their way in and out of a transaction, as far as operations look into them.

use std::time::Duration;

use delivery::address::AddressVariant;
use delivery::consent::ConsentWord;
use delivery::counter::Metric;
use delivery::event::Source;
use delivery::hold::HoldScope;
use delivery::message::Kind;
use delivery::outcome::{Outcome, OutcomeKind, ProviderStatus, SettledBy};
use delivery::row::{AttemptRow, CohortRow, IdentityRow, MessageRow, PersonRow, SenderRow};
use delivery::sid::Sid;
use delivery::state::State;
use delivery::time::Timestamp;
use delivery::window::WindowCheck;

use crate::store::MessageId;
use crate::store::seal::SealedColumns;

/// A row of `message` on its way in.
pub(crate) struct MessageColumns<'a> {
    /// The public id.
    pub(crate) id: MessageId,
    /// The recipient.
    pub(crate) person: PersonRow,
    /// To which of their identities it goes; its key seals the message.
    pub(crate) identity: IdentityRow,
    /// The keyed hash of identity and content.
    pub(crate) content_index: [u8; 16],
    /// The template's number, 0 for none.
    pub(crate) template: i64,
    /// What it is for.
    pub(crate) kind: Kind,
    /// Whether the window is looked at.
    pub(crate) window_check: WindowCheck,
    /// Not before.
    pub(crate) send_at: Option<Timestamp>,
    /// When it was accepted.
    pub(crate) accepted_at: Timestamp,
    /// What is sealed.
    pub(crate) sealed: &'a SealedColumns,
}

/// What a message says, sealed.
pub(crate) struct SealedContent {
    /// The public id.
    pub(crate) id: MessageId,
    /// Whose key opens it.
    pub(crate) identity: IdentityRow,
    /// The sealed content.
    pub(crate) sealed: Vec<u8>,
}

/// What operations need of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// Its row.
    pub(crate) row: AttemptRow,
    /// Its message.
    pub(crate) message: MessageRow,
    /// The class of its outcome; `None` while it is open.
    pub(crate) outcome: Option<OutcomeKind>,
    /// The provider's id.
    pub(crate) sid: Option<Sid>,
    /// How it was learned, or that there is none.
    pub(crate) settled_by: Option<SettledBy>,
    /// When its outcome was recorded.
    pub(crate) finished_at: Option<Timestamp>,
    /// The variant of the address that it used.
    pub(crate) variant: AddressVariant,
    /// One bit for each status seen, when a later attempt has taken its place in the progress.
    pub(crate) seen: u32,
}

/// A row of `attempt` on its way in.
pub(crate) struct NewAttempt {
    /// Its message.
    pub(crate) message: MessageRow,
    /// Its number, from 1.
    pub(crate) n: u32,
    /// The random bits of its correlation id.
    pub(crate) nonce: u64,
    /// When it was opened.
    pub(crate) started_at: Timestamp,
    /// The variant of the address that it uses.
    pub(crate) variant: AddressVariant,
}

/// What changes in a row of `attempt`.
pub(crate) enum AttemptChange<'a> {
    /// The statuses seen, handed over by the progress.
    Seen(u32),
    /// One more status seen.
    AlsoSeen(ProviderStatus),
    /// The provider's id, and how it was learned.
    Sid(Sid, SettledBy),
    /// Its provider's id was another's: it is unknown again, and nothing was reported about it.
    Withdrawn,
    /// It is proven that it created nothing. When its request had ended stays.
    Absent,
    /// What it told us.
    Closed(&'a Outcome, Timestamp),
    /// Evidence shows that it was sent.
    Settled(Timestamp),
    /// The code of a failure that was reported later.
    Error(Option<u32>),
}

/// A row of `open_attempt`.
pub(crate) struct OpenAttemptColumns {
    /// The recipient.
    pub(crate) person: PersonRow,
    /// The sender.
    pub(crate) sender: SenderRow,
    /// The attempt.
    pub(crate) attempt: AttemptRow,
    /// Which server opened it.
    pub(crate) epoch: i64,
}

/// A report about a message that nobody knows yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParkedReport {
    /// The provider's status.
    pub(crate) status: ProviderStatus,
    /// Its error code.
    pub(crate) code: Option<u32>,
    /// Its word for the status, when we do not know it.
    pub(crate) word: Option<String>,
}

/// Which counter: cohort, metric and code.
pub(crate) type CounterKey = (CohortRow, Metric, i64);

/// A figure that is kept for the whole account, so that nobody has to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Total {
    /// Messages that are in a state now; the code is the state's number.
    State,
    /// Error codes, each time one was received.
    Errors,
    /// Facts that contradicted what was known.
    Anomalies,
    /// Messages in the queue; the code is the sender's row.
    Queued,
}

impl Total {
    /// The number in the table.
    pub(crate) fn number(self) -> i64 {
        match self {
            Self::State => 1,
            Self::Errors => 2,
            Self::Anomalies => 3,
            Self::Queued => 4,
        }
    }

    /// The figure of a number in the table.
    pub(crate) fn from_number(number: i64) -> Option<Self> {
        [Self::State, Self::Errors, Self::Anomalies, Self::Queued]
            .into_iter()
            .find(|total| total.number() == number)
    }

    /// The figure that sums up a counter over all cohorts, if one is kept.
    pub(crate) fn of(metric: Metric) -> Option<Self> {
        match metric {
            Metric::State => Some(Self::State),
            Metric::Errors => Some(Self::Errors),
            Metric::Anomalies => Some(Self::Anomalies),
            Metric::Accepted
            | Metric::Sent
            | Metric::Delivered
            | Metric::Read
            | Metric::Attempts
            | Metric::Outcomes
            | Metric::Retries
            | Metric::AcceptedToSent
            | Metric::SentToDelivered
            | Metric::DeliveredToRead => None,
        }
    }
}

/// Which figure: what, and the code.
pub(crate) type TotalKey = (Total, i64);

/// Whose messages a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Cohort {
    /// Hour of acceptance, since the Unix epoch.
    pub(crate) hour: i64,
    /// The sender.
    pub(crate) sender: SenderRow,
    /// What they are for.
    pub(crate) kind: Kind,
    /// The template's number, 0 for none.
    pub(crate) template: i64,
    /// The Brazilian area code, 0 for none.
    pub(crate) area: i64,
}

/// Why consent changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConsentCause {
    /// Who told us.
    pub(crate) source: Source,
    /// When.
    pub(crate) now: Timestamp,
    /// Since when it counts, among the words that were written: when it was said.
    pub(crate) since: Timestamp,
    /// The key of the inbound message that said it.
    pub(crate) inbound: Option<i64>,
    /// The message whose refusal showed it.
    pub(crate) message: Option<MessageRow>,
    /// The code of that refusal.
    pub(crate) code: Option<u32>,
}

/// Why identities were tied together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TieCause {
    /// Who told us.
    pub(crate) source: Source,
    /// When.
    pub(crate) now: Timestamp,
    /// The provider's id of the message whose callback carried both.
    pub(crate) sid: Option<Sid>,
    /// The message, when it was ours.
    pub(crate) message: Option<MessageRow>,
}

/// A row of `identity_tie` on its way in.
#[derive(Clone, Copy)]
pub(crate) struct TieColumns {
    /// The person.
    pub(crate) person: PersonRow,
    /// The identity that was tied to them.
    pub(crate) identity: IdentityRow,
    /// Whose it was before; `None` when it was new.
    pub(crate) merged: Option<PersonRow>,
    /// Why.
    pub(crate) cause: TieCause,
}

/// What a hold is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HoldSubject {
    /// What is held.
    pub(crate) scope: HoldScope,
    /// The row of the person or sender, the number of the template, 0 for the account.
    pub(crate) subject: i64,
    /// The only kind of message that is held; `None` for all.
    pub(crate) kind: Option<Kind>,
}

/// A row of `hold` on its way in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HoldColumns {
    /// What it is about.
    pub(crate) subject: HoldSubject,
    /// When it begins.
    pub(crate) since: Timestamp,
    /// When it ends: the due time of what waits for it.
    pub(crate) until: Timestamp,
    /// How many holds of the same came just before it.
    pub(crate) step: u32,
    /// The code that asks for it.
    pub(crate) code: Option<u32>,
    /// The message that met the code.
    pub(crate) message: MessageRow,
}

/// How a hold follows a clock that was set back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HoldStep {
    /// When it ended or was to end when it was looked at.
    pub(crate) ends_at: Timestamp,
    /// By how much the clock was set back.
    pub(crate) by: Duration,
}

/// What messages before this one say about a code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CodeEvidence {
    /// The message met it before.
    pub(crate) met_before: bool,
    /// The message has stopped others because of it before.
    pub(crate) stopped_others_before: bool,
    /// A message of the same sender to another person met it lately.
    pub(crate) others_met_it: bool,
}

/// Which senders are paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pausing {
    /// One.
    One(SenderRow),
    /// Every sender of the account.
    All,
}

/// A row of `inbound` on its way in.
pub(crate) struct InboundColumns<'a> {
    /// The provider's id.
    pub(crate) sid: Sid,
    /// Who wrote.
    pub(crate) person: PersonRow,
    /// From which of their identities; its key seals the message.
    pub(crate) identity: IdentityRow,
    /// To whom, when it is one of ours.
    pub(crate) sender: Option<SenderRow>,
    /// Its type.
    pub(crate) message_type: &'a str,
    /// Number of media.
    pub(crate) media: u32,
    /// Our message that it replies to.
    pub(crate) reply_to: Option<MessageRow>,
    /// When it was stored.
    pub(crate) received_at: Timestamp,
    /// When it was written, when that is known.
    pub(crate) written_at: Option<Timestamp>,
    /// What it says about consent.
    pub(crate) word: Option<ConsentWord>,
    /// Found in the provider's list; no callback has told of it.
    pub(crate) listed: bool,
    /// Everything readable, sealed.
    pub(crate) sealed_payload: &'a [u8],
}

/// An inbound message that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KnownInbound {
    /// Its key.
    pub(crate) key: i64,
    /// Which identity wrote it; its key seals the payload.
    pub(crate) identity: IdentityRow,
    /// What it says about consent.
    pub(crate) word: Option<ConsentWord>,
    /// Found in the provider's list; no callback has told of it.
    pub(crate) listed: bool,
}

/// An inbound message that says something about consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WordColumns {
    /// Its key.
    pub(crate) key: i64,
    /// The provider's id.
    pub(crate) sid: Sid,
    /// What it says.
    pub(crate) word: ConsentWord,
    /// When it was stored.
    pub(crate) received_at: Timestamp,
    /// When it was written, when that is known.
    pub(crate) written_at: Option<Timestamp>,
}

/// What was answered to an earlier request.
pub(crate) struct EarlierAnswer {
    /// The keyed hash of its body.
    pub(crate) body: [u8; 16],
    /// The message.
    pub(crate) id: MessageId,
    /// The state answered then.
    pub(crate) state: State,
}

/// What messages are about, as it is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Subject {
    /// Whose it is; `None` when it is the account's.
    pub(crate) person: Option<PersonRow>,
    /// The keyed hash of its name.
    pub(crate) index: [u8; 16],
}

/// What a person's messages were about, taken from them.
#[derive(Clone, Copy)]
pub(crate) struct TakenSubject {
    /// The keyed hash of its name.
    pub(crate) index: [u8; 16],
    /// The version of the newest message.
    pub(crate) version: Option<u64>,
    /// The newest message.
    pub(crate) message: MessageRow,
}

/// The newest message about a subject.
#[derive(Clone, Copy)]
pub(crate) struct NewestAbout {
    /// Its version.
    pub(crate) version: Option<u64>,
    /// Its row.
    pub(crate) message: MessageRow,
    /// Its public id.
    pub(crate) id: MessageId,
}
