//! Feeds the recount with the rows of the database, and checks what only the engine can see.
//!
//! It reads in short transactions, a range of rows at a time, so that neither its memory nor the
//! write-ahead log grows with the database. Its figures are exact all the same: each message counts
//! as of one event, the last one when the recount began; each counter is compared as of the moment
//! at which it was read; and for messages to which something happened in between, the events in
//! between make up the difference. The log is only appended to, so all of that can be read later.
//! Only SQLite's own check of a table cannot be divided; it comes last.

use std::collections::BTreeMap;

use delivery::counter::Metric;
use delivery::event::EventKind;
use delivery::outcome::ProviderStatus;
use delivery::row::{CohortRow, MessageRow};
use delivery::state::State;
use delivery::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::column::{limit, stored_at, stored_or_null, time_or_null};
use super::counter::read_totals;
use super::statements::ACCOUNT;
use crate::store::VerifyReport;
use crate::store::operations::columns::{Total, TotalKey};
use crate::store::recount::{Log, LoggedEvent, Recount, Recounted, Shown};

/// Messages read in one transaction. It takes milliseconds, because the write-ahead log starts over
/// only when nobody reads what is older than its end.
const MESSAGES: usize = 200;
/// Events counted in one transaction.
const EVENTS: i64 = 20_000;
/// Events after the beginning whose messages are caught up with in one transaction.
const NEW_EVENTS: i64 = 200;
/// Cohorts whose counters are read in one transaction.
const COHORTS: i64 = 200;
/// Rows of the queue that are looked at in one transaction.
const QUEUED: usize = 1_000;
/// Identities that are looked at in one transaction.
const IDENTITIES: i64 = 5_000;

/// Recounts everything.
pub(super) fn recount(db: &Connection) -> rusqlite::Result<VerifyReport> {
    let mut run = Run::begin(db)?;
    while run.messages()? {
        run.counters(run.newest_cohort)?;
    }
    // Counters of a cohort that does not exist are a difference too.
    let last = one(
        db,
        "SELECT max(coalesce((SELECT max(id) FROM cohort), 0), \
         coalesce((SELECT max(cohort_id) FROM counter), 0))",
    )?;
    while run.counters_until < last {
        run.counters(last)?;
    }
    run.count_events()?;
    run.catch_up()?;
    run.compare()?;
    check_queue(db, &mut run.recount)?;
    check_people(db, &mut run.recount)?;
    check_file(db, &mut run.recount)?;
    Ok(run.recount.report())
}

/// A recount under way.
struct Run<'a> {
    db: &'a Connection,
    recount: Recount,
    /// The last event when it began: messages count as of it.
    began: i64,
    /// The last removal of old messages when it began.
    removal: i64,
    /// The last message that was read.
    message: i64,
    /// The newest cohort of those messages.
    newest_cohort: i64,
    /// The last cohort whose counters were read.
    counters_until: i64,
    /// Up to which cohort counters were read when which event was the last.
    counters_as_of: Vec<(i64, i64)>,
    /// Sums of the counters, with what happened after they were read.
    sums: BTreeMap<TotalKey, i64>,
}

fn one(db: &Connection, sql: &str) -> rusqlite::Result<i64> {
    db.prepare_cached(sql)?.query_row([], |row| row.get(0))
}

fn last_event(db: &Connection) -> rusqlite::Result<i64> {
    one(db, "SELECT coalesce(max(id), 0) FROM event")
}

fn last_removal(db: &Connection) -> rusqlite::Result<i64> {
    db.prepare_cached(
        "SELECT coalesce(max(removal), 0) FROM cohort WHERE account_id = ?1 AND removal > 0",
    )?
    .query_row([ACCOUNT], |row| row.get(0))
}

impl<'a> Run<'a> {
    fn begin(db: &'a Connection) -> rusqlite::Result<Self> {
        let snapshot = db.unchecked_transaction()?;
        Ok(Self {
            db,
            recount: Recount::new(),
            began: last_event(&snapshot)?,
            removal: last_removal(&snapshot)?,
            message: 0,
            newest_cohort: 0,
            counters_until: 0,
            counters_as_of: Vec::new(),
            sums: BTreeMap::new(),
        })
    }

