//! What the provider reports: failures, receipts, and what comes before its message is known.

use delivery::address::{Address, Context};
use delivery::counter::Metric;
use delivery::message::{Message, Policy};
use delivery::outcome::{Outcome, OutcomeKind, ProviderStatus, UnknownCause};
use delivery::row::MessageRow;
use delivery::sid::Sid;
use delivery::state::State;
use recado::store::{AttemptId, CommandResult, MessageCommand, Report, ReportResult};

use super::fixture::*;
use super::samples::*;

pub(crate) async fn a_permanent_failure_ends_the_message(fixture: &mut StoreFixture) {
    for (n, status, state) in [
        (1, ProviderStatus::Failed, State::Failed),
        (2, ProviderStatus::Undelivered, State::Undelivered),
    ] {
        let id = fixture.accept(notice(n, "a")).await;
        let sent = fixture.send(id).await;
        fixture.report(sent, ProviderStatus::Sent).await;
        fixture.pass(SECOND_LONG);
        fixture.fail(sent, status, 63_016).await;
        let view = fixture.view(id).await;
        assert_eq!(view.summary.state, state);
        assert_eq!(view.summary.error.unwrap().code, Some(63_016));
        assert_eq!(view.summary.failed_at, Some(fixture.now));
        assert_eq!(view.attempts.len(), 1);
        assert_eq!(view.attempts[0].code, Some(63_016));
        let last = view.history.last().unwrap();
        assert_eq!((last.status, last.code), (Some(status), Some(63_016)));
    }
    assert_eq!(fixture.waiting().await, Vec::<MessageRow>::new());
    assert_eq!(fixture.counter(Metric::Errors, 63_016).await, 2);
}

pub(crate) async fn a_failure_that_passes_leads_to_another_attempt(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    let first = fixture.send(id).await;
    fixture
        .fail(first, ProviderStatus::Undelivered, 63_018)
        .await;
    let view = fixture.view(id).await;
    assert_eq!(view.summary.state, State::Scheduled);
    let due = view.summary.due_at.unwrap();
    assert!(due.since(fixture.now) >= MINUTE, "63018 needs a minute");
    fixture.now = due;
    let second = fixture.send(id).await;
    assert_ne!(first.attempt.row, second.attempt.row);
    // Echoes of the first attempt say nothing about the second.
    fixture
        .fail(first, ProviderStatus::Undelivered, 63_018)
        .await;
    fixture.report(first, ProviderStatus::Sent).await;
    fixture.fail(first, ProviderStatus::Failed, 63_016).await;
    assert_eq!(fixture.state(id).await, State::Queued);
    fixture.report(second, ProviderStatus::Sent).await;
    fixture.report(second, ProviderStatus::Delivered).await;
    let view = fixture.view(id).await;
    assert_eq!(view.summary.state, State::Delivered);
    assert_eq!(view.summary.error, None);
    assert_eq!(view.summary.provider_sid, Some(second.sid));
    assert!(!view.summary.possible_duplicate);
    let sids: Vec<_> = view.attempts.iter().map(|attempt| attempt.sid).collect();
    assert_eq!(sids, [Some(first.sid), Some(second.sid)]);
    assert_eq!(fixture.counter(Metric::Retries, 0).await, 1);
}

pub(crate) async fn a_failure_that_passes_is_not_tried_for_ever(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    let mut attempts = 0;
    while fixture.state(id).await != State::Failed {
        let sent = fixture.send(id).await;
        fixture.fail(sent, ProviderStatus::Failed, 63_029).await;
        attempts += 1;
        if let Some(due) = fixture.view(id).await.summary.due_at {
            fixture.now = due;
        }
        assert!(attempts <= 8, "it ends");
    }
    assert!(attempts > 2, "{attempts} attempts");
    assert_eq!(fixture.waiting().await, Vec::<MessageRow>::new());
}

