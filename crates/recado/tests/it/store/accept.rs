//! Accepting: idempotency keys, repeated contents, business keys, opt-outs, the window.

use std::time::Duration;

use delivery::message::{
    BusinessKey, Content, DedupeChoice, Kind, Message, Policy, Priority, SenderName, WindowChoice,
};
use delivery::outcome::ProviderStatus;
use delivery::row::MessageRow;
use delivery::state::State;
use recado::store::{AcceptRefusal, AcceptResult, CommandResult, MessageCommand, NewMessage};

use super::fixture::*;
use super::samples::*;

pub(crate) async fn the_same_key_and_body_give_the_first_answer_again(fixture: &mut StoreFixture) {
    let keyed = |fixture: &mut StoreFixture| NewMessage {
        idempotency: StoreFixture::idempotency(1, 1),
        ..fixture.new_message(notice(1, "a"))
    };
    let (first, second) = (keyed(fixture), keyed(fixture));
    let (id, other) = (first.id, second.id);
    assert_ne!(id, other);
    let state = State::Accepted;
    assert_eq!(
        fixture.accept_all(vec![first]).await,
        [AcceptResult::Accepted { id, state }]
    );
    assert_eq!(
        fixture.accept_all(vec![second]).await,
        [AcceptResult::Replayed { id, state }]
    );
    assert!(fixture.store().message(other).await.unwrap().is_none());
    // What is answered is the answer of then, not the state of now.
    assert_eq!(
        fixture.command(id, MessageCommand::Cancel).await,
        CommandResult::Done(State::Canceled)
    );
    let third = keyed(fixture);
    assert_eq!(
        fixture.accept_all(vec![third]).await,
        [AcceptResult::Replayed { id, state }]
    );
    fixture.reopen().await;
    let fourth = keyed(fixture);
    assert_eq!(
        fixture.accept_all(vec![fourth]).await,
        [AcceptResult::Replayed { id, state }]
    );
    assert_eq!(fixture.waiting().await, Vec::<MessageRow>::new());
}

pub(crate) async fn the_same_key_with_another_body_is_a_conflict(fixture: &mut StoreFixture) {
    for (body, expected) in [(1, false), (2, true), (1, false)] {
        let new = NewMessage {
            idempotency: StoreFixture::idempotency(1, body),
            ..fixture.new_message(notice(1, "a"))
        };
        let result = fixture.accept_all(vec![new]).await.remove(0);
        let conflict = result == AcceptResult::Refused(AcceptRefusal::KeyReused);
        assert_eq!(conflict, expected, "body {body}: {result:?}");
    }
    assert_eq!(fixture.waiting().await.len(), 1);
}

pub(crate) async fn a_key_is_kept_for_seven_days(fixture: &mut StoreFixture) {
    let keyed = |fixture: &mut StoreFixture| NewMessage {
        idempotency: StoreFixture::idempotency(1, 1),
        ..fixture.new_message(notice(1, "a"))
    };
    let first = keyed(fixture);
    let id = first.id;
    fixture.accept_all(vec![first]).await;
    fixture.pass(7 * DAY - SECOND_LONG);
    assert_eq!(
        fixture.store().maintain(fixture.now).await.unwrap().pruned,
        0
    );
    let again = keyed(fixture);
    assert_eq!(
        fixture.accept_all(vec![again]).await,
        [AcceptResult::Replayed {
            id,
            state: State::Accepted
        }]
    );
    fixture.pass(SECOND_LONG);
    assert_eq!(
        fixture.store().maintain(fixture.now).await.unwrap().pruned,
        1
    );
    let later = keyed(fixture);
    let (later_id, state) = (later.id, State::Accepted);
    assert_eq!(
        fixture.accept_all(vec![later]).await,
        [AcceptResult::Accepted {
            id: later_id,
            state
        }]
    );
}

pub(crate) async fn a_refused_message_does_not_use_up_its_key(fixture: &mut StoreFixture) {
    let keyed = |fixture: &mut StoreFixture| NewMessage {
        idempotency: StoreFixture::idempotency(1, 1),
        ..fixture.new_message(text(1, "olá"))
    };
    let first = keyed(fixture);
    assert_eq!(
        fixture.accept_all(vec![first]).await,
        [AcceptResult::Refused(AcceptRefusal::WindowClosed)]
    );
    fixture.write(1, "oi").await;
    let second = keyed(fixture);
    let (id, state) = (second.id, State::Accepted);
    assert_eq!(
        fixture.accept_all(vec![second]).await,
        [AcceptResult::Accepted { id, state }]
    );
}

