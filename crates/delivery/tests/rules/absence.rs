//! A model of two attempts of one message, a provider with a late list, callbacks that are late or
//! lost, and restarts: every combination is played with the rules themselves, and no message is
//! created twice while the bounds of decision 0017 hold. With one bound broken there is a double, so
//! that the model can fail.

use std::time::Duration;

use delivery::absence::{Reading, Verdict, judge, next_look, wants_absence};
use delivery::event::Source;
use delivery::hold::Standing;
use delivery::limits::LIST_LAG_MAX;
use delivery::message::Policy;
use delivery::outcome::{Outcome, ProviderStatus, UnknownCause};
use delivery::progress::{Flags, Progress, ProgressChange, ReportFact, Rules, Transition};
use delivery::row::AttemptRow;
use delivery::settle::{Listed, TextEvidence, UnknownAttempt, settle};
use delivery::sid::Sid;
use delivery::state::State;
use delivery::time::{ClockDifference, Timestamp};

const START: i64 = 1_000_000;
const MINUTE: i64 = 60;

/// What becomes of one request whose answer is lost; minutes and seconds as seconds.
#[derive(Clone, Copy, Debug)]
struct Request {
    /// When the provider creates the message, after the request has ended; `None` for never.
    created: Option<i64>,
    /// How much later the list shows it.
    lag: i64,
    /// When a callback comes, after it was created.
    callback: Option<i64>,
}

/// Everything that the model chooses.
#[derive(Clone, Copy, Debug)]
struct Course {
    policy: Policy,
    first: Request,
    second: Request,
    /// When the process is started again, after the first request has ended.
    restart: Option<i64>,
    /// Whether the account has younger messages.
    younger: bool,
    /// The lag that was measured with other messages.
    measured: Option<Duration>,
}

/// What came of it.
struct Played {
    created: usize,
    marked: bool,
    state: State,
}

struct Model {
    course: Course,
    progress: Progress,
    /// When each attempt had ended.
    ended: Vec<i64>,
    /// Readings of the latest attempt, which the process remembers.
    readings: Vec<Reading>,
    /// From when the process counts.
    counts_from: i64,
    looks: usize,
    next_look: Option<i64>,
    /// Callbacks: when, and of which attempt.
    callbacks: Vec<(i64, usize)>,
    settled: Vec<bool>,
}

fn sid(attempt: usize) -> Sid {
    Sid::parse_message(&format!("SM{attempt:032x}")).unwrap()
}

fn row(attempt: usize) -> AttemptRow {
    AttemptRow(i64::try_from(attempt).unwrap() + 1)
}

fn seconds(of: Duration) -> i64 {
    i64::try_from(of.as_secs()).unwrap()
}

impl Model {
    fn new(course: Course) -> Self {
        let mut model = Self {
            course,
            progress: Progress {
                policy: course.policy,
                accepted_at: Timestamp::from_seconds(START),
                ..Progress::empty()
            },
            ended: Vec::new(),
            readings: Vec::new(),
            counts_from: 0,
            looks: 0,
            next_look: None,
            callbacks: Vec::new(),
            settled: Vec::new(),
        };
        let now = Timestamp::from_seconds(START);
        model.work(0, |transition| transition.accepted(now, Source::Api));
        model
    }

