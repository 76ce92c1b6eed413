//! Watches: the tables `watch` and `list_lag`, and what attempts that are asked about must look like.

use std::time::Duration;

use delivery::address::AddressVariant;
use delivery::limits::{LIST_LAG_KEPT, SETTLE_AFTER};
use delivery::message::{Policy, SenderName};
use delivery::outcome::{OutcomeKind, SettledBy, UnknownCause};
use delivery::progress::{Watch, WatchKind};
use delivery::row::{AttemptRow, IdentityRow, MessageRow, PersonRow};
use delivery::sid::Sid;
use delivery::state::State;
use delivery::time::{ClockDifference, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SqliteStore;
use super::column::{limit, message_id, stored_at, stored_or_null, time_or_null};
use super::statements::{ACCOUNT, Statements};
use crate::store::operations::rows::{Broken, PersonRows, WatchRows};
use crate::store::operations::transaction::Shared;
use crate::store::operations::watch::{NoteListLag, Settle, evidence};
use crate::store::seal::open_content;
use crate::store::{
    Answered, DueWatch, Evidence, Holder, ListLag, Settlement, StoreFuture, UnknownView,
    WatchQuery, Watches,
};

/// Last messages of a person among which their unknown attempts are looked for.
const UNKNOWN_AMONG: i64 = 200;
/// The cause of an attempt that stands for what a restored database may have sent elsewhere.
const RESTORED: &str = UnknownCause::Restored.as_str();
/// Last attempts among which one with an answer is looked for.
const ANSWERED_AMONG: i64 = 50;

impl Watches for SqliteStore {
    fn due_watches(&self, query: WatchQuery) -> StoreFuture<'_, Vec<DueWatch>> {
        Box::pin(self.read_long(&self.readers.work, move |db, _| read_due(db, query)))
    }

    fn unknown_attempts(&self, person: PersonRow) -> StoreFuture<'_, Vec<UnknownView>> {
        Box::pin(self.read_long(&self.readers.work, move |db, shared| {
            read_unknown(db, shared, person)
        }))
    }

    fn settle(&self, batch: Vec<Settlement>) -> StoreFuture<'_, ()> {
        Box::pin(self.writer.run(Settle(batch)))
    }

    fn holders(&self, sids: Vec<Sid>) -> StoreFuture<'_, Vec<Holder>> {
        Box::pin(async move {
            self.read(|db| {
                let mut statement = db.prepare_cached(
                    "SELECT attempt.id, attempt.settled_by, message.content_index \
                     FROM attempt JOIN message ON message.id = attempt.message_id \
                     WHERE attempt.account_id = ?1 AND attempt.sid = ?2",
                )?;
                let mut holders = Vec::new();
                for sid in sids {
                    let holder = statement
                        .query_row(params![ACCOUNT, sid.to_bytes()], |row| {
                            let by = stored_or_null(row, 1, SettledBy::from_number)?;
                            Ok(Holder {
                                sid,
                                attempt: AttemptRow(row.get(0)?),
                                settled_by: by.unwrap_or(SettledBy::List),
                                content_index: row.get(2)?,
                            })
                        })
                        .optional()?;
                    holders.extend(holder);
                }
                Ok(holders)
            })
            .await
        })
    }

    fn newest_answered(&self, since: Timestamp) -> StoreFuture<'_, Option<Answered>> {
        Box::pin(self.read_long(&self.readers.work, move |db, shared| {
            read_answered(db, shared, since)
        }))
    }

    fn note_list_lag(&self, measured: ListLag) -> StoreFuture<'_, ()> {
        Box::pin(self.writer.run(NoteListLag(measured)))
    }

    fn list_lag(&self, since: Timestamp) -> StoreFuture<'_, ListLag> {
        Box::pin(async move { self.read(|db| read_list_lag(db, since)).await })
    }

    fn next_watch(&self) -> StoreFuture<'_, Option<Timestamp>> {
        Box::pin(async move {
            self.read(|db| {
                let at: Option<i64> = db
                    .prepare_cached(
                        "SELECT min(at) FROM (SELECT min(at) AS at FROM watch \
                         WHERE account_id = ?1 AND kind = ?2 UNION ALL SELECT min(at) FROM watch \
                         WHERE account_id = ?1 AND kind = ?3)",
                    )?
                    .query_row(
                        [
                            ACCOUNT,
                            WatchKind::Unknown.number(),
                            WatchKind::Silent.number(),
                        ],
                        |row| row.get(0),
                    )?;
                Ok(at.map(Timestamp::from_micros))
            })
            .await
        })
    }
}

