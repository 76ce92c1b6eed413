//! The numbers: the tables `cohort`, `template` and `counter`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use delivery::counter::Metric;
use delivery::message::Kind;
use delivery::row::CohortRow;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params};

use super::SqliteStore;
use super::column::{limit, stored_at};
use super::statements::{ACCOUNT, Statements};
use crate::store::operations::columns::{Cohort, CounterKey, Total, TotalKey};
use crate::store::operations::removal::RemovableMessage;
use crate::store::operations::rows::CounterRows;
use crate::store::operations::transaction::Shared;
use crate::store::{
    CounterGroup, CounterQuery, CounterRow, Counters, StoreError, StoreFuture, ZeroCountResult,
};

/// Cohorts that one step looks at. Each has some dozen counters.
const COHORTS_MAX: usize = 100;

impl Counters for SqliteStore {
    fn counters(&self, query: CounterQuery) -> StoreFuture<'_, Vec<CounterRow>> {
        Box::pin(self.sum_counters(query))
    }

    fn counters_until(&self, query: CounterQuery, cohorts: u32) -> StoreFuture<'_, i64> {
        Box::pin(self.read_long(&self.readers.lists, move |db, _| {
            hour_after(db, query, cohorts)
        }))
    }
}

/// Cohorts whose counters are summed in one read.
const COHORTS: u32 = 5_000;

impl SqliteStore {
    /// Gives the connection back after each step.
    async fn sum_counters(&self, mut query: CounterQuery) -> Result<Vec<CounterRow>, StoreError> {
        let mut sums: BTreeMap<(String, i64, i64), CounterRow> = BTreeMap::new();
        let end = query.to_hour;
        while query.from_hour < end {
            query.to_hour = end;
            let step = move |db: &Connection, _: &Shared| {
                let to_hour = hour_after(db, query, COHORTS)?;
                let rows = read_counters(db, CounterQuery { to_hour, ..query })?;
                Ok((to_hour, rows))
            };
            let (until, rows) = self.read_long(&self.readers.lists, step).await?;
            for row in rows {
                let key = (row.group.clone(), row.metric.number(), row.code);
                sums.entry(key)
                    .and_modify(|sum| sum.n += row.n)
                    .or_insert(row);
            }
            query.from_hour = until;
        }
        Ok(sums.into_values().collect())
    }
}

impl CounterRows for Statements<'_> {
    fn cohort(&mut self, cohort: &Cohort) -> rusqlite::Result<Option<CohortRow>> {
        self.db
            .prepare_cached(
                "SELECT id FROM cohort WHERE account_id = ?1 AND hour = ?2 AND sender_id = ?3 \
                 AND kind = ?4 AND template_id = ?5 AND area = ?6",
            )?
            .query_row(columns(cohort), |row| row.get(0).map(CohortRow))
            .optional()
    }

    fn insert_cohort(&mut self, cohort: &Cohort) -> rusqlite::Result<CohortRow> {
        self.db
            .prepare_cached(
                "INSERT INTO cohort (account_id, hour, sender_id, kind, template_id, area) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(columns(cohort))?;
        Ok(CohortRow(self.db.last_insert_rowid()))
    }

    fn template(&mut self, content_sid: &str) -> rusqlite::Result<Option<i64>> {
        self.db
            .prepare_cached("SELECT id FROM template WHERE account_id = ?1 AND content_sid = ?2")?
            .query_row(params![ACCOUNT, content_sid], |row| row.get(0))
            .optional()
    }

    fn insert_template(&mut self, content_sid: &str) -> rusqlite::Result<i64> {
        self.db
            .prepare_cached("INSERT INTO template (account_id, content_sid) VALUES (?1, ?2)")?
            .execute(params![ACCOUNT, content_sid])?;
        Ok(self.db.last_insert_rowid())
    }

    fn add_counts(&mut self, counts: &[(CounterKey, i64)]) -> rusqlite::Result<()> {
        let mut statement = self.db.prepare_cached(
            "INSERT INTO counter (cohort_id, metric, code, n) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (cohort_id, metric, code) DO UPDATE SET n = n + excluded.n",
        )?;
        for ((cohort, metric, code), by) in counts {
            statement.execute([cohort.0, metric.number(), *code, *by])?;
        }
        Ok(())
    }

    fn forget_zero_counts(&mut self, counts: &[CounterKey]) -> rusqlite::Result<()> {
        let mut statement = self.db.prepare_cached(
            "DELETE FROM counter WHERE cohort_id = ?1 AND metric = ?2 AND code = ?3 \
             AND n = 0 AND baseline = 0",
        )?;
        for (cohort, metric, code) in counts {
            statement.execute([cohort.0, metric.number(), *code])?;
        }
        Ok(())
    }

    fn add_totals(&mut self, totals: &[(TotalKey, i64)]) -> rusqlite::Result<()> {
        let mut statement = self.db.prepare_cached(
            "INSERT INTO total (account_id, what, code, n) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (account_id, what, code) DO UPDATE SET n = n + excluded.n",
        )?;
        for ((total, code), by) in totals {
            statement.execute([ACCOUNT, total.number(), *code, *by])?;
        }
        Ok(())
    }
}