    fn work<T>(&mut self, at: i64, fact: impl FnOnce(&mut Transition<'_>) -> T) -> T {
        let (rules, mut change) = (Rules::default(), ProgressChange::default());
        fact(&mut Transition {
            progress: &mut self.progress,
            change: &mut change,
            rules: &rules,
            now: Timestamp::from_seconds(START + at),
            random: 0,
            variant_untried: false,
            standing: Standing::default(),
        })
    }

    fn request(&self, attempt: usize) -> Request {
        if attempt == 0 {
            self.course.first
        } else {
            self.course.second
        }
    }

    /// When the provider created the message of an attempt.
    fn created(&self, attempt: usize) -> Option<i64> {
        Some(self.ended.get(attempt)? + self.request(attempt).created?)
    }

    /// One second of requests: the attempt is opened, and its answer is lost.
    fn send(&mut self, at: i64) {
        let attempt = self.ended.len();
        self.work(at, |transition| transition.attempt_opened(row(attempt)));
        let lost = Outcome::Unknown(UnknownCause::Timeout);
        self.work(at + 1, |t| t.outcome(row(attempt), &lost, Source::Dispatch));
        self.ended.push(at + 1);
        self.settled.push(false);
        self.readings.clear();
        (self.looks, self.counts_from) = (0, at + 1);
        self.next_look = next_look(0, self.course.policy).map(|wait| at + 1 + seconds(wait));
        let callback = self.request(attempt).callback;
        if let (Some(created), Some(callback)) = (self.created(attempt), callback) {
            self.callbacks.push((created + callback, attempt));
        }
    }

    fn callback(&mut self, at: i64, attempt: usize) {
        let was_unknown = !self.settled[attempt];
        self.settled[attempt] = true;
        let report = ReportFact {
            attempt: row(attempt),
            status: ProviderStatus::Sent,
            word: None,
            code: None,
            source: Source::Callback,
            was_unknown,
        };
        self.work(at, |transition| transition.reported(&report));
    }

    /// The messages that the list shows.
    fn listed(&self, at: i64) -> Vec<usize> {
        (0..self.ended.len())
            .filter(|attempt| {
                let created = self.created(*attempt);
                created.is_some_and(|created| created + self.request(*attempt).lag <= at)
            })
            .collect()
    }

    fn look(&mut self, at: i64) {
        self.looks += 1;
        self.next_look = next_look(self.looks, self.course.policy)
            .zip(next_look(self.looks - 1, self.course.policy))
            .map(|(next, last)| at + seconds(next) - seconds(last));
        let latest = self.ended.len() - 1;
        if self.settled[latest] || self.progress.state != State::Unknown {
            self.next_look = None;
            return;
        }
        let listed = self.listed(at);
        if self.settle(at, latest, &listed) {
            return;
        }
        // Nobody owns a message that is listed and not settled.
        let candidate = listed.iter().any(|attempt| !self.settled[*attempt]);
        self.readings.push(Reading {
            at: Duration::from_secs((at - self.counts_from).unsigned_abs()),
            is_complete: true,
            holds_candidate: candidate,
            younger: self.course.younger.then_some(Duration::ZERO),
        });
        let verdict = judge(&self.readings, self.course.measured);
        let attempt = row(latest);
        if let Verdict::Absent(proof) = verdict
            && wants_absence(self.course.policy)
        {
            self.work(at, |transition| transition.proven_absent(attempt, &proof));
            self.next_look = None;
        } else if self.next_look.is_none() {
            self.work(at, |transition| transition.horizon_passed(attempt, None));
        }
    }

    fn settle(&mut self, at: i64, latest: usize, listed: &[usize]) -> bool {
        let ended = self.ended[latest];
        let unknown = UnknownAttempt {
            key: latest,
            started_at: Timestamp::from_seconds(START + ended - 1),
            ended_at: Timestamp::from_seconds(START + ended),
            created_until: Timestamp::from_seconds(START + ended - 1 + 15 * MINUTE),
            to: "+5585988887777".into(),
            to_alternative: None,
            from: None,
            unlisted: None,
            text: TextEvidence::Exact("a".into()),
            media: Some(0),
        };
        let messages: Vec<_> = listed
            .iter()
            .map(|attempt| Listed {
                sid: sid(*attempt),
                to: "+5585988887777".into(),
                from: None,
                body: Some("a".into()),
                media: Some(0),
                outbound: true,
                created_at: Timestamp::from_seconds(START + self.created(*attempt).unwrap()),
            })
            .collect();
        let is_taken = |of: Sid| (0..self.settled.len()).any(|n| self.settled[n] && sid(n) == of);
        let found = settle(&[unknown], &messages, ClockDifference::NONE, is_taken);
        let Some((_, sid)) = found.first().copied() else {
            return false;
        };
        let status = ProviderStatus::Sent;
        self.settled[latest] = true;
        self.work(at, |transition| {
            let outcome = Outcome::Sent { sid, status };
            transition.outcome(row(latest), &outcome, Source::Poll);
        });
        self.next_look = None;
        true
    }

    /// Plays until nothing happens any more.
    fn play(mut self) -> Played {
        self.send(0);
        let mut restart = self.course.restart;
        loop {
            let due = self
                .progress
                .due_at
                .map(|due| due.micros() / 1_000_000 - START);
            let callback = self.callbacks.iter().map(|(at, _)| *at).min();
            let next = [callback, self.next_look, restart, due]
                .into_iter()
                .flatten()
                .min();
            let Some(at) = next else { break };
            if callback == Some(at) {
                let place = self
                    .callbacks
                    .iter()
                    .position(|(when, _)| *when == at)
                    .unwrap();
                let (_, attempt) = self.callbacks.remove(place);
                self.callback(at, attempt);
            } else if restart == Some(at) {
                restart = None;
                self.readings.clear();
                self.counts_from = at;
            } else if due == Some(at) && self.ended.len() < 2 {
                self.send(at);
            } else if due == Some(at) {
                break;
            } else {
                self.look(at);
            }
        }
        Played {
            created: (0..self.ended.len())
                .filter(|n| self.created(*n).is_some())
                .count(),
            marked: self.progress.flags.has(Flags::POSSIBLE_DUPLICATE),
            state: self.progress.state,
        }
    }
}

/// Every request within the bounds: created at most five minutes after its end, listed at most five
/// minutes after that.
fn requests() -> Vec<Request> {
    let mut all = vec![Request {
        created: None,
        lag: 0,
        callback: None,
    }];
    for created in [-1, 0, 7, MINUTE, 4 * MINUTE, 5 * MINUTE - 1] {
        for lag in [0, 1, 20, 2 * MINUTE, seconds(LIST_LAG_MAX)] {
            let callbacks = [
                0,
                3 * MINUTE,
                10 * MINUTE,
                15 * MINUTE,
                70 * MINUTE,
                30 * 60 * MINUTE,
            ];
            for callback in callbacks.into_iter().map(Some).chain([None]) {
                all.push(Request {
                    created: Some(created),
                    lag,
                    callback,
                });
            }
        }
    }
    all
}

fn courses(first: &[Request], second: &[Request], measured: Option<Duration>) -> Vec<Course> {
    let mut all = Vec::new();
    for &policy in Policy::ALL {
        for first in first {
            for second in second {
                for restart in [
                    None,
                    Some(3),
                    Some(7 * MINUTE),
                    Some(12 * MINUTE),
                    Some(16 * MINUTE),
                ] {
                    for younger in [false, true] {
                        all.push(Course {
                            policy,
                            first: *first,
                            second: *second,
                            restart,
                            younger,
                            measured,
                        });
                    }
                }
            }
        }
    }
    all
}

#[test]
fn no_message_is_created_twice_within_the_bounds() {
    let all = requests();
    // The second request matters by whether and when it creates; all of its callbacks do not.
    let few: Vec<_> = all.iter().step_by(40).copied().collect();
    let mut played = 0_u32;
    for measured in [None, Some(LIST_LAG_MAX)] {
        for course in courses(&all, &few, measured) {
            let end = Model::new(course).play();
            played += 1;
            assert!(end.created <= 1 || end.marked, "{course:?}");
            if course.policy != Policy::AtLeastOnce {
                assert!(end.created <= 1, "{course:?}");
            }
            // What was never created is sent again, and what the list shows is found.
            let first_lost = course.first.created.is_none();
            if course.policy == Policy::Once && first_lost && course.second.created.is_some() {
                assert_eq!(end.created, 1, "{course:?}");
                assert_ne!(end.state, State::Unknown, "{course:?}");
            }
        }
    }
    assert!(played > 90_000, "{played}");
}

#[test]
fn a_list_that_is_later_than_the_bound_leads_to_a_double() {
    let created = |lag| Request {
        created: Some(0),
        lag,
        callback: None,
    };
    let doubles = |lag, measured| {
        courses(&[created(lag)], &[created(0)], measured)
            .into_iter()
            .filter(|course| course.policy == Policy::Once)
            .filter(|course| Model::new(*course).play().created > 1)
            .count()
    };
    let measured = Some(Duration::from_secs(1));
    assert_eq!(doubles(seconds(LIST_LAG_MAX), measured), 0);
    assert!(doubles(20 * MINUTE, measured) > 0);
    // A lag that was measured stops it.
    assert_eq!(doubles(20 * MINUTE, Some(Duration::from_secs(20 * 60))), 0);
}

#[test]
fn a_message_that_is_created_too_late_leads_to_a_double() {
    let late = Request {
        created: Some(20 * MINUTE),
        lag: 0,
        callback: None,
    };
    let second = Request {
        created: Some(0),
        lag: 0,
        callback: None,
    };
    let measured = Some(Duration::ZERO);
    let mut all = courses(&[late], &[second], measured);
    all.retain(|course| course.policy == Policy::Once && course.younger);
    assert!(
        all.iter()
            .any(|course| Model::new(*course).play().created > 1)
    );
}
