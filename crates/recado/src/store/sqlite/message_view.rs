//! How messages are shown: in one line, and with the whole history.

use std::collections::HashMap;

use delivery::address::AddressVariant;
use delivery::message::{Kind, Policy, Priority};
use delivery::outcome::{OutcomeKind, SettledBy};
use delivery::progress::{Flags, LastError, Reason};
use delivery::row::IdentityRow;
use delivery::sid::Sid;
use delivery::state::State;
use delivery::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::column::{message_id, stored_at, stored_or_null, time_or_null};
use super::event::read_entry;
use super::statements::{ACCOUNT, Statements};
use crate::store::operations::rows::{Broken, PersonRows};
use crate::store::operations::transaction::Shared;
use crate::store::seal::open_column;
use crate::store::{AttemptView, HistoryView, MessageId, MessageSummary, MessageView};

/// One message with its whole history, as of one moment.
pub(super) fn view(
    db: &Connection,
    shared: &Shared,
    id: MessageId,
) -> rusqlite::Result<Option<MessageView>> {
    let transaction = db.unchecked_transaction()?;
    let found = transaction
        .prepare_cached(&format!(
            "{SUMMARY} WHERE message.account_id = ?1 AND message.public_id = ?2"
        ))?
        .query_row(params![ACCOUNT, id.0.as_bytes()], |row| {
            read_summary(row, &transaction, shared)
        })
        .optional()?;
    let Some((_, last_event, mut summary)) = found else {
        return Ok(None);
    };
    let (history, attempts) = read_history(&transaction, last_event)?;
    summary.provider_sid = attempts.iter().rev().find_map(|attempt| attempt.sid);
    Ok(Some(MessageView {
        summary,
        attempts,
        history,
    }))
}

/// What [`read_summary`] reads, from tables that it joins.
pub(super) const SUMMARY: &str = "SELECT message.id, progress.last_event, message.public_id, progress.state, \
     message.identity_id, sender.name, message.kind, progress.priority, progress.policy, \
     template.content_sid, message.sealed_business_key, message.sealed_metadata, \
     progress.accepted_at, message.send_at, progress.expires_at, progress.due_at, \
     progress.sent_at, progress.delivered_at, progress.read_at, progress.failed_at, \
     progress.error_reason, progress.error_code, progress.flags, progress.attempts, \
     (SELECT sid FROM attempt WHERE attempt.id = progress.attempt_id) \
     FROM message JOIN progress ON progress.message_id = message.id \
     JOIN sender ON sender.id = progress.sender_id \
     LEFT JOIN template ON template.id = message.template_id";

/// Reads [`SUMMARY`]: the message's key, its last event, and the line itself.
pub(super) fn read_summary(
    row: &Row<'_>,
    db: &Connection,
    shared: &Shared,
) -> rusqlite::Result<(i64, i64, MessageSummary)> {
    let id = message_id(row.get_ref(2)?.as_blob()?)?;
    let person = Statements { db }.person_at(IdentityRow(row.get(4)?))?;
    let person = person.ok_or(Broken::Gone("identity"))?;
    let to = person.address(&shared.vault).map_err(Broken::from)?;
    let open = |column: usize, name: &str| -> rusqlite::Result<Option<String>> {
        let (Some(sealed), Some(_)) = (row.get_ref(column)?.as_blob_or_null()?, &to) else {
            return Ok(None);
        };
        let key = person.key(&shared.vault).map_err(Broken::from)?;
        let plain = open_column(&shared.vault, &key, name, id, sealed);
        Ok(plain
            .ok()
            .map(|plain| String::from_utf8_lossy(&plain).into_owned()))
    };
    let content_sid: Option<String> = row.get(9)?;
    let reason = stored_or_null(row, 20, Reason::from_number)?;
    let code: Option<u32> = row.get(21)?;
    let summary = MessageSummary {
        id,
        state: stored_at(row, 3, State::from_number)?,
        from: row.get(5)?,
        kind: stored_at(row, 6, Kind::from_number)?,
        priority: stored_at(row, 7, Priority::from_number)?,
        policy: stored_at(row, 8, Policy::from_number)?,
        content_sid: content_sid.and_then(|sid| Sid::parse(&sid, &["HX"]).ok()),
        business_key: open(10, "business_key")?,
        metadata: open(11, "metadata")?,
        provider_sid: row
            .get_ref(24)?
            .as_blob_or_null()?
            .and_then(Sid::from_bytes),
        accepted_at: Timestamp::from_micros(row.get(12)?),
        send_at: time_or_null(row, 13)?,
        expires_at: time_or_null(row, 14)?,
        due_at: time_or_null(row, 15)?,
        sent_at: time_or_null(row, 16)?,
        delivered_at: time_or_null(row, 17)?,
        read_at: time_or_null(row, 18)?,
        failed_at: time_or_null(row, 19)?,
        error: reason.map(|reason| LastError { reason, code }),
        possible_duplicate: Flags(row.get(22)?).has(Flags::POSSIBLE_DUPLICATE),
        attempts: row.get(23)?,
        to: to.clone(),
    };
    Ok((row.get(0)?, row.get(1)?, summary))
}

/// Walks the events of a message back from the last one, and reads the attempts they name.
fn read_history(
    db: &Connection,
    last_event: i64,
) -> rusqlite::Result<(Vec<HistoryView>, Vec<AttemptView>)> {
    let mut statement = db.prepare_cached(
        "SELECT prev, kind, state, source, at, attempt_id, status, code, detail \
         FROM event WHERE id = ?1",
    )?;
    let mut history = Vec::new();
    let mut attempt_keys = Vec::new();
    let mut next = last_event;
    while next > 0 {
        let (prev, attempt, entry) = statement.query_row([next], |row| {
            Ok((row.get(0)?, row.get::<_, Option<i64>>(5)?, read_entry(row)?))
        })?;
        history.push((attempt, entry));
        attempt_keys.extend(attempt);
        next = prev;
    }
    history.reverse();
    attempt_keys.sort_unstable();
    attempt_keys.dedup();
    let mut attempts = Vec::new();
    let mut numbers = HashMap::new();
    for key in attempt_keys {
        let view = read_attempt(db, key)?;
        numbers.insert(key, view.n);
        attempts.push(view);
    }
    let history = history
        .into_iter()
        .map(|(attempt, mut entry)| {
            entry.attempt = attempt.and_then(|key| numbers.get(&key).copied());
            entry
        })
        .collect();
    Ok((history, attempts))
}

fn read_attempt(db: &Connection, key: i64) -> rusqlite::Result<AttemptView> {
    db.prepare_cached(
        "SELECT n, outcome, sid, variant, started_at, finished_at, error_code, cause, settled_by \
         FROM attempt WHERE id = ?1",
    )?
    .query_row([key], |row| {
        let outcome = stored_or_null(row, 1, OutcomeKind::from_number)?;
        Ok(AttemptView {
            n: row.get(0)?,
            outcome,
            sid: row.get_ref(2)?.as_blob_or_null()?.and_then(Sid::from_bytes),
            variant: stored_at(row, 3, AddressVariant::from_number)?,
            started_at: Timestamp::from_micros(row.get(4)?),
            finished_at: time_or_null(row, 5)?,
            code: row.get(6)?,
            cause: row.get(7)?,
            settled_by: stored_or_null(row, 8, SettledBy::from_number)?,
        })
    })
}
