//! The rows of one transaction, as operations see them: one trait for each group of tables, so that
//! each engine can implement it in the file of its noun. Rows are returned owned.
//!
//! `None` means that there is no such row. Methods that read what must be there fail with
//! [`Broken::Gone`] when it is not.

use delivery::address::AddressVariant;
use delivery::consent::Consent;
use delivery::hold::EarlierHold;
use delivery::outcome::ProviderStatus;
use delivery::progress::{Event, Progress, Watch};
use delivery::row::{
    AttemptRow, CohortRow, HoldRow, IdentityRow, MessageRow, PersonRow, SenderRow,
};
use delivery::sid::Sid;
use delivery::state::State;
use delivery::time::Timestamp;
use delivery::window::WindowCheck;

pub(crate) use super::account_rows::{
    AccountRows, ApiKeyRows, CallbackUrlRows, HealthRows, SenderRows,
};
use super::columns::{
    Attempt, AttemptChange, CodeEvidence, Cohort, ConsentCause, CounterKey, EarlierAnswer,
    HoldColumns, HoldStep, HoldSubject, InboundColumns, KnownInbound, MessageColumns, NewAttempt,
    NewestAbout, OpenAttemptColumns, ParkedReport, SealedContent, Subject, TakenSubject,
    TieColumns, TotalKey, WordColumns,
};
pub(crate) use super::halting::{Broken, Halting, Read};
use super::removal::RetentionRows;
use crate::store::person::{Candidate, Person};
use crate::store::{AttemptId, Idempotency, InboundCursor, ListLag, MessageId};

/// The tables `message` and `progress`.
pub(crate) trait MessageRows: Halting {
    /// The progress of a message.
    fn progress(&mut self, message: MessageRow) -> Read<Self, Option<Progress>>;

    /// Inserts the progress of a message whose first event was just appended.
    fn insert_progress(&mut self, progress: &Progress) -> Read<Self, ()>;

    /// Writes the progress of a message.
    fn update_progress(&mut self, progress: &Progress) -> Read<Self, ()>;

    /// The message of a public id.
    fn message_of(&mut self, id: MessageId) -> Read<Self, Option<MessageRow>>;

    /// Before when the caller did not want a message to be sent.
    fn send_at(&mut self, message: MessageRow) -> Read<Self, Option<Timestamp>>;

    /// Whether the window is looked at before an attempt.
    fn window_check(&mut self, message: MessageRow) -> Read<Self, WindowCheck>;

    /// The sealed content, and whose key opens it.
    fn sealed_content(&mut self, message: MessageRow) -> Read<Self, SealedContent>;

    /// To which identity a message goes.
    fn recipient(&mut self, message: MessageRow) -> Read<Self, IdentityRow>;

    /// Inserts a message.
    fn insert_message(&mut self, message: &MessageColumns<'_>) -> Read<Self, MessageRow>;

    /// The person's messages whose state [is stoppable](State::is_stoppable), oldest first.
    fn stoppable_messages(&mut self, person: PersonRow) -> Read<Self, Vec<MessageRow>>;

    /// The newest of the person's last messages with one of these content indexes that was accepted
    /// after `since` and whose state counts.
    fn same_content(
        &mut self,
        person: PersonRow,
        content_indexes: &[[u8; 16]],
        since: Timestamp,
        counts: fn(State) -> bool,
    ) -> Read<Self, Option<MessageId>>;

    /// Messages that wait although their deadline has passed, at most `limit`.
    fn overdue_messages(&mut self, now: Timestamp, limit: usize) -> Read<Self, Vec<MessageRow>>;

    /// Makes the messages of one person another's. They keep the identity to which they go.
    fn give_messages(&mut self, from: PersonRow, to: PersonRow) -> Read<Self, ()>;
}

/// The tables `attempt` and `open_attempt`.
pub(crate) trait AttemptRows: Halting {
    /// An attempt.
    fn attempt(&mut self, attempt: AttemptRow) -> Read<Self, Option<Attempt>>;

    /// The attempt of a correlation id, and the progress of its message. The random bits must
    /// agree: a database restored from a backup hands out the same keys again.
    fn attempt_of(&mut self, id: AttemptId) -> Read<Self, Option<(Attempt, Progress)>>;

    /// The attempt with a SID, and the progress of its message.
    fn attempt_with(&mut self, sid: Sid) -> Read<Self, Option<(Attempt, Progress)>>;

    /// Which attempt has a SID.
    fn holder(&mut self, sid: Sid) -> Read<Self, Option<AttemptRow>>;

    /// The message of the attempt with a SID.
    fn message_with(&mut self, sid: Sid) -> Read<Self, Option<MessageRow>>;

