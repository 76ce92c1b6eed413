//! The queue: who goes first, who waits, and what is looked at before an attempt opens.

use delivery::message::{Message, Policy, Priority, SenderName};
use delivery::outcome::OutcomeKind;
use delivery::progress::Reason;
use delivery::state::State;
use delivery::time::Timestamp;
use recado::store::{DueQuery, MessageCommand, MessageId, OpenRequest, OpenResult};

use super::world::*;

fn with_priority(to: u32, priority: Priority) -> Message {
    Message {
        priority,
        ..notice(to, "a")
    }
}

pub(crate) async fn urgent_goes_before_normal_before_bulk_each_by_due_time(world: &mut World) {
    let bulk = world.accept(with_priority(1, Priority::Bulk)).await;
    world.pass(SECOND_LONG);
    let normal = world.accept(with_priority(2, Priority::Normal)).await;
    world.pass(SECOND_LONG);
    let urgent = world.accept(with_priority(3, Priority::Urgent)).await;
    world.pass(SECOND_LONG);
    let second_urgent = world.accept(with_priority(4, Priority::Urgent)).await;
    // Accepted last and due first of its kind.
    let early = Message {
        send_at: Some(START),
        ..with_priority(5, Priority::Normal)
    };
    let early = world.accept(early).await;
    let order = [urgent, second_urgent, early, normal, bulk];
    assert_eq!(world.due_ids().await, order);

    let keys: Vec<i64> = order.iter().map(|id| world.key(*id)).collect();
    let sender = world.sender(FIRST).await;
    let query = |limit, except: &[i64]| DueQuery {
        sender,
        now: world.now,
        limit,
        except: except.to_vec(),
    };
    for limit in 0..=6 {
        let page = world.store().due(query(limit, &[])).await.unwrap();
        let found: Vec<i64> = page.due.iter().map(|due| due.message).collect();
        assert_eq!(found, keys[..limit.min(5)], "limit {limit}");
    }
    // What is in somebody's hands is left out, and does not use up the limit.
    for mask in 0..32_u32 {
        let (mut except, mut left) = (Vec::new(), Vec::new());
        for (place, key) in keys.iter().enumerate() {
            let list = if mask & (1 << place) > 0 {
                &mut except
            } else {
                &mut left
            };
            list.push(*key);
        }
        left.truncate(3);
        let page = world.store().due(query(3, &except)).await.unwrap();
        let found: Vec<i64> = page.due.iter().map(|due| due.message).collect();
        assert_eq!(found, left, "except {except:?}");
    }
}

pub(crate) async fn senders_have_queues_of_their_own(world: &mut World) {
    let first = world.accept(notice(1, "a")).await;
    let second = world
        .accept(Message {
            sender: Some(SenderName::new(SECOND)),
            ..notice(1, "b")
        })
        .await;
    let page = world.due(FIRST).await;
    assert_eq!(page.due.len(), 1);
    assert_eq!(page.due[0].message, world.key(first));
    let other = world.due(SECOND).await;
    assert_eq!(other.due[0].message, world.key(second));
    assert_eq!(other.due[0].person, page.due[0].person);
    assert_eq!(other.due[0].priority, Priority::Normal);
    assert_eq!(other.due[0].due_at, world.now);
    let queued: Vec<u64> = world
        .store()
        .senders()
        .await
        .unwrap()
        .iter()
        .map(|s| s.queued)
        .collect();
    assert_eq!(queued, [1, 1]);
}

pub(crate) async fn a_scheduled_message_is_not_sent_before_its_time(world: &mut World) {
    let at = world.now.plus(HOUR);
    let later = world
        .accept(Message {
            send_at: Some(at.plus(HOUR)),
            ..with_priority(2, Priority::Urgent)
        })
        .await;
    let id = world
        .accept(Message {
            send_at: Some(at),
            ..with_priority(1, Priority::Bulk)
        })
        .await;
    world.pass(HOUR - SECOND_LONG);
    let page = world.due(FIRST).await;
    assert!(page.due.is_empty());
    assert_eq!(page.next_due_at, Some(at), "the earliest of all priorities");
    assert!(world.is_gone(id).await, "not even on request");
    assert_eq!(world.state(id).await, State::Scheduled);
    world.pass(SECOND_LONG);
    assert_eq!(world.due_ids().await, [id]);
    assert_eq!(
        world.due(FIRST).await.next_due_at,
        world.view(later).await.summary.due_at
    );
    world.send(id).await;
    assert_eq!(world.due(FIRST).await.due, []);
}

