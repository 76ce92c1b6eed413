//! What people write: once each, in their inbox, opening the window.

use delivery::consent::{Consent, ConsentChange};
use delivery::message::{Message, Priority, WindowChoice};
use delivery::row::MessageRow;
use delivery::sid::Sid;
use delivery::state::State;
use recado::store::{AcceptRefusal, DueQuery, InboundQuery, InboundView, NewInbound};

use super::consent::consent_of;
use super::fixture::*;
use super::samples::*;

async fn inbox(fixture: &StoreFixture, query: InboundQuery) -> Vec<InboundView> {
    fixture.store().inbound_messages(query).await.unwrap()
}

pub(crate) async fn a_message_counts_once_however_often_it_comes(fixture: &mut StoreFixture) {
    let again = |fixture: &mut StoreFixture, body: &str, sid: Sid| {
        let inbound = fixture.inbound_from(&number(1), FIRST, body);
        NewInbound { sid, ..inbound }
    };
    let sid = fixture.sid();
    let first = again(fixture, "oi", sid);
    let first = fixture.receive(first).await;
    assert_eq!(
        (first.duplicate, first.change),
        (false, ConsentChange::None)
    );
    let opened = fixture.now;
    fixture.pass(DAY);
    // Not even a forged second text under the same id changes anything.
    for body in ["oi", "SAIR"] {
        let second = again(fixture, body, sid);
        let second = fixture.receive(second).await;
        assert_eq!(
            (second.duplicate, second.change),
            (true, ConsentChange::None)
        );
        assert_eq!(second.person, first.person);
    }
    assert_eq!(consent_of(fixture, 1).await, Some(Consent::Open));
    assert_eq!(
        fixture.refusal(text(1, "olá")).await,
        AcceptRefusal::WindowClosed
    );
    let shown = inbox(
        fixture,
        InboundQuery {
            limit: 10,
            ..InboundQuery::default()
        },
    )
    .await;
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].received_at, opened);
}

pub(crate) async fn the_same_message_twice_in_one_batch_counts_once(fixture: &mut StoreFixture) {
    let first = fixture.inbound_from(&number(1), FIRST, "oi");
    let sid = first.sid;
    let second = NewInbound {
        sid,
        ..fixture.inbound_from(&number(1), FIRST, "oi")
    };
    let results = fixture.store().inbound(vec![first, second]).await.unwrap();
    let duplicates: Vec<bool> = results.iter().map(|result| result.duplicate).collect();
    assert_eq!(duplicates, [false, true]);
    assert_eq!(fixture.store().inbound(Vec::new()).await.unwrap(), []);
}

pub(crate) async fn who_writes_to_a_number_that_is_not_ours_is_heard_all_the_same(
    fixture: &mut StoreFixture,
) {
    let waiting = fixture.accept(notice(1, "a")).await;
    let held = fixture.accept(notice(2, "a")).await;
    let inbound = fixture.inbound_from(&number(1), "+551140009999", "SAIR");
    fixture.receive(inbound).await;
    assert_eq!(fixture.state(waiting).await, State::Suppressed);
    let inbound = NewInbound {
        to: None,
        ..fixture.inbound_from(&number(2), FIRST, "CANCELAR")
    };
    fixture.receive(inbound).await;
    assert_eq!(fixture.state(held).await, State::Held);
    assert_eq!(
        fixture.waiting().await,
        Vec::<MessageRow>::new(),
        "nobody can ask"
    );
    assert_eq!(
        fixture.refusal(text(2, "olá")).await,
        AcceptRefusal::WindowClosed
    );
}

pub(crate) async fn the_inbox_pages_by_person_newest_first(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    let sent = fixture.send(id).await;
    let mut sids = Vec::new();
    for turn in 0..7 {
        fixture.pass(SECOND_LONG);
        let who = 1 + turn % 2;
        let inbound = NewInbound {
            reply_to: (turn == 6).then_some(sent.sid),
            message_type: "button".into(),
            ..fixture.inbound_from(&number(who), FIRST, &format!("olá {turn}"))
        };
        sids.insert(0, (who, inbound.sid));
        fixture.receive(inbound).await;
    }
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = inbox(
            fixture,
            InboundQuery {
                before,
                limit: 3,
                ..InboundQuery::default()
            },
        )
        .await;
        let Some(last) = page.last() else { break };
        before = Some(last.key);
        seen.extend(page.into_iter().map(|view| view.sid));
    }
    let all: Vec<Sid> = sids.iter().map(|(_, sid)| *sid).collect();
    assert_eq!(seen, all);
    let of_first = inbox(
        fixture,
        InboundQuery {
            from: Some(person(1)),
            before: None,
            limit: 10,
        },
    )
    .await;
    let expected: Vec<Sid> = sids
        .iter()
        .filter(|(who, _)| *who == 1)
        .map(|(_, s)| *s)
        .collect();
    let found: Vec<Sid> = of_first.iter().map(|view| view.sid).collect();
    assert_eq!(found, expected);
    let newest = &of_first[0];
    assert_eq!(newest.from, Some(person(1)));
    assert_eq!(newest.to.as_deref(), Some(FIRST));
    assert_eq!(newest.message_type, "button");
    assert_eq!(newest.reply_to, Some(id));
    assert_eq!(newest.payload.as_deref(), Some("{\"body\":\"olá 6\"}"));
    assert_eq!(newest.received_at, fixture.now);
    let nobody = inbox(
        fixture,
        InboundQuery {
            from: Some(person(3)),
            before: None,
            limit: 10,
        },
    )
    .await;
    assert!(nobody.is_empty());
}

pub(crate) async fn a_window_opens_again_with_every_message(fixture: &mut StoreFixture) {
    fixture.write(1, "oi").await;
    fixture.pass(23 * HOUR);
    fixture.write(1, "ainda aí?").await;
    fixture.pass(23 * HOUR);
    fixture.accept(text(1, "sim")).await;
    // What is told late does not close it: the newest word counts.
    let late = NewInbound {
        now: START,
        ..fixture.inbound_from(&number(1), FIRST, "antes")
    };
    fixture.receive(late).await;
    let id = fixture.accept(text(1, "ainda")).await;
    assert_eq!(
        fixture.view(id).await.summary.priority,
        Priority::Normal,
        "an ordinary message"
    );
    let assumed = Message {
        window: WindowChoice::AssumeOpen,
        ..text(2, "x")
    };
    fixture.accept(assumed).await;
    let sender = fixture.sender(FIRST).await;
    let query = DueQuery {
        sender,
        now: fixture.now,
        limit: 10,
        urgent_only: false,
    };
    assert_eq!(fixture.store().due(query).await.unwrap().due.len(), 3);
}
