//! Status reports: the tables `coded_report` and `parked_report`.

use delivery::outcome::ProviderStatus;
use delivery::row::AttemptRow;
use delivery::sid::Sid;
use delivery::time::Timestamp;
use rusqlite::params;

use super::SqliteStore;
use super::column::limit;
use super::statements::Statements;
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
                "INSERT OR IGNORE INTO coded_report (attempt_id, status, code) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![attempt.0, status.number(), code])?;
        Ok(inserted > 0)
    }

    fn park_report(
        &mut self,
        sid: Sid,
        report: &ParkedReport,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
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
                now.micros(),
            ])?;
        Ok(())
    }

    fn parked_reports(&mut self, sid: Sid) -> rusqlite::Result<Vec<ParkedReport>> {
        let mut statement = self
            .db
            .prepare_cached("SELECT status, code, word FROM parked_report WHERE sid = ?1")?;
        let mut rows = statement.query([sid.to_bytes().as_slice()])?;
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
            .prepare_cached("DELETE FROM parked_report WHERE sid = ?1")?
            .execute([sid.to_bytes().as_slice()])?;
        Ok(())
    }

    fn prune_parked_reports(&mut self, before: Timestamp, rows: usize) -> rusqlite::Result<u64> {
        let removed = self
            .db
            .prepare_cached(
                "DELETE FROM parked_report WHERE (sid, status, code) IN (SELECT sid, status, code \
                 FROM parked_report WHERE received_at <= ?1 LIMIT ?2)",
            )?
            .execute([before.micros(), limit(rows)])?;
        Ok(u64::try_from(removed).unwrap_or(u64::MAX))
    }
}