pub(crate) async fn the_same_content_is_refused_for_a_while(fixture: &mut StoreFixture) {
    let first = fixture.accept(notice(1, "a")).await;
    fixture.pass(10 * MINUTE - SECOND_LONG);
    assert_eq!(
        fixture.refusal(notice(1, "a")).await,
        AcceptRefusal::Duplicate { first }
    );
    // Another text, another template, another person and an explicit command are no repetitions.
    fixture.accept(notice(1, "b")).await;
    fixture.accept(notice(2, "a")).await;
    let mut other_template = notice(1, "a");
    other_template.content = Content::Template {
        content_sid: template_sid(2),
        variables: vec![("1".into(), "a".into())],
    };
    fixture.accept(other_template).await;
    fixture
        .accept(Message {
            dedupe: DedupeChoice::Allow,
            ..notice(3, "a")
        })
        .await;
    fixture
        .accept(Message {
            dedupe: DedupeChoice::Allow,
            ..notice(3, "a")
        })
        .await;
    fixture.pass(SECOND_LONG);
    let second = fixture.accept(notice(1, "a")).await;
    assert_ne!(first, second);
}

pub(crate) async fn the_same_person_in_another_spelling_is_the_same_person(
    fixture: &mut StoreFixture,
) {
    let first = fixture.accept(notice(1, "a")).await;
    for spelling in [
        "85988800001",
        "(85) 98880-0001",
        "+55 85 8880-0001",
        "whatsapp:+558588800001",
    ] {
        let again = Message {
            to: address(spelling),
            ..notice(1, "a")
        };
        assert_eq!(
            fixture.refusal(again).await,
            AcceptRefusal::Duplicate { first },
            "{spelling}"
        );
    }
}

pub(crate) async fn what_was_stopped_unsent_may_be_asked_for_again(fixture: &mut StoreFixture) {
    let first = fixture.accept(notice(1, "a")).await;
    fixture.command(first, MessageCommand::Cancel).await;
    let second = fixture.accept(notice(1, "a")).await;
    assert_eq!(fixture.state(second).await, State::Accepted);
}

pub(crate) async fn a_newer_notice_takes_the_place_of_an_unsent_older_one(
    fixture: &mut StoreFixture,
) {
    let version = |n: u32| Message {
        business_key: Some(BusinessKey::parse(&format!("interview:42:reminder:v{n}"))),
        ..notice(1, &format!("version {n}"))
    };
    let first = fixture.accept(version(1)).await;
    let third = fixture.accept(version(3)).await;
    assert_eq!(fixture.state(first).await, State::Canceled);
    assert_eq!(fixture.history(first).await, ["accepted", "superseded"]);
    assert_eq!(fixture.due_ids().await, [third]);
    for late in [2, 3] {
        assert_eq!(
            fixture.refusal(version(late)).await,
            AcceptRefusal::Superseded { by: third },
            "version {late}"
        );
    }
    fixture.send(third).await;
    let fourth = fixture.accept(version(4)).await;
    assert_eq!(fixture.state(third).await, State::Queued, "sent is sent");
    assert_eq!(fixture.due_ids().await, [fourth]);
    let view = fixture.view(fourth).await;
    assert_eq!(
        view.summary.business_key.as_deref(),
        Some("interview:42:reminder:v4")
    );
    // Another subject has nothing to do with it.
    let other = Message {
        business_key: Some(BusinessKey::parse("interview:43:reminder:v1")),
        ..notice(1, "other")
    };
    fixture.accept(other).await;
    assert_eq!(fixture.state(fourth).await, State::Accepted);
}

