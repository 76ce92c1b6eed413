//! Feeds the recount with the rows of the database, and checks what only the engine can see.

use std::collections::{BTreeMap, HashMap};

use delivery::counter::Metric;
use delivery::event::EventKind;
use delivery::outcome::ProviderStatus;
use delivery::row::{CohortRow, MessageRow};
use delivery::state::State;
use delivery::time::Timestamp;
use rusqlite::{Connection, Row};

use super::column::{states_that, stored_at, stored_or_null, time_or_null};
use super::counter::read_totals;
use crate::store::VerifyReport;
use crate::store::operations::columns::{Total, TotalKey};
use crate::store::recount::{LoggedEvent, Recount, Recounted, Shown, Totals};

/// Recounts everything in one reading transaction.
pub(super) fn recount(db: &Connection) -> rusqlite::Result<VerifyReport> {
    let cohorts: HashMap<MessageRow, CohortRow> = db
        .prepare("SELECT message_id, cohort_id FROM progress")?
        .query_map([], |row| {
            Ok((MessageRow(row.get(0)?), CohortRow(row.get(1)?)))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut recount = Recount::new(cohorts);
    read_events(db, &mut recount)?;
    read_messages(db, &mut recount)?;
    let counters: Totals = db
        .prepare("SELECT cohort_id, metric, code, n FROM counter WHERE n <> 0")?
        .query_map([], |row| {
            let key = (CohortRow(row.get(0)?), row.get(1)?, row.get(2)?);
            Ok((key, row.get(3)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    recount.counters(&counters);
    check_totals(db, &counters, &mut recount)?;
    check_queue(db, &mut recount)?;
    let verdict: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        recount.differs(format!("the database file is damaged: {verdict}"));
    }
    Ok(recount.report())
}

fn read_events(db: &Connection, recount: &mut Recount) -> rusqlite::Result<()> {
    let mut statement = db.prepare(
        "SELECT id, message_id, prev, at, kind, state, status, code, detail FROM event ORDER BY id",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        recount.event(&LoggedEvent {
            id: row.get(0)?,
            message: MessageRow(row.get(1)?),
            prev: row.get(2)?,
            at: Timestamp::from_micros(row.get(3)?),
            kind: stored_at(row, 4, EventKind::from_number)?,
            state: stored_at(row, 5, State::from_number)?,
            status: stored_or_null(row, 6, ProviderStatus::from_number)?,
            code: row.get(7)?,
            detail: row.get_ref(8)?.as_str_or_null()?,
        });
    }
    Ok(())
}

fn read_messages(db: &Connection, recount: &mut Recount) -> rusqlite::Result<()> {
    let mut statement = db.prepare(
        "SELECT message_id, state, last_event, sent_at, delivered_at, read_at, attempts, \
         accepted_at FROM progress",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        recount.message(&read_shown(row)?);
    }
    Ok(())
}

fn read_shown(row: &Row<'_>) -> rusqlite::Result<Shown> {
    Ok(Shown {
        message: MessageRow(row.get(0)?),
        state: stored_at(row, 1, State::from_number)?,
        recounted: Recounted {
            last_event: row.get(2)?,
            sent_at: time_or_null(row, 3)?,
            delivered_at: time_or_null(row, 4)?,
            read_at: time_or_null(row, 5)?,
            attempts: row.get(6)?,
            accepted_at: Timestamp::from_micros(row.get(7)?),
        },
    })
}

/// The figures of the account are the sums of its counters, and the lengths of its queues.
fn check_totals(db: &Connection, counters: &Totals, recount: &mut Recount) -> rusqlite::Result<()> {
    let mut differences: BTreeMap<TotalKey, i64> = BTreeMap::new();
    for ((_, metric, code), n) in counters {
        if let Some(total) = Metric::from_number(*metric).and_then(Total::of) {
            *differences.entry((total, *code)).or_default() += n;
        }
    }
    let mut statement = db.prepare("SELECT sender_id, count(*) FROM queue GROUP BY sender_id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        differences.insert((Total::Queued, row.get(0)?), row.get(1)?);
    }
    read_totals(db, |total, code, n| {
        *differences.entry((total, code)).or_default() -= n;
    })?;
    for ((total, code), by) in differences.into_iter().filter(|(_, by)| *by != 0) {
        recount.differs(format!(
            "the figure {total:?} {code} of the account is {by} too small"
        ));
    }
    Ok(())
}

/// The queue holds exactly the messages that have a due time, and those are the waiting ones.
fn check_queue(db: &Connection, recount: &mut Recount) -> rusqlite::Result<()> {
    let waiting = states_that(State::is_waiting);
    for (sql, text) in [
        (
            "SELECT count(*) FROM queue LEFT JOIN progress \
             ON progress.message_id = queue.message_id AND progress.due_at = queue.due_at \
             AND progress.sender_id = queue.sender_id AND progress.priority = queue.priority \
             WHERE progress.message_id IS NULL",
            "queue rows stand for no waiting message",
        ),
        (
            "SELECT (SELECT count(*) FROM progress WHERE due_at IS NOT NULL) \
             - (SELECT count(*) FROM queue)",
            "waiting messages are missing from the queue",
        ),
        (
            &format!(
                "SELECT count(*) FROM progress \
                 WHERE (due_at IS NOT NULL) <> (state IN ({waiting}))"
            ),
            "messages wait without a due time, or have one without waiting",
        ),
    ] {
        let n: i64 = db.query_row(sql, [], |row| row.get(0))?;
        if n != 0 {
            recount.differs(format!("{n} {text}"));
        }
    }
    Ok(())
}
