//! Holds: who waits because of what the provider said about somebody's message, and who does not.

use delivery::hold::HoldScope;
use delivery::message::{Content, Kind, Message, SenderName};
use delivery::outcome::ProviderStatus;
use delivery::row::HoldRow;
use delivery::state::State;
use delivery::time::Timestamp;
use recado::store::{
    HoldFilter, HoldView, MessageCommand, MessageId, OpenRequest, OpenResult, Stamp,
};

use super::fixture::*;
use super::samples::*;

/// A speed or user limit, reported about a message that was accepted.
pub(crate) const LIMIT: u32 = 63_018;
const FAILED: ProviderStatus = ProviderStatus::Failed;

impl StoreFixture {
    pub(crate) async fn holds(&self) -> Vec<HoldView> {
        let filter = HoldFilter {
            now: self.now,
            scope: None,
            before: None,
            limit: 100,
        };
        self.store().holds(filter).await.unwrap().holds
    }

    async fn lift(&self, hold: HoldRow) -> bool {
        self.store().lift_hold(hold, self.now).await.unwrap()
    }

    pub(crate) async fn due_at(&self, id: MessageId) -> Option<Timestamp> {
        self.view(id).await.summary.due_at
    }

    pub(crate) async fn accept_to(
        &mut self,
        people: std::ops::RangeInclusive<u32>,
    ) -> Vec<MessageId> {
        let mut ids = Vec::new();
        for n in people {
            ids.push(self.accept(notice(n, "a")).await);
        }
        ids
    }

    /// Lifts whatever is held.
    pub(crate) async fn lift_all(&self) {
        for hold in self.holds().await {
            assert!(self.lift(hold.row).await);
        }
    }
}

pub(crate) fn with_template(to: u32, n: u64) -> Message {
    Message {
        content: Content::Template {
            content_sid: template_sid(n),
            variables: vec![("1".into(), "a".into())],
        },
        ..notice(to, "a")
    }
}

fn of_kind(to: u32, kind: Kind, body: &str) -> Message {
    Message {
        kind,
        ..notice(to, body)
    }
}

pub(crate) async fn a_limit_of_the_sender_holds_it_and_costs_nobody_an_attempt(
    fixture: &mut StoreFixture,
) {
    let ids = fixture.accept_to(1..=5).await;
    let mut sent = Vec::new();
    for id in &ids[..4] {
        sent.push(fixture.send(*id).await);
    }
    fixture.pass(SECOND_LONG);
    for sent in &sent {
        fixture.fail(*sent, FAILED, LIMIT).await;
    }
    let until = fixture.now.plus(MINUTE);
    let page = fixture.due(FIRST).await;
    assert!(page.paused);
    assert!(!fixture.due(SECOND).await.paused);
    assert!(matches!(fixture.try_open(ids[4]).await, OpenResult::Busy));
    for id in &ids[..4] {
        assert_eq!(fixture.due_at(*id).await, Some(until));
        assert_eq!(fixture.state(*id).await, State::Scheduled);
    }
    let scopes: Vec<HoldScope> = fixture
        .holds()
        .await
        .iter()
        .map(|hold| hold.scope)
        .collect();
    assert_eq!(scopes, [HoldScope::Sender, HoldScope::Recipient]);

    // The limit lasts for a week, and after each hold one message tells.
    fixture.now = until;
    let page = fixture.due(FIRST).await;
    assert!(!page.paused);
    assert_eq!(page.ramp_since, Some(until));
    let mut waits = Vec::new();
    let mut attempts = 0;
    let week = fixture.now.plus(7 * DAY);
    while fixture.now < week {
        let due = fixture.due(FIRST).await;
        if due.paused || due.due.is_empty() {
            let ends = fixture
                .holds()
                .await
                .iter()
                .filter_map(|hold| hold.until)
                .min();
            fixture.now = ends.expect("something is held");
            continue;
        }
        let id = fixture.due_ids().await[0];
        let one = fixture.send(id).await;
        fixture.fail(one, FAILED, LIMIT).await;
        attempts += 1;
        waits.extend(fixture.due_at(id).await.map(|due| due.since(fixture.now)));
        assert_eq!(fixture.state(id).await, State::Scheduled);
    }
    assert!(attempts < 80, "{attempts} attempts in a week");
    assert_eq!(waits.iter().max(), Some(&(6 * HOUR)));
    for id in &ids {
        assert!(!fixture.state(*id).await.is_resting());
    }
}

