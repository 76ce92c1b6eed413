//! What attempts tell us, and what each outcome leads to.

use std::time::Duration;

use delivery::counter::Metric;
use delivery::message::{Message, Policy};
use delivery::outcome::{
    NotSentCause, Outcome, OutcomeKind, ProviderStatus, RetryAfter, UnknownCause,
};
use delivery::progress::{Reason, WatchKind};
use delivery::retry::RetryPolicy;
use delivery::row::{AttemptRow, MessageRow};
use delivery::state::State;
use recado::store::{AttemptId, CloseResult, CommandResult, Finding, MessageCommand, OpenResult};

use super::fixture::*;
use super::samples::*;

fn with_policy(to: u32, policy: Policy) -> Message {
    Message {
        policy,
        ..notice(to, "a")
    }
}

pub(crate) async fn sent_attaches_the_sid_and_watches_for_silence(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    let opened = fixture.now;
    let attempt = fixture.open(id).await.attempt;
    fixture.pass(SECOND_LONG);
    let sid = fixture.sid();
    let closed = fixture.close(attempt, accepted_by_provider(sid)).await;
    assert_eq!(
        closed,
        CloseResult {
            paused: false,
            retry_at: None
        }
    );
    let view = fixture.view(id).await;
    assert_eq!(view.summary.state, State::Queued);
    assert_eq!(view.summary.provider_sid, Some(sid));
    assert_eq!(
        view.summary.sent_at, None,
        "Twilio has it, WhatsApp not yet"
    );
    let shown = &view.attempts[0];
    assert_eq!(
        (shown.n, shown.outcome, shown.sid),
        (1, Some(OutcomeKind::Sent), Some(sid))
    );
    assert_eq!(
        (shown.started_at, shown.finished_at),
        (opened, Some(fixture.now))
    );
    assert_eq!(fixture.known_sids(sid).await, [sid]);
    let unknown = fixture.sid();
    assert_eq!(fixture.known_sids(unknown).await, []);
    assert!(fixture.watches().await.is_empty());
    fixture.pass(15 * MINUTE);
    let watches = fixture.watches().await;
    assert_eq!(watches.len(), 1);
    assert_eq!(watches[0].kind, WatchKind::Silent);
    assert_eq!(
        (watches[0].sid, watches[0].attempt),
        (Some(sid), attempt.row)
    );
    assert!(!watches[0].is_unknown);
}

pub(crate) async fn what_was_not_sent_is_tried_again_after_a_wait(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    let retry_policy = RetryPolicy::default();
    for n in 1..=12_u32 {
        let attempt = fixture.open(id).await.attempt;
        assert_eq!(fixture.state(id).await, State::Sending);
        let closed = fixture.close(attempt, no_connection()).await;
        let step = retry_policy.backoff_first * 2_u32.pow(n - 1);
        let at = closed.retry_at.expect("it is tried again");
        let wait = at.since(fixture.now);
        assert!(
            wait <= step.min(retry_policy.backoff_cap),
            "attempt {n}: {wait:?}"
        );
        assert!(!wait.is_zero(), "the case draws the longest wait");
        let view = fixture.view(id).await;
        assert_eq!(view.summary.state, State::Scheduled);
        assert_eq!(view.summary.due_at, Some(at));
        assert_eq!(view.summary.error.unwrap().reason, Reason::Network);
        assert_eq!(view.attempts.len(), usize::try_from(n).unwrap());
        assert_eq!(
            view.attempts.last().unwrap().cause.as_deref(),
            Some("connect")
        );
        assert!(fixture.is_gone(id).await, "not before its time");
        fixture.now = at;
    }
    let sent = fixture.send(id).await;
    fixture.report(sent, ProviderStatus::Delivered).await;
    let summary = fixture.view(id).await.summary;
    assert_eq!((summary.state, summary.error), (State::Delivered, None));
    assert!(
        !summary.possible_duplicate,
        "what was not sent is not doubled"
    );
}

