//! The ends of holds: one that was lifted is over, by whatever clock it is looked at; what waits for a
//! hold follows a clock that is set back together with it.

use delivery::hold::HoldScope;
use delivery::message::Message;
use delivery::outcome::ProviderStatus;
use delivery::state::State;
use delivery::time::Timestamp;
use recado::store::{ClockStep, ClockStepCursor, MessageCommand, OpenResult};

use super::fixture::*;
use super::holds::{LIMIT, with_template};
use super::samples::*;

const FAILED: ProviderStatus = ProviderStatus::Failed;

impl StoreFixture {
    /// Does something at a time that was read a moment ago, as a lane does that began its round then.
    async fn at<T>(&mut self, time: Timestamp, act: impl AsyncFnOnce(&mut Self) -> T) -> T {
        let now = std::mem::replace(&mut self.now, time);
        let done = act(self).await;
        self.now = now;
        done
    }

    /// Sets the clock back, and lets everything follow that must. Returns what was moved.
    async fn set_clock_back(&mut self, by: std::time::Duration) -> u64 {
        self.now = self.now.minus(by);
        let mut step = ClockStep {
            now: self.now,
            by,
            from: ClockStepCursor::default(),
        };
        let mut moved = 0;
        loop {
            let result = self.store().follow_clock(step).await.unwrap();
            moved += result.moved;
            match result.next {
                Some(next) => step.from = next,
                None => return moved,
            }
        }
    }
}

pub(crate) async fn a_round_that_began_before_a_hold_was_lifted_puts_nothing_off(
    fixture: &mut StoreFixture,
) {
    let first = fixture.accept(with_template(1, 1)).await;
    let second = fixture.accept(with_template(2, 1)).await;
    let sent = fixture.send(first).await;
    fixture.fail(sent, FAILED, 63_042).await;
    let began = fixture.now;
    fixture.pass(SECOND_LONG);
    fixture.lift_all().await;
    let opened = fixture
        .at(began, async |fixture| fixture.try_open(second).await)
        .await;
    assert!(matches!(opened, OpenResult::Open(_)));
}

pub(crate) async fn a_round_that_began_before_a_sender_was_free_opens_its_messages(
    fixture: &mut StoreFixture,
) {
    let ids = fixture.accept_to(1..=2).await;
    let sent = fixture.send(ids[0]).await;
    fixture.fail(sent, FAILED, 63_038).await;
    let began = fixture.now;
    fixture.pass(SECOND_LONG);
    fixture.lift_all().await;
    let page = fixture
        .at(began, async |fixture| fixture.due(FIRST).await)
        .await;
    assert_eq!((page.paused, page.ramp_since), (false, Some(fixture.now)));
    let opened = fixture
        .at(began, async |fixture| fixture.try_open(ids[1]).await)
        .await;
    assert!(matches!(opened, OpenResult::Open(_)));
}

pub(crate) async fn a_report_from_before_a_hold_was_lifted_does_not_wait_for_it(
    fixture: &mut StoreFixture,
) {
    let first = fixture.accept(with_template(1, 1)).await;
    let second = fixture.accept(with_template(2, 1)).await;
    let sent = [fixture.send(first).await, fixture.send(second).await];
    fixture.pass(SECOND_LONG);
    fixture.fail(sent[0], FAILED, 63_042).await;
    let received = fixture.now;
    fixture.pass(SECOND_LONG);
    fixture.lift_all().await;
    let late = sent[1];
    fixture
        .at(received, async |fixture| {
            fixture.fail(late, FAILED, 63_042).await;
        })
        .await;
    assert_eq!(fixture.due_at(second).await, Some(received), "at once");
    assert!(fixture.holds().await.is_empty());
    let again = fixture.send(second).await;
    fixture.fail(again, FAILED, 63_042).await;
    assert_eq!(fixture.state(second).await, State::Scheduled);
    assert_eq!(fixture.holds().await.len(), 1, "it was not corrected");
}

pub(crate) async fn a_hold_that_ended_stays_over_when_the_clock_is_set_back(
    fixture: &mut StoreFixture,
) {
    let ids = fixture.accept_to(1..=3).await;
    let sent = fixture.send(ids[0]).await;
    fixture.fail(sent, FAILED, 30_001).await;
    let until = fixture.due_at(ids[0]).await.unwrap();
    assert!(fixture.due(FIRST).await.paused);
    fixture.now = until.plus(10 * MINUTE);
    assert!(!fixture.due(FIRST).await.paused);
    fixture.set_clock_back(HOUR).await;
    assert!(fixture.holds().await.is_empty());
    let page = fixture.due(FIRST).await;
    assert!(!page.paused);
    assert_eq!(page.ramp_since, Some(until.minus(HOUR)));
    // What is met from now on is new: it is not of the time before that hold.
    let again = fixture.send(ids[1]).await;
    fixture.fail(again, FAILED, 30_001).await;
    assert_eq!(fixture.holds().await.len(), 1);
}

