//! Several names of one person: what is learned from signed callbacks, and what follows the person.

use delivery::address::Address;
use delivery::consent::{Consent, ConsentChange, ConsentKind};
use delivery::event::Source;
use delivery::identity::IdentityKind;
use delivery::message::{BusinessKey, Message};
use delivery::outcome::ProviderStatus;
use delivery::row::PersonRow;
use delivery::sid::Sid;
use delivery::state::State;
use delivery::time::Timestamp;
use recado::store::{
    AcceptRefusal, ConsentCheckQuery, ConsentCheckResult, ConsentEntryKind, InboundQuery,
    InboundResult, MessageFilter, MessageId, OpenResult, ReportResult,
};

use super::fixture::*;
use super::samples::*;

/// The first person's id at this business, and at all businesses of its owner.
const USER_ID: &str = "BR.1234567890123456";
const PARENT_ID: &str = "BR.ENT.1234567890123456";

fn to(who: &str, message: Message) -> Message {
    Message {
        to: address(who),
        ..message
    }
}

/// An inbound message that carries several names of who wrote it.
async fn writes(fixture: &mut StoreFixture, names: &[&str], body: &str) -> InboundResult {
    let mut inbound = fixture.inbound_from(names[0], FIRST, body);
    inbound.also = names[1..].iter().map(|name| address(name)).collect();
    fixture.receive(inbound).await
}

async fn consent(fixture: &StoreFixture, who: &str) -> Consent {
    let view = fixture.store().consent(address(who)).await.unwrap();
    view.expect("the person is known").consent
}

async fn who(fixture: &StoreFixture, who: &str) -> PersonRow {
    let view = fixture.store().consent(address(who)).await.unwrap();
    view.expect("the person is known").person
}

async fn history(fixture: &StoreFixture, who: &str) -> (Vec<IdentityKind>, Vec<ConsentEntryKind>) {
    let history = fixture.store().consent_history(address(who)).await.unwrap();
    let history = history.expect("the person is known");
    let kinds = history.identities.iter().map(|identity| identity.kind);
    let entries = history.entries.iter().map(|entry| entry.what);
    (kinds.collect(), entries.collect())
}

/// A report about a message that carries names of its recipient.
async fn reported(fixture: &mut StoreFixture, sent: Sent, names: &[&str]) -> ReportResult {
    let mut report = fixture.report_of(sent.attempt, Some(sent.sid), ProviderStatus::Sent);
    report.names = names.iter().map(|name| address(name)).collect();
    fixture.tell(report).await
}

pub(crate) async fn an_opt_out_by_phone_holds_for_the_user_id(fixture: &mut StoreFixture) {
    let phone = number(1);
    let left = writes(fixture, &[&phone, USER_ID, PARENT_ID], "SAIR").await;
    assert_eq!(left.change, ConsentChange::OptOut);
    // She takes a username: her phone is hidden from now on.
    writes(fixture, &[USER_ID], "oi").await;
    for name in [USER_ID, PARENT_ID, phone.as_str()] {
        assert_eq!(consent(fixture, name).await, Consent::OptedOut, "{name}");
        let id = fixture.accept(to(name, notice(1, name))).await;
        assert_eq!(fixture.state(id).await, State::Suppressed, "{name}");
    }
    fixture.reopen().await;
    assert_eq!(consent(fixture, USER_ID).await, Consent::OptedOut);
    fixture.pass(MINUTE);
    // Her word under one name is her word under all of them.
    writes(fixture, &[USER_ID], "VOLTAR").await;
    assert_eq!(consent(fixture, &phone).await, Consent::Open);
}

pub(crate) async fn an_opt_out_by_user_id_holds_for_the_phone(fixture: &mut StoreFixture) {
    let waiting = fixture.accept(notice(1, "a")).await;
    let stranger = fixture.accept(notice(2, "a")).await;
    writes(fixture, &[USER_ID], "SAIR").await;
    assert_eq!(fixture.state(waiting).await, State::Accepted);
    // The first callback that carries both names stops what waits, in its own commit.
    writes(fixture, &[USER_ID, &number(1)], "oi").await;
    assert_eq!(fixture.state(waiting).await, State::Suppressed);
    assert_eq!(fixture.state(stranger).await, State::Accepted);
    let later = fixture.accept(notice(1, "b")).await;
    assert_eq!(fixture.state(later).await, State::Suppressed);
    assert_eq!(fixture.due_ids().await, [stranger]);
}

