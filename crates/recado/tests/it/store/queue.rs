//! The queue: who goes first, who waits, and what is looked at before an attempt opens.

use delivery::message::{Message, Policy, Priority, SenderName};
use delivery::outcome::OutcomeKind;
use delivery::progress::Reason;
use delivery::row::{MessageRow, SenderRow};
use delivery::state::State;
use delivery::time::Timestamp;
use recado::store::{DueQuery, MessageCommand, MessageId, OpenRequest, OpenResult, Stamp};

use super::fixture::*;
use super::samples::*;

fn with_priority(to: u32, priority: Priority) -> Message {
    Message {
        priority,
        ..notice(to, "a")
    }
}

pub(crate) async fn urgent_goes_before_normal_before_bulk_each_by_due_time(
    fixture: &mut StoreFixture,
) {
    let bulk = fixture.accept(with_priority(1, Priority::Bulk)).await;
    fixture.pass(SECOND_LONG);
    let normal = fixture.accept(with_priority(2, Priority::Normal)).await;
    fixture.pass(SECOND_LONG);
    let urgent = fixture.accept(with_priority(3, Priority::Urgent)).await;
    fixture.pass(SECOND_LONG);
    let second_urgent = fixture.accept(with_priority(4, Priority::Urgent)).await;
    // Accepted last and due first of its kind.
    let early = Message {
        send_at: Some(START),
        ..with_priority(5, Priority::Normal)
    };
    let early = fixture.accept(early).await;
    let order = [urgent, second_urgent, early, normal, bulk];
    assert_eq!(fixture.due_ids().await, order);

    let keys: Vec<MessageRow> = order.iter().map(|id| fixture.key(*id)).collect();
    let sender = fixture.sender(FIRST).await;
    let query = |limit| DueQuery {
        sender,
        now: fixture.now,
        limit,
        urgent_only: false,
    };
    for limit in 0..=6 {
        let page = fixture.store().due(query(limit)).await.unwrap();
        let found: Vec<MessageRow> = page.due.iter().map(|due| due.message).collect();
        assert_eq!(found, keys[..limit.min(5)], "limit {limit}");
    }
}

pub(crate) async fn senders_have_queues_of_their_own(fixture: &mut StoreFixture) {
    let first = fixture.accept(notice(1, "a")).await;
    let second = fixture
        .accept(Message {
            sender: Some(SenderName::new(SECOND)),
            ..notice(1, "b")
        })
        .await;
    let page = fixture.due(FIRST).await;
    assert_eq!(page.due.len(), 1);
    assert_eq!(page.due[0].message, fixture.key(first));
    let other = fixture.due(SECOND).await;
    assert_eq!(other.due[0].message, fixture.key(second));
    assert_eq!(other.due[0].person, page.due[0].person);
    assert_eq!(other.due[0].priority, Priority::Normal);
    assert_eq!(other.due[0].due_at, fixture.now);
    let queued: Vec<u64> = fixture
        .store()
        .senders()
        .await
        .unwrap()
        .iter()
        .map(|s| s.queued)
        .collect();
    assert_eq!(queued, [1, 1]);
}

pub(crate) async fn a_scheduled_message_is_not_sent_before_its_time(fixture: &mut StoreFixture) {
    let at = fixture.now.plus(HOUR);
    let later = fixture
        .accept(Message {
            send_at: Some(at.plus(HOUR)),
            ..with_priority(2, Priority::Urgent)
        })
        .await;
    let id = fixture
        .accept(Message {
            send_at: Some(at),
            ..with_priority(1, Priority::Bulk)
        })
        .await;
    fixture.pass(HOUR - SECOND_LONG);
    let page = fixture.due(FIRST).await;
    assert!(page.due.is_empty());
    assert_eq!(page.next_due_at, Some(at), "the earliest of all priorities");
    assert!(fixture.is_gone(id).await, "not even on request");
    assert_eq!(fixture.state(id).await, State::Scheduled);
    fixture.pass(SECOND_LONG);
    assert_eq!(fixture.due_ids().await, [id]);
    assert_eq!(
        fixture.due(FIRST).await.next_due_at,
        fixture.view(later).await.summary.due_at
    );
    fixture.send(id).await;
    assert_eq!(fixture.due(FIRST).await.due, []);
}

