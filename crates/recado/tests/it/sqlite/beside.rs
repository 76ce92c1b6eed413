//! Who else has the file: a second server by another path, a tool beside a server, another program.

use std::path::Path;
use std::process::Command;

use recado::store::sqlite::OpenMode;
use recado::store::{ApiKeys, Health, KeyScope, Messages, NewApiKey, StoreError};
use rusqlite::Connection;

use super::file::message;
use super::{beside, open, refusal};
use crate::store::fixture::START;

#[tokio::test]
async fn a_file_has_one_server_whatever_it_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recado.db");
    let other = folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let server = open(&path, OpenMode::Server).unwrap();
    let names = ["symlink.db", "link.db"].map(|name| other.join(name));
    std::os::unix::fs::symlink(&path, &names[0]).unwrap();
    std::fs::hard_link(&path, &names[1]).unwrap();
    for name in &names {
        let (error, words) = refusal(open(name, OpenMode::Server));
        assert!(matches!(error, StoreError::Locked(_)), "{error:?}");
        assert!(words.contains("another server"), "{words}");
    }
    drop(server);
    drop(open(&names[0], OpenMode::Server).unwrap());
    let beside_link = other.join("symlink.db-wal");
    assert!(!beside_link.exists(), "its files are those of the database");
}

/// A folder may be prepared before its database is there.
#[tokio::test]
async fn a_symlink_to_a_database_that_is_still_to_come_makes_it() {
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("a.db"), folder.path().join("b.db"));
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let server = open(&link, OpenMode::Server).unwrap();
    assert!(path.exists());
    assert!(matches!(
        refusal(open(&path, OpenMode::Server)).0,
        StoreError::Locked(_)
    ));
    drop(server);
}

fn history(path: &Path) -> Vec<(i64, String)> {
    let db = beside(path);
    let mut statement = db
        .prepare("SELECT version, checksum FROM refinery_schema_history ORDER BY version")
        .unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn a_tool_of_another_version_changes_nothing() {
    for (change, version) in [
        (
            "INSERT INTO refinery_schema_history VALUES (2, 'next', '2026-01-01T00:00:00Z', '7')",
            "version 2",
        ),
        (
            "UPDATE refinery_schema_history SET version = 0",
            "version 0",
        ),
        ("DELETE FROM refinery_schema_history", "version none"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recado.db");
        drop(open(&path, OpenMode::Server).unwrap());
        beside(&path).execute(change, []).unwrap();
        let before = history(&path);
        let (error, words) = refusal(open(&path, OpenMode::Tool));
        assert!(
            matches!(error, StoreError::OtherVersion { .. }),
            "{error:?}"
        );
        assert!(words.contains(version), "{words}");
        assert_eq!(history(&path), before);
    }
}

#[tokio::test]
async fn a_tool_leaves_the_log_of_changes_to_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recado.db");
    let log = folder.path().join("recado.db-wal");
    let server = open(&path, OpenMode::Server).unwrap();
    server.accept((0..50).map(message).collect()).await.unwrap();
    let size = |path: &Path| std::fs::metadata(path).unwrap().len();
    let before = (size(&path), size(&log));
    assert!(before.1 > 0);
    for n in 0..3 {
        let tool = open(&path, OpenMode::Tool).unwrap();
        let key = NewApiKey {
            id: format!("key{n}"),
            name: "backend".into(),
            scope: KeyScope::Send,
            hash: [7; 32],
            now: START,
        };
        tool.create_key(key).await.unwrap();
    }
    assert_eq!(size(&path), before.0, "no tool checkpoints");
    assert!(size(&log) > before.1, "the log goes on where it was");
    drop(server);
    assert!(!log.exists(), "the server checkpoints at its end");
    assert!(size(&path) > before.0);
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recado.db");
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch(
            "CREATE TABLE account (id INTEGER PRIMARY KEY); INSERT INTO account VALUES (1)",
        )
        .unwrap();
    drop(other);
    let bytes = std::fs::read(&path).unwrap();
    for mode in [OpenMode::Server, OpenMode::Tool] {
        let (error, words) = refusal(open(&path, mode));
        assert!(matches!(error, StoreError::OtherProgram), "{error:?}");
        assert!(words.contains("another program"), "{words}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

/// A server whose writer has gone would answer 503 for ever while it seems to live.
#[test]
fn a_panic_of_the_writer_ends_the_process() {
    a_panic_ends_the_process("writer");
}

/// Without checkpoints the write-ahead log would grow until the disk is full.
#[test]
fn a_panic_of_the_checkpoints_ends_the_process() {
    a_panic_ends_the_process("checkpoint");
}

#[track_caller]
fn a_panic_ends_the_process(thread: &str) {
    let me = std::env::current_exe().unwrap();
    let ended = Command::new(me)
        .args([
            "--exact",
            "sqlite::beside::thread_that_panics",
            "--nocapture",
        ])
        .env("RECADO_TEST_PANIC", thread)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(70), "{said}");
    assert!(said.contains("a test wants a panic"), "{said}");
    assert!(said.contains(&format!("recado-{thread}")), "{said}");
}

/// Runs in a process of its own, for the tests above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thread_that_panics() {
    let Some(thread) = std::env::var_os("RECADO_TEST_PANIC") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("recado.db"), OpenMode::Server).unwrap();
    if thread == "writer" {
        store.break_writer();
    } else {
        store.checkpoint_every(1);
        store.break_checkpoints();
    }
    let probed = store.probe().await;
    // The end of the process may come after the end of the request.
    tokio::time::sleep(super::DEADLINE).await;
    panic!("the process lives on: {probed:?}");
}
