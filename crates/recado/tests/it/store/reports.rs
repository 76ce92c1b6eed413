//! What the provider reports: any order and any repetition ends in the same record.

use std::collections::{BTreeMap, HashMap};

use delivery::address::{Address, Context};
use delivery::counter::Metric;
use delivery::message::{Content, Message, Policy};
use delivery::outcome::{Outcome, OutcomeKind, ProviderStatus, UnknownCause};
use delivery::sid::Sid;
use delivery::state::State;
use recado::store::{
    AttemptId, CloseRequest, CommandResult, CounterGroup, CounterRow, MessageCommand, MessageId,
    NewMessage, OpenRequest, OpenResult, Report, ReportResult,
};

use super::world::*;

const STATUSES: [ProviderStatus; 4] = [
    ProviderStatus::Queued,
    ProviderStatus::Sent,
    ProviderStatus::Delivered,
    ProviderStatus::Read,
];

/// In which order one message hears what; `None` is the answer to its own request.
struct Course {
    steps: Vec<Option<ProviderStatus>>,
    /// Whether callbacks carry the correlation id, or the provider's id alone.
    correlated: bool,
}

/// Every order of every choice of the four statuses, with the answer at every place, each report
/// once, twice in a row, and all of them a second time at the end.
fn courses() -> Vec<Course> {
    let mut courses = Vec::new();
    for order in orders(&STATUSES) {
        for answer_at in 0..=order.len() {
            for repeat in 0..3 {
                for correlated in [true, false] {
                    let mut steps = Vec::new();
                    for (place, status) in order.iter().enumerate() {
                        if place == answer_at {
                            steps.push(None);
                        }
                        steps.push(Some(*status));
                        if repeat == 1 {
                            steps.push(Some(*status));
                        }
                    }
                    if answer_at == order.len() {
                        steps.push(None);
                    }
                    if repeat == 2 {
                        steps.extend(order.iter().copied().map(Some));
                    }
                    courses.push(Course { steps, correlated });
                }
            }
        }
    }
    courses
}

/// All orders of all non-empty choices.
fn orders(of: &[ProviderStatus]) -> Vec<Vec<ProviderStatus>> {
    let mut out = Vec::new();
    for first in of {
        out.push(vec![*first]);
        let rest: Vec<_> = of.iter().copied().filter(|other| other != first).collect();
        for mut tail in orders(&rest) {
            tail.insert(0, *first);
            out.push(tail);
        }
    }
    out
}

pub(crate) async fn any_order_and_repetition_ends_in_the_same_record(world: &mut World) {
    let courses = courses();
    assert_eq!(orders(&STATUSES).len(), 64);
    let mut batch = Vec::new();
    for n in 0..courses.len() {
        // A template of its own gives each message counters of its own.
        let message = Message {
            content: Content::Template {
                content_sid: template_sid(u64::try_from(n).unwrap()),
                variables: Vec::new(),
            },
            ..notice(u32::try_from(n).unwrap(), "")
        };
        batch.push(world.new_message(message));
    }
    let ids: Vec<MessageId> = batch.iter().map(|new: &NewMessage| new.id).collect();
    world.accept_all(batch).await;
    let attempts = open_everything(world).await;
    let sids: Vec<Sid> = ids.iter().map(|_| world.sid()).collect();
    let longest = courses.iter().map(|course| course.steps.len()).max();
    for step in 0..longest.unwrap() {
        let (mut reports, mut closes) = (Vec::new(), Vec::new());
        for (n, course) in courses.iter().enumerate() {
            let attempt = attempts[&ids[n]];
            match course.steps.get(step) {
                Some(Some(status)) => reports.push(Report {
                    attempt: course.correlated.then_some(attempt),
                    ..world.report_of(attempt, Some(sids[n]), *status)
                }),
                Some(None) => closes.push(CloseRequest {
                    attempt: attempt.key,
                    outcome: accepted_by_provider(sids[n]),
                    now: world.now,
                    random: 0,
                }),
                None => {}
            }
        }
        world.store().report(reports).await.unwrap();
        world.store().close_attempts(closes).await.unwrap();
    }
    compare_records(world, &courses, &ids).await;
    assert_eq!(world.counter(Metric::Anomalies, 0).await, 0);
    assert_eq!(world.store().gauges().await.unwrap().parked, 0);
}

