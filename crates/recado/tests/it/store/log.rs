//! The log, the numbers, people's and senders' records, keys, and lists.

use std::collections::BTreeSet;

use delivery::counter::{Metric, bucket};
use delivery::message::{Kind, Message, SenderName};
use delivery::outcome::ProviderStatus;
use delivery::state::State;
use delivery::time::Timestamp;
use recado::store::{
    CounterGroup, CounterQuery, CounterRow, EventView, KeyScope, MessageFilter, MessageId,
    MessageSummary, NewApiKey,
};

use super::fixture::*;
use super::samples::*;

async fn events(fixture: &StoreFixture, after: i64, limit: usize) -> Vec<EventView> {
    fixture.store().events(after, limit).await.unwrap()
}

pub(crate) async fn events_have_keys_without_gaps_and_can_be_resumed(fixture: &mut StoreFixture) {
    assert!(events(fixture, 0, 10).await.is_empty());
    let id = fixture.accept(notice(1, "a")).await;
    let sent = fixture.send(id).await;
    // What fails, is refused or is known leaves no gap.
    fixture.refusal(notice(1, "a")).await;
    let taken = fixture.new_message(notice(2, "b"));
    let doubled = recado::store::NewMessage {
        id,
        ..fixture.new_message(notice(3, "c"))
    };
    let failed = fixture.store().accept(vec![taken, doubled]).await;
    assert!(failed.is_err(), "an id is used once, the whole batch fails");
    fixture.report(sent, ProviderStatus::Sent).await;
    fixture.report(sent, ProviderStatus::Sent).await;
    fixture
        .fail(sent, ProviderStatus::Undelivered, 63_016)
        .await;
    fixture.reopen().await;
    let other = fixture.accept(notice(4, "d")).await;
    let all = events(fixture, 0, 100).await;
    let keys: Vec<i64> = all.iter().map(|event| event.key).collect();
    assert_eq!(keys, (1..=6).collect::<Vec<_>>());
    assert_eq!(fixture.store().last_event().await.unwrap(), 6);
    let told: Vec<_> = all
        .iter()
        .map(|event| {
            (
                event.message,
                event.entry.kind.as_str(),
                event.entry.attempt,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (id, "accepted", None),
            (id, "attempt_opened", Some(1)),
            (id, "attempt_sent", Some(1)),
            (id, "reported", Some(1)),
            (id, "reported", Some(1)),
            (other, "accepted", None),
        ]
    );
    assert_eq!(all[4].entry.code, Some(63_016));
    assert_eq!(all[4].entry.state, State::Undelivered);
    for step in 1..=7 {
        let mut resumed = Vec::new();
        loop {
            let after = resumed.last().copied().unwrap_or(0);
            let page = events(fixture, after, step).await;
            assert!(page.len() <= step);
            if page.is_empty() {
                break;
            }
            resumed.extend(page.iter().map(|event| event.key));
        }
        assert_eq!(resumed, keys, "in steps of {step}");
    }
    assert!(events(fixture, 6, 10).await.is_empty());
    assert!(events(fixture, i64::MAX, 10).await.is_empty());
}

fn row(group: &str, metric: Metric, code: i64, n: i64) -> CounterRow {
    CounterRow {
        group: group.into(),
        metric,
        code,
        n,
    }
}

pub(crate) async fn counters_count_what_happened_by_every_group(fixture: &mut StoreFixture) {
    let hour = fixture.now.hour();
    let id = fixture.accept(notice(1, "a")).await;
    fixture.pass(2 * SECOND_LONG);
    let sent = fixture.send(id).await;
    fixture.report(sent, ProviderStatus::Sent).await;
    fixture.pass(3 * SECOND_LONG);
    fixture.report(sent, ProviderStatus::Delivered).await;
    fixture.pass(HOUR);
    fixture.report(sent, ProviderStatus::Read).await;
    let other = Message {
        to: address("+5511988880001"),
        sender: Some(SenderName::new(SECOND)),
        kind: Kind::Marketing,
        ..notice(1, "b")
    };
    let other = fixture.accept(other).await;
    fixture.attempt(other, refused(21_617)).await;

    let expected = |group: &str| {
        [
            row(group, Metric::Accepted, 0, 1),
            row(group, Metric::Sent, 0, 1),
            row(group, Metric::Delivered, 0, 1),
            row(group, Metric::Read, 0, 1),
            row(group, Metric::State, State::Read.number(), 1),
            row(group, Metric::Attempts, 0, 1),
            row(group, Metric::Outcomes, 1, 1),
            row(group, Metric::AcceptedToSent, bucket(2 * SECOND_LONG), 1),
            row(group, Metric::SentToDelivered, bucket(3 * SECOND_LONG), 1),
            row(group, Metric::DeliveredToRead, bucket(HOUR), 1),
        ]
    };
    let failed = |group: &str| {
        [
            row(group, Metric::Accepted, 0, 1),
            row(group, Metric::State, State::Failed.number(), 1),
            row(group, Metric::Errors, 21_617, 1),
            row(group, Metric::Attempts, 0, 1),
            row(group, Metric::Outcomes, 3, 1),
        ]
    };
    for (group, first, second) in [
        (CounterGroup::Sender, FIRST.to_owned(), SECOND.to_owned()),
        (CounterGroup::Kind, "utility".into(), "marketing".into()),
        (CounterGroup::Area, "85".into(), "11".into()),
        (CounterGroup::Hour, hour.to_string(), (hour + 1).to_string()),
    ] {
        let rows = fixture.counters(group).await;
        let of = |name: &str| -> Vec<CounterRow> {
            rows.iter()
                .filter(|row| row.group == name)
                .cloned()
                .collect()
        };
        assert_eq!(of(&first), expected(&first), "{group:?}");
        assert_eq!(of(&second), failed(&second), "{group:?}");
        assert_eq!(rows.len(), 15, "{group:?}");
    }
    let template = template_sid(1).to_string();
    for (group, name) in [
        (CounterGroup::None, ""),
        (CounterGroup::Day, &*(hour / 24).to_string()),
        (CounterGroup::Template, &*template),
    ] {
        let rows = fixture.counters(group).await;
        assert!(
            rows.contains(&row(name, Metric::Accepted, 0, 2)),
            "{group:?}"
        );
        assert!(
            rows.contains(&row(name, Metric::Attempts, 0, 2)),
            "{group:?}"
        );
    }
    for (from, to, accepted) in [
        (hour, hour + 1, 1),
        (hour + 1, hour + 2, 1),
        (hour, hour + 2, 2),
        (hour + 2, i64::MAX, 0),
        (0, hour, 0),
    ] {
        let query = CounterQuery {
            from_hour: from,
            to_hour: to,
            group: CounterGroup::None,
        };
        let rows = fixture.store().counters(query).await.unwrap();
        let found = rows.iter().find(|row| row.metric == Metric::Accepted);
        assert_eq!(found.map_or(0, |row| row.n), accepted, "{from} to {to}");
    }
}

pub(crate) async fn gauges_show_sizes_and_depths(fixture: &mut StoreFixture) {
    let empty = fixture.store().gauges(fixture.now).await.unwrap();
    assert_eq!((empty.queued, empty.oldest_due_at), (0, None));
    let oldest = fixture.now;
    let mut ids = Vec::new();
    for n in 1..=5 {
        ids.push(fixture.accept(notice(n, "a")).await);
        fixture.pass(SECOND_LONG);
    }
    fixture.send(ids[4]).await;
    fixture.lose(ids[3]).await;
    fixture.open(ids[2]).await;
    fixture.attempt(ids[1], refused(21_617)).await;
    let gauges = fixture.store().gauges(fixture.now).await.unwrap();
    assert_eq!(gauges.queued, 1);
    assert_eq!(gauges.oldest_due_at, Some(oldest));
    assert_eq!((gauges.open_attempts, gauges.unknown_watched), (1, 1));
    assert_eq!(gauges.errors, [(21_617, 1)]);
    let mut states: Vec<_> = gauges.states.into_iter().filter(|(_, n)| *n > 0).collect();
    states.sort_unstable_by_key(|(state, _)| state.rank());
    assert_eq!(
        states,
        [
            (State::Accepted, 1),
            (State::Sending, 1),
            (State::Unknown, 1),
            (State::Queued, 1),
            (State::Failed, 1),
        ]
    );
    assert!(gauges.database_bytes > 4_096);
    fixture.store().probe().await.unwrap();
}

pub(crate) async fn keys_are_made_found_listed_and_revoked(fixture: &mut StoreFixture) {
    let store = fixture.shared_store();
    let now = fixture.now;
    for (n, scope) in (0_u8..).zip(KeyScope::ALL.iter().copied()) {
        let key = NewApiKey {
            id: format!("key{n}"),
            name: format!("name {n}"),
            scope,
            hash: [n; 32],
            now,
        };
        store.create_key(key.clone()).await.unwrap();
        assert!(store.create_key(key).await.is_err(), "an id is used once");
    }
    let found = store.key("key1".into()).await.unwrap().unwrap();
    assert_eq!(found.scope, KeyScope::Send);
    assert_eq!((found.name.as_str(), found.hash), ("name 1", [1; 32]));
    assert_eq!((found.created_at, found.revoked_at), (now, None));
    assert!(store.key("key9".into()).await.unwrap().is_none());
    let later = now.plus(HOUR);
    assert!(store.revoke_key("key1".into(), later).await.unwrap());
    assert!(
        store
            .revoke_key("key1".into(), later.plus(HOUR))
            .await
            .unwrap()
    );
    assert!(!store.revoke_key("key9".into(), later).await.unwrap());
    drop(store);
    fixture.reopen().await;
    let keys = fixture.store().keys().await.unwrap();
    let shown: Vec<_> = keys
        .iter()
        .map(|key| (key.id.as_str(), key.revoked_at))
        .collect();
    assert_eq!(
        shown,
        [("key0", None), ("key1", Some(later)), ("key2", None)]
    );
}

pub(crate) async fn senders_follow_the_configuration(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    fixture.pause(SECOND, true).await;
    let store = fixture.shared_store();
    let unknown = store.pause_sender("+551140009999".into(), true, fixture.now);
    assert!(!unknown.await.unwrap());
    drop(store);
    fixture.reopen_with(&[SECOND, "+551140000002"]).await;
    let senders = fixture.store().senders().await.unwrap();
    let shown: Vec<_> = senders
        .iter()
        .map(|s| {
            (
                s.name.as_str(),
                s.configured,
                s.paused_at.is_some(),
                s.queued,
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (FIRST, false, false, 1),
            (SECOND, true, true, 0),
            ("+551140000002", true, false, 0),
        ]
    );
    assert_eq!(senders[1].pause_reason.as_deref(), Some("operator"));
    let gone = fixture.refusal(notice(2, "a")).await;
    assert_eq!(gone, recado::store::AcceptRefusal::UnknownSender);
    fixture.reopen().await;
    fixture.open(id).await;
}

async fn all_pages(
    fixture: &StoreFixture,
    filter: &MessageFilter,
    limit: usize,
) -> Vec<MessageSummary> {
    let mut before = None;
    let mut all: Vec<MessageSummary> = Vec::new();
    loop {
        let page = fixture
            .store()
            .messages(MessageFilter {
                before,
                limit,
                ..filter.clone()
            })
            .await
            .unwrap();
        assert!(page.messages.len() <= limit);
        assert!(page.next.is_none() || page.messages.len() == limit);
        all.extend(page.messages);
        before = page.next;
        if before.is_none() {
            return all;
        }
    }
}

/// Sixty messages that differ in everything a list can be asked for.
async fn sixty(fixture: &mut StoreFixture) -> Vec<MessageId> {
    let mut ids = Vec::new();
    for n in 0..60 {
        let message = Message {
            sender: Some(SenderName::new(if n % 2 == 0 { FIRST } else { SECOND })),
            ..notice(n % 7, &format!("{n}"))
        };
        let id = fixture.accept(message).await;
        match n % 5 {
            0 => {}
            1 => {
                fixture.send(id).await;
            }
            2 => {
                fixture.attempt(id, refused(21_617)).await;
            }
            3 => {
                let sent = fixture.send(id).await;
                fixture.fail(sent, ProviderStatus::Failed, 63_016).await;
            }
            _ => {
                fixture
                    .command(id, recado::store::MessageCommand::Cancel)
                    .await;
            }
        }
        ids.push(id);
        if n % 3 == 0 {
            fixture.pass(MINUTE);
        }
    }
    ids
}

pub(crate) async fn lists_show_each_message_once_whatever_the_filter(fixture: &mut StoreFixture) {
    let ids = sixty(fixture).await;
    let everything = all_pages(fixture, &MessageFilter::default(), 100).await;
    let newest_first: Vec<MessageId> = ids.iter().rev().copied().collect();
    let shown: Vec<MessageId> = everything.iter().map(|summary| summary.id).collect();
    assert_eq!(shown, newest_first);
    let mut filters = vec![MessageFilter::default()];
    let with = |filters: &[MessageFilter], change: &dyn Fn(&mut MessageFilter)| {
        let mut more = filters.to_vec();
        more.iter_mut().for_each(change);
        more
    };
    let mut grown = filters.clone();
    for state in [
        State::Accepted,
        State::Queued,
        State::Failed,
        State::Canceled,
    ] {
        grown.extend(with(&filters, &|filter| filter.state = Some(state)));
    }
    filters = grown.clone();
    grown.extend(with(&filters, &|filter| filter.to = Some(person(3))));
    grown.extend(with(&filters, &|filter| filter.to = Some(person(99))));
    filters = grown.clone();
    grown.extend(with(&filters, &|filter| {
        filter.sender = Some(SECOND.into())
    }));
    grown.extend(with(&filters, &|filter| filter.sender = Some("+1".into())));
    filters = grown.clone();
    grown.extend(with(&filters, &|filter| filter.error = Some(63_016)));
    filters = grown.clone();
    grown.extend(with(&filters, &|filter| {
        filter.since = Some(START.plus(5 * MINUTE));
    }));
    grown.extend(with(&filters, &|filter| {
        filter.until = Some(START.plus(12 * MINUTE));
    }));
    grown.extend(with(&filters, &|filter| {
        filter.since = Some(START.plus(5 * MINUTE));
        filter.until = Some(START.plus(12 * MINUTE));
    }));
    let mut found = BTreeSet::new();
    for filter in &grown {
        let expected: Vec<MessageId> = everything
            .iter()
            .filter(|summary| fits(filter, summary))
            .map(|summary| summary.id)
            .collect();
        for limit in [1, 7, 100] {
            let shown = all_pages(fixture, filter, limit).await;
            let shown: Vec<MessageId> = shown.iter().map(|summary| summary.id).collect();
            assert_eq!(shown, expected, "{filter:?} in pages of {limit}");
        }
        found.insert(expected.len());
    }
    assert!(found.len() > 10, "filters of every strength: {found:?}");
}

fn fits(filter: &MessageFilter, summary: &MessageSummary) -> bool {
    let at = summary.accepted_at;
    filter.state.is_none_or(|state| summary.state == state)
        && filter
            .to
            .as_ref()
            .is_none_or(|to| summary.to.as_ref() == Some(to))
        && filter
            .sender
            .as_ref()
            .is_none_or(|sender| summary.from == *sender)
        && filter
            .error
            .is_none_or(|code| summary.error.and_then(|e| e.code) == Some(code))
        && filter.since.is_none_or(|since| at >= since)
        && filter.until.is_none_or(|until| at < until)
}

pub(crate) async fn a_list_can_begin_and_end_anywhere(fixture: &mut StoreFixture) {
    sixty(fixture).await;
    let everything = all_pages(fixture, &MessageFilter::default(), 100).await;
    let half = MINUTE / 2;
    for step in 0..50 {
        let at = START.minus(MINUTE).plus(half * step);
        for (since, until) in [(Some(at), None), (None, Some(at))] {
            let filter = MessageFilter {
                since,
                until,
                ..MessageFilter::default()
            };
            let expected = everything.iter().filter(|summary| fits(&filter, summary));
            let shown = all_pages(fixture, &filter, 100).await;
            assert_eq!(shown.len(), expected.count(), "{filter:?}");
        }
    }
    for time in [i64::MIN, 0, i64::MAX] {
        let filter = MessageFilter {
            since: Some(Timestamp::from_micros(time)),
            ..MessageFilter::default()
        };
        let expected = if time > 0 { 0 } else { 60 };
        assert_eq!(all_pages(fixture, &filter, 100).await.len(), expected);
    }
}
