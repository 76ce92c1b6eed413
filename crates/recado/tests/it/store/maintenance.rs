//! What is done by time alone: deadlines, questions without an answer, old keys.

use delivery::message::Message;
use delivery::outcome::{Outcome, UnknownCause};
use delivery::state::State;
use recado::store::{ClockStep, ClockStepCursor, MaintenanceResult, NewMessage};

use super::fixture::*;
use super::samples::*;

pub(crate) async fn deadlines_pass_without_anybody_looking(fixture: &mut StoreFixture) {
    let expires_at = Some(fixture.now.plus(HOUR));
    let with_deadline = |n| Message {
        expires_at,
        ..notice(n, "a")
    };
    let waiting = fixture.accept(with_deadline(1)).await;
    let scheduled = fixture
        .accept(Message {
            send_at: Some(fixture.now.plus(HOUR)),
            ..with_deadline(2)
        })
        .await;
    let retry = fixture.accept(with_deadline(3)).await;
    fixture.attempt(retry, no_connection()).await;
    let sending = fixture.accept(with_deadline(4)).await;
    let open = fixture.open(sending).await.attempt;
    let sent = fixture.accept(with_deadline(5)).await;
    fixture.send(sent).await;
    let without = fixture.accept(notice(6, "a")).await;
    fixture.pass(HOUR - SECOND_LONG);
    let idle = fixture.store().maintain(fixture.now).await.unwrap();
    assert_eq!(idle, MaintenanceResult::default());
    fixture.pass(SECOND_LONG);
    let done = fixture.store().maintain(fixture.now).await.unwrap();
    assert_eq!((done.expired, done.more), (3, false));
    for id in [waiting, scheduled, retry] {
        assert_eq!(fixture.state(id).await, State::Expired);
    }
    assert_eq!(fixture.state(sending).await, State::Sending);
    assert_eq!(fixture.state(sent).await, State::Queued);
    assert_eq!(fixture.due_ids().await, [without]);
    // An attempt that comes back after the deadline is not followed by another one.
    fixture.close(open, no_connection()).await;
    assert_eq!(fixture.state(sending).await, State::Expired);
    assert_eq!(
        fixture.store().maintain(fixture.now).await.unwrap(),
        MaintenanceResult::default()
    );
}

pub(crate) async fn times_follow_a_clock_that_is_set_back(fixture: &mut StoreFixture) {
    let chosen = fixture.now.plus(HOUR);
    let scheduled = Message {
        send_at: Some(chosen),
        ..notice(9_999, "a")
    };
    let scheduled = fixture.accept(scheduled).await;
    let lost = fixture.accept(notice(9_998, "a")).await;
    fixture
        .attempt(lost, Outcome::Unknown(UnknownCause::Timeout))
        .await;
    let mut batch = Vec::new();
    for n in 0..1_100 {
        batch.push(fixture.new_message(notice(n, "a")));
    }
    fixture.accept_all(batch).await;
    assert_eq!(
        fixture.store().newest_event_at().await.unwrap(),
        Some(fixture.now)
    );
    fixture.now = fixture.now.minus(2 * HOUR);
    assert!(fixture.due(FIRST).await.due.is_empty());
    let mut step = ClockStep {
        now: fixture.now,
        by: 2 * HOUR,
        from: ClockStepCursor::default(),
    };
    let mut moved = Vec::new();
    loop {
        let result = fixture.store().follow_clock(step).await.unwrap();
        moved.push(result.moved);
        let Some(next) = result.next else { break };
        step.from = next;
        assert!(moved.len() < 10, "it ends");
    }
    assert!(moved.len() > 1, "no commit takes long: {moved:?}");
    assert_eq!(moved.iter().sum::<u64>(), 1_101, "and the watch");
    let page = fixture.due(FIRST).await;
    assert_eq!((page.due.len(), page.next_due_at), (100, Some(chosen)));
    let again = fixture.store().follow_clock(step).await.unwrap();
    assert_eq!((again.moved, again.next), (0, None));
    fixture.pass(SECOND_LONG * 10);
    assert_eq!(fixture.watches().await.len(), 1);
    fixture.now = chosen.minus(SECOND_LONG);
    assert!(!fixture.due_ids().await.contains(&scheduled));
}

pub(crate) async fn long_maintenance_is_done_in_turns(fixture: &mut StoreFixture) {
    let expires_at = Some(fixture.now.plus(HOUR));
    let mut batch = Vec::new();
    for n in 0..1_100 {
        let new = fixture.new_message(Message {
            expires_at,
            ..notice(n, "a")
        });
        batch.push(new);
    }
    fixture.accept_all(batch).await;
    fixture.pass(HOUR);
    let mut expired = Vec::new();
    loop {
        let done = fixture.store().maintain(fixture.now).await.unwrap();
        expired.push(done.expired);
        if !done.more {
            break;
        }
        assert!(expired.len() < 10, "it ends");
    }
    assert_eq!(expired.iter().sum::<u64>(), 1_100);
    assert!(expired.len() > 1, "no commit takes long: {expired:?}");
}

pub(crate) async fn old_keys_go_and_their_messages_stay(fixture: &mut StoreFixture) {
    let mut batch = Vec::new();
    for n in 0..3_u8 {
        let new = fixture.new_message(notice(n.into(), "a"));
        batch.push(NewMessage {
            idempotency: StoreFixture::idempotency(n, 0),
            ..new
        });
    }
    let id = batch[0].id;
    fixture.accept_all(batch).await;
    fixture.pass(7 * DAY);
    let done = fixture.store().maintain(fixture.now).await.unwrap();
    assert_eq!((done.pruned, done.more), (3, false));
    assert_eq!(fixture.state(id).await, State::Accepted);
}