impl WatchRows for Statements<'_> {
    fn set_watch(&mut self, watch: Watch, polls: u32) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO watch (account_id, at, attempt_id, kind, polls) \
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute([
                ACCOUNT,
                watch.at.micros(),
                watch.attempt.0,
                watch.kind.number(),
                i64::from(polls),
            ])?;
        Ok(())
    }

    fn delete_watch(&mut self, at: Timestamp, attempt: AttemptRow) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "DELETE FROM watch WHERE account_id = ?1 AND kind IN (?2, ?3) AND at = ?4 \
                 AND attempt_id = ?5",
            )?
            .execute([
                ACCOUNT,
                WatchKind::Unknown.number(),
                WatchKind::Silent.number(),
                at.micros(),
                attempt.0,
            ])?;
        Ok(())
    }

    fn note_list_lag(&mut self, measured: &ListLag) -> rusqlite::Result<()> {
        let hour = measured.at.hour();
        let lag = measured
            .lag
            .map(|lag| i64::try_from(lag.as_micros()).unwrap_or(i64::MAX));
        let (least, most) = measured.clock.bounds();
        self.db
            .prepare_cached(
                "INSERT INTO list_lag (account_id, hour, lag, clock_least, clock_most) \
                 VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (account_id, hour) DO UPDATE SET \
                 lag = CASE WHEN excluded.lag IS NULL OR lag > excluded.lag THEN lag \
                 ELSE excluded.lag END, clock_least = min(clock_least, excluded.clock_least), \
                 clock_most = max(clock_most, excluded.clock_most)",
            )?
            .execute(params![ACCOUNT, hour, lag, least, most])?;
        let oldest = measured.at.minus(LIST_LAG_KEPT).hour() - 1;
        self.db
            .prepare_cached("DELETE FROM list_lag WHERE account_id = ?1 AND hour < ?2")?
            .execute([ACCOUNT, oldest])?;
        Ok(())
    }
}

/// A watch and its polls so far.
pub(super) struct LaterWatch {
    pub(super) watch: Watch,
    pub(super) polls: u32,
}

/// Watches whose time comes after `now`, from the one after this time and attempt.
pub(super) fn watches_later(
    db: &Connection,
    now: Timestamp,
    after: [i64; 2],
    rows: usize,
) -> rusqlite::Result<Vec<LaterWatch>> {
    let mut later = Vec::new();
    for kind in [WatchKind::Unknown, WatchKind::Silent] {
        later.extend(watches_of_kind_later(db, kind, now, after, rows)?);
    }
    later.sort_by_key(|later| (later.watch.at, later.watch.attempt));
    later.truncate(rows);
    Ok(later)
}

fn watches_of_kind_later(
    db: &Connection,
    kind: WatchKind,
    now: Timestamp,
    after: [i64; 2],
    rows: usize,
) -> rusqlite::Result<Vec<LaterWatch>> {
    let [at, attempt] = after;
    db.prepare_cached(
        "SELECT at, attempt_id, kind, polls FROM watch WHERE account_id = ?1 AND kind = ?2 \
         AND (at, attempt_id) > (?3, ?4) ORDER BY at, attempt_id LIMIT ?5",
    )?
    .query_map(
        [
            ACCOUNT,
            kind.number(),
            at.max(now.micros()),
            attempt,
            limit(rows),
        ],
        |row| {
            Ok(LaterWatch {
                watch: Watch {
                    attempt: AttemptRow(row.get(1)?),
                    at: Timestamp::from_micros(row.get(0)?),
                    kind: stored_at(row, 2, WatchKind::from_number)?,
                },
                polls: row.get(3)?,
            })
        },
    )?
    .collect()
}

/// Of each four, the three newest and the oldest.
fn read_due(db: &Connection, query: WatchQuery) -> rusqlite::Result<Vec<DueWatch>> {
    let oldest = query.limit / 4;
    let mut watches = read_due_by(db, query, "DESC", query.limit - oldest)?;
    for watch in read_due_by(db, query, "ASC", oldest)? {
        let known = |other: &DueWatch| (other.at, other.attempt) == (watch.at, watch.attempt);
        if !watches.iter().any(known) {
            watches.push(watch);
        }
    }
    Ok(watches)
}