pub(crate) async fn the_providers_request_to_wait_is_heard_within_reason(
    fixture: &mut StoreFixture,
) {
    for (n, asked, least, most) in [
        (1, Some(RetryAfter::Delay(MINUTE)), MINUTE, 2 * MINUTE),
        (
            2,
            Some(RetryAfter::Until(fixture.now.plus(2 * MINUTE))),
            2 * MINUTE,
            3 * MINUTE,
        ),
        (3, Some(RetryAfter::Delay(1_000 * DAY)), HOUR, 2 * HOUR),
        (
            4,
            Some(RetryAfter::Until(START.minus(DAY))),
            Duration::ZERO,
            MINUTE,
        ),
        (5, None, Duration::ZERO, MINUTE),
    ] {
        let id = fixture.accept(notice(n, "a")).await;
        let attempt = fixture.open(id).await.attempt;
        let closed = fixture.close(attempt, slow_down(asked)).await;
        let wait = closed.retry_at.unwrap().since(fixture.now);
        assert!((least..most).contains(&wait), "{asked:?}: {wait:?}");
        let error = fixture.view(id).await.summary.error.unwrap();
        assert_eq!(error.reason, Reason::RateLimited);
    }
}

fn slow_down(retry_after: Option<RetryAfter>) -> Outcome {
    Outcome::NotSent {
        cause: NotSentCause::RateLimited,
        retry_after,
    }
}

pub(crate) async fn what_could_not_be_sent_for_too_long_fails(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    let mut waited = Duration::ZERO;
    while fixture.state(id).await != State::Failed {
        let attempt = fixture.open(id).await.attempt;
        let closed = fixture
            .close(attempt, slow_down(Some(RetryAfter::Delay(HOUR))))
            .await;
        if let Some(at) = closed.retry_at {
            waited += at.since(fixture.now);
            fixture.now = at;
        }
        assert!(waited <= RetryPolicy::default().age_max, "{waited:?}");
    }
    assert!(waited > 22 * HOUR, "{waited:?}");
    let summary = fixture.view(id).await.summary;
    assert_eq!(summary.state, State::Failed);
    assert_eq!(summary.error.unwrap().reason, Reason::AgeMax);
    assert_eq!(summary.failed_at, Some(fixture.now));
    assert_eq!(fixture.waiting().await, Vec::<MessageRow>::new());
}

pub(crate) async fn what_found_no_connection_before_its_deadline_expires(
    fixture: &mut StoreFixture,
) {
    let message = Message {
        expires_at: Some(fixture.now.plus(MINUTE)),
        ..notice(1, "a")
    };
    let id = fixture.accept(message).await;
    // The clock may have been set back since: that it passed is a fact.
    let outcome = Outcome::NotSent {
        cause: NotSentCause::DeadlinePassed,
        retry_after: None,
    };
    fixture.attempt(id, outcome).await;
    let view = fixture.view(id).await;
    assert_eq!(view.summary.state, State::Expired);
    assert_eq!(view.summary.error, None);
    assert_eq!(view.attempts[0].cause.as_deref(), Some("deadline_passed"));
    assert_eq!(fixture.waiting().await, Vec::<MessageRow>::new());
}

pub(crate) async fn waiting_for_its_time_does_not_make_a_message_old(fixture: &mut StoreFixture) {
    let late = Message {
        send_at: Some(fixture.now.plus(Duration::from_secs(48 * 3_600))),
        ..notice(1, "a")
    };
    let late = fixture.accept(late).await;
    let stuck = fixture.accept(notice(2, "b")).await;
    // The second trouble of each is an early one still, whatever it waited for before and between.
    for _ in 0..2 {
        fixture.pass(49 * HOUR);
        for id in [late, stuck] {
            fixture.attempt(id, no_connection()).await;
            assert_eq!(fixture.state(id).await, State::Scheduled);
        }
    }
}

pub(crate) async fn a_retry_that_would_come_too_late_expires_instead(fixture: &mut StoreFixture) {
    let id = fixture
        .accept(Message {
            expires_at: Some(fixture.now.plus(Duration::from_millis(1))),
            ..notice(1, "a")
        })
        .await;
    fixture.attempt(id, no_connection()).await;
    assert_eq!(fixture.state(id).await, State::Expired);
    assert_eq!(fixture.waiting().await, Vec::<MessageRow>::new());
}