pub(crate) async fn what_has_expired_is_never_opened(world: &mut World) {
    let expires_at = Some(world.now.plus(HOUR));
    let mut ids = Vec::new();
    for n in 1..=2 {
        ids.push(
            world
                .accept(Message {
                    expires_at,
                    ..notice(n, "a")
                })
                .await,
        );
    }
    world.pass(HOUR - SECOND_LONG);
    let attempt = world.open(ids[0]).await;
    assert_eq!(attempt.expires_at, expires_at);
    world.pass(SECOND_LONG);
    assert!(world.is_gone(ids[1]).await);
    assert_eq!(world.state(ids[1]).await, State::Expired);
    assert_eq!(world.history(ids[1]).await, ["accepted", "expired"]);
    assert_eq!(world.waiting().await, Vec::<i64>::new());
}

pub(crate) async fn a_deferred_message_comes_later(world: &mut World) {
    let first = world.accept(notice(1, "a")).await;
    let second = world.accept(notice(2, "a")).await;
    let at = world.now.plus(MINUTE);
    let batch = vec![(world.key(first), at), (999_999, at)];
    world.store().defer(batch).await.unwrap();
    assert_eq!(world.due_ids().await, [second]);
    assert_eq!(world.due(FIRST).await.next_due_at, Some(at));
    assert!(world.is_gone(first).await);
    world.pass(MINUTE);
    assert_eq!(world.due_ids().await, [second, first]);
    // What no longer waits cannot be put back.
    world.send(second).await;
    let batch = vec![(world.key(second), world.now)];
    world.store().defer(batch).await.unwrap();
    assert_eq!(world.due_ids().await, [first]);
    assert_eq!(
        world.history(first).await,
        ["accepted"],
        "nothing happened to it"
    );
}

pub(crate) async fn a_paused_sender_opens_nothing(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    world.pause(FIRST, true).await;
    assert!(world.due(FIRST).await.paused);
    assert!(!world.due(SECOND).await.paused);
    assert!(matches!(world.try_open(id).await, OpenResult::Busy));
    assert_eq!(world.state(id).await, State::Accepted);
    world.reopen().await;
    assert!(
        world.due(FIRST).await.paused,
        "a pause by hand outlives the server"
    );
    world.pause(FIRST, false).await;
    world.open(id).await;
}

pub(crate) async fn a_person_has_one_open_attempt_of_a_sender(world: &mut World) {
    let first = world.accept(notice(1, "a")).await;
    let second = world.accept(notice(1, "b")).await;
    let other_person = world.accept(notice(2, "a")).await;
    let other_sender = world
        .accept(Message {
            sender: Some(SenderName::new(SECOND)),
            ..notice(1, "c")
        })
        .await;
    let attempt = world.open(first).await;
    assert!(matches!(world.try_open(second).await, OpenResult::Busy));
    assert!(world.is_gone(first).await, "it is being sent");
    world.open(other_person).await;
    world.open(other_sender).await;
    let person = world.due(FIRST).await.due[0].person;
    assert_eq!(world.store().open_attempts_of(person).await.unwrap(), 2);
    assert_eq!(world.store().gauges().await.unwrap().open_attempts, 3);
    world.close(attempt.attempt, no_connection()).await;
    world.open(second).await;
}

pub(crate) async fn the_same_message_opens_once_however_often_it_is_asked_for(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    let request = |nonce| OpenRequest {
        message: world.key(id),
        nonce,
        now: world.now,
    };
    let store = world.shared_store();
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
    assert_eq!(world.view(id).await.attempts.len(), 1);
    assert_eq!(world.view(id).await.attempts[0].outcome, None);
}

pub(crate) async fn nothing_opens_for_a_person_who_opted_out_while_it_waited(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    let scheduled = world
        .accept(Message {
            send_at: Some(world.now.plus(HOUR)),
            ..notice(1, "b")
        })
        .await;
    let page = world.due(FIRST).await;
    world.write(1, "sair").await;
    assert!(matches!(
        world.open_key(page.due[0].message).await,
        OpenResult::Gone
    ));
    for stopped in [id, scheduled] {
        assert_eq!(world.state(stopped).await, State::Suppressed);
    }
    assert_eq!(world.waiting().await, Vec::<i64>::new());
}

pub(crate) async fn an_opt_out_during_an_attempt_stops_the_next_one(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    let attempt = world.open(id).await.attempt;
    world.write(1, "sair").await;
    assert_eq!(world.state(id).await, State::Sending, "it may have left");
    world.close(attempt, no_connection()).await;
    world.pass(HOUR);
    assert!(world.is_gone(id).await);
    assert_eq!(world.state(id).await, State::Suppressed);
}

