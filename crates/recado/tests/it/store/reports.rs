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

use super::fixture::*;

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

pub(crate) async fn any_order_and_repetition_ends_in_the_same_record(fixture: &mut StoreFixture) {
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
        batch.push(fixture.new_message(message));
    }
    let ids: Vec<MessageId> = batch.iter().map(|new: &NewMessage| new.id).collect();
    fixture.accept_all(batch).await;
    let attempts = open_everything(fixture).await;
    let sids: Vec<Sid> = ids.iter().map(|_| fixture.sid()).collect();
    let longest = courses.iter().map(|course| course.steps.len()).max();
    for step in 0..longest.unwrap() {
        let (mut reports, mut closes) = (Vec::new(), Vec::new());
        for (n, course) in courses.iter().enumerate() {
            let attempt = attempts[&ids[n]];
            match course.steps.get(step) {
                Some(Some(status)) => reports.push(Report {
                    attempt: course.correlated.then_some(attempt),
                    ..fixture.report_of(attempt, Some(sids[n]), *status)
                }),
                Some(None) => closes.push(CloseRequest {
                    attempt: attempt.key,
                    outcome: accepted_by_provider(sids[n]),
                    now: fixture.now,
                    random: 0,
                }),
                None => {}
            }
        }
        fixture.store().report(reports).await.unwrap();
        fixture.store().close_attempts(closes).await.unwrap();
    }
    compare_records(fixture, &courses, &ids).await;
    assert_eq!(fixture.counter(Metric::Anomalies, 0).await, 0);
    assert_eq!(fixture.store().gauges().await.unwrap().parked, 0);
}

async fn open_everything(fixture: &mut StoreFixture) -> HashMap<MessageId, AttemptId> {
    let requests = fixture
        .waiting()
        .await
        .into_iter()
        .map(|message| OpenRequest {
            message,
            nonce: fixture.random.next(),
            now: fixture.now,
        })
        .collect();
    let results = fixture.store().open_attempts(requests).await.unwrap();
    let attempts = results.into_iter().map(|result| match result {
        OpenResult::Open(attempt) => (attempt.id, attempt.attempt),
        OpenResult::Busy | OpenResult::Gone => panic!("it did not open"),
    });
    attempts.collect()
}

/// Everything that was told the same set of statuses must look the same.
async fn compare_records(fixture: &StoreFixture, courses: &[Course], ids: &[MessageId]) {
    let mut counters: HashMap<String, Vec<CounterRow>> = HashMap::new();
    for mut row in fixture.counters(CounterGroup::Template).await {
        let group = std::mem::take(&mut row.group);
        counters.entry(group).or_default().push(row);
    }
    let mut first: BTreeMap<Vec<ProviderStatus>, (State, Vec<CounterRow>)> = BTreeMap::new();
    for (n, course) in courses.iter().enumerate() {
        let mut told: Vec<_> = course.steps.iter().copied().flatten().collect();
        told.sort_unstable();
        told.dedup();
        let view = fixture.view(ids[n]).await;
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

pub(crate) async fn a_repeated_report_is_known(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    let sent = fixture.send(id).await;
    assert_eq!(
        fixture.report(sent, ProviderStatus::Sent).await,
        ReportResult::Recorded
    );
    let events = fixture.store().last_event().await.unwrap();
    fixture.pass(DAY);
    assert_eq!(
        fixture.report(sent, ProviderStatus::Sent).await,
        ReportResult::Duplicate
    );
    fixture.reopen().await;
    assert_eq!(
        fixture.report(sent, ProviderStatus::Sent).await,
        ReportResult::Duplicate
    );
    // The same failure with another code is news.
    for (code, result) in [
        (63_016, ReportResult::Recorded),
        (63_016, ReportResult::Duplicate),
        (63_013, ReportResult::Recorded),
    ] {
        assert_eq!(
            fixture.fail(sent, ProviderStatus::Failed, code).await,
            result,
            "{code}"
        );
    }
    assert_eq!(fixture.store().last_event().await.unwrap(), events + 2);
    assert_eq!(fixture.store().report(Vec::new()).await.unwrap(), []);
}

pub(crate) async fn reports_never_move_a_state_back(fixture: &mut StoreFixture) {
    let all = ProviderStatus::ALL.iter().copied();
    for (n, first) in (1..).zip(all.clone()) {
        let id = fixture.accept(notice(n, "a")).await;
        let sent = fixture.send(id).await;
        // Only what cannot be tried again, so that no retry is decided in between.
        let tell = async |status| match status {
            ProviderStatus::Failed | ProviderStatus::Undelivered => {
                fixture.fail(sent, status, 63_016).await
            }
            _ => fixture.report(sent, status).await,
        };
        tell(first).await;
        let mut state = fixture.state(id).await;
        for second in all.clone() {
            tell(second).await;
            let after = fixture.state(id).await;
            assert!(
                after.is_at_least(state),
                "{second:?} moved {state:?} back to {after:?}"
            );
            state = after;
        }
        assert_eq!(state, State::Read);
    }
}

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
    assert_eq!(fixture.waiting().await, Vec::<i64>::new());
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
    assert_ne!(first.attempt.key, second.attempt.key);
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
        fixture.fail(sent, ProviderStatus::Failed, 63_018).await;
        attempts += 1;
        if let Some(due) = fixture.view(id).await.summary.due_at {
            fixture.now = due;
        }
        assert!(attempts <= 8, "it ends");
    }
    assert!(attempts > 2, "{attempts} attempts");
    assert_eq!(fixture.waiting().await, Vec::<i64>::new());
}

