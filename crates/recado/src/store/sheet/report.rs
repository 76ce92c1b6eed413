//! Reports with a code and parked reports of a sheet.

use delivery::outcome::ProviderStatus;
use delivery::row::AttemptRow;
use delivery::sid::Sid;
use delivery::time::Timestamp;

use super::record::{Need, ParkedRecord};
use super::tables::{Halt, Sheet};
use crate::store::operations::columns::ParkedReport;
use crate::store::operations::removal::RetentionRows;
use crate::store::operations::removal::{Removable, Removal};
use crate::store::operations::rows::ReportRows;

impl Sheet {
    fn parked_under(&mut self, sid: Sid) -> Result<Vec<ParkedRecord>, Halt> {
        let found = self.read(|sheet| &sheet.parked, &sid, || Need::Parked(sid))?;
        Ok(found.unwrap_or_default())
    }
}

impl ReportRows for Sheet {
    fn insert_coded_report(
        &mut self,
        attempt: AttemptRow,
        status: ProviderStatus,
        code: u32,
    ) -> Result<bool, Halt> {
        let key = (attempt, status, code);
        let need = || Need::Coded(attempt, status, code);
        if self.read(|sheet| &sheet.coded, &key, need)?.is_some() {
            return Ok(false);
        }
        self.coded.set(key, Some(()));
        Ok(true)
    }

    fn forget_coded_reports(&mut self, attempt: AttemptRow) -> Result<(), Halt> {
        let need = || Need::CodedOf(attempt);
        self.read(|sheet| &sheet.coded_of, &attempt, need)?;
        let known: Vec<_> = self
            .coded
            .rows()
            .map(|(key, ())| *key)
            .filter(|(row, _, _)| *row == attempt)
            .collect();
        for key in known {
            self.coded.set(key, None);
        }
        Ok(())
    }

    fn park_report(&mut self, sid: Sid, report: &ParkedReport, now: Timestamp) -> Result<(), Halt> {
        let mut parked = self.parked_under(sid)?;
        let same = |known: &ParkedRecord| {
            known.report.status == report.status && known.report.code == report.code
        };
        if !parked.iter().any(same) {
            parked.push(ParkedRecord {
                report: report.clone(),
                received_at: now,
            });
            // As they stand in their table.
            parked.sort_by_key(|known| (known.report.status, known.report.code));
            self.parked.set(sid, Some(parked));
        }
        Ok(())
    }

    fn parked_reports(&mut self, sid: Sid) -> Result<Vec<ParkedReport>, Halt> {
        let parked = self.parked_under(sid)?;
        Ok(parked.into_iter().map(|known| known.report).collect())
    }

    fn delete_parked_reports(&mut self, sid: Sid) -> Result<(), Halt> {
        self.parked.set(sid, None);
        Ok(())
    }

    fn prune_parked_reports(&mut self, before: Timestamp, limit: usize) -> Result<u64, Halt> {
        let need = || Need::OldParked(before);
        let sids = self.read(|sheet| &sheet.old_parked, &before, need)?;
        let (mut removed, mut left) = (0, limit);
        for sid in sids.unwrap_or_default() {
            let mut parked = self.parked_under(sid)?;
            let all = parked.len();
            parked.retain(|known| {
                let old = known.received_at <= before && left > 0;
                left -= usize::from(old);
                !old
            });
            removed += u64::try_from(all - parked.len()).unwrap_or(u64::MAX);
            self.parked.set(sid, Some(parked));
        }
        Ok(removed)
    }
}

impl RetentionRows for Sheet {
    fn removable(&mut self, removal: &Removal) -> Result<Removable, Halt> {
        let need = || Need::Removable(*removal);
        let found = self.read(|sheet| &sheet.removable, removal, need)?;
        Ok(found.unwrap_or_default())
    }

    fn remove(&mut self, removable: &Removable) -> Result<(), Halt> {
        self.removed.push(removable.clone());
        Ok(())
    }
}
