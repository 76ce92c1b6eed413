//! Damage and meddling: found, named, and never a panic.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use delivery::outcome::ProviderStatus;
use recado::store::sqlite::{OpenMode, SqliteStore};
use recado::store::{Health, MessageFilter, Messages, NewMessage, StoreError, new_message_id};

use super::{beside, open};
use crate::rng::Rng;
use crate::store::engine::{Engine, Opened, Opening, Setup, Sqlite};
use crate::store::fixture::{START, StoreFixture};
use crate::store::samples::{notice, refused};

/// A database with some life in it, folded into one file.
async fn lived_in(path: &Path, messages: u32) {
    let store = open(path, OpenMode::Server).unwrap();
    let random = Rng::new(9);
    let batch = (0..messages).map(|n| NewMessage {
        id: new_message_id(START, &random),
        message: notice(n, "a"),
        idempotency: None,
        now: START,
        dedupe_window: Duration::ZERO,
    });
    store.accept(batch.collect()).await.unwrap();
    assert_eq!(
        store.verify().await.unwrap().differences,
        Vec::<String>::new()
    );
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = std::fs::File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

#[tokio::test]
async fn a_damaged_header_is_refused() {
    for (at, bytes) in [
        (0_u64, &[0xff_u8; 100][..]),
        (0, b"SQLite format 4\0"),
        (20, &[0xaa; 8]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recado.db");
        lived_in(&path, 10).await;
        overwrite(&path, at, bytes);
        for mode in [OpenMode::Server, OpenMode::Tool] {
            let error = open(&path, mode).err().expect("it is damaged");
            assert!(matches!(error, StoreError::Corrupt(_)), "{at}: {error:?}");
            assert!(error.to_string().contains("damaged"), "{error}");
        }
    }
}

/// Every page in turn is filled with noise: opening, reading or the recount says so. None of them
/// panics, and none of them says that all is well while rows are missing.
#[tokio::test]
async fn damage_in_the_middle_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.db");
    lived_in(&whole, 60).await;
    let page = 4_096;
    let pages = std::fs::metadata(&whole).unwrap().len() / page;
    assert!(pages > 30, "{pages} pages");
    let mut found = 0;
    for n in 1..pages {
        let path = folder.path().join("damaged.db");
        std::fs::copy(&whole, &path).unwrap();
        overwrite(&path, n * page, &[0xa5; 4_096]);
        match open(&path, OpenMode::Server) {
            Err(error) => {
                assert!(
                    matches!(error, StoreError::Corrupt(_)),
                    "page {n}: {error:?}"
                );
                found += 1;
            }
            Ok(store) => found += u64::from(look(&store, n).await),
        }
        for leftover in ["damaged.db-wal", "damaged.db-shm"] {
            if let Err(error) = std::fs::remove_file(folder.path().join(leftover)) {
                assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
            }
        }
    }
    assert_eq!(found, pages - 1, "every damaged page was found");
}

/// Whether reading or recounting finds the damage.
async fn look(store: &SqliteStore, page: u64) -> bool {
    let filter = MessageFilter {
        limit: 100,
        ..MessageFilter::default()
    };
    let listed = store.messages(filter).await;
    let verified = store.verify().await;
    for error in [listed.as_ref().err(), verified.as_ref().err()]
        .into_iter()
        .flatten()
    {
        assert!(
            matches!(error, StoreError::Corrupt(_)),
            "page {page}: {error:?}"
        );
    }
    match verified {
        Ok(report) => !report.differences.is_empty(),
        Err(_) => true,
    }
}

#[tokio::test]
async fn a_file_that_was_cut_short_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recado.db");
    lived_in(&path, 60).await;
    let length = std::fs::metadata(&path).unwrap().len();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(length / 2).unwrap();
    match open(&path, OpenMode::Server) {
        Err(error) => assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}"),
        Ok(store) => assert!(look(&store, 0).await),
    }
    let mut start = [0; 15];
    std::fs::File::open(&path)
        .unwrap()
        .read_exact(&mut start)
        .unwrap();
    assert_eq!(&start, b"SQLite format 3", "nobody wrote over it");
}

/// The engine of a case, of which the test also knows the file.
pub(super) struct Watched(pub(super) std::sync::Arc<Sqlite>);

impl Engine for Watched {
    fn open(&self, setup: Setup) -> Opening<'_> {
        Box::pin(async move {
            let opened: Result<Opened, StoreError> = self.0.open(setup).await;
            opened
        })
    }
}