    /// Reads the next messages with their logs. `false` when there were none.
    fn messages(&mut self) -> rusqlite::Result<bool> {
        let snapshot = self.db.unchecked_transaction()?;
        let mut statement = snapshot.prepare_cached(
            "SELECT message_id, state, last_event, sent_at, delivered_at, read_at, attempts, \
             accepted_at, cohort_id, due_at, due_at IS NULL OR EXISTS (SELECT 1 FROM queue \
             WHERE queue.account_id = progress.account_id \
             AND queue.sender_id = progress.sender_id AND queue.priority = progress.priority \
             AND queue.due_at = progress.due_at AND queue.message_id = progress.message_id) \
             FROM progress WHERE message_id > ?1 ORDER BY message_id LIMIT ?2",
        )?;
        let mut rows = statement.query([self.message, limit(MESSAGES)])?;
        let first = self.message;
        while let Some(row) = rows.next()? {
            let (shown, cohort) = (read_shown(row)?, row.get(8)?);
            let log = read_log(&snapshot, shown.message, shown.recounted.last_event)?;
            self.recount
                .message(CohortRow(cohort), &shown, &log, self.began);
            if time_or_null(row, 9)?.is_some() != shown.state.is_waiting() {
                self.recount.differs(format!(
                    "message {} waits without a due time, or has one without waiting",
                    shown.message
                ));
            }
            let is_queued: bool = row.get(10)?;
            if !is_queued {
                self.recount.differs(format!(
                    "message {} waits, and is missing from the queue",
                    shown.message
                ));
            }
            self.message = shown.message.0;
            self.newest_cohort = self.newest_cohort.max(cohort);
        }
        Ok(self.message > first)
    }

    /// Reads the next counters, up to those of a cohort.
    fn counters(&mut self, until: i64) -> rusqlite::Result<()> {
        let until = until.min(self.counters_until + COHORTS);
        if until > self.counters_until {
            let snapshot = self.db.unchecked_transaction()?;
            let mut statement = snapshot.prepare_cached(
                "SELECT cohort_id, metric, code, n, baseline, cohort.sender_id FROM counter \
                 LEFT JOIN cohort ON cohort.id = counter.cohort_id \
                 WHERE cohort_id > ?1 AND cohort_id <= ?2 AND (n <> 0 OR baseline <> 0)",
            )?;
            let mut rows = statement.query([self.counters_until, until])?;
            while let Some(row) = rows.next()? {
                let (metric, code): (i64, i64) = (row.get(1)?, row.get(2)?);
                let (n, baseline): (i64, i64) = (row.get(3)?, row.get(4)?);
                let key = (CohortRow(row.get(0)?), metric, code);
                self.recount.counter(key, n - baseline);
                let sender: Option<i64> = row.get(5)?;
                self.sum(sender.unwrap_or(0), (metric, code), n, baseline);
            }
            self.counters_as_of.push((until, last_event(&snapshot)?));
            self.counters_until = until;
        }
        self.recount.settle();
        Ok(())
    }

    /// The figure of the states is of messages that are stored; the others never become less. What
    /// waits is in the queue of its sender.
    fn sum(&mut self, sender: i64, (metric, code): (i64, i64), n: i64, baseline: i64) {
        let Some(total) = Metric::from_number(metric).and_then(Total::of) else {
            return;
        };
        let by = match total {
            Total::State => n - baseline,
            Total::Errors | Total::Anomalies | Total::Queued => n,
        };
        *self.sums.entry((total, code)).or_default() += by;
        if total == Total::State && State::from_number(code).is_some_and(State::is_waiting) {
            *self.sums.entry((Total::Queued, sender)).or_default() += by;
        }
    }

    /// Each event stands in the log of one message.
    fn count_events(&mut self) -> rusqlite::Result<()> {
        let (mut from, mut counted) = (0, 0);
        while from < self.began {
            let until = self.began.min(from + EVENTS);
            let events: u64 = self
                .db
                .prepare_cached("SELECT count(*) FROM event WHERE id > ?1 AND id <= ?2")?
                .query_row([from, until], |row| row.get(0))?;
            counted += events;
            from = until;
        }
        let lost = counted.saturating_sub(self.recount.events());
        if lost > 0 {
            self.recount
                .differs(format!("{lost} events stand in the log of no message"));
        }
        Ok(())
    }

