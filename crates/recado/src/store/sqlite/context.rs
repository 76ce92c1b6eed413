//! What every transaction shares: progress in and out, events, counters, interned names.

use std::collections::HashMap;

use delivery::message::{Kind, Policy, Priority};
use delivery::state::State;
use delivery::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Shared;
use super::writer::PendingNotifications;
use delivery::counter::Metric;
use delivery::progress::{
    Event, Flags, LastError, Progress, ProgressChange, QueueChange, Reason, Transition, Watch,
};

/// One transaction under way.
pub(super) struct Context<'a> {
    pub(super) db: &'a Connection,
    pub(super) shared: &'a Shared,
    pub(super) counts: HashMap<(i64, Metric, i64), i64>,
    pub(super) change: ProgressChange,
    pub(super) pending: PendingNotifications,
}

/// What [`read_progress`] reads, in its order.
pub(super) const PROGRESS_COLUMNS: &str = "progress.message_id, progress.cohort_id, progress.person_id, progress.sender_id, \
     progress.state, progress.attempts, progress.attempt_id, progress.seen, \
     progress.flags, progress.priority, progress.policy, progress.last_event, \
     progress.accepted_at, progress.expires_at, progress.due_at, progress.sent_at, \
     progress.delivered_at, progress.read_at, progress.failed_at, progress.error_reason, \
     progress.error_code";
/// How many they are.
pub(super) const PROGRESS_WIDTH: usize = 21;