/// Changes made behind the store's back, each of which the recount must name.
const MEDDLING: &[(&str, &str)] = &[
    ("UPDATE counter SET n = n + 1 WHERE metric = 0", "counter"),
    ("DELETE FROM counter WHERE metric = 12", "counter"),
    ("INSERT INTO counter VALUES (1, 11, 63016, 5, 0)", "counter"),
    (
        "UPDATE progress SET state = 13 WHERE message_id = 1",
        "another progress",
    ),
    (
        "UPDATE progress SET attempts = 7 WHERE message_id = 1",
        "another progress",
    ),
    (
        "UPDATE progress SET sent_at = 5 WHERE message_id = 1",
        "another progress",
    ),
    (
        "UPDATE progress SET accepted_at = 5 WHERE message_id = 1",
        "another progress",
    ),
    (
        "UPDATE event SET state = 13 WHERE id = (SELECT max(id) FROM event)",
        "another progress",
    ),
    ("DELETE FROM event WHERE id = 2", "does not follow"),
    (
        "DELETE FROM event WHERE id = (SELECT max(id) FROM event)",
        "has no event",
    ),
    (
        "UPDATE event SET code = 63018 WHERE code = 21617",
        "counter",
    ),
    (
        "DELETE FROM progress WHERE message_id = 1",
        "log of no message",
    ),
    ("UPDATE total SET n = n + 1 WHERE what = 1", "figure State"),
    ("DELETE FROM total WHERE what = 2", "figure Errors"),
    ("UPDATE total SET n = 2 WHERE what = 4", "figure Queued"),
    ("DELETE FROM queue", "missing from the queue"),
    ("UPDATE queue SET due_at = due_at + 1", "no waiting message"),
    ("UPDATE queue SET person_id = 1", "no waiting message"),
    (
        "UPDATE identity SET person_id = 2 WHERE id = 1",
        "identities differ",
    ),
    (
        "INSERT INTO queue VALUES (1, 1, 1, 5, 1, 1)",
        "no waiting message",
    ),
    (
        "UPDATE progress SET due_at = NULL WHERE state = 0",
        "without a due time",
    ),
];

#[tokio::test]
async fn meddling_is_named_by_the_recount() {
    for (change, name) in MEDDLING {
        let folder = std::sync::Arc::new(Sqlite::fresh());
        let mut fixture = StoreFixture::new(Watched(folder.clone())).await;
        let id = fixture.accept(notice(1, "a")).await;
        let sent = fixture.send(id).await;
        fixture.report(sent, ProviderStatus::Delivered).await;
        let failed = fixture.accept(notice(2, "a")).await;
        fixture.attempt(failed, refused(21_617)).await;
        fixture.accept(notice(3, "a")).await;
        fixture.clean().await;
        let db = beside(&folder.folder().join("recado.db"));
        assert!(db.execute(change, []).unwrap() > 0, "{change}");
        let report = fixture.store().verify().await.unwrap();
        let named = report.differences.iter().any(|text| text.contains(name));
        assert!(named, "{change}: {:?}", report.differences);
    }
}

/// A damaged row hides nothing of the same person's other attempts, and is told as what it is.
#[tokio::test]
async fn an_unknown_attempt_whose_content_is_damaged_is_told_apart() {
    let folder = std::sync::Arc::new(Sqlite::fresh());
    let mut fixture = StoreFixture::new(Watched(folder.clone())).await;
    let mut attempts = Vec::new();
    for text in ["a", "b"] {
        let id = fixture.accept(notice(1, text)).await;
        attempts.push(fixture.lose(id).await.row);
    }
    fixture.pass(Duration::from_secs(5));
    let person = fixture.watches().await.remove(0).person;
    let db = beside(&folder.folder().join("recado.db"));
    let damage = "UPDATE message SET sealed_content = zeroblob(40) WHERE id = \
                  (SELECT min(id) FROM message)";
    assert_eq!(db.execute(damage, []).unwrap(), 1);
    let unknown = fixture.store().unknown_attempts(person).await.unwrap();
    let seen: Vec<_> = unknown
        .iter()
        .map(|view| (view.attempt, view.is_unreadable, view.evidence.is_some()))
        .collect();
    assert_eq!(
        seen,
        [(attempts[1], false, true), (attempts[0], true, false)]
    );
}