pub(crate) async fn a_receipt_for_an_earlier_attempt_is_a_possible_double(
    fixture: &mut StoreFixture,
) {
    let id = fixture.accept(notice(1, "a")).await;
    let first = fixture.send(id).await;
    fixture.fail(first, ProviderStatus::Failed, 63_029).await;
    fixture.now = fixture.view(id).await.summary.due_at.unwrap();
    let second = fixture.send(id).await;
    fixture.report(first, ProviderStatus::Delivered).await;
    let summary = fixture.view(id).await.summary;
    assert_eq!(summary.state, State::Delivered);
    assert!(summary.possible_duplicate);
    fixture.fail(second, ProviderStatus::Failed, 63_029).await;
    assert_eq!(fixture.state(id).await, State::Delivered);
    assert_eq!(fixture.waiting().await, Vec::<MessageRow>::new());
}

pub(crate) async fn a_receipt_stops_the_retry_that_waits(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    let sent = fixture.send(id).await;
    fixture.fail(sent, ProviderStatus::Failed, 63_029).await;
    assert_eq!(fixture.waiting().await.len(), 1);
    fixture.report(sent, ProviderStatus::Delivered).await;
    assert_eq!(fixture.waiting().await, Vec::<MessageRow>::new());
    assert_eq!(fixture.state(id).await, State::Delivered);
    fixture.pass(DAY);
    assert!(fixture.is_gone(id).await);
}

pub(crate) async fn delivered_after_failed_is_counted_as_an_anomaly(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    let sent = fixture.send(id).await;
    fixture.fail(sent, ProviderStatus::Failed, 63_016).await;
    fixture.report(sent, ProviderStatus::Delivered).await;
    let view = fixture.view(id).await;
    assert_eq!(view.summary.state, State::Delivered);
    assert_eq!((view.summary.error, view.summary.failed_at), (None, None));
    assert_eq!(
        view.history.last().unwrap().detail.as_deref(),
        Some("contradicts")
    );
    assert_eq!(fixture.counter(Metric::Anomalies, 0).await, 1);
    assert_eq!(
        fixture.store().gauges(fixture.now).await.unwrap().anomalies,
        1
    );
}

pub(crate) async fn refusals_by_the_person_suppress_them_in_every_form(fixture: &mut StoreFixture) {
    for (n, code) in (1..).zip([21_610, 63_033, 63_014, 63_050]) {
        let id = fixture.accept(notice(n, "a")).await;
        let waiting = fixture.accept(notice(n, "b")).await;
        let scheduled = fixture
            .accept(Message {
                send_at: Some(fixture.now.plus(DAY)),
                ..notice(n, "c")
            })
            .await;
        let other = fixture.accept(notice(n + 100, "a")).await;
        let sent = fixture.send(id).await;
        fixture.fail(sent, ProviderStatus::Undelivered, code).await;
        assert_eq!(fixture.state(id).await, State::Undelivered, "{code}");
        for stopped in [waiting, scheduled] {
            assert_eq!(fixture.state(stopped).await, State::Suppressed, "{code}");
        }
        assert_eq!(fixture.state(other).await, State::Accepted, "{code}");
        for (place, spelling) in [
            number(n),
            old_number(n),
            number(n).replace("+55", ""),
            old_number(n).replace("+55", ""),
            format!("whatsapp:{}", old_number(n)),
        ]
        .iter()
        .enumerate()
        {
            let later = fixture
                .accept(Message {
                    to: address(spelling),
                    ..notice(n, &format!("later {place}"))
                })
                .await;
            assert_eq!(
                fixture.state(later).await,
                State::Suppressed,
                "{code} {spelling}"
            );
        }
        let inbound = Address::parse(&old_number(n)[1..], Context::InboundWaid).unwrap();
        let consent = fixture.store().consent(inbound.address).await.unwrap();
        assert_eq!(
            consent.unwrap().consent,
            delivery::consent::Consent::OptedOut
        );
    }
}

