//! A database that was restored, copied or moved: it is recognized, sends nothing by itself, and
//! looks for what may have left from elsewhere before it sends it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use delivery::message::SenderName;
use delivery::progress::WatchKind;
use delivery::row::{MessageRow, SenderRow};
use delivery::state::State;
use recado::store::sqlite::{OpenMode, Options, SqliteStore};
use recado::store::{
    DueQuery, MessageCommand, MessageId, Messages, NewMessage, OpenRequest, OpenResult, Queue,
    Restores, ResumeAfter, Senders, Stamp, StoreError, WatchQuery, Watches, new_message_id,
};

use super::file::message;
use super::{beside, open, options, refusal};
use crate::rng::Rng;
use crate::store::fixture::{FIRST, HOUR, MINUTE, SECOND, START};

/// How a server is started: no two starts draw the same numbers.
fn start(path: &Path, seed: u64) -> Options {
    Options {
        random: Arc::new(Rng::new(seed)),
        machine: Some("the first machine".to_owned()),
        now: START.plus(HOUR),
        ..options(path, OpenMode::Server)
    }
}

fn serve(path: &Path, seed: u64) -> SqliteStore {
    SqliteStore::open(start(path, seed)).unwrap()
}

/// Why it waits for the operator.
async fn why(store: &SqliteStore) -> Option<String> {
    let waiting = store.waiting_since_restore().await.unwrap();
    let senders = store.senders().await.unwrap();
    let reasons = senders.iter().map(|sender| sender.pause_reason.as_deref());
    let wanted = waiting.as_ref().map(|_| "restored");
    assert!(reasons.into_iter().all(|reason| reason == wanted));
    waiting.map(|view| view.reason)
}

/// Starts a server on a path, and gives why it waits.
async fn why_at(path: &Path, seed: u64) -> Option<String> {
    why(&serve(path, seed)).await
}

async fn accept(store: &SqliteStore, n: u32) -> MessageId {
    let new = NewMessage {
        id: new_message_id(START, &Rng::new(u64::from(n) + 100)),
        ..message(n)
    };
    let results = store.accept(vec![new]).await.unwrap();
    results[0].id().unwrap()
}

/// The sender, and what of it is due.
async fn due(store: &SqliteStore) -> (SenderRow, Vec<MessageRow>) {
    let sender = store.senders().await.unwrap()[0].row;
    let query = DueQuery {
        sender,
        now: START.plus(HOUR),
        limit: 100,
        urgent_only: false,
    };
    let page = store.due(query).await.unwrap();
    (sender, page.due.iter().map(|due| due.message).collect())
}

/// Opens an attempt for whatever is due: how many may leave, and how many not.
async fn try_all(store: &SqliteStore) -> (usize, usize) {
    let (_, due) = due(store).await;
    let random = Rng::new(77);
    let batch = due.iter().map(|message| OpenRequest {
        message: *message,
        stamp: Stamp {
            now: START.plus(HOUR),
            random: recado::effects::Random::next_u64(&random),
        },
    });
    let results = store.open_attempts(batch.collect()).await.unwrap();
    let leaves = results
        .iter()
        .filter(|result| matches!(result, OpenResult::Open(_)))
        .count();
    (leaves, results.len() - leaves)
}

async fn state(store: &SqliteStore, id: MessageId) -> State {
    store.message(id).await.unwrap().unwrap().summary.state
}

/// A folder with a database that has had a server.
struct Home(tempfile::TempDir);

