//! Holds of a sheet. All of them are loaded at its beginning.

use delivery::hold::{EarlierHold, HoldScope, ends_when_lifted};
use delivery::progress::Progress;
use delivery::row::{AttemptRow, HoldRow, MessageRow, PersonRow, SenderRow};
use delivery::time::Timestamp;

use super::record::{EvidenceRecord, HoldRecord, Need};
use super::tables::{Halt, Sheet};
use crate::store::operations::columns::{CodeEvidence, HoldColumns, HoldStep, HoldSubject};
use crate::store::operations::rows::{Broken, HoldRows};

impl HoldRows for Sheet {
    fn held_until(
        &mut self,
        progress: &Progress,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Halt> {
        let message = progress.message;
        let need = || Need::Message(message);
        let found = self.read(|sheet| &sheet.messages, &message, need)?;
        let record = found.ok_or(Broken::Gone("message"))?;
        let concerns = |subject: HoldSubject| match subject.scope {
            HoldScope::Recipient => {
                subject.subject == progress.person.0
                    && subject.kind.is_none_or(|kind| kind == record.kind)
            }
            HoldScope::Template => record.template > 0 && subject.subject == record.template,
            HoldScope::Sender | HoldScope::Account => false,
        };
        let held = self.holds.rows().map(|(_, hold)| hold);
        let held = held.filter(|hold| hold.is_in_effect(now) && concerns(hold.subject));
        Ok(held.map(|hold| hold.until).max())
    }

    fn is_held(&mut self, sender: SenderRow, now: Timestamp) -> Result<bool, Halt> {
        let mut holds = self.holds.rows().map(|(_, hold)| hold);
        Ok(holds.any(|hold| {
            hold.is_in_effect(now)
                && match hold.subject.scope {
                    HoldScope::Sender => hold.subject.subject == sender.0,
                    HoldScope::Account => true,
                    HoldScope::Recipient | HoldScope::Template => false,
                }
        }))
    }

    fn last_hold(&mut self, subject: &HoldSubject) -> Result<Option<EarlierHold>, Halt> {
        let of_it = self
            .holds
            .rows()
            .filter(|(_, hold)| hold.subject == *subject);
        let last = of_it.max_by_key(|(row, _)| **row);
        Ok(last.map(|(_, hold)| EarlierHold {
            since: hold.since,
            until: hold.until,
            lifted_at: hold.lifted.then_some(hold.ends_at),
            step: hold.step,
        }))
    }

    fn insert_hold(&mut self, hold: &HoldColumns) -> Result<(), Halt> {
        self.next.hold += 1;
        let record = HoldRecord {
            subject: hold.subject,
            since: hold.since,
            until: hold.until,
            ends_at: hold.until,
            lifted: false,
            releasing: false,
            step: hold.step,
            code: hold.code,
            message: hold.message,
        };
        self.holds.set(HoldRow(self.next.hold), Some(record));
        Ok(())
    }

    fn lift_hold(&mut self, hold: HoldRow, now: Timestamp) -> Result<bool, Halt> {
        let found = self.holds.get(&hold).flatten().cloned();
        let Some(mut record) = found.filter(|record| record.is_in_effect(now)) else {
            return Ok(false);
        };
        record.ends_at = now;
        record.lifted = true;
        record.releasing = true;
        self.holds.set(hold, Some(record));
        Ok(true)
    }

    fn move_hold(&mut self, hold: HoldRow, step: &HoldStep) -> Result<bool, Halt> {
        let found = self.holds.get(&hold).flatten().cloned();
        let Some(mut record) = found.filter(|record| record.ends_at == step.ends_at) else {
            return Ok(false);
        };
        record.since = record.since.minus(step.by);
        for end in [&mut record.until, &mut record.ends_at] {
            if !ends_when_lifted(*end) {
                *end = end.minus(step.by);
            }
        }
        self.holds.set(hold, Some(record));
        Ok(true)
    }

    fn give_holds(&mut self, from: PersonRow, to: PersonRow) -> Result<(), Halt> {
        let theirs: Vec<(HoldRow, HoldRecord)> = self
            .holds
            .rows()
            .filter(|(_, hold)| hold.subject.scope == HoldScope::Recipient)
            .filter(|(_, hold)| hold.subject.subject == from.0)
            .map(|(row, hold)| (*row, hold.clone()))
            .collect();
        for (row, mut hold) in theirs {
            hold.subject.subject = to.0;
            self.holds.set(row, Some(hold));
        }
        let left: Vec<((MessageRow, u32), EvidenceRecord)> = self
            .evidence
            .rows()
            .filter(|(_, known)| known.person == from)
            .map(|(key, known)| (*key, known.clone()))
            .collect();
        for (key, mut known) in left {
            known.person = to;
            self.evidence.set(key, Some(known));
        }
        Ok(())
    }

    fn holds_to_release(&mut self, limit: usize) -> Result<Vec<HoldRow>, Halt> {
        let releasing = self.holds.rows().filter(|(_, hold)| hold.releasing);
        let mut rows: Vec<HoldRow> = releasing.map(|(row, _)| *row).collect();
        rows.sort_unstable();
        rows.truncate(limit);
        Ok(rows)
    }

    fn waiting_for_hold(&mut self, hold: HoldRow, limit: usize) -> Result<Vec<MessageRow>, Halt> {
        let Some(record) = self.holds.get(&hold).flatten().cloned() else {
            return Ok(Vec::new());
        };
        let need = || Need::WaitingUntil(record.until);
        let loaded = self.read(|sheet| &sheet.waiting_until, &record.until, need)?;
        let changed: Vec<MessageRow> = self.progress.changes().map(|(row, _)| *row).collect();
        let mut rows = loaded.unwrap_or_default();
        rows.extend(changed);
        rows.sort_unstable();
        rows.dedup();
        let mut waiting = Vec::new();
        for row in rows {
            let progress = self.progress_of(row)?;
            if progress.due_at != Some(record.until) {
                continue;
            }
            let subject = match record.subject.scope {
                HoldScope::Recipient => progress.person.0,
                HoldScope::Template => self.template_of(row)?,
                HoldScope::Sender => progress.sender.0,
                HoldScope::Account => 0,
            };
            if subject == record.subject.subject {
                waiting.push(row);
            }
        }
        waiting.truncate(limit);
        Ok(waiting)
    }

    fn end_release(&mut self, hold: HoldRow) -> Result<(), Halt> {
        if let Some(mut record) = self.holds.get(&hold).flatten().cloned() {
            record.releasing = false;
            self.holds.set(hold, Some(record));
        }
        Ok(())
    }

    fn evidence(
        &mut self,
        progress: &Progress,
        code: u32,
        since: Timestamp,
    ) -> Result<CodeEvidence, Halt> {
        let own = self.evidence.get(&(progress.message, code)).flatten();
        let mut others = self.evidence.rows().filter(|((_, of), _)| *of == code);
        Ok(CodeEvidence {
            met_before: own.is_some(),
            stopped_others_before: own.is_some_and(|own| own.stopped_others),
            others_met_it: others.any(|(_, other)| {
                other.at > since
                    && other.sender == progress.sender
                    && other.person != progress.person
            }),
        })
    }

    fn keep_evidence(
        &mut self,
        progress: &Progress,
        code: u32,
        stopped_others: bool,
        now: Timestamp,
    ) -> Result<(), Halt> {
        let key = (progress.message, code);
        let before = self.evidence.get(&key).flatten();
        let record = EvidenceRecord {
            person: progress.person,
            sender: progress.sender,
            at: now,
            stopped_others: stopped_others || before.is_some_and(|known| known.stopped_others),
        };
        self.evidence.set(key, Some(record));
        Ok(())
    }

    fn prune_holds(
        &mut self,
        ended_before: Timestamp,
        kept_before: Timestamp,
        _limit: usize,
    ) -> Result<u64, Halt> {
        let over = |hold: &HoldRecord| hold.ends_at <= ended_before && !hold.releasing;
        let holds = self.holds.rows().filter(|(_, hold)| over(hold));
        let holds: Vec<HoldRow> = holds.map(|(row, _)| *row).collect();
        let kept = self
            .evidence
            .rows()
            .filter(|(_, known)| known.at <= kept_before);
        let kept: Vec<(MessageRow, u32)> = kept.map(|(key, _)| *key).collect();
        let removed = holds.len() + kept.len();
        for hold in holds {
            self.holds.set(hold, None);
        }
        for key in kept {
            self.evidence.set(key, None);
        }
        Ok(u64::try_from(removed).unwrap_or(u64::MAX))
    }

    fn template_of(&mut self, message: MessageRow) -> Result<i64, Halt> {
        let need = || Need::Message(message);
        let found = self.read(|sheet| &sheet.messages, &message, need)?;
        Ok(found.ok_or(Broken::Gone("message"))?.template)
    }

    fn started_at(&mut self, attempt: AttemptRow) -> Result<Option<Timestamp>, Halt> {
        let need = || Need::Attempt(attempt);
        let found = self.read(|sheet| &sheet.attempts, &attempt, need)?;
        Ok(found.map(|attempt| attempt.started_at))
    }
}