fn read_due_by(
    db: &Connection,
    query: WatchQuery,
    order: &str,
    rows: usize,
) -> rusqlite::Result<Vec<DueWatch>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT watch.at, watch.attempt_id, watch.kind, watch.polls, attempt.sid, \
         progress.state, attempt.started_at, attempt.outcome, progress.policy, progress.person_id, \
         attempt.finished_at \
         FROM watch LEFT JOIN attempt ON attempt.id = watch.attempt_id \
         LEFT JOIN progress ON progress.message_id = attempt.message_id \
         WHERE watch.account_id = ?1 AND watch.kind = ?2 AND watch.at <= ?3 \
         ORDER BY watch.at {order}, watch.attempt_id {order} LIMIT ?4"
    ))?;
    let values = [
        ACCOUNT,
        query.kind.number(),
        query.now.micros(),
        limit(rows),
    ];
    statement.query_map(values, read_watch)?.collect()
}

/// A watch whose message was removed reads as one of a message about which nothing is left to ask, so
/// that whoever asks ends it.
fn read_watch(row: &Row<'_>) -> rusqlite::Result<DueWatch> {
    let (at, attempt) = (Timestamp::from_micros(row.get(0)?), AttemptRow(row.get(1)?));
    let kind = stored_at(row, 2, WatchKind::from_number)?;
    if row.get::<_, Option<i64>>(5)?.is_none() {
        return Ok(DueWatch {
            at,
            attempt,
            kind,
            polls: 0,
            sid: None,
            state: State::Expired,
            started_at: at,
            ended_at: at,
            policy: Policy::AtMostOnce,
            person: PersonRow(0),
            is_unknown: false,
        });
    }
    let outcome = stored_or_null(row, 7, OutcomeKind::from_number)?;
    let sid = row.get_ref(4)?.as_blob_or_null()?;
    let sid = sid.and_then(Sid::from_bytes);
    let started_at = Timestamp::from_micros(row.get(6)?);
    Ok(DueWatch {
        at,
        attempt,
        kind,
        polls: row.get(3)?,
        sid,
        state: stored_at(row, 5, State::from_number)?,
        started_at,
        ended_at: time_or_null(row, 10)?.unwrap_or(started_at),
        policy: stored_at(row, 8, Policy::from_number)?,
        person: PersonRow(row.get(9)?),
        is_unknown: outcome == Some(OutcomeKind::Unknown) && sid.is_none(),
    })
}

fn read_unknown(
    db: &Connection,
    shared: &Shared,
    person: PersonRow,
) -> rusqlite::Result<Vec<UnknownView>> {
    let mut statement = db.prepare_cached(
        "SELECT attempt.id, attempt.started_at, attempt.finished_at, attempt.variant, recent.id, \
         recent.content_index, attempt.outcome IS NULL, attempt.cause FROM (SELECT id, content_index FROM message \
         WHERE account_id = ?1 AND person_id = ?2 ORDER BY id DESC LIMIT ?3) AS recent \
         JOIN progress ON progress.message_id = recent.id \
         JOIN attempt ON attempt.id = progress.attempt_id \
         WHERE (attempt.outcome IS NULL OR attempt.outcome = ?4) AND attempt.sid IS NULL",
    )?;
    let unknown = OutcomeKind::Unknown.number();
    let mut rows = statement.query([ACCOUNT, person.0, UNKNOWN_AMONG, unknown])?;
    let mut views = Vec::new();
    while let Some(row) = rows.next()? {
        let started_at = Timestamp::from_micros(row.get(1)?);
        let ended_at = time_or_null(row, 2)?.unwrap_or(started_at);
        let is_restored = row.get_ref(7)?.as_str_or_null()? == Some(RESTORED);
        let variant = stored_at(row, 3, AddressVariant::from_number)?;
        // What one person's damaged row hides must not hide the rest.
        let evidence = read_evidence(db, shared, MessageRow(row.get(4)?), variant);
        views.push(UnknownView {
            attempt: AttemptRow(row.get(0)?),
            started_at,
            ended_at,
            // One from elsewhere may have left at any time since the backup.
            created_until: if is_restored { ended_at } else { started_at }.plus(SETTLE_AFTER),
            content_index: row.get(5)?,
            is_open: row.get(6)?,
            is_unreadable: !matches!(evidence, Ok(Sight::Erased | Sight::Evidence(_))),
            evidence: match evidence {
                Ok(Sight::Evidence(evidence)) => Some(*evidence),
                Ok(Sight::Erased | Sight::Unreadable) | Err(_) => None,
            },
        });
    }
    Ok(views)
}

