//! The queue and the attempts.

use std::time::Duration;

use delivery::address::AddressVariant;
use delivery::consent::Consent;
use delivery::event::Source;
use delivery::message::{Content, Priority};
use delivery::outcome::{Outcome, ProviderStatus};
use delivery::sid::Sid;
use delivery::time::Timestamp;
use delivery::window::{self, WindowCheck};
use rusqlite::{Connection, OptionalExtension, params};

use super::SqliteStore;
use super::accept::{associated_data, message_id};
use super::context::{Context, TransitionInput, stored_at};
use super::person::{self, Person};
use crate::store::{
    AttemptId, CloseRequest, CloseResult, DueMessage, DuePage, DueQuery, OpenAttempt, OpenRequest,
    OpenResult, StoreError, sealed,
};
use delivery::progress::{Flags, Progress, Reason, ReportFact};

/// From this age on a message's `send_at` decides whether it is too old to be tried again.
const SEND_AT_MATTERS: Duration = Duration::from_secs(3_600);

impl SqliteStore {
    pub(super) fn due_page(&self, query: &DueQuery) -> Result<DuePage, StoreError> {
        self.read(|db| {
            let paused = db
                .prepare_cached("SELECT 1 FROM sender WHERE id = ?1 AND paused_at IS NOT NULL")?
                .exists([query.sender])?;
            let mut page = DuePage {
                paused,
                ..DuePage::default()
            };
            for priority in Priority::ALL {
                read_due(db, query, *priority, &mut page)?;
            }
            Ok(page)
        })
    }

    pub(super) async fn open_batch(
        &self,
        batch: Vec<OpenRequest>,
    ) -> Result<Vec<OpenResult>, StoreError> {
        self.writer
            .run(move |context| batch.iter().map(|request| context.open(request)).collect())
            .await
    }

    pub(super) async fn close_batch(
        &self,
        batch: Vec<CloseRequest>,
    ) -> Result<Vec<CloseResult>, StoreError> {
        self.writer
            .run(move |context| {
                batch
                    .iter()
                    .map(|request| {
                        let CloseRequest {
                            attempt,
                            outcome,
                            now,
                            random,
                        } = request;
                        context.close(*attempt, outcome, Source::Dispatch, *now, *random)
                    })
                    .collect()
            })
            .await
    }

    pub(super) async fn defer_batch(&self, batch: Vec<(i64, Timestamp)>) -> Result<(), StoreError> {
        self.writer
            .run(move |context| {
                batch
                    .iter()
                    .try_for_each(|(key, at)| context.defer(*key, *at))
            })
            .await
    }
}

fn read_due(
    db: &Connection,
    query: &DueQuery,
    priority: Priority,
    page: &mut DuePage,
) -> rusqlite::Result<()> {
    let number = priority.number();
    let missing = query.limit.saturating_sub(page.due.len());
    let limit = i64::try_from(missing + query.except.len()).unwrap_or(i64::MAX);
    let mut statement = db.prepare_cached(
        "SELECT message_id, person_id, due_at FROM queue \
         WHERE sender_id = ?1 AND priority = ?2 AND due_at <= ?3 \
         ORDER BY due_at, message_id LIMIT ?4",
    )?;
    let mut rows = statement.query(params![query.sender, number, query.now.micros(), limit])?;
    while let Some(row) = rows.next()? {
        let message: i64 = row.get(0)?;
        if page.due.len() < query.limit && !query.except.contains(&message) {
            page.due.push(DueMessage {
                message,
                person: row.get(1)?,
                priority,
                due_at: Timestamp::from_micros(row.get(2)?),
            });
        }
    }
    let next: Option<i64> = db
        .prepare_cached(
            "SELECT due_at FROM queue WHERE sender_id = ?1 AND priority = ?2 AND due_at > ?3 \
             ORDER BY due_at LIMIT 1",
        )?
        .query_row(params![query.sender, number, query.now.micros()], |row| {
            row.get(0)
        })
        .optional()?;
    let next = next.map(Timestamp::from_micros);
    page.next_due_at = [page.next_due_at, next].into_iter().flatten().min();
    Ok(())
}

