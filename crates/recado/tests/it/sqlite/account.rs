//! Each row says whose it is, and nobody sees another account's.

use delivery::outcome::ProviderStatus;
use delivery::progress::WatchKind;
use delivery::row::SenderRow;
use delivery::time::{ClockDifference, Timestamp};
use recado::store::{
    AcceptResult, ConsentCheckQuery, ConsentEntryKind, InboundCursor, InboundQuery, KeyScope,
    ListLag, MessageFilter, NewApiKey, ReportResult, WatchQuery,
};
use rusqlite::Connection;

use super::beside;
use crate::store::engine::Sqlite;
use crate::store::fixture::{DAY, FIRST, HOUR, StoreFixture};
use crate::store::samples::{address, notice, person};

/// What an account is made of, and what is found by its cohort.
const WITHOUT_ACCOUNT: [&str; 2] = ["account", "counter"];

fn names(db: &Connection, sql: &str) -> Vec<String> {
    let mut statement = db.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

fn tables(db: &Connection) -> Vec<String> {
    let mut tables = names(
        db,
        "SELECT name FROM sqlite_schema WHERE type = 'table' \
         AND name NOT GLOB 'sqlite_*' AND name NOT GLOB 'refinery_*'",
    );
    tables.retain(|table| !WITHOUT_ACCOUNT.contains(&table.as_str()));
    assert!(tables.len() > 15, "{tables:?}");
    tables
}

#[tokio::test]
async fn every_table_says_whose_its_rows_are() {
    let engine = Sqlite::fresh();
    let path = engine.folder().join("recado.db");
    let _store = StoreFixture::new(engine).await;
    let db = beside(&path);
    for table in tables(&db) {
        let columns = names(
            &db,
            &format!("SELECT name FROM pragma_table_info('{table}') WHERE \"notnull\""),
        );
        assert!(columns.contains(&"account_id".to_owned()), "{table}");
        let indexes = names(
            &db,
            &format!("SELECT name FROM pragma_index_list('{table}')"),
        );
        for index in indexes {
            let columns = names(
                &db,
                &format!("SELECT name FROM pragma_index_info('{index}') ORDER BY seqno"),
            );
            assert_eq!(columns[0], "account_id", "{index} of {table}");
        }
    }
}

/// Fills every table, gives all rows to another account, and looks for them.
#[tokio::test]
async fn rows_of_another_account_are_not_seen() {
    let engine = Sqlite::fresh();
    let path = engine.folder().join("recado.db");
    let mut store = StoreFixture::new(engine).await;
    let mut first = store.new_message(notice(1, "a"));
    first.idempotency = StoreFixture::idempotency(1, 1);
    let id = first.id;
    let again = |store: &mut StoreFixture| {
        let mut again = store.new_message(notice(1, "a"));
        again.idempotency = StoreFixture::idempotency(1, 1);
        again
    };
    store.accept_all(vec![first]).await;
    let lost = store.accept(notice(2, "b")).await;
    store.lose(lost).await;
    let sent = store.accept(notice(3, "c")).await;
    let sent = store.send(sent).await;
    let inbound = store.inbound_from("+5585988880004", FIRST, "SAIR");
    store.receive(inbound).await;
    let key = NewApiKey {
        id: "key".into(),
        name: "backend".into(),
        scope: KeyScope::Read,
        hash: [1; 32],
        now: store.now,
    };
    store.store().create_key(key).await.unwrap();
    let retried = again(&mut store);
    let result = store.accept_all(vec![retried]).await.remove(0);
    assert!(
        matches!(result, AcceptResult::Replayed { .. }),
        "{result:?}"
    );

    let db = beside(&path);
    db.execute_batch(
        "INSERT INTO account (id, name, wrapped_account_key, wrapped_index_key) \
         VALUES (2, 'other', x'00', x'00')",
    )
    .unwrap();
    db.pragma_update(None, "foreign_keys", false).unwrap();
    for table in tables(&db) {
        db.execute(&format!("UPDATE {table} SET account_id = 2"), [])
            .unwrap();
    }
    let seen = store.store();
    assert!(seen.message(id).await.unwrap().is_none());
    let all = MessageFilter {
        limit: 10,
        ..MessageFilter::default()
    };
    assert!(seen.messages(all).await.unwrap().messages.is_empty());
    assert!(seen.senders().await.unwrap().is_empty());
    assert!(seen.events(0, 10).await.unwrap().is_empty());
    assert!(seen.keys().await.unwrap().is_empty());
    assert!(seen.key("key".into()).await.unwrap().is_none());
    assert!(seen.consent(person(4)).await.unwrap().is_none());
    let query = InboundQuery {
        limit: 10,
        ..InboundQuery::default()
    };
    assert!(seen.inbound_messages(query).await.unwrap().is_empty());
    assert!(seen.next_watch().await.unwrap().is_none());
    let query = WatchQuery {
        now: store.now.plus(DAY),
        kind: WatchKind::Silent,
        limit: 10,
    };
    assert!(seen.due_watches(query).await.unwrap().is_empty());
    assert!(seen.holders(vec![sent.sid]).await.unwrap().is_empty());
    let gauges = seen.gauges(store.now).await.unwrap();
    assert_eq!((gauges.queued, gauges.unknown_watched), (0, 0));
    let mut report = store.report_of(sent.attempt, Some(sent.sid), ProviderStatus::Delivered);
    report.attempt = None;
    assert_eq!(store.tell(report).await, ReportResult::Parked);

    // The same request is a new one here, and its person is another.
    assert_eq!(store.reopen().await, 0);
    let new = again(&mut store);
    let result = store.accept_all(vec![new]).await.remove(0);
    assert!(
        matches!(result, AcceptResult::Accepted { .. }),
        "{result:?}"
    );
    store.pass(HOUR);
    assert_eq!(store.due(FIRST).await.due.len(), 1);
    let people: i64 = db
        .query_row(
            "SELECT count(*) FROM identity WHERE account_id = 1",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(people, 1);
}

/// What is seen of what people wrote, of their names, and of what holds and measures.
#[derive(Debug, PartialEq)]
struct Seen {
    cursor: bool,
    checks: usize,
    next_check: bool,
    ties: usize,
    holds: usize,
    counted: u64,
    lag: bool,
}

async fn seen(store: &StoreFixture, sender: SenderRow, known: &str) -> Seen {
    let seen = store.store();
    let cursor = seen.inbound_cursor(sender, FIRST.to_owned()).await;
    let due = |now| ConsentCheckQuery { now, limit: 10 };
    let checks = seen.consent_checks(due(store.now)).await.unwrap();
    // Nothing is due yet: when the next one is.
    let early = due(Timestamp::from_seconds(0));
    let next = seen.consent_checks(early).await.unwrap().next_at;
    let history = seen.consent_history(address(known)).await.unwrap();
    let ties = history.unwrap().entries.into_iter();
    let ties = ties.filter(|entry| matches!(entry.what, ConsentEntryKind::IdentityTied(_)));
    let counts = seen.hold_counts(store.now).await.unwrap();
    let lag = seen.list_lag(Timestamp::from_seconds(0)).await.unwrap().lag;
    Seen {
        cursor: cursor.unwrap().is_some(),
        checks: checks.due.len(),
        next_check: next.is_some(),
        ties: ties.count(),
        holds: store.holds().await.len(),
        counted: counts.iter().map(|(_, n)| n).sum(),
        lag: lag.is_some(),
    }
}

/// One table after the other, while all the others stay.
#[tokio::test]
async fn each_of_these_tables_is_read_by_account() {
    let engine = Sqlite::fresh();
    let path = engine.folder().join("recado.db");
    let mut store = StoreFixture::new(engine).await;
    let sender = store.sender(FIRST).await;
    let known = "+5585988880004";
    for (body, also) in [("SAIR", None), ("VOLTAR", Some("BR.1234567890123456"))] {
        let mut inbound = store.inbound_from(known, FIRST, body);
        inbound.written_at = None;
        inbound.also = also.into_iter().map(address).collect();
        store.receive(inbound).await;
    }
    let cursor = InboundCursor {
        sender,
        recipient: FIRST.to_owned(),
        listed_until: Some(store.now),
        reading: None,
    };
    store.store().set_inbound_cursor(cursor).await.unwrap();
    let held = store.accept(notice(1, "a")).await;
    let held = store.send(held).await;
    store.fail(held, ProviderStatus::Failed, 63_042).await;
    let measured = ListLag {
        at: store.now,
        lag: Some(HOUR),
        clock: ClockDifference::NONE,
    };
    store.store().note_list_lag(measured).await.unwrap();
    let mut expected = Seen {
        cursor: true,
        checks: 1,
        next_check: true,
        ties: 1,
        holds: 1,
        counted: 1,
        lag: true,
    };
    assert_eq!(seen(&store, sender, known).await, expected);
    let db = beside(&path);
    for table in [
        "inbound_cursor",
        "consent_check",
        "identity_tie",
        "hold",
        "list_lag",
    ] {
        db.execute(&format!("UPDATE {table} SET account_id = 2"), [])
            .unwrap();
        match table {
            "inbound_cursor" => expected.cursor = false,
            "consent_check" => (expected.checks, expected.next_check) = (0, false),
            "identity_tie" => expected.ties = 0,
            "hold" => (expected.holds, expected.counted) = (0, 0),
            _ => expected.lag = false,
        }
        assert_eq!(seen(&store, sender, known).await, expected, "{table}");
    }
}
