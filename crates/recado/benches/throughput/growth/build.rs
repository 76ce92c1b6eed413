//! Databases of many messages, made once and kept.
//!
//! The first messages are stored by the store's own verbs: accepted, sent, reported. The rest are
//! their rows again, with other numbers, ids and random bytes, each block an hour later than the one
//! before. That the result is what the verbs would have written is not believed but proven: the
//! recount of `verify` must find no difference.

use std::path::Path;
use std::time::{Duration, Instant};

use delivery::address::Address;
use delivery::event::Source;
use delivery::message::Message;
use delivery::outcome::{Outcome, ProviderStatus};
use delivery::time::Timestamp;
use recado::effects::Effects;
use recado::store::sqlite::SqliteStore;
use recado::store::{
    CloseRequest, DueQuery, Health, Messages, NewMessage, OpenRequest, OpenResult, Queue, Report,
    Reports, Senders, Stamp, new_message_id,
};
use rusqlite::Connection;
use sha2::{Digest, Sha256};

use super::super::setup::{Folder, message, number, open_store, random_sid};

/// Messages that verbs store at most.
const BLOCK_MAX: usize = 10_000;
/// Messages of one call.
const BATCH: usize = 1_000;
/// Messages that one person is sent.
const MESSAGES_EACH: usize = 4;
/// Each block is so much later than the one before.
const STEP: Duration = Duration::from_secs(3_600);
/// A code of the provider that is about one recipient.
pub(super) const FAILED_CODE: u32 = 63_024;

/// What is multiplied, so that rows come after those that they name.
const TABLES: [&str; 8] = [
    "identity",
    "cohort",
    "message",
    "attempt",
    "event",
    "progress",
    "counter",
    "coded_report",
];
/// What belongs to the account and not to messages, or is a sum.
const ONCE: [&str; 7] = [
    "account",
    "sender",
    "template",
    "total",
    "api_key",
    "sqlite_sequence",
    "refinery_schema_history",
];

/// A database of so many messages; it is made when it is not there. It is made of blocks that are not
/// larger than the smallest database.
pub(super) async fn database(folder: &Path, messages: usize, smallest: usize) -> Folder {
    let block = smallest.min(BLOCK_MAX);
    let path = folder.join(format!("{messages}-{block}-{}", fingerprint()));
    if path.is_dir() {
        return Folder::kept(path);
    }
    let copies = messages / block;
    assert_eq!(block * copies, messages, "not a multiple of {block}");
    let start = Instant::now();
    let unfinished = Folder::within(folder);
    let hours = u32::try_from(copies).unwrap();
    let effects = Effects::real();
    let first = effects.clock.now().minus(STEP * (hours + 1)).hour();
    let first = Timestamp::from_seconds(first * 3_600 + 1);
    let store = open_store(&unfinished);
    store_block(&store, &effects, block, first).await;
    drop(store);
    multiply(&unfinished.database(), copies);
    let built = start.elapsed();
    let store = open_store(&unfinished);
    let report = store.verify().await.unwrap();
    assert_eq!(report.differences, Vec::<String>::new());
    assert_eq!(report.messages, messages as u64);
    drop(store);
    println!(
        "{messages} messages built in {:.0} s, {} events recounted without a difference in {:.0} s",
        built.as_secs_f64(),
        report.events,
        (start.elapsed() - built).as_secs_f64(),
    );
    unfinished.keep(path)
}

