//! Words about consent count in the order in which they were written, and what was found in the
//! provider's list counts like what came by callback.

use std::collections::HashMap;
use std::time::Duration;

use delivery::consent::{Consent, ConsentChange, ProviderKeyword};
use delivery::event::Source;
use delivery::outcome::ProviderStatus;
use delivery::row::PersonRow;
use delivery::sid::Sid;
use delivery::state::State;
use delivery::time::Timestamp;
use recado::store::{
    AcceptRefusal, ConsentCheck, ConsentCheckQuery, ConsentCheckResult, InboundCursor,
    InboundQuery, InboundReading, NewInbound,
};

use super::consent::consent_of;
use super::fixture::*;
use super::samples::*;

/// A word that arrives by callback, which does not say when it was written.
async fn says(fixture: &mut StoreFixture, body: &str) -> (Sid, ConsentChange) {
    let inbound = NewInbound {
        written_at: None,
        ..fixture.inbound_from(&number(1), FIRST, body)
    };
    let sid = inbound.sid;
    (sid, fixture.receive(inbound).await.change)
}

async fn checks(fixture: &StoreFixture) -> Vec<ConsentCheck> {
    let query = ConsentCheckQuery {
        now: fixture.now,
        limit: 10,
    };
    fixture.store().consent_checks(query).await.unwrap().due
}

async fn settle(
    fixture: &StoreFixture,
    person: PersonRow,
    learned: Option<(i64, Timestamp)>,
    wait: Duration,
) {
    let result = ConsentCheckResult {
        person,
        learned,
        again_at: Some(fixture.now.plus(wait)),
        now: fixture.now,
    };
    let settled = fixture.store().settle_consent_checks(vec![result]).await;
    settled.unwrap();
}

/// Asks the provider until nothing is left to ask; gives how often.
async fn resolve(fixture: &StoreFixture, written: &HashMap<Sid, Timestamp>) -> usize {
    for asked in 0.. {
        let due = checks(fixture).await;
        let Some(check) = due.first() else {
            return asked;
        };
        assert!(asked < 10, "it never ends");
        let learned = check.ask.map(|ask| (ask.key, written[&ask.sid]));
        settle(fixture, check.person, learned, Duration::ZERO).await;
    }
    unreachable!()
}

pub(crate) async fn words_that_arrive_in_another_order_end_as_they_were_written(
    fixture: &mut StoreFixture,
) {
    // What they had said before, the words in the order of their arrival with the second in which
    // each was written, and how it ends.
    let open = Consent::Open;
    let out = Consent::OptedOut;
    for (before, words, end) in [
        // In order.
        ("SAIR", [("VOLTAR", 1), ("SAIR", 2)], out),
        ("SAIR", [("SAIR", 1), ("VOLTAR", 2)], open),
        ("oi", [("SAIR", 1), ("VOLTAR", 2)], open),
        ("oi", [("VOLTAR", 1), ("SAIR", 2)], out),
        // Reversed.
        ("SAIR", [("SAIR", 2), ("VOLTAR", 1)], out),
        ("SAIR", [("VOLTAR", 2), ("SAIR", 1)], open),
        ("oi", [("SAIR", 2), ("VOLTAR", 1)], out),
        ("oi", [("VOLTAR", 2), ("SAIR", 1)], open),
        // In the same second the stricter stands.
        ("SAIR", [("SAIR", 1), ("VOLTAR", 1)], out),
        ("oi", [("VOLTAR", 1), ("SAIR", 1)], out),
        // An answer to our question, and its question.
        ("cancelar", [("SAIR", 2), ("continuar", 1)], out),
        ("cancelar", [("SAIR", 1), ("voltar", 2)], open),
    ] {
        let case = format!("{before}, {words:?}");
        let mut written = HashMap::new();
        let start = fixture.now;
        let (sid, _) = says(fixture, before).await;
        written.insert(sid, start);
        resolve(fixture, &written).await;
        // Both arrive a minute later.
        fixture.pass(MINUTE);
        let mut strictest = false;
        for (body, second) in words {
            fixture.pass(SECOND_LONG);
            let (sid, change) = says(fixture, body).await;
            assert_ne!(
                change,
                ConsentChange::OptIn,
                "{case}: not before it is known"
            );
            written.insert(sid, start.plus(Duration::from_secs(second)));
            strictest |= consent_of(fixture, 1).await == Some(out);
        }
        assert!(strictest, "{case}: the stricter word stands until then");
        resolve(fixture, &written).await;
        assert_eq!(consent_of(fixture, 1).await, Some(end), "{case}");
        // From here on they are somebody who said nothing.
        fixture.pass(DAY);
        if end == out {
            let (sid, _) = says(fixture, "VOLTAR").await;
            written.insert(sid, fixture.now);
            resolve(fixture, &written).await;
        }
        assert_eq!(consent_of(fixture, 1).await, Some(open), "{case}");
        fixture.pass(DAY);
    }
}

