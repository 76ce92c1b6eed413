//! Status reports: the tables `coded_report` and `parked_report`.

use delivery::outcome::ProviderStatus;
use delivery::row::AttemptRow;
use delivery::sid::Sid;
use delivery::time::Timestamp;
use rusqlite::{Connection, params};

use super::SqliteStore;
use super::column::limit;
use super::statements::{ACCOUNT, Statements};
use crate::store::operations::columns::ParkedReport;
use crate::store::operations::report::RecordReports;
use crate::store::operations::rows::ReportRows;
use crate::store::{Report, ReportResult, Reports, StoreFuture};

impl Reports for SqliteStore {
    fn report(&self, batch: Vec<Report>) -> StoreFuture<'_, Vec<ReportResult>> {
        Box::pin(self.writer.run(RecordReports(batch)))
    }
}

impl ReportRows for Statements<'_> {
    fn insert_coded_report(
        &mut self,
        attempt: AttemptRow,
        status: ProviderStatus,
        code: u32,
    ) -> rusqlite::Result<bool> {
        let inserted = self
            .db
            .prepare_cached(
                "INSERT OR IGNORE INTO coded_report (account_id, attempt_id, status, code) \
                 VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![ACCOUNT, attempt.0, status.number(), code])?;
        Ok(inserted > 0)
    }

    fn forget_coded_reports(&mut self, attempt: AttemptRow) -> rusqlite::Result<()> {
        self.db
            .prepare_cached("DELETE FROM coded_report WHERE account_id = ?1 AND attempt_id = ?2")?
            .execute([ACCOUNT, attempt.0])?;
        Ok(())
    }

    fn park_report(
        &mut self,
        sid: Sid,
        report: &ParkedReport,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "INSERT OR IGNORE INTO parked_report (account_id, sid, status, code, word, \
                 received_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                ACCOUNT,
                sid.to_bytes(),
                report.status.number(),
                report.code.unwrap_or(0),
                report.word,
                now.micros(),
            ])?;
        Ok(())
    }

    fn parked_reports(&mut self, sid: Sid) -> rusqlite::Result<Vec<ParkedReport>> {
        let mut statement = self.db.prepare_cached(
            "SELECT status, code, word FROM parked_report WHERE account_id = ?1 AND sid = ?2",
        )?;
        let mut rows = statement.query(params![ACCOUNT, sid.to_bytes()])?;
        let mut parked = Vec::new();
        while let Some(row) = rows.next()? {
            // A number of a later version says nothing to this one, and is left out.
            let Some(status) = ProviderStatus::from_number(row.get(0)?) else {
                continue;
            };
            let code: u32 = row.get(1)?;
            parked.push(ParkedReport {
                status,
                code: (code > 0).then_some(code),
                word: row.get(2)?,
            });
        }
        Ok(parked)
    }

    fn delete_parked_reports(&mut self, sid: Sid) -> rusqlite::Result<()> {
        self.db
            .prepare_cached("DELETE FROM parked_report WHERE account_id = ?1 AND sid = ?2")?
            .execute(params![ACCOUNT, sid.to_bytes()])?;
        Ok(())
    }

    fn prune_parked_reports(&mut self, before: Timestamp, rows: usize) -> rusqlite::Result<u64> {
        let removed = self
            .db
            .prepare_cached(
                "DELETE FROM parked_report WHERE (account_id, sid, status, code) IN (SELECT \
                 account_id, sid, status, code FROM parked_report \
                 WHERE account_id = ?1 AND received_at <= ?2 LIMIT ?3)",
            )?
            .execute([ACCOUNT, before.micros(), limit(rows)])?;
        Ok(u64::try_from(removed).unwrap_or(u64::MAX))
    }
}

/// Removes the reports of an attempt.
pub(super) fn remove(db: &Connection, attempt: AttemptRow) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM coded_report WHERE account_id = ?1 AND attempt_id = ?2")?
        .execute([ACCOUNT, attempt.0])?;
    Ok(())
}
