//! Stops sending while requests end without an answer of the provider, and finds out when that is
//! over. A state machine of its own time: instants and chance come in, decisions go out.
//!
//! Three requests in a row that failed, with no success between, open it. Then one request at a time is
//! let through as a probe, with growing pauses, until one succeeds. While it is closed, it bounds
//! how many requests may start before any of them has succeeded: when they hang instead of failing,
//! nothing else would say so for half a minute.

use std::time::{Duration, Instant};

use delivery::outage::OutageReason;

/// Failures in a row that open it.
const FAILURES_MAX: usize = 3;
/// Failures of one sender alone that are remembered for the account.
const FAILURES_KEPT_MAX: usize = 8;
/// Pause before the first probe.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// Longest pause between probes.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Requests that may always start with no success since.
const EXPOSED_MIN: usize = 6;
/// As many more, for lanes that have none of those.
const EXPOSED_BEYOND: usize = 4;
/// As many may start with no success since as have just succeeded within this time.
const EXPOSED_FOR: Duration = Duration::from_millis(50);

/// Who makes a request. Later requests have higher numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Its place in the order in which requests began.
    pub number: u64,
    /// The lane that makes it.
    pub lane: usize,
}

/// What changed for those who look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing is sent any more but probes.
    Opened,
    /// Another probe has failed.
    Probed,
    /// It is over.
    Closed(OpenPeriod),
}

/// How long it has been open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpenPeriod {
    /// When the first of the failures was known.
    pub since: Instant,
    /// Why the latest request failed.
    pub reason: OutageReason,
    /// Requests made since it opened.
    pub probes: u64,
}

/// When something ended, and chance for the pause after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tick {
    /// Now.
    pub now: Instant,
    /// 64 random bits.
    pub random: u64,
}

/// The breaker of one sender, or of the account.
pub(super) struct Breaker {
    /// Divides the pauses.
    clock_scale: u32,
    /// How many lanes must have failed for it to open.
    lanes_needed: usize,
    state: State,
    exposed: Exposed,
    /// The number of the last request that began before that.
    exposed_after: u64,
    /// The number of the last request that began.
    last: u64,
    /// What began before this one is from before an outage that is over.
    outdated_before: u64,
    recent: Recent,
}

enum State {
    Closed { failures: Vec<Failure> },
    Open(Open),
}

#[derive(Clone, Copy)]
struct Failure {
    request: Request,
    at: Instant,
}

struct Open {
    period: OpenPeriod,
    pause: Duration,
    probe: Probe,
}

enum Probe {
    /// The next one may start at this instant.
    At(Instant),
    /// It is under way.
    UnderWay(u64),
}

impl Breaker {
    /// A closed one. It opens only when `lanes_needed` lanes at least have failed.
    pub(super) fn new(clock_scale: u32, lanes_needed: usize) -> Self {
        Self {
            clock_scale: clock_scale.max(1),
            lanes_needed,
            state: State::Closed {
                failures: Vec::new(),
            },
            exposed: Exposed::default(),
            exposed_after: 0,
            last: 0,
            outdated_before: 0,
            recent: Recent::default(),
        }
    }

    /// How many requests of a lane may start now.
    pub(super) fn allows(&mut self, lane: usize, now: Instant) -> usize {
        match &self.state {
            State::Closed { .. } => {
                let left = self.exposed_max(now).saturating_sub(self.exposed.total());
                let beyond = self.left_beyond(EXPOSED_BEYOND, now);
                // Others may hang alone.
                let first = usize::from(self.is_shared() && self.exposed.of(lane) == 0);
                left.max(first.min(beyond))
            }
            State::Open(open) => match open.probe {
                Probe::At(at) => usize::from(now >= at),
                Probe::UnderWay(_) => 0,
            },
        }
    }