pub(crate) async fn until_the_provider_answers_the_stricter_word_stands(
    fixture: &mut StoreFixture,
) {
    let start = fixture.now;
    let (first, _) = says(fixture, "SAIR").await;
    fixture.pass(MINUTE);
    let (second, _) = says(fixture, "VOLTAR").await;
    let id = fixture.accept(notice(1, "a")).await;
    assert_eq!(fixture.state(id).await, State::Suppressed);
    // The provider is away: it is asked again later, and not at once.
    for _ in 0..3 {
        let check = checks(fixture).await.remove(0);
        assert!(check.ask.is_some());
        settle(fixture, check.person, None, MINUTE).await;
        assert_eq!(checks(fixture).await, []);
        let query = ConsentCheckQuery {
            now: fixture.now,
            limit: 10,
        };
        let waiting = fixture.store().consent_checks(query).await.unwrap();
        assert_eq!(waiting.next_at, Some(fixture.now.plus(MINUTE)));
        assert_eq!(consent_of(fixture, 1).await, Some(Consent::OptedOut));
        fixture.pass(MINUTE);
        // A restart forgets nothing.
        fixture.reopen().await;
    }
    let written = HashMap::from([(first, start), (second, start.plus(MINUTE))]);
    assert_eq!(resolve(fixture, &written).await, 2);
    assert_eq!(consent_of(fixture, 1).await, Some(Consent::Open));
    let id = fixture.accept(notice(1, "b")).await;
    fixture.open(id).await;
    // Months later one question is enough: the opt-out had arrived long before.
    fixture.pass(90 * DAY);
    let (third, change) = says(fixture, "SAIR").await;
    assert_eq!(change, ConsentChange::OptOut);
    let written = HashMap::from([(third, fixture.now)]);
    assert_eq!(resolve(fixture, &written).await, 1);
    assert_eq!(consent_of(fixture, 1).await, Some(Consent::OptedOut));
}

pub(crate) async fn an_ordinary_opt_out_asks_nobody(fixture: &mut StoreFixture) {
    for body in ["oi", "cancelar", "SAIR", "SAIR", "tchau"] {
        fixture.pass(MINUTE);
        says(fixture, body).await;
        assert_eq!(checks(fixture).await, [], "{body}");
    }
    assert_eq!(consent_of(fixture, 1).await, Some(Consent::OptedOut));
}

pub(crate) async fn what_the_operator_said_later_stands(fixture: &mut StoreFixture) {
    let store = fixture.shared_store();
    let early = fixture.now;
    fixture.pass(HOUR);
    store
        .set_consent(person(1), true, fixture.now)
        .await
        .unwrap();
    fixture.pass(HOUR);
    // Written before the operator's word, found after it.
    let found = |fixture: &mut StoreFixture, body: &str, written_at| NewInbound {
        written_at: Some(written_at),
        listed: true,
        ..fixture.inbound_from(&number(1), FIRST, body)
    };
    let inbound = found(fixture, "VOLTAR", early);
    assert_eq!(fixture.receive(inbound).await.change, ConsentChange::None);
    assert_eq!(consent_of(fixture, 1).await, Some(Consent::OptedOut));
    store
        .set_consent(person(1), false, fixture.now)
        .await
        .unwrap();
    let inbound = found(fixture, "SAIR", early.plus(MINUTE));
    assert_eq!(fixture.receive(inbound).await.change, ConsentChange::None);
    assert_eq!(consent_of(fixture, 1).await, Some(Consent::Open));
    // Written after it.
    let at = fixture.now.plus(MINUTE);
    fixture.pass(HOUR);
    let inbound = found(fixture, "SAIR", at);
    assert_eq!(fixture.receive(inbound).await.change, ConsentChange::OptOut);
    assert_eq!(checks(fixture).await, []);
}

