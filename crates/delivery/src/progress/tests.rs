//! Messages, step by step: whatever comes in whatever order, the counters say what the events say,
//! the queue change says what the due time says, and what was stopped stays stopped.

mod holds;

use std::collections::HashMap;

use crate::absence::Proof;
use crate::event::{EventKind, Source};
use crate::hold::Standing;
use crate::message::Policy;
use crate::outcome::{NotSentCause, Outcome, ProviderStatus, UnknownCause};
use crate::sid::Sid;
use crate::state::State;
use crate::time::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::counter::{Metric, Stage};

const START: Timestamp = Timestamp::from_seconds(1_000_000);

fn rules() -> Rules {
    Rules::default()
}

fn sid() -> Sid {
    Sid::parse_message(&format!("SM{:032x}", 1)).unwrap()
}

/// One thing that may happen to a message.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Open,
    NotSent,
    Sent(ProviderStatus),
    Lost,
    Refused(u32),
    Reported(ProviderStatus, Option<u32>),
    HorizonPassed,
    Absent,
    Withdrawn,
    Cancel,
    Expire,
    Suppress,
    HoldForAnswer,
    ReleaseAfterAnswer,
    RetryByOperator,
}

/// A message that is worked on as an engine would, with sums of everything that was counted.
struct Course {
    progress: Progress,
    counts: HashMap<(Metric, i64), i64>,
    events: Vec<Event>,
    open: Option<AttemptRow>,
    queued: Option<Timestamp>,
    variant_untried: bool,
    standing: Standing,
    now: Timestamp,
    random: u64,
}

impl Course {
    fn new(policy: Policy, variant_untried: bool) -> Self {
        let mut course = Self {
            variant_untried,
            standing: Standing {
                has_template: true,
                ..Standing::default()
            },
            now: START,
            random: 0,
            progress: Progress {
                policy,
                accepted_at: START,
                ..Progress::empty()
            },
            counts: HashMap::new(),
            events: Vec::new(),
            open: None,
            queued: None,
        };
        course.work(|transition| transition.accepted(START, Source::Api));
        course
    }

    fn work(&mut self, fact: impl FnOnce(&mut Transition<'_>)) {
        let (rules, mut change) = (rules(), ProgressChange::default());
        fact(&mut Transition {
            progress: &mut self.progress,
            change: &mut change,
            rules: &rules,
            now: self.now,
            random: self.random,
            variant_untried: self.variant_untried,
            standing: self.standing,
        });
        for count in change.counts {
            *self.counts.entry((count.metric, count.code)).or_default() += count.by;
        }
        match change.queue {
            QueueChange::Unchanged => {}
            QueueChange::Enqueue(at) => self.queued = Some(at),
            QueueChange::Dequeue => self.queued = None,
        }
        self.events.extend(change.events);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Open if self.open.is_none() && self.progress.state.is_waiting() => {
                let attempt = AttemptRow(i64::from(self.progress.attempts) + 1);
                self.open = Some(attempt);
                self.work(|transition| transition.attempt_opened(attempt));
            }
            Happening::Open => {}
            Happening::NotSent => self.close(&Outcome::NotSent {
                cause: NotSentCause::Connect,
                retry_after: None,
            }),
            Happening::Sent(status) => self.close(&Outcome::Sent { sid: sid(), status }),
            Happening::Lost => self.close(&Outcome::Unknown(UnknownCause::Timeout)),
            Happening::Refused(code) => self.close(&Outcome::Refused {
                http_status: 400,
                code: Some(code),
            }),
            Happening::Reported(status, code) => {
                let Some(attempt) = self.progress.attempt else {
                    return;
                };
                let was_unknown = self.progress.state == State::Unknown;
                self.work(|transition| {
                    transition.reported(&ReportFact {
                        attempt,
                        status,
                        word: None,
                        code,
                        source: Source::Callback,
                        was_unknown,
                    });
                });
            }
            Happening::HorizonPassed => {
                let Some(attempt) = self.progress.attempt else {
                    return;
                };
                self.work(|transition| transition.horizon_passed(attempt, None));
            }
            Happening::Absent => {
                let Some(attempt) = self.progress.attempt else {
                    return;
                };
                self.work(|transition| {
                    transition.proven_absent(attempt, &Proof::default());
                });
            }
            // Only what evidence has settled can be withdrawn.
            Happening::Withdrawn => {
                let settled = self.told(&[EventKind::AttemptSent]);
                let withdrawn = self.told(&[EventKind::EvidenceWithdrawn]);
                let Some(attempt) = self.progress.attempt.filter(|_| settled > withdrawn) else {
                    return;
                };
                if self.open.is_none() {
                    self.work(|transition| {
                        transition.evidence_withdrawn(attempt, Source::Callback);
                    });
                }
            }
            Happening::Cancel => self.work(|transition| {
                transition.cancel(EventKind::Canceled, Source::Api);
            }),
            Happening::Expire => self.work(|transition| {
                transition.expire();
            }),
            Happening::Suppress => self.work(|transition| {
                transition.suppress(Source::Recipient);
            }),
            Happening::HoldForAnswer => self.work(|transition| {
                transition.hold_for_answer(Source::Recipient);
            }),
            Happening::ReleaseAfterAnswer => self.work(|transition| {
                transition.release_after_answer(None, Source::Recipient);
            }),
            Happening::RetryByOperator => self.work(|transition| {
                transition.retry_by_operator(None);
            }),
        }
    }

