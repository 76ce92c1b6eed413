//! Business keys: whose subject they name, and what one request may ask of a subject.

use delivery::message::{BusinessKey, BusinessScope, Message};
use delivery::state::State;
use recado::store::{AcceptRefusal, AcceptResult, MessageId, NewMessage};

use super::fixture::StoreFixture;
use super::samples::notice;

fn about(key: &str, scope: BusinessScope, to: u32, body: &str) -> Message {
    Message {
        business_key: Some(BusinessKey {
            scope,
            ..BusinessKey::parse(key)
        }),
        ..notice(to, body)
    }
}

/// The id of an accepted item.
#[track_caller]
fn accepted(result: &AcceptResult) -> MessageId {
    match result {
        AcceptResult::Accepted { id, .. } => *id,
        other => panic!("not accepted: {other:?}"),
    }
}

pub(crate) async fn a_subject_belongs_to_the_person(fixture: &mut StoreFixture) {
    let campaign: Vec<NewMessage> = (0..20)
        .map(|n| fixture.new_message(about("campaign-7", BusinessScope::Person, n, "oi")))
        .collect();
    let results = fixture.accept_all(campaign).await;
    for result in &results {
        assert_eq!(fixture.state(accepted(result)).await, State::Accepted);
    }
    // The next one to one of them takes the place of theirs alone.
    let next = about("campaign-7", BusinessScope::Person, 3, "olá");
    fixture.accept(next).await;
    for (n, result) in results.iter().enumerate() {
        let state = if n == 3 {
            State::Canceled
        } else {
            State::Accepted
        };
        assert_eq!(fixture.state(accepted(result)).await, state, "{n}");
    }
}

pub(crate) async fn a_subject_of_the_account_is_one_for_everybody(fixture: &mut StoreFixture) {
    let of = |scope, to, body: &str| about("interview:42", scope, to, body);
    let first = fixture.accept(of(BusinessScope::Account, 1, "a")).await;
    let own = fixture.accept(of(BusinessScope::Person, 1, "b")).await;
    let second = fixture.accept(of(BusinessScope::Account, 2, "c")).await;
    assert_eq!(fixture.state(first).await, State::Canceled);
    assert_eq!(fixture.due_ids().await, [own, second]);
    let version = |to| about("interview:42:v1", BusinessScope::Account, to, "d");
    let third = fixture.accept(version(3)).await;
    assert_eq!(
        fixture.refusal(version(4)).await,
        AcceptRefusal::Superseded { by: third }
    );
}

/// What the same answer calls accepted stays so, also when the request is repeated.
pub(crate) async fn a_request_never_cancels_what_it_accepts(fixture: &mut StoreFixture) {
    let items = [
        about("a", BusinessScope::Person, 1, "one"),
        about("a", BusinessScope::Person, 1, "two"),
        about("b:v2", BusinessScope::Person, 1, "three"),
        about("b:v1", BusinessScope::Person, 1, "four"),
        about("b:v3", BusinessScope::Person, 1, "five"),
        about("c", BusinessScope::Account, 1, "six"),
        about("c", BusinessScope::Account, 2, "seven"),
    ];
    for repeated in [false, true] {
        let batch = items.iter().enumerate().map(|(n, item)| NewMessage {
            idempotency: StoreFixture::idempotency(u8::try_from(n).unwrap() + 1, 1),
            ..fixture.new_message(item.clone())
        });
        let batch: Vec<NewMessage> = batch.collect();
        let results = fixture.accept_all(batch).await;
        let id = |place: usize| results[place].id().unwrap();
        for place in [0, 2, 5] {
            let replayed = matches!(results[place], AcceptResult::Replayed { .. });
            assert_eq!(replayed, repeated, "{place}: {results:?}");
            assert_eq!(fixture.state(id(place)).await, State::Accepted);
        }
        for (place, refusal) in [
            (1, AcceptRefusal::KeyRepeated { first: id(0) }),
            (3, AcceptRefusal::Superseded { by: id(2) }),
            (4, AcceptRefusal::KeyRepeated { first: id(2) }),
            (6, AcceptRefusal::KeyRepeated { first: id(5) }),
        ] {
            assert_eq!(results[place], AcceptResult::Refused(refusal), "{place}");
        }
    }
    // Alone it does what it is for.
    let first = fixture.accept(items[1].clone()).await;
    fixture.accept(items[0].clone()).await;
    assert_eq!(fixture.state(first).await, State::Canceled);
}

pub(crate) async fn the_same_words_about_something_else_are_no_repetition(
    fixture: &mut StoreFixture,
) {
    let of = |key: &str| about(key, BusinessScope::Person, 1, "às 14:00");
    let first = fixture.accept(of("interview:42")).await;
    let other = fixture.accept(of("interview:43")).await;
    let plain = fixture.accept(notice(1, "às 14:00")).await;
    for (again, first) in [
        (of("interview:42"), first),
        // A later version with the same words brings no news.
        (of("interview:43:v7"), other),
        (notice(1, "às 14:00"), plain),
    ] {
        assert_eq!(
            fixture.refusal(again).await,
            AcceptRefusal::Duplicate { first }
        );
    }
}