async fn open_everything(world: &mut World) -> HashMap<MessageId, AttemptId> {
    let requests = world
        .waiting()
        .await
        .into_iter()
        .map(|message| OpenRequest {
            message,
            nonce: world.random.next(),
            now: world.now,
        })
        .collect();
    let results = world.store().open_attempts(requests).await.unwrap();
    let attempts = results.into_iter().map(|result| match result {
        OpenResult::Open(attempt) => (attempt.id, attempt.attempt),
        OpenResult::Busy | OpenResult::Gone => panic!("it did not open"),
    });
    attempts.collect()
}

/// Everything that was told the same set of statuses must look the same.
async fn compare_records(world: &World, courses: &[Course], ids: &[MessageId]) {
    let mut counters: HashMap<String, Vec<CounterRow>> = HashMap::new();
    for mut row in world.counters(CounterGroup::Template).await {
        let group = std::mem::take(&mut row.group);
        counters.entry(group).or_default().push(row);
    }
    let mut first: BTreeMap<Vec<ProviderStatus>, (State, Vec<CounterRow>)> = BTreeMap::new();
    for (n, course) in courses.iter().enumerate() {
        let mut told: Vec<_> = course.steps.iter().copied().flatten().collect();
        told.sort_unstable();
        told.dedup();
        let view = world.view(ids[n]).await;
        let expected = told
            .last()
            .and_then(|highest| delivery::state::state_of(*highest));
        assert_eq!(Some(view.summary.state), expected, "{:?}", course.steps);
        let reported = view
            .history
            .iter()
            .filter(|entry| entry.kind.as_str() == "reported");
        assert_eq!(
            reported.count(),
            told.len(),
            "each status stands in the log once"
        );
        let at_least = |status| told.iter().any(|known| *known >= status);
        assert_eq!(
            view.summary.sent_at.is_some(),
            at_least(ProviderStatus::Sent)
        );
        assert_eq!(
            view.summary.delivered_at.is_some(),
            at_least(ProviderStatus::Delivered)
        );
        assert_eq!(
            view.summary.read_at.is_some(),
            at_least(ProviderStatus::Read)
        );
        let group = template_sid(u64::try_from(n).unwrap()).to_string();
        let record = (view.summary.state, counters[&group].clone());
        let same = first.entry(told).or_insert_with(|| record.clone());
        assert_eq!(*same, record, "{:?}", course.steps);
    }
    assert_eq!(first.len(), 15, "every choice of statuses was told");
}

pub(crate) async fn a_repeated_report_is_known(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    let sent = world.send(id).await;
    assert_eq!(
        world.report(sent, ProviderStatus::Sent).await,
        ReportResult::Recorded
    );
    let events = world.store().last_event().await.unwrap();
    world.pass(DAY);
    assert_eq!(
        world.report(sent, ProviderStatus::Sent).await,
        ReportResult::Duplicate
    );
    world.reopen().await;
    assert_eq!(
        world.report(sent, ProviderStatus::Sent).await,
        ReportResult::Duplicate
    );
    // The same failure with another code is news.
    for (code, result) in [
        (63_016, ReportResult::Recorded),
        (63_016, ReportResult::Duplicate),
        (63_013, ReportResult::Recorded),
    ] {
        assert_eq!(
            world.fail(sent, ProviderStatus::Failed, code).await,
            result,
            "{code}"
        );
    }
    assert_eq!(world.store().last_event().await.unwrap(), events + 2);
    assert_eq!(world.store().report(Vec::new()).await.unwrap(), []);
}

pub(crate) async fn reports_never_move_a_state_back(world: &mut World) {
    let all = ProviderStatus::ALL.iter().copied();
    for (n, first) in (1..).zip(all.clone()) {
        let id = world.accept(notice(n, "a")).await;
        let sent = world.send(id).await;
        // Only what cannot be tried again, so that no retry is decided in between.
        let tell = async |status| match status {
            ProviderStatus::Failed | ProviderStatus::Undelivered => {
                world.fail(sent, status, 63_016).await
            }
            _ => world.report(sent, status).await,
        };
        tell(first).await;
        let mut state = world.state(id).await;
        for second in all.clone() {
            tell(second).await;
            let after = world.state(id).await;
            assert!(
                after.is_at_least(state),
                "{second:?} moved {state:?} back to {after:?}"
            );
            state = after;
        }
        assert_eq!(state, State::Read);
    }
}