    /// Makes up for what has happened since messages and counters were read, and compares the
    /// figures of the account.
    fn catch_up(&mut self) -> rusqlite::Result<()> {
        let snapshot = self.db.unchecked_transaction()?;
        let until = last_event(&snapshot)?;
        let mut figures = BTreeMap::new();
        read_totals(&snapshot, |total, code, n| {
            figures.insert((total, code), n);
        })?;
        snapshot.commit()?;
        let mut from = self.began;
        while from < until {
            let next = until.min(from + NEW_EVENTS);
            self.catch_up_with((from, next), until)?;
            from = next;
        }
        self.compare_figures(figures, last_removal(self.db)? == self.removal);
        Ok(())
    }

    /// Does so for the messages of which the first new event is in a range of events.
    fn catch_up_with(&mut self, (after, last): (i64, i64), until: i64) -> rusqlite::Result<()> {
        let snapshot = self.db.unchecked_transaction()?;
        let mut statement = snapshot.prepare_cached(
            "SELECT progress.message_id, cohort_id, sender_id, last_event \
             FROM event JOIN progress ON progress.message_id = event.message_id \
             WHERE event.id > ?1 AND event.id <= ?2 AND event.prev <= ?3",
        )?;
        let mut rows = statement.query([after, last, self.began])?;
        while let Some(row) = rows.next()? {
            let (cohort, sender): (i64, i64) = (row.get(1)?, row.get(2)?);
            let log = read_log(&snapshot, MessageRow(row.get(0)?), row.get(3)?)?;
            let as_of = self
                .counters_as_of
                .iter()
                .find(|(until, _)| *until >= cohort)
                .map_or(0, |(_, event)| *event);
            let cohort = CohortRow(cohort);
            self.recount.count_between(cohort, &log, self.began, as_of);
            let mut later = Recount::new();
            later.count_between(cohort, &log, as_of, until);
            for ((_, metric, code), n) in later.take_totals() {
                self.sum(sender, (metric, code), n, 0);
            }
        }
        Ok(())
    }

    /// Names the figures that differ. A removal changes those of what no longer waits.
    fn compare_figures(&mut self, figures: BTreeMap<TotalKey, i64>, all: bool) {
        let mut sums = std::mem::take(&mut self.sums);
        for (key, n) in figures {
            *sums.entry(key).or_default() -= n;
        }
        for ((total, code), by) in sums.into_iter().filter(|(_, by)| *by != 0) {
            if all || total == Total::Queued {
                self.recount.differs(format!(
                    "the figure {total:?} {code} of the account is {by} too small"
                ));
            }
        }
    }

    /// Names the counters that differ, except those of cohorts that lost messages meanwhile.
    fn compare(&mut self) -> rusqlite::Result<()> {
        let mut statement = self.db.prepare_cached(
            "SELECT id FROM cohort WHERE account_id = ?1 AND removal > 0 AND removal > ?2",
        )?;
        let mut rows = statement.query([ACCOUNT, self.removal])?;
        while let Some(row) = rows.next()? {
            self.recount.skip(CohortRow(row.get(0)?));
        }
        self.recount.compare();
        Ok(())
    }
}

