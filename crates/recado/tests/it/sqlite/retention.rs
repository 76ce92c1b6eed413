//! Removing what is old: what is still asked about stays, and a clock that was wrong for a while
//! neither removes nor keeps what it should not.

use std::time::Duration;

use delivery::progress::WatchKind;
use delivery::row::AttemptRow;
use delivery::state::State;
use delivery::time::Timestamp;
use recado::store::{
    ClockNote, Finding, InboundQuery, MessageId, NextWatch, RetentionCursor, RetentionQuery,
    RetentionResult,
};

use super::beside;
use crate::store::engine::{Sheet, Sqlite};
use crate::store::fixture::{DAY, HOUR, MINUTE, START, StoreFixture};
use crate::store::samples::{notice, refused};

/// The first step of a walk.
pub(super) async fn step(fixture: &StoreFixture, before: Timestamp) -> RetentionResult {
    let query = RetentionQuery {
        before,
        now: fixture.now,
        after: RetentionCursor::default(),
    };
    fixture.store().retain(query).await.unwrap()
}

/// A whole walk: how many messages and inbound messages it removed.
pub(super) async fn remove_old(fixture: &StoreFixture, before: Timestamp) -> (u64, u64) {
    let mut after = RetentionCursor::default();
    let mut removed = (0, 0);
    for _ in 0..1_000 {
        let query = RetentionQuery {
            before,
            now: fixture.now,
            after,
        };
        let step = fixture.store().retain(query).await.unwrap();
        removed = (removed.0 + step.messages, removed.1 + step.inbound);
        match step.next {
            Some(next) => after = next,
            None => return removed,
        }
    }
    panic!("the walk does not end");
}

async fn is_there(fixture: &StoreFixture, id: MessageId) -> bool {
    fixture.store().message(id).await.unwrap().is_some()
}

/// A message that rests.
async fn rests(fixture: &mut StoreFixture, person: u32) -> MessageId {
    let id = fixture.accept(notice(person, "a")).await;
    fixture.attempt(id, refused(21_617)).await;
    id
}

/// A store on each engine.
async fn both() -> [StoreFixture; 2] {
    [
        StoreFixture::new(Sqlite::fresh()).await,
        StoreFixture::new(Sheet::fresh()).await,
    ]
}

/// A look that fails is repeated without an end and writes no event: such a message looks at rest.
#[tokio::test]
async fn what_is_looked_for_in_vain_stays_and_holds_up_nothing() {
    for mut fixture in both().await {
        let lost = fixture.accept(notice(1, "a")).await;
        fixture.lose(lost).await;
        let old = rests(&mut fixture, 2).await;
        let again = |fixture: &StoreFixture| NextWatch {
            at: fixture.now.plus(HOUR),
            kind: WatchKind::Unknown,
            polls: 0,
        };
        fixture.pass(100 * DAY);
        let later = rests(&mut fixture, 3).await;
        let watch = fixture.watches().await.remove(0);
        let next = again(&fixture);
        fixture
            .settle(&watch, Finding::HorizonPassed(None), Some(next))
            .await;
        // The newest event of all stays too.
        rests(&mut fixture, 4).await;
        fixture.pass(60 * DAY);
        let watch = fixture.watches().await.remove(0);
        let next = again(&fixture);
        fixture.settle(&watch, Finding::Nothing, Some(next)).await;
        assert_eq!(fixture.state(lost).await, State::Unknown);
        let before = fixture.now.minus(40 * DAY);
        assert_eq!(remove_old(&fixture, before).await.0, 2);
        assert!(is_there(&fixture, lost).await, "it is still looked for");
        assert!(!is_there(&fixture, old).await);
        assert!(!is_there(&fixture, later).await);
        // The looks go on, and when they end, the message goes too.
        fixture.pass(2 * HOUR);
        let watch = fixture.watches().await.remove(0);
        assert!(watch.is_unknown);
        fixture.settle(&watch, Finding::Nothing, None).await;
        assert_eq!(fixture.store().next_watch().await.unwrap(), None);
        assert_eq!(remove_old(&fixture, before).await.0, 1);
        assert!(!is_there(&fixture, lost).await);
        let report = fixture.store().verify().await.unwrap();
        assert_eq!(report.differences, Vec::<String>::new());
    }
}

