//! The table `progress`: where each message is.

use std::sync::LazyLock;
use std::time::Duration;

use delivery::message::{Policy, Priority};
use delivery::progress::{Flags, LastError, Progress, Reason};
use delivery::row::{AttemptRow, CohortRow, MessageRow, PersonRow, SenderRow};
use delivery::state::State;
use delivery::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::column::{stored_at, stored_or_null, time_or_null};
use super::statements::ACCOUNT;

/// What [`read_progress`] reads, in its order.
pub(super) const PROGRESS_COLUMNS: &str = "progress.message_id, progress.cohort_id, \
     progress.person_id, progress.sender_id, progress.state, progress.attempts, \
     progress.attempt_id, progress.seen, progress.flags, progress.priority, progress.policy, \
     progress.last_event, progress.accepted_at, progress.expires_at, progress.due_at, \
     progress.sent_at, progress.delivered_at, progress.read_at, progress.failed_at, \
     progress.error_reason, progress.error_code, progress.spared, progress.tried_for";
/// How many they are.
pub(super) const PROGRESS_WIDTH: usize = 23;

/// Finds the progress of a message.
pub(super) fn find(db: &Connection, message: MessageRow) -> rusqlite::Result<Option<Progress>> {
    static SQL: LazyLock<String> =
        LazyLock::new(|| format!("SELECT {PROGRESS_COLUMNS} FROM progress WHERE message_id = ?1"));
    db.prepare_cached(&SQL)?
        .query_row([message.0], read_progress)
        .optional()
}

/// Inserts the row of a message whose first event was just written.
pub(super) fn insert(db: &Connection, progress: &Progress) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO progress (account_id, message_id, cohort_id, person_id, sender_id, state, attempts, seen, \
         flags, priority, policy, last_event, accepted_at, expires_at, due_at, padding, spared, \
         tried_for) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, ?7, ?8, ?9, ?10, ?11, ?12, ?13, zeroblob(?14), 0, 0)",
    )?
    .execute(params![
        ACCOUNT,
        progress.message.0,
        progress.cohort.0,
        progress.person.0,
        progress.sender.0,
        progress.state.number(),
        progress.flags.0,
        progress.priority.number(),
        progress.policy.number(),
        progress.last_event,
        progress.accepted_at.micros(),
        progress.expires_at.map(Timestamp::micros),
        progress.due_at.map(Timestamp::micros),
        padding(progress),
    ])?;
    Ok(())
}

/// Writes what may change.
pub(super) fn update(db: &Connection, progress: &Progress) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE progress SET state = ?2, attempts = ?3, attempt_id = ?4, seen = ?5, flags = ?6, \
         last_event = ?7, due_at = ?8, sent_at = ?9, delivered_at = ?10, read_at = ?11, \
         failed_at = ?12, error_reason = ?13, error_code = ?14, padding = zeroblob(?15), \
         spared = ?16, tried_for = ?17 WHERE message_id = ?1",
    )?
    .execute(params![
        progress.message.0,
        progress.state.number(),
        progress.attempts,
        progress.attempt.map(|attempt| attempt.0),
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
        padding(progress),
        progress.spared,
        i64::try_from(progress.tried_for.as_micros()).unwrap_or(i64::MAX),
    ])?;
    Ok(())
}

/// Makes the messages of one person another's; the table `message` still names the first.
pub(super) fn give(db: &Connection, from: PersonRow, to: PersonRow) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE progress SET person_id = ?3 WHERE message_id IN \
         (SELECT id FROM message WHERE account_id = ?1 AND person_id = ?2)",
    )?
    .execute([ACCOUNT, from.0, to.0])?;
    Ok(())
}

/// Reads [`PROGRESS_COLUMNS`] from the first column on.
pub(super) fn read_progress(row: &Row<'_>) -> rusqlite::Result<Progress> {
    let reason = stored_or_null(row, 19, Reason::from_number)?;
    let code: Option<u32> = row.get(20)?;
    Ok(Progress {
        message: MessageRow(row.get(0)?),
        cohort: CohortRow(row.get(1)?),
        person: PersonRow(row.get(2)?),
        sender: SenderRow(row.get(3)?),
        state: stored_at(row, 4, State::from_number)?,
        attempts: row.get(5)?,
        spared: row.get(21)?,
        tried_for: Duration::from_micros(row.get(22)?),
        attempt: row.get::<_, Option<i64>>(6)?.map(AttemptRow),
        seen: row.get(7)?,
        flags: Flags(row.get(8)?),
        priority: stored_at(row, 9, Priority::from_number)?,
        policy: stored_at(row, 10, Policy::from_number)?,
        last_event: row.get(11)?,
        accepted_at: Timestamp::from_micros(row.get(12)?),
        expires_at: time_or_null(row, 13)?,
        due_at: time_or_null(row, 14)?,
        sent_at: time_or_null(row, 15)?,
        delivered_at: time_or_null(row, 16)?,
        read_at: time_or_null(row, 17)?,
        failed_at: time_or_null(row, 18)?,
        error: reason.map(|reason| LastError { reason, code }),
    })
}

/// Bytes that keep the row at one size, so that an update splits no page: four times of eight bytes
/// and the number of an attempt may come, and a due time may go.
fn padding(progress: &Progress) -> usize {
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

/// Removes the row of a message.
pub(super) fn remove(db: &Connection, message: MessageRow) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM progress WHERE message_id = ?1")?
        .execute([message.0])?;
    Ok(())
}