pub(crate) async fn what_has_expired_is_never_opened(fixture: &mut StoreFixture) {
    let expires_at = Some(fixture.now.plus(HOUR));
    let mut ids = Vec::new();
    for n in 1..=2 {
        ids.push(
            fixture
                .accept(Message {
                    expires_at,
                    ..notice(n, "a")
                })
                .await,
        );
    }
    fixture.pass(HOUR - SECOND_LONG);
    let attempt = fixture.open(ids[0]).await;
    assert_eq!(attempt.expires_at, expires_at);
    fixture.pass(SECOND_LONG);
    assert!(fixture.is_gone(ids[1]).await);
    assert_eq!(fixture.state(ids[1]).await, State::Expired);
    assert_eq!(fixture.history(ids[1]).await, ["accepted", "expired"]);
    assert_eq!(fixture.waiting().await, Vec::<MessageRow>::new());
}

pub(crate) async fn a_deferred_message_comes_later(fixture: &mut StoreFixture) {
    let first = fixture.accept(notice(1, "a")).await;
    let second = fixture.accept(notice(2, "a")).await;
    let at = fixture.now.plus(MINUTE);
    let batch = vec![(fixture.key(first), at), (MessageRow(999_999), at)];
    fixture.store().defer(batch).await.unwrap();
    assert_eq!(fixture.due_ids().await, [second]);
    assert_eq!(fixture.due(FIRST).await.next_due_at, Some(at));
    assert!(fixture.is_gone(first).await);
    fixture.pass(MINUTE);
    assert_eq!(fixture.due_ids().await, [second, first]);
    // What no longer waits cannot be put back.
    fixture.send(second).await;
    let batch = vec![(fixture.key(second), fixture.now)];
    fixture.store().defer(batch).await.unwrap();
    assert_eq!(fixture.due_ids().await, [first]);
    assert_eq!(
        fixture.history(first).await,
        ["accepted"],
        "nothing happened to it"
    );
}

pub(crate) async fn a_paused_sender_opens_nothing(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    fixture.pause(FIRST, true).await;
    assert!(fixture.due(FIRST).await.paused);
    assert!(!fixture.due(SECOND).await.paused);
    assert!(matches!(fixture.try_open(id).await, OpenResult::Busy));
    assert_eq!(fixture.state(id).await, State::Accepted);
    fixture.reopen().await;
    assert!(
        fixture.due(FIRST).await.paused,
        "a pause by hand outlives the server"
    );
    fixture.pause(FIRST, false).await;
    fixture.open(id).await;
}

pub(crate) async fn a_person_has_one_open_attempt_of_a_sender(fixture: &mut StoreFixture) {
    let first = fixture.accept(notice(1, "a")).await;
    let second = fixture.accept(notice(1, "b")).await;
    let other_person = fixture.accept(notice(2, "a")).await;
    let other_sender = fixture
        .accept(Message {
            sender: Some(SenderName::new(SECOND)),
            ..notice(1, "c")
        })
        .await;
    let attempt = fixture.open(first).await;
    assert!(matches!(fixture.try_open(second).await, OpenResult::Busy));
    assert!(fixture.is_gone(first).await, "it is being sent");
    fixture.open(other_person).await;
    fixture.open(other_sender).await;
    let person = fixture.due(FIRST).await.due[0].person;
    assert_eq!(fixture.store().open_attempts_of(person).await.unwrap(), 2);
    assert_eq!(
        fixture
            .store()
            .gauges(fixture.now)
            .await
            .unwrap()
            .open_attempts,
        3
    );
    fixture.close(attempt.attempt, no_connection()).await;
    fixture.open(second).await;
}

