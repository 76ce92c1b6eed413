//! Status reports: found by the attempt key in the callback's URL, else by SID, else parked.

use std::sync::LazyLock;

use delivery::address::AddressVariant;
use delivery::outcome::OutcomeKind;
use delivery::sid::Sid;
use delivery::state::{State, state_of};
use delivery::time::Timestamp;
use rusqlite::{OptionalExtension, Row, params};

use super::SqliteStore;
use super::context::{
    Context, PROGRESS_COLUMNS, PROGRESS_WIDTH, read_progress, stored_at, stored_or_null,
};
use crate::store::{Report, ReportResult, StoreError};
use delivery::progress::{Progress, ReportFact};

const ATTEMPT_COLUMNS: &str = "attempt.id, attempt.message_id, attempt.outcome, attempt.sid, \
     attempt.variant, attempt.seen";

/// What reports need of an attempt.
pub(super) struct AttemptRow {
    pub(super) id: i64,
    pub(super) message: i64,
    pub(super) outcome: Option<OutcomeKind>,
    pub(super) sid: Option<Sid>,
    pub(super) variant: AddressVariant,
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
        let Some((row, mut progress)) = self.reported(report)? else {
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
        let new = self.is_new(&progress, &row, &fact)?;
        if new {
            self.apply_report(&mut progress, &row, &fact, report.now, report.random)?;
        }
        if let Some(sid) = learned {
            self.bind_parked(&mut progress, row.id, sid, report.now, report.random)?;
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
        progress: &mut Progress,
        fact: &ReportFact<'_>,
        now: Timestamp,
        random: u64,
    ) -> rusqlite::Result<()> {
        let Some(row) = self.attempt_row(fact.attempt)? else {
            return Ok(());
        };
        if self.is_new(progress, &row, fact)? {
            self.apply_report(progress, &row, fact, now, random)?;
        }
        Ok(())
    }

    fn apply_report(
        &mut self,
        progress: &mut Progress,
        row: &AttemptRow,
        fact: &ReportFact<'_>,
        now: Timestamp,
        random: u64,
    ) -> rusqlite::Result<()> {
        let failed = matches!(
            state_of(fact.status),
            Some(State::Failed | State::Undelivered)
        );
        let input = self.transition_input(progress, fact.code.filter(|_| failed), now, random)?;
        self.apply(progress, input, |transition| transition.reported(fact))?;
        if failed {
            self.db
                .prepare_cached("UPDATE attempt SET error_code = ?2 WHERE id = ?1")?
                .execute(params![row.id, fact.code])?;
        }
        if self.change.variant_proven && row.variant == AddressVariant::WithoutNinthDigit {
            self.prove_variant(progress.person)?;
        }
        Ok(())
    }

    /// What was delivered under the other variant shows that it is the right one. That the canonical
    /// one is right is not written: nearly always it is, and each person's row would be written
    /// once more. Whoever must know looks at what was delivered.
    fn prove_variant(&self, person: i64) -> rusqlite::Result<()> {
        self.db
            .prepare_cached("UPDATE person SET variant = ?2 WHERE id = ?1 AND variant IS NOT ?2")?
            .execute(params![person, AddressVariant::WithoutNinthDigit.number()])?;
        Ok(())
    }

    /// The attempt that a report is about, and its message: by the key in the callback's URL, else
    /// by the provider's id.
    fn reported(&self, report: &Report) -> rusqlite::Result<Option<(AttemptRow, Progress)>> {
        static SQL: LazyLock<[String; 2]> = LazyLock::new(|| {
            ["attempt.id = ?1 AND attempt.nonce = ?2", "attempt.sid = ?1"].map(|condition| {
                format!(
                    "SELECT {PROGRESS_COLUMNS}, {ATTEMPT_COLUMNS} FROM attempt \
                     JOIN progress ON progress.message_id = attempt.message_id WHERE {condition}"
                )
            })
        });
        let [by_key, by_sid] = &*SQL;
        // The key says where to look, the random bits say that it is ours: a database restored
        // from a backup hands out the same keys again.
        let found = match report.attempt {
            Some(id) => self
                .db
                .prepare_cached(by_key)?
                .query_row([id.key, id.nonce.cast_signed()], read_both)
                .optional()?,
            None => None,
        };
        match (found, report.sid) {
            (None, Some(sid)) => self
                .db
                .prepare_cached(by_sid)?
                .query_row([sid.to_bytes().as_slice()], read_both)
                .optional(),
            (found, _) => Ok(found),
        }
    }

    pub(super) fn attempt_row(&self, key: i64) -> rusqlite::Result<Option<AttemptRow>> {
        static SQL: LazyLock<String> =
            LazyLock::new(|| format!("SELECT {ATTEMPT_COLUMNS} FROM attempt WHERE id = ?1"));
        self.db
            .prepare_cached(&SQL)?
            .query_row([key], |row| read_attempt(row, 0))
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
        if row.outcome == Some(OutcomeKind::Unknown) {
            self.db
                .prepare_cached(
                    "UPDATE attempt SET outcome = ?3, cause = NULL, finished_at = ?2 WHERE id = ?1",
                )?
                .execute(params![row.id, now.micros(), OutcomeKind::Sent.number()])?;
        }
        Ok(learned)
    }

    /// Reports without a code are told apart by one bit each; the few with a code have a row.
    fn is_new(
        &self,
        progress: &Progress,
        row: &AttemptRow,
        fact: &ReportFact<'_>,
    ) -> rusqlite::Result<bool> {
        let latest = progress.attempt == Some(row.id);
        if let Some(code) = fact.code {
            let inserted = self
                .db
                .prepare_cached(
                    "INSERT OR IGNORE INTO coded_report (attempt_id, status, code) \
                     VALUES (?1, ?2, ?3)",
                )?
                .execute(params![row.id, fact.status.number(), code])?;
            return Ok(inserted > 0);
        }
        let seen = if latest { progress.seen } else { row.seen };
        let new = seen & fact.status.bit() == 0;
        if new && !latest {
            self.db
                .prepare_cached("UPDATE attempt SET seen = seen | ?2 WHERE id = ?1")?
                .execute(params![row.id, fact.status.bit()])?;
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
                report.status.number(),
                report.code.unwrap_or(0),
                report.word,
                report.now.micros(),
            ])?;
        Ok(ReportResult::Parked)
    }
}

fn read_both(row: &Row<'_>) -> rusqlite::Result<(AttemptRow, Progress)> {
    Ok((read_attempt(row, PROGRESS_WIDTH)?, read_progress(row)?))
}

/// Reads [`ATTEMPT_COLUMNS`], of which the first is column `first`.
fn read_attempt(row: &Row<'_>, first: usize) -> rusqlite::Result<AttemptRow> {
    let sid = row.get_ref(first + 3)?.as_blob_or_null()?;
    Ok(AttemptRow {
        id: row.get(first)?,
        message: row.get(first + 1)?,
        outcome: stored_or_null(row, first + 2, OutcomeKind::from_number)?,
        sid: sid.and_then(Sid::from_bytes),
        variant: stored_at(row, first + 4, AddressVariant::from_number)?,
        seen: row.get(first + 5)?,
    })
}