pub(crate) async fn an_opt_out_is_said_anew_by_who_says_it_again(fixture: &mut StoreFixture) {
    let store = fixture.shared_store();
    for (n, refused) in [(1, false), (2, true)] {
        let writes = |fixture: &mut StoreFixture, body: &str| NewInbound {
            written_at: None,
            ..fixture.inbound_from(&number(n), FIRST, body)
        };
        let told = fixture.accept(notice(n, "a")).await;
        let told = fixture.send(told).await;
        let mut written = HashMap::new();
        let sair = writes(fixture, "SAIR");
        written.insert(sair.sid, fixture.now);
        fixture.receive(sair).await;
        fixture.pass(MINUTE);
        // Taken back, which waits for the provider; and once more, which is not even here yet.
        let waits = writes(fixture, "VOLTAR");
        written.insert(waits.sid, fixture.now);
        fixture.receive(waits).await;
        let late = writes(fixture, "VOLTAR");
        written.insert(late.sid, fixture.now.plus(SECOND_LONG));
        fixture.pass(MINUTE);
        let since = fixture.now;
        if refused {
            fixture.fail(told, ProviderStatus::Failed, 21_610).await;
        } else {
            let view = store.set_consent(person(n), true, fixture.now).await;
            assert_eq!(view.unwrap().affected, 0, "it was so already");
        }
        let view = store.consent(person(n)).await.unwrap().unwrap();
        let source = if refused {
            Source::Callback
        } else {
            Source::Operator
        };
        assert_eq!((view.since, view.source), (Some(since), Some(source)));
        fixture.pass(MINUTE);
        fixture.receive(late).await;
        assert!(resolve(fixture, &written).await > 1);
        let end = consent_of(fixture, n).await;
        assert_eq!(end, Some(Consent::OptedOut), "refused: {refused}");
        // What is written after it counts.
        let back = writes(fixture, "VOLTAR");
        written.insert(back.sid, fixture.now);
        fixture.receive(back).await;
        resolve(fixture, &written).await;
        assert_eq!(consent_of(fixture, n).await, Some(Consent::Open));
    }
}

pub(crate) async fn when_nobody_asks_any_more_what_stands_goes_on_to_stand(
    fixture: &mut StoreFixture,
) {
    let (first, _) = says(fixture, "SAIR").await;
    let start = fixture.now;
    fixture.pass(MINUTE);
    says(fixture, "VOLTAR").await;
    let check = checks(fixture).await.remove(0);
    let given_up = ConsentCheckResult {
        person: check.person,
        learned: None,
        again_at: None,
        now: fixture.now,
    };
    let settled = fixture.store().settle_consent_checks(vec![given_up]).await;
    settled.unwrap();
    fixture.pass(DAY);
    assert_eq!(checks(fixture).await, []);
    assert_eq!(consent_of(fixture, 1).await, Some(Consent::OptedOut));
    // The next word is asked about by itself: whatever nobody could say arrived long before.
    let (again, _) = says(fixture, "VOLTAR").await;
    let written = HashMap::from([(first, start), (again, fixture.now)]);
    assert_eq!(resolve(fixture, &written).await, 1);
    assert_eq!(consent_of(fixture, 1).await, Some(Consent::Open));
}

pub(crate) async fn a_message_found_in_the_list_counts_when_it_was_written(
    fixture: &mut StoreFixture,
) {
    let waiting = fixture.accept(notice(1, "a")).await;
    let found = |fixture: &mut StoreFixture, who: &str, body: &str, ago| NewInbound {
        written_at: Some(fixture.now.minus(ago)),
        listed: true,
        ..fixture.inbound_from(who, FIRST, body)
    };
    // 23 hours ago: the window is open for 55 minutes more, with its margin.
    let inbound = found(fixture, &number(2), "oi", 23 * HOUR);
    fixture.receive(inbound).await;
    fixture.accept(text(2, "olá")).await;
    fixture.pass(HOUR);
    assert_eq!(
        fixture.refusal(text(2, "ainda")).await,
        AcceptRefusal::WindowClosed
    );
    let inbound = found(fixture, &number(1), "SAIR", 2 * HOUR);
    let sid = inbound.sid;
    assert_eq!(fixture.receive(inbound).await.change, ConsentChange::OptOut);
    assert_eq!(fixture.state(waiting).await, State::Suppressed);
    let unknown = fixture.sid();
    let known = fixture.store().known_inbound(vec![sid, unknown]);
    assert_eq!(known.await.unwrap(), [sid]);
    // An older word that is found later takes nothing back.
    let inbound = found(fixture, &number(1), "VOLTAR", 3 * HOUR);
    assert_eq!(fixture.receive(inbound).await.change, ConsentChange::None);
    assert_eq!(checks(fixture).await, []);
    // Nor does it say how to reach somebody who has written since from another form.
    let inbound = fixture.inbound_from(&number(3), FIRST, "oi");
    fixture.receive(inbound).await;
    let inbound = found(fixture, &old_number(3), "antes", HOUR);
    fixture.receive(inbound).await;
    let id = fixture.accept(notice(3, "a")).await;
    let attempt = fixture.open(id).await;
    assert_eq!(attempt.to.in_variant(attempt.variant), number(3));
}