fn read_answered(
    db: &Connection,
    shared: &Shared,
    since: Timestamp,
) -> rusqlite::Result<Option<Answered>> {
    let mut statement = db.prepare_cached(
        "SELECT sid, finished_at, message_id, variant FROM (SELECT * FROM attempt \
         WHERE account_id = ?1 ORDER BY id DESC LIMIT ?2) \
         WHERE sid IS NOT NULL AND settled_by = ?3 AND finished_at >= ?4 ORDER BY id DESC",
    )?;
    let mut rows = statement.query([
        ACCOUNT,
        ANSWERED_AMONG,
        SettledBy::Answer.number(),
        since.micros(),
    ])?;
    while let Some(row) = rows.next()? {
        let Some(sid) = row.get_ref(0)?.as_blob_or_null()?.and_then(Sid::from_bytes) else {
            continue;
        };
        let variant = stored_at(row, 3, AddressVariant::from_number)?;
        let sight = read_evidence(db, shared, MessageRow(row.get(2)?), variant)?;
        // How the list shows messages to user ids is not documented.
        if let Sight::Evidence(evidence) = sight
            && evidence.to.starts_with('+')
        {
            return Ok(Some(Answered {
                sid,
                at: Timestamp::from_micros(row.get(1)?),
                evidence: *evidence,
            }));
        }
    }
    Ok(None)
}

fn read_list_lag(db: &Connection, since: Timestamp) -> rusqlite::Result<ListLag> {
    let (lag, least, most): (Option<i64>, Option<i64>, Option<i64>) = db
        .prepare_cached(
            "SELECT max(lag), min(clock_least), max(clock_most) FROM list_lag \
             WHERE account_id = ?1 AND hour >= ?2",
        )?
        .query_row([ACCOUNT, since.hour()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    Ok(ListLag {
        at: since,
        lag: lag.map(|lag| Duration::from_micros(lag.unsigned_abs())),
        clock: ClockDifference::between(least.unwrap_or(0), most.unwrap_or(0)),
    })
}

/// The largest lag of those that are kept.
pub(super) fn largest_lag(db: &Connection) -> rusqlite::Result<Option<Duration>> {
    Ok(read_list_lag(db, Timestamp::default())?.lag)
}

/// What can be seen of a message.
enum Sight {
    /// Its person was erased.
    Erased,
    /// Something that is sealed cannot be opened.
    Unreadable,
    /// What it must look like at the provider.
    Evidence(Box<Evidence>),
}

/// What an attempt must look like at the provider.
fn read_evidence(
    db: &Connection,
    shared: &Shared,
    message: MessageRow,
    variant: AddressVariant,
) -> rusqlite::Result<Sight> {
    let (id, identity, sealed, sender) = db
        .prepare_cached(
            "SELECT message.public_id, message.identity_id, message.sealed_content, sender.name \
             FROM message JOIN progress ON progress.message_id = message.id \
             JOIN sender ON sender.id = progress.sender_id WHERE message.id = ?1",
        )?
        .query_row([message.0], |row| {
            let id = message_id(row.get_ref(0)?.as_blob()?)?;
            let sealed: Vec<u8> = row.get(2)?;
            let sender: String = row.get(3)?;
            Ok((id, IdentityRow(row.get(1)?), sealed, sender))
        })?;
    let person = Statements { db }.person_at(identity)?;
    let person = person.ok_or(Broken::Gone("identity"))?;
    let vault = &shared.vault;
    let Some(address) = person.address(vault).map_err(Broken::from)? else {
        return Ok(Sight::Erased);
    };
    let key = person.key(vault).map_err(Broken::from)?;
    let content = open_content(vault, &key, id, &sealed);
    Ok(content.map_or(Sight::Unreadable, |content| {
        let sender = SenderName::new(sender);
        let evidence = evidence(person.row, &address, variant, sender, content);
        Sight::Evidence(Box::new(evidence))
    }))
}
