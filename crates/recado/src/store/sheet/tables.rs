//! The tables of a sheet, and the end of a run.

use std::collections::{HashMap, HashSet};

use delivery::address::AddressVariant;
use delivery::outcome::ProviderStatus;
use delivery::progress::{Progress, Watch};
use delivery::row::{
    AttemptRow, CohortRow, HoldRow, IdentityRow, MessageRow, PersonRow, SenderRow,
};
use delivery::sid::Sid;
use delivery::state::State;
use delivery::time::Timestamp;

use crate::store::operations::columns::{
    Cohort, CounterKey, Subject, TieColumns, TotalKey, WordColumns,
};
use crate::store::operations::removal::{Removable, Removal};
use crate::store::operations::rows::{Broken, Halting};
use crate::store::person::Person;
use crate::store::{ClockNote, InboundCursor, ListLag, MessageId, ResumeAfter};

use super::fault::Fault;
use super::record::{
    AnswerRecord, ApiKeyRecord, AttemptRecord, CheckChange, ConsentRecord, EventRecord,
    EvidenceRecord, HoldRecord, InboundRecord, MessageRecord, Need, Numbers, ParkedRecord,
    SenderRecord,
};
use super::table::Table;

/// Why a run on a sheet ends early.
#[derive(Debug)]
pub(crate) enum Halt {
    /// Something was not loaded; the sheet knows what.
    Missing,
    /// The operation cannot go on.
    Broken(Broken),
}

impl From<Broken> for Halt {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// The rows of one transaction.
pub(crate) struct Sheet {
    pub(crate) fault: Option<Fault>,
    needs: HashSet<Need>,
    pub(super) first: Numbers,
    pub(super) next: Numbers,
    pub(crate) messages: Table<MessageRow, MessageRecord>,
    pub(crate) ids: Table<MessageId, MessageRow>,
    pub(crate) progress: Table<MessageRow, Progress>,
    pub(crate) recent: Table<PersonRow, Vec<MessageRow>>,
    pub(crate) stoppable: Table<PersonRow, Vec<MessageRow>>,
    pub(crate) overdue: Table<Timestamp, Vec<MessageRow>>,
    pub(crate) attempts: Table<AttemptRow, AttemptRecord>,
    pub(crate) sids: Table<Sid, AttemptRow>,
    pub(crate) open: Table<(PersonRow, SenderRow), Vec<(AttemptRow, i64)>>,
    pub(crate) left_open: Table<i64, Vec<(PersonRow, SenderRow)>>,
    pub(crate) coded: Table<(AttemptRow, ProviderStatus, u32), ()>,
    pub(crate) coded_of: Table<AttemptRow, ()>,
    pub(crate) parked: Table<Sid, Vec<ParkedRecord>>,
    pub(crate) old_parked: Table<Timestamp, Vec<Sid>>,
    pub(crate) people: Table<IdentityRow, Person>,
    pub(crate) indexes: Table<[u8; 32], IdentityRow>,
    pub(crate) areas: HashMap<IdentityRow, i64>,
    pub(crate) tied: Table<PersonRow, Vec<IdentityRow>>,
    pub(crate) all: Table<PersonRow, Vec<MessageRow>>,
    pub(crate) inbound_of: Table<PersonRow, Vec<Sid>>,
    pub(crate) unanswered: Table<Timestamp, Vec<PersonRow>>,
    pub(crate) conversations: Table<PersonRow, Vec<(SenderRow, Timestamp)>>,
    pub(crate) senders: Table<SenderRow, SenderRecord>,
    pub(crate) holds: Table<HoldRow, HoldRecord>,
    pub(crate) evidence: Table<(MessageRow, u32), EvidenceRecord>,
    pub(crate) waiting_until: Table<Timestamp, Vec<MessageRow>>,
    pub(crate) cohorts: Table<Cohort, CohortRow>,
    pub(crate) templates: Table<String, i64>,
    pub(crate) inbound: Table<Sid, InboundRecord>,
    pub(crate) words: Table<PersonRow, Vec<WordColumns>>,
    pub(crate) callback_urls: Table<(), Vec<(String, Option<Timestamp>)>>,
    pub(crate) answers: Table<[u8; 16], AnswerRecord>,
    pub(crate) old_answers: Table<Timestamp, Vec<[u8; 16]>>,
    pub(crate) subjects_of: Table<PersonRow, ()>,
    pub(crate) subjects: Table<Subject, (Option<u64>, MessageRow)>,
    pub(crate) api_keys: Table<String, ApiKeyRecord>,
    /// The queue, the watches, what must be checked and the cursors are only written.
    pub(crate) queue: Vec<(bool, Progress, Timestamp)>,
    pub(crate) watches: Vec<(Watch, Option<u32>)>,
    pub(crate) lags: Vec<ListLag>,
    pub(crate) events: Vec<EventRecord>,
    pub(crate) consents: Vec<ConsentRecord>,
    pub(crate) consent_checks: Vec<(PersonRow, CheckChange)>,
    pub(crate) cursors: Vec<InboundCursor>,
    pub(crate) ties: Vec<TieColumns>,
    pub(crate) counts: Vec<(CounterKey, i64)>,
    pub(crate) zero_counts: Vec<CounterKey>,
    pub(crate) totals: Vec<(TotalKey, i64)>,
    pub(crate) removable: Table<Removal, Removable>,
    pub(crate) removed: Vec<Removable>,
    pub(crate) probed: bool,
    pub(crate) restore_ended: Option<(ResumeAfter, Timestamp)>,
    pub(crate) clock_note: Option<ClockNote>,
}

impl Halting for Sheet {
    type Error = Halt;