pub(crate) async fn a_report_that_carries_both_names_ties_them(fixture: &mut StoreFixture) {
    writes(fixture, &[USER_ID], "SAIR").await;
    let first = fixture.accept(notice(1, "a")).await;
    let sent = fixture.send(first).await;
    let waiting = fixture.accept(notice(1, "b")).await;
    // A report that names only strangers ties nobody.
    reported(fixture, sent, &[&number(2), USER_ID]).await;
    assert_eq!(fixture.state(waiting).await, State::Accepted);
    // The old form of the number is the same name.
    reported(fixture, sent, &[&old_number(1), USER_ID]).await;
    assert_eq!(fixture.state(waiting).await, State::Suppressed);
    assert_eq!(consent(fixture, &number(1)).await, Consent::OptedOut);
    assert_eq!(fixture.state(first).await, State::Sent);
    // The same again changes nothing.
    let before = history(fixture, USER_ID).await;
    assert_eq!(
        reported(fixture, sent, &[&number(1), USER_ID]).await,
        ReportResult::Duplicate
    );
    assert_eq!(history(fixture, USER_ID).await, before);
}

pub(crate) async fn open_attempts_of_both_work_to_their_end(fixture: &mut StoreFixture) {
    let by_phone = fixture.accept(notice(1, "a")).await;
    let by_id = fixture.accept(to(USER_ID, notice(1, "b"))).await;
    let next = fixture.accept(notice(1, "c")).await;
    let phone = fixture.open(by_phone).await;
    let id = fixture.open(by_id).await;
    let before = who(fixture, USER_ID).await;
    let result = writes(fixture, &[&number(1), USER_ID], "oi").await;
    // Whoever waits for either person waits for both attempts.
    for person in [result.person, before] {
        let open = fixture.store().open_attempts_of(person).await.unwrap();
        assert_eq!(open, 2, "{person}");
    }
    assert!(matches!(fixture.try_open(next).await, OpenResult::Busy));
    let sid = fixture.sid();
    fixture
        .close(phone.attempt, accepted_by_provider(sid))
        .await;
    assert!(matches!(fixture.try_open(next).await, OpenResult::Busy));
    let sid = fixture.sid();
    fixture.close(id.attempt, accepted_by_provider(sid)).await;
    assert_eq!(fixture.state(by_phone).await, State::Queued);
    assert_eq!(fixture.state(by_id).await, State::Queued);
    fixture.open(next).await;
}

pub(crate) async fn open_attempts_of_both_outlive_the_server(fixture: &mut StoreFixture) {
    let by_phone = fixture.accept(notice(1, "a")).await;
    let by_id = fixture.accept(to(USER_ID, notice(1, "b"))).await;
    fixture.open(by_phone).await;
    fixture.open(by_id).await;
    writes(fixture, &[USER_ID, &number(1)], "oi").await;
    assert_eq!(fixture.reopen().await, 2);
    assert_eq!(fixture.state(by_phone).await, State::Unknown);
    assert_eq!(fixture.state(by_id).await, State::Unknown);
    fixture.pass(MINUTE);
    let mut looked_for: Vec<(String, PersonRow)> = Vec::new();
    for watch in fixture.watches().await {
        let evidence = fixture.evidence(&watch).await;
        looked_for.push((evidence.to, evidence.person));
    }
    looked_for.sort();
    // Each is looked for at the address it was sent to, so they are two questions to the provider.
    let addresses: Vec<&str> = looked_for.iter().map(|(to, _)| to.as_str()).collect();
    assert_eq!(addresses, [number(1).as_str(), USER_ID]);
    // One look asks for both, because what is listed may be any one's.
    assert_eq!(looked_for[0].1, looked_for[1].1);
}

pub(crate) async fn messages_keep_the_address_they_were_accepted_for(fixture: &mut StoreFixture) {
    let before = fixture.accept(to(USER_ID, notice(1, "a"))).await;
    let phone = fixture.accept(notice(1, "b")).await;
    writes(fixture, &[USER_ID], "oi").await;
    writes(fixture, &[&number(1), USER_ID], "olá").await;
    let after = fixture.accept(to(USER_ID, notice(1, "c"))).await;
    for (id, name) in [(before, USER_ID), (phone, &number(1)), (after, USER_ID)] {
        let open = fixture.open(id).await;
        assert_eq!(open.to.canonical(), name);
        let sid = fixture.sid();
        fixture.close(open.attempt, accepted_by_provider(sid)).await;
        let shown = fixture.view(id).await.summary.to;
        assert_eq!(shown.as_ref().map(Address::canonical), Some(name));
    }
    for name in [USER_ID, &number(1)] {
        let filter = MessageFilter {
            to: Some(address(name)),
            limit: 10,
            ..MessageFilter::default()
        };
        let page = fixture.store().messages(filter).await.unwrap();
        let ids: Vec<MessageId> = page.messages.iter().map(|message| message.id).collect();
        assert_eq!(ids, [after, phone, before], "{name}");
        let query = InboundQuery {
            from: Some(address(name)),
            limit: 10,
            ..InboundQuery::default()
        };
        let inbox = fixture.store().inbound_messages(query).await.unwrap();
        let from = inbox
            .iter()
            .map(|view| view.from.as_ref().unwrap().canonical());
        assert_eq!(from.collect::<Vec<_>>(), [number(1).as_str(), USER_ID]);
        let said = inbox.iter().map(|view| view.payload.as_deref().unwrap());
        assert_eq!(
            said.collect::<Vec<_>>(),
            ["{\"body\":\"olá\"}", "{\"body\":\"oi\"}"]
        );
    }
}