pub(crate) async fn a_permanent_refusal_fails_for_good(fixture: &mut StoreFixture) {
    for (n, code) in (1..).zip([21_211, 21_614, 21_617, 21_656, 99_999]) {
        let id = fixture.accept(notice(n, "a")).await;
        fixture.attempt(id, refused(code)).await;
        let view = fixture.view(id).await;
        let error = view.summary.error.unwrap();
        assert_eq!(view.summary.state, State::Failed, "{code}");
        assert_eq!((error.reason, error.code), (Reason::Provider, Some(code)));
        assert_eq!(view.summary.failed_at, Some(fixture.now));
        assert_eq!(view.attempts[0].outcome, Some(OutcomeKind::Refused));
        assert_eq!(view.attempts[0].code, Some(code));
        assert_eq!(fixture.counter(Metric::Errors, i64::from(code)).await, 1);
    }
    let id = fixture.accept(notice(9, "a")).await;
    let without_code = Outcome::Refused {
        http_status: 400,
        code: None,
    };
    fixture.attempt(id, without_code).await;
    assert_eq!(fixture.state(id).await, State::Failed);
    assert_eq!(fixture.counter(Metric::Errors, 0).await, 1);
    assert_eq!(fixture.waiting().await, Vec::<MessageRow>::new());
}

pub(crate) async fn a_retryable_refusal_is_tried_again(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    let attempt = fixture.open(id).await.attempt;
    let closed = fixture.close(attempt, refused(21_611)).await;
    assert!(closed.retry_at.unwrap() > fixture.now);
    assert_eq!(fixture.state(id).await, State::Scheduled);
    fixture.now = closed.retry_at.unwrap();
    fixture.send(id).await;
    assert_eq!(fixture.state(id).await, State::Queued);
}

pub(crate) async fn a_wrong_setting_pauses_what_it_concerns(fixture: &mut StoreFixture) {
    for (code, account) in [(63_007, false), (20_003, true), (20_404, true)] {
        let n = u32::try_from(fixture.serial()).unwrap();
        let id = fixture.accept(notice(n, "a")).await;
        let attempt = fixture.open(id).await.attempt;
        let closed = fixture.close(attempt, refused(code)).await;
        assert!(closed.paused, "{code}");
        let senders = fixture.store().senders().await.unwrap();
        assert_eq!(senders[0].name, FIRST);
        assert_eq!(senders[0].paused_at, Some(fixture.now));
        assert_eq!(senders[0].pause_reason, Some(code.to_string()));
        assert_eq!(senders[1].paused_at.is_some(), account, "{code}");
        assert!(fixture.due(FIRST).await.paused);
        assert!(matches!(fixture.try_open(id).await, OpenResult::Busy));
        assert_eq!(
            fixture.state(id).await,
            State::Scheduled,
            "it waits, it is not lost"
        );
        for name in [FIRST, SECOND] {
            fixture.pause(name, false).await;
        }
        fixture.send(id).await;
        assert_eq!(fixture.state(id).await, State::Queued);
    }
}

pub(crate) async fn a_pause_by_the_provider_ends_with_a_restart(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    fixture.attempt(id, refused(20_003)).await;
    assert!(fixture.due(FIRST).await.paused);
    fixture.reopen().await;
    assert!(!fixture.due(FIRST).await.paused);
    fixture.send(id).await;
}

pub(crate) async fn an_opt_out_refusal_suppresses_the_person(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    let other = fixture.accept(notice(1, "b")).await;
    let stranger = fixture.accept(notice(2, "a")).await;
    fixture.attempt(id, refused(21_610)).await;
    assert_eq!(fixture.state(id).await, State::Failed);
    assert_eq!(fixture.state(other).await, State::Suppressed);
    assert_eq!(fixture.state(stranger).await, State::Accepted);
    let later = fixture.accept(notice(1, "c")).await;
    assert_eq!(fixture.state(later).await, State::Suppressed);
}

