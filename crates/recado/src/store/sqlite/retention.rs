//! Removing old messages: which may go, and what goes with them.

use std::collections::HashSet;
use std::time::Duration;

use delivery::counter::Metric;
use delivery::progress::WatchKind;
use delivery::row::{AttemptRow, CohortRow, MessageRow};
use delivery::state::State;
use delivery::time::Timestamp;

use super::column::{limit, stored_at};
use super::statements::{ACCOUNT, Statements};
use super::{attempt, counter, event, hold, inbound, key, message, progress, report, verify};
use crate::store::operations::removal::{
    Ages, Removable, RemovableMessage, Removal, RetentionRows,
};
use crate::store::recount::Recount;

/// For so long after an attempt the provider may be asked about it.
const ASKED_AFTER_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);

impl RetentionRows for Statements<'_> {
    fn removable(&mut self, removal: &Removal) -> rusqlite::Result<Removable> {
        let (inbound, next_inbound) = inbound::older(self.db, removal)?;
        let mut removable = Removable {
            inbound,
            next_inbound,
            waits: self.is_still_asked(removal.before)?,
            ..Removable::default()
        };
        if removable.waits {
            return Ok(removable);
        }
        let (newest, last_event) = self.newest()?;
        let mut statement = self.db.prepare_cached(
            "SELECT message_id, cohort_id, state, last_event, accepted_at, due_at IS NOT NULL \
             FROM progress NOT INDEXED WHERE account_id = ?1 AND message_id > ?2 \
             ORDER BY message_id LIMIT ?3",
        )?;
        let mut rows = statement.query([ACCOUNT, removal.after.0, limit(removal.limit)])?;
        let mut ages = Ages::default();
        let mut looked_for = None;
        while let Some(row) = rows.next()? {
            let message = MessageRow(row.get(0)?);
            let accepted_at = Timestamp::from_micros(row.get(4)?);
            removable.next = Some(message);
            if !ages.is_old(removal, accepted_at) {
                continue;
            }
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
            let looked_for = match &mut looked_for {
                Some(messages) => messages,
                None => looked_for.insert(self.looked_for()?),
            };
            if looked_for.contains(&message.0) {
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
        if ages.are_over(removal) {
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

    /// The messages of which an attempt is looked for, however old they are: a look that fails is
    /// repeated, and writes no event.
    fn looked_for(self) -> rusqlite::Result<HashSet<i64>> {
        let mut statement = self.db.prepare_cached(
            "SELECT attempt.message_id FROM watch JOIN attempt ON attempt.id = watch.attempt_id \
             WHERE watch.account_id = ?1 AND watch.kind = ?2",
        )?;
        statement
            .query_map([ACCOUNT, WatchKind::Unknown.number()], |row| row.get(0))?
            .collect()
    }

    /// The newest message and the last event. They stay: SQLite gives the number after the largest.
    fn newest(self) -> rusqlite::Result<(i64, i64)> {
        let one = |sql: &str| self.db.prepare_cached(sql)?.query_row([], |row| row.get(0));
        Ok((
            one("SELECT coalesce(max(message_id), 0) FROM progress")?,
            one("SELECT coalesce(max(id), 0) FROM event")?,
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
