//! Messages, attempts, events, queue, watches and counters of a sheet.

use delivery::outcome::{OutcomeKind, SettledBy};
use delivery::progress::{Event, Progress, Watch};
use delivery::row::{AttemptRow, CohortRow, IdentityRow, MessageRow, PersonRow, SenderRow};
use delivery::sid::Sid;
use delivery::state::State;
use delivery::time::Timestamp;
use delivery::window::WindowCheck;

use super::fault::Fault;
use super::record::{AttemptRecord, EventRecord, MessageRecord, Need};
use super::tables::{Halt, Sheet};
use crate::store::operations::columns::{
    Attempt, AttemptChange, Cohort, CounterKey, MessageColumns, NewAttempt, OpenAttemptColumns,
    SealedContent, TotalKey,
};
use crate::store::operations::rows::{
    AttemptRows, Broken, CounterRows, EventRows, MessageRows, QueueRows, WatchRows,
};
use crate::store::{AttemptId, ListLag, MessageId};

/// Messages of a person among which the same content is looked for.
const SAME_CONTENT_MAX: usize = 200;

impl Sheet {
    fn message(&mut self, message: MessageRow) -> Result<MessageRecord, Halt> {
        let found = self.read(|sheet| &sheet.messages, &message, || Need::Message(message))?;
        Ok(found.ok_or(Broken::Gone("message"))?)
    }

    fn attempt_record(&mut self, attempt: AttemptRow) -> Result<Option<AttemptRecord>, Halt> {
        self.read(|sheet| &sheet.attempts, &attempt, || Need::Attempt(attempt))
    }

    fn with_progress(
        &mut self,
        row: AttemptRow,
        record: &AttemptRecord,
    ) -> Result<Option<(Attempt, Progress)>, Halt> {
        let progress = MessageRows::progress(self, record.message)?;
        Ok(progress.map(|progress| (record.attempt(row), progress)))
    }
}

impl MessageRows for Sheet {
    fn progress(&mut self, message: MessageRow) -> Result<Option<Progress>, Halt> {
        self.read(|sheet| &sheet.progress, &message, || Need::Message(message))
    }

    fn insert_progress(&mut self, progress: &Progress) -> Result<(), Halt> {
        self.update_progress(progress)
    }

    fn update_progress(&mut self, progress: &Progress) -> Result<(), Halt> {
        self.progress.set(progress.message, Some(progress.clone()));
        Ok(())
    }

    fn message_of(&mut self, id: MessageId) -> Result<Option<MessageRow>, Halt> {
        self.read(|sheet| &sheet.ids, &id, || Need::Id(id))
    }

    fn send_at(&mut self, message: MessageRow) -> Result<Option<Timestamp>, Halt> {
        Ok(self.message(message)?.send_at)
    }

    fn window_check(&mut self, message: MessageRow) -> Result<WindowCheck, Halt> {
        Ok(self.message(message)?.window_check)
    }

    fn sealed_content(&mut self, message: MessageRow) -> Result<SealedContent, Halt> {
        let message = self.message(message)?;
        Ok(SealedContent {
            id: message.id,
            identity: message.identity,
            sealed: message.sealed_content,
        })
    }

    fn recipient(&mut self, message: MessageRow) -> Result<IdentityRow, Halt> {
        Ok(self.message(message)?.identity)
    }

    fn give_messages(&mut self, from: PersonRow, to: PersonRow) -> Result<(), Halt> {
        let loaded = self.read(|sheet| &sheet.all, &from, || Need::All(from))?;
        let mut rows = self.recent_messages(from)?;
        rows.extend(loaded.unwrap_or_default());
        rows.sort_unstable();
        rows.dedup();
        for row in rows {
            let mut message = self.message(row)?;
            let mut progress = self.progress_of(row)?;
            if message.person == from {
                message.person = to;
                progress.person = to;
                self.messages.set(row, Some(message));
                self.progress.set(row, Some(progress));
            }
        }
        Ok(())
    }