/// Whatever has removed its message: a watch that nobody reads would be due for ever.
#[tokio::test]
async fn a_watch_without_its_message_ends() {
    let engine = Sqlite::fresh();
    let path = engine.folder().join("recado.db");
    let fixture = StoreFixture::new(engine).await;
    let values =
        "INSERT INTO watch (account_id, at, attempt_id, kind, polls) VALUES (1, ?1, 77, ?2, 0)";
    for kind in [WatchKind::Unknown, WatchKind::Silent] {
        let values_of = [START.micros(), kind.number()];
        beside(&path).execute(values, values_of).unwrap();
    }
    let watches = fixture.watches().await;
    assert_eq!(watches.len(), 2);
    for watch in watches {
        assert_eq!((watch.attempt, watch.sid), (AttemptRow(77), None));
        assert!(!watch.is_unknown, "nothing is left to ask");
        fixture.settle(&watch, Finding::Nothing, None).await;
    }
    assert_eq!(fixture.store().next_watch().await.unwrap(), None);
}

async fn inbound(fixture: &StoreFixture) -> usize {
    let query = InboundQuery {
        from: None,
        before: None,
        limit: 1_000,
    };
    fixture.store().inbound_messages(query).await.unwrap().len()
}

#[tokio::test]
async fn what_a_clock_that_was_ahead_has_stored_holds_up_nothing() {
    for mut fixture in both().await {
        let mut gone = Vec::new();
        for n in 0..5 {
            gone.push(rests(&mut fixture, n).await);
        }
        fixture.write(1, "oi").await;
        fixture.now = START.plus(3_000 * DAY);
        let mut ahead = Vec::new();
        for n in 10..13 {
            ahead.push(rests(&mut fixture, n).await);
            fixture.write(n, "oi").await;
        }
        fixture.now = START.plus(HOUR);
        // More of both than one step looks at.
        for n in 0..230 {
            gone.push(rests(&mut fixture, 100 + n).await);
            fixture.write(2, "oi").await;
        }
        fixture.pass(30 * DAY);
        let young = rests(&mut fixture, 20).await;
        fixture.write(2, "oi").await;
        let before = fixture.now.minus(10 * DAY);
        assert_eq!(remove_old(&fixture, before).await, (235, 231));
        for id in gone {
            assert!(!is_there(&fixture, id).await);
        }
        for id in ahead {
            assert!(is_there(&fixture, id).await, "its time has not come");
        }
        assert!(is_there(&fixture, young).await);
        assert_eq!(inbound(&fixture).await, 4);
        let report = fixture.store().verify().await.unwrap();
        assert_eq!(report.differences, Vec::<String>::new());
    }
}

/// By a clock that may be wrong, nothing goes that nobody could bring back.
#[tokio::test]
async fn nothing_is_removed_and_no_question_is_closed_by_a_clock_in_doubt() {
    for mut fixture in both().await {
        let mut keyed = fixture.new_message(notice(1, "a"));
        keyed.idempotency = StoreFixture::idempotency(1, 0);
        keyed.message.expires_at = Some(fixture.now.plus(MINUTE));
        fixture.accept_all(vec![keyed]).await;
        fixture.write(2, "CANCELAR").await;
        fixture.pass(Duration::from_secs(400 * 24 * 3_600));
        let now = fixture.now;
        let done = fixture.store().maintain_in_doubt(now).await.unwrap();
        assert_eq!((done.opted_out, done.pruned), (0, 0));
        assert!(done.expired > 0, "deadlines are kept");
        assert_eq!(fixture.store().noted_clock().await.unwrap(), None);
        for right_since in [Some(START), None] {
            let note = ClockNote {
                at: now,
                right_since,
            };
            fixture.store().note_clock(note).await.unwrap();
            fixture.reopen().await;
            let noted = fixture.store().noted_clock().await.unwrap();
            assert_eq!(noted, Some(note));
        }
        let done = fixture.store().maintain(now).await.unwrap();
        assert_eq!((done.opted_out, done.pruned), (1, 1));
    }
}