impl Context<'_> {
    fn open(&mut self, request: &OpenRequest) -> rusqlite::Result<OpenResult> {
        let Some(mut progress) = self.progress(request.message)? else {
            return Ok(OpenResult::Gone);
        };
        if !progress.state.is_waiting() || progress.due_at.is_none_or(|due| due > request.now) {
            return Ok(OpenResult::Gone);
        }
        let person = person::by_id(self.db, progress.person)?;
        if !self.may_leave(&mut progress, &person, request.now)? {
            return Ok(OpenResult::Gone);
        }
        if self.has_open_attempt(&progress)? || self.is_paused(progress.sender)? {
            return Ok(OpenResult::Busy);
        }
        let Some((public_id, content)) = self.content(&progress, &person)? else {
            self.apply(
                &mut progress,
                TransitionInput::at(request.now),
                |transition| {
                    transition.give_up(Reason::Unreadable);
                },
            )?;
            return Ok(OpenResult::Gone);
        };
        let Some(address) = person.address(self.shared)? else {
            return Ok(OpenResult::Gone);
        };
        let variant = self.variant(&progress, &person)?;
        let to = match (variant, address.alternative()) {
            (AddressVariant::WithoutNinthDigit, Some(other)) => format!("whatsapp:{other}"),
            _ => address.whatsapp(),
        };
        let attempt = self.insert_attempt(&mut progress, request, variant)?;
        Ok(OpenResult::Open(Box::new(OpenAttempt {
            attempt: AttemptId {
                key: attempt,
                nonce: request.nonce,
            },
            message: progress.message,
            id: message_id(&public_id)?,
            to,
            content,
            expires_at: progress.expires_at,
        })))
    }

    /// The last look before anything leaves: deadline, opt-out, hold, window.
    fn may_leave(
        &mut self,
        progress: &mut Progress,
        person: &Person,
        now: Timestamp,
    ) -> rusqlite::Result<bool> {
        let input = TransitionInput::at(now);
        if progress.expires_at.is_some_and(|expires| now >= expires) {
            self.apply(progress, input, |transition| transition.expire())?;
            return Ok(false);
        }
        if progress.flags.has(Flags::SUPERSEDED) {
            self.apply(progress, input, |transition| {
                transition.supersede(Source::Dispatch)
            })?;
            return Ok(false);
        }
        let own_question = progress.flags.has(Flags::OWN_QUESTION);
        match person.consent {
            Consent::OptedOut => {
                self.apply(progress, input, |transition| {
                    transition.suppress(Source::Dispatch)
                })?;
                return Ok(false);
            }
            Consent::Asking { .. } if !own_question => {
                self.apply(progress, input, |transition| {
                    transition.hold_for_answer(Source::Dispatch)
                })?;
                return Ok(false);
            }
            Consent::Asking { .. } | Consent::Open => {}
        }
        let check = self
            .db
            .prepare_cached("SELECT window_check FROM message WHERE id = ?1")?
            .query_row([progress.message], |row| {
                stored_at(row, 0, WindowCheck::from_number)
            })?;
        if check == WindowCheck::Enforce
            && !window::is_open(self.last_inbound(progress.person, progress.sender)?, now)
        {
            self.apply(progress, input, |transition| {
                transition.give_up(Reason::WindowClosed)
            })?;
            return Ok(false);
        }
        Ok(true)
    }

    fn has_open_attempt(&self, progress: &Progress) -> rusqlite::Result<bool> {
        self.db
            .prepare_cached("SELECT 1 FROM open_attempt WHERE person_id = ?1 AND sender_id = ?2")?
            .exists(params![progress.person, progress.sender])
    }

    fn is_paused(&self, sender: i64) -> rusqlite::Result<bool> {
        self.db
            .prepare_cached("SELECT 1 FROM sender WHERE id = ?1 AND paused_at IS NOT NULL")?
            .exists([sender])
    }

    /// The public id and the content; `None` when it cannot be opened.
    pub(super) fn content(
        &self,
        progress: &Progress,
        person: &Person,
    ) -> rusqlite::Result<Option<(Vec<u8>, Content)>> {
        let (public_id, sealed): (Vec<u8>, Vec<u8>) = self
            .db
            .prepare_cached("SELECT public_id, sealed_content FROM message WHERE id = ?1")?
            .query_row([progress.message], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let Ok(key) = person.key(self.shared) else {
            return Ok(None);
        };
        let data = associated_data("content", message_id(&public_id)?);
        let content = self
            .shared
            .vault
            .unseal(&key, &data, &sealed)
            .ok()
            .and_then(|plain| sealed::decode(&plain));
        Ok(content.map(|content| (public_id, content)))
    }

    /// The variant of the address for the next attempt: the proven one, else the canonical one; or
    /// the other one than last time, when that was refused as no WhatsApp number. Once the other
    /// one has been turned to, it stays, whatever came between.
    fn variant(&self, progress: &Progress, person: &Person) -> rusqlite::Result<AddressVariant> {
        let turns = progress.flags.has(Flags::VARIANT_NEXT);
        if !progress.flags.has(Flags::VARIANT_TRIED) && !turns {
            return Ok(person.variant.unwrap_or(AddressVariant::Canonical));
        }
        if !turns && let Some(proven) = self.proven_variant(person)? {
            return Ok(proven);
        }
        let last = self
            .db
            .prepare_cached("SELECT variant FROM attempt WHERE id = ?1")?
            .query_row([progress.attempt], |row| {
                stored_at(row, 0, AddressVariant::from_number)
            })?;
        Ok(if turns { last.other() } else { last })
    }

    /// The variant under which the person was reached: the one that is written down, or the
    /// canonical one when one of their last messages was delivered under it.
    fn proven_variant(&self, person: &Person) -> rusqlite::Result<Option<AddressVariant>> {
        if person.variant.is_some() {
            return Ok(person.variant);
        }
        let delivered = self
            .db
            .prepare_cached(
                "SELECT 1 FROM (SELECT id FROM message WHERE person_id = ?1 \
                 ORDER BY id DESC LIMIT 100) AS last \
                 JOIN progress ON progress.message_id = last.id \
                 JOIN attempt ON attempt.id = progress.attempt_id \
                 WHERE progress.delivered_at IS NOT NULL AND attempt.variant = ?2",
            )?
            .exists(params![person.id, AddressVariant::Canonical.number()])?;
        Ok(delivered.then_some(AddressVariant::Canonical))
    }

    fn insert_attempt(
        &mut self,
        progress: &mut Progress,
        request: &OpenRequest,
        variant: AddressVariant,
    ) -> rusqlite::Result<i64> {
        if let Some(earlier) = progress.attempt {
            self.db
                .prepare_cached("UPDATE attempt SET seen = ?2 WHERE id = ?1")?
                .execute(params![earlier, progress.seen])?;
        }
        self.db
            .prepare_cached(
                "INSERT INTO attempt (message_id, n, nonce, started_at, variant) \
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                progress.message,
                progress.attempts + 1,
                request.nonce.cast_signed(),
                request.now.micros(),
                variant.number()
            ])?;
        let attempt = self.db.last_insert_rowid();
        self.db
            .prepare_cached(
                "INSERT INTO open_attempt (person_id, sender_id, attempt_id, epoch) \
                 VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                progress.person,
                progress.sender,
                attempt,
                self.shared.epoch
            ])?;
        let input = TransitionInput::at(request.now);
        self.apply(progress, input, |transition| {
            transition.attempt_opened(attempt)
        })?;
        Ok(attempt)
    }

    /// Records what an attempt told us. An attempt that is closed already stays as it is.
    pub(super) fn close(
        &mut self,
        attempt: i64,
        outcome: &Outcome,
        source: Source,
        now: Timestamp,
        random: u64,
    ) -> rusqlite::Result<CloseResult> {
        let row = self.attempt_row(attempt)?;
        let Some(row) = row.filter(|row| row.outcome.is_none()) else {
            return Ok(CloseResult::default());
        };
        let Some(mut progress) = self.progress(row.message)? else {
            return Ok(CloseResult::default());
        };
        self.write_outcome(attempt, outcome, now)?;
        self.db
            .prepare_cached(
                "DELETE FROM open_attempt WHERE person_id = ?1 AND sender_id = ?2 \
                 AND attempt_id = ?3",
            )?
            .execute(params![progress.person, progress.sender, attempt])?;
        self.pending.closed = true;
        let input = self.transition_input(&progress, outcome.code(), now, random)?;
        self.apply(&mut progress, input, |transition| {
            transition.outcome(attempt, outcome, source)
        })?;
        if let Outcome::Sent { sid, .. } = outcome {
            self.attach(attempt, *sid)?;
            self.bind_parked(&mut progress, attempt, *sid, now, random)?;
        }
        Ok(CloseResult {
            paused: self.is_paused(progress.sender)?,
            retry_at: progress.due_at,
        })
    }

    /// The input for a fact with this error code: whether the other address form is open is only
    /// looked up when the code makes it matter.
    pub(super) fn transition_input(
        &self,
        progress: &Progress,
        code: Option<u32>,
        now: Timestamp,
        random: u64,
    ) -> rusqlite::Result<TransitionInput> {
        let variant_untried = matches!(code, Some(63_003 | 63_024))
            && progress.flags.has(Flags::HAS_VARIANT)
            && self
                .proven_variant(&person::by_id(self.db, progress.person)?)?
                .is_none();
        // Only for an old message does it matter whether it was meant to leave late.
        let old = now.since(progress.accepted_at) > SEND_AT_MATTERS;
        Ok(TransitionInput {
            now,
            random,
            variant_untried,
            send_at: if old {
                self.send_at(progress.message)?
            } else {
                None
            },
        })
    }

    fn write_outcome(
        &self,
        attempt: i64,
        outcome: &Outcome,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "UPDATE attempt SET finished_at = ?2, outcome = ?3, cause = ?4, error_code = ?5 \
                 WHERE id = ?1",
            )?
            .execute(params![
                attempt,
                now.micros(),
                outcome.kind().number(),
                outcome.cause(),
                outcome.code()
            ])?;
        Ok(())
    }

    /// Attaches a provider's id to an attempt, unless another attempt has it.
    pub(super) fn attach(&self, attempt: i64, sid: Sid) -> rusqlite::Result<()> {
        let raw = sid.to_bytes();
        let owner: Option<i64> = self
            .db
            .prepare_cached("SELECT id FROM attempt WHERE sid = ?1")?
            .query_row([raw.as_slice()], |row| row.get(0))
            .optional()?;
        match owner {
            None => {
                self.db
                    .prepare_cached("UPDATE attempt SET sid = ?2 WHERE id = ?1")?
                    .execute(params![attempt, raw])?;
            }
            Some(owner) if owner == attempt => {}
            Some(_) => tracing::warn!(attempt, "the provider gave two attempts the same id"),
        }
        Ok(())
    }

    /// Applies reports that came before anybody knew whose they were.
    pub(super) fn bind_parked(
        &mut self,
        progress: &mut Progress,
        attempt: i64,
        sid: Sid,
        now: Timestamp,
        random: u64,
    ) -> rusqlite::Result<()> {
        let raw = sid.to_bytes();
        let mut statement = self
            .db
            .prepare_cached("SELECT status, code, word FROM parked_report WHERE sid = ?1")?;
        let parked: Vec<(i64, u32, Option<String>)> = statement
            .query_map([raw.as_slice()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        if parked.is_empty() {
            return Ok(());
        }
        for (status, code, word) in parked {
            let Some(status) = ProviderStatus::from_number(status) else {
                continue;
            };
            let report = ReportFact {
                attempt,
                status,
                word: word.as_deref(),
                code: (code > 0).then_some(code),
                source: Source::Callback,
            };
            self.report_once(progress, &report, now, random)?;
        }
        self.db
            .prepare_cached("DELETE FROM parked_report WHERE sid = ?1")?
            .execute([raw.as_slice()])?;
        Ok(())
    }

    fn defer(&mut self, message: i64, at: Timestamp) -> rusqlite::Result<()> {
        let Some(mut progress) = self.progress(message)? else {
            return Ok(());
        };
        let Some(due) = progress.due_at else {
            return Ok(());
        };
        self.apply(&mut progress, TransitionInput::at(due), |transition| {
            transition.defer(at)
        })
    }
}