/// Each pair of sender and person has a limit too, and meets it with the same code.
pub(crate) async fn a_limit_that_one_person_meets_holds_nobody_else(fixture: &mut StoreFixture) {
    let ids = fixture.accept_to(1..=2).await;
    let second = fixture.accept(notice(1, "b")).await;
    for _ in 0..12 {
        let sent = fixture.send(ids[0]).await;
        fixture.fail(sent, FAILED, LIMIT).await;
        assert!(!fixture.due(FIRST).await.paused);
        assert!(fixture.is_held_back(second).await, "the person is held");
        let due = fixture.due_at(ids[0]).await;
        assert_eq!(fixture.due_at(second).await, due);
        assert_eq!(fixture.view(second).await.attempts.len(), 0);
        fixture.now = due.unwrap();
    }
    fixture.send(ids[0]).await;
    fixture.send(ids[1]).await;
    fixture.send(second).await;
}

pub(crate) async fn what_left_before_a_hold_does_not_prolong_it(fixture: &mut StoreFixture) {
    let ids = fixture.accept_to(1..=3).await;
    let mut sent = Vec::new();
    for id in &ids {
        sent.push(fixture.send(*id).await);
    }
    fixture.pass(SECOND_LONG);
    fixture.fail(sent[0], FAILED, 30_001).await;
    let until = fixture.due_at(ids[0]).await.unwrap();
    fixture.pass(MINUTE / 2);
    fixture.fail(sent[1], FAILED, 30_001).await;
    assert_eq!(fixture.due_at(ids[1]).await, Some(until));
    fixture.now = until.plus(MINUTE);
    fixture.fail(sent[2], FAILED, 30_001).await;
    assert_eq!(fixture.due_at(ids[2]).await, Some(fixture.now), "at once");
    assert!(fixture.holds().await.is_empty());
    let again = fixture.send(ids[2]).await;
    fixture.fail(again, FAILED, 30_001).await;
    let holds = fixture.holds().await;
    assert_eq!((holds.len(), holds[0].step), (1, 1));
    assert_eq!(holds[0].until, Some(fixture.now.plus(2 * MINUTE)));
}

pub(crate) async fn a_template_is_held_until_it_is_lifted_and_the_same_message_holds_it_once(
    fixture: &mut StoreFixture,
) {
    let first = fixture.accept(with_template(1, 1)).await;
    let second = fixture.accept(with_template(2, 1)).await;
    let other = fixture.accept(with_template(3, 2)).await;
    let sent = fixture.send(first).await;
    fixture.fail(sent, FAILED, 63_042).await;
    assert_eq!(fixture.state(first).await, State::Scheduled);
    assert!(fixture.is_held_back(second).await);
    assert_eq!(fixture.state(second).await, State::Accepted);
    assert!(fixture.view(second).await.attempts.is_empty());
    fixture.send(other).await;
    let holds = fixture.holds().await;
    assert_eq!(holds.len(), 1);
    let template = template_sid(1).to_string();
    assert_eq!(holds[0].template, Some(template));
    assert_eq!((holds[0].until, holds[0].message), (None, Some(first)));
    assert_eq!(holds[0].code, Some(63_042));
    fixture.pass(300 * DAY);
    assert_eq!(fixture.due_ids().await, [], "nobody has lifted it");

    assert!(fixture.lift(holds[0].row).await);
    assert!(!fixture.lift(holds[0].row).await, "once is enough");
    assert_eq!(fixture.due_ids().await, [first, second]);
    let again = fixture.send(first).await;
    fixture.fail(again, FAILED, 63_042).await;
    let summary = fixture.view(first).await.summary;
    assert_eq!(summary.state, State::Failed);
    assert_eq!(summary.error.unwrap().code, Some(63_042));
    assert!(fixture.holds().await.is_empty());
    let other_message = fixture.send(second).await;
    fixture.fail(other_message, FAILED, 63_042).await;
    assert_eq!(fixture.holds().await.len(), 1);
    fixture.command(second, MessageCommand::Cancel).await;
    assert_eq!(fixture.waiting().await, []);
}

pub(crate) async fn a_paused_template_is_held_for_hours(fixture: &mut StoreFixture) {
    let first = fixture.accept(with_template(1, 1)).await;
    let second = fixture.accept(with_template(2, 1)).await;
    for hours in [3, 6, 6] {
        let sent = fixture.send(first).await;
        fixture.fail(sent, FAILED, 63_041).await;
        let until = fixture.now.plus(hours * HOUR);
        assert_eq!(fixture.due_at(first).await, Some(until));
        assert!(fixture.is_held_back(second).await);
        assert_eq!(fixture.due_at(second).await, Some(until));
        fixture.now = until;
    }
    fixture.send(second).await;
    fixture.send(first).await;
}

