//! The recount: every counter, every state and every time from the log alone, compared with what
//! is shown. It shares nothing with the code that counts, except the numbers of the store.

use std::collections::{BTreeMap, HashMap};

use delivery::event::EventKind;
use delivery::outcome::{OutcomeKind, ProviderStatus};
use delivery::state::{State, state_of};
use delivery::time::Timestamp;
use rusqlite::{Connection, Row};

use super::SqliteStore;
use super::context::{numbers, stored_at, stored_or_null};
use crate::store::{StoreError, VerifyReport};
use delivery::counter::{Metric, Stage, bucket};
use delivery::progress::CONTRADICTS;

/// Differences that are listed in words; the rest is only counted.
const DIFFERENCES_MAX: usize = 100;

type Totals = BTreeMap<(i64, i64, i64), i64>;

impl SqliteStore {
    pub(super) async fn recount(&self) -> Result<VerifyReport, StoreError> {
        self.read_long(|db, _| {
            let mut report = VerifyReport::default();
            let totals = recount_messages(db, &mut report)?;
            compare_counters(db, &totals, &mut report)?;
            check_queue(db, &mut report)?;
            check_integrity(db, &mut report)?;
            Ok(report)
        })
        .await
    }
}

/// What the log says about one message.
#[derive(Default)]
struct Told {
    accepted_at: i64,
    state: Option<State>,
    last_event: i64,
    sent_at: Option<i64>,
    delivered_at: Option<i64>,
    read_at: Option<i64>,
    attempts: i64,
}

fn recount_messages(db: &Connection, report: &mut VerifyReport) -> rusqlite::Result<Totals> {
    let cohorts: HashMap<i64, i64> = db
        .prepare("SELECT message_id, cohort_id FROM progress")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut totals = Totals::new();
    let mut told: HashMap<i64, Told> = HashMap::new();
    let mut statement = db.prepare(
        "SELECT id, message_id, prev, at, kind, state, status, code, detail FROM event ORDER BY id",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        report.events += 1;
        let message: i64 = row.get(1)?;
        let Some(cohort) = cohorts.get(&message) else {
            difference(
                report,
                format!("event {} is about no message", row.get::<_, i64>(0)?),
            );
            continue;
        };
        retell(
            row,
            *cohort,
            told.entry(message).or_default(),
            &mut totals,
            report,
        )?;
    }
    compare_progress(db, &told, &cohorts, &mut totals, report)?;
    Ok(totals)
}

/// Reads one event into what is told about its message.
fn retell(
    row: &Row<'_>,
    cohort: i64,
    told: &mut Told,
    totals: &mut Totals,
    report: &mut VerifyReport,
) -> rusqlite::Result<()> {
    let (id, prev, at): (i64, i64, i64) = (row.get(0)?, row.get(2)?, row.get(3)?);
    if prev != told.last_event {
        difference(
            report,
            format!("event {id} does not follow the event before it"),
        );
    }
    told.last_event = id;
    let kind: EventKind = stored_at(row, 4, EventKind::from_number)?;
    told.state = Some(stored_at(row, 5, State::from_number)?);
    let status = stored_or_null(row, 6, ProviderStatus::from_number)?;
    let code: Option<i64> = row.get(7)?;
    let mut add = |metric: Metric, code: i64| {
        *totals.entry((cohort, metric.number(), code)).or_default() += 1;
    };
    if row.get_ref(8)?.as_str_or_null()? == Some(CONTRADICTS) {
        add(Metric::Anomalies, 0);
    }
    match kind {
        EventKind::Accepted => {
            told.accepted_at = at;
            add(Metric::Accepted, 0);
        }
        EventKind::AttemptOpened => {
            told.attempts += 1;
            add(Metric::Attempts, 0);
        }
        EventKind::AttemptNotSent => add(Metric::Outcomes, OutcomeKind::NotSent.number()),
        EventKind::AttemptSent | EventKind::Settled => {
            add(Metric::Outcomes, OutcomeKind::Sent.number());
        }
        EventKind::AttemptUnknown => add(Metric::Outcomes, OutcomeKind::Unknown.number()),
        EventKind::AttemptRefused => {
            add(Metric::Outcomes, OutcomeKind::Refused.number());
            add(Metric::Errors, code.unwrap_or(0));
        }
        EventKind::Reported => {
            if let Some(code) = code {
                add(Metric::Errors, code);
            }
        }
        EventKind::RetryDecided => add(Metric::Retries, 0),
        EventKind::HorizonPassed
        | EventKind::GivenUp
        | EventKind::Canceled
        | EventKind::Superseded
        | EventKind::Expired
        | EventKind::Suppressed
        | EventKind::Held
        | EventKind::Released => {}
    }
    let reached = matches!(
        kind,
        EventKind::Reported | EventKind::AttemptSent | EventKind::Settled
    );
    if reached && let Some(state) = status.and_then(state_of) {
        reach(told, state, at, cohort, totals);
    }
    Ok(())
}