pub(crate) async fn window_pace_and_dedupe_follow_the_person(fixture: &mut StoreFixture) {
    let first = fixture.accept(notice(1, "a")).await;
    fixture.accept(to(USER_ID, notice(1, "b"))).await;
    writes(fixture, &[&number(1)], "oi").await;
    assert_eq!(
        fixture.refusal(to(USER_ID, text(1, "olá"))).await,
        AcceptRefusal::WindowClosed
    );
    writes(fixture, &[USER_ID, &number(1)], "oi").await;
    fixture.accept(to(USER_ID, text(1, "olá"))).await;
    let same = AcceptRefusal::Duplicate { first };
    assert_eq!(fixture.refusal(to(USER_ID, notice(1, "a"))).await, same);
    // A name that becomes known later is the same person too.
    writes(fixture, &[USER_ID, PARENT_ID], "oi").await;
    assert_eq!(fixture.refusal(to(PARENT_ID, notice(1, "a"))).await, same);
    // A lane keeps its pace by person: all that waits is one person's.
    let person = who(fixture, &number(1)).await;
    let due = fixture.due(FIRST).await.due;
    let people: Vec<PersonRow> = due.iter().map(|due| due.person).collect();
    assert_eq!(people, [person; 3]);
}

pub(crate) async fn a_newer_notice_to_another_name_takes_the_place_of_the_older(
    fixture: &mut StoreFixture,
) {
    let about = |who: &str, key: &str| Message {
        business_key: Some(BusinessKey::parse(key)),
        ..to(who, notice(1, key))
    };
    let phone = number(1);
    let mut told = Vec::new();
    // The newer one went to the first name, to the second, or was only accepted later.
    for (by_phone, by_id, stays_by_phone) in [
        ("interview:1:v2", "interview:1:v1", true),
        ("interview:2:v1", "interview:2:v2", false),
        ("interview:3", "interview:3", false),
        ("interview:4:v1", "interview:5:v1", true),
    ] {
        let first = fixture.accept(about(&phone, by_phone)).await;
        let second = fixture.accept(about(USER_ID, by_id)).await;
        told.push((first, second, stays_by_phone));
    }
    writes(fixture, &[USER_ID, &phone], "oi").await;
    for (place, (first, second, stays)) in told.into_iter().enumerate() {
        let canceled = (State::Canceled, State::Accepted);
        let expected = match (place, stays) {
            (3, _) => (State::Accepted, State::Accepted),
            (_, true) => (State::Accepted, State::Canceled),
            (_, false) => canceled,
        };
        let states = (fixture.state(first).await, fixture.state(second).await);
        assert_eq!(states, expected, "{place}");
    }
    // What is known as the newest is known under each name.
    let late = fixture.refusal(about(USER_ID, "interview:1:v2")).await;
    assert!(matches!(late, AcceptRefusal::Superseded { .. }), "{late:?}");
    let late = fixture.refusal(about(&phone, "interview:2:v1")).await;
    assert!(matches!(late, AcceptRefusal::Superseded { .. }), "{late:?}");
}

pub(crate) async fn a_question_holds_for_every_name(fixture: &mut StoreFixture) {
    let by_phone = fixture.accept(notice(1, "a")).await;
    let by_id = fixture.accept(to(USER_ID, notice(1, "b"))).await;
    writes(fixture, &[&number(1)], "CANCELAR").await;
    assert_eq!(fixture.state(by_phone).await, State::Held);
    assert_eq!(fixture.state(by_id).await, State::Accepted);
    writes(fixture, &[&number(1), USER_ID], "hm").await;
    assert_eq!(fixture.state(by_id).await, State::Held);
    // The answer may come under the other name.
    fixture.pass(MINUTE);
    writes(fixture, &[USER_ID], "CONTINUAR").await;
    for id in [by_phone, by_id] {
        assert!(fixture.state(id).await.is_waiting());
    }
}

