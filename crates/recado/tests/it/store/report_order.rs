//! Reports in any order and repetition end in the same record.

use std::collections::{BTreeMap, HashMap};

use delivery::counter::Metric;
use delivery::message::{Content, Message};
use delivery::outcome::ProviderStatus;
use delivery::sid::Sid;
use delivery::state::State;
use recado::store::{
    AttemptId, CloseRequest, CounterGroup, CounterRow, MessageId, NewMessage, OpenRequest,
    OpenResult, Report, ReportResult, Stamp,
};

use super::fixture::*;
use super::samples::*;

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
        // Its own template gives each message its own counters.
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
                    attempt: attempt.row,
                    outcome: accepted_by_provider(sids[n]),
                    stamp: Stamp {
                        now: fixture.now,
                        random: 0,
                    },
                }),
                None => {}
            }
        }
        fixture.store().report(reports).await.unwrap();
        fixture.store().close_attempts(closes).await.unwrap();
    }
    compare_records(fixture, &courses, &ids).await;
    assert_eq!(fixture.counter(Metric::Anomalies, 0).await, 0);
    assert_eq!(fixture.store().gauges(fixture.now).await.unwrap().parked, 0);
}

async fn open_everything(fixture: &mut StoreFixture) -> HashMap<MessageId, AttemptId> {
    let requests = fixture
        .waiting()
        .await
        .into_iter()
        .map(|message| OpenRequest {
            message,
            stamp: Stamp {
                now: fixture.now,
                random: fixture.random.next(),
            },
        })
        .collect();
    let results = fixture.store().open_attempts(requests).await.unwrap();
    let attempts = results.into_iter().map(|result| match result {
        OpenResult::Open(attempt) => (attempt.id, attempt.attempt),
        OpenResult::Busy | OpenResult::Held | OpenResult::Gone => panic!("it did not open"),
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