    fn close(&mut self, outcome: &Outcome) {
        if let Some(attempt) = self.open.take() {
            self.work(|transition| transition.outcome(attempt, outcome, Source::Dispatch));
        }
    }

    fn count(&self, metric: Metric, code: i64) -> i64 {
        self.counts.get(&(metric, code)).copied().unwrap_or(0)
    }

    fn told(&self, kinds: &[EventKind]) -> i64 {
        let told = self
            .events
            .iter()
            .filter(|event| kinds.contains(&event.kind));
        i64::try_from(told.count()).unwrap()
    }

    fn check(&self) {
        let progress = &self.progress;
        assert_eq!(self.events.last().unwrap().state, progress.state);
        assert_eq!(
            progress.due_at.is_some(),
            progress.state.is_waiting(),
            "{progress:?}"
        );
        assert_eq!(self.queued, progress.due_at);
        for &state in State::ALL {
            let expected = i64::from(state == progress.state);
            assert_eq!(self.count(Metric::State, state.number()), expected);
        }
        for (metric, at) in [
            (Metric::Sent, progress.sent_at),
            (Metric::Delivered, progress.delivered_at),
            (Metric::Read, progress.read_at),
        ] {
            assert_eq!(self.count(metric, 0), i64::from(at.is_some()), "{metric:?}");
        }
        for (stage, at) in [
            (Stage::AcceptedToSent, progress.sent_at),
            (Stage::SentToDelivered, progress.delivered_at),
            (Stage::DeliveredToRead, progress.read_at),
        ] {
            let counted = |(metric, _): &(&(Metric, i64), &i64)| metric.0 == stage.metric();
            let n: i64 = self.counts.iter().filter(counted).map(|(_, n)| n).sum();
            assert_eq!(n, i64::from(at.is_some()), "{stage:?}");
        }
        let opened = self.told(&[EventKind::AttemptOpened]);
        assert_eq!(opened, i64::from(progress.attempts));
        assert_eq!(self.count(Metric::Attempts, 0), opened);
        assert_eq!(self.count(Metric::Accepted, 0), 1);
        let retries = self.told(&[EventKind::RetryDecided]);
        assert_eq!(self.count(Metric::Retries, 0), retries);
        let outcomes: i64 = (0..5).map(|n| self.count(Metric::Outcomes, n)).sum();
        let withdrawn = self.told(&[EventKind::EvidenceWithdrawn]);
        let told = self.told(&[
            EventKind::AttemptAbsent,
            EventKind::AttemptNotSent,
            EventKind::AttemptSent,
            EventKind::AttemptUnknown,
            EventKind::AttemptRefused,
        ]);
        assert_eq!(outcomes, told - withdrawn);
        let contradictions = self
            .events
            .iter()
            .filter(|event| event.detail.as_deref() == Some(CONTRADICTS));
        let contradictions = i64::try_from(contradictions.count()).unwrap();
        assert_eq!(self.count(Metric::Anomalies, 0), contradictions);
    }
}