    fn insert_message(&mut self, message: &MessageColumns<'_>) -> Result<MessageRow, Halt> {
        self.next.message += 1;
        let row = MessageRow(self.next.message);
        self.ids.set(message.id, Some(row));
        let record = MessageRecord {
            id: message.id,
            person: message.person,
            identity: message.identity,
            content_index: message.content_index,
            template: message.template,
            kind: message.kind,
            window_check: message.window_check,
            send_at: message.send_at,
            accepted_at: message.accepted_at,
            sealed_content: message.sealed.content.clone(),
            sealed_metadata: message.sealed.metadata.clone(),
            sealed_business_key: message.sealed.business_key.clone(),
        };
        self.messages.set(row, Some(record));
        Ok(row)
    }

    fn stoppable_messages(&mut self, person: PersonRow) -> Result<Vec<MessageRow>, Halt> {
        let need = || Need::Stoppable(person);
        let loaded = self.read(|sheet| &sheet.stoppable, &person, need)?;
        let mut rows = loaded.unwrap_or_default();
        // What the batch itself has changed decides.
        rows.retain(|row| match self.progress.get(row) {
            Some(Some(progress)) => {
                progress.person == person && self.is_held_or_waiting(progress.state)
            }
            Some(None) | None => true,
        });
        if self.fault != Some(Fault::AcceptedIsForgotten) {
            let mut changed: Vec<MessageRow> = self
                .progress
                .changes()
                .filter_map(|(row, progress)| progress.map(|progress| (row, progress)))
                .filter(|(_, progress)| progress.person == person)
                .filter(|(_, progress)| self.is_held_or_waiting(progress.state))
                .map(|(row, _)| *row)
                .collect();
            rows.append(&mut changed);
        }
        rows.sort_unstable();
        rows.dedup();
        Ok(rows)
    }

    fn same_content(
        &mut self,
        person: PersonRow,
        content_indexes: &[[u8; 16]],
        since: Timestamp,
        counts: fn(State) -> bool,
    ) -> Result<Option<MessageId>, Halt> {
        let mut rows = self.recent_messages(person)?;
        if self.fault == Some(Fault::ContentIsForgotten) {
            rows.retain(|row| row.0 <= self.first.message);
        }
        for row in rows.into_iter().take(SAME_CONTENT_MAX) {
            let message = self.message(row)?;
            if message.accepted_at <= since {
                break;
            }
            let state = self.progress_of(row)?.state;
            if content_indexes.contains(&message.content_index) && counts(state) {
                return Ok(Some(message.id));
            }
        }
        Ok(None)
    }

    fn overdue_messages(&mut self, now: Timestamp, rows: usize) -> Result<Vec<MessageRow>, Halt> {
        let need = || Need::Overdue(now);
        let loaded = self.read(|sheet| &sheet.overdue, &now, need)?;
        let changed = self.progress.changes().map(|(row, _)| *row);
        let mut candidates: Vec<MessageRow> = loaded
            .unwrap_or_default()
            .into_iter()
            .chain(changed)
            .collect();
        candidates.sort_unstable();
        candidates.dedup();
        let mut overdue = Vec::new();
        for row in candidates {
            let progress = self.progress_of(row)?;
            if let (Some(_), Some(expires_at)) = (progress.due_at, progress.expires_at)
                && expires_at <= now
            {
                overdue.push((expires_at, row));
            }
        }
        overdue.sort_unstable();
        Ok(overdue.into_iter().map(|(_, row)| row).take(rows).collect())
    }
}

impl AttemptRows for Sheet {
    fn attempt(&mut self, attempt: AttemptRow) -> Result<Option<Attempt>, Halt> {
        let record = self.attempt_record(attempt)?;
        Ok(record.map(|record| record.attempt(attempt)))
    }

    fn attempt_of(&mut self, id: AttemptId) -> Result<Option<(Attempt, Progress)>, Halt> {
        let need = || Need::Correlated(id);
        let record = self.read(|sheet| &sheet.attempts, &id.row, need)?;
        match record.filter(|record| record.nonce == id.nonce) {
            Some(record) => self.with_progress(id.row, &record),
            None => Ok(None),
        }
    }

    fn attempt_with(&mut self, sid: Sid) -> Result<Option<(Attempt, Progress)>, Halt> {
        let Some(row) = self.holder(sid)? else {
            return Ok(None);
        };
        match self.attempt_record(row)? {
            Some(record) => self.with_progress(row, &record),
            None => Ok(None),
        }
    }

    fn holder(&mut self, sid: Sid) -> Result<Option<AttemptRow>, Halt> {
        self.read(|sheet| &sheet.sids, &sid, || Need::Sid(sid))
    }

