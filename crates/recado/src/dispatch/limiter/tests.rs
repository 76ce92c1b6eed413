//! The limiter in outages: how many requests are spent on one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use delivery::outcome::UnknownCause;

use super::*;
use crate::effects::{BoxFuture, Clock};

/// A clock that moves when it is told to.
struct SetClock {
    start: Instant,
    micros: AtomicU64,
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(1_000_000).plus(self.passed())
    }

    fn monotonic(&self) -> Instant {
        self.start + self.passed()
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        unreachable!("nothing here sleeps")
    }
}

impl SetClock {
    fn passed(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::Relaxed))
    }
}

/// What the provider does with a request.
#[derive(Clone, Copy)]
enum Answer {
    Good,
    Bad(Failure),
}

#[derive(Clone, Copy)]
enum Failure {
    ServerError,
    Refuses,
    Hangs,
}

const LATENCY: Duration = Duration::from_millis(20);
const TICK: Duration = Duration::from_millis(1);

impl Failure {
    fn outcome(self) -> Outcome {
        match self {
            Self::ServerError => Outcome::Unknown(UnknownCause::ServerError(503)),
            Self::Hangs => Outcome::Unknown(UnknownCause::Timeout),
            Self::Refuses => Outcome::NotSent {
                cause: NotSentCause::Connect,
                retry_after: None,
            },
        }
    }

    fn latency(self, usual: Duration) -> Duration {
        match self {
            Self::ServerError => usual,
            Self::Refuses => Duration::ZERO,
            Self::Hangs => Duration::from_secs(30),
        }
    }
}

fn good() -> Outcome {
    Outcome::Refused {
        http_status: 400,
        code: None,
    }
}

/// Lanes with endless messages, in time that is simulated.
struct Simulation {
    limiter: RequestLimiter,
    clock: Arc<SetClock>,
    /// The time of an answer.
    latency: Duration,
    /// Requests that are open: when they end, when they began, and what comes of them.
    open: Vec<(Instant, Instant, Permit, Answer)>,
    /// Requests that ended badly, and well.
    bad: u64,
    good: u64,
    open_max: usize,
}

impl Simulation {
    fn new(lanes: usize) -> Self {
        let clock = Arc::new(SetClock {
            start: Instant::now(),
            micros: AtomicU64::new(0),
        });
        let effects = Effects {
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            ..Effects::real()
        };
        let names = (0..lanes)
            .map(|lane| SenderName::new(format!("+5511400000{lane:02}")))
            .collect();
        Self {
            limiter: RequestLimiter::new(names, 1, effects, watch::Sender::new(Vec::new())),
            clock,
            latency: LATENCY,
            open: Vec::new(),
            bad: 0,
            good: 0,
            open_max: 0,
        }
    }

    fn now(&self) -> Instant {
        self.clock.monotonic()
    }

    /// Lets time pass, with this many messages per second and lane; those of `outage` come to
    /// nothing, from all lanes or from one.
    fn run(&mut self, time: Duration, rate: usize, outage: Option<Failure>, only: Option<usize>) {
        let lanes = self.limiter.names.len();
        // In thousandths of a message.
        let mut tokens = vec![0; lanes];
        let end = self.now() + time;
        while self.now() < end {
            self.clock.micros.fetch_add(1_000, Ordering::Relaxed);
            self.end_due();
            for (lane, tokens) in tokens.iter_mut().enumerate() {
                *tokens = (*tokens + rate).min(rate * 20 + 1_000);
                let hit = outage.filter(|_| only.is_none_or(|only| only == lane));
                let answer = hit.map_or(Answer::Good, Answer::Bad);
                *tokens -= 1_000 * self.send(lane, *tokens / 1_000, answer);
            }
            self.open_max = self.open_max.max(self.open.len());
        }
    }

    fn send(&mut self, lane: usize, wanted: usize, answer: Answer) -> usize {
        if wanted == 0 {
            return 0;
        }
        let now = self.now();
        let permits = match self.limiter.ask(lane, wanted, now) {
            Grant::Any(permits) => permits,
            // None of these messages is urgent.
            Grant::UrgentOnly(permits) => {
                self.limiter.give_back(permits);
                return 0;
            }
            Grant::Nothing(_) => return 0,
        };
        let sent = permits.len();
        let latency = match answer {
            Answer::Good => self.latency,
            Answer::Bad(failure) => failure.latency(self.latency),
        };
        for permit in permits {
            self.open.push((now + latency, now, permit, answer));
        }
        self.end_due();
        sent
    }

    fn end_due(&mut self) {
        let now = self.now();
        let (due, open) = std::mem::take(&mut self.open)
            .into_iter()
            .partition(|(end, ..)| *end <= now);
        self.open = open;
        for (_, started, permit, answer) in due {
            let outcome = match answer {
                Answer::Good => {
                    self.good += 1;
                    good()
                }
                Answer::Bad(failure) => {
                    self.bad += 1;
                    failure.outcome()
                }
            };
            self.limiter.ended(permit, &outcome, started);
        }
    }

