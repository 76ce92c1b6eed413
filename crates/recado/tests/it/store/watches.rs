//! What must be looked after: unknown attempts and silent messages.

use delivery::absence::Proof;
use delivery::counter::Metric;
use delivery::message::{Content, Message, Policy, SenderName, WindowChoice};
use delivery::outcome::{OutcomeKind, ProviderStatus};
use delivery::progress::WatchKind;
use delivery::row::AttemptRow;
use delivery::settle::TextEvidence;
use delivery::state::State;
use recado::store::{Finding, NextWatch, Report, ReportResult, WatchQuery};

use super::fixture::*;
use super::samples::*;

pub(crate) async fn an_unknown_attempt_says_what_to_look_for(fixture: &mut StoreFixture) {
    let contents = [
        (
            Content::Text {
                body: "Olá, Ana".into(),
                persistent_action: None,
            },
            TextEvidence::Exact("Olá, Ana".into()),
        ),
        (
            Content::Media {
                url: "https://example.com/a.png".into(),
                caption: None,
            },
            TextEvidence::Exact(String::new()),
        ),
        (
            Content::Template {
                content_sid: template_sid(1),
                variables: vec![("1".into(), "Ana".into()), ("2".into(), "9 h".into())],
            },
            TextEvidence::Contains(vec!["Ana".into(), "9 h".into()]),
        ),
    ];
    for (n, (content, expected)) in (1..).zip(contents) {
        let id = fixture
            .accept(Message {
                content,
                window: WindowChoice::AssumeOpen,
                ..notice(n, "")
            })
            .await;
        let started = fixture.now;
        let attempt = fixture.lose(id).await;
        fixture.pass(5 * SECOND_LONG);
        let watch = fixture.watches().await.remove(0);
        assert_eq!(watch.kind, WatchKind::Unknown);
        assert_eq!((watch.attempt, watch.polls), (attempt.row, 0));
        assert_eq!((watch.sid, watch.state), (None, State::Unknown));
        assert_eq!((watch.started_at, watch.at), (started, fixture.now));
        let evidence = fixture.evidence(&watch).await;
        assert_eq!(evidence.to, number(n));
        assert_eq!(evidence.to_alternative, Some(old_number(n)));
        assert_eq!(evidence.from.as_deref(), Some(FIRST));
        assert!(evidence.text == expected);
        fixture
            .settle(&watch, Finding::HorizonPassed(None), None)
            .await;
    }
}

pub(crate) async fn the_form_that_was_used_comes_first(fixture: &mut StoreFixture) {
    let inbound = fixture.inbound_from(&format!("whatsapp:{}", old_number(1)), FIRST, "oi");
    fixture.receive(inbound).await;
    let id = fixture.accept(notice(1, "a")).await;
    fixture.lose(id).await;
    fixture.pass(5 * SECOND_LONG);
    let watch = fixture.watches().await.remove(0);
    let evidence = fixture.evidence(&watch).await;
    assert_eq!(evidence.to, old_number(1));
    assert_eq!(evidence.to_alternative, Some(number(1)));
}

pub(crate) async fn a_messaging_service_shows_no_number(fixture: &mut StoreFixture) {
    let service = "MG0123456789abcdef0123456789abcdef";
    fixture.reopen_with(&[service]).await;
    let id = fixture
        .accept(Message {
            sender: Some(SenderName::new(service)),
            ..notice(1, "a")
        })
        .await;
    fixture.lose(id).await;
    fixture.pass(5 * SECOND_LONG);
    let watch = fixture.watches().await.remove(0);
    assert!(fixture.evidence(&watch).await.from.is_none());
}

pub(crate) async fn what_is_found_settles_the_attempt(fixture: &mut StoreFixture) {
    for (n, status, state) in [
        (1, ProviderStatus::Queued, State::Queued),
        (2, ProviderStatus::Sent, State::Sent),
        (3, ProviderStatus::Delivered, State::Delivered),
        (4, ProviderStatus::Read, State::Read),
    ] {
        let id = fixture.accept(notice(n, "a")).await;
        let attempt = fixture.lose(id).await;
        fixture.pass(5 * SECOND_LONG);
        let watch = fixture.watches().await.remove(0);
        assert_eq!(watch.attempt, attempt.row);
        let sid = fixture.sid();
        let found = Finding::Found {
            sid,
            status,
            code: None,
        };
        fixture.settle(&watch, found, None).await;
        let view = fixture.view(id).await;
        assert_eq!(view.summary.state, state);
        assert_eq!(view.attempts[0].outcome, Some(OutcomeKind::Sent));
        assert_eq!(view.attempts[0].sid, Some(sid));
        assert!(!view.summary.possible_duplicate);
        assert_eq!(fixture.known_sids(sid).await, [sid]);
        // The callback that comes after all is no news.
        let sent = Sent { attempt, sid };
        assert_eq!(fixture.report(sent, status).await, ReportResult::Duplicate);
        let read = fixture.report(sent, ProviderStatus::Read).await;
        assert_eq!(read == ReportResult::Duplicate, state == State::Read);
        assert!(fixture.watches().await.is_empty());
    }
}