    /// Inserts an attempt.
    fn insert_attempt(&mut self, attempt: &NewAttempt) -> Read<Self, AttemptRow>;

    /// Changes some columns of an attempt.
    fn change_attempt(&mut self, attempt: AttemptRow, change: AttemptChange<'_>) -> Read<Self, ()>;

    /// Whether an attempt of this sender to this person is open.
    fn has_open_attempt(&mut self, person: PersonRow, sender: SenderRow) -> Read<Self, bool>;

    /// Whether any attempt to this person is open.
    fn has_any_open_attempt(&mut self, person: PersonRow) -> Read<Self, bool>;

    /// Notes that an attempt is open.
    fn insert_open_attempt(&mut self, open: &OpenAttemptColumns) -> Read<Self, ()>;

    /// Notes that an attempt is not open any more.
    fn delete_open_attempt(&mut self, progress: &Progress, attempt: AttemptRow) -> Read<Self, ()>;

    /// Makes the open attempts to one person another's; of one sender there may be two then.
    fn give_open_attempts(&mut self, from: PersonRow, to: PersonRow) -> Read<Self, ()>;

    /// The attempts that servers of earlier epochs left open.
    fn attempts_left_open(&mut self, epoch: i64) -> Read<Self, Vec<AttemptRow>>;
}

/// The tables `coded_report` and `parked_report`.
pub(crate) trait ReportRows: Halting {
    /// Notes a report with a code. `false` when it was known.
    fn insert_coded_report(
        &mut self,
        attempt: AttemptRow,
        status: ProviderStatus,
        code: u32,
    ) -> Read<Self, bool>;

    /// Forgets the reports with a code of an attempt, because they were another's.
    fn forget_coded_reports(&mut self, attempt: AttemptRow) -> Read<Self, ()>;

    /// Parks a report under a SID, unless it is parked already.
    fn park_report(&mut self, sid: Sid, report: &ParkedReport, now: Timestamp) -> Read<Self, ()>;

    /// The reports parked under a SID.
    fn parked_reports(&mut self, sid: Sid) -> Read<Self, Vec<ParkedReport>>;

    /// Removes the reports parked under a SID.
    fn delete_parked_reports(&mut self, sid: Sid) -> Read<Self, ()>;

    /// Removes reports parked before a time, at most `limit`; returns how many.
    fn prune_parked_reports(&mut self, before: Timestamp, limit: usize) -> Read<Self, u64>;
}

/// The table `event`.
pub(crate) trait EventRows: Halting {
    /// Appends an event to a message's log; returns its key.
    fn append_event(
        &mut self,
        progress: &Progress,
        event: &Event,
        now: Timestamp,
    ) -> Read<Self, i64>;
}

/// The table `queue`.
pub(crate) trait QueueRows: Halting {
    /// Puts a message into the queue.
    fn enqueue(&mut self, progress: &Progress, due_at: Timestamp) -> Read<Self, ()>;

    /// Takes a message out of the queue, where it stands at `due_at`.
    fn dequeue(&mut self, progress: &Progress, due_at: Timestamp) -> Read<Self, ()>;
}

/// The tables `watch` and `list_lag`.
pub(crate) trait WatchRows: Halting {
    /// Notes how late the provider's list was and how far its clock is from ours, for the hour, and
    /// drops what is older than `LIST_LAG_KEPT` and an hour.
    fn note_list_lag(&mut self, measured: &ListLag) -> Read<Self, ()>;

    /// Sets a watch; the same attempt may be watched at several times.
    fn set_watch(&mut self, watch: Watch, polls: u32) -> Read<Self, ()>;

    /// Removes a watch.
    fn delete_watch(&mut self, at: Timestamp, attempt: AttemptRow) -> Read<Self, ()>;
}

/// The tables `cohort`, `template`, `counter` and `total`.
pub(crate) trait CounterRows: Halting {
    /// The row of a cohort.
    fn cohort(&mut self, cohort: &Cohort) -> Read<Self, Option<CohortRow>>;

    /// Inserts a cohort.
    fn insert_cohort(&mut self, cohort: &Cohort) -> Read<Self, CohortRow>;

    /// The number of a template.
    fn template(&mut self, content_sid: &str) -> Read<Self, Option<i64>>;

    /// Inserts a template; returns its number.
    fn insert_template(&mut self, content_sid: &str) -> Read<Self, i64>;

    /// Adds to counters, each of which is named once.
    fn add_counts(&mut self, counts: &[(CounterKey, i64)]) -> Read<Self, ()>;

    /// Forgets those of these counters that are zero, and were for whatever is no longer stored.
    fn forget_zero_counts(&mut self, counts: &[CounterKey]) -> Read<Self, ()>;