pub(crate) async fn unknown_at_most_once_is_never_sent_again(fixture: &mut StoreFixture) {
    let id = fixture.accept(with_policy(1, Policy::AtMostOnce)).await;
    let attempt = fixture.lose(id).await;
    assert_eq!(fixture.state(id).await, State::Unknown);
    assert_eq!(fixture.waiting().await, Vec::<MessageRow>::new());
    fixture.pass(5 * SECOND_LONG - Duration::from_micros(1));
    assert!(fixture.watches().await.is_empty());
    fixture.pass(Duration::from_micros(1));
    assert_eq!(fixture.watches().await[0].attempt, attempt.row);
    fixture.give_up_looking().await;
    let view = fixture.view(id).await;
    assert_eq!(view.summary.state, State::Unknown);
    assert_eq!(view.summary.error.unwrap().reason, Reason::Unsettled);
    assert_eq!(
        fixture.history(id).await,
        [
            "accepted",
            "attempt_opened",
            "attempt_unknown",
            "horizon_passed"
        ]
    );
    assert_eq!(fixture.waiting().await, Vec::<MessageRow>::new());
    assert!(fixture.is_gone(id).await);
    assert!(fixture.watches().await.is_empty());
}

pub(crate) async fn unknown_at_least_once_is_sent_once_more_and_marked(fixture: &mut StoreFixture) {
    let id = fixture.accept(with_policy(1, Policy::AtLeastOnce)).await;
    fixture.lose(id).await;
    assert_eq!(
        fixture.waiting().await,
        Vec::<MessageRow>::new(),
        "evidence comes first"
    );
    fixture.give_up_looking().await;
    assert_eq!(fixture.state(id).await, State::Scheduled);
    assert!(
        !fixture.view(id).await.summary.possible_duplicate,
        "nothing left again yet"
    );
    fixture.lose(id).await;
    let view = fixture.view(id).await;
    assert!(view.summary.possible_duplicate);
    assert_eq!(view.summary.attempts, 2);
    fixture.give_up_looking().await;
    assert_eq!(
        fixture.state(id).await,
        State::Unknown,
        "one resend is all there is"
    );
    assert_eq!(fixture.waiting().await, Vec::<MessageRow>::new());
}

pub(crate) async fn unknown_ask_is_held_for_the_operator(fixture: &mut StoreFixture) {
    let id = fixture.accept(with_policy(1, Policy::Ask)).await;
    let dropped = fixture.accept(with_policy(2, Policy::Ask)).await;
    fixture.lose(id).await;
    fixture.give_up_looking().await;
    assert_eq!(fixture.state(id).await, State::Held);
    assert_eq!(fixture.waiting().await, [fixture.key(dropped)]);
    fixture.lose(dropped).await;
    fixture.give_up_looking().await;
    assert_eq!(
        fixture.command(dropped, MessageCommand::Cancel).await,
        CommandResult::Done(State::Canceled)
    );
    assert_eq!(
        fixture.command(id, MessageCommand::Retry).await,
        CommandResult::Done(State::Scheduled)
    );
    fixture.send(id).await;
    assert!(fixture.view(id).await.summary.possible_duplicate);
}

pub(crate) async fn evidence_stops_a_resend_that_waits(fixture: &mut StoreFixture) {
    let id = fixture.accept(with_policy(1, Policy::AtLeastOnce)).await;
    let attempt = fixture.lose(id).await;
    fixture.give_up_looking().await;
    assert_eq!(fixture.due_ids().await, [id]);
    let sid = fixture.sid();
    fixture
        .report(Sent { attempt, sid }, ProviderStatus::Sent)
        .await;
    assert_eq!(fixture.state(id).await, State::Sent);
    assert!(fixture.is_gone(id).await);
    assert_eq!(fixture.waiting().await, Vec::<MessageRow>::new());
    assert!(!fixture.view(id).await.summary.possible_duplicate);
}