pub(crate) async fn chains_and_circles_end_as_one_person(fixture: &mut StoreFixture) {
    // Four names of one person, each met alone; every second one has something waiting.
    let names = [number(1), USER_ID.into(), PARENT_ID.into(), number(2)];
    let mut waiting = Vec::new();
    for name in &names {
        writes(fixture, &[name], "oi").await;
        waiting.push(fixture.accept(to(name, notice(1, name))).await);
    }
    fixture.pass(MINUTE);
    writes(fixture, &[&names[3]], "SAIR").await;
    fixture.pass(MINUTE);
    // The last two, then the first two, then both pairs, then round again.
    for (a, b) in [(3, 2), (0, 1), (2, 1), (3, 0), (1, 3), (0, 2)] {
        writes(fixture, &[&names[a], &names[b]], "oi").await;
    }
    let person = who(fixture, &names[0]).await;
    let told = history(fixture, &names[0]).await;
    for (name, id) in names.iter().zip(waiting) {
        assert_eq!(who(fixture, name).await, person);
        assert_eq!(consent(fixture, name).await, Consent::OptedOut);
        assert_eq!(fixture.state(id).await, State::Suppressed);
        assert_eq!(history(fixture, name).await, told);
    }
    let (kinds, entries) = told;
    let phone = IdentityKind::Phone;
    assert_eq!(
        kinds,
        [phone, IdentityKind::UserId, IdentityKind::ParentId, phone]
    );
    let merges = entries
        .iter()
        .filter(|what| matches!(what, ConsentEntryKind::PersonMerged(_)));
    assert_eq!(merges.count(), 3, "{entries:?}");
    // Both histories are there: the word, and what it did to the others.
    let opted_out = ConsentEntryKind::Consent(ConsentKind::OptedOut);
    assert_eq!(entries[0], opted_out);
    fixture.reopen().await;
    assert_eq!(who(fixture, &names[3]).await, person);
}

pub(crate) async fn names_in_one_batch_find_each_other(fixture: &mut StoreFixture) {
    let mut batch = Vec::new();
    for (from, also) in [
        (number(1), None),
        (USER_ID.to_owned(), None),
        (number(1), Some(USER_ID)),
        (USER_ID.to_owned(), Some(PARENT_ID)),
    ] {
        let body = if batch.len() == 1 { "SAIR" } else { "oi" };
        let mut inbound = fixture.inbound_from(&from, FIRST, body);
        inbound.also = also.into_iter().map(address).collect();
        batch.push(inbound);
    }
    fixture.store().inbound(batch).await.unwrap();
    let person = who(fixture, &number(1)).await;
    for name in [USER_ID, PARENT_ID] {
        assert_eq!(who(fixture, name).await, person);
    }
    assert_eq!(consent(fixture, PARENT_ID).await, Consent::OptedOut);
}

/// The provider says when the words that wait were written.
async fn asked(fixture: &StoreFixture, written: &[(Sid, Timestamp)]) -> usize {
    for asked in 0..10 {
        let query = ConsentCheckQuery {
            now: fixture.now,
            limit: 10,
        };
        let due = fixture.store().consent_checks(query).await.unwrap().due;
        let Some(check) = due.first() else {
            return asked;
        };
        let learned = check.ask.map(|ask| {
            let said = written.iter().find(|(sid, _)| *sid == ask.sid);
            (ask.key, said.expect("it was written").1)
        });
        let result = ConsentCheckResult {
            person: check.person,
            learned,
            again_at: Some(fixture.now),
            now: fixture.now,
        };
        let settled = fixture.store().settle_consent_checks(vec![result]).await;
        settled.unwrap();
    }
    panic!("it never ends");
}

/// A callback, which does not say when it was written, though the provider knows.
async fn says(
    fixture: &mut StoreFixture,
    names: &[&str],
    body: &str,
    written: &mut Vec<(Sid, Timestamp)>,
) {
    let mut inbound = fixture.inbound_from(names[0], FIRST, body);
    inbound.also = names[1..].iter().map(|name| address(name)).collect();
    inbound.written_at = None;
    // To the second.
    written.push((
        inbound.sid,
        Timestamp::from_seconds(fixture.now.micros() / 1_000_000),
    ));
    fixture.receive(inbound).await;
    fixture.pass(MINUTE);
}