pub(crate) async fn a_person_is_held_for_the_kind_that_was_held_back(fixture: &mut StoreFixture) {
    let promotion = of_kind(1, Kind::Marketing, "a");
    let first = fixture.accept(promotion).await;
    let sent = fixture.send(first).await;
    fixture
        .fail(sent, ProviderStatus::Undelivered, 63_049)
        .await;
    let second = of_kind(1, Kind::Marketing, "b");
    let second = fixture.accept(second).await;
    let code = of_kind(1, Kind::Authentication, "c");
    let code = fixture.accept(code).await;
    let stranger = of_kind(2, Kind::Marketing, "d");
    let stranger = fixture.accept(stranger).await;
    assert!(fixture.is_held_back(second).await);
    let until = Some(fixture.now.plus(DAY));
    assert_eq!(fixture.due_at(second).await, until);
    assert_eq!(fixture.due_at(first).await, until);
    fixture.send(code).await;
    fixture.send(stranger).await;
    let holds = fixture.holds().await;
    assert_eq!(holds.len(), 1);
    assert_eq!(holds[0].scope, HoldScope::Recipient);
    assert_eq!(holds[0].kind, Some(Kind::Marketing));
    assert_eq!(holds[0].recipient, Some(person(1)));

    // A second refusal of the same message is the last, as its code says.
    fixture.pass(DAY);
    let again = fixture.send(first).await;
    fixture.fail(again, FAILED, 63_049).await;
    assert_eq!(fixture.state(first).await, State::Failed);
    fixture.send(second).await;
}

pub(crate) async fn the_account_is_held_with_all_its_senders(fixture: &mut StoreFixture) {
    let ids = fixture.accept_to(1..=1).await;
    let other_sender = Message {
        sender: Some(SenderName::new(SECOND)),
        ..notice(2, "a")
    };
    let other_sender = fixture.accept(other_sender).await;
    let sent = fixture.send(ids[0]).await;
    fixture.fail(sent, FAILED, 63_038).await;
    for name in [FIRST, SECOND] {
        assert!(fixture.due(name).await.paused, "{name}");
        let senders = fixture.store().senders().await.unwrap();
        assert!(senders.iter().all(|sender| sender.paused_at.is_none()));
    }
    assert!(matches!(
        fixture.try_open(other_sender).await,
        OpenResult::Busy
    ));
    let holds = fixture.holds().await;
    assert_eq!(holds[0].until, Some(fixture.now.plus(6 * HOUR)));
    assert!(fixture.lift(holds[0].row).await);
    let page = fixture.due(SECOND).await;
    assert_eq!((page.paused, page.ramp_since), (false, Some(fixture.now)));
    fixture.send(other_sender).await;
    fixture.send(ids[0]).await;
}

pub(crate) async fn a_hold_outlives_the_server_and_the_deadline_does_not_wait_for_it(
    fixture: &mut StoreFixture,
) {
    let ids = fixture.accept_to(1..=2).await;
    let urgent = fixture
        .accept(Message {
            expires_at: Some(fixture.now.plus(HOUR)),
            ..notice(3, "a")
        })
        .await;
    let sent = fixture.send(ids[0]).await;
    let also = fixture.send(urgent).await;
    fixture.fail(sent, FAILED, 63_038).await;
    fixture.fail(also, FAILED, 63_038).await;
    assert_eq!(fixture.state(urgent).await, State::Scheduled);
    fixture.reopen().await;
    assert!(fixture.due(FIRST).await.paused);
    fixture.pass(HOUR);
    fixture.store().maintain(fixture.now).await.unwrap();
    assert_eq!(fixture.state(urgent).await, State::Expired);
    assert_eq!(fixture.state(ids[0]).await, State::Scheduled);
    fixture.pass(5 * HOUR);
    fixture.send(ids[0]).await;
    fixture.send(ids[1]).await;
    fixture.pass(8 * DAY);
    let pruned = fixture.store().maintain(fixture.now).await.unwrap().pruned;
    assert_eq!(pruned, 1, "what ended long ago is forgotten");
}

