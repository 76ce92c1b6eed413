//! Sizes, depths and whether a commit goes through.

use delivery::limits::{ABSENT_UNCOMPARED_AFTER, SETTLE_AGE_MAX};
use delivery::progress::WatchKind;
use delivery::state::State;
use delivery::time::Timestamp;
use rusqlite::Connection;

use super::error::store_error;
use super::statements::{ACCOUNT, Statements};
use super::{SqliteStore, counter, queue, verify, watch};
use crate::store::operations::columns::Total;
use crate::store::operations::health::Probe;
use crate::store::operations::rows::HealthRows;
use crate::store::{Gauges, Health, StoreError, StoreFuture, VerifyReport};

impl Health for SqliteStore {
    fn verify(&self) -> StoreFuture<'_, VerifyReport> {
        Box::pin(async move {
            let reader = self.readers.lists.take().await?;
            let recount = move || verify::recount(&reader).map_err(|error| store_error(&error));
            let joined = tokio::task::spawn_blocking(recount);
            joined.await.map_err(|_| StoreError::Closed)?
        })
    }

    fn gauges(&self, now: Timestamp) -> StoreFuture<'_, Gauges> {
        Box::pin(async move {
            let mut gauges = self
                .read_long(&self.readers.gauges, move |db, shared| {
                    let ago = |time| now.minus(shared.rules.wait(time));
                    read_gauges(db, ago(ABSENT_UNCOMPARED_AFTER), ago(SETTLE_AGE_MAX * 2))
                })
                .await?;
            let bytes = |suffix: &str| {
                let mut name = self.path.as_os_str().to_owned();
                name.push(suffix);
                std::fs::metadata(name).map_or(0, |data| data.len())
            };
            gauges.database_bytes = bytes("") + bytes("-wal");
            Ok(gauges)
        })
    }

    fn probe(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let probed = self.writer.run(Probe).await;
            match &probed {
                Ok(()) => self.writer.readiness.stored(),
                Err(error) => self.writer.readiness.probe_failed(error.clone()),
            }
            probed
        })
    }

    fn writable(&self) -> Result<(), StoreError> {
        self.writer.readiness.verdict()
    }
}

impl HealthRows for Statements<'_> {
    /// A real commit, so that a full or read-only disk shows. The value must change: a row that is
    /// written as it was dirties no page, and then nothing reaches the disk.
    fn probe(&mut self) -> rusqlite::Result<()> {
        let last: i32 = self
            .db
            .query_row("PRAGMA user_version", [], |row| row.get(0))?;
        self.db
            .pragma_update(None, "user_version", last.wrapping_add(1))
    }
}

/// Unknown attempts of which each is looked at whether it is overdue.
const OVERDUE_AMONG: i64 = 10_000;
/// Reports that are counted one by one; a page without a key must not walk more.
const PARKED_COUNTED_MAX: i64 = 100_000;

/// An attempt that ended before `overdue` and is still looked for is overdue; one that ended before
/// `endless` will be looked for without an end.
fn read_gauges(
    db: &Connection,
    overdue: Timestamp,
    endless: Timestamp,
) -> rusqlite::Result<Gauges> {
    let one = |sql: &str| -> rusqlite::Result<u64> {
        db.prepare_cached(sql)?
            .query_row([ACCOUNT], |row| row.get(0))
    };
    let unknown = WatchKind::Unknown.number();
    let ended_before = |time: Timestamp| -> rusqlite::Result<u64> {
        db.prepare_cached(&format!(
            "SELECT count(*) FROM (SELECT attempt_id FROM watch WHERE account_id = ?1 \
             AND kind = {unknown} ORDER BY at, attempt_id LIMIT {OVERDUE_AMONG}) \
             JOIN attempt ON attempt.id = attempt_id WHERE attempt.finished_at <= ?2"
        ))?
        .query_row([ACCOUNT, time.micros()], |row| row.get(0))
    };
    let mut gauges = Gauges {
        open_attempts: one("SELECT count(*) FROM open_attempt WHERE account_id = ?1")?,
        unknown_watched: one(&format!(
            "SELECT count(*) FROM watch WHERE account_id = ?1 AND kind = {unknown}"
        ))?,
        unknown_overdue: ended_before(overdue)?,
        unknown_endless: ended_before(endless)?,
        list_lag: watch::largest_lag(db)?,
        parked: one(&format!(
            "SELECT count(*) FROM (SELECT 1 FROM parked_report WHERE account_id = ?1 \
             LIMIT {PARKED_COUNTED_MAX})"
        ))?,
        oldest_due_at: queue::oldest_due(db)?,
        ..Gauges::default()
    };
    counter::read_totals(db, |total, code, n| {
        let n = u64::try_from(n).unwrap_or_default();
        match total {
            Total::State => gauges
                .states
                .extend(State::from_number(code).map(|state| (state, n))),
            Total::Errors => gauges.errors.push((code, n)),
            Total::Anomalies => gauges.anomalies += n,
            Total::Queued => gauges.queued += n,
        }
    })?;
    Ok(gauges)
}