pub(crate) async fn a_hold_lasts_as_long_when_the_clock_is_set_back_and_can_be_lifted(
    fixture: &mut StoreFixture,
) {
    let ids = fixture.accept_to(1..=2).await;
    let template = fixture.accept(with_template(3, 1)).await;
    let waits = fixture.accept(with_template(4, 1)).await;
    let (sent, broken) = (fixture.send(ids[0]).await, fixture.send(template).await);
    fixture.fail(broken, FAILED, 63_042).await;
    assert!(fixture.is_held_back(waits).await);
    fixture.fail(sent, FAILED, 63_038).await;
    fixture.pass(2 * HOUR);
    let until = fixture.due_at(ids[0]).await.unwrap();
    assert_eq!(until, fixture.now.plus(4 * HOUR));
    fixture.set_clock_back(HOUR).await;
    let holds = fixture.holds().await;
    let account = holds
        .iter()
        .find(|hold| hold.scope == HoldScope::Account)
        .unwrap();
    assert_eq!(account.until, Some(fixture.now.plus(4 * HOUR)));
    assert_eq!(account.since, fixture.now.minus(2 * HOUR));
    assert_eq!(fixture.due_at(ids[0]).await, account.until);
    assert_eq!(holds.len(), 2, "the other lasts until it is lifted");
    fixture.lift_all().await;
    assert_eq!(fixture.due_at(ids[0]).await, Some(fixture.now));
    assert_eq!(fixture.due_at(template).await, Some(fixture.now));
    fixture.set_clock_back(HOUR).await;
    assert!(!fixture.due(FIRST).await.paused, "it stays lifted");
    for id in [ids[0], ids[1], template, waits] {
        fixture.send(id).await;
    }
}

pub(crate) async fn what_is_held_is_put_off_together(fixture: &mut StoreFixture) {
    let first = fixture.accept(with_template(1, 1)).await;
    let held = [
        fixture.accept(with_template(2, 1)).await,
        fixture.accept(with_template(3, 1)).await,
        fixture.accept(with_template(4, 1)).await,
    ];
    let free = fixture.accept(with_template(5, 2)).await;
    let canceled = fixture.accept(with_template(6, 1)).await;
    let sent = fixture.send(first).await;
    fixture.fail(sent, FAILED, 63_042).await;
    let due = fixture.due(FIRST).await.due;
    let due: Vec<_> = due.iter().map(|due| due.message).collect();
    fixture.command(canceled, MessageCommand::Cancel).await;
    let store = fixture.store();
    let put_off = store.put_off_held(due.clone(), fixture.now).await.unwrap();
    assert_eq!(put_off, held.map(|id| fixture.key(id)));
    assert_eq!(fixture.due_ids().await, [free]);
    for id in held {
        assert_eq!(fixture.state(id).await, State::Accepted);
    }
    let again = fixture.store().put_off_held(due, fixture.now);
    assert!(again.await.unwrap().is_empty());
    fixture.lift_all().await;
    for id in held {
        fixture.send(id).await;
    }
}

/// With what is known of them before: two people are evidence about the sender, one is not.
pub(crate) async fn two_names_of_one_person_are_no_evidence(fixture: &mut StoreFixture) {
    let user_id = "BR.1234567890123456";
    let by_phone = fixture.accept(notice(1, "a")).await;
    let by_id = Message {
        to: address(user_id),
        ..notice(1, "b")
    };
    let by_id = fixture.accept(by_id).await;
    let other = fixture.accept(notice(2, "a")).await;
    let sent = fixture.send(by_id).await;
    fixture.fail(sent, FAILED, LIMIT).await;
    let mut inbound = fixture.inbound_from(&number(1), FIRST, "oi");
    inbound.also = vec![address(user_id)];
    fixture.receive(inbound).await;
    fixture.lift_all().await;
    let sent = fixture.send(by_phone).await;
    fixture.fail(sent, FAILED, LIMIT).await;
    let scopes = |holds: Vec<recado::store::HoldView>| {
        holds.iter().map(|hold| hold.scope).collect::<Vec<_>>()
    };
    assert_eq!(scopes(fixture.holds().await), [HoldScope::Recipient]);
    assert!(!fixture.due(FIRST).await.paused);
    let sent = fixture.send(other).await;
    fixture.fail(sent, FAILED, LIMIT).await;
    assert_eq!(scopes(fixture.holds().await)[0], HoldScope::Sender);
}