pub(crate) async fn a_permanent_failure_ends_the_message(world: &mut World) {
    for (n, status, state) in [
        (1, ProviderStatus::Failed, State::Failed),
        (2, ProviderStatus::Undelivered, State::Undelivered),
    ] {
        let id = world.accept(notice(n, "a")).await;
        let sent = world.send(id).await;
        world.report(sent, ProviderStatus::Sent).await;
        world.pass(SECOND_LONG);
        world.fail(sent, status, 63_016).await;
        let view = world.view(id).await;
        assert_eq!(view.summary.state, state);
        assert_eq!(view.summary.error.unwrap().code, Some(63_016));
        assert_eq!(view.summary.failed_at, Some(world.now));
        assert_eq!(view.attempts.len(), 1);
        assert_eq!(view.attempts[0].code, Some(63_016));
        let last = view.history.last().unwrap();
        assert_eq!((last.status, last.code), (Some(status), Some(63_016)));
    }
    assert_eq!(world.waiting().await, Vec::<i64>::new());
    assert_eq!(world.counter(Metric::Errors, 63_016).await, 2);
}

pub(crate) async fn a_failure_that_passes_leads_to_another_attempt(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    let first = world.send(id).await;
    world.fail(first, ProviderStatus::Undelivered, 63_018).await;
    let view = world.view(id).await;
    assert_eq!(view.summary.state, State::Scheduled);
    let due = view.summary.due_at.unwrap();
    assert!(due.since(world.now) >= MINUTE, "63018 needs a minute");
    world.now = due;
    let second = world.send(id).await;
    assert_ne!(first.attempt.key, second.attempt.key);
    // Echoes of the first attempt say nothing about the second.
    world.fail(first, ProviderStatus::Undelivered, 63_018).await;
    world.report(first, ProviderStatus::Sent).await;
    world.fail(first, ProviderStatus::Failed, 63_016).await;
    assert_eq!(world.state(id).await, State::Queued);
    world.report(second, ProviderStatus::Sent).await;
    world.report(second, ProviderStatus::Delivered).await;
    let view = world.view(id).await;
    assert_eq!(view.summary.state, State::Delivered);
    assert_eq!(view.summary.error, None);
    assert_eq!(view.summary.provider_sid, Some(second.sid));
    assert!(!view.summary.possible_duplicate);
    let sids: Vec<_> = view.attempts.iter().map(|attempt| attempt.sid).collect();
    assert_eq!(sids, [Some(first.sid), Some(second.sid)]);
    assert_eq!(world.counter(Metric::Retries, 0).await, 1);
}

pub(crate) async fn a_failure_that_passes_is_not_tried_for_ever(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    let mut attempts = 0;
    while world.state(id).await != State::Failed {
        let sent = world.send(id).await;
        world.fail(sent, ProviderStatus::Failed, 63_018).await;
        attempts += 1;
        if let Some(due) = world.view(id).await.summary.due_at {
            world.now = due;
        }
        assert!(attempts <= 8, "it ends");
    }
    assert!(attempts > 2, "{attempts} attempts");
    assert_eq!(world.waiting().await, Vec::<i64>::new());
}

pub(crate) async fn a_receipt_for_an_earlier_attempt_is_a_possible_double(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    let first = world.send(id).await;
    world.fail(first, ProviderStatus::Failed, 63_018).await;
    world.now = world.view(id).await.summary.due_at.unwrap();
    let second = world.send(id).await;
    world.report(first, ProviderStatus::Delivered).await;
    let summary = world.view(id).await.summary;
    assert_eq!(summary.state, State::Delivered);
    assert!(summary.possible_duplicate);
    world.fail(second, ProviderStatus::Failed, 63_018).await;
    assert_eq!(world.state(id).await, State::Delivered);
    assert_eq!(world.waiting().await, Vec::<i64>::new());
}

pub(crate) async fn a_receipt_stops_the_retry_that_waits(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    let sent = world.send(id).await;
    world.fail(sent, ProviderStatus::Failed, 63_018).await;
    assert_eq!(world.waiting().await.len(), 1);
    world.report(sent, ProviderStatus::Delivered).await;
    assert_eq!(world.waiting().await, Vec::<i64>::new());
    assert_eq!(world.state(id).await, State::Delivered);
    world.pass(DAY);
    assert!(world.is_gone(id).await);
}

pub(crate) async fn delivered_after_failed_is_counted_as_an_anomaly(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    let sent = world.send(id).await;
    world.fail(sent, ProviderStatus::Failed, 63_016).await;
    world.report(sent, ProviderStatus::Delivered).await;
    let view = world.view(id).await;
    assert_eq!(view.summary.state, State::Delivered);
    assert_eq!((view.summary.error, view.summary.failed_at), (None, None));
    assert_eq!(
        view.history.last().unwrap().detail.as_deref(),
        Some("contradicts")
    );
    assert_eq!(world.counter(Metric::Anomalies, 0).await, 1);
    assert_eq!(world.store().gauges().await.unwrap().anomalies, 1);
}