pub(crate) async fn an_attempt_is_closed_once(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    let sent = fixture.send(id).await;
    let events = fixture.store().last_event().await.unwrap();
    for outcome in [
        no_connection(),
        refused(21_211),
        Outcome::Unknown(UnknownCause::Timeout),
        accepted_by_provider(fixture.sid()),
    ] {
        assert_eq!(
            fixture.close(sent.attempt, outcome).await,
            CloseResult::default()
        );
    }
    let nobody = AttemptId {
        row: AttemptRow(77_777),
        nonce: 0,
    };
    assert_eq!(
        fixture.close(nobody, no_connection()).await,
        CloseResult::default()
    );
    assert_eq!(fixture.store().last_event().await.unwrap(), events);
    assert_eq!(fixture.state(id).await, State::Queued);
    assert_eq!(fixture.view(id).await.summary.provider_sid, Some(sent.sid));
}

/// A report of a retryable failure may overtake the answer to the request; the answer then finds
/// its place taken by the retry.
pub(crate) async fn an_answer_that_comes_after_its_failure_is_kept_on_record(
    fixture: &mut StoreFixture,
) {
    for status in [
        ProviderStatus::Queued,
        ProviderStatus::Sent,
        ProviderStatus::Delivered,
    ] {
        let n = u32::try_from(fixture.serial()).unwrap();
        let id = fixture.accept(notice(n, "a")).await;
        let attempt = fixture.open(id).await.attempt;
        let sid = fixture.sid();
        fixture
            .fail(Sent { attempt, sid }, ProviderStatus::Failed, 63_029)
            .await;
        assert_eq!(fixture.state(id).await, State::Scheduled);
        fixture.close(attempt, Outcome::Sent { sid, status }).await;
        fixture.clean().await;
        assert_eq!(fixture.view(id).await.attempts.len(), 1);
    }
}

/// A report of doubt overtook the answer, and a resend waits; the answer says that nothing was
/// created, and for good.
pub(crate) async fn a_refusal_after_a_report_of_doubt_leaves_nothing_waiting(
    fixture: &mut StoreFixture,
) {
    let id = fixture.accept(with_policy(1, Policy::AtLeastOnce)).await;
    let attempt = fixture.open(id).await.attempt;
    let sid = fixture.sid();
    fixture
        .fail(Sent { attempt, sid }, ProviderStatus::Failed, 30_008)
        .await;
    assert_eq!(fixture.state(id).await, State::Scheduled);
    fixture.close(attempt, refused(21_617)).await;
    assert_eq!(fixture.state(id).await, State::Failed);
    assert_eq!(fixture.waiting().await, Vec::<MessageRow>::new());
}

/// An answer has a status and no code: what a failure leads to is decided by the report, which
/// names it.
pub(crate) async fn an_answer_that_says_failed_waits_for_the_report(fixture: &mut StoreFixture) {
    for (n, code, state) in [(1, 63_029, State::Scheduled), (2, 63_016, State::Failed)] {
        let id = fixture.accept(notice(n, "a")).await;
        let attempt = fixture.open(id).await.attempt;
        let sid = fixture.sid();
        let status = ProviderStatus::Failed;
        fixture.close(attempt, Outcome::Sent { sid, status }).await;
        assert_eq!(fixture.state(id).await, State::Queued);
        fixture.fail(Sent { attempt, sid }, status, code).await;
        let summary = fixture.view(id).await.summary;
        assert_eq!(summary.state, state, "{code}");
        assert_eq!(summary.error.unwrap().code, Some(code));
    }
}

pub(crate) async fn an_answer_never_moves_a_report_back(fixture: &mut StoreFixture) {
    for (n, outcome) in (1..).zip([
        Outcome::Unknown(UnknownCause::ConnectionLost),
        no_connection(),
        refused(21_617),
    ]) {
        let id = fixture.accept(notice(n, "a")).await;
        let attempt = fixture.open(id).await.attempt;
        let sid = fixture.sid();
        fixture
            .report(Sent { attempt, sid }, ProviderStatus::Delivered)
            .await;
        fixture.close(attempt, outcome).await;
        assert_eq!(fixture.state(id).await, State::Delivered);
        fixture.pass(HOUR);
        for watch in fixture.watches().await {
            fixture
                .settle(&watch, Finding::HorizonPassed(None), None)
                .await;
        }
        assert_eq!(fixture.state(id).await, State::Delivered);
    }
    assert_eq!(fixture.waiting().await, Vec::<MessageRow>::new());
}