fn reach(told: &mut Told, state: State, at: i64, cohort: i64, totals: &mut Totals) {
    let mut first = |place: &mut Option<i64>, metric: Metric, stage: Stage, from: i64| {
        if place.is_none() {
            *place = Some(at);
            *totals.entry((cohort, metric.number(), 0)).or_default() += 1;
            let waited = Timestamp::from_micros(at).since(Timestamp::from_micros(from));
            *totals
                .entry((cohort, stage.metric().number(), bucket(waited)))
                .or_default() += 1;
        }
    };
    let arrived = matches!(state, State::Delivered | State::Read);
    if arrived || state == State::Sent {
        first(
            &mut told.sent_at,
            Metric::Sent,
            Stage::AcceptedToSent,
            told.accepted_at,
        );
    }
    if arrived {
        let from = told.sent_at.unwrap_or(at);
        first(
            &mut told.delivered_at,
            Metric::Delivered,
            Stage::SentToDelivered,
            from,
        );
    }
    if state == State::Read {
        let from = told.delivered_at.unwrap_or(at);
        first(
            &mut told.read_at,
            Metric::Read,
            Stage::DeliveredToRead,
            from,
        );
    }
}

fn compare_progress(
    db: &Connection,
    told: &HashMap<i64, Told>,
    cohorts: &HashMap<i64, i64>,
    totals: &mut Totals,
    report: &mut VerifyReport,
) -> rusqlite::Result<()> {
    let mut statement = db.prepare(
        "SELECT message_id, state, last_event, sent_at, delivered_at, read_at, attempts, \
         accepted_at FROM progress",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        report.messages += 1;
        let message: i64 = row.get(0)?;
        let Some(told) = told.get(&message) else {
            difference(report, format!("message {message} has no event"));
            continue;
        };
        let state = stored_at(row, 1, State::from_number)?;
        let shown = (
            row.get(2)?,
            row.get(3)?,
            row.get(4)?,
            row.get(5)?,
            row.get(6)?,
            row.get(7)?,
        );
        let recounted = (
            told.last_event,
            told.sent_at,
            told.delivered_at,
            told.read_at,
            told.attempts,
            told.accepted_at,
        );
        if told.state != Some(state) || shown != recounted {
            difference(
                report,
                format!("message {message} shows another progress than its log tells"),
            );
        }
        if let (Some(cohort), Some(state)) = (cohorts.get(&message), told.state) {
            let key = (*cohort, Metric::State.number(), state.number());
            *totals.entry(key).or_default() += 1;
        }
    }
    Ok(())
}

fn compare_counters(
    db: &Connection,
    totals: &Totals,
    report: &mut VerifyReport,
) -> rusqlite::Result<()> {
    let shown: Totals = db
        .prepare("SELECT cohort_id, metric, code, n FROM counter WHERE n <> 0")?
        .query_map([], |row| {
            Ok(((row.get(0)?, row.get(1)?, row.get(2)?), row.get(3)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    report.counters = u64::try_from(shown.len()).unwrap_or(u64::MAX);
    let keys: std::collections::BTreeSet<_> = totals.keys().chain(shown.keys()).collect();
    for key in keys {
        let (counted, recounted) = (
            shown.get(key).copied().unwrap_or(0),
            totals.get(key).copied().unwrap_or(0),
        );
        if counted != recounted {
            let (cohort, metric, code) = key;
            let name = Metric::from_number(*metric).map_or_else(String::new, |w| format!("{w:?}"));
            difference(
                report,
                format!(
                    "counter {name} {code} of cohort {cohort} shows {counted}, the log {recounted}"
                ),
            );
        }
    }
    Ok(())
}

/// The queue holds exactly the messages that have a due time, and those are the waiting ones.
fn check_queue(db: &Connection, report: &mut VerifyReport) -> rusqlite::Result<()> {
    let strays: i64 = db.query_row(
        "SELECT count(*) FROM queue LEFT JOIN progress ON progress.message_id = queue.message_id \
         AND progress.due_at = queue.due_at AND progress.sender_id = queue.sender_id \
         AND progress.priority = queue.priority WHERE progress.message_id IS NULL",
        [],
        |row| row.get(0),
    )?;
    let missing: i64 = db.query_row(
        "SELECT (SELECT count(*) FROM progress WHERE due_at IS NOT NULL) \
         - (SELECT count(*) FROM queue)",
        [],
        |row| row.get(0),
    )?;
    let waiting = numbers(State::ALL.iter().filter(|state| state.is_waiting()));
    let stuck: i64 = db.query_row(
        &format!(
            "SELECT count(*) FROM progress WHERE (due_at IS NOT NULL) <> (state IN ({waiting}))"
        ),
        [],
        |row| row.get(0),
    )?;
    for (n, text) in [
        (strays, "queue rows stand for no waiting message"),
        (missing, "waiting messages are missing from the queue"),
        (
            stuck,
            "messages wait without a due time, or have one without waiting",
        ),
    ] {
        if n != 0 {
            difference(report, format!("{n} {text}"));
        }
    }
    Ok(())
}

fn check_integrity(db: &Connection, report: &mut VerifyReport) -> rusqlite::Result<()> {
    let verdict: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        difference(report, format!("the database file is damaged: {verdict}"));
    }
    Ok(())
}

fn difference(report: &mut VerifyReport, text: String) {
    if report.differences.len() < DIFFERENCES_MAX {
        report.differences.push(text);
    }
}
