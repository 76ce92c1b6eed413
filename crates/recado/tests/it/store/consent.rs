//! What people say about receiving messages: sure words, words that may mean it, and the question
//! that is asked then.

use delivery::consent::{Consent, ConsentChange, ProviderKeyword};
use delivery::event::Source;
use delivery::keyword::KeywordLanguage;
use delivery::message::{Content, Kind, Message, Priority, SenderName};
use delivery::row::MessageRow;
use delivery::sid::Sid;
use delivery::state::State;
use recado::store::{CommandResult, MessageCommand, NewInbound, OpenAttempt, OpenResult};

use super::fixture::*;
use super::samples::*;

/// The question that waits for a person, opened.
async fn question(fixture: &StoreFixture) -> OpenAttempt {
    let page = fixture.due(FIRST).await;
    assert_eq!(page.due[0].priority, Priority::Urgent);
    match fixture.open_key(page.due[0].message).await {
        OpenResult::Open(attempt) => *attempt,
        OpenResult::Busy | OpenResult::Held | OpenResult::Gone => panic!("the question may leave"),
    }
}

pub(super) async fn consent_of(fixture: &StoreFixture, n: u32) -> Option<Consent> {
    let view = fixture.store().consent(person(n)).await.unwrap();
    view.map(|view| view.consent)
}

pub(crate) async fn sure_words_opt_out_and_stop_what_waits(fixture: &mut StoreFixture) {
    for (n, word) in (1..).zip(["SAIR", " sair! ", "Pare.", "STOP", "excluir meus dados"]) {
        let waiting = fixture.accept(notice(n, "a")).await;
        let scheduled = fixture
            .accept(Message {
                send_at: Some(fixture.now.plus(DAY)),
                sender: Some(SenderName::new(SECOND)),
                ..notice(n, "b")
            })
            .await;
        let result = fixture.write(n, word).await;
        assert_eq!(result.change, ConsentChange::OptOut, "{word}");
        for id in [waiting, scheduled] {
            let view = fixture.view(id).await;
            assert_eq!(view.summary.state, State::Suppressed, "{word}");
            assert_eq!(view.history.last().unwrap().source, Source::Recipient);
        }
        let consent = fixture.store().consent(person(n)).await.unwrap().unwrap();
        assert_eq!(consent.consent, Consent::OptedOut);
        assert_eq!(consent.source, Some(Source::Recipient));
        assert_eq!(consent.since, Some(fixture.now));
    }
    assert_eq!(fixture.waiting().await, Vec::<MessageRow>::new());
}

pub(crate) async fn an_opt_out_holds_for_every_form_of_the_address(fixture: &mut StoreFixture) {
    let waiting = fixture.accept(notice(1, "a")).await;
    let inbound = fixture.inbound_from(&format!("whatsapp:{}", old_number(1)), FIRST, "SAIR");
    assert!(inbound.sent_form.is_some(), "they wrote without the 9");
    fixture.receive(inbound).await;
    assert_eq!(fixture.state(waiting).await, State::Suppressed);
    for spelling in [number(1), old_number(1)] {
        let later = Message {
            to: address(&spelling),
            ..notice(1, &spelling)
        };
        let later = fixture.accept(later).await;
        assert_eq!(fixture.state(later).await, State::Suppressed);
    }
}

pub(crate) async fn what_twilio_recognized_counts_too(fixture: &mut StoreFixture) {
    let waiting = fixture.accept(notice(1, "a")).await;
    let inbound = NewInbound {
        provider_keyword: Some(ProviderKeyword::Stop),
        ..fixture.inbound_from(&number(1), FIRST, "uma palavra qualquer")
    };
    assert_eq!(fixture.receive(inbound).await.change, ConsentChange::OptOut);
    assert_eq!(fixture.state(waiting).await, State::Suppressed);
    let inbound = NewInbound {
        provider_keyword: Some(ProviderKeyword::Start),
        ..fixture.inbound_from(&number(1), FIRST, "outra palavra")
    };
    assert_eq!(fixture.receive(inbound).await.change, ConsentChange::OptIn);
    let pressed = NewInbound {
        button_payload: Some("SAIR".into()),
        ..fixture.inbound_from(&number(1), FIRST, "Não quero mais 🙅")
    };
    assert_eq!(fixture.receive(pressed).await.change, ConsentChange::OptOut);
}