    fn message_with(&mut self, sid: Sid) -> Result<Option<MessageRow>, Halt> {
        Ok(self.attempt_with(sid)?.map(|(attempt, _)| attempt.message))
    }

    fn insert_attempt(&mut self, attempt: &NewAttempt) -> Result<AttemptRow, Halt> {
        self.next.attempt += 1;
        let row = AttemptRow(self.next.attempt);
        let record = AttemptRecord {
            message: attempt.message,
            n: attempt.n,
            nonce: attempt.nonce,
            started_at: attempt.started_at,
            finished_at: None,
            outcome: None,
            cause: None,
            variant: attempt.variant,
            seen: 0,
            sid: None,
            settled_by: None,
            error_code: None,
        };
        self.attempts.set(row, Some(record));
        Ok(row)
    }

    fn change_attempt(
        &mut self,
        attempt: AttemptRow,
        change: AttemptChange<'_>,
    ) -> Result<(), Halt> {
        let record = self.attempt_record(attempt)?;
        let mut record = record.ok_or(Broken::Gone("attempt"))?;
        match change {
            AttemptChange::Seen(seen) => record.seen = seen,
            AttemptChange::AlsoSeen(status) => record.seen |= status.bit(),
            AttemptChange::Sid(sid, by) => {
                record.sid = Some(sid);
                record.settled_by = Some(by);
                self.sids.set(sid, Some(attempt));
            }
            AttemptChange::Withdrawn => {
                if let Some(sid) = record.sid.take() {
                    self.sids.set(sid, None);
                }
                record.settled_by = None;
                record.outcome = Some(OutcomeKind::Unknown);
                record.cause = Some("evidence_withdrawn".to_owned());
                record.seen = 0;
                record.error_code = None;
            }
            AttemptChange::Absent => {
                record.outcome = Some(OutcomeKind::Absent);
                record.settled_by = Some(SettledBy::Absence);
            }
            AttemptChange::Closed(outcome, now) => {
                record.finished_at = Some(now);
                record.outcome = Some(outcome.kind());
                record.cause = outcome.cause().map(str::to_owned);
                record.error_code = outcome.code();
            }
            AttemptChange::Settled(now) => {
                record.finished_at = Some(now);
                record.outcome = Some(OutcomeKind::Sent);
                record.cause = None;
            }
            AttemptChange::Error(code) => record.error_code = code,
        }
        self.attempts.set(attempt, Some(record));
        Ok(())
    }

    fn has_open_attempt(&mut self, person: PersonRow, sender: SenderRow) -> Result<bool, Halt> {
        let need = || Need::Open(person, sender);
        let open = self.read(|sheet| &sheet.open, &(person, sender), need)?;
        Ok(open.unwrap_or_default().iter().any(|(attempt, _)| {
            self.fault != Some(Fault::OpenIsForgotten) || attempt.0 <= self.first.attempt
        }))
    }

    fn has_any_open_attempt(&mut self, person: PersonRow) -> Result<bool, Halt> {
        let senders: Vec<SenderRow> = self.senders.rows().map(|(row, _)| *row).collect();
        let mut any = false;
        for sender in senders {
            any |= self.has_open_attempt(person, sender)?;
        }
        Ok(any)
    }

    fn insert_open_attempt(&mut self, open: &OpenAttemptColumns) -> Result<(), Halt> {
        let key = (open.person, open.sender);
        let need = || Need::Open(open.person, open.sender);
        let known = self.read(|sheet| &sheet.open, &key, need)?;
        let mut known = known.unwrap_or_default();
        known.push((open.attempt, open.epoch));
        self.open.set(key, Some(known));
        Ok(())
    }

    fn delete_open_attempt(
        &mut self,
        progress: &Progress,
        attempt: AttemptRow,
    ) -> Result<(), Halt> {
        let (person, sender) = (progress.person, progress.sender);
        let need = || Need::Open(person, sender);
        let open = self.read(|sheet| &sheet.open, &(person, sender), need)?;
        let mut open = open.unwrap_or_default();
        open.retain(|(known, _)| *known != attempt);
        self.open.set((person, sender), Some(open));
        Ok(())
    }