pub(crate) async fn refusals_by_the_person_suppress_them_in_every_form(world: &mut World) {
    for (n, code) in (1..).zip([21_610, 63_033, 63_014, 63_050]) {
        let id = world.accept(notice(n, "a")).await;
        let waiting = world.accept(notice(n, "b")).await;
        let scheduled = world
            .accept(Message {
                send_at: Some(world.now.plus(DAY)),
                ..notice(n, "c")
            })
            .await;
        let other = world.accept(notice(n + 100, "a")).await;
        let sent = world.send(id).await;
        world.fail(sent, ProviderStatus::Undelivered, code).await;
        assert_eq!(world.state(id).await, State::Undelivered, "{code}");
        for stopped in [waiting, scheduled] {
            assert_eq!(world.state(stopped).await, State::Suppressed, "{code}");
        }
        assert_eq!(world.state(other).await, State::Accepted, "{code}");
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
            let later = world
                .accept(Message {
                    to: address(spelling),
                    ..notice(n, &format!("later {place}"))
                })
                .await;
            assert_eq!(
                world.state(later).await,
                State::Suppressed,
                "{code} {spelling}"
            );
        }
        let inbound = Address::parse(&old_number(n)[1..], Context::InboundWaid).unwrap();
        let consent = world.store().consent(inbound.address).await.unwrap();
        assert_eq!(
            consent.unwrap().consent,
            delivery::consent::Consent::OptedOut
        );
    }
}

pub(crate) async fn early_and_orphan_reports_are_parked_and_bound(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    let attempt = world.open(id).await.attempt;
    let sid = world.sid();
    let by_sid = |sid, status| Report {
        attempt: None,
        ..world.report_of(attempt, Some(sid), status)
    };
    for status in [
        ProviderStatus::Delivered,
        ProviderStatus::Sent,
        ProviderStatus::Delivered,
    ] {
        assert_eq!(world.tell(by_sid(sid, status)).await, ReportResult::Parked);
    }
    let stranger = Sid::parse_message("SMffffffffffffffffffffffffffffffff").unwrap();
    let orphan = by_sid(stranger, ProviderStatus::Sent);
    assert_eq!(world.tell(orphan.clone()).await, ReportResult::Parked);
    assert_eq!(world.store().gauges().await.unwrap().parked, 3);
    assert_eq!(world.state(id).await, State::Sending);

    world.close(attempt, accepted_by_provider(sid)).await;
    assert_eq!(world.state(id).await, State::Delivered);
    assert_eq!(world.store().gauges().await.unwrap().parked, 1);
    let known = by_sid(sid, ProviderStatus::Sent);
    assert_eq!(world.tell(known).await, ReportResult::Duplicate);

    // The orphan is kept for a day.
    world.pass(DAY - SECOND_LONG);
    world.store().maintain(world.now).await.unwrap();
    assert_eq!(world.store().gauges().await.unwrap().parked, 1);
    world.pass(SECOND_LONG);
    world.store().maintain(world.now).await.unwrap();
    assert_eq!(world.store().gauges().await.unwrap().parked, 0);
    // A report that names nothing at all cannot be kept.
    let nothing = Report {
        sid: None,
        ..orphan
    };
    assert_eq!(world.tell(nothing).await, ReportResult::Duplicate);
}

/// The first callback came by SID alone and was parked; the second one says whose SID it is.
pub(crate) async fn parked_reports_are_bound_by_a_callback_that_knows_the_sid(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    let attempt = world.lose(id).await;
    let sid = world.sid();
    let orphan = Report {
        attempt: None,
        ..world.report_of(attempt, Some(sid), ProviderStatus::Delivered)
    };
    assert_eq!(world.tell(orphan).await, ReportResult::Parked);
    world
        .report(Sent { attempt, sid }, ProviderStatus::Sent)
        .await;
    assert_eq!(world.state(id).await, State::Delivered);
    assert_eq!(world.store().gauges().await.unwrap().parked, 0);
}

pub(crate) async fn a_correlation_id_of_another_database_is_not_ours(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    let sent = world.send(id).await;
    let foreign = AttemptId {
        key: sent.attempt.key,
        nonce: sent.attempt.nonce ^ 1,
    };
    let sid = world.sid();
    let report = world.report_of(foreign, Some(sid), ProviderStatus::Read);
    assert_eq!(world.tell(report).await, ReportResult::Parked);
    assert_eq!(world.state(id).await, State::Queued);
    // With our SID it is ours all the same.
    let report = world.report_of(foreign, Some(sent.sid), ProviderStatus::Read);
    assert_eq!(world.tell(report).await, ReportResult::Recorded);
    assert_eq!(world.state(id).await, State::Read);
}