/// Whoever is told that the opt-out is stored never sees an attempt open after it.
pub(crate) async fn after_an_opt_out_is_acknowledged_no_attempt_opens(world: &mut World) {
    let mut runs = tokio::task::JoinSet::new();
    for n in 1..=100 {
        let id = world.accept(notice(n, "a")).await;
        let second = world.accept(notice(n, "b")).await;
        let (first, second) = (world.key(id), world.key(second));
        let inbound = world.inbound_from(&number(n), FIRST, "PARAR");
        let (store, now) = (world.shared_store(), world.now);
        let open = move |message, nonce| {
            vec![OpenRequest {
                message,
                nonce,
                now,
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

pub(crate) async fn a_cancelled_message_does_not_open(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    world.command(id, MessageCommand::Cancel).await;
    assert!(world.is_gone(id).await);
    assert_eq!(world.state(id).await, State::Canceled);
}

pub(crate) async fn a_message_to_somebody_who_is_being_asked_is_held(world: &mut World) {
    world.write(1, "cancelar").await;
    let id = world.accept(notice(1, "a")).await;
    assert_eq!(world.state(id).await, State::Accepted);
    assert!(world.is_gone(id).await);
    assert_eq!(world.state(id).await, State::Held);
    world.write(1, "continuar").await;
    world.open(id).await;
}

pub(crate) async fn the_window_is_looked_at_again_before_sending(world: &mut World) {
    world.write(1, "oi").await;
    let in_time = world.accept(text(1, "olá")).await;
    let scheduled = Message {
        send_at: Some(world.now.plus(DAY)),
        ..text(1, "amanhã")
    };
    let too_late = world.accept(scheduled).await;
    let assumed = Message {
        window: delivery::message::WindowChoice::AssumeOpen,
        ..text(2, "assumed")
    };
    let assumed = world.accept(assumed).await;
    world.send(in_time).await;
    world.pass(DAY);
    assert!(world.is_gone(too_late).await);
    let view = world.view(too_late).await;
    assert_eq!(view.summary.state, State::Failed);
    assert_eq!(view.summary.error.unwrap().reason, Reason::WindowClosed);
    assert_eq!(view.summary.failed_at, Some(world.now));
    assert_eq!(world.history(too_late).await, ["accepted", "given_up"]);
    world.open(assumed).await;
    assert_eq!(world.waiting().await, Vec::<i64>::new());
}

pub(crate) async fn an_unknown_message_is_gone(world: &mut World) {
    world.accept(notice(1, "a")).await;
    assert!(matches!(world.open_key(77_777).await, OpenResult::Gone));
    let nobody = MessageId(uuid::Uuid::from_u128(7));
    assert!(world.store().message(nobody).await.unwrap().is_none());
    let query = DueQuery {
        sender: 77_777,
        now: Timestamp::from_micros(i64::MAX),
        limit: 10,
        except: Vec::new(),
    };
    assert!(world.store().due(query).await.unwrap().due.is_empty());
}

pub(crate) async fn open_attempts_outlive_the_server_and_become_unknown(world: &mut World) {
    let mut ids = Vec::new();
    for (n, policy) in (1..).zip([Policy::AtMostOnce, Policy::AtLeastOnce, Policy::Ask]) {
        let id = world
            .accept(Message {
                policy,
                ..notice(n, "a")
            })
            .await;
        world.open(id).await;
        ids.push(id);
    }
    let sent = world.accept(notice(4, "a")).await;
    world.send(sent).await;
    let waiting = world.accept(notice(5, "a")).await;
    world.pass(MINUTE);
    assert_eq!(world.reopen().await, 3);
    assert_eq!(world.store().gauges().await.unwrap().open_attempts, 0);
    for id in &ids {
        let view = world.view(*id).await;
        assert_eq!(view.summary.state, State::Unknown);
        assert_eq!(view.attempts[0].outcome, Some(OutcomeKind::Unknown));
        assert_eq!(view.attempts[0].cause.as_deref(), Some("process_ended"));
        assert!(world.is_gone(*id).await, "nobody may send it again now");
    }
    assert_eq!(world.state(sent).await, State::Queued);
    assert_eq!(world.due_ids().await, [waiting]);
    world.pass(5 * SECOND_LONG);
    assert_eq!(world.watches().await.len(), 3);
    assert_eq!(world.reopen().await, 0, "they are unknown already");
}
