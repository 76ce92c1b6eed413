//! How messages are shown: one with its history, and pages of them.

use std::collections::HashMap;

use delivery::address::AddressVariant;
use delivery::message::{Kind, Policy, Priority};
use delivery::outcome::OutcomeKind;
use delivery::progress::{Flags, LastError, Reason};
use delivery::row::PersonRow;
use delivery::sid::Sid;
use delivery::state::State;
use delivery::time::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::column::{message_id, stored_at, stored_or_null, time_or_null};
use super::event::read_entry;
use super::statements::{ACCOUNT, Statements};
use crate::store::operations::rows::{Broken, PersonRows};
use crate::store::operations::transaction::Shared;
use crate::store::person::blind_index;
use crate::store::seal::open_column;
use crate::store::{
    AttemptView, HistoryView, MessageFilter, MessageId, MessagePage, MessageSummary, MessageView,
};

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

const SUMMARY: &str = "SELECT message.id, progress.last_event, message.public_id, progress.state, \
     message.person_id, sender.name, message.kind, progress.priority, progress.policy, \
     template.content_sid, message.sealed_business_key, message.sealed_metadata, \
     progress.accepted_at, message.send_at, progress.expires_at, progress.due_at, \
     progress.sent_at, progress.delivered_at, progress.read_at, progress.failed_at, \
     progress.error_reason, progress.error_code, progress.flags, progress.attempts, \
     (SELECT sid FROM attempt WHERE attempt.id = progress.attempt_id) \
     FROM message JOIN progress ON progress.message_id = message.id \
     JOIN sender ON sender.id = progress.sender_id \
     LEFT JOIN template ON template.id = message.template_id";

fn read_summary(
    row: &Row<'_>,
    db: &Connection,
    shared: &Shared,
) -> rusqlite::Result<(i64, i64, MessageSummary)> {
    let id = message_id(row.get_ref(2)?.as_blob()?)?;
    let person = Statements { db }.person(PersonRow(row.get(4)?))?;
    let person = person.ok_or(Broken::Gone("person"))?;
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
        "SELECT n, outcome, sid, variant, started_at, finished_at, error_code, cause \
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
        })
    })
}

/// A page of messages, newest first.
pub(super) fn page(
    db: &Connection,
    shared: &Shared,
    filter: &MessageFilter,
) -> rusqlite::Result<MessagePage> {
    let Some((conditions, mut values)) = conditions(db, shared, filter)? else {
        return Ok(MessagePage {
            messages: Vec::new(),
            next: None,
        });
    };
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    values.push(Value::Integer(limit.saturating_add(1)));
    let sql = format!(
        "{SUMMARY} WHERE {} ORDER BY message.id DESC LIMIT ?{}",
        conditions.join(" AND "),
        values.len()
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut messages = Vec::new();
    let mut next = None;
    let mut last_key = None;
    while let Some(row) = rows.next()? {
        if messages.len() >= filter.limit {
            next = last_key;
            break;
        }
        let (key, _, summary) = read_summary(row, db, shared)?;
        last_key = Some(key);
        messages.push(summary);
    }
    Ok(MessagePage { messages, next })
}

/// The states that the partial index `progress_attention` holds: those that somebody may have to
/// look at, and not the usual ones.
fn needs_attention(state: State) -> bool {
    match state {
        State::Unknown
        | State::Held
        | State::Suppressed
        | State::Expired
        | State::Canceled
        | State::Failed
        | State::Undelivered => true,
        State::Accepted
        | State::Scheduled
        | State::Sending
        | State::Queued
        | State::Sent
        | State::Delivered
        | State::Read => false,
    }
}

/// The condition of that index, word by word as in the schema: without it SQLite would not use the
/// index. A test compares both.
const ATTENTION_CONDITION: &str = "state >= 3 AND state <= 11 AND state <> 8 AND state <> 9";

/// The conditions of a filter with their values; `None` when nothing can match.
fn conditions(
    db: &Connection,
    shared: &Shared,
    filter: &MessageFilter,
) -> rusqlite::Result<Option<(Vec<String>, Vec<Value>)>> {
    let mut conditions = Vec::new();
    let mut values = Vec::new();
    let mut add = |condition: &str, value: Value| {
        values.push(value);
        conditions.push(condition.replace('?', &format!("?{}", values.len())));
    };
    add("message.account_id = ?", Value::Integer(ACCOUNT));
    add(
        "message.id < ?",
        Value::Integer(filter.before.unwrap_or(i64::MAX)),
    );
    if let Some(state) = filter.state {
        let number = state.number();
        let condition = if needs_attention(state) {
            format!("progress.state = ? AND {ATTENTION_CONDITION}")
        } else {
            "progress.state = ?".to_owned()
        };
        add(&condition, Value::Integer(number));
    }
    if let Some(address) = &filter.to {
        let index = blind_index(&shared.vault, address);
        let Some(person) = (Statements { db }).person_of(&index)? else {
            return Ok(None);
        };
        add("message.person_id = ?", Value::Integer(person.row.0));
    }
    if let Some(sender) = &filter.sender {
        let key: Option<i64> = db
            .prepare_cached("SELECT id FROM sender WHERE account_id = ?1 AND name = ?2")?
            .query_row(params![ACCOUNT, sender], |row| row.get(0))
            .optional()?;
        let Some(key) = key else { return Ok(None) };
        add("progress.sender_id = ?", Value::Integer(key));
    }
    if let Some(code) = filter.error {
        add("progress.error_code = ?", Value::Integer(i64::from(code)));
    }
    for (condition, time) in [("id >= ?", filter.since), ("id < ?", filter.until)] {
        if let Some(time) = time {
            let first = first_message_at(db, time)?;
            add(&format!("message.{condition}"), Value::Integer(first));
        }
    }
    Ok(Some((conditions, values)))
}

/// The key of the first message accepted at or after a time. Keys and times grow together, so a
/// search by halves needs no index on the time.
fn first_message_at(db: &Connection, time: Timestamp) -> rusqlite::Result<i64> {
    let mut statement = db
        .prepare_cached("SELECT id, accepted_at FROM message WHERE id >= ?1 ORDER BY id LIMIT 1")?;
    let last: i64 = db.query_row("SELECT coalesce(max(id), 0) FROM message", [], |row| {
        row.get(0)
    })?;
    let (mut low, mut high) = (1, last + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, i64)> = statement
            .query_row(params![middle], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match found {
            Some((key, at)) if at < time.micros() => low = key + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_condition_of_the_index_names_the_states_that_need_attention() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(include_str!("migrations/V1__initial.sql"))
            .unwrap();
        let index: String = db
            .query_row(
                "SELECT sql FROM sqlite_schema WHERE name = 'progress_attention'",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert!(index.ends_with(ATTENTION_CONDITION), "{index}");
        for &state in State::ALL {
            let sql = format!("SELECT {ATTENTION_CONDITION} FROM (SELECT ?1 AS state)");
            let holds: bool = db
                .query_row(&sql, [state.number()], |row| row.get(0))
                .unwrap();
            assert_eq!(holds, needs_attention(state), "{state:?}");
        }
    }
}