pub(crate) async fn a_status_that_nobody_knows_is_kept_and_moves_nothing(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    let sent = world.send(id).await;
    let report = Report {
        word: Some("teleported".into()),
        ..world.report_of(sent.attempt, Some(sent.sid), ProviderStatus::Other)
    };
    assert_eq!(world.tell(report).await, ReportResult::Recorded);
    let view = world.view(id).await;
    assert_eq!(view.summary.state, State::Queued);
    let last = view.history.last().unwrap();
    assert_eq!(last.detail.as_deref(), Some("teleported"));
    assert_eq!(last.status, Some(ProviderStatus::Other));
}

pub(crate) async fn a_callback_settles_an_unknown_attempt(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    let attempt = world
        .attempt(id, Outcome::Unknown(UnknownCause::ServerError(502)))
        .await;
    let sid = world.sid();
    world.pass(SECOND_LONG);
    world
        .report(Sent { attempt, sid }, ProviderStatus::Queued)
        .await;
    let view = world.view(id).await;
    assert_eq!(view.summary.state, State::Queued);
    assert_eq!(
        (view.attempts[0].outcome, view.attempts[0].sid),
        (Some(OutcomeKind::Sent), Some(sid))
    );
    world.pass(MINUTE);
    for watch in world.watches().await {
        assert!(watch.evidence.is_none(), "there is nothing to look for");
        assert_eq!(watch.sid, Some(sid));
    }
}

/// Somebody cancelled the message while nobody knew whether it had been sent; a late report that
/// it failed must not bring it back.
pub(crate) async fn what_was_cancelled_stays_cancelled_when_it_fails_late(world: &mut World) {
    for (n, policy) in [(1, Policy::Ask), (2, Policy::AtLeastOnce)] {
        let id = world
            .accept(Message {
                policy,
                ..notice(n, "a")
            })
            .await;
        let attempt = world.lose(id).await;
        world.give_up_looking().await;
        assert_eq!(
            world.command(id, MessageCommand::Cancel).await,
            CommandResult::Done(State::Canceled)
        );
        let sid = world.sid();
        world
            .fail(Sent { attempt, sid }, ProviderStatus::Failed, 63_018)
            .await;
        assert_eq!(world.waiting().await, Vec::<i64>::new(), "{policy:?}");
        world.pass(DAY);
        assert!(world.is_gone(id).await, "{policy:?}");
    }
}

/// The same for a deadline and an opt-out.
pub(crate) async fn what_was_stopped_stays_stopped_when_it_fails_late(world: &mut World) {
    for n in 1..=2 {
        let id = world
            .accept(Message {
                policy: Policy::AtLeastOnce,
                expires_at: (n == 1).then(|| world.now.plus(HOUR)),
                ..notice(n, "a")
            })
            .await;
        let attempt = world.lose(id).await;
        world.give_up_looking().await;
        if n == 1 {
            world.pass(HOUR);
            world.store().maintain(world.now).await.unwrap();
            assert_eq!(world.state(id).await, State::Expired);
        } else {
            world.write(n, "sair").await;
            assert_eq!(world.state(id).await, State::Suppressed);
        }
        let sid = world.sid();
        world
            .fail(Sent { attempt, sid }, ProviderStatus::Failed, 63_018)
            .await;
        assert_eq!(world.waiting().await, Vec::<i64>::new());
    }
}

/// One report suppresses the person while the same message waits for its retry; the reports that
/// follow in the same commit must see that.
pub(crate) async fn parked_reports_see_what_the_ones_before_them_did(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    let attempt = world.open(id).await.attempt;
    let sid = world.sid();
    for (status, code) in [
        (ProviderStatus::Undelivered, Some(63_018)),
        (ProviderStatus::Failed, Some(21_610)),
        (ProviderStatus::Canceled, None),
        (ProviderStatus::Other, None),
    ] {
        let parked = Report {
            attempt: None,
            code,
            ..world.report_of(attempt, Some(sid), status)
        };
        assert_eq!(world.tell(parked).await, ReportResult::Parked);
    }
    world.close(attempt, accepted_by_provider(sid)).await;
    assert_eq!(world.waiting().await, Vec::<i64>::new());
    assert_eq!(world.state(id).await, State::Suppressed);
}
