//! Who waits for whom when connections for reading are all in use. The runtime of these tests has one
//! thread: a read that blocked it would end every test here.

use std::time::Duration;

use delivery::event::Source;
use delivery::outcome::ProviderStatus;
use delivery::sid::Sid;
use recado::store::sqlite::OpenMode;
use recado::store::{
    AcceptResult, ApiKeys, CounterGroup, CounterQuery, Counters, DueQuery, Events, Health,
    Idempotency, MessageFilter, Messages, NewMessage, Queue, Report, Reports, Senders, Stamp,
    new_message_id,
};

use super::{DEADLINE, open};
use crate::rng::Rng;
use crate::store::fixture::START;
use crate::store::samples::notice;

/// Waits no longer than these tests may take.
async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(DEADLINE, work).await;
    done.unwrap_or_else(|_| panic!("{what} waits for a long read"))
}

fn new_message(random: &Rng, to: u32) -> NewMessage {
    NewMessage {
        id: new_message_id(START, random),
        message: notice(to, "x"),
        idempotency: None,
        now: START,
        dedupe_window: Duration::ZERO,
    }
}

#[tokio::test]
async fn long_reads_hold_up_no_short_one_and_no_write() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("recado.db"), OpenMode::Server).unwrap();
    let random = Rng::new(7);
    let senders = store.senders().await.unwrap();
    let sender = senders[0].row;
    let held = store.hold_long_reads().await.unwrap();

    let accepted = soon("accepting", store.accept(vec![new_message(&random, 1)])).await;
    let AcceptResult::Accepted { id, .. } = accepted.unwrap()[0] else {
        panic!("it is accepted")
    };
    let query = DueQuery {
        sender,
        now: START,
        limit: 10,
        urgent_only: false,
    };
    let page = soon("a lane", store.due(query)).await.unwrap();
    assert_eq!(page.due.len(), 1);
    let found = soon("the check of a key", store.key("none".to_owned())).await;
    assert!(found.unwrap().is_none());
    let known = Idempotency {
        key: [1; 16],
        body: [1; 16],
    };
    let replayed = soon("a repeated request", store.replay(known)).await;
    assert!(replayed.unwrap().is_none());
    let message = soon("a message", store.message(id)).await.unwrap();
    assert!(message.is_some());
    let open = soon("an opt-out", store.open_attempts_of(page.due[0].person)).await;
    assert_eq!(open.unwrap(), 0);
    let events = soon("a stream", store.events(0, 10)).await.unwrap();
    assert_eq!(events.len(), 1);
    let report = Report {
        attempt: None,
        sid: Sid::parse_message("SM00000000000000000000000000000001").ok(),
        status: ProviderStatus::Delivered,
        word: None,
        code: None,
        names: Vec::new(),
        source: Source::Callback,
        stamp: Stamp {
            now: START,
            random: 1,
        },
    };
    soon("a callback", store.report(vec![report]))
        .await
        .unwrap();
    store.writable().unwrap();

    // The long ones wait for a connection, all of them, and go on when there is one.
    let filter = MessageFilter {
        limit: 10,
        ..MessageFilter::default()
    };
    let counters = CounterQuery {
        from_hour: 0,
        to_hour: i64::from(u32::MAX),
        group: CounterGroup::None,
    };
    let bulk = (2..12).map(|to| new_message(&random, to)).collect();
    let long = async {
        tokio::join!(
            store.messages(filter),
            store.counters(counters),
            store.gauges(START),
            store.accept(bulk)
        )
    };
    let (messages, counted, gauges, bulk) = soon("a long read", async {
        let (answers, ()) = tokio::join!(long, async {
            tokio::task::yield_now().await;
            drop(held);
        });
        answers
    })
    .await;
    assert!(!messages.unwrap().messages.is_empty());
    assert!(!counted.unwrap().is_empty());
    assert!(gauges.unwrap().queued > 0);
    assert_eq!(bulk.unwrap().len(), 10);
}

/// Even when short reads themselves are too many, the thread goes on with other things.
#[tokio::test]
async fn a_short_read_that_waits_holds_no_thread() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("recado.db"), OpenMode::Server).unwrap();
    let held = store.hold_short_reads().await.unwrap();
    let (found, ()) = soon("a short read", async {
        tokio::join!(store.key("none".to_owned()), async {
            tokio::task::yield_now().await;
            drop(held);
        })
    })
    .await;
    assert!(found.unwrap().is_none());
}

#[tokio::test]
async fn whoever_asks_whether_commits_go_through_causes_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recado.db");
    let store = open(&path, OpenMode::Server).unwrap();
    let size = || {
        std::fs::metadata(folder.path().join("recado.db-wal"))
            .unwrap()
            .len()
    };
    let before = size();
    for _ in 0..50 {
        store.writable().unwrap();
    }
    assert_eq!(size(), before);
}