    fn goes_on_after(error: &Halt) -> bool {
        matches!(error, Halt::Missing)
    }
}

impl Sheet {
    /// An empty sheet; every sender is loaded, and new rows take the numbers after `numbers`.
    pub(crate) fn new(
        fault: Option<Fault>,
        numbers: Numbers,
        senders: impl IntoIterator<Item = (SenderRow, SenderRecord)>,
    ) -> Self {
        let mut sheet = Self {
            fault,
            needs: HashSet::new(),
            first: numbers,
            next: numbers,
            messages: Table::default(),
            ids: Table::default(),
            progress: Table::default(),
            recent: Table::default(),
            stoppable: Table::default(),
            overdue: Table::default(),
            attempts: Table::default(),
            sids: Table::default(),
            open: Table::default(),
            left_open: Table::default(),
            coded: Table::default(),
            coded_of: Table::default(),
            parked: Table::default(),
            old_parked: Table::default(),
            people: Table::default(),
            indexes: Table::default(),
            areas: HashMap::new(),
            tied: Table::default(),
            all: Table::default(),
            inbound_of: Table::default(),
            unanswered: Table::default(),
            conversations: Table::default(),
            senders: Table::default(),
            holds: Table::default(),
            evidence: Table::default(),
            waiting_until: Table::default(),
            cohorts: Table::default(),
            templates: Table::default(),
            inbound: Table::default(),
            words: Table::default(),
            callback_urls: Table::default(),
            answers: Table::default(),
            old_answers: Table::default(),
            subjects_of: Table::default(),
            subjects: Table::default(),
            api_keys: Table::default(),
            queue: Vec::new(),
            watches: Vec::new(),
            lags: Vec::new(),
            events: Vec::new(),
            consents: Vec::new(),
            consent_checks: Vec::new(),
            cursors: Vec::new(),
            ties: Vec::new(),
            counts: Vec::new(),
            zero_counts: Vec::new(),
            totals: Vec::new(),
            removable: Table::default(),
            removed: Vec::new(),
            probed: false,
            restore_ended: None,
            clock_note: None,
        };
        for (row, sender) in senders {
            sheet.senders.load(row, Some(sender));
        }
        sheet
    }

