//! Opening: who else is there, whose key, what kind of file, which settings.

use std::path::Path;
use std::process::{Command, Stdio};

use delivery::state::State;
use recado::store::sqlite::OpenMode;
use recado::store::{
    AcceptResult, ApiKeys, Health, KeyScope, Messages, NewApiKey, NewMessage, StoreError,
    new_message_id,
};

use super::{beside, open, options, other_key, refusal};
use crate::rng::Rng;
use crate::store::fixture::START;
use crate::store::samples::notice;

pub(super) fn message(n: u32) -> NewMessage {
    NewMessage {
        id: new_message_id(START, &Rng::new(n.into())),
        message: notice(n, "a"),
        idempotency: None,
        now: START,
        dedupe_window: std::time::Duration::ZERO,
    }
}

#[tokio::test]
async fn a_second_server_is_told_who_is_there_and_tools_are_not_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recado.db");
    let server = open(&path, OpenMode::Server).unwrap();
    let (error, words) = refusal(open(&path, OpenMode::Server));
    assert!(matches!(error, StoreError::Locked(_)), "{error:?}");
    assert!(words.contains("recado.db"), "{words}");
    assert!(
        words.contains(&format!("process {}", std::process::id())),
        "{words}"
    );

    let tool = open(&path, OpenMode::Tool).unwrap();
    let key = NewApiKey {
        id: "key".into(),
        name: "backend".into(),
        scope: KeyScope::Send,
        hash: [7; 32],
        now: START,
    };
    tool.create_key(key).await.unwrap();
    assert!(server.key("key".into()).await.unwrap().is_some());
    server.accept(vec![message(1)]).await.unwrap();
    assert_eq!(tool.verify().await.unwrap().messages, 1);
    drop(tool);
    assert!(matches!(
        refusal(open(&path, OpenMode::Server)).0,
        StoreError::Locked(_)
    ));
    server.accept(vec![message(2)]).await.unwrap();
    drop(server);
    let next = open(&path, OpenMode::Server).unwrap();
    assert_eq!(next.verify().await.unwrap().messages, 2);
}

#[tokio::test]
async fn a_tool_leaves_open_attempts_and_senders_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recado.db");
    let server = open(&path, OpenMode::Server).unwrap();
    let before: (i64, i64) = beside(&path)
        .query_row(
            "SELECT epoch, (SELECT sum(configured) FROM sender) FROM account",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    let mut tool = options(&path, OpenMode::Tool);
    tool.senders.clear();
    drop(recado::store::sqlite::SqliteStore::open(tool).unwrap());
    let after: (i64, i64) = beside(&path)
        .query_row(
            "SELECT epoch, (SELECT sum(configured) FROM sender) FROM account",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    assert_eq!((before, after), ((1, 1), (1, 1)));
    drop(server);
}

#[tokio::test]
async fn another_master_key_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recado.db");
    let store = open(&path, OpenMode::Server).unwrap();
    store.accept(vec![message(1)]).await.unwrap();
    drop(store);
    for mode in [OpenMode::Server, OpenMode::Tool] {
        let mut wrong = options(&path, mode);
        wrong.master_key = other_key();
        let (error, words) = refusal(recado::store::sqlite::SqliteStore::open(wrong));
        assert!(matches!(error, StoreError::DecryptError), "{error:?}");
        assert!(words.contains("wrong master key"), "{words}");
    }
    let epoch: i64 = beside(&path)
        .query_row("SELECT epoch FROM account", [], |row| row.get(0))
        .unwrap();
    assert_eq!(epoch, 1, "a refused server has not been one");
    let store = open(&path, OpenMode::Server).unwrap();
    let page = store
        .messages(recado::store::MessageFilter {
            limit: 10,
            ..Default::default()
        })
        .await
        .unwrap();
    assert_eq!(page.messages[0].state, State::Accepted);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recado.db");
    let text = "name,phone\n".repeat(4_000);
    std::fs::write(&path, &text).unwrap();
    for mode in [OpenMode::Server, OpenMode::Tool] {
        let (error, words) = refusal(open(&path, mode));
        assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
        assert!(words.contains("damaged"), "{words}");
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let directory = folder.path().join("directory.db");
    std::fs::create_dir(&directory).unwrap();
    for path in [
        file.join("recado.db"),
        folder.path().join("missing/recado.db"),
        directory,
    ] {
        for mode in [OpenMode::Server, OpenMode::Tool] {
            let (error, words) = refusal(open(&path, mode));
            assert!(matches!(error, StoreError::ReadOnly(_)), "{error:?}");
            let parent = path.parent().unwrap().to_str().unwrap();
            let named = words.contains(parent) || words.contains("directory.db");
            assert!(named, "{words}");
        }
    }
}

#[tokio::test]
async fn commits_are_on_disk_before_they_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recado.db");
    let store = open(&path, OpenMode::Server).unwrap();
    let mode: String = beside(&path)
        .query_row("PRAGMA journal_mode", [], |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "wal");
    // What another connection sees the moment the answer is here, a copy of the bytes holds too.
    let new = message(1);
    let id = new.id;
    let results = store.accept(vec![new]).await.unwrap();
    assert!(matches!(results[0], AcceptResult::Accepted { .. }));
    let copy = folder.path().join("copy.db");
    std::fs::copy(&path, &copy).unwrap();
    std::fs::copy(
        folder.path().join("recado.db-wal"),
        folder.path().join("copy.db-wal"),
    )
    .unwrap();
    let restored = open(&copy, OpenMode::Server).unwrap();
    assert!(restored.message(id).await.unwrap().is_some());
    assert_eq!(
        restored.verify().await.unwrap().differences,
        Vec::<String>::new()
    );
}