/// Of the schema and of what is stored here: a kept database of others is left alone.
fn fingerprint() -> String {
    let mut hash = Sha256::new();
    hash.update(include_str!(
        "../../../src/store/sqlite/migrations/V1__initial.sql"
    ));
    hash.update(include_str!("build.rs"));
    let hash = hash.finalize();
    hash[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What happened to the `n`th message: of a hundred 58 were only taken by the provider, 40 were
/// delivered, half of these read, one was refused, one failed.
fn statuses(n: usize) -> &'static [ProviderStatus] {
    use ProviderStatus::{Delivered, Read, Sent, Undelivered};
    match (n % 100, n % 5) {
        (7, _) => &[Sent, Undelivered],
        (_, 0) => &[Sent, Delivered],
        (_, 1) => &[Sent, Delivered, Read],
        _ => &[],
    }
}

async fn store_block(store: &SqliteStore, effects: &Effects, count: usize, first: Timestamp) {
    let people = (count / MESSAGES_EACH).max(1);
    let at = |n: usize| first.plus(STEP / 2 * u32::try_from(n / BATCH).unwrap() / BLOCK_BATCHES);
    for start in (0..count).step_by(BATCH) {
        let now = at(start);
        let batch = (start..count.min(start + BATCH))
            .map(|n| NewMessage {
                id: new_message_id(now, &*effects.random),
                message: Message {
                    to: Address::from_canonical(&number(n % people)).unwrap(),
                    ..message(n)
                },
                idempotency: None,
                now,
                dedupe_window: Duration::from_secs(600),
            })
            .collect();
        let results = store.accept(batch).await.unwrap();
        assert!(results.iter().all(|result| result.id().is_some()));
        send(store, effects, now).await;
    }
}

/// Calls of a block at most.
const BLOCK_BATCHES: u32 = (BLOCK_MAX / BATCH) as u32;

/// Sends what waits, and reports of it.
async fn send(store: &SqliteStore, effects: &Effects, now: Timestamp) {
    let sender = store.senders().await.unwrap()[0].row;
    let stamp = || Stamp {
        now,
        random: effects.random.next_u64(),
    };
    loop {
        let query = DueQuery {
            sender,
            now,
            limit: BATCH,
            urgent_only: false,
        };
        let due = store.due(query).await.unwrap().due;
        if due.is_empty() {
            return;
        }
        let open = due.iter().map(|due| OpenRequest {
            message: due.message,
            stamp: stamp(),
        });
        let opened = store.open_attempts(open.collect()).await.unwrap();
        let (mut closes, mut reports) = (Vec::new(), Vec::new());
        for result in opened {
            // Of two messages to one person the second waits.
            let OpenResult::Open(open) = result else {
                continue;
            };
            let n = usize::try_from(open.message.0).unwrap();
            let sid = random_sid(&*effects.random);
            let outcome = if n % 100 == 8 {
                Outcome::Refused {
                    http_status: 400,
                    code: Some(21_617),
                }
            } else {
                for &status in statuses(n) {
                    reports.push(Report {
                        attempt: Some(open.attempt),
                        sid: Some(sid),
                        status,
                        word: None,
                        code: (status == ProviderStatus::Undelivered).then_some(FAILED_CODE),
                        names: Vec::new(),
                        source: Source::Callback,
                        stamp: stamp(),
                    });
                }
                Outcome::Sent {
                    sid,
                    status: ProviderStatus::Queued,
                }
            };
            closes.push(CloseRequest {
                attempt: open.attempt.row,
                outcome,
                stamp: stamp(),
            });
        }
        assert!(!closes.is_empty(), "what is due is not sent");
        store.close_attempts(closes).await.unwrap();
        store.report(reports).await.unwrap();
    }
}

/// Writes the rows of the first block again, until there are so many blocks.
fn multiply(path: &Path, copies: usize) {
    let db = Connection::open(path).unwrap();
    // When it breaks off, it is made again.
    db.execute_batch(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -524288; \
         PRAGMA foreign_keys = OFF; \
         DELETE FROM watch;",
    )
    .unwrap();
    check_tables(&db);
    let last = |table: &str, column: &str| -> i64 {
        let sql = format!("SELECT max({column}) FROM {table}");
        db.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    let strides = Strides {
        identity: last("identity", "id"),
        cohort: last("cohort", "id"),
        message: last("message", "id"),
        attempt: last("attempt", "id"),
        event: last("event", "id"),
    };
    let statements = TABLES.map(|table| strides.statement(&db, table));
    for block in 1..i64::try_from(copies).unwrap() {
        db.execute_batch("BEGIN").unwrap();
        for statement in &statements {
            db.prepare_cached(statement)
                .unwrap()
                .execute([block])
                .unwrap();
        }
        db.execute_batch("COMMIT").unwrap();
    }
    db.execute("UPDATE total SET n = n * ?1", [copies]).unwrap();
}

/// A table that is new since this was written, and has rows, would be missing in the copies.
fn check_tables(db: &Connection) {
    let mut tables = db
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
        .unwrap();
    let names = tables.query_map([], |row| row.get::<_, String>(0)).unwrap();
    for name in names.map(Result::unwrap) {
        if TABLES.contains(&name.as_str()) || ONCE.contains(&name.as_str()) {
            continue;
        }
        let sql = format!("SELECT count(*) FROM {name}");
        let rows: i64 = db.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 0, "nothing is known about the table {name}");
    }
}

/// By how much the numbers of rows grow from one block to the next.
struct Strides {
    identity: i64,
    cohort: i64,
    message: i64,
    attempt: i64,
    event: i64,
}

impl Strides {
    /// Writes the rows of a table for a block.
    fn statement(&self, db: &Connection, table: &str) -> String {
        let sql = format!("SELECT name FROM pragma_table_info('{table}')");
        let mut columns = db.prepare(&sql).unwrap();
        let columns: Vec<String> = columns
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let values: Vec<String> = columns.iter().map(|c| self.value(table, c)).collect();
        // The first block alone, in its order.
        let (key, stride) = match table {
            "coded_report" => ("attempt_id", self.attempt),
            "counter" => ("cohort_id", self.cohort),
            "progress" => ("message_id", self.message),
            _ => ("id", self.own(table)),
        };
        format!(
            "INSERT INTO {table} ({}) SELECT {} FROM {table} WHERE {key} <= {stride} ORDER BY {key}",
            columns.join(", "),
            values.join(", ")
        )
    }

    fn own(&self, table: &str) -> i64 {
        match table {
            "identity" => self.identity,
            "cohort" => self.cohort,
            "message" => self.message,
            "attempt" => self.attempt,
            "event" => self.event,
            other => panic!("{other} has no number of its own"),
        }
    }

    /// What stands in a column of block `?1`.
    fn value(&self, table: &str, column: &str) -> String {
        let later = |column: &str| format!("{column} + ?1 * {}", STEP.as_micros());
        match column {
            "id" => format!("id + ?1 * {}", self.own(table)),
            "message_id" => format!("message_id + ?1 * {}", self.message),
            // In messages it stays: their lists open the address of the first block's person, as many
            // as they would in a database that verbs have filled.
            "person_id" => format!("person_id + ?1 * {}", self.identity),
            "cohort_id" => format!("cohort_id + ?1 * {}", self.cohort),
            "attempt_id" => format!("attempt_id + ?1 * {}", self.attempt),
            "last_event" => format!("last_event + ?1 * {}", self.event),
            // 0 before the first event.
            "prev" => format!("iif(prev = 0, 0, prev + ?1 * {})", self.event),
            "hour" => "hour + ?1".to_owned(),
            "nonce" => "random()".to_owned(),
            "sid" => "iif(sid IS NULL, NULL, unhex('534d' || hex(randomblob(16))))".to_owned(),
            "content_index" => "randomblob(length(content_index))".to_owned(),
            "blind_index" => "randomblob(length(blind_index))".to_owned(),
            // An address is sealed together with its index: these are people who were erased, and their
            // rows are as wide as before.
            "wrapped_key" => "NULL".to_owned(),
            "sealed_address" => "zeroblob(length(sealed_address) + length(wrapped_key))".to_owned(),
            // A version 7 UUID of that time.
            "public_id" => format!(
                "unhex(printf('%012x7%03x8', ({}) / 1000, random() & 4095) \
                 || substr(hex(randomblob(8)), 2))",
                later("accepted_at")
            ),
            "at" => later(column),
            name if name.ends_with("_at") => later(column),
            name => name.to_owned(),
        }
    }
}