pub(crate) async fn a_failure_that_is_found_counts_like_one_that_is_reported(
    fixture: &mut StoreFixture,
) {
    for (n, code, state) in [(1, 63_016, State::Failed), (2, 63_029, State::Scheduled)] {
        let id = fixture.accept(notice(n, "a")).await;
        fixture.lose(id).await;
        fixture.pass(5 * SECOND_LONG);
        let watch = fixture.watches().await.remove(0);
        let found = Finding::Found {
            sid: fixture.sid(),
            status: ProviderStatus::Failed,
            code: Some(code),
        };
        fixture.settle(&watch, found, None).await;
        let view = fixture.view(id).await;
        assert_eq!(view.summary.state, state, "{code}");
        assert_eq!(view.summary.error.unwrap().code, Some(code));
        assert_eq!(view.summary.failed_at.is_some(), state == State::Failed);
        assert_eq!(view.attempts[0].code, Some(code));
        assert_eq!(fixture.counter(Metric::Errors, i64::from(code)).await, 1);
        // A retry that waits must not be doubled by its own watch.
        let due = fixture.waiting().await.len();
        assert_eq!(due, usize::from(state == State::Scheduled));
        fixture.pass(HOUR);
        for watch in fixture.watches().await {
            fixture.settle(&watch, Finding::Nothing, None).await;
        }
    }
}

pub(crate) async fn nothing_found_looks_again_later(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    let attempt = fixture.lose(id).await;
    assert_eq!(
        fixture.store().next_watch().await.unwrap(),
        Some(fixture.now.plus(5 * SECOND_LONG))
    );
    fixture.pass(5 * SECOND_LONG);
    let watch = fixture.watches().await.remove(0);
    let next = NextWatch {
        at: fixture.now.plus(MINUTE),
        kind: WatchKind::Unknown,
        polls: 1,
    };
    fixture.settle(&watch, Finding::Nothing, Some(next)).await;
    assert_eq!(fixture.state(id).await, State::Unknown);
    assert!(fixture.watches().await.is_empty());
    assert_eq!(fixture.store().next_watch().await.unwrap(), Some(next.at));
    fixture.reopen().await;
    fixture.pass(MINUTE);
    let again = fixture.watches().await.remove(0);
    assert_eq!((again.attempt, again.polls), (attempt.row, 1));
    assert!(again.is_unknown);
    assert_eq!(
        fixture
            .store()
            .gauges(fixture.now)
            .await
            .unwrap()
            .unknown_watched,
        1
    );
    fixture.settle(&again, Finding::Nothing, None).await;
    assert_eq!(
        fixture
            .store()
            .gauges(fixture.now)
            .await
            .unwrap()
            .unknown_watched,
        0
    );
    assert_eq!(fixture.store().next_watch().await.unwrap(), None);
}

pub(crate) async fn the_newest_watches_come_first_and_the_oldest_are_not_forgotten(
    fixture: &mut StoreFixture,
) {
    let mut attempts = Vec::new();
    for n in 1..=12 {
        let id = fixture.accept(notice(n, "a")).await;
        attempts.push(fixture.lose(id).await.row);
        fixture.pass(SECOND_LONG);
    }
    // One that is silent is not in their way.
    let id = fixture.accept(notice(13, "a")).await;
    fixture.send(id).await;
    fixture.pass(HOUR);
    for (limit, expected) in [
        (0, vec![]),
        (1, vec![11]),
        (4, vec![11, 10, 9, 0]),
        (8, vec![11, 10, 9, 8, 7, 6, 0, 1]),
        (100, (0..12).rev().collect()),
    ] {
        let query = WatchQuery {
            now: fixture.now,
            kind: WatchKind::Unknown,
            limit,
        };
        let due = fixture.store().due_watches(query).await.unwrap();
        let found: Vec<AttemptRow> = due.iter().map(|watch| watch.attempt).collect();
        let expected: Vec<AttemptRow> = expected.iter().map(|n: &usize| attempts[*n]).collect();
        assert_eq!(found, expected, "{limit}");
    }
}

pub(crate) async fn evidence_that_comes_after_the_resend_is_a_possible_double(
    fixture: &mut StoreFixture,
) {
    let id = fixture
        .accept(Message {
            policy: Policy::AtLeastOnce,
            ..notice(1, "a")
        })
        .await;
    let first = fixture.lose(id).await;
    fixture.give_up_looking().await;
    let second = fixture.send(id).await;
    let sid = fixture.sid();
    fixture
        .report(
            Sent {
                attempt: first,
                sid,
            },
            ProviderStatus::Delivered,
        )
        .await;
    fixture.report(second, ProviderStatus::Delivered).await;
    let view = fixture.view(id).await;
    assert_eq!(view.summary.state, State::Delivered);
    assert!(view.summary.possible_duplicate);
    assert_eq!(
        fixture.counter(Metric::Delivered, 0).await,
        1,
        "one message"
    );
}