/// A health check that writes nothing would say that all is well on a disk that takes nothing.
#[tokio::test]
async fn a_probe_is_a_real_commit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recado.db");
    let store = open(&path, OpenMode::Server).unwrap();
    let log = folder.path().join("recado.db-wal");
    for _ in 0..3 {
        let before = std::fs::metadata(&log).unwrap().len();
        store.probe().await.unwrap();
        assert!(std::fs::metadata(&log).unwrap().len() > before);
    }
}

/// The settings of a connection belong to it; this asks the system what the writer does.
#[test]
fn every_commit_is_synced() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let traced = Command::new("strace")
        .args(["-f", "-e", "trace=fsync,fdatasync", "-o"])
        .arg(&trace)
        .arg(env!("CARGO_BIN_EXE_recado"))
        .args(["keys", "create", "--name", "n", "--scope", "read"])
        .env("DATABASE_URL", url(&folder.path().join("recado.db")))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    // Where strace is missing or forbidden there is nothing to look with; the start checks the
    // pragma itself.
    if !traced.is_ok_and(|status| status.success()) {
        eprintln!("strace cannot be used here: not looked at");
        return;
    }
    let synced = std::fs::read_to_string(&trace).unwrap();
    let count = synced.lines().filter(|line| line.contains("sync(")).count();
    assert!(count >= 3, "migration, account and key: {synced}");
}

fn url(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

#[tokio::test]
async fn migrations_run_again_without_harm() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recado.db");
    let schema = || -> Vec<String> {
        let db = beside(&path);
        let mut statement = db
            .prepare("SELECT coalesce(sql, name) FROM sqlite_schema ORDER BY name")
            .unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    drop(open(&path, OpenMode::Server).unwrap());
    let first = schema();
    assert!(first.len() > 20);
    for mode in [OpenMode::Tool, OpenMode::Server, OpenMode::Server] {
        drop(open(&path, mode).unwrap());
        assert_eq!(schema(), first);
    }
}

/// A process is killed at many moments of its first start; whatever it left behind opens.
#[tokio::test]
async fn a_first_start_that_was_killed_is_simply_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut unfinished = 0;
    for run in 0..24_u32 {
        let path = folder.path().join(format!("{run}.db"));
        let mut child = Command::new(env!("CARGO_BIN_EXE_recado"))
            .args(["keys", "create", "--name", "n", "--scope", "read"])
            .env("DATABASE_URL", url(&path))
            .env(
                "RECADO_MASTER_KEY",
                "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
            )
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Not before the file is there; then a little later in each run.
        let deadline = std::time::Instant::now() + super::DEADLINE;
        while !path.exists() && child.try_wait().unwrap().is_none() {
            assert!(std::time::Instant::now() < deadline);
            std::thread::yield_now();
        }
        std::thread::sleep(std::time::Duration::from_micros(u64::from(run) * 700));
        child.kill().unwrap();
        unfinished += u32::from(!child.wait().unwrap().success());
        let store = open(&path, OpenMode::Server).unwrap();
        store.accept(vec![message(1)]).await.unwrap();
        let report = store.verify().await.unwrap();
        assert_eq!(report.differences, Vec::<String>::new());
        assert!(store.keys().await.unwrap().len() <= 1);
    }
    assert!(unfinished > 0, "at least one was really killed half-way");
}

/// An operator makes a key in the moment in which the server starts for the first time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_may_open_a_new_database_at_the_same_moment() {
    for _ in 0..5 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recado.db");
        let start = std::sync::Arc::new(std::sync::Barrier::new(4));
        let mut openers = tokio::task::JoinSet::new();
        for n in 0..4 {
            let (path, start) = (path.clone(), start.clone());
            let mode = if n == 0 {
                OpenMode::Server
            } else {
                OpenMode::Tool
            };
            let runtime = tokio::runtime::Handle::current();
            openers.spawn_blocking(move || {
                let _entered = runtime.enter();
                start.wait();
                open(&path, mode)
            });
        }
        let mut stores = Vec::new();
        while let Some(opened) = openers.join_next().await {
            stores.push(opened.unwrap().unwrap());
        }
        for store in &stores {
            store.probe().await.unwrap();
        }
    }
}