/// Reads the log of a message, from its last event back.
pub(super) fn read_log(
    db: &Connection,
    message: MessageRow,
    last_event: i64,
) -> rusqlite::Result<Log> {
    let mut statement = db.prepare_cached(
        "SELECT message_id, prev, at, kind, state, status, code, detail FROM event WHERE id = ?1",
    )?;
    let mut log = Log::default();
    let mut next = last_event;
    while next > 0 {
        let found = statement
            .query_row([next], |row| {
                let event = LoggedEvent {
                    id: next,
                    message: MessageRow(row.get(0)?),
                    prev: row.get(1)?,
                    at: Timestamp::from_micros(row.get(2)?),
                    kind: stored_at(row, 3, EventKind::from_number)?,
                    state: stored_at(row, 4, State::from_number)?,
                    status: stored_or_null(row, 5, ProviderStatus::from_number)?,
                    code: row.get(6)?,
                    detail: None,
                };
                Ok((event, row.get(7)?))
            })
            .optional()?;
        match found {
            Some((event, detail)) if event.message == message && event.prev < next => {
                next = event.prev;
                log.events.push((event, detail));
            }
            _ if log.events.is_empty() => {
                log.broken = Some(format!("message {message} has no event {next}"));
                break;
            }
            _ => {
                log.broken = Some(format!(
                    "an event of message {message} does not follow an event of its own: {next}"
                ));
                break;
            }
        }
    }
    log.events.reverse();
    Ok(log)
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

/// The queue holds nothing but messages that have a due time. That it holds all of them was seen with
/// the messages, and how many with the figures.
fn check_queue(db: &Connection, recount: &mut Recount) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached(
        "SELECT queue.sender_id, queue.priority, queue.due_at, queue.message_id, \
         EXISTS (SELECT 1 FROM progress WHERE progress.message_id = queue.message_id \
         AND progress.due_at = queue.due_at AND progress.sender_id = queue.sender_id \
         AND progress.priority = queue.priority AND progress.person_id = queue.person_id) \
         FROM queue WHERE queue.account_id = ?1 \
         AND (queue.sender_id, queue.priority, queue.due_at, queue.message_id) > (?2, ?3, ?4, ?5) \
         ORDER BY queue.sender_id, queue.priority, queue.due_at, queue.message_id LIMIT ?6",
    )?;
    let mut after = [i64::MIN; 4];
    let mut lost = 0;
    loop {
        let [sender, priority, due_at, message] = after;
        // A statement alone is a transaction.
        let mut rows =
            statement.query([ACCOUNT, sender, priority, due_at, message, limit(QUEUED)])?;
        let mut read = 0;
        while let Some(row) = rows.next()? {
            read += 1;
            after = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
            let stands_for_one: bool = row.get(4)?;
            lost += u64::from(!stands_for_one);
        }
        if read < QUEUED {
            break;
        }
    }
    if lost != 0 {
        recount.differs(format!("{lost} queue rows stand for no waiting message"));
    }
    Ok(())
}

/// Identities that are tied together name one person, which is one of them, and share its consent.
fn check_people(db: &Connection, recount: &mut Recount) -> rusqlite::Result<()> {
    let last = one(db, "SELECT coalesce(max(id), 0) FROM identity")?;
    let (mut from, mut differ) = (0, 0);
    while from < last {
        let until = last.min(from + IDENTITIES);
        differ += db
            .prepare_cached(
                "SELECT count(*) FROM identity \
                 LEFT JOIN identity AS first ON first.id = identity.person_id \
                 WHERE identity.id > ?1 AND identity.id <= ?2 AND identity.person_id IS NOT NULL \
                 AND (first.person_id IS NOT first.id OR first.consent IS NOT identity.consent)",
            )?
            .query_row([from, until], |row| row.get::<_, i64>(0))?;
        from = until;
    }
    if differ != 0 {
        recount.differs(format!(
            "{differ} identities differ from the person whose they are"
        ));
    }
    Ok(())
}

/// SQLite's own check, table by table. Each is one statement, which reads the whole table at one
/// moment: the write-ahead log keeps what is committed meanwhile.
fn check_file(db: &Connection, recount: &mut Recount) -> rusqlite::Result<()> {
    let mut tables: Vec<String> = db
        .prepare_cached("SELECT name FROM sqlite_schema WHERE type = 'table'")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    tables.push("sqlite_schema".to_owned());
    for table in tables {
        let verdict: String = db
            .prepare("SELECT quick_check FROM pragma_quick_check(?1)")
            .and_then(|mut check| check.query_row(params![table], |row| row.get(0)))?;
        if verdict != "ok" {
            recount.differs(format!("the database file is damaged: {verdict}"));
        }
    }
    Ok(())
}