pub(crate) async fn early_and_orphan_reports_are_parked_and_bound(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    let attempt = fixture.open(id).await.attempt;
    let sid = fixture.sid();
    let by_sid = |sid, status| Report {
        attempt: None,
        ..fixture.report_of(attempt, Some(sid), status)
    };
    for status in [
        ProviderStatus::Delivered,
        ProviderStatus::Sent,
        ProviderStatus::Delivered,
    ] {
        assert_eq!(
            fixture.tell(by_sid(sid, status)).await,
            ReportResult::Parked
        );
    }
    let stranger = Sid::parse_message("SMffffffffffffffffffffffffffffffff").unwrap();
    let orphan = by_sid(stranger, ProviderStatus::Sent);
    assert_eq!(fixture.tell(orphan.clone()).await, ReportResult::Parked);
    assert_eq!(fixture.store().gauges(fixture.now).await.unwrap().parked, 3);
    assert_eq!(fixture.state(id).await, State::Sending);

    fixture.close(attempt, accepted_by_provider(sid)).await;
    assert_eq!(fixture.state(id).await, State::Delivered);
    assert_eq!(fixture.store().gauges(fixture.now).await.unwrap().parked, 1);
    let known = by_sid(sid, ProviderStatus::Sent);
    assert_eq!(fixture.tell(known).await, ReportResult::Duplicate);

    // The orphan is kept for a day.
    fixture.pass(DAY - SECOND_LONG);
    fixture.store().maintain(fixture.now).await.unwrap();
    assert_eq!(fixture.store().gauges(fixture.now).await.unwrap().parked, 1);
    fixture.pass(SECOND_LONG);
    fixture.store().maintain(fixture.now).await.unwrap();
    assert_eq!(fixture.store().gauges(fixture.now).await.unwrap().parked, 0);
    // A report that names nothing at all cannot be kept.
    let nothing = Report {
        sid: None,
        ..orphan
    };
    assert_eq!(fixture.tell(nothing).await, ReportResult::Duplicate);
}

/// The first callback came by SID alone and was parked; the second one says whose SID it is.
pub(crate) async fn parked_reports_are_bound_by_a_callback_that_knows_the_sid(
    fixture: &mut StoreFixture,
) {
    let id = fixture.accept(notice(1, "a")).await;
    let attempt = fixture.lose(id).await;
    let sid = fixture.sid();
    let orphan = Report {
        attempt: None,
        ..fixture.report_of(attempt, Some(sid), ProviderStatus::Delivered)
    };
    assert_eq!(fixture.tell(orphan).await, ReportResult::Parked);
    fixture
        .report(Sent { attempt, sid }, ProviderStatus::Sent)
        .await;
    assert_eq!(fixture.state(id).await, State::Delivered);
    assert_eq!(fixture.store().gauges(fixture.now).await.unwrap().parked, 0);
}

pub(crate) async fn a_correlation_id_of_another_database_is_not_ours(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    let sent = fixture.send(id).await;
    let foreign = AttemptId {
        row: sent.attempt.row,
        nonce: sent.attempt.nonce ^ 1,
    };
    let sid = fixture.sid();
    let report = fixture.report_of(foreign, Some(sid), ProviderStatus::Read);
    assert_eq!(fixture.tell(report).await, ReportResult::Parked);
    assert_eq!(fixture.state(id).await, State::Queued);
    // With our SID it is ours all the same.
    let report = fixture.report_of(foreign, Some(sent.sid), ProviderStatus::Read);
    assert_eq!(fixture.tell(report).await, ReportResult::Recorded);
    assert_eq!(fixture.state(id).await, State::Read);
}

pub(crate) async fn a_status_that_nobody_knows_is_kept_and_moves_nothing(
    fixture: &mut StoreFixture,
) {
    let id = fixture.accept(notice(1, "a")).await;
    let sent = fixture.send(id).await;
    let report = Report {
        word: Some("teleported".into()),
        ..fixture.report_of(sent.attempt, Some(sent.sid), ProviderStatus::Other)
    };
    assert_eq!(fixture.tell(report).await, ReportResult::Recorded);
    let view = fixture.view(id).await;
    assert_eq!(view.summary.state, State::Queued);
    let last = view.history.last().unwrap();
    assert_eq!(last.detail.as_deref(), Some("teleported"));
    assert_eq!(last.status, Some(ProviderStatus::Other));
}