impl Context<'_> {
    /// Reads the progress of a message.
    pub(super) fn progress(&self, message: i64) -> rusqlite::Result<Option<Progress>> {
        static SQL: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
            format!("SELECT {PROGRESS_COLUMNS} FROM progress WHERE message_id = ?1")
        });
        self.db
            .prepare_cached(&SQL)?
            .query_row([message], read_progress)
            .optional()
    }

    /// Before when the caller did not want a message to be sent.
    pub(super) fn send_at(&self, message: i64) -> rusqlite::Result<Option<Timestamp>> {
        let at: Option<i64> = self
            .db
            .prepare_cached("SELECT send_at FROM message WHERE id = ?1")?
            .query_row([message], |row| row.get(0))?;
        Ok(at.map(Timestamp::from_micros))
    }

    /// Works a fact into a progress and writes everything it changes.
    pub(super) fn apply<T>(
        &mut self,
        progress: &mut Progress,
        input: TransitionInput,
        fact: impl FnOnce(&mut Transition<'_>) -> T,
    ) -> rusqlite::Result<T> {
        let mut change = std::mem::take(&mut self.change);
        change.clear();
        let due_before = progress.due_at;
        let value = fact(&mut Transition {
            progress,
            change: &mut change,
            rules: &self.shared.rules,
            now: input.now,
            random: input.random,
            variant_untried: input.variant_untried,
            send_at: input.send_at,
        });
        self.write_change(progress, &change, due_before, input.now)?;
        let person_refused = change.suppress_person;
        let pause = change.pause;
        let code = change.events.last().and_then(|event| event.code);
        self.change = change;
        if let Some((scope, code)) = pause {
            self.pause(progress.sender, scope, code, input.now)?;
        }
        if person_refused {
            self.suppress_refused_person(progress, code, input.now)?;
            // This message may have been one of the person's waiting ones.
            if let Some(fresh) = self.progress(progress.message)? {
                *progress = fresh;
            }
        }
        Ok(value)
    }

    fn write_change(
        &mut self,
        progress: &mut Progress,
        change: &ProgressChange,
        due_before: Option<Timestamp>,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let new = progress.last_event == 0;
        for event in &change.events {
            progress.last_event = self.insert_event(progress, event, now)?;
        }
        for count in &change.counts {
            *self
                .counts
                .entry((count.cohort, count.metric, count.code))
                .or_default() += count.by;
        }
        self.write_queue(progress, change.queue, due_before)?;
        if let Some(watch) = change.watch {
            self.insert_watch(watch, 0)?;
        }
        if new {
            self.insert_progress(progress)
        } else {
            self.save_progress(progress)
        }
    }

    fn insert_event(
        &mut self,
        progress: &Progress,
        event: &Event,
        now: Timestamp,
    ) -> rusqlite::Result<i64> {
        self.db
            .prepare_cached(
                "INSERT INTO event (message_id, prev, at, kind, source, state, attempt_id, status, \
                 code, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute(params![
                progress.message,
                progress.last_event,
                now.micros(),
                event.kind.number(),
                event.source.number(),
                event.state.number(),
                event.attempt,
                event.status.map(|status| status.number()),
                event.code,
                event.detail,
            ])?;
        let key = self.db.last_insert_rowid();
        self.pending.last_event = key;
        Ok(key)
    }

    fn write_queue(
        &mut self,
        progress: &Progress,
        change: QueueChange,
        due_before: Option<Timestamp>,
    ) -> rusqlite::Result<()> {
        if change == QueueChange::Unchanged {
            return Ok(());
        }
        if let Some(due) = due_before {
            self.db
                .prepare_cached(
                    "DELETE FROM queue WHERE sender_id = ?1 AND priority = ?2 AND due_at = ?3 \
                     AND message_id = ?4",
                )?
                .execute(params![
                    progress.sender,
                    progress.priority.number(),
                    due.micros(),
                    progress.message
                ])?;
        }
        if let QueueChange::Enqueue(due) = change {
            self.db
                .prepare_cached(
                    "INSERT INTO queue (sender_id, priority, due_at, message_id, person_id) \
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![
                    progress.sender,
                    progress.priority.number(),
                    due.micros(),
                    progress.message,
                    progress.person
                ])?;
            self.pending.queue = true;
        }
        Ok(())
    }

    /// Puts a watch; the same attempt may be watched at several times.
    pub(super) fn insert_watch(&mut self, watch: Watch, polls: u32) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO watch (at, attempt_id, kind, polls) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![watch.at.micros(), watch.attempt, watch.kind.number(), polls])?;
        self.pending.watches = true;
        Ok(())
    }

    fn save_progress(&self, progress: &Progress) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "UPDATE progress SET state = ?2, attempts = ?3, attempt_id = ?4, seen = ?5, \
                 flags = ?6, last_event = ?7, due_at = ?8, sent_at = ?9, delivered_at = ?10, \
                 read_at = ?11, failed_at = ?12, error_reason = ?13, error_code = ?14, \
                 room = zeroblob(?15) WHERE message_id = ?1",
            )?
            .execute(params![
                progress.message,
                progress.state.number(),
                progress.attempts,
                progress.attempt,
                progress.seen,
                progress.flags.0,
                progress.last_event,
                progress.due_at.map(Timestamp::micros),
                progress.sent_at.map(Timestamp::micros),
                progress.delivered_at.map(Timestamp::micros),
                progress.read_at.map(Timestamp::micros),
                progress.failed_at.map(Timestamp::micros),
                progress.error.map(|error| error.reason.number()),
                progress.error.and_then(|error| error.code),
                room(progress),
            ])?;
        Ok(())
    }

    /// Inserts the row of a message whose first event was just written.
    fn insert_progress(&self, progress: &Progress) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "INSERT INTO progress (message_id, cohort_id, person_id, sender_id, state, \
                 attempts, seen, flags, priority, policy, last_event, accepted_at, expires_at, \
                 due_at, room) \
                 VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, ?6, ?7, ?8, ?9, ?10, ?11, ?12, zeroblob(?13))",
            )?
            .execute(params![
                progress.message,
                progress.cohort,
                progress.person,
                progress.sender,
                progress.state.number(),
                progress.flags.0,
                progress.priority.number(),
                progress.policy.number(),
                progress.last_event,
                progress.accepted_at.micros(),
                progress.expires_at.map(Timestamp::micros),
                progress.due_at.map(Timestamp::micros),
                room(progress),
            ])?;
        Ok(())
    }

    /// Adds what the batch counted, once for each counter.
    pub(super) fn flush_counts(&mut self) -> rusqlite::Result<()> {
        let mut counts: Vec<_> = self.counts.drain().filter(|(_, by)| *by != 0).collect();
        counts
            .sort_unstable_by_key(|((cohort, metric, code), _)| (*cohort, metric.number(), *code));
        let mut statement = self.db.prepare_cached(
            "INSERT INTO counter (cohort_id, metric, code, n) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (cohort_id, metric, code) DO UPDATE SET n = n + excluded.n",
        )?;
        for ((cohort, metric, code), by) in counts {
            statement.execute(params![cohort, metric.number(), code, by])?;
        }
        Ok(())
    }

    /// The key of a cohort, made when it is new.
    pub(super) fn cohort(&self, cohort: Cohort) -> rusqlite::Result<i64> {
        if let Some(key) = self.shared.cached_cohort(&cohort) {
            return Ok(key);
        }
        let row = params![
            cohort.hour,
            cohort.sender,
            cohort.kind.number(),
            cohort.template,
            cohort.area
        ];
        let find = "SELECT id FROM cohort WHERE hour = ?1 AND sender_id = ?2 AND kind = ?3 \
                    AND template_id = ?4 AND area = ?5";
        let found: Option<i64> = self
            .db
            .prepare_cached(find)?
            .query_row(row, |row| row.get(0))
            .optional()?;
        let key = match found {
            Some(key) => key,
            None => {
                self.db
                    .prepare_cached(
                        "INSERT INTO cohort (hour, sender_id, kind, template_id, area) \
                         VALUES (?1, ?2, ?3, ?4, ?5)",
                    )?
                    .execute(row)?;
                self.db.last_insert_rowid()
            }
        };
        self.shared.cache_cohort(cohort, key);
        Ok(key)
    }

    /// The key of a template, made when it is new; 0 for none.
    pub(super) fn template(&self, content_sid: Option<&str>) -> rusqlite::Result<i64> {
        let Some(content_sid) = content_sid else {
            return Ok(0);
        };
        let find = "SELECT id FROM template WHERE account_id = 1 AND content_sid = ?1";
        let found: Option<i64> = self
            .db
            .prepare_cached(find)?
            .query_row([content_sid], |row| row.get(0))
            .optional()?;
        if let Some(key) = found {
            return Ok(key);
        }
        self.db
            .prepare_cached("INSERT INTO template (account_id, content_sid) VALUES (1, ?1)")?
            .execute([content_sid])?;
        Ok(self.db.last_insert_rowid())
    }
}