pub(crate) async fn the_same_message_opens_once_however_often_it_is_asked_for(
    fixture: &mut StoreFixture,
) {
    let id = fixture.accept(notice(1, "a")).await;
    let request = |nonce| OpenRequest {
        message: fixture.key(id),
        stamp: Stamp {
            now: fixture.now,
            random: nonce,
        },
    };
    let store = fixture.shared_store();
    let mut asked = tokio::task::JoinSet::new();
    for n in 0..16 {
        let (store, batch) = (store.clone(), vec![request(2 * n), request(2 * n + 1)]);
        asked.spawn(async move { store.open_attempts(batch).await.unwrap() });
    }
    let mut opened = Vec::new();
    while let Some(results) = asked.join_next().await {
        for result in results.unwrap() {
            if let OpenResult::Open(attempt) = result {
                opened.push(attempt.attempt);
            }
        }
    }
    assert_eq!(opened.len(), 1);
    assert_eq!(fixture.view(id).await.attempts.len(), 1);
    assert_eq!(fixture.view(id).await.attempts[0].outcome, None);
}

pub(crate) async fn nothing_opens_for_a_person_who_opted_out_while_it_waited(
    fixture: &mut StoreFixture,
) {
    let id = fixture.accept(notice(1, "a")).await;
    let scheduled = fixture
        .accept(Message {
            send_at: Some(fixture.now.plus(HOUR)),
            ..notice(1, "b")
        })
        .await;
    let page = fixture.due(FIRST).await;
    fixture.write(1, "sair").await;
    assert!(matches!(
        fixture.open_key(page.due[0].message).await,
        OpenResult::Gone
    ));
    for stopped in [id, scheduled] {
        assert_eq!(fixture.state(stopped).await, State::Suppressed);
    }
    assert_eq!(fixture.waiting().await, Vec::<MessageRow>::new());
}

pub(crate) async fn an_opt_out_during_an_attempt_stops_the_next_one(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    let attempt = fixture.open(id).await.attempt;
    fixture.write(1, "sair").await;
    assert_eq!(fixture.state(id).await, State::Sending, "it may have left");
    fixture.close(attempt, no_connection()).await;
    fixture.pass(HOUR);
    assert!(fixture.is_gone(id).await);
    assert_eq!(fixture.state(id).await, State::Suppressed);
}

/// Whoever is told that the opt-out is stored never sees an attempt open after it.
pub(crate) async fn after_an_opt_out_is_acknowledged_no_attempt_opens(fixture: &mut StoreFixture) {
    let mut runs = tokio::task::JoinSet::new();
    for n in 1..=100 {
        let id = fixture.accept(notice(n, "a")).await;
        let second = fixture.accept(notice(n, "b")).await;
        let (first, second) = (fixture.key(id), fixture.key(second));
        let inbound = fixture.inbound_from(&number(n), FIRST, "PARAR");
        let (store, now) = (fixture.shared_store(), fixture.now);
        let open = move |message, nonce| {
            vec![OpenRequest {
                message,
                stamp: Stamp { now, random: nonce },
            }]
        };
        runs.spawn(async move {
            let opens = async {
                let before = store.open_attempts(open(first, 1)).await.unwrap();
                matches!(before[0], OpenResult::Open(_))
            };
            let (store2, stop) = (store.clone(), async {
                store.inbound(vec![inbound]).await.unwrap();
            });
            let opened = if n % 2 == 0 {
                tokio::join!(opens, stop).0
            } else {
                tokio::join!(stop, opens).1
            };
            for message in [first, second] {
                let after = store2.open_attempts(open(message, 2)).await.unwrap();
                assert!(matches!(after[0], OpenResult::Gone), "person {n}");
            }
            opened
        });
    }
    let mut opened = 0;
    while let Some(run) = runs.join_next().await {
        opened += u32::from(run.unwrap());
    }
    assert!(
        (1..100).contains(&opened),
        "both orders happened: {opened} opened first"
    );
}