    /// Adds to the figures of the account, each of which is named once.
    fn add_totals(&mut self, totals: &[(TotalKey, i64)]) -> Read<Self, ()>;
}

/// The tables `identity`, `identity_tie`, `consent_event` and `conversation`.
pub(crate) trait PersonRows: Halting {
    /// A person, at the identity by which they were met first.
    fn person(&mut self, person: PersonRow) -> Read<Self, Option<Person>>;

    /// The person of an identity.
    fn person_at(&mut self, identity: IdentityRow) -> Read<Self, Option<Person>>;

    /// The person of a blind index.
    fn person_of(&mut self, blind_index: &[u8; 32]) -> Read<Self, Option<Person>>;

    /// The identities that are tied to a person, its own among them; none when it has only that.
    fn tied_to(&mut self, person: PersonRow) -> Read<Self, Vec<Person>>;

    /// Inserts an identity with a person of its own; `None` when the blind index is there already.
    fn insert_person(&mut self, candidate: &Candidate) -> Read<Self, Option<Person>>;

    /// Inserts an identity whose blind index nobody has, and ties it to a known person.
    fn insert_tied(&mut self, candidate: &Candidate, person: &Person) -> Read<Self, ()>;

    /// Ties all identities of one person to another, who gives them their consent, and hands over
    /// the windows: of the times when each wrote to a sender the later one stands.
    fn give_identities(&mut self, from: &Person, to: &Person) -> Read<Self, ()>;

    /// Appends to the log of what was tied together.
    fn append_tie(&mut self, tie: &TieColumns) -> Read<Self, ()>;

    /// Writes the variant of an identity's address to use, unless it is written already.
    fn set_variant(&mut self, identity: IdentityRow, variant: AddressVariant) -> Read<Self, ()>;

    /// Whether one of the person's last messages was delivered to this identity under a variant of
    /// its address.
    fn was_delivered(&mut self, person: &Person, variant: AddressVariant) -> Read<Self, bool>;

    /// Writes what the person said, at each of their identities, and appends to its history.
    fn set_consent(
        &mut self,
        person: PersonRow,
        consent: Consent,
        cause: &ConsentCause,
    ) -> Read<Self, ()>;

    /// People who were asked before a time and have not answered, at most `limit`.
    fn unanswered(&mut self, before: Timestamp, limit: usize) -> Read<Self, Vec<PersonRow>>;

    /// When the person last wrote to a sender.
    fn last_inbound(
        &mut self,
        person: PersonRow,
        sender: SenderRow,
    ) -> Read<Self, Option<Timestamp>>;

    /// Notes that the person wrote to a sender.
    fn set_last_inbound(
        &mut self,
        person: PersonRow,
        sender: SenderRow,
        now: Timestamp,
    ) -> Read<Self, ()>;
}

/// The tables `hold` and `hold_evidence`.
pub(crate) trait HoldRows: Halting {
    /// Until when a message must wait because its person or its template is held.
    fn held_until(&mut self, progress: &Progress, now: Timestamp) -> Read<Self, Option<Timestamp>>;

    /// Whether a sender, or the whole account, is held.
    fn is_held(&mut self, sender: SenderRow, now: Timestamp) -> Read<Self, bool>;

    /// The last hold of a subject, over or not.
    fn last_hold(&mut self, subject: &HoldSubject) -> Read<Self, Option<EarlierHold>>;

    /// Inserts a hold.
    fn insert_hold(&mut self, hold: &HoldColumns) -> Read<Self, ()>;

    /// Lifts a hold that is in effect. `false` when there is none of that row.
    fn lift_hold(&mut self, hold: HoldRow, now: Timestamp) -> Read<Self, bool>;

    /// Moves the times of a hold back, unless its end has changed meanwhile; `false` then. An end that
    /// means "when it is lifted" stays.
    fn move_hold(&mut self, hold: HoldRow, step: &HoldStep) -> Read<Self, bool>;

    /// Makes the holds of one person another's, and the evidence that messages of theirs have left.
    fn give_holds(&mut self, from: PersonRow, to: PersonRow) -> Read<Self, ()>;

    /// The holds that were lifted and have not let go of everything, oldest first.
    fn holds_to_release(&mut self, limit: usize) -> Read<Self, Vec<HoldRow>>;

    /// Messages that are due when a hold ends, because of it.
    fn waiting_for_hold(&mut self, hold: HoldRow, limit: usize) -> Read<Self, Vec<MessageRow>>;

    /// Notes that nothing waits any more for a hold that was lifted.
    fn end_release(&mut self, hold: HoldRow) -> Read<Self, ()>;

    /// What this message, and messages to other people since a time, say about a code.
    fn evidence(
        &mut self,
        progress: &Progress,
        code: u32,
        since: Timestamp,
    ) -> Read<Self, CodeEvidence>;