pub(crate) async fn lifting_brings_back_what_waits_in_steps(fixture: &mut StoreFixture) {
    let mut batch = Vec::new();
    for n in 1..=1_100 {
        batch.push(fixture.new_message(with_template(n, 1)));
    }
    fixture.store().accept(batch).await.unwrap();
    let keys = fixture.waiting().await;
    let open = |rows: &[delivery::row::MessageRow], now| {
        let request = |message: &delivery::row::MessageRow| OpenRequest {
            message: *message,
            stamp: Stamp { now, random: 1 },
        };
        rows.iter().map(request).collect::<Vec<_>>()
    };
    let first = open(&keys[..1], fixture.now);
    let mut opened = fixture.store().open_attempts(first).await.unwrap();
    let OpenResult::Open(attempt) = opened.remove(0) else {
        panic!("the first one opens");
    };
    fixture.close(attempt.attempt, refused(63_042)).await;
    let rest = open(&keys[1..], fixture.now);
    for result in fixture.store().open_attempts(rest).await.unwrap() {
        assert!(matches!(result, OpenResult::Held));
    }
    assert!(fixture.due(FIRST).await.due.is_empty());
    fixture.pass(DAY);
    let hold = fixture.holds().await[0].row;
    assert!(fixture.lift(hold).await);
    let due = async |fixture: &StoreFixture| {
        let query = recado::store::DueQuery {
            sender: fixture.sender(FIRST).await,
            now: fixture.now,
            limit: 2_000,
            urgent_only: false,
        };
        fixture.store().due(query).await.unwrap().due.len()
    };
    assert_eq!(due(fixture).await, 500);
    // The server ends in the middle; the rest comes back all the same.
    fixture.reopen().await;
    let mut steps = 0;
    while fixture.store().maintain(fixture.now).await.unwrap().more {
        steps += 1;
        assert!(steps < 10, "it ends");
    }
    assert_eq!(due(fixture).await, 1_100);
    assert_eq!(steps, 1);
}

pub(crate) async fn holds_are_listed_newest_first_while_they_last(fixture: &mut StoreFixture) {
    for (n, code) in [(1, 30_450), (2, 63_049), (3, 63_042), (4, 30_001)] {
        let id = fixture.accept(with_template(n, u64::from(n))).await;
        let sent = fixture.send(id).await;
        fixture.fail(sent, FAILED, code).await;
    }
    let filter = |scope, before, limit| HoldFilter {
        now: fixture.now,
        scope,
        before,
        limit,
    };
    let page = fixture.store().holds(filter(None, None, 3)).await.unwrap();
    let codes: Vec<_> = page.holds.iter().filter_map(|hold| hold.code).collect();
    assert_eq!(codes, [30_001, 63_042, 63_049]);
    let rest = fixture
        .store()
        .holds(filter(None, page.next, 3))
        .await
        .unwrap();
    assert_eq!((rest.holds.len(), rest.next), (1, None));
    assert_eq!(rest.holds[0].code, Some(30_450));
    let people = filter(Some(HoldScope::Recipient), None, 9);
    assert_eq!(fixture.store().holds(people).await.unwrap().holds.len(), 2);
    let sender = filter(Some(HoldScope::Sender), None, 9);
    let sender = fixture.store().holds(sender).await.unwrap().holds;
    assert_eq!(sender[0].sender.as_deref(), Some(FIRST));
    let counts = fixture.store().hold_counts(fixture.now).await.unwrap();
    let expected = [
        (HoldScope::Recipient, 2),
        (HoldScope::Template, 1),
        (HoldScope::Sender, 1),
        (HoldScope::Account, 0),
    ];
    assert_eq!(counts, expected);
    fixture.pass(HOUR);
    let left = fixture.store().hold_counts(fixture.now).await.unwrap();
    assert_eq!(left[0], (HoldScope::Recipient, 1), "half an hour is over");
    assert_eq!(left[2], (HoldScope::Sender, 0));
}

pub(crate) async fn a_hold_follows_a_person_who_turns_out_to_be_another(
    fixture: &mut StoreFixture,
) {
    let user_id = "BR.1234567890123456";
    let by_phone = fixture.accept(notice(1, "a")).await;
    let by_id = Message {
        to: address(user_id),
        ..notice(1, "b")
    };
    let by_id = fixture.accept(by_id).await;
    let sent = fixture.send(by_id).await;
    fixture.fail(sent, FAILED, 30_450).await;
    let until = fixture.due_at(by_id).await;
    let mut inbound = fixture.inbound_from(&number(1), FIRST, "oi");
    inbound.also = vec![address(user_id)];
    fixture.receive(inbound).await;
    assert!(fixture.is_held_back(by_phone).await);
    assert_eq!(fixture.due_at(by_phone).await, until);
    fixture.lift_all().await;
    fixture.send(by_phone).await;
    fixture.send(by_id).await;
}