    fn outages(&self) -> Vec<Outage> {
        self.limiter.outages.borrow().clone()
    }

    fn probes(&self) -> u64 {
        self.outages().iter().map(|outage| outage.probes).sum()
    }
}

#[test]
fn an_outage_of_any_kind_costs_its_probes_and_ten_requests_at_most() {
    for outage in [Failure::ServerError, Failure::Refuses, Failure::Hangs] {
        for before in [0, 5] {
            for lanes in [1, 3] {
                let mut simulation = Simulation::new(lanes);
                let rate = 80 / lanes;
                simulation.run(Duration::from_secs(before), rate, None, None);
                assert!(simulation.outages().is_empty() && simulation.bad == 0);
                simulation.run(Duration::from_secs(600), rate, Some(outage), None);
                let outages = simulation.outages();
                assert!(outages.iter().any(|outage| outage.sender.is_none()));
                let spent = simulation.bad + simulation.open.len() as u64;
                let allowed = simulation.probes() + 10;
                assert!(spent <= allowed, "{spent} of {allowed}");
                // Pauses of a minute at most: it asked all the time.
                assert!(simulation.probes() >= 8, "{}", simulation.probes());
                let good = simulation.good;
                simulation.run(Duration::from_secs(200), rate, None, None);
                assert!(
                    simulation.outages().is_empty(),
                    "{:?}",
                    simulation.outages()
                );
                let after = simulation.good - good;
                assert!(after > 78 * 60, "only {after} left after it");
            }
        }
    }
}

/// Nobody can call back what leaves before the first failure is known.
#[test]
fn errors_that_come_late_cost_what_left_before_them_as_well() {
    let mut simulation = Simulation::new(1);
    simulation.latency = Duration::from_millis(250);
    simulation.run(Duration::from_secs(5), 80, None, None);
    let outage = Some(Failure::ServerError);
    simulation.run(Duration::from_secs(600), 80, outage, None);
    let spent = simulation.bad + simulation.open.len() as u64;
    let allowed = simulation.probes() + 10 + 80 / 4;
    assert!(spent <= allowed, "{spent} of {allowed}");
}

#[test]
fn one_failing_sender_stops_no_other() {
    let mut simulation = Simulation::new(2);
    simulation.run(Duration::from_secs(5), 40, None, None);
    let good = simulation.good;
    simulation.run(
        Duration::from_secs(600),
        40,
        Some(Failure::ServerError),
        Some(1),
    );
    let outages = simulation.outages();
    assert_eq!(outages.len(), 1, "{outages:?}");
    assert_eq!(outages[0].sender, Some(SenderName::new("+551140000001")));
    assert!(simulation.bad <= outages[0].probes + 10);
    let left = simulation.good - good;
    assert!(left > 600 * 40 * 9 / 10, "{left}");
}

#[test]
fn one_failing_sender_stops_no_other_that_rarely_sends() {
    let mut simulation = Simulation::new(2);
    simulation.run(Duration::from_secs(120), 1, Some(Failure::Hangs), Some(1));
    let now = simulation.now();
    assert!(matches!(simulation.limiter.ask(0, 1, now), Grant::Any(_)));
}

/// Nobody knows yet that the requests of the first sender hang: none has ended.
#[test]
fn requests_of_one_sender_that_hang_hold_up_no_other() {
    let mut simulation = Simulation::new(2);
    let mut hanging = Vec::new();
    while let Grant::Any(permits) | Grant::UrgentOnly(permits) =
        simulation.limiter.ask(0, 256, simulation.now())
    {
        hanging.extend(permits);
    }
    assert!(hanging.len() > 6, "{}", hanging.len());
    simulation.run(Duration::from_secs(20), 40, None, None);
    assert!(simulation.good > 20 * 40 * 9 / 10, "{}", simulation.good);
}

/// What a lane asks for, to see whether anything is due, is in no other's way for long.
#[test]
fn a_lane_that_was_refused_hears_of_permits_that_are_given_back() {
    let simulation = Simulation::new(7);
    let now = simulation.now();
    let ask = |lane| simulation.limiter.ask(lane, 256, now);
    let mut granted: Vec<_> = (0..5).map(ask).collect();
    let changed = simulation.limiter.changed();
    assert!(matches!(ask(5), Grant::Nothing(None)));
    let Grant::Any(permits) = granted.remove(0) else {
        panic!("the first lane gets what there is");
    };
    assert!(!changed.has_changed().unwrap());
    simulation.limiter.give_back(permits);
    assert!(changed.has_changed().unwrap());
    let changed = simulation.limiter.changed();
    let Grant::Any(permits) = ask(5) else {
        panic!("there is room");
    };
    simulation.limiter.give_back(permits);
    assert!(!changed.has_changed().unwrap(), "nobody waits any more");
}