/// The older notice was on its way when the newer one came, and then did not go out after all: it
/// must not leave behind the newer one.
pub(crate) async fn a_superseded_notice_that_comes_back_does_not_leave_again(
    fixture: &mut StoreFixture,
) {
    let keyed = |person: u32, body: &str| Message {
        business_key: Some(BusinessKey::parse(&format!("interview:{person}"))),
        ..notice(person, body)
    };
    // Its request never reached the provider.
    let first = fixture.accept(keyed(1, "a")).await;
    let attempt = fixture.open(first).await;
    fixture.accept(keyed(1, "b")).await;
    fixture.close(attempt.attempt, no_connection()).await;
    // The provider had it, and failed in a way that is tried again.
    let second = fixture.accept(keyed(2, "a")).await;
    let sent = fixture.send(second).await;
    fixture.accept(keyed(2, "b")).await;
    fixture.fail(sent, ProviderStatus::Failed, 63_029).await;
    fixture.pass(Duration::from_secs(3_600));
    for id in [first, second] {
        assert!(fixture.is_gone(id).await);
        assert_eq!(fixture.state(id).await, State::Canceled);
        assert_eq!(fixture.history(id).await.last(), Some(&"superseded"));
    }
    assert_eq!(fixture.due_ids().await.len(), 2, "the newer ones");
    // Only a person may still want it.
    let third = fixture.accept(keyed(3, "a")).await;
    let sent = fixture.send(third).await;
    fixture.accept(keyed(3, "b")).await;
    fixture.fail(sent, ProviderStatus::Failed, 63_016).await;
    assert_eq!(fixture.state(third).await, State::Failed);
    fixture.command(third, MessageCommand::Retry).await;
    fixture.open(third).await;
}

pub(crate) async fn keys_without_version_replace_each_other(fixture: &mut StoreFixture) {
    let keyed = |body: &str| Message {
        business_key: Some(BusinessKey::parse("interview:42")),
        ..notice(1, body)
    };
    let first = fixture.accept(keyed("a")).await;
    let second = fixture.accept(keyed("b")).await;
    assert_eq!(fixture.state(first).await, State::Canceled);
    assert_eq!(fixture.due_ids().await, [second]);
}

pub(crate) async fn each_item_of_a_batch_has_its_own_result(fixture: &mut StoreFixture) {
    fixture
        .store()
        .set_consent(person(5), true, fixture.now)
        .await
        .unwrap();
    let keyed = |fixture: &mut StoreFixture, key, body, to| NewMessage {
        idempotency: StoreFixture::idempotency(key, body),
        ..fixture.new_message(notice(to, "a"))
    };
    let batch = vec![
        keyed(fixture, 1, 1, 1),
        keyed(fixture, 1, 1, 1),
        keyed(fixture, 1, 2, 1),
        keyed(fixture, 2, 1, 1),
        fixture.new_message(text(2, "olá")),
        fixture.new_message(Message {
            sender: Some(SenderName::new("+551140009999")),
            ..notice(3, "a")
        }),
        keyed(fixture, 3, 1, 4),
        keyed(fixture, 4, 1, 5),
    ];
    let id = batch[0].id;
    let (sixth, seventh) = (batch[6].id, batch[7].id);
    let state = State::Accepted;
    let expected = [
        AcceptResult::Accepted { id, state },
        AcceptResult::Replayed { id, state },
        AcceptResult::Refused(AcceptRefusal::KeyReused),
        AcceptResult::Refused(AcceptRefusal::Duplicate { first: id }),
        AcceptResult::Refused(AcceptRefusal::WindowClosed),
        AcceptResult::Refused(AcceptRefusal::UnknownSender),
        AcceptResult::Accepted { id: sixth, state },
        AcceptResult::Accepted {
            id: seventh,
            state: State::Suppressed,
        },
    ];
    assert_eq!(fixture.accept_all(batch).await, expected);
    assert_eq!(fixture.waiting().await.len(), 2);
    assert_eq!(fixture.store().accept(Vec::new()).await.unwrap(), []);
}

pub(crate) async fn a_message_to_somebody_who_opted_out_is_suppressed(fixture: &mut StoreFixture) {
    fixture.write(1, "SAIR").await;
    let new = fixture.new_message(notice(1, "a"));
    let id = new.id;
    let state = State::Suppressed;
    assert_eq!(
        fixture.accept_all(vec![new]).await,
        [AcceptResult::Accepted { id, state }]
    );
    assert_eq!(fixture.history(id).await, ["accepted", "suppressed"]);
    assert_eq!(fixture.waiting().await, Vec::<MessageRow>::new());
}

pub(crate) async fn free_text_needs_an_open_window_of_that_sender(fixture: &mut StoreFixture) {
    assert_eq!(
        fixture.refusal(text(1, "olá")).await,
        AcceptRefusal::WindowClosed
    );
    fixture.accept(notice(1, "templates need none")).await;
    fixture
        .accept(Message {
            window: WindowChoice::AssumeOpen,
            ..text(1, "the caller knows")
        })
        .await;
    fixture.write(1, "oi").await;
    fixture.accept(text(1, "olá")).await;
    let from_second = Message {
        sender: Some(SenderName::new(SECOND)),
        ..text(1, "olá da outra")
    };
    assert_eq!(
        fixture.refusal(from_second).await,
        AcceptRefusal::WindowClosed
    );
    fixture.pass(DAY - 5 * MINUTE - SECOND_LONG);
    fixture.accept(text(1, "still open")).await;
    fixture.pass(SECOND_LONG);
    assert_eq!(
        fixture.refusal(text(1, "closed now")).await,
        AcceptRefusal::WindowClosed
    );
}

