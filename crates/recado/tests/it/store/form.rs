//! The two forms of a Brazilian mobile: which one is used, and when the other one is tried.

use delivery::address::AddressVariant;
use delivery::message::Message;
use delivery::outcome::ProviderStatus;
use delivery::row::MessageRow;
use delivery::state::State;
use recado::store::MessageId;

use super::fixture::*;
use super::samples::*;

async fn to_of_next_attempt(fixture: &mut StoreFixture, id: MessageId) -> (String, Sent) {
    let attempt = fixture.open(id).await;
    let sid = fixture.sid();
    fixture
        .close(attempt.attempt, accepted_by_provider(sid))
        .await;
    let sent = Sent {
        attempt: attempt.attempt,
        sid,
    };
    (attempt.to.in_variant(attempt.variant), sent)
}

pub(crate) async fn nobody_under_this_number_tries_the_other_form_once(fixture: &mut StoreFixture) {
    for (n, status, code) in [
        (1, ProviderStatus::Undelivered, 63_024),
        (2, ProviderStatus::Failed, 63_003),
    ] {
        let id = fixture.accept(notice(n, "a")).await;
        let (to, first) = to_of_next_attempt(fixture, id).await;
        assert_eq!(to, number(n));
        fixture.fail(first, status, code).await;
        assert_eq!(fixture.due_ids().await, [id], "at once");
        let (to, second) = to_of_next_attempt(fixture, id).await;
        assert_eq!(to, old_number(n));
        let view = fixture.view(id).await;
        let marks: Vec<bool> = view
            .attempts
            .iter()
            .map(|a| a.variant == AddressVariant::WithoutNinthDigit)
            .collect();
        assert_eq!(marks, [false, true]);
        assert!(!view.summary.possible_duplicate);
        // Not there either: that is the end.
        fixture.fail(second, status, code).await;
        let view = fixture.view(id).await;
        assert_eq!(view.summary.error.unwrap().code, Some(code));
        assert!(matches!(
            view.summary.state,
            State::Failed | State::Undelivered
        ));
        assert_eq!(view.attempts.len(), 2);
        assert_eq!(fixture.waiting().await, Vec::<MessageRow>::new());
    }
}

pub(crate) async fn a_refusal_in_the_answer_tries_the_other_form_too(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    fixture.attempt(id, refused(63_024)).await;
    let (to, _) = to_of_next_attempt(fixture, id).await;
    assert_eq!(to, old_number(1));
}

pub(crate) async fn what_was_delivered_is_remembered(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    let (_, first) = to_of_next_attempt(fixture, id).await;
    fixture.fail(first, ProviderStatus::Failed, 63_024).await;
    let (_, second) = to_of_next_attempt(fixture, id).await;
    fixture.report(second, ProviderStatus::Sent).await;
    let meanwhile = fixture.accept(notice(1, "b")).await;
    let (to, _) = to_of_next_attempt(fixture, meanwhile).await;
    assert_eq!(to, number(1), "sent proves nothing yet");
    fixture.report(second, ProviderStatus::Delivered).await;
    fixture.reopen().await;
    let next = fixture.accept(notice(1, "c")).await;
    let (to, third) = to_of_next_attempt(fixture, next).await;
    assert_eq!(to, old_number(1));
    // The right form is known: nobody under it is the end.
    fixture.fail(third, ProviderStatus::Failed, 63_024).await;
    assert_eq!(fixture.state(next).await, State::Failed);
}

pub(crate) async fn a_delivery_under_the_canonical_form_is_remembered_too(
    fixture: &mut StoreFixture,
) {
    let id = fixture.accept(notice(1, "a")).await;
    let (_, sent) = to_of_next_attempt(fixture, id).await;
    fixture.report(sent, ProviderStatus::Delivered).await;
    fixture.reopen().await;
    let next = fixture.accept(notice(1, "b")).await;
    let (to, sent) = to_of_next_attempt(fixture, next).await;
    assert_eq!(to, number(1));
    fixture.fail(sent, ProviderStatus::Failed, 63_024).await;
    assert_eq!(fixture.state(next).await, State::Failed);
    assert_eq!(fixture.view(next).await.attempts.len(), 1);
    // The same goes for what the answer says.
    let last = fixture.accept(notice(1, "c")).await;
    fixture.attempt(last, refused(63_024)).await;
    assert_eq!(fixture.state(last).await, State::Failed);
}

pub(crate) async fn the_form_that_a_person_writes_from_is_the_one_to_use(
    fixture: &mut StoreFixture,
) {
    let inbound = fixture.inbound_from(&old_number(1), FIRST, "oi");
    fixture.receive(inbound).await;
    let id = fixture.accept(text(1, "olá")).await;
    let (to, _) = to_of_next_attempt(fixture, id).await;
    assert_eq!(to, old_number(1));
    let inbound = fixture.inbound_from(&number(1), FIRST, "número novo");
    fixture.receive(inbound).await;
    let id = fixture.accept(text(1, "olá de novo")).await;
    let (to, sent) = to_of_next_attempt(fixture, id).await;
    assert_eq!(to, number(1));
    fixture.fail(sent, ProviderStatus::Failed, 63_024).await;
    assert_eq!(fixture.state(id).await, State::Failed, "the form is proven");
}

pub(crate) async fn other_codes_do_not_try_the_other_form(fixture: &mut StoreFixture) {
    for (n, code) in (1..).zip([63_016, 63_013, 21_211, 63_032]) {
        let id = fixture.accept(notice(n, "a")).await;
        let (_, sent) = to_of_next_attempt(fixture, id).await;
        fixture.fail(sent, ProviderStatus::Failed, code).await;
        assert_eq!(fixture.state(id).await, State::Failed, "{code}");
    }
    assert_eq!(fixture.waiting().await, Vec::<MessageRow>::new());
}

pub(crate) async fn lines_without_another_form_are_not_tried_twice(fixture: &mut StoreFixture) {
    for number in ["+558532221111", "+14155550123", "BR.1234567890123456"] {
        let message = Message {
            to: address(number),
            ..notice(1, number)
        };
        let id = fixture.accept(message).await;
        let (to, sent) = to_of_next_attempt(fixture, id).await;
        assert_eq!(to, format!("{number}"));
        fixture.fail(sent, ProviderStatus::Failed, 63_024).await;
        assert_eq!(fixture.state(id).await, State::Failed, "{number}");
    }
}

/// The network, or a limit, came between: the form that is left is still the other one.
pub(crate) async fn trouble_on_the_way_does_not_go_back_to_the_form_that_failed(
    fixture: &mut StoreFixture,
) {
    for (n, trouble) in (1..).zip([no_connection(), refused(21_611)]) {
        let id = fixture.accept(notice(n, "a")).await;
        let (_, first) = to_of_next_attempt(fixture, id).await;
        fixture.fail(first, ProviderStatus::Failed, 63_024).await;
        let attempt = fixture.open(id).await;
        assert_eq!(attempt.to.in_variant(attempt.variant), old_number(n));
        let closed = fixture.close(attempt.attempt, trouble.clone()).await;
        fixture.now = closed.retry_at.unwrap();
        let (to, last) = to_of_next_attempt(fixture, id).await;
        assert_eq!(to, old_number(n), "{trouble:?}");
        fixture.report(last, ProviderStatus::Delivered).await;
        assert_eq!(fixture.state(id).await, State::Delivered);
    }
}