pub(crate) async fn a_word_that_may_mean_opt_out_holds_and_asks(fixture: &mut StoreFixture) {
    let waiting = fixture.accept(notice(1, "a")).await;
    let stranger = fixture.accept(notice(2, "a")).await;
    let result = fixture.write(1, "CANCELAR").await;
    assert_eq!(result.change, ConsentChange::Ask(KeywordLanguage::PtBr));
    assert_eq!(fixture.state(waiting).await, State::Held);
    assert_eq!(fixture.state(stranger).await, State::Accepted);
    let asked = question(fixture).await;
    assert_eq!(asked.to.in_variant(asked.variant), number(1));
    let Content::Text { body, .. } = &asked.content else {
        panic!("the question is free-form")
    };
    assert!(
        body.contains("SAIR") && body.contains("CONTINUAR"),
        "{body}"
    );
    assert_eq!(asked.expires_at, Some(fixture.now.plus(DAY)));
    fixture
        .close(asked.attempt, accepted_by_provider(sid(1)))
        .await;
    assert_eq!(fixture.view(asked.id).await.summary.kind, Kind::Service);
    assert_eq!(fixture.waiting().await, [fixture.key(stranger)]);
}

fn sid(n: u32) -> Sid {
    Sid::parse_message(&format!("SMaaaa{n:028x}")).unwrap()
}

pub(crate) async fn yes_means_opt_out(fixture: &mut StoreFixture) {
    for (n, yes) in (1..).zip(["SAIR", "cancelar", "Parar"]) {
        let waiting = fixture.accept(notice(n, "a")).await;
        fixture.write(n, "cancelar").await;
        fixture.pass(MINUTE);
        assert_eq!(
            fixture.write(n, yes).await.change,
            ConsentChange::OptOut,
            "{yes}"
        );
        assert_eq!(fixture.state(waiting).await, State::Suppressed, "{yes}");
        assert_eq!(consent_of(fixture, n).await, Some(Consent::OptedOut));
    }
    assert_eq!(
        fixture.waiting().await,
        Vec::<MessageRow>::new(),
        "no question is asked any more"
    );
}

pub(crate) async fn no_frees_what_was_held(fixture: &mut StoreFixture) {
    let waiting = fixture.accept(notice(1, "a")).await;
    fixture.write(1, "cancelar").await;
    let asked = question(fixture).await;
    fixture
        .close(asked.attempt, accepted_by_provider(sid(1)))
        .await;
    fixture.pass(MINUTE);
    // Talk in between is no answer.
    assert_eq!(
        fixture.write(1, "como assim?").await.change,
        ConsentChange::None
    );
    assert_eq!(fixture.state(waiting).await, State::Held);
    assert_eq!(
        fixture.write(1, "Continuar!").await.change,
        ConsentChange::OptIn
    );
    assert_eq!(consent_of(fixture, 1).await, Some(Consent::Open));
    assert_eq!(fixture.due_ids().await, [waiting]);
    assert_eq!(
        fixture.history(waiting).await,
        ["accepted", "held", "released"]
    );
    fixture.send(waiting).await;
    // The answer is over: a day later nothing becomes an opt-out.
    fixture.pass(2 * DAY);
    assert_eq!(
        fixture
            .store()
            .maintain(fixture.now)
            .await
            .unwrap()
            .opted_out,
        0
    );
}

pub(crate) async fn a_day_without_an_answer_is_an_opt_out(fixture: &mut StoreFixture) {
    let waiting = fixture.accept(notice(1, "a")).await;
    fixture.write(1, "cancelar").await;
    let asked = question(fixture).await;
    fixture
        .close(asked.attempt, accepted_by_provider(sid(1)))
        .await;
    fixture.pass(DAY - SECOND_LONG);
    assert_eq!(
        fixture
            .store()
            .maintain(fixture.now)
            .await
            .unwrap()
            .opted_out,
        0
    );
    assert_eq!(fixture.state(waiting).await, State::Held);
    fixture.pass(SECOND_LONG);
    assert_eq!(
        fixture
            .store()
            .maintain(fixture.now)
            .await
            .unwrap()
            .opted_out,
        1
    );
    assert_eq!(fixture.state(waiting).await, State::Suppressed);
    assert_eq!(consent_of(fixture, 1).await, Some(Consent::OptedOut));
    assert_eq!(
        fixture
            .store()
            .maintain(fixture.now)
            .await
            .unwrap()
            .opted_out,
        0
    );
}