pub(crate) async fn a_found_message_brings_its_parked_reports(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    let attempt = fixture.lose(id).await;
    let sid = fixture.sid();
    for status in [ProviderStatus::Read, ProviderStatus::Sent] {
        let parked = Report {
            attempt: None,
            ..fixture.report_of(attempt, Some(sid), status)
        };
        assert_eq!(fixture.tell(parked).await, ReportResult::Parked);
    }
    fixture.pass(5 * SECOND_LONG);
    let watch = fixture.watches().await.remove(0);
    let found = Finding::Found {
        sid,
        status: ProviderStatus::Queued,
        code: None,
    };
    fixture.settle(&watch, found, None).await;
    assert_eq!(fixture.state(id).await, State::Read);
    assert_eq!(fixture.store().gauges(fixture.now).await.unwrap().parked, 0);
}

pub(crate) async fn a_silent_message_is_asked_about(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    let sent = fixture.send(id).await;
    fixture.pass(15 * MINUTE);
    let watch = fixture.watches().await.remove(0);
    assert_eq!((watch.kind, watch.sid), (WatchKind::Silent, Some(sent.sid)));
    let found = Finding::Found {
        sid: sent.sid,
        status: ProviderStatus::Sent,
        code: None,
    };
    let next = NextWatch {
        at: fixture.now.plus(HOUR),
        kind: WatchKind::Silent,
        polls: 1,
    };
    fixture.settle(&watch, found, Some(next)).await;
    assert_eq!(fixture.state(id).await, State::Sent);
    fixture.pass(HOUR);
    let watch = fixture.watches().await.remove(0);
    let found = Finding::Found {
        sid: sent.sid,
        status: ProviderStatus::Undelivered,
        code: Some(63_016),
    };
    fixture.settle(&watch, found, None).await;
    let view = fixture.view(id).await;
    assert_eq!(view.summary.state, State::Undelivered);
    let sources: Vec<_> = view
        .history
        .iter()
        .map(|entry| entry.source.as_str())
        .collect();
    assert_eq!(sources, ["api", "dispatch", "dispatch", "poll", "poll"]);
}

/// However often it was looked for: looks that fail are not counted.
pub(crate) async fn what_is_unknown_for_an_hour_is_overdue(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    fixture.lose(id).await;
    fixture.pass(59 * MINUTE);
    for (polls, overdue, endless) in [(3, 0, 0), (3, 1, 0), (3, 1, 1)] {
        let watch = fixture.watches().await.remove(0);
        let next = NextWatch {
            at: fixture.now,
            kind: WatchKind::Unknown,
            polls,
        };
        fixture.settle(&watch, Finding::Nothing, Some(next)).await;
        let gauges = fixture.store().gauges(fixture.now).await.unwrap();
        assert_eq!(
            (gauges.unknown_watched, gauges.unknown_overdue),
            (1, overdue)
        );
        assert_eq!(gauges.unknown_endless, endless);
        fixture.pass(if overdue == 0 { MINUTE } else { 30 * DAY });
    }
}

/// The list is measured by messages to phone numbers.
pub(crate) async fn the_newest_message_to_a_number_measures_the_list(fixture: &mut StoreFixture) {
    let since = fixture.now;
    let none = fixture.store().newest_answered(since).await.unwrap();
    assert!(none.is_none());
    let id = fixture.accept(notice(1, "a")).await;
    let sent = fixture.send(id).await;
    let to_user_id = Message {
        to: address("BR.1234567890123456"),
        ..notice(2, "a")
    };
    let id = fixture.accept(to_user_id).await;
    fixture.send(id).await;
    let found = fixture
        .store()
        .newest_answered(since)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.sid, sent.sid);
    assert_eq!(found.evidence.to, number(1));
    assert_eq!(found.evidence.to_alternative, Some(old_number(1)));
}

pub(crate) async fn a_horizon_says_nothing_about_what_is_settled(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    let attempt = fixture.lose(id).await;
    fixture.pass(5 * SECOND_LONG);
    let watch = fixture.watches().await.remove(0);
    let sid = fixture.sid();
    fixture
        .report(Sent { attempt, sid }, ProviderStatus::Sent)
        .await;
    let events = fixture.store().last_event().await.unwrap();
    for finding in [
        Finding::HorizonPassed(None),
        Finding::Absent(Proof::default()),
    ] {
        fixture.settle(&watch, finding, None).await;
    }
    assert_eq!(fixture.state(id).await, State::Sent);
    assert_eq!(fixture.view(id).await.attempts[0].sid, Some(sid));
    assert_eq!(fixture.store().last_event().await.unwrap(), events);
}
