//! Pages of messages. A page is read along one index, newest first, and looks at a bounded number of
//! rows, however few of them match and however many are stored.

use delivery::row::SenderRow;
use delivery::state::State;
use delivery::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::column::{limit, message_id, stored_at};
use super::message_view::{SUMMARY, read_summary};
use super::statements::{ACCOUNT, Statements};
use crate::store::operations::rows::{Broken, PersonRows};
use crate::store::operations::transaction::Shared;
use crate::store::person::blind_index;
use crate::store::{MessageFilter, MessagePage, SelectedMessage, SelectionPage};

/// Rows that one page looks at. A page that found too little by then says where to go on.
const LOOKED_AT_MAX: usize = 5_000;

/// The condition of the index `progress_attention`, word by word as in the schema: without it SQLite
/// would not use the index. A test compares both.
const ATTENTION_CONDITION: &str = "state >= 3 AND state <= 11 AND state <> 8 AND state <> 9";

/// A page of messages, newest first.
pub(super) fn page(
    db: &Connection,
    shared: &Shared,
    filter: &MessageFilter,
) -> rusqlite::Result<MessagePage> {
    let mut page = MessagePage {
        messages: Vec::new(),
        next: None,
    };
    let Some(search) = Search::new(db, shared, filter)? else {
        return Ok(page);
    };
    let sql = format!("{SUMMARY} WHERE message.id = ?1");
    let mut summaries = db.prepare_cached(&sql)?;
    page.next = walk(db, &search, |message| {
        if page.messages.len() >= filter.limit {
            return Ok(false);
        }
        let (_, _, summary) =
            summaries.query_row([message], |row| read_summary(row, db, shared))?;
        page.messages.push(summary);
        Ok(true)
    })?;
    Ok(page)
}

/// A page of what is to be counted or to get a command, newest first.
pub(super) fn selection(
    db: &Connection,
    shared: &Shared,
    filter: &MessageFilter,
) -> rusqlite::Result<SelectionPage> {
    let mut page = SelectionPage {
        messages: Vec::new(),
        next: None,
    };
    let Some(search) = Search::new(db, shared, filter)? else {
        return Ok(page);
    };
    let mut selected = db.prepare_cached(
        "SELECT message.public_id, progress.state, sender.name, progress.error_code FROM progress \
         JOIN message ON message.id = progress.message_id \
         JOIN sender ON sender.id = progress.sender_id WHERE progress.message_id = ?1",
    )?;
    page.next = walk(db, &search, |message| {
        if page.messages.len() >= filter.limit {
            return Ok(false);
        }
        page.messages.push(selected.query_row([message], |row| {
            Ok(SelectedMessage {
                id: message_id(row.get_ref(0)?.as_blob()?)?,
                state: stored_at(row, 1, State::from_number)?,
                from: row.get(2)?,
                code: row.get(3)?,
            })
        })?);
        Ok(true)
    })?;
    Ok(page)
}

/// Gives the messages that match to `take`, newest first, until it wants no more, and says where to
/// go on.
fn walk(
    db: &Connection,
    search: &Search,
    mut take: impl FnMut(i64) -> rusqlite::Result<bool>,
) -> rusqlite::Result<Option<i64>> {
    let candidates = search.along.candidates();
    let mut candidates = db.prepare_cached(&candidates)?;
    let (key, from, before) = (search.along.key(), search.from, search.before);
    let mut rows = candidates.query([ACCOUNT, key, from, before, limit(LOOKED_AT_MAX)])?;
    let (mut looked_at, mut last_taken, mut last) = (0, None, None);
    while let Some(row) = rows.next()? {
        let message: i64 = row.get(0)?;
        looked_at += 1;
        last = Some(message);
        if !search.matches(db, message)? {
            continue;
        }
        if !take(message)? {
            return Ok(last_taken);
        }
        last_taken = last;
    }
    // Nobody knows what is behind the last row that was looked at.
    Ok(last.filter(|_| looked_at >= LOOKED_AT_MAX))
}

/// The index along which a page is read: of those that fit a filter the one with the fewest rows.
#[derive(Clone, Copy)]
enum Along {
    Person(i64),
    Error(u32),
    /// A state that the partial index `progress_attention` holds.
    Attention(State),
    /// Every message. The usual states are not indexed: each callback would pay for it.
    Messages,
}

impl Along {
    /// The statement that reads the keys of messages: account, key, first message, message after the
    /// last one, limit.
    fn candidates(self) -> String {
        match self {
            Self::Person(_) => "SELECT id FROM message WHERE account_id = ?1 AND person_id = ?2 \
                 AND id >= ?3 AND id < ?4 ORDER BY id DESC LIMIT ?5"
                .to_owned(),
            Self::Error(_) => "SELECT message_id FROM progress WHERE account_id = ?1 \
                 AND error_code = ?2 AND message_id >= ?3 AND message_id < ?4 \
                 ORDER BY message_id DESC LIMIT ?5"
                .to_owned(),
            Self::Attention(_) => format!(
                "SELECT message_id FROM progress WHERE account_id = ?1 AND state = ?2 \
                 AND message_id >= ?3 AND message_id < ?4 AND {ATTENTION_CONDITION} \
                 ORDER BY message_id DESC LIMIT ?5"
            ),
            // Along the keys: an index that begins with the account would be sorted first.
            Self::Messages => {
                "SELECT id FROM message NOT INDEXED WHERE account_id = ?1 AND ?2 = 0 \
                 AND id >= ?3 AND id < ?4 ORDER BY id DESC LIMIT ?5"
                    .to_owned()
            }
        }
    }

