//! What attempts tell us, and what each outcome leads to.

use std::time::Duration;

use delivery::counter::Metric;
use delivery::message::{Message, Policy};
use delivery::outcome::{
    NotSentCause, Outcome, OutcomeKind, ProviderStatus, RetryAfter, UnknownCause,
};
use delivery::progress::{Reason, WatchKind};
use delivery::retry::RetryPolicy;
use delivery::state::State;
use recado::store::{AttemptId, CloseResult, CommandResult, Finding, MessageCommand, OpenResult};

use super::world::*;

fn with_policy(to: u32, policy: Policy) -> Message {
    Message {
        policy,
        ..notice(to, "a")
    }
}

pub(crate) async fn sent_attaches_the_sid_and_watches_for_silence(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    let opened = world.now;
    let attempt = world.open(id).await.attempt;
    world.pass(SECOND_LONG);
    let sid = world.sid();
    let closed = world.close(attempt, accepted_by_provider(sid)).await;
    assert_eq!(
        closed,
        CloseResult {
            paused: false,
            retry_at: None
        }
    );
    let view = world.view(id).await;
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
        (opened, Some(world.now))
    );
    assert_eq!(world.store().known_sids(vec![sid]).await.unwrap(), [sid]);
    let unknown = world.sid();
    assert_eq!(world.store().known_sids(vec![unknown]).await.unwrap(), []);
    assert!(world.watches().await.is_empty());
    world.pass(15 * MINUTE);
    let watches = world.watches().await;
    assert_eq!(watches.len(), 1);
    assert_eq!(watches[0].kind, WatchKind::Silent);
    assert_eq!(
        (watches[0].sid, watches[0].attempt),
        (Some(sid), attempt.key)
    );
    assert!(watches[0].evidence.is_none());
}

pub(crate) async fn what_was_not_sent_is_tried_again_after_a_wait(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    let retry_policy = RetryPolicy::default();
    for n in 1..=12_u32 {
        let attempt = world.open(id).await.attempt;
        assert_eq!(world.state(id).await, State::Sending);
        let closed = world.close(attempt, no_connection()).await;
        let step = retry_policy.backoff_first * 2_u32.pow(n - 1);
        let at = closed.retry_at.expect("it is tried again");
        let wait = at.since(world.now);
        assert!(
            wait <= step.min(retry_policy.backoff_cap),
            "attempt {n}: {wait:?}"
        );
        assert!(!wait.is_zero(), "the case draws the longest wait");
        let view = world.view(id).await;
        assert_eq!(view.summary.state, State::Scheduled);
        assert_eq!(view.summary.due_at, Some(at));
        assert_eq!(view.summary.error.unwrap().reason, Reason::Network);
        assert_eq!(view.attempts.len(), usize::try_from(n).unwrap());
        assert_eq!(
            view.attempts.last().unwrap().cause.as_deref(),
            Some("connect")
        );
        assert!(world.is_gone(id).await, "not before its time");
        world.now = at;
    }
    let sent = world.send(id).await;
    world.report(sent, ProviderStatus::Delivered).await;
    let summary = world.view(id).await.summary;
    assert_eq!((summary.state, summary.error), (State::Delivered, None));
    assert!(
        !summary.possible_duplicate,
        "what was not sent is not doubled"
    );
}