impl Home {
    async fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(home.0.path().join("a")).unwrap();
        let store = serve(&home.database(), 1);
        for n in 0..3 {
            accept(&store, n).await;
        }
        assert_eq!(why(&store).await, None, "a first start");
        home
    }

    fn database(&self) -> PathBuf {
        self.0.path().join("a/recado.db")
    }

    fn marker(&self) -> PathBuf {
        self.0.path().join("a/recado.db.recado")
    }

    /// Copies the files of the database into another folder and gives the copy.
    fn copy(&self, to: &str, with_marker: bool) -> PathBuf {
        self.copy_of(&self.database(), to, with_marker)
    }

    /// Copies what lies somewhere else in the same way.
    fn copy_of(&self, original: &Path, to: &str, with_marker: bool) -> PathBuf {
        let folder = self.0.path().join(to);
        std::fs::create_dir(&folder).unwrap();
        let copy = folder.join("recado.db");
        for suffix in ["", "-wal", ".recado"] {
            let from = format!("{}{suffix}", original.display());
            if Path::new(&from).exists() && (with_marker || suffix != ".recado") {
                std::fs::copy(&from, format!("{}{suffix}", copy.display())).unwrap();
            }
        }
        copy
    }

    /// A backup as SQLite makes it, with the marker of the moment.
    fn back_up(&self) -> PathBuf {
        let backup = self.0.path().join("backup.db");
        let to = backup.to_str().unwrap();
        beside(&self.database())
            .execute("VACUUM INTO ?1", [to])
            .unwrap();
        std::fs::copy(self.marker(), format!("{to}.recado")).unwrap();
        backup
    }

    /// Writes a backup over the database, as `cp` does: the files stay the same ones.
    fn put_back(&self, backup: &Path, with_marker: bool) {
        for suffix in ["", ".recado"] {
            let from = format!("{}{suffix}", backup.display());
            if suffix.is_empty() || with_marker {
                let to = format!("{}{suffix}", self.database().display());
                std::fs::copy(from, to).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_database_that_stays_or_is_moved_as_a_whole_sends_at_once() {
    let home = Home::new().await;
    for seed in 2..5 {
        assert_eq!(why_at(&home.database(), seed).await, None);
    }
    let moved = home.0.path().join("b");
    std::fs::rename(home.0.path().join("a"), &moved).unwrap();
    let moved = moved.join("recado.db");
    let store = serve(&moved, 5);
    assert_eq!(why(&store).await, None);
    assert_eq!(try_all(&store).await, (3, 0));
    drop(store);
    // What the machine says of itself may be missing, but not be another's.
    for (seed, machine, reason) in [
        (6, None, None),
        (7, Some("the first machine"), None),
        (
            8,
            Some("a second machine"),
            Some("it is on another machine"),
        ),
    ] {
        let store = SqliteStore::open(Options {
            machine: machine.map(str::to_owned),
            ..start(&moved, seed)
        });
        assert_eq!(why(&store.unwrap()).await.as_deref(), reason);
    }
}

#[tokio::test]
async fn a_database_that_a_tool_has_made_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recado.db");
    drop(open(&path, OpenMode::Tool).unwrap());
    assert!(!folder.path().join("recado.db.recado").exists());
    // The marker of an earlier database may lie there still.
    std::fs::write(folder.path().join("recado.db.recado"), "{}").unwrap();
    assert_eq!(why_at(&path, 1).await, None);
    assert_eq!(why_at(&path, 2).await, None);
}

#[tokio::test]
async fn every_copy_is_recognized() {
    let home = Home::new().await;
    let (alone, whole) = (home.copy("alone", false), home.copy("whole", true));
    // While a server runs on the original, too.
    let original = serve(&home.database(), 2);
    let running = home.copy("running", true);
    for (copy, seed, reason) in [
        (&alone, 3, "its marker is missing"),
        (&whole, 4, "it is a copy"),
        (&running, 5, "it is a copy"),
    ] {
        let store = serve(copy, seed);
        assert_eq!(why(&store).await.as_deref(), Some(reason));
        assert_eq!(try_all(&store).await, (0, 3), "nothing leaves by itself");
        drop(store);
        // A restart is no answer of the operator.
        assert_eq!(why_at(copy, seed + 10).await.as_deref(), Some(reason));
    }
    assert_eq!(try_all(&original).await, (3, 0), "the original sends");
    drop(original);
    assert_eq!(why_at(&home.database(), 6).await, None);

    let other = Home::new().await;
    std::fs::copy(other.marker(), home.marker()).unwrap();
    let found = why_at(&home.database(), 7).await;
    // Both were drawn from the same numbers; the file is another one all the same.
    assert_eq!(
        found.as_deref(),
        Some("it was used elsewhere, or another state of it was used here")
    );
    for (n, broken) in ["", "{", "null"].iter().enumerate() {
        let home = Home::new().await;
        std::fs::write(home.marker(), broken).unwrap();
        let seed = 20 + u64::try_from(n).unwrap();
        let found = why_at(&home.database(), seed).await;
        assert_eq!(found.as_deref(), Some("its marker cannot be read"));
    }
}

#[tokio::test]
async fn a_backup_that_is_written_over_the_database_is_recognized() {
    // Of an earlier start.
    let home = Home::new().await;
    let backup = home.back_up();
    assert_eq!(why_at(&home.database(), 2).await, None);
    home.put_back(&backup, false);
    let found = why_at(&home.database(), 3).await;
    assert_eq!(
        found.as_deref(),
        Some("it was used elsewhere, or another state of it was used here")
    );

    // Of the last start, before it sent something.
    for (with_marker, reason) in [
        (false, "a later state of it was used here"),
        (true, "the marker beside it is a copy"),
    ] {
        let home = Home::new().await;
        let store = serve(&home.database(), 2);
        let backup = home.back_up();
        assert_eq!(try_all(&store).await, (3, 0));
        drop(store);
        home.put_back(&backup, with_marker);
        let found = why_at(&home.database(), 3).await;
        assert_eq!(found.as_deref(), Some(reason));
    }
}

#[tokio::test]
async fn what_waited_is_looked_for_before_it_leaves() {
    for on_sheet in [false, true] {
        let home = Home::new().await;
        let copy = home.copy("copy", true);
        let store = serve(&copy, 2);
        if on_sheet {
            store.run_on_sheet(None);
        }
        let later = accept(&store, 50).await;
        assert_eq!(try_all(&store).await, (0, 4));
        let now = START.plus(HOUR);
        let resumed = store.resume_after(ResumeAfter::Restore, now).await;
        assert_eq!(resumed.unwrap(), 1);
        // Said once too often, it changes nothing.
        let again = store.resume_after(ResumeAfter::Move, now).await;
        assert_eq!(again.unwrap(), 0);
        assert_eq!(why(&store).await, None);
        assert_eq!(try_all(&store).await, (1, 3), "what is new leaves at once");
        assert_eq!(state(&store, later).await, State::Sending);
        let (_, left) = due(&store).await;
        assert!(left.is_empty(), "{left:?}");
        // Each has an attempt that nobody knows anything about, from the time of the copy on.
        let query = WatchQuery {
            now: now.plus(HOUR),
            kind: WatchKind::Unknown,
            limit: 100,
        };
        let watches = store.due_watches(query).await.unwrap();
        let looked_for = watches.iter().filter(|watch| watch.started_at == START);
        assert_eq!(looked_for.count(), 3);
        // What left from elsewhere until now may be theirs, however old the copy is.
        for watch in watches.iter().filter(|watch| watch.started_at == START) {
            let unknown = store.unknown_attempts(watch.person).await.unwrap();
            let until = now.plus(15 * MINUTE);
            assert!(unknown.iter().all(|view| view.created_until == until));
        }
        let page = store.messages(recado::store::MessageFilter {
            state: Some(State::Unknown),
            limit: 10,
            ..Default::default()
        });
        let unknown = page.await.unwrap().messages;
        assert_eq!(unknown.len(), 3);
        // Who decides that it did not leave sends it, without being asked again; so after a restart.
        drop(store);
        let store = serve(&copy, 3);
        assert_eq!(why(&store).await, None, "the operator has looked");
        let commands = unknown.iter().map(|one| (one.id, MessageCommand::Retry));
        store.command(commands.collect(), now).await.unwrap();
        assert_eq!(try_all(&store).await, (3, 0));
    }
}

#[tokio::test]
async fn what_was_only_moved_leaves_at_once() {
    for on_sheet in [false, true] {
        let home = Home::new().await;
        let copy = home.copy("copy", true);
        let store = serve(&copy, 2);
        if on_sheet {
            store.run_on_sheet(None);
        }
        let now = START.plus(HOUR);
        let resumed = store.resume_after(ResumeAfter::Move, now).await;
        assert_eq!(resumed.unwrap(), 1);
        assert_eq!(try_all(&store).await, (3, 0));
        let again = store.resume_after(ResumeAfter::Restore, now).await;
        assert_eq!(again.unwrap(), 0, "nothing waits any more");
        drop(store);
        assert_eq!(why_at(&copy, 3).await, None);
    }
}

#[tokio::test]
async fn what_a_restore_has_left_is_looked_for_after_a_move_too() {
    for on_sheet in [false, true] {
        let home = Home::new().await;
        let now = START.plus(HOUR);
        let copy = home.copy("copy", true);
        let store = serve(&copy, 2);
        if on_sheet {
            store.run_on_sheet(None);
        }
        let resumed = store.resume_after(ResumeAfter::Restore, now).await;
        assert_eq!(resumed.unwrap(), 1);
        // What waited is not sent yet; then the disk is changed.
        drop(store);
        let moved = home.copy_of(&copy, "moved", true);
        let store = serve(&moved, 3);
        if on_sheet {
            store.run_on_sheet(None);
        }
        assert!(why(&store).await.is_some());
        accept(&store, 50).await;
        let resumed = store.resume_after(ResumeAfter::Move, now).await;
        assert_eq!(resumed.unwrap(), 1);
        accept(&store, 51).await;
        drop(store);
        let store = serve(&moved, 4);
        assert_eq!(why(&store).await, None);
        let (leaves, looked_for) = try_all(&store).await;
        assert_eq!((leaves, looked_for), (2, 3), "on a sheet: {on_sheet}");
    }
}

#[tokio::test]
async fn one_answer_is_for_all_that_waited_for_it() {
    for (after, expected) in [(ResumeAfter::Move, (3, 0)), (ResumeAfter::Restore, (0, 3))] {
        let home = Home::new().await;
        let first = home.copy("first", false);
        let reason = why_at(&first, 2).await;
        assert_eq!(reason.as_deref(), Some("its marker is missing"));
        let second = home.copy_of(&first, "second", true);
        let store = serve(&second, 3);
        let reason = why(&store).await;
        let both = "its marker is missing, and then: it is a copy";
        assert_eq!(reason.as_deref(), Some(both));
        let now = START.plus(HOUR);
        assert_eq!(store.resume_after(after, now).await.unwrap(), 1);
        assert_eq!(try_all(&store).await, expected, "{after:?}");
    }
}

/// A client that disconnects drops what waits for its answer; the commit stands all the same.
#[tokio::test]
async fn an_answer_that_nobody_waited_for_counts() {
    let home = Home::new().await;
    let store = serve(&home.copy("copy", true), 2);
    let resumed = store.resume_after(ResumeAfter::Move, START.plus(HOUR));
    tokio::select! {
        biased;
        _ = resumed => panic!("a commit takes a while"),
        () = std::future::ready(()) => {}
    }
    accept(&store, 50).await;
    assert_eq!(why(&store).await, None);
    assert_eq!(try_all(&store).await, (4, 0));
}

#[tokio::test]
async fn senders_that_come_later_wait_too_and_a_pause_by_hand_stays() {
    let home = Home::new().await;
    let copy = home.copy("copy", true);
    let store = serve(&copy, 2);
    let now = START.plus(HOUR);
    drop(store);
    let store = SqliteStore::open(Options {
        senders: vec![SenderName::new(FIRST), SenderName::new(SECOND)],
        ..start(&copy, 3)
    })
    .unwrap();
    assert!(why(&store).await.is_some());
    let by_hand = store.pause_sender(FIRST.to_owned(), true, now).await;
    assert!(by_hand.unwrap());
    let resumed = store.resume_after(ResumeAfter::Restore, now).await;
    assert_eq!(resumed.unwrap(), 1);
    let reasons: Vec<Option<String>> = store
        .senders()
        .await
        .unwrap()
        .into_iter()
        .map(|sender| sender.pause_reason)
        .collect();
    assert_eq!(reasons, [Some("operator".to_owned()), None]);
}

#[tokio::test]
async fn the_database_of_another_account_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recado.db");
    let of = |account: &str, seed| Options {
        provider_account: Some(account.to_owned()),
        ..start(&path, seed)
    };
    drop(SqliteStore::open(of("AC1", 1)).unwrap());
    drop(SqliteStore::open(of("AC1", 2)).unwrap());
    let (error, words) = refusal(SqliteStore::open(of("AC2", 3)));
    assert!(matches!(error, StoreError::OtherAccount), "{error:?}");
    assert!(words.contains("another account"), "{words}");
    drop(open(&path, OpenMode::Tool).unwrap());
    assert_eq!(why(&SqliteStore::open(of("AC1", 4)).unwrap()).await, None);
}
