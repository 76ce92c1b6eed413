//! Idempotency keys, business keys and keys of the API of a sheet.

use delivery::row::{MessageRow, PersonRow};
use delivery::state::State;
use delivery::time::Timestamp;

use super::record::{AnswerRecord, ApiKeyRecord, Need};
use super::tables::{Halt, Sheet};
use crate::store::operations::columns::{EarlierAnswer, NewestAbout, Subject, TakenSubject};
use crate::store::operations::rows::{AccountRows, ApiKeyRows, Broken, HealthRows, KeyRows};
use crate::store::{ClockNote, Idempotency, MessageId, NewApiKey, ResumeAfter};

impl Sheet {
    fn id_of(&mut self, message: MessageRow) -> Result<MessageId, Halt> {
        let need = || Need::Message(message);
        let found = self.read(|sheet| &sheet.messages, &message, need)?;
        Ok(found.ok_or(Broken::Gone("message"))?.id)
    }
}

impl KeyRows for Sheet {
    fn earlier_answer(&mut self, key: &[u8; 16]) -> Result<Option<EarlierAnswer>, Halt> {
        let found = self.read(|sheet| &sheet.answers, key, || Need::Answer(*key))?;
        let Some(answer) = found else { return Ok(None) };
        Ok(Some(EarlierAnswer {
            body: answer.body,
            id: self.id_of(answer.message)?,
            state: answer.state,
        }))
    }

    fn insert_answer(
        &mut self,
        idempotency: &Idempotency,
        message: MessageRow,
        state: State,
        now: Timestamp,
    ) -> Result<(), Halt> {
        let answer = AnswerRecord {
            body: idempotency.body,
            message,
            state,
            created_at: now,
        };
        self.answers.set(idempotency.key, Some(answer));
        Ok(())
    }

    fn prune_answers(&mut self, before: Timestamp, limit: usize) -> Result<u64, Halt> {
        let need = || Need::OldAnswers(before);
        let keys = self.read(|sheet| &sheet.old_answers, &before, need)?;
        let mut removed = 0;
        for key in keys.unwrap_or_default().into_iter().take(limit) {
            self.answers.set(key, None);
            removed += 1;
        }
        Ok(removed)
    }

    fn newest_about(&mut self, subject: &Subject) -> Result<Option<NewestAbout>, Halt> {
        let need = || Need::Subject(*subject);
        let found = self.read(|sheet| &sheet.subjects, subject, need)?;
        let Some((version, message)) = found else {
            return Ok(None);
        };
        Ok(Some(NewestAbout {
            version,
            message,
            id: self.id_of(message)?,
        }))
    }

    fn take_subjects(&mut self, person: PersonRow) -> Result<Vec<TakenSubject>, Halt> {
        self.read(
            |sheet| &sheet.subjects_of,
            &person,
            || Need::SubjectsOf(person),
        )?;
        let rows = self.subjects.rows();
        let theirs = rows.filter(|(subject, _)| subject.person == Some(person));
        let mut taken: Vec<TakenSubject> = theirs
            .map(|(subject, (version, message))| TakenSubject {
                index: subject.index,
                version: *version,
                message: *message,
            })
            .collect();
        // As they stand in their table.
        taken.sort_by_key(|subject| subject.index);
        for subject in &taken {
            let person = Some(person);
            let index = subject.index;
            self.subjects.set(Subject { person, index }, None);
        }
        Ok(taken)
    }

    fn set_newest_about(
        &mut self,
        subject: &Subject,
        version: Option<u64>,
        message: MessageRow,
    ) -> Result<(), Halt> {
        self.subjects.set(*subject, Some((version, message)));
        Ok(())
    }
}

impl ApiKeyRows for Sheet {
    fn insert_api_key(&mut self, key: &NewApiKey) -> Result<(), Halt> {
        let record = ApiKeyRecord {
            name: key.name.clone(),
            scope: key.scope,
            hash: key.hash,
            created_at: key.now,
            revoked_at: None,
            is_new: true,
        };
        self.api_keys.set(key.id.clone(), Some(record));
        Ok(())
    }

    fn revoke_api_key(&mut self, id: &str, now: Timestamp) -> Result<bool, Halt> {
        let key = id.to_owned();
        let need = || Need::ApiKey(key.clone());
        let Some(mut record) = self.read(|sheet| &sheet.api_keys, &key, need)? else {
            return Ok(false);
        };
        record.revoked_at = record.revoked_at.or(Some(now));
        self.api_keys.set(key, Some(record));
        Ok(true)
    }
}

impl AccountRows for Sheet {
    fn end_restore(&mut self, after: ResumeAfter, now: Timestamp) -> Result<(), Halt> {
        self.restore_ended.get_or_insert((after, now));
        Ok(())
    }

    fn note_clock(&mut self, note: ClockNote) -> Result<(), Halt> {
        self.clock_note = Some(note);
        Ok(())
    }
}

impl HealthRows for Sheet {
    fn probe(&mut self) -> Result<(), Halt> {
        self.probed = true;
        Ok(())
    }
}