pub(crate) async fn a_receipt_for_an_earlier_attempt_is_a_possible_double(
    fixture: &mut StoreFixture,
) {
    let id = fixture.accept(notice(1, "a")).await;
    let first = fixture.send(id).await;
    fixture.fail(first, ProviderStatus::Failed, 63_018).await;
    fixture.now = fixture.view(id).await.summary.due_at.unwrap();
    let second = fixture.send(id).await;
    fixture.report(first, ProviderStatus::Delivered).await;
    let summary = fixture.view(id).await.summary;
    assert_eq!(summary.state, State::Delivered);
    assert!(summary.possible_duplicate);
    fixture.fail(second, ProviderStatus::Failed, 63_018).await;
    assert_eq!(fixture.state(id).await, State::Delivered);
    assert_eq!(fixture.waiting().await, Vec::<i64>::new());
}

pub(crate) async fn a_receipt_stops_the_retry_that_waits(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    let sent = fixture.send(id).await;
    fixture.fail(sent, ProviderStatus::Failed, 63_018).await;
    assert_eq!(fixture.waiting().await.len(), 1);
    fixture.report(sent, ProviderStatus::Delivered).await;
    assert_eq!(fixture.waiting().await, Vec::<i64>::new());
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
    assert_eq!(fixture.store().gauges().await.unwrap().anomalies, 1);
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
    assert_eq!(fixture.store().gauges().await.unwrap().parked, 3);
    assert_eq!(fixture.state(id).await, State::Sending);

    fixture.close(attempt, accepted_by_provider(sid)).await;
    assert_eq!(fixture.state(id).await, State::Delivered);
    assert_eq!(fixture.store().gauges().await.unwrap().parked, 1);
    let known = by_sid(sid, ProviderStatus::Sent);
    assert_eq!(fixture.tell(known).await, ReportResult::Duplicate);

    // The orphan is kept for a day.
    fixture.pass(DAY - SECOND_LONG);
    fixture.store().maintain(fixture.now).await.unwrap();
    assert_eq!(fixture.store().gauges().await.unwrap().parked, 1);
    fixture.pass(SECOND_LONG);
    fixture.store().maintain(fixture.now).await.unwrap();
    assert_eq!(fixture.store().gauges().await.unwrap().parked, 0);
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
    assert_eq!(fixture.store().gauges().await.unwrap().parked, 0);
}

pub(crate) async fn a_correlation_id_of_another_database_is_not_ours(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    let sent = fixture.send(id).await;
    let foreign = AttemptId {
        key: sent.attempt.key,
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
        assert!(watch.evidence.is_none(), "there is nothing to look for");
        assert_eq!(watch.sid, Some(sid));
    }
}

/// Somebody cancelled the message while nobody knew whether it had been sent; a late report that
/// it failed must not bring it back.
pub(crate) async fn what_was_cancelled_stays_cancelled_when_it_fails_late(
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
            .fail(Sent { attempt, sid }, ProviderStatus::Failed, 63_018)
            .await;
        assert_eq!(fixture.waiting().await, Vec::<i64>::new(), "{policy:?}");
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
            .fail(Sent { attempt, sid }, ProviderStatus::Failed, 63_018)
            .await;
        assert_eq!(fixture.waiting().await, Vec::<i64>::new());
    }
}

/// One report suppresses the person while the same message waits for its retry; the reports that
/// follow in the same commit must see that.
pub(crate) async fn parked_reports_see_what_the_ones_before_them_did(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    let attempt = fixture.open(id).await.attempt;
    let sid = fixture.sid();
    for (status, code) in [
        (ProviderStatus::Undelivered, Some(63_018)),
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
    assert_eq!(fixture.waiting().await, Vec::<i64>::new());
    assert_eq!(fixture.state(id).await, State::Suppressed);
}