pub(crate) async fn the_providers_wish_to_wait_is_heard_within_reason(world: &mut World) {
    for (n, asked, least, most) in [
        (1, Some(RetryAfter::Delay(MINUTE)), MINUTE, 2 * MINUTE),
        (
            2,
            Some(RetryAfter::Until(world.now.plus(2 * MINUTE))),
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
        let id = world.accept(notice(n, "a")).await;
        let attempt = world.open(id).await.attempt;
        let limited = Outcome::NotSent {
            cause: NotSentCause::RateLimited,
            retry_after: asked,
        };
        let closed = world.close(attempt, limited).await;
        let wait = closed.retry_at.unwrap().since(world.now);
        assert!((least..most).contains(&wait), "{asked:?}: {wait:?}");
        let error = world.view(id).await.summary.error.unwrap();
        assert_eq!(error.reason, Reason::RateLimited);
    }
}

pub(crate) async fn what_could_not_be_sent_for_too_long_fails(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    world.attempt(id, no_connection()).await;
    world.pass(RetryPolicy::default().age_max + HOUR);
    world.attempt(id, no_connection()).await;
    let summary = world.view(id).await.summary;
    assert_eq!(summary.state, State::Failed);
    assert_eq!(summary.error.unwrap().reason, Reason::AgeMax);
    assert_eq!(summary.failed_at, Some(world.now));
    assert_eq!(world.waiting().await, Vec::<i64>::new());
}

pub(crate) async fn waiting_for_its_time_does_not_make_a_message_old(world: &mut World) {
    let late = Message {
        send_at: Some(world.now.plus(Duration::from_secs(48 * 3_600))),
        ..notice(1, "a")
    };
    let late = world.accept(late).await;
    let stuck = world.accept(notice(2, "b")).await;
    world.pass(Duration::from_secs(49 * 3_600));
    for id in [late, stuck] {
        world.attempt(id, no_connection()).await;
        assert_eq!(world.state(id).await, State::Scheduled);
    }
    // The second trouble of the one that was meant to leave an hour ago is an early one still.
    world.pass(HOUR);
    world.attempt(late, no_connection()).await;
    assert_eq!(world.state(late).await, State::Scheduled);
    world.attempt(stuck, no_connection()).await;
    assert_eq!(world.state(stuck).await, State::Failed);
}

pub(crate) async fn a_retry_that_would_come_too_late_expires_instead(world: &mut World) {
    let id = world
        .accept(Message {
            expires_at: Some(world.now.plus(Duration::from_millis(1))),
            ..notice(1, "a")
        })
        .await;
    world.attempt(id, no_connection()).await;
    assert_eq!(world.state(id).await, State::Expired);
    assert_eq!(world.waiting().await, Vec::<i64>::new());
}

pub(crate) async fn a_permanent_refusal_fails_for_good(world: &mut World) {
    for (n, code) in (1..).zip([21_211, 21_614, 21_617, 21_656, 99_999]) {
        let id = world.accept(notice(n, "a")).await;
        world.attempt(id, refused(code)).await;
        let view = world.view(id).await;
        let error = view.summary.error.unwrap();
        assert_eq!(view.summary.state, State::Failed, "{code}");
        assert_eq!((error.reason, error.code), (Reason::Provider, Some(code)));
        assert_eq!(view.summary.failed_at, Some(world.now));
        assert_eq!(view.attempts[0].outcome, Some(OutcomeKind::Refused));
        assert_eq!(view.attempts[0].code, Some(code));
        assert_eq!(world.counter(Metric::Errors, i64::from(code)).await, 1);
    }
    let id = world.accept(notice(9, "a")).await;
    let without_code = Outcome::Refused {
        http_status: 400,
        code: None,
    };
    world.attempt(id, without_code).await;
    assert_eq!(world.state(id).await, State::Failed);
    assert_eq!(world.counter(Metric::Errors, 0).await, 1);
    assert_eq!(world.waiting().await, Vec::<i64>::new());
}

pub(crate) async fn a_retryable_refusal_is_tried_again(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    let attempt = world.open(id).await.attempt;
    let closed = world.close(attempt, refused(21_611)).await;
    assert!(closed.retry_at.unwrap() > world.now);
    assert_eq!(world.state(id).await, State::Scheduled);
    world.now = closed.retry_at.unwrap();
    world.send(id).await;
    assert_eq!(world.state(id).await, State::Queued);
}

pub(crate) async fn a_wrong_setting_pauses_what_it_concerns(world: &mut World) {
    for (code, account) in [(63_007, false), (20_003, true), (20_404, true)] {
        let n = u32::try_from(world.serial()).unwrap();
        let id = world.accept(notice(n, "a")).await;
        let attempt = world.open(id).await.attempt;
        let closed = world.close(attempt, refused(code)).await;
        assert!(closed.paused, "{code}");
        let senders = world.store().senders().await.unwrap();
        assert_eq!(senders[0].name, FIRST);
        assert_eq!(senders[0].paused_at, Some(world.now));
        assert_eq!(senders[0].pause_reason, Some(code.to_string()));
        assert_eq!(senders[1].paused_at.is_some(), account, "{code}");
        assert!(world.due(FIRST).await.paused);
        assert!(matches!(world.try_open(id).await, OpenResult::Busy));
        assert_eq!(
            world.state(id).await,
            State::Scheduled,
            "it waits, it is not lost"
        );
        for name in [FIRST, SECOND] {
            world.pause(name, false).await;
        }
        world.send(id).await;
        assert_eq!(world.state(id).await, State::Queued);
    }
}

pub(crate) async fn a_pause_by_the_provider_ends_with_a_restart(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    world.attempt(id, refused(20_003)).await;
    assert!(world.due(FIRST).await.paused);
    world.reopen().await;
    assert!(!world.due(FIRST).await.paused);
    world.send(id).await;
}

pub(crate) async fn an_opt_out_refusal_suppresses_the_person(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    let other = world.accept(notice(1, "b")).await;
    let stranger = world.accept(notice(2, "a")).await;
    world.attempt(id, refused(21_610)).await;
    assert_eq!(world.state(id).await, State::Failed);
    assert_eq!(world.state(other).await, State::Suppressed);
    assert_eq!(world.state(stranger).await, State::Accepted);
    let later = world.accept(notice(1, "c")).await;
    assert_eq!(world.state(later).await, State::Suppressed);
}

pub(crate) async fn unknown_at_most_once_is_never_sent_again(world: &mut World) {
    let id = world.accept(with_policy(1, Policy::AtMostOnce)).await;
    let attempt = world.lose(id).await;
    assert_eq!(world.state(id).await, State::Unknown);
    assert_eq!(world.waiting().await, Vec::<i64>::new());
    world.pass(5 * SECOND_LONG - Duration::from_micros(1));
    assert!(world.watches().await.is_empty());
    world.pass(Duration::from_micros(1));
    assert_eq!(world.watches().await[0].attempt, attempt.key);
    world.give_up_looking().await;
    let view = world.view(id).await;
    assert_eq!(view.summary.state, State::Unknown);
    assert_eq!(view.summary.error.unwrap().reason, Reason::Unsettled);
    assert_eq!(
        world.history(id).await,
        [
            "accepted",
            "attempt_opened",
            "attempt_unknown",
            "horizon_passed"
        ]
    );
    assert_eq!(world.waiting().await, Vec::<i64>::new());
    assert!(world.is_gone(id).await);
    assert!(world.watches().await.is_empty());
}

pub(crate) async fn unknown_at_least_once_is_sent_once_more_and_marked(world: &mut World) {
    let id = world.accept(with_policy(1, Policy::AtLeastOnce)).await;
    world.lose(id).await;
    assert_eq!(
        world.waiting().await,
        Vec::<i64>::new(),
        "evidence comes first"
    );
    world.give_up_looking().await;
    assert_eq!(world.state(id).await, State::Scheduled);
    assert!(
        !world.view(id).await.summary.possible_duplicate,
        "nothing left again yet"
    );
    world.lose(id).await;
    let view = world.view(id).await;
    assert!(view.summary.possible_duplicate);
    assert_eq!(view.summary.attempts, 2);
    world.give_up_looking().await;
    assert_eq!(
        world.state(id).await,
        State::Unknown,
        "one resend is all there is"
    );
    assert_eq!(world.waiting().await, Vec::<i64>::new());
}

pub(crate) async fn unknown_ask_is_held_for_the_operator(world: &mut World) {
    let id = world.accept(with_policy(1, Policy::Ask)).await;
    let dropped = world.accept(with_policy(2, Policy::Ask)).await;
    world.lose(id).await;
    world.give_up_looking().await;
    assert_eq!(world.state(id).await, State::Held);
    assert_eq!(world.waiting().await, [world.key(dropped)]);
    world.lose(dropped).await;
    world.give_up_looking().await;
    assert_eq!(
        world.command(dropped, MessageCommand::Cancel).await,
        CommandResult::Done(State::Canceled)
    );
    assert_eq!(
        world.command(id, MessageCommand::Retry).await,
        CommandResult::Done(State::Scheduled)
    );
    world.send(id).await;
    assert!(world.view(id).await.summary.possible_duplicate);
}

pub(crate) async fn evidence_stops_a_resend_that_waits(world: &mut World) {
    let id = world.accept(with_policy(1, Policy::AtLeastOnce)).await;
    let attempt = world.lose(id).await;
    world.give_up_looking().await;
    assert_eq!(world.due_ids().await, [id]);
    let sid = world.sid();
    world
        .report(Sent { attempt, sid }, ProviderStatus::Sent)
        .await;
    assert_eq!(world.state(id).await, State::Sent);
    assert!(world.is_gone(id).await);
    assert_eq!(world.waiting().await, Vec::<i64>::new());
    assert!(!world.view(id).await.summary.possible_duplicate);
}

pub(crate) async fn an_attempt_is_closed_once(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    let sent = world.send(id).await;
    let events = world.store().last_event().await.unwrap();
    for outcome in [
        no_connection(),
        refused(21_211),
        Outcome::Unknown(UnknownCause::Timeout),
        accepted_by_provider(world.sid()),
    ] {
        assert_eq!(
            world.close(sent.attempt, outcome).await,
            CloseResult::default()
        );
    }
    let nobody = AttemptId {
        key: 77_777,
        nonce: 0,
    };
    assert_eq!(
        world.close(nobody, no_connection()).await,
        CloseResult::default()
    );
    assert_eq!(world.store().last_event().await.unwrap(), events);
    assert_eq!(world.state(id).await, State::Queued);
    assert_eq!(world.view(id).await.summary.provider_sid, Some(sent.sid));
}

/// A report of a retryable failure may overtake the answer to the request; the answer then finds
/// its place taken by the retry.
pub(crate) async fn an_answer_that_comes_after_its_failure_is_kept_on_record(world: &mut World) {
    for status in [
        ProviderStatus::Queued,
        ProviderStatus::Sent,
        ProviderStatus::Delivered,
    ] {
        let n = u32::try_from(world.serial()).unwrap();
        let id = world.accept(notice(n, "a")).await;
        let attempt = world.open(id).await.attempt;
        let sid = world.sid();
        world
            .fail(Sent { attempt, sid }, ProviderStatus::Failed, 63_018)
            .await;
        assert_eq!(world.state(id).await, State::Scheduled);
        world.close(attempt, Outcome::Sent { sid, status }).await;
        world.clean().await;
        assert_eq!(world.view(id).await.attempts.len(), 1);
    }
}

/// A report of doubt overtook the answer, and a resend waits; the answer says that nothing was
/// created, and for good.
pub(crate) async fn a_refusal_after_a_report_of_doubt_leaves_nothing_waiting(world: &mut World) {
    let id = world.accept(with_policy(1, Policy::AtLeastOnce)).await;
    let attempt = world.open(id).await.attempt;
    let sid = world.sid();
    world
        .fail(Sent { attempt, sid }, ProviderStatus::Failed, 30_008)
        .await;
    assert_eq!(world.state(id).await, State::Scheduled);
    world.close(attempt, refused(21_617)).await;
    assert_eq!(world.state(id).await, State::Failed);
    assert_eq!(world.waiting().await, Vec::<i64>::new());
}

/// An answer has a status and no code: what a failure leads to is decided by the report, which
/// names it.
pub(crate) async fn an_answer_that_says_failed_waits_for_the_report(world: &mut World) {
    for (n, code, state) in [(1, 63_018, State::Scheduled), (2, 63_016, State::Failed)] {
        let id = world.accept(notice(n, "a")).await;
        let attempt = world.open(id).await.attempt;
        let sid = world.sid();
        let status = ProviderStatus::Failed;
        world.close(attempt, Outcome::Sent { sid, status }).await;
        assert_eq!(world.state(id).await, State::Queued);
        world.fail(Sent { attempt, sid }, status, code).await;
        let summary = world.view(id).await.summary;
        assert_eq!(summary.state, state, "{code}");
        assert_eq!(summary.error.unwrap().code, Some(code));
    }
}

pub(crate) async fn an_answer_never_moves_a_report_back(world: &mut World) {
    for (n, outcome) in (1..).zip([
        Outcome::Unknown(UnknownCause::ConnectionLost),
        no_connection(),
        refused(21_617),
    ]) {
        let id = world.accept(notice(n, "a")).await;
        let attempt = world.open(id).await.attempt;
        let sid = world.sid();
        world
            .report(Sent { attempt, sid }, ProviderStatus::Delivered)
            .await;
        world.close(attempt, outcome).await;
        assert_eq!(world.state(id).await, State::Delivered);
        world.pass(HOUR);
        for watch in world.watches().await {
            world.settle(&watch, Finding::HorizonPassed, None).await;
        }
        assert_eq!(world.state(id).await, State::Delivered);
    }
    assert_eq!(world.waiting().await, Vec::<i64>::new());
}
