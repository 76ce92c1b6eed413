//! What is true of the embedded engine alone: its file, its lock, its disk.

mod account;
mod beside;
mod disk;
mod file;
mod plain;
mod plans;
mod readers;
mod recount;
mod restore;
mod retention;
mod sync;
mod tamper;
mod zero_counts;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use delivery::message::SenderName;
use recado::secrets::MasterKey;
use recado::store::StoreError;
use recado::store::sqlite::{OpenMode, Options, SqliteStore};
use rusqlite::Connection;

use crate::rng::Rng;
use crate::store::engine::{master_key, rules};
use crate::store::fixture::{FIRST, START};

/// The longest that anything in these tests may take.
const DEADLINE: Duration = Duration::from_secs(60);

fn options(path: &Path, mode: OpenMode) -> Options {
    Options {
        path: path.to_owned(),
        mode,
        master_key: master_key(),
        random: Arc::new(Rng::new(1)),
        rules: rules(),
        senders: vec![SenderName::new(FIRST)],
        provider_account: None,
        machine: None,
        now: START,
    }
}

fn open(path: &Path, mode: OpenMode) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(options(path, mode))
}

fn other_key() -> MasterKey {
    MasterKey::parse("1f1e1d1c1b1a191817161514131211100f0e0d0c0b0a09080706050403020100")
        .ok()
        .unwrap()
}

/// The error of an opening that must fail, with its words.
#[track_caller]
fn refusal(opened: Result<SqliteStore, StoreError>) -> (StoreError, String) {
    let error = opened.err().expect("it does not open");
    let words = error.to_string();
    (error, words)
}

/// A connection beside the store, as a curious operator or a damaged disk would be.
fn beside(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(DEADLINE).unwrap();
    connection
}

/// Comes back when `done` says so; the wait in between gives others the processor.
async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !done().await {
        assert!(Instant::now() < deadline, "{what} did not happen in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