pub(crate) async fn a_callback_completes_what_was_found_in_the_list(fixture: &mut StoreFixture) {
    let inbox = async |fixture: &StoreFixture| {
        let query = InboundQuery {
            limit: 10,
            ..InboundQuery::default()
        };
        fixture.store().inbound_messages(query).await.unwrap()
    };
    let listed = NewInbound {
        listed: true,
        ..fixture.inbound_from(&number(1), FIRST, "Não, obrigada 🙅")
    };
    let sid = listed.sid;
    fixture.receive(listed).await;
    let view = inbox(fixture).await.remove(0);
    assert!(view.listed && view.written_at.is_some());
    fixture.pass(MINUTE);
    let callback = |fixture: &mut StoreFixture| NewInbound {
        sid,
        message_type: "button".into(),
        payload: "{\"button\":1}".into(),
        button_payload: Some("SAIR".into()),
        written_at: None,
        ..fixture.inbound_from(&number(1), FIRST, "Não, obrigada 🙅")
    };
    let told = callback(fixture);
    let result = fixture.receive(told).await;
    assert_eq!(
        (result.duplicate, result.change),
        (true, ConsentChange::OptOut),
        "the list shows no button"
    );
    let shown = inbox(fixture).await;
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].payload.as_deref(), Some("{\"button\":1}"));
    assert_eq!(shown[0].message_type, "button");
    assert!(!shown[0].listed);
    assert_eq!(
        (shown[0].received_at, shown[0].written_at),
        (view.received_at, view.written_at)
    );
    // Once, and not again.
    let told = callback(fixture);
    assert_eq!(fixture.receive(told).await.change, ConsentChange::None);
    // What the provider has understood is stricter than the text that the list shows.
    let listed = NewInbound {
        listed: true,
        ..fixture.inbound_from(&number(3), FIRST, "cancelar")
    };
    let told = NewInbound {
        sid: listed.sid,
        provider_keyword: Some(ProviderKeyword::Stop),
        written_at: None,
        ..fixture.inbound_from(&number(3), FIRST, "cancelar")
    };
    fixture.receive(listed).await;
    assert_eq!(fixture.receive(told).await.change, ConsentChange::OptOut);
    assert_eq!(consent_of(fixture, 3).await, Some(Consent::OptedOut));
    // A word that asks is no answer to its own question.
    let listed = NewInbound {
        listed: true,
        ..fixture.inbound_from(&number(2), FIRST, "cancelar")
    };
    let sid = listed.sid;
    fixture.receive(listed).await;
    let told = NewInbound {
        sid,
        ..fixture.inbound_from(&number(2), FIRST, "cancelar")
    };
    assert_eq!(fixture.receive(told).await.change, ConsentChange::None);
    let asking = consent_of(fixture, 2).await.unwrap();
    assert!(matches!(asking, Consent::Asking { .. }), "{asking:?}");
}

pub(crate) async fn how_far_the_list_was_read_is_kept(fixture: &mut StoreFixture) {
    let sender = fixture.sender(FIRST).await;
    let read = async |fixture: &StoreFixture, recipient: &str| {
        let known = fixture.store().inbound_cursor(sender, recipient.to_owned());
        known.await.unwrap()
    };
    assert_eq!(read(fixture, FIRST).await, None);
    let begun = InboundCursor {
        sender,
        recipient: FIRST.to_owned(),
        listed_until: None,
        reading: Some(InboundReading {
            until: fixture.now,
            since: fixture.now.minus(DAY),
            next_page: "/page?2".to_owned(),
        }),
    };
    let ended = InboundCursor {
        listed_until: Some(fixture.now),
        reading: None,
        ..begun.clone()
    };
    for cursor in [begun, ended] {
        let written = fixture.store().set_inbound_cursor(cursor.clone());
        written.await.unwrap();
        fixture.reopen().await;
        assert_eq!(read(fixture, FIRST).await, Some(cursor));
        assert_eq!(read(fixture, SECOND).await, None);
    }
}

pub(crate) async fn earlier_callback_urls_are_known_for_a_month(fixture: &mut StoreFixture) {
    let used = async |fixture: &StoreFixture, url: &str| {
        let earlier = fixture
            .store()
            .use_callback_url(url.to_owned(), fixture.now);
        earlier.await.unwrap()
    };
    assert_eq!(used(fixture, "https://a").await, Vec::<String>::new());
    // However long it was in use.
    fixture.pass(90 * DAY);
    assert_eq!(used(fixture, "https://a").await, Vec::<String>::new());
    assert_eq!(used(fixture, "https://b").await, ["https://a"]);
    fixture.pass(20 * DAY);
    assert_eq!(used(fixture, "https://c").await, ["https://a", "https://b"]);
    fixture.pass(11 * DAY);
    assert_eq!(used(fixture, "https://c").await, ["https://b"]);
    // Back again.
    assert_eq!(used(fixture, "https://b").await, ["https://c"]);
    fixture.pass(31 * DAY);
    assert_eq!(used(fixture, "https://b").await, Vec::<String>::new());
}