pub(crate) async fn a_word_that_waits_for_its_time_follows_the_person(fixture: &mut StoreFixture) {
    // Whom we met first, and whether the merge meets a check that waits on the other side too.
    for (n, id, id_first, both) in [
        (1, "BR.1234567890123411", false, false),
        (2, "BR.1234567890123412", true, false),
        (3, "BR.1234567890123413", false, true),
        (4, "BR.1234567890123414", true, true),
    ] {
        let phone = number(n);
        let mut written = Vec::new();
        let (first, second) = if id_first {
            (id, phone.as_str())
        } else {
            (phone.as_str(), id)
        };
        says(fixture, &[first], "oi", &mut written).await;
        says(fixture, &[second], "oi", &mut written).await;
        // By one name nothing, as far as anybody knows; by the other out, and back again.
        says(fixture, &[id], "SAIR", &mut written).await;
        says(fixture, &[id], "VOLTAR", &mut written).await;
        if both {
            says(fixture, &[&phone], "SAIR", &mut written).await;
            says(fixture, &[&phone], "VOLTAR", &mut written).await;
        }
        says(fixture, &[&phone, id], "oi", &mut written).await;
        assert_eq!(consent(fixture, &phone).await, Consent::OptedOut);
        assert!(asked(fixture, &written).await > 0, "it still waits");
        // She wrote VOLTAR last, whichever name went and whatever it was known by.
        let view = fixture.store().consent(address(id)).await.unwrap().unwrap();
        assert_eq!(view.consent, Consent::Open);
        let same = fixture.store().consent(address(&phone)).await.unwrap();
        assert_eq!(Some(view), same);
        let check = ConsentCheckQuery {
            now: fixture.now.plus(DAY),
            limit: 10,
        };
        let left = fixture.store().consent_checks(check).await.unwrap();
        assert_eq!(left.due, [], "one check for one person, and it is over");
    }
}

pub(crate) async fn an_opt_in_that_ties_two_names_counts(fixture: &mut StoreFixture) {
    // Under which name she was out, and by which we met her first.
    for (n, out_by_phone, phone_first) in [
        (1, true, true),
        (2, true, false),
        (3, false, true),
        (4, false, false),
    ] {
        let (phone, id) = (number(n), format!("BR.123456789012340{n}"));
        let mut written = Vec::new();
        let names = [phone.as_str(), id.as_str()];
        let [out, other] = if out_by_phone {
            names
        } else {
            [names[1], names[0]]
        };
        let first = if phone_first { &phone } else { &id };
        says(fixture, &[first], "oi", &mut written).await;
        says(fixture, &[out], "SAIR", &mut written).await;
        let waiting = fixture.accept(to(other, notice(n, "a"))).await;
        let view = fixture.store().consent(address(out)).await.unwrap();
        let since = view.unwrap().since;
        says(fixture, &[&phone, &id], "VOLTAR", &mut written).await;
        // Until it is known when she wrote it, she is out under both names, since she said so.
        assert_eq!(fixture.state(waiting).await, State::Suppressed);
        for name in names {
            let view = fixture.store().consent(address(name)).await;
            let view = view.unwrap().unwrap();
            assert_eq!((view.consent, view.since), (Consent::OptedOut, since));
        }
        assert!(asked(fixture, &written).await > 0);
        assert_eq!(consent(fixture, other).await, Consent::Open);
    }
}

pub(crate) async fn of_two_opt_outs_the_one_that_was_said_last_stands(fixture: &mut StoreFixture) {
    for (n, operator_by_phone) in [(1, true), (2, false)] {
        let (phone, id) = (number(n), format!("BR.123456789012341{n}"));
        let mut written = Vec::new();
        let (hers, operators) = if operator_by_phone {
            (&id, &phone)
        } else {
            (&phone, &id)
        };
        says(fixture, &[&phone], "oi", &mut written).await;
        says(fixture, &[hers], "SAIR", &mut written).await;
        says(fixture, &[hers], "VOLTAR", &mut written).await;
        let now = fixture.now;
        let set = fixture.store().set_consent(address(operators), true, now);
        set.await.unwrap();
        fixture.pass(MINUTE);
        says(fixture, &[&phone, &id], "oi", &mut written).await;
        asked(fixture, &written).await;
        for name in [&phone, &id] {
            let view = fixture.store().consent(address(name)).await.unwrap();
            let view = view.unwrap();
            assert_eq!((view.consent, view.since), (Consent::OptedOut, Some(now)));
            assert_eq!(view.source, Some(Source::Operator));
        }
    }
}