    /// How many requests for urgent messages may start now, of the `most` beyond all others. One of
    /// these places is left to the lanes that have nothing open.
    pub(super) fn allows_urgent(&mut self, most: usize, now: Instant) -> usize {
        match &self.state {
            State::Closed { .. } => {
                let most = most.saturating_sub(usize::from(self.is_shared()));
                self.left_beyond(most, now)
            }
            State::Open(_) => 0,
        }
    }

    /// How many of the `most` places beyond all others are free. What began while answers came faster
    /// takes none of them.
    fn left_beyond(&mut self, most: usize, now: Instant) -> usize {
        let within = self.exposed_max(now).max(self.exposed.within());
        (within + most).saturating_sub(self.exposed.total())
    }

    fn exposed_max(&mut self, now: Instant) -> usize {
        self.recent.count(now).max(EXPOSED_MIN)
    }

    fn is_shared(&self) -> bool {
        self.lanes_needed > 1
    }

    /// How long until the next probe may start; zero when it is closed or a probe is under way.
    pub(super) fn pause(&self, now: Instant) -> Duration {
        match &self.state {
            State::Open(Open {
                probe: Probe::At(at),
                ..
            }) => at.saturating_duration_since(now),
            State::Open(_) | State::Closed { .. } => Duration::ZERO,
        }
    }

    /// Since when and why it is open.
    pub(super) fn period(&self) -> Option<OpenPeriod> {
        match &self.state {
            State::Open(open) => Some(open.period),
            State::Closed { .. } => None,
        }
    }

    /// A request is about to start, as [`Breaker::allows`] permitted.
    pub(super) fn started(&mut self, request: Request, now: Instant) {
        self.last = request.number;
        let exposed_max = self.exposed_max(now);
        match &mut self.state {
            State::Closed { .. } => self.exposed.add(request, exposed_max),
            State::Open(open) => open.probe = Probe::UnderWay(request.number),
        }
    }

    /// A request was not made after all, or says nothing about this breaker.
    pub(super) fn not_made(&mut self, request: Request, now: Instant) {
        self.uncover(request);
        match &mut self.state {
            State::Closed { .. } => {}
            State::Open(open) => {
                if matches!(open.probe, Probe::UnderWay(number) if number == request.number) {
                    open.probe = Probe::At(now);
                }
            }
        }
    }

    /// A request was answered by the provider.
    pub(super) fn succeeded(&mut self, request: Request, now: Instant) -> Option<Change> {
        match &mut self.state {
            State::Closed { failures } => {
                // One that began before another failed says nothing about the time after.
                failures.retain(|failure| failure.request.number > request.number);
                self.exposed.clear();
                self.exposed_after = self.last;
                self.recent.add(now);
                None
            }
            State::Open(open) => {
                if !matches!(open.probe, Probe::UnderWay(number) if number == request.number) {
                    return None;
                }
                let mut period = open.period;
                period.probes += 1;
                self.close(request);
                Some(Change::Closed(period))
            }
        }
    }

    /// A request failed.
    pub(super) fn failed(
        &mut self,
        request: Request,
        reason: OutageReason,
        tick: Tick,
    ) -> Option<Change> {
        self.uncover(request);
        match &mut self.state {
            State::Closed { .. } if request.number < self.outdated_before => None,
            State::Closed { failures } => {
                if failures.len() >= FAILURES_KEPT_MAX {
                    failures.remove(0);
                }
                let at = tick.now;
                failures.push(Failure { request, at });
                let first = failures.first().copied()?;
                let lanes = 1 + usize::from(
                    failures
                        .iter()
                        .any(|failure| failure.request.lane != first.request.lane),
                );
                if failures.len() < FAILURES_MAX || lanes < self.lanes_needed {
                    return None;
                }
                let wait = wait(PAUSE_FIRST, self.clock_scale, tick.random);
                self.state = State::Open(Open {
                    period: OpenPeriod {
                        since: first.at,
                        reason,
                        probes: 0,
                    },
                    pause: PAUSE_FIRST,
                    probe: Probe::At(tick.now + wait),
                });
                Some(Change::Opened)
            }
            State::Open(open) => {
                if !matches!(open.probe, Probe::UnderWay(number) if number == request.number) {
                    return None;
                }
                open.period.probes += 1;
                open.period.reason = reason;
                open.pause = open.pause.saturating_mul(2).min(PAUSE_MAX);
                let wait = wait(open.pause, self.clock_scale, tick.random);
                open.probe = Probe::At(tick.now + wait);
                Some(Change::Probed)
            }
        }
    }