pub(crate) async fn a_callback_settles_an_unknown_attempt(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    let attempt = fixture
        .attempt(id, Outcome::Unknown(UnknownCause::ServerError(502)))
        .await;
    let sid = fixture.sid();
    fixture.pass(SECOND_LONG);
    fixture
        .report(Sent { attempt, sid }, ProviderStatus::Queued)
        .await;
    let view = fixture.view(id).await;
    assert_eq!(view.summary.state, State::Queued);
    assert_eq!(
        (view.attempts[0].outcome, view.attempts[0].sid),
        (Some(OutcomeKind::Sent), Some(sid))
    );
    fixture.pass(MINUTE);
    for watch in fixture.watches().await {
        assert!(!watch.is_unknown, "there is nothing to look for");
        assert_eq!(watch.sid, Some(sid));
    }
}

/// Somebody canceled the message while nobody knew whether it had been sent; a late report that
/// it failed must not bring it back.
pub(crate) async fn what_was_canceled_stays_canceled_when_it_fails_late(
    fixture: &mut StoreFixture,
) {
    for (n, policy) in [(1, Policy::Ask), (2, Policy::AtLeastOnce)] {
        let id = fixture
            .accept(Message {
                policy,
                ..notice(n, "a")
            })
            .await;
        let attempt = fixture.lose(id).await;
        fixture.give_up_looking().await;
        assert_eq!(
            fixture.command(id, MessageCommand::Cancel).await,
            CommandResult::Done(State::Canceled)
        );
        let sid = fixture.sid();
        fixture
            .fail(Sent { attempt, sid }, ProviderStatus::Failed, 63_029)
            .await;
        assert_eq!(
            fixture.waiting().await,
            Vec::<MessageRow>::new(),
            "{policy:?}"
        );
        fixture.pass(DAY);
        assert!(fixture.is_gone(id).await, "{policy:?}");
    }
}

/// The same for a deadline and an opt-out.
pub(crate) async fn what_was_stopped_stays_stopped_when_it_fails_late(fixture: &mut StoreFixture) {
    for n in 1..=2 {
        let id = fixture
            .accept(Message {
                policy: Policy::AtLeastOnce,
                expires_at: (n == 1).then(|| fixture.now.plus(HOUR)),
                ..notice(n, "a")
            })
            .await;
        let attempt = fixture.lose(id).await;
        fixture.give_up_looking().await;
        if n == 1 {
            fixture.pass(HOUR);
            fixture.store().maintain(fixture.now).await.unwrap();
            assert_eq!(fixture.state(id).await, State::Expired);
        } else {
            fixture.write(n, "sair").await;
            assert_eq!(fixture.state(id).await, State::Suppressed);
        }
        let sid = fixture.sid();
        fixture
            .fail(Sent { attempt, sid }, ProviderStatus::Failed, 63_029)
            .await;
        assert_eq!(fixture.waiting().await, Vec::<MessageRow>::new());
    }
}

/// One report suppresses the person while the same message waits for its retry; the reports that
/// follow in the same commit must see that.
pub(crate) async fn parked_reports_see_what_the_ones_before_them_did(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    let attempt = fixture.open(id).await.attempt;
    let sid = fixture.sid();
    for (status, code) in [
        (ProviderStatus::Undelivered, Some(63_029)),
        (ProviderStatus::Failed, Some(21_610)),
        (ProviderStatus::Canceled, None),
        (ProviderStatus::Other, None),
    ] {
        let parked = Report {
            attempt: None,
            code,
            ..fixture.report_of(attempt, Some(sid), status)
        };
        assert_eq!(fixture.tell(parked).await, ReportResult::Parked);
    }
    fixture.close(attempt, accepted_by_provider(sid)).await;
    assert_eq!(fixture.waiting().await, Vec::<MessageRow>::new());
    assert_eq!(fixture.state(id).await, State::Suppressed);
}