    /// Notes that a message met a code, and whether it has stopped others by that.
    fn keep_evidence(
        &mut self,
        progress: &Progress,
        code: u32,
        stopped_others: bool,
        now: Timestamp,
    ) -> Read<Self, ()>;

    /// Removes holds that ended, and evidence that was kept, before a time, at most `limit` of each.
    fn prune_holds(&mut self, ended: Timestamp, kept: Timestamp, limit: usize) -> Read<Self, u64>;

    /// The number of a message's template, 0 for none.
    fn template_of(&mut self, message: MessageRow) -> Read<Self, i64>;

    /// When an attempt was opened.
    fn started_at(&mut self, attempt: AttemptRow) -> Read<Self, Option<Timestamp>>;
}

/// Words of a person that are put into order; what was said before them is settled.
pub(crate) const WORDS_MAX: usize = 20;

/// The tables `inbound`, `inbound_cursor` and `consent_check`.
pub(crate) trait InboundRows: Halting {
    /// An inbound message that is stored.
    fn inbound(&mut self, sid: Sid) -> Read<Self, Option<KnownInbound>>;

    /// Inserts an inbound message; returns its key.
    fn insert_inbound(&mut self, inbound: &InboundColumns<'_>) -> Read<Self, i64>;

    /// Writes what a callback tells about a message that was found in the list: its type, media,
    /// reply, payload and word.
    fn complete_inbound(&mut self, key: i64, inbound: &InboundColumns<'_>) -> Read<Self, ()>;

    /// The person's last words about consent, newest arrival first, at most [`WORDS_MAX`].
    fn words(&mut self, person: PersonRow) -> Read<Self, Vec<WordColumns>>;

    /// Writes when one of the person's words was written.
    fn set_written_at(
        &mut self,
        person: PersonRow,
        key: i64,
        written_at: Timestamp,
    ) -> Read<Self, ()>;

    /// Notes that the person's words must be put into order, or when to look again.
    fn set_consent_check(&mut self, person: PersonRow, due_at: Timestamp) -> Read<Self, ()>;

    /// Notes that the person's words are in order.
    fn delete_consent_check(&mut self, person: PersonRow) -> Read<Self, ()>;

    /// Makes the inbound messages of one person another's, and what must be checked about their
    /// words. They keep the identity that wrote them.
    fn give_inbound(&mut self, from: PersonRow, to: PersonRow) -> Read<Self, ()>;

    /// Writes how far the provider's list was read.
    fn set_inbound_cursor(&mut self, cursor: &InboundCursor) -> Read<Self, ()>;
}

/// The tables `idempotency` and `business_key`.
pub(crate) trait KeyRows: Halting {
    /// What an earlier request with this key was answered, and the hash of its body.
    fn earlier_answer(&mut self, key: &[u8; 16]) -> Read<Self, Option<EarlierAnswer>>;

    /// Keeps the answer to a request.
    fn insert_answer(
        &mut self,
        idempotency: &Idempotency,
        message: MessageRow,
        state: State,
        now: Timestamp,
    ) -> Read<Self, ()>;

    /// Removes answers given before a time, at most `limit`; returns how many.
    fn prune_answers(&mut self, before: Timestamp, limit: usize) -> Read<Self, u64>;

    /// The newest message about a subject.
    fn newest_about(&mut self, subject: &Subject) -> Read<Self, Option<NewestAbout>>;

    /// The subjects of a person with the newest message about each; they are the person's no more.
    fn take_subjects(&mut self, person: PersonRow) -> Read<Self, Vec<TakenSubject>>;

    /// Writes which message about a subject is the newest.
    fn set_newest_about(
        &mut self,
        subject: &Subject,
        version: Option<u64>,
        message: MessageRow,
    ) -> Read<Self, ()>;
}

/// Every row of one transaction.
pub(crate) trait Rows:
    MessageRows
    + AttemptRows
    + ReportRows
    + EventRows
    + QueueRows
    + WatchRows
    + CounterRows
    + PersonRows
    + SenderRows
    + HoldRows
    + InboundRows
    + CallbackUrlRows
    + KeyRows
    + AccountRows
    + ApiKeyRows
    + HealthRows
    + RetentionRows
{
}
impl<T> Rows for T where
    T: MessageRows
        + AttemptRows
        + ReportRows
        + EventRows
        + QueueRows
        + WatchRows
        + CounterRows
        + PersonRows
        + SenderRows
        + HoldRows
        + InboundRows
        + CallbackUrlRows
        + KeyRows
        + AccountRows
        + ApiKeyRows
        + HealthRows
        + RetentionRows
{
}
