//! The recount while the store lives: it reads in short transactions, and its figures are exact.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use delivery::message::Message;
use delivery::outcome::ProviderStatus;
use recado::store::sqlite::{OpenMode, SqliteStore};
use recado::store::{CounterGroup, CounterQuery, Finding, MessageCommand, Messages, Store};

use super::file::message;
use super::retention::{remove_old, step};
use super::tamper::Watched;
use super::{beside, open};
use crate::store::engine::Sqlite;
use crate::store::fixture::{DAY, StoreFixture};
use crate::store::samples::{notice, refused};

/// Old messages go with all that belongs to them, what waits stays, and the figures stay: the
/// recount finds what is stored and the baseline the rest.
async fn old_messages_go(mut fixture: StoreFixture, path: std::path::PathBuf) {
    let mut gone = Vec::new();
    for n in 0..40 {
        let id = fixture.accept(notice(n, "a")).await;
        gone.push(id);
        if n % 4 == 0 {
            fixture.attempt(id, refused(21_617)).await;
        } else if n == 1 {
            let sent = fixture.send(id).await;
            fixture.fail(sent, ProviderStatus::Failed, 63_018).await;
            fixture.command(id, MessageCommand::Cancel).await;
        } else {
            let sent = fixture.send(id).await;
            fixture.report(sent, ProviderStatus::Delivered).await;
        }
    }
    let held = Message {
        send_at: Some(fixture.now.plus(60 * DAY)),
        ..notice(100, "later")
    };
    let waits = fixture.accept(held).await;
    fixture.pass(20 * DAY);
    let young = fixture.accept(notice(101, "young")).await;
    fixture.attempt(young, refused(21_617)).await;
    let before = fixture.now.minus(10 * DAY);
    let figures = fixture.store().gauges(fixture.now).await.unwrap();
    let hours = CounterQuery {
        from_hour: 0,
        to_hour: i64::from(u32::MAX),
        group: CounterGroup::None,
    };
    let numbers = format!("{:?}", fixture.store().counters(hours).await.unwrap());
    // While something about that time is still to be asked, nothing goes.
    let first = step(&fixture, before).await;
    assert_eq!((first.messages, first.next, first.waits), (0, None, true));
    let watches = fixture.watches().await;
    assert_eq!(watches.len(), 30);
    for watch in watches {
        fixture.settle(&watch, Finding::Nothing, None).await;
    }
    let database = beside(&path);
    assert_eq!(remove_old(&fixture, before).await, (40, 0));
    for id in &gone {
        assert!(fixture.store().message(*id).await.unwrap().is_none());
    }
    for id in [waits, young] {
        assert!(fixture.store().message(id).await.unwrap().is_some());
    }
    let report = fixture.store().verify().await.unwrap();
    assert_eq!(report.differences, Vec::<String>::new());
    assert_eq!(report.messages, 2);
    let now = format!("{:?}", fixture.store().counters(hours).await.unwrap());
    assert_eq!(now, numbers, "what was counted stays");
    let left = fixture.store().gauges(fixture.now).await.unwrap();
    assert_eq!(left.errors, figures.errors);
    let stored: u64 = left.states.iter().map(|(_, n)| n).sum();
    assert_eq!(stored, 2, "the gauge shows what is stored");
    for (table, rows) in [
        ("message", 2),
        ("progress", 2),
        ("attempt", 1),
        ("coded_report", 0),
        ("event", 4),
        ("hold_evidence", 0),
    ] {
        let count = format!("SELECT count(*) FROM {table}");
        let found: i64 = database.query_row(&count, [], |row| row.get(0)).unwrap();
        assert_eq!(found, rows, "{table}");
    }
    // A baseline that is wrong is found.
    database
        .execute(
            "UPDATE counter SET baseline = baseline + 1 WHERE metric = 0",
            [],
        )
        .unwrap();
    let report = fixture.store().verify().await.unwrap();
    assert!(!report.differences.is_empty());
}