    /// Drops every change, before another run.
    pub(crate) fn forget(&mut self) {
        self.next = self.first;
        self.messages.forget();
        self.ids.forget();
        self.progress.forget();
        self.attempts.forget();
        self.sids.forget();
        self.open.forget();
        if self.fault != Some(Fault::CodedReportsStay) {
            self.coded.forget();
        }
        self.parked.forget();
        self.people.forget();
        self.indexes.forget();
        self.areas.clear();
        self.conversations.forget();
        self.senders.forget();
        self.holds.forget();
        self.evidence.forget();
        self.cohorts.forget();
        self.templates.forget();
        self.inbound.forget();
        self.words.forget();
        self.callback_urls.forget();
        self.answers.forget();
        self.subjects.forget();
        self.api_keys.forget();
        self.queue.clear();
        self.watches.clear();
        self.lags.clear();
        self.events.clear();
        self.consents.clear();
        self.consent_checks.clear();
        self.cursors.clear();
        self.ties.clear();
        self.counts.clear();
        self.zero_counts.clear();
        self.totals.clear();
        self.removed.clear();
        self.probed = false;
        self.restore_ended = None;
        self.clock_note = None;
    }

    /// What the last run missed.
    pub(crate) fn take_needs(&mut self) -> HashSet<Need> {
        std::mem::take(&mut self.needs)
    }

    /// Notes what is missing.
    pub(super) fn miss<T>(&mut self, need: Need) -> Result<T, Halt> {
        self.needs.insert(need);
        Err(Halt::Missing)
    }

    /// A row that may not be there.
    pub(super) fn read<K, V: Clone>(
        &mut self,
        table: fn(&Self) -> &Table<K, V>,
        key: &K,
        need: impl FnOnce() -> Need,
    ) -> Result<Option<V>, Halt>
    where
        K: Clone + Eq + std::hash::Hash,
    {
        match table(self).get(key) {
            Some(found) => Ok(found.cloned()),
            None => self.miss(need()),
        }
    }

    /// The person's messages, newest first, those of this batch among them.
    pub(super) fn recent_messages(&mut self, person: PersonRow) -> Result<Vec<MessageRow>, Halt> {
        let loaded = self.read(|sheet| &sheet.recent, &person, || Need::Recent(person))?;
        let mut rows: Vec<MessageRow> = self
            .messages
            .changes()
            .filter(|(_, record)| record.is_some_and(|record| record.person == person))
            .map(|(row, _)| *row)
            .collect();
        // What was given to somebody else is not theirs any more.
        let loaded = loaded.unwrap_or_default().into_iter();
        rows.extend(loaded.filter(|row| match self.messages.get(row) {
            Some(Some(record)) => record.person == person,
            Some(None) | None => true,
        }));
        rows.sort_unstable_by(|a, b| b.cmp(a));
        rows.dedup();
        Ok(rows)
    }

    /// The progress of a message that must have one.
    pub(super) fn progress_of(&mut self, message: MessageRow) -> Result<Progress, Halt> {
        let found = self.read(|sheet| &sheet.progress, &message, || Need::Message(message))?;
        Ok(found.ok_or(Broken::Gone("progress"))?)
    }

    pub(super) fn is_held_or_waiting(&self, state: State) -> bool {
        match self.fault {
            Some(Fault::HeldIsForgotten) => state.is_stoppable() && state != State::Held,
            _ => state.is_stoppable(),
        }
    }

    pub(super) fn was_delivered_as(
        &mut self,
        message: MessageRow,
        variant: AddressVariant,
    ) -> Result<bool, Halt> {
        let progress = self.progress_of(message)?;
        let (Some(_), Some(attempt)) = (progress.delivered_at, progress.attempt) else {
            return Ok(false);
        };
        let attempt = self.read(|sheet| &sheet.attempts, &attempt, || Need::Attempt(attempt))?;
        Ok(attempt.is_some_and(|attempt| attempt.variant == variant))
    }
}