fn columns(cohort: &Cohort) -> [i64; 6] {
    [
        ACCOUNT,
        cohort.hour,
        cohort.sender.0,
        cohort.kind.number(),
        cohort.template,
        cohort.area,
    ]
}

/// Notes what was counted for messages that are being removed, so that the recount of the others
/// still agrees with the counters.
pub(super) fn add_baseline(db: &Connection, removed: &[RemovableMessage]) -> rusqlite::Result<()> {
    let mut counts: BTreeMap<(i64, i64, i64), i64> = BTreeMap::new();
    for ((cohort, metric, code), n) in removed.iter().flat_map(|message| &message.counts) {
        *counts
            .entry((cohort.0, metric.number(), *code))
            .or_default() += n;
    }
    let removal: i64 = db
        .prepare_cached("SELECT coalesce(max(removal), 0) + 1 FROM cohort WHERE account_id = ?1 AND removal > 0")?.query_row([ACCOUNT], |row| row.get(0))?;
    let mut add = db.prepare_cached(
        "INSERT INTO counter (cohort_id, metric, code, n, baseline) VALUES (?1, ?2, ?3, 0, ?4) \
         ON CONFLICT (cohort_id, metric, code) \
         DO UPDATE SET baseline = baseline + excluded.baseline",
    )?;
    let mut mark = db.prepare_cached("UPDATE cohort SET removal = ?2 WHERE id = ?1")?;
    for ((cohort, metric, code), n) in counts {
        add.execute([cohort, metric, code, n])?;
        mark.execute([cohort, removal])?;
    }
    Ok(())
}

/// Counters that are zero, of a few cohorts.
pub(super) struct ZeroCounts {
    pub(super) counts: Vec<CounterKey>,
    pub(super) walked: ZeroCountResult,
}

/// The counters that are zero in the next cohorts whose hour is before the young ones.
pub(super) fn zero_counts(
    db: &Connection,
    after: CohortRow,
    young: &RangeInclusive<i64>,
) -> rusqlite::Result<ZeroCounts> {
    let mut found = ZeroCounts {
        counts: Vec::new(),
        walked: ZeroCountResult::default(),
    };
    let (mut rows_read, mut old) = (0, 0);
    let mut cohorts = db.prepare_cached(
        "SELECT id, hour FROM cohort NOT INDEXED WHERE account_id = ?1 AND id > ?2 \
         ORDER BY id LIMIT ?3",
    )?;
    let mut counters = db.prepare_cached(
        "SELECT metric, code FROM counter WHERE cohort_id = ?1 AND n = 0 AND baseline = 0",
    )?;
    let mut rows = cohorts.query([ACCOUNT, after.0, limit(COHORTS_MAX)])?;
    while let Some(row) = rows.next()? {
        let (cohort, hour) = (CohortRow(row.get(0)?), row.get(1)?);
        rows_read += 1;
        found.walked.next = Some(cohort);
        if young.contains(&hour) {
            let before = CohortRow(cohort.0 - 1);
            found.walked.young_after.get_or_insert(before);
        }
        if hour < *young.start() {
            old += 1;
            let mut rows = counters.query([cohort.0])?;
            while let Some(row) = rows.next()? {
                let metric = stored_at(row, 0, Metric::from_number)?;
                found.counts.push((cohort, metric, row.get(1)?));
            }
        }
    }
    // After many young ones in a row nothing old comes any more.
    if rows_read < COHORTS_MAX || (old == 0 && found.walked.young_after.is_some()) {
        found.walked.next = None;
    }
    Ok(found)
}