    fn key(self) -> i64 {
        match self {
            Self::Person(person) => person,
            Self::Error(code) => i64::from(code),
            Self::Attention(state) => state.number(),
            Self::Messages => 0,
        }
    }
}

/// A filter with its names looked up.
struct Search {
    along: Along,
    from: i64,
    before: i64,
    state: Option<State>,
    sender: Option<SenderRow>,
    error: Option<u32>,
    template: Option<i64>,
}

impl Search {
    /// `None` when nothing can match.
    fn new(
        db: &Connection,
        shared: &Shared,
        filter: &MessageFilter,
    ) -> rusqlite::Result<Option<Self>> {
        let mut along = match (filter.error, filter.state) {
            (Some(code), _) => Along::Error(code),
            (None, Some(state)) if needs_attention(state) => Along::Attention(state),
            (None, _) => Along::Messages,
        };
        if let Some(address) = &filter.to {
            let index = blind_index(&shared.vault, address);
            let Some(person) = (Statements { db }).person_of(&index)? else {
                return Ok(None);
            };
            along = Along::Person(person.row.0);
        }
        let mut sender = None;
        if let Some(name) = &filter.sender {
            sender = db
                .prepare_cached("SELECT id FROM sender WHERE account_id = ?1 AND name = ?2")?
                .query_row(params![ACCOUNT, name], |row| row.get(0).map(SenderRow))
                .optional()?;
            if sender.is_none() {
                return Ok(None);
            }
        }
        let mut template = None;
        if let Some(sid) = &filter.template {
            template = db
                .prepare_cached(
                    "SELECT id FROM template WHERE account_id = ?1 AND content_sid = ?2",
                )?
                .query_row(params![ACCOUNT, sid.to_string()], |row| row.get(0))
                .optional()?;
            if template.is_none() {
                return Ok(None);
            }
        }
        let first_at = |time: Option<Timestamp>| match time {
            Some(time) => first_message_at(db, time).map(Some),
            None => Ok(None),
        };
        let until = first_at(filter.until)?.unwrap_or(i64::MAX);
        Ok(Some(Self {
            along,
            from: first_at(filter.since)?.unwrap_or(0),
            before: filter.before.unwrap_or(i64::MAX).min(until),
            state: filter.state,
            sender,
            error: filter.error,
            template,
        }))
    }

    fn matches(&self, db: &Connection, message: i64) -> rusqlite::Result<bool> {
        if let Some(wanted) = self.template {
            let template: i64 = db
                .prepare_cached("SELECT template_id FROM message WHERE id = ?1")?
                .query_row([message], |row| row.get(0))?;
            if template != wanted {
                return Ok(false);
            }
        }
        if self.state.is_none() && self.sender.is_none() && self.error.is_none() {
            return Ok(true);
        }
        let (state, sender, error) = db
            .prepare_cached(
                "SELECT state, sender_id, error_code FROM progress WHERE message_id = ?1",
            )?
            .query_row([message], |row| {
                let state = stored_at(row, 0, State::from_number)?;
                Ok((state, SenderRow(row.get(1)?), row.get::<_, Option<u32>>(2)?))
            })
            .optional()?
            .ok_or(Broken::Gone("progress"))?;
        Ok(self.state.is_none_or(|wanted| wanted == state)
            && self.sender.is_none_or(|wanted| wanted == sender)
            && (self.error.is_none() || self.error == error))
    }
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

/// The key of the first message accepted at or after a time. Keys and times grow together, so a
/// search by halves needs no index on the time.
fn first_message_at(db: &Connection, time: Timestamp) -> rusqlite::Result<i64> {
    let mut statement = db
        .prepare_cached("SELECT id, accepted_at FROM message WHERE id >= ?1 ORDER BY id LIMIT 1")?;
    let last: i64 = db
        .prepare_cached("SELECT coalesce(max(id), 0) FROM message")?
        .query_row([], |row| row.get(0))?;
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
    use crate::store::sqlite::message::STOPPABLE_CONDITION;

    #[track_caller]
    fn check(name: &str, condition: &str, holds: impl Fn(State) -> bool) {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(include_str!("migrations/V1__initial.sql"))
            .unwrap();
        let index: String = db
            .query_row(
                "SELECT sql FROM sqlite_schema WHERE name = ?1",
                [name],
                |row| row.get(0),
            )
            .unwrap();
        assert!(index.ends_with(condition), "{index}");
        for &state in State::ALL {
            let sql = format!("SELECT {condition} FROM (SELECT ?1 AS state)");
            let held: bool = db
                .query_row(&sql, [state.number()], |row| row.get(0))
                .unwrap();
            assert_eq!(held, holds(state), "{state:?}");
        }
    }

    #[test]
    fn the_conditions_of_the_indexes_name_their_states() {
        check("progress_attention", ATTENTION_CONDITION, needs_attention);
        check(
            "progress_stoppable",
            STOPPABLE_CONDITION,
            State::is_stoppable,
        );
    }
}