#[tokio::test]
async fn old_messages_go_and_their_figures_stay() {
    let engine = Arc::new(Sqlite::fresh());
    let path = engine.folder().join("recado.db");
    let fixture = StoreFixture::new(Watched(engine)).await;
    old_messages_go(fixture, path).await;
}

/// Runs recounts one after the other until the end, and at least one.
async fn recount_until(store: Arc<dyn Store>, ended: Arc<AtomicBool>) -> usize {
    let mut runs = 0;
    loop {
        let last = ended.load(Ordering::SeqCst);
        let report = store.verify().await.unwrap();
        assert_eq!(report.differences, Vec::<String>::new(), "run {runs}");
        runs += 1;
        if last {
            return runs;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recount_is_exact_while_messages_come_and_go() {
    let mut fixture = StoreFixture::new(Sqlite::fresh()).await;
    let ended = Arc::new(AtomicBool::new(false));
    let recounts = tokio::spawn(recount_until(fixture.shared_store(), ended.clone()));
    let mut sent = Vec::new();
    for n in 0..250 {
        let id = fixture.accept(notice(n, "a")).await;
        match n % 5 {
            0 => {}
            1 => {
                fixture.attempt(id, refused(21_617)).await;
            }
            _ => sent.push(fixture.send(id).await),
        }
        if n % 3 == 0
            && let Some(sent) = sent.pop()
        {
            fixture.report(sent, ProviderStatus::Sent).await;
            fixture.report(sent, ProviderStatus::Read).await;
        }
        if n % 100 == 99 {
            fixture.pass(crate::store::fixture::HOUR);
        }
    }
    ended.store(true, Ordering::SeqCst);
    let runs = recounts.await.unwrap();
    assert!(runs > 3, "{runs} recounts beside the work");
    fixture.clean().await;
}

/// Pages that the write-ahead log may grow by between two checkpoints, here.
const PAGES: usize = 256;
/// What the log may not exceed while recounts read, in bytes: a few times as much.
const LOG_BYTES_MAX: u64 = 6 * 256 * (4_096 + 24);

/// Stores one message in each commit until the commits or the size of the log are enough, and returns
/// both: the largest size.
async fn fill(store: &SqliteStore, log: &Path, first: u32, commits: u32, bytes: u64) -> (u32, u64) {
    let (mut done, mut largest) = (0, 0);
    while done < commits && largest <= bytes {
        store.accept(vec![message(first + done)]).await.unwrap();
        done += 1;
        largest = largest.max(std::fs::metadata(log).unwrap().len());
    }
    (done, largest)
}

/// A recount of another process reads a database of many ranges, one recount after the other, while
/// the server commits. Whoever reads at one moment for as long lets the log grow beyond every bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_starts_over_while_a_recount_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recado.db");
    let log = folder.path().join("recado.db-wal");
    let server = open(&path, OpenMode::Server).unwrap();
    server.checkpoint_every(PAGES);
    for hundred in 0..200 {
        let new = (0..100).map(|n| message(hundred * 100 + n)).collect();
        server.accept(new).await.unwrap();
    }

    let held = beside(&path);
    held.execute_batch("BEGIN; SELECT count(*) FROM account")
        .unwrap();
    let (commits, largest) = fill(&server, &log, 30_000, 5_000, LOG_BYTES_MAX).await;
    assert!(largest > LOG_BYTES_MAX, "one moment: {largest} bytes");
    held.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    assert_eq!(std::fs::metadata(&log).unwrap().len(), 0);

    let ended = Arc::new(AtomicBool::new(false));
    let tool = Arc::new(open(&path, OpenMode::Tool).unwrap());
    let recounts = tokio::spawn(recount_until(tool, ended.clone()));
    let (_, largest) = fill(&server, &log, 40_000, commits * 4, LOG_BYTES_MAX).await;
    assert!(largest <= LOG_BYTES_MAX, "by ranges: {largest} bytes");
    ended.store(true, Ordering::SeqCst);
    recounts.await.unwrap();
}