pub(crate) async fn an_answer_comes_from_where_the_person_wrote(fixture: &mut StoreFixture) {
    for (n, spoken_to) in [(1, FIRST), (2, SECOND)] {
        let inbound = fixture.inbound_from(&number(n), spoken_to, "oi");
        fixture.receive(inbound).await;
        for body in ["a", "b"] {
            let answer = Message {
                sender: None,
                ..text(n, body)
            };
            let id = fixture.accept(answer).await;
            assert_eq!(fixture.view(id).await.summary.from, spoken_to);
        }
    }
    // Somebody who never wrote hears from the same sender every time.
    let mut senders = Vec::new();
    for body in ["a", "b", "c"] {
        let id = fixture
            .accept(Message {
                sender: None,
                ..notice(3, body)
            })
            .await;
        senders.push(fixture.view(id).await.summary.from);
    }
    senders.dedup();
    assert_eq!(senders.len(), 1);
}

pub(crate) async fn everything_that_was_asked_for_reads_back(fixture: &mut StoreFixture) {
    let asked = Message {
        priority: Priority::Bulk,
        policy: Policy::Ask,
        kind: Kind::Marketing,
        send_at: Some(fixture.now.plus(HOUR)),
        expires_at: Some(fixture.now.plus(2 * HOUR)),
        business_key: Some(BusinessKey::parse("interview:42:v7")),
        metadata: Some("{\"candidate\":\"Ana\"}".into()),
        sender: Some(SenderName::new(SECOND)),
        ..notice(1, "a")
    };
    let id = fixture.accept(asked).await;
    fixture.reopen().await;
    let view = fixture.view(id).await;
    let shown = view.summary;
    assert_eq!(shown.id, id);
    assert_eq!(shown.state, State::Scheduled);
    assert_eq!(shown.to, Some(person(1)));
    assert_eq!(shown.from, SECOND);
    assert_eq!(shown.kind, Kind::Marketing);
    assert_eq!(shown.priority, Priority::Bulk);
    assert_eq!(shown.policy, Policy::Ask);
    assert_eq!(shown.content_sid, Some(template_sid(1)));
    assert_eq!(shown.business_key.as_deref(), Some("interview:42:v7"));
    assert_eq!(shown.metadata.as_deref(), Some("{\"candidate\":\"Ana\"}"));
    assert_eq!(shown.accepted_at, START);
    assert_eq!(shown.send_at, Some(START.plus(HOUR)));
    assert_eq!(shown.due_at, Some(START.plus(HOUR)));
    assert_eq!(shown.expires_at, Some(START.plus(2 * HOUR)));
    assert_eq!((shown.attempts, shown.possible_duplicate), (0, false));
    assert!(view.attempts.is_empty());
    assert_eq!(view.history.len(), 1);

    for content in [
        Content::Text {
            body: "Olá \"Ana\"\n🙂".into(),
            persistent_action: Some("geo:-3.7,-38.5|Sede".into()),
        },
        Content::Media {
            url: "https://example.com/mapa.png".into(),
            caption: Some("o mapa".into()),
        },
        Content::Template {
            content_sid: template_sid(9),
            variables: vec![("1".into(), "Ana".into()), ("2".into(), String::new())],
        },
    ] {
        let n = u32::try_from(fixture.serial()).unwrap() + 100;
        let id = fixture
            .accept(Message {
                content: content.clone(),
                window: WindowChoice::AssumeOpen,
                ..notice(n, "")
            })
            .await;
        let attempt = fixture.open(id).await;
        assert!(attempt.content == content, "{content:?}");
        assert_eq!(attempt.to.in_variant(attempt.variant), number(n));
    }
}

pub(crate) async fn a_time_that_has_come_is_no_schedule(fixture: &mut StoreFixture) {
    for (ahead, state) in [
        (Duration::ZERO, State::Accepted),
        (SECOND_LONG, State::Scheduled),
    ] {
        let id = fixture
            .accept(Message {
                send_at: Some(fixture.now.plus(ahead)),
                ..notice(1, &format!("{ahead:?}"))
            })
            .await;
        assert_eq!(fixture.state(id).await, state);
    }
}