    fn give_open_attempts(&mut self, from: PersonRow, to: PersonRow) -> Result<(), Halt> {
        let senders: Vec<SenderRow> = self.senders.rows().map(|(row, _)| *row).collect();
        for sender in senders {
            let need = || Need::Open(from, sender);
            let given = self.read(|sheet| &sheet.open, &(from, sender), need)?;
            let need = || Need::Open(to, sender);
            let known = self.read(|sheet| &sheet.open, &(to, sender), need)?;
            let mut all = known.unwrap_or_default();
            all.extend(given.unwrap_or_default());
            self.open.set((from, sender), Some(Vec::new()));
            self.open.set((to, sender), Some(all));
        }
        Ok(())
    }

    fn attempts_left_open(&mut self, epoch: i64) -> Result<Vec<AttemptRow>, Halt> {
        let need = || Need::LeftOpen(epoch);
        let keys = self.read(|sheet| &sheet.left_open, &epoch, need)?;
        let mut left = Vec::new();
        for (person, sender) in keys.unwrap_or_default() {
            let need = || Need::Open(person, sender);
            let open = self.read(|sheet| &sheet.open, &(person, sender), need)?;
            let open = open.unwrap_or_default().into_iter();
            left.extend(
                open.filter(|(_, opened)| *opened < epoch)
                    .map(|(row, _)| row),
            );
        }
        Ok(left)
    }
}

impl EventRows for Sheet {
    fn append_event(
        &mut self,
        progress: &Progress,
        event: &Event,
        now: Timestamp,
    ) -> Result<i64, Halt> {
        self.next.event += 1;
        self.events.push(EventRecord {
            id: self.next.event,
            message: progress.message,
            prev: progress.last_event,
            at: now,
            event: event.clone(),
        });
        Ok(self.next.event)
    }
}

impl QueueRows for Sheet {
    fn enqueue(&mut self, progress: &Progress, due_at: Timestamp) -> Result<(), Halt> {
        self.queue.push((true, progress.clone(), due_at));
        Ok(())
    }

    fn dequeue(&mut self, progress: &Progress, due_at: Timestamp) -> Result<(), Halt> {
        self.queue.push((false, progress.clone(), due_at));
        Ok(())
    }
}

impl WatchRows for Sheet {
    fn note_list_lag(&mut self, measured: &ListLag) -> Result<(), Halt> {
        self.lags.push(*measured);
        Ok(())
    }

    fn set_watch(&mut self, watch: Watch, polls: u32) -> Result<(), Halt> {
        self.watches.push((watch, Some(polls)));
        Ok(())
    }

    fn delete_watch(&mut self, at: Timestamp, attempt: AttemptRow) -> Result<(), Halt> {
        let kind = delivery::progress::WatchKind::Unknown;
        self.watches.push((Watch { attempt, at, kind }, None));
        Ok(())
    }
}

impl CounterRows for Sheet {
    fn cohort(&mut self, cohort: &Cohort) -> Result<Option<CohortRow>, Halt> {
        self.read(|sheet| &sheet.cohorts, cohort, || Need::Cohort(*cohort))
    }

    fn insert_cohort(&mut self, cohort: &Cohort) -> Result<CohortRow, Halt> {
        self.next.cohort += 1;
        let row = CohortRow(self.next.cohort);
        self.cohorts.set(*cohort, Some(row));
        Ok(row)
    }

    fn template(&mut self, content_sid: &str) -> Result<Option<i64>, Halt> {
        let key = content_sid.to_owned();
        self.read(
            |sheet| &sheet.templates,
            &key,
            || Need::Template(key.clone()),
        )
    }

    fn insert_template(&mut self, content_sid: &str) -> Result<i64, Halt> {
        self.next.template += 1;
        self.templates
            .set(content_sid.to_owned(), Some(self.next.template));
        Ok(self.next.template)
    }

    fn add_counts(&mut self, counts: &[(CounterKey, i64)]) -> Result<(), Halt> {
        self.counts.extend_from_slice(counts);
        Ok(())
    }

    fn forget_zero_counts(&mut self, counts: &[CounterKey]) -> Result<(), Halt> {
        self.zero_counts.extend_from_slice(counts);
        Ok(())
    }

    fn add_totals(&mut self, totals: &[(TotalKey, i64)]) -> Result<(), Halt> {
        self.totals.extend_from_slice(totals);
        Ok(())
    }
}