/// When a fact happens, and what chance and the person's record say.
#[derive(Clone, Copy)]
pub(super) struct TransitionInput {
    pub(super) now: Timestamp,
    pub(super) random: u64,
    pub(super) variant_untried: bool,
    pub(super) send_at: Option<Timestamp>,
}

impl TransitionInput {
    /// The input at a time when no new attempt is decided, so that neither chance nor forms matter.
    pub(super) fn at(now: Timestamp) -> Self {
        Self {
            now,
            random: 0,
            variant_untried: false,
            send_at: None,
        }
    }
}

/// Whose messages a counter counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Cohort {
    pub(super) hour: i64,
    pub(super) sender: i64,
    pub(super) kind: Kind,
    pub(super) template: i64,
    pub(super) area: i64,
}

pub(super) fn read_progress(row: &Row<'_>) -> rusqlite::Result<Progress> {
    let time = |column: usize| -> rusqlite::Result<Option<Timestamp>> {
        Ok(row
            .get::<_, Option<i64>>(column)?
            .map(Timestamp::from_micros))
    };
    let reason = stored_or_null(row, 19, Reason::from_number)?;
    let code: Option<u32> = row.get(20)?;
    Ok(Progress {
        message: row.get(0)?,
        cohort: row.get(1)?,
        person: row.get(2)?,
        sender: row.get(3)?,
        state: stored_at(row, 4, State::from_number)?,
        attempts: row.get(5)?,
        attempt: row.get(6)?,
        seen: row.get(7)?,
        flags: Flags(row.get(8)?),
        priority: stored_at(row, 9, Priority::from_number)?,
        policy: stored_at(row, 10, Policy::from_number)?,
        last_event: row.get(11)?,
        accepted_at: Timestamp::from_micros(row.get(12)?),
        expires_at: time(13)?,
        due_at: time(14)?,
        sent_at: time(15)?,
        delivered_at: time(16)?,
        read_at: time(17)?,
        failed_at: time(18)?,
        error: reason.map(|reason| LastError { reason, code }),
    })
}

/// Reads a column that holds the number of a value.
pub(super) fn stored_at<T>(
    row: &Row<'_>,
    column: usize,
    from_number: impl FnOnce(i64) -> Option<T>,
) -> rusqlite::Result<T> {
    let number: i64 = row.get(column)?;
    from_number(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, number))
}

/// A list of numbers for SQL.
pub(super) fn numbers<'a>(states: impl Iterator<Item = &'a State>) -> String {
    let numbers: Vec<_> = states.map(|state| state.number().to_string()).collect();
    numbers.join(", ")
}

/// Reads such a column when it may be empty.
pub(super) fn stored_or_null<T>(
    row: &Row<'_>,
    column: usize,
    from_number: impl FnOnce(i64) -> Option<T>,
) -> rusqlite::Result<Option<T>> {
    match row.get::<_, Option<i64>>(column)? {
        None => Ok(None),
        Some(number) => from_number(number)
            .map(Some)
            .ok_or(rusqlite::Error::IntegralValueOutOfRange(column, number)),
    }
}

/// Turns a failure to open a sealed value into the engine's error, keeping the cause.
pub(super) fn decrypt_error(error: crate::secrets::DecryptError) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(error))
}

/// Bytes that keep the row of a progress at one size: four times of eight bytes and the key of an
/// attempt may come, and a due time may go.
fn room(progress: &Progress) -> usize {
    const ALL: usize = 40;
    let times = [
        progress.due_at,
        progress.sent_at,
        progress.delivered_at,
        progress.read_at,
        progress.failed_at,
    ];
    let taken = 8 * times.iter().flatten().count() + 4 * usize::from(progress.attempt.is_some());
    ALL.saturating_sub(taken)
}