fn happening() -> impl Strategy<Value = Happening> {
    use ProviderStatus::{Canceled, Delivered, Failed, Other, Queued, Read, Sent, Undelivered};
    // Failures lead to the most decisions.
    let status = prop::sample::select(vec![
        Queued,
        Sent,
        Delivered,
        Read,
        Failed,
        Failed,
        Failed,
        Undelivered,
        Undelivered,
        Canceled,
        Other,
    ]);
    let codes = [
        63_016_u32, 63_018, 63_024, 30_008, 21_610, 63_007, 21_606, 63_042, 63_049, 99_999,
    ];
    let code = prop::sample::select(codes.to_vec());
    prop_oneof![
        4 => Just(Happening::Open),
        1 => Just(Happening::NotSent),
        2 => status.clone().prop_map(Happening::Sent),
        2 => Just(Happening::Lost),
        1 => code.clone().prop_map(Happening::Refused),
        5 => (status, prop::option::weighted(0.8, code)).prop_map(|(s, c)| Happening::Reported(s, c)),
        1 => Just(Happening::HorizonPassed),
        1 => Just(Happening::Absent),
        1 => Just(Happening::Withdrawn),
        1 => Just(Happening::Cancel),
        1 => Just(Happening::Expire),
        1 => Just(Happening::Suppress),
        1 => Just(Happening::HoldForAnswer),
        1 => Just(Happening::ReleaseAfterAnswer),
        1 => Just(Happening::RetryByOperator),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_happens_the_counters_and_the_queue_say_what_the_log_says(
        policy in prop::sample::select(Policy::ALL.to_vec()),
        other_form in any::<bool>(),
        happenings in prop::collection::vec(happening(), 0..25),
    ) {
        let mut course = Course::new(policy, other_form);
        course.check();
        for happening in happenings {
            course.happen(happening);
            course.check();
        }
    }

    /// Somebody decided that it must not be sent: nothing but a person's command brings it back.
    #[test]
    fn what_was_stopped_is_never_queued_again(
        policy in prop::sample::select(Policy::ALL.to_vec()),
        other_form in any::<bool>(),
        before in prop::collection::vec(happening(), 0..10),
        stop in prop::sample::select(vec![
            Happening::Cancel,
            Happening::Expire,
            Happening::Suppress,
        ]),
        after in prop::collection::vec(happening(), 0..10),
    ) {
        let mut course = Course::new(policy, other_form);
        for happening in before {
            course.happen(happening);
        }
        course.happen(stop);
        let stopped = [State::Canceled, State::Expired, State::Suppressed];
        if !stopped.contains(&course.progress.state) {
            return Ok(());
        }
        for happening in after {
            if !matches!(happening, Happening::RetryByOperator) {
                course.happen(happening);
                prop_assert!(course.progress.due_at.is_none(), "{happening:?} queued it again");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Reports of failure with and without codes, one of which leads to a retry, end the same way
    /// in any order.
    #[test]
    fn codes_in_any_order(
        reports in prop::collection::hash_set(
            (
                prop::sample::select(vec![ProviderStatus::Undelivered, ProviderStatus::Failed]),
                prop::sample::select(vec![None, Some(63_016_u32), Some(99_999), Some(63_024)]),
            ),
            1..6,
        ),
        turn in 0_usize..6,
        flip in any::<bool>(),
        variant_untried in any::<bool>(),
    ) {
        let end = |reports: &[(ProviderStatus, Option<u32>)]| {
            let mut course = Course::new(Policy::Once, variant_untried);
            course.happen(Happening::Open);
            course.happen(Happening::Sent(ProviderStatus::Queued));
            for (status, code) in reports {
                course.happen(Happening::Reported(*status, *code));
                course.check();
            }
            let progress = course.progress;
            let failed = progress.failed_at.is_some();
            (progress.state, progress.flags, progress.due_at, progress.error, failed)
        };
        let one: Vec<_> = reports.into_iter().collect();
        let mut other = one.clone();
        other.rotate_left(turn % one.len());
        if flip {
            other.reverse();
        }
        prop_assert_eq!(end(&one), end(&other), "{:?} {:?}", one, other);
    }
}

#[test]
fn a_retry_after_absence_is_stopped_by_evidence_until_it_leaves() {
    use Happening::{Absent, Lost, Open, Reported};
    for policy in [Policy::Once, Policy::AtLeastOnce] {
        let mut course = Course::new(policy, false);
        for happening in [Open, Lost, Absent] {
            course.happen(happening);
            course.check();
        }
        assert_eq!(course.progress.state, State::Scheduled);
        assert!(course.progress.flags.has(Flags::RETRY_AFTER_ABSENCE));
        course.happen(Reported(ProviderStatus::Sent, None));
        course.check();
        assert_eq!(course.progress.state, State::Sent);
        assert!(!course.progress.flags.has(Flags::RETRY_AFTER_ABSENCE));
        let mut course = Course::new(policy, false);
        for happening in [Open, Lost, Absent, Open] {
            course.happen(happening);
        }
        assert!(!course.progress.flags.has(Flags::POSSIBLE_DUPLICATE));
        assert_eq!(course.progress.state, State::Sending);
    }
    for (policy, state) in [
        (Policy::AtMostOnce, State::Unknown),
        (Policy::Ask, State::Held),
    ] {
        let mut course = Course::new(policy, false);
        for happening in [Open, Lost, Absent] {
            course.happen(happening);
        }
        assert_eq!(course.progress.state, state);
    }
}

#[test]
fn an_absent_message_whose_time_is_over_expires() {
    let mut course = Course::new(Policy::Once, false);
    course.happen(Happening::Open);
    course.happen(Happening::Lost);
    course.progress.expires_at = Some(START);
    course.happen(Happening::Absent);
    course.check();
    assert_eq!(course.progress.state, State::Expired);
}

/// The first attempt was unknown, the second one was not sent; then the first turns out to exist.
#[test]
fn an_earlier_attempt_that_exists_after_all_stops_the_retry_that_waits() {
    use Happening::{Absent, Lost, NotSent, Open};
    let mut course = Course::new(Policy::Once, false);
    for happening in [Open, Lost, Absent, Open, NotSent] {
        course.happen(happening);
    }
    assert!(course.progress.due_at.is_some());
    for (was_unknown, waits) in [(false, true), (true, false)] {
        course.work(|transition| {
            transition.reported(&ReportFact {
                attempt: AttemptRow(1),
                status: ProviderStatus::Sent,
                word: None,
                code: None,
                source: Source::Callback,
                was_unknown,
            });
        });
        course.check();
        assert_eq!(course.progress.due_at.is_some(), waits);
    }
    assert_eq!(course.progress.state, State::Sent);
}

/// The canceled message turns out to be under way, and then fails with a code that is usually
/// tried again: the cancellation stands, until an operator asks for another attempt.
#[test]
fn a_late_failure_of_a_cancelled_message_does_not_bring_it_back() {
    use Happening::{Cancel, HoldForAnswer, Lost, Open, Reported, RetryByOperator};
    let mut course = Course::new(Policy::AtMostOnce, false);
    for happening in [
        Open,
        Lost,
        HoldForAnswer,
        Cancel,
        Reported(ProviderStatus::Queued, None),
        Reported(ProviderStatus::Failed, Some(63_018)),
    ] {
        course.happen(happening);
    }
    assert_eq!(course.progress.due_at, None);
    assert_eq!(course.progress.state, State::Failed);
    course.happen(RetryByOperator);
    course.check();
    assert!(course.progress.due_at.is_some());
    course.happen(Open);
    course.happen(Reported(ProviderStatus::Failed, Some(63_018)));
    assert!(course.progress.due_at.is_some(), "it is wanted again");
}

#[test]
fn each_status_has_a_bit_of_its_own() {
    let mut seen = 0;
    for &status in ProviderStatus::ALL {
        assert_eq!(seen & status.bit(), 0, "{status:?}");
        seen |= status.bit();
    }
    assert_eq!(seen.count_ones(), 14);
}