pub(crate) async fn a_canceled_message_does_not_open(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    fixture.command(id, MessageCommand::Cancel).await;
    assert!(fixture.is_gone(id).await);
    assert_eq!(fixture.state(id).await, State::Canceled);
}

pub(crate) async fn a_message_to_somebody_who_is_being_asked_is_held(fixture: &mut StoreFixture) {
    fixture.write(1, "cancelar").await;
    let id = fixture.accept(notice(1, "a")).await;
    assert_eq!(fixture.state(id).await, State::Accepted);
    assert!(fixture.is_gone(id).await);
    assert_eq!(fixture.state(id).await, State::Held);
    fixture.write(1, "continuar").await;
    fixture.open(id).await;
}

pub(crate) async fn the_window_is_looked_at_again_before_sending(fixture: &mut StoreFixture) {
    fixture.write(1, "oi").await;
    let in_time = fixture.accept(text(1, "olá")).await;
    let scheduled = Message {
        send_at: Some(fixture.now.plus(DAY)),
        ..text(1, "amanhã")
    };
    let too_late = fixture.accept(scheduled).await;
    let assumed = Message {
        window: delivery::message::WindowChoice::AssumeOpen,
        ..text(2, "assumed")
    };
    let assumed = fixture.accept(assumed).await;
    fixture.send(in_time).await;
    fixture.pass(DAY);
    assert!(fixture.is_gone(too_late).await);
    let view = fixture.view(too_late).await;
    assert_eq!(view.summary.state, State::Failed);
    assert_eq!(view.summary.error.unwrap().reason, Reason::WindowClosed);
    assert_eq!(view.summary.failed_at, Some(fixture.now));
    assert_eq!(fixture.history(too_late).await, ["accepted", "given_up"]);
    fixture.open(assumed).await;
    assert_eq!(fixture.waiting().await, Vec::<MessageRow>::new());
}

pub(crate) async fn an_unknown_message_is_gone(fixture: &mut StoreFixture) {
    fixture.accept(notice(1, "a")).await;
    assert!(matches!(
        fixture.open_key(MessageRow(77_777)).await,
        OpenResult::Gone
    ));
    let nobody = MessageId(uuid::Uuid::from_u128(7));
    assert!(fixture.store().message(nobody).await.unwrap().is_none());
    let query = DueQuery {
        sender: SenderRow(77_777),
        now: Timestamp::from_micros(i64::MAX),
        limit: 10,
        urgent_only: false,
    };
    assert!(fixture.store().due(query).await.unwrap().due.is_empty());
}

pub(crate) async fn open_attempts_outlive_the_server_and_become_unknown(
    fixture: &mut StoreFixture,
) {
    let mut ids = Vec::new();
    for (n, policy) in (1..).zip([Policy::AtMostOnce, Policy::AtLeastOnce, Policy::Ask]) {
        let id = fixture
            .accept(Message {
                policy,
                ..notice(n, "a")
            })
            .await;
        fixture.open(id).await;
        ids.push(id);
    }
    let sent = fixture.accept(notice(4, "a")).await;
    fixture.send(sent).await;
    let waiting = fixture.accept(notice(5, "a")).await;
    fixture.pass(MINUTE);
    assert_eq!(fixture.reopen().await, 3);
    assert_eq!(
        fixture
            .store()
            .gauges(fixture.now)
            .await
            .unwrap()
            .open_attempts,
        0
    );
    for id in &ids {
        let view = fixture.view(*id).await;
        assert_eq!(view.summary.state, State::Unknown);
        assert_eq!(view.attempts[0].outcome, Some(OutcomeKind::Unknown));
        assert_eq!(view.attempts[0].cause.as_deref(), Some("process_ended"));
        assert!(fixture.is_gone(*id).await, "nobody may send it again now");
    }
    assert_eq!(fixture.state(sent).await, State::Queued);
    assert_eq!(fixture.due_ids().await, [waiting]);
    fixture.pass(5 * SECOND_LONG);
    assert_eq!(fixture.watches().await.len(), 3);
    assert_eq!(fixture.reopen().await, 0, "they are unknown already");
}