    /// Others have shown that the provider is back: what began before `request` is out of date, and
    /// the next probe is due.
    pub(super) fn probe_now(&mut self, request: Request, now: Instant) {
        self.outdated_before = request.number;
        match &mut self.state {
            State::Closed { failures } => failures.clear(),
            State::Open(open) => {
                open.pause = PAUSE_FIRST;
                if matches!(open.probe, Probe::At(_)) {
                    open.probe = Probe::At(now);
                }
            }
        }
    }

    fn close(&mut self, request: Request) {
        self.state = State::Closed {
            failures: Vec::new(),
        };
        self.outdated_before = request.number;
        self.exposed.clear();
        self.exposed_after = self.last;
        self.recent = Recent::default();
    }

    fn uncover(&mut self, request: Request) {
        if matches!(self.state, State::Closed { .. }) && request.number > self.exposed_after {
            self.exposed.remove(request);
        }
    }
}

/// Requests that are open and began after the last success was known.
#[derive(Default)]
struct Exposed {
    by_lane: Vec<usize>,
    /// The numbers of those that began beyond what might be open at that moment.
    beyond: Vec<u64>,
}

impl Exposed {
    /// One begins, beyond the others when `most` of them are open.
    fn add(&mut self, request: Request, most: usize) {
        if self.total() >= most {
            self.beyond.push(request.number);
        }
        let lane = request.lane;
        if self.by_lane.len() <= lane {
            self.by_lane.resize(lane + 1, 0);
        }
        if let Some(requests) = self.by_lane.get_mut(lane) {
            *requests += 1;
        }
    }

    fn remove(&mut self, request: Request) {
        self.beyond.retain(|number| *number != request.number);
        if let Some(requests) = self.by_lane.get_mut(request.lane) {
            *requests = requests.saturating_sub(1);
        }
    }

    fn clear(&mut self) {
        self.by_lane.fill(0);
        self.beyond.clear();
    }

    fn of(&self, lane: usize) -> usize {
        self.by_lane.get(lane).copied().unwrap_or(0)
    }

    fn within(&self) -> usize {
        self.total().saturating_sub(self.beyond.len())
    }

    fn total(&self) -> usize {
        self.by_lane.iter().sum()
    }
}

/// Between half of the pause and all of it, so that servers that stopped together do not come back
/// together.
fn wait(pause: Duration, clock_scale: u32, random: u64) -> Duration {
    let half = u64::try_from(pause.as_micros() / 2).unwrap_or(u64::MAX);
    let drawn = (u128::from(random) * u128::from(half)) >> 64;
    let drawn = Duration::from_micros(u64::try_from(drawn).unwrap_or(half));
    (pause / 2 + drawn) / clock_scale
}

/// How many requests have just succeeded, from two spans of time that follow each other.
#[derive(Default)]
struct Recent {
    since: Option<Instant>,
    current: usize,
    previous: usize,
}

impl Recent {
    fn add(&mut self, now: Instant) {
        self.turn(now);
        self.current += 1;
    }

    fn count(&mut self, now: Instant) -> usize {
        self.turn(now);
        self.current.max(self.previous)
    }

    fn turn(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since);
        if passed >= EXPOSED_FOR {
            self.previous = if passed < EXPOSED_FOR * 2 {
                self.current
            } else {
                0
            };
            self.current = 0;
            self.since = Some(now);
        }
    }
}

#[cfg(test)]
mod tests;
