//! Removing old messages: which may go, and what goes with them.

use std::time::Duration;

use delivery::counter::Metric;
use delivery::progress::WatchKind;
use delivery::row::{AttemptRow, CohortRow, MessageRow};
use delivery::state::State;
use delivery::time::Timestamp;
use rusqlite::OptionalExtension;

use super::column::{limit, stored_at};
use super::statements::{ACCOUNT, Statements};
use super::{attempt, counter, event, hold, inbound, key, message, progress, report, verify};
use crate::store::operations::removal::{Removable, RemovableMessage, Removal, RetentionRows};
use crate::store::recount::Recount;

/// For so long after an attempt the provider may be asked about it.
const ASKED_AFTER_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);

impl RetentionRows for Statements<'_> {
    fn removable(&mut self, removal: &Removal) -> rusqlite::Result<Removable> {
        let mut removable = Removable {
            inbound: inbound::older(self.db, removal)?,
            ..Removable::default()
        };
        if self.is_still_asked(removal.before)? {
            return Ok(removable);
        }
        let (newest, last_event) = self.newest()?;
        let mut statement = self.db.prepare_cached(
            "SELECT message_id, cohort_id, state, last_event, accepted_at, due_at IS NOT NULL \
             FROM progress WHERE message_id > ?1 ORDER BY message_id LIMIT ?2",
        )?;
        let mut rows = statement.query([removal.after.0, limit(removal.limit)])?;
        let mut looked_at = 0;
        while let Some(row) = rows.next()? {
            let message = MessageRow(row.get(0)?);
            let accepted_at = Timestamp::from_micros(row.get(4)?);
            if accepted_at >= removal.before {
                removable.next = None;
                return Ok(removable);
            }
            looked_at += 1;
            removable.next = Some(message);
            let state = stored_at(row, 2, State::from_number)?;
            let (last, waits): (i64, bool) = (row.get(3)?, row.get(5)?);
            let kept =
                waits || awaits_something(state) || message.0 == newest || last == last_event;
            if kept {
                continue;
            }
            let log = verify::read_log(self.db, message, last)?;
            let at_rest = log
                .events
                .last()
                .is_some_and(|(event, _)| event.at < removal.before);
            if !at_rest || log.broken.is_some() {
                continue;
            }
            let mut recount = Recount::new();
            recount.count_between(CohortRow(row.get(1)?), &log, 0, i64::MAX);
            removable.messages.push(RemovableMessage {
                message,
                state,
                last_event: last,
                counts: recount
                    .take_totals()
                    .into_iter()
                    .filter_map(|((cohort, metric, code), n)| {
                        let metric = Metric::from_number(metric)?;
                        (n != 0).then_some(((cohort, metric, code), n))
                    })
                    .collect(),
            });
        }
        if looked_at < removal.limit {
            removable.next = None;
        }
        Ok(removable)
    }

    fn remove(&mut self, removable: &Removable) -> rusqlite::Result<()> {
        let db = self.db;
        if !removable.messages.is_empty() {
            counter::add_baseline(db, &removable.messages)?;
        }
        for removed in &removable.messages {
            for attempt in event::remove(db, removed.last_event)? {
                report::remove(db, AttemptRow(attempt))?;
                attempt::remove(db, AttemptRow(attempt))?;
            }
            key::remove(db, removed.message)?;
            hold::remove_evidence(db, removed.message)?;
            progress::remove(db, removed.message)?;
            message::remove(db, removed.message)?;
        }
        inbound::remove(db, &removable.inbound)
    }
}

impl Statements<'_> {
    /// Whether something about attempts of that time is still to be asked. Not so for long: then the
    /// server was away, and asking comes first.
    fn is_still_asked(self, before: Timestamp) -> rusqlite::Result<bool> {
        let mut statement = self.db.prepare_cached(
            "SELECT 1 FROM watch WHERE account_id = ?1 AND kind = ?2 AND at <= ?3 LIMIT 1",
        )?;
        let until = before.plus(ASKED_AFTER_MAX).micros();
        for kind in WatchKind::ALL {
            if statement.exists([ACCOUNT, kind.number(), until])? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The newest message and the last event. They stay: SQLite gives the number after the largest.
    fn newest(self) -> rusqlite::Result<(i64, i64)> {
        let one = |sql: &str| {
            let found = self.db.prepare_cached(sql)?.query_row([], |row| row.get(0));
            found.optional().map(Option::unwrap_or_default)
        };
        Ok((
            one("SELECT max(message_id) FROM progress")?,
            one("SELECT max(id) FROM event")?,
        ))
    }
}

/// Whether somebody decides about the message, or a request of it is open.
fn awaits_something(state: State) -> bool {
    match state {
        State::Accepted | State::Scheduled | State::Sending | State::Held => true,
        State::Unknown
        | State::Suppressed
        | State::Expired
        | State::Canceled
        | State::Queued
        | State::Sent
        | State::Failed
        | State::Undelivered
        | State::Delivered
        | State::Read => false,
    }
}