/// The last requests of the evening fail, and nothing waits after them.
#[test]
fn an_outage_that_nobody_asks_about_is_not_believed_in_for_long() {
    let mut simulation = Simulation::new(1);
    let outage = Some(Failure::ServerError);
    simulation.run(Duration::from_secs(3_600), 80, outage, None);
    let believed = |simulation: &Simulation| {
        let now = simulation.clock.now();
        let outages = simulation.outages();
        assert_eq!(outages.len(), 1);
        outages.iter().any(|outage| outage.is_believed(now))
    };
    assert!(believed(&simulation), "it was asked all the time");
    simulation.run(OUTAGE_BELIEVED_FOR / 2, 0, None, None);
    assert!(believed(&simulation));
    simulation.run(OUTAGE_BELIEVED_FOR / 2, 0, None, None);
    assert!(!believed(&simulation));
    // The next message is a probe all the same.
    let Grant::Any(permits) = simulation.limiter.ask(0, 256, simulation.now()) else {
        panic!("a probe may start");
    };
    assert_eq!(permits.len(), 1);
}

#[test]
fn after_an_outage_the_number_of_open_requests_grows_from_one() {
    let mut simulation = Simulation::new(1);
    simulation.run(Duration::from_secs(2), 80, Some(Failure::ServerError), None);
    while !simulation.outages().is_empty() {
        simulation.run(TICK, 10_000, None, None);
    }
    assert_eq!(simulation.open.len(), 1);
    simulation.open_max = 0;
    simulation.run(Duration::from_secs(5), 10_000, None, None);
    assert!(simulation.open_max > 60, "{}", simulation.open_max);
}

#[test]
fn urgent_messages_have_places_of_their_own() {
    let simulation = Simulation::new(1);
    let now = simulation.now();
    let Grant::Any(slow) = simulation.limiter.ask(0, 256, now) else {
        panic!("nothing is open yet");
    };
    assert!(!slow.is_empty());
    let Grant::UrgentOnly(urgent) = simulation.limiter.ask(0, 256, now) else {
        panic!("urgent ones may go");
    };
    assert_eq!(urgent.len(), URGENT_MAX);
    assert!(matches!(
        simulation.limiter.ask(0, 256, now),
        Grant::Nothing(None)
    ));
    simulation.limiter.give_back(urgent);
    let Grant::UrgentOnly(again) = simulation.limiter.ask(0, 256, now) else {
        panic!("their places are free again");
    };
    assert_eq!(again.len(), URGENT_MAX);
}

/// More requests hang than may begin after the last answer: they began while answers came quickly.
#[test]
fn urgent_messages_have_their_places_when_many_requests_begin_to_hang() {
    let mut simulation = Simulation::new(1);
    simulation.run(Duration::from_secs(5), 1_000, None, None);
    simulation.run(TICK * 1_000, 1_000, Some(Failure::Hangs), None);
    assert!(simulation.open.len() > 20, "{}", simulation.open.len());
    let Grant::UrgentOnly(urgent) = simulation.limiter.ask(0, 256, simulation.now()) else {
        panic!("urgent ones may go");
    };
    assert_eq!(urgent.len(), URGENT_MAX);
}

#[test]
fn a_429_stops_everything_for_the_time_asked_and_is_no_outage() {
    let mut simulation = Simulation::new(2);
    let limited = Outcome::NotSent {
        cause: NotSentCause::RateLimited,
        retry_after: Some(RetryAfter::Delay(Duration::from_secs(1_000_000))),
    };
    for _ in 0..5 {
        let now = simulation.now();
        if let Grant::Any(permits) = simulation.limiter.ask(0, 1, now) {
            for permit in permits {
                simulation.limiter.ended(permit, &limited, now);
            }
        }
    }
    assert!(simulation.outages().is_empty());
    let Grant::Nothing(Some(wait)) = simulation.limiter.ask(1, 1, simulation.now()) else {
        panic!("every lane is stopped");
    };
    assert_eq!(wait, RETRY_AFTER_MAX);
    simulation.run(RETRY_AFTER_MAX + TICK, 0, None, None);
    assert!(matches!(
        simulation.limiter.ask(1, 1, simulation.now()),
        Grant::Any(_)
    ));
}

#[test]
fn lanes_share_the_limit_and_each_has_one_place() {
    let simulation = Simulation::new(3);
    let now = simulation.now();
    let taken: Vec<_> = (0..3)
        .map(|lane| match simulation.limiter.ask(lane, 256, now) {
            Grant::Any(permits) => permits.len(),
            Grant::UrgentOnly(_) | Grant::Nothing(_) => 0,
        })
        .collect();
    assert!(taken[0] > 1, "{taken:?}");
    let told = simulation.limiter.inner().unknown.due(now);
    assert_eq!(told, None);
}

#[test]
fn unknown_outcomes_are_counted_into_one_line_a_minute() {
    let start = Instant::now();
    let mut line = UnknownLine::default();
    let reason = OutageReason::NoAnswer;
    line.add(reason);
    assert_eq!(line.due(start), Some((1, reason)));
    for _ in 0..500 {
        line.add(reason);
        assert_eq!(line.due(start + UNKNOWN_LINE_EVERY / 2), None);
    }
    assert_eq!(line.due(start + UNKNOWN_LINE_EVERY), Some((500, reason)));
    assert_eq!(line.due(start + UNKNOWN_LINE_EVERY * 3), None);
}