/// Reads every figure that is kept for the account: what, code and value.
pub(super) fn read_totals(
    db: &Connection,
    mut show: impl FnMut(Total, i64, i64),
) -> rusqlite::Result<()> {
    let mut statement =
        db.prepare_cached("SELECT what, code, n FROM total WHERE account_id = ?1")?;
    let mut rows = statement.query([ACCOUNT])?;
    while let Some(row) = rows.next()? {
        show(
            stored_at(row, 0, Total::from_number)?,
            row.get(1)?,
            row.get(2)?,
        );
    }
    Ok(())
}

/// The hour before which there are no more than so many cohorts, of those from the first hour on; at
/// least that first hour.
fn hour_after(db: &Connection, query: CounterQuery, cohorts: u32) -> rusqlite::Result<i64> {
    let CounterQuery {
        from_hour, to_hour, ..
    } = query;
    let next: Option<i64> = db
        .prepare_cached(
            "SELECT hour FROM cohort WHERE account_id = ?1 AND hour >= ?2 AND hour < ?3 \
             ORDER BY hour LIMIT 1 OFFSET ?4",
        )?
        .query_row([ACCOUNT, from_hour, to_hour, i64::from(cohorts)], |row| {
            row.get(0)
        })
        .optional()?;
    Ok(next.map_or(to_hour, |hour| hour.max(from_hour + 1)))
}

fn read_counters(db: &Connection, query: CounterQuery) -> rusqlite::Result<Vec<CounterRow>> {
    let group = match query.group {
        CounterGroup::None => "''",
        CounterGroup::Hour => "cohort.hour",
        CounterGroup::Day => "cohort.hour / 24",
        CounterGroup::Sender => "sender.name",
        CounterGroup::Kind => "cohort.kind",
        CounterGroup::Template => "coalesce(template.content_sid, '')",
        CounterGroup::Area => "cohort.area",
    };
    let sql = format!(
        "SELECT {group}, counter.metric, counter.code, sum(counter.n) \
         FROM cohort JOIN counter ON counter.cohort_id = cohort.id \
         JOIN sender ON sender.id = cohort.sender_id \
         LEFT JOIN template ON template.id = cohort.template_id \
         WHERE cohort.account_id = ?1 AND cohort.hour >= ?2 AND cohort.hour < ?3 \
         GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    );
    let mut statement = db.prepare_cached(&sql)?;
    statement
        .query_map([ACCOUNT, query.from_hour, query.to_hour], |row| {
            Ok(CounterRow {
                group: group_text(query.group, row.get(0)?),
                metric: stored_at(row, 1, Metric::from_number)?,
                code: row.get(2)?,
                n: row.get(3)?,
            })
        })?
        .collect()
}

fn group_text(group: CounterGroup, value: Value) -> String {
    match (group, value) {
        (CounterGroup::Kind, Value::Integer(n)) => {
            Kind::from_number(n).map_or_else(String::new, |kind| kind.as_str().to_owned())
        }
        (_, Value::Integer(n)) => n.to_string(),
        (_, Value::Text(text)) => text,
        (_, Value::Null | Value::Real(_) | Value::Blob(_)) => String::new(),
    }
}