pub(crate) async fn what_was_held_keeps_its_time(fixture: &mut StoreFixture) {
    let tomorrow = fixture.now.plus(20 * HOUR);
    let id = fixture
        .accept(Message {
            send_at: Some(tomorrow),
            ..notice(1, "reminder")
        })
        .await;
    fixture.write(1, "cancelar").await;
    assert_eq!(fixture.state(id).await, State::Held);
    fixture.write(1, "continuar").await;
    assert!(!fixture.due_ids().await.contains(&id), "not a day early");
    assert!(fixture.is_gone(id).await);
    assert_eq!(fixture.view(id).await.summary.due_at, Some(tomorrow));
    fixture.now = tomorrow;
    fixture.open(id).await;
}

pub(crate) async fn a_hold_by_a_question_and_a_retry_keep_the_time_too(fixture: &mut StoreFixture) {
    let tomorrow = fixture.now.plus(20 * HOUR);
    let id = fixture
        .accept(Message {
            send_at: Some(tomorrow),
            ..notice(1, "reminder")
        })
        .await;
    fixture.write(1, "cancelar").await;
    assert_eq!(
        fixture.command(id, MessageCommand::Retry).await,
        CommandResult::Done(State::Scheduled)
    );
    assert_eq!(fixture.view(id).await.summary.due_at, Some(tomorrow));
}

pub(crate) async fn a_held_message_can_be_canceled(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    fixture.write(1, "cancelar").await;
    assert_eq!(
        fixture.command(id, MessageCommand::Cancel).await,
        CommandResult::Done(State::Canceled)
    );
    fixture.write(1, "continuar").await;
    assert_eq!(fixture.state(id).await, State::Canceled);
    assert!(fixture.is_gone(id).await);
}

pub(crate) async fn start_undoes_an_opt_out_for_what_comes_later(fixture: &mut StoreFixture) {
    let before = fixture.accept(notice(1, "a")).await;
    fixture.write(1, "sair").await;
    assert_eq!(
        fixture.write(1, "sim").await.change,
        ConsentChange::None,
        "an answer is no command"
    );
    assert_eq!(
        fixture.write(1, "VOLTAR").await.change,
        ConsentChange::OptIn
    );
    assert_eq!(consent_of(fixture, 1).await, Some(Consent::Open));
    assert_eq!(
        fixture.state(before).await,
        State::Suppressed,
        "what was stopped is not sent after all"
    );
    let after = fixture.accept(notice(1, "a")).await;
    fixture.open(after).await;
    assert_eq!(fixture.write(1, "voltar").await.change, ConsentChange::None);
}

pub(crate) async fn the_operators_word_counts_like_the_persons(fixture: &mut StoreFixture) {
    let waiting = fixture.accept(notice(1, "a")).await;
    let store = fixture.shared_store();
    assert_eq!(store.consent(person(2)).await.unwrap(), None);
    let view = store
        .set_consent(person(1), true, fixture.now)
        .await
        .unwrap();
    assert_eq!((view.consent, view.affected), (Consent::OptedOut, 1));
    assert_eq!(view.source, Some(Source::Operator));
    assert_eq!(fixture.state(waiting).await, State::Suppressed);
    fixture.pass(SECOND_LONG);
    let again = store
        .set_consent(person(1), true, fixture.now)
        .await
        .unwrap();
    // It was so already, and is said again.
    assert_eq!((again.since, again.affected), (Some(fixture.now), 0));
    assert!(again.since > view.since);
    let open = store
        .set_consent(person(1), false, fixture.now)
        .await
        .unwrap();
    assert_eq!((open.consent, open.affected), (Consent::Open, 0));
    // Also for somebody we never met, and for somebody who is being asked.
    store
        .set_consent(person(2), true, fixture.now)
        .await
        .unwrap();
    let id = fixture.accept(notice(2, "a")).await;
    assert_eq!(fixture.state(id).await, State::Suppressed);
    let held = fixture.accept(notice(3, "a")).await;
    fixture.write(3, "cancelar").await;
    let open = store
        .set_consent(person(3), false, fixture.now)
        .await
        .unwrap();
    assert_eq!(open.affected, 1);
    assert_eq!(fixture.state(held).await, State::Scheduled);
}
