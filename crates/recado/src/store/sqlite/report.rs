//! Status reports: found by the attempt key in the callback's URL, else by SID, else parked.

use delivery::outcome::ProviderStatus;
use delivery::sid::Sid;
use delivery::state::{State, state_of};
use delivery::time::Timestamp;
use rusqlite::{OptionalExtension, Row, params};

use super::SqliteStore;
use super::context::{Context, number_of};
use crate::store::life::{Life, ReportFact, bit};
use crate::store::{AttemptId, Report, ReportResult, StoreError};

/// What reports need of an attempt.
pub(super) struct AttemptRow {
    pub(super) id: i64,
    pub(super) message: i64,
    pub(super) nonce: u64,
    pub(super) outcome: Option<i64>,
    pub(super) sid: Option<Sid>,
    pub(super) form: i64,
    pub(super) seen: u32,
}

impl SqliteStore {
    pub(super) async fn report_batch(
        &self,
        batch: Vec<Report>,
    ) -> Result<Vec<ReportResult>, StoreError> {
        self.writer
            .run(move |context| batch.iter().map(|report| context.report(report)).collect())
            .await
    }
}

impl Context<'_> {
    fn report(&mut self, report: &Report) -> rusqlite::Result<ReportResult> {
        let found = match report.attempt {
            Some(id) => self.attempt_by_id(id)?,
            None => None,
        };
        let found = match (found, report.sid) {
            (Some(row), _) => Some(row),
            (None, Some(sid)) => self.attempt_by_sid(sid)?,
            (None, None) => None,
        };
        let Some(row) = found else {
            return self.park(report);
        };
        let Some(mut life) = self.life(row.message)? else {
            return self.park(report);
        };
        let learned = self.learn_sid(&row, report.sid, report.now)?;
        let fact = ReportFact {
            attempt: row.id,
            status: report.status,
            word: report.word.as_deref(),
            code: report.code,
            source: report.source,
        };
        let new = self.is_new(&life, &row, &fact)?;
        if new {
            self.apply_report(&mut life, &row, &fact, report.now, report.random)?;
        }
        if let Some(sid) = learned {
            self.bind_parked(&mut life, row.id, sid, report.now, report.random)?;
        }
        Ok(if new {
            ReportResult::Recorded
        } else {
            ReportResult::Duplicate
        })
    }

    /// Applies a report unless it is known.
    pub(super) fn report_once(
        &mut self,
        life: &mut Life,
        fact: &ReportFact<'_>,
        now: Timestamp,
        random: u64,
    ) -> rusqlite::Result<()> {
        let Some(row) = self.attempt_row(fact.attempt)? else {
            return Ok(());
        };
        if self.is_new(life, &row, fact)? {
            self.apply_report(life, &row, fact, now, random)?;
        }
        Ok(())
    }

    fn apply_report(
        &mut self,
        life: &mut Life,
        row: &AttemptRow,
        fact: &ReportFact<'_>,
        now: Timestamp,
        random: u64,
    ) -> rusqlite::Result<()> {
        let failed = matches!(
            state_of(fact.status),
            Some(State::Failed | State::Undelivered)
        );
        let moment = self.moment(life, fact.code.filter(|_| failed), now, random)?;
        self.work(life, moment, |ledger| ledger.reported(fact))?;
        if failed {
            self.db
                .prepare_cached("UPDATE attempt SET error_code = ?2 WHERE id = ?1")?
                .execute(params![row.id, fact.code])?;
        }
        if self.change.form_proven {
            self.prove_form(life.person, row.form)?;
        }
        Ok(())
    }

    /// What was delivered under a form shows that the form is right. Written only when it is news.
    fn prove_form(&self, person: i64, form: i64) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "UPDATE person SET form = ?2 WHERE id = ?1 AND has_other_form AND form IS NOT ?2",
            )?
            .execute(params![person, form])?;
        Ok(())
    }

    /// The key says where to look, the random bits say that it is ours: a database restored from
    /// a backup hands out the same keys again.
    fn attempt_by_id(&self, id: AttemptId) -> rusqlite::Result<Option<AttemptRow>> {
        Ok(self
            .attempt_row(id.key)?
            .filter(|row| row.nonce == id.nonce))
    }

    pub(super) fn attempt_row(&self, key: i64) -> rusqlite::Result<Option<AttemptRow>> {
        self.db
            .prepare_cached(
                "SELECT id, message_id, nonce, outcome, sid, form, seen FROM attempt WHERE id = ?1",
            )?
            .query_row([key], read_attempt)
            .optional()
    }

    fn attempt_by_sid(&self, sid: Sid) -> rusqlite::Result<Option<AttemptRow>> {
        self.db
            .prepare_cached(
                "SELECT id, message_id, nonce, outcome, sid, form, seen FROM attempt \
                 WHERE sid = ?1",
            )?
            .query_row([sid.to_bytes().as_slice()], read_attempt)
            .optional()
    }

    /// A callback may come before the answer to the request, or instead of it. Comes back with the
    /// provider's id when it is news: reports that named nothing else may be parked under it.
    fn learn_sid(
        &self,
        row: &AttemptRow,
        sid: Option<Sid>,
        now: Timestamp,
    ) -> rusqlite::Result<Option<Sid>> {
        let learned = sid.filter(|_| row.sid.is_none());
        if let Some(sid) = learned {
            self.attach(row.id, sid)?;
        }
        if row.outcome == Some(2) {
            self.db
                .prepare_cached(
                    "UPDATE attempt SET outcome = 1, cause = NULL, finished_at = ?2 WHERE id = ?1",
                )?
                .execute(params![row.id, now.micros()])?;
        }
        Ok(learned)
    }

    /// Reports without a code are told apart by one bit each; the few with a code have a row.
    fn is_new(
        &self,
        life: &Life,
        row: &AttemptRow,
        fact: &ReportFact<'_>,
    ) -> rusqlite::Result<bool> {
        let latest = life.attempt == Some(row.id);
        if let Some(code) = fact.code {
            let inserted = self
                .db
                .prepare_cached(
                    "INSERT OR IGNORE INTO coded_report (attempt_id, status, code) \
                     VALUES (?1, ?2, ?3)",
                )?
                .execute(params![
                    row.id,
                    number_of(&ProviderStatus::ALL, &fact.status),
                    code
                ])?;
            return Ok(inserted > 0);
        }
        let seen = if latest { life.seen } else { row.seen };
        let new = seen & bit(fact.status) == 0;
        if new && !latest {
            self.db
                .prepare_cached("UPDATE attempt SET seen = seen | ?2 WHERE id = ?1")?
                .execute(params![row.id, bit(fact.status)])?;
        }
        Ok(new)
    }

    /// Keeps a report of a message that nobody knows: it may be bound when its attempt learns
    /// its SID, and is dropped after a day.
    fn park(&mut self, report: &Report) -> rusqlite::Result<ReportResult> {
        let Some(sid) = report.sid else {
            return Ok(ReportResult::Duplicate);
        };
        self.db
            .prepare_cached(
                "INSERT OR IGNORE INTO parked_report (sid, status, code, word, received_at) \
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                sid.to_bytes(),
                number_of(&ProviderStatus::ALL, &report.status),
                report.code.unwrap_or(0),
                report.word,
                report.now.micros(),
            ])?;
        Ok(ReportResult::Parked)
    }
}

fn read_attempt(row: &Row<'_>) -> rusqlite::Result<AttemptRow> {
    let nonce: i64 = row.get(2)?;
    let sid = row.get_ref(4)?.as_blob_or_null()?.and_then(Sid::from_bytes);
    Ok(AttemptRow {
        id: row.get(0)?,
        message: row.get(1)?,
        nonce: nonce.cast_unsigned(),
        outcome: row.get(3)?,
        sid,
        form: row.get(5)?,
        seen: row.get(6)?,
    })
}
