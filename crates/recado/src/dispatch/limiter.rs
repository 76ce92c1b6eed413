//! Whether a request may start now: what the lanes of an account share. It hands out permits, and
//! learns from what became of each.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use delivery::limits::OUTAGE_BELIEVED_FOR;
use delivery::message::SenderName;
use delivery::outage::{Outage, OutageReason, Verdict, verdict};
use delivery::outcome::{NotSentCause, Outcome, RetryAfter};
use delivery::time::Timestamp;
use tokio::sync::watch;

use super::breaker::{Breaker, Change, OpenPeriod, Request, Tick};
use super::concurrency::ConcurrencyLimit;
use crate::effects::Effects;

/// Requests for urgent messages that may be open beyond the limit, so that slow ones of a campaign
/// never hold them up.
const URGENT_MAX: usize = 4;
/// The longest that a provider's `Retry-After` stops everything.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// At most one line about unknown outcomes in this time.
const UNKNOWN_LINE_EVERY: Duration = Duration::from_secs(60);

/// What the lanes of an account share.
pub(super) struct RequestLimiter {
    effects: Effects,
    clock_scale: u32,
    names: Vec<SenderName>,
    outages: watch::Sender<Vec<Outage>>,
    changed: watch::Sender<()>,
    inner: Mutex<Inner>,
}

struct Inner {
    /// Requests begun so far.
    number: u64,
    /// How many outages have ended, by lane: permits from before do not count into the limit any
    /// more.
    periods: Vec<u64>,
    limit: ConcurrencyLimit,
    account: Breaker,
    /// One for each lane; none when there is one lane, because the account's says the same.
    senders: Vec<Breaker>,
    /// Requests that are open or about to start, by lane.
    open: Vec<usize>,
    /// The same, for urgent messages beyond the limit.
    urgent: Vec<usize>,
    stopped_until: Option<Instant>,
    unknown: UnknownLine,
    /// Lanes that got less than they might when they asked last.
    refused: Vec<bool>,
}

/// Allows one request. It is given back, or told how the request ended.
pub(super) struct Permit {
    request: Request,
    periods: u64,
    urgent: bool,
}

/// What a lane may do now.
pub(super) enum Grant {
    /// Start as many requests.
    Any(Vec<Permit>),
    /// Start as many requests for urgent messages, and no others.
    UrgentOnly(Vec<Permit>),
    /// Nothing, for this long or until something changes; `None` when only a change helps.
    Nothing(Option<Duration>),
}

impl RequestLimiter {
    /// `outages` tells the API about those that last.
    pub(super) fn new(
        names: Vec<SenderName>,
        clock_scale: u32,
        effects: Effects,
        outages: watch::Sender<Vec<Outage>>,
    ) -> Self {
        let lanes = names.len().max(1);
        let senders = if lanes == 1 { 0 } else { lanes };
        let inner = Inner {
            number: 0,
            periods: vec![0; lanes],
            limit: ConcurrencyLimit::new(),
            // When one sender alone fails, the others go on.
            account: Breaker::new(clock_scale, lanes.min(2)),
            senders: (0..senders).map(|_| Breaker::new(clock_scale, 1)).collect(),
            open: vec![0; lanes],
            urgent: vec![0; lanes],
            stopped_until: None,
            unknown: UnknownLine::default(),
            refused: vec![false; lanes],
        };
        Self {
            effects,
            clock_scale: clock_scale.max(1),
            names,
            outages,
            changed: watch::Sender::new(()),
            inner: Mutex::new(inner),
        }
    }

    /// Changes whenever a request has ended, or another lane may get what it was refused.
    pub(super) fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// What a lane may do now; at most `wanted` requests.
    pub(super) fn ask(&self, lane: usize, wanted: usize, now: Instant) -> Grant {
        let mut inner = self.inner();
        if let Some(until) = inner.stopped_until.filter(|until| *until > now) {
            return Grant::Nothing(Some(until.duration_since(now)));
        }
        let pause = inner.pause(lane, now);
        if !pause.is_zero() {
            return Grant::Nothing(Some(pause));
        }
        let (allowed, probe) = inner.allowed(lane, now);
        let free = if probe {
            allowed
        } else {
            allowed.min(inner.free(lane))
        };
        inner.note_refused(lane, free == 0);
        if free > 0 {
            return Grant::Any(inner.permits(lane, free.min(wanted), false, now));
        }
        // A breaker that is open holds urgent messages too: they can be the probe.
        let urgent = if probe || inner.is_open(lane) {
            0
        } else {
            let exposed = inner.account.allows_urgent(URGENT_MAX, now);
            inner.free_for_urgent(lane).min(exposed)
        };
        if urgent > 0 {
            return Grant::UrgentOnly(inner.permits(lane, urgent.min(wanted), true, now));
        }
        Grant::Nothing(None)
    }

    /// Gives permits back whose requests were not made.
    pub(super) fn give_back(&self, permits: impl IntoIterator<Item = Permit>) {
        let now = self.effects.clock.monotonic();
        let mut inner = self.inner();
        let mut makes_room = false;
        for permit in permits {
            makes_room |= !permit.urgent;
            inner.leave(&permit);
            inner.not_made(permit.request, now);
        }
        if makes_room && inner.take_refused() {
            self.changed.send_replace(());
        }
    }

    /// Takes into account how a request ended that began at `started`.
    pub(super) fn ended(&self, permit: Permit, outcome: &Outcome, started: Instant) {
        let tick = Tick {
            now: self.effects.clock.monotonic(),
            random: self.effects.random.next_u64(),
        };
        let mut inner = self.inner();
        let open = inner.in_all();
        inner.leave(&permit);
        if let Outcome::NotSent {
            cause: NotSentCause::RateLimited,
            retry_after,
        } = outcome
        {
            inner.limit.refused();
            if let Some(wait) = retry_after {
                let until = tick.now + self.asked_wait(*wait);
                inner.stopped_until = inner.stopped_until.max(Some(until));
            }
        } else if verdict(outcome) == Verdict::Reached {
            let latency = tick.now.saturating_duration_since(started);
            inner.limit.answered(latency, open);
        }
        let changed = match verdict(outcome) {
            Verdict::Reached => inner.succeeded(permit.request, tick.now),
            Verdict::Failed(reason) => {
                if matches!(outcome, Outcome::Unknown(_)) {
                    inner.unknown.add(reason);
                }
                inner.failed(permit.request, reason, tick)
            }
            Verdict::Nothing => {
                inner.not_made(permit.request, tick.now);
                Changes::default()
            }
        };
        let unknown = inner.unknown.due(tick.now);
        if changed.any() {
            self.tell(&inner, tick.now);
        }
        drop(inner);
        self.log(&changed, permit.request.lane, tick.now);
        if let Some((requests, reason)) = unknown {
            tracing::warn!(
                requests,
                %reason,
                "requests ended without an answer that says whether Twilio took the message; it is looked for"
            );
        }
        self.changed.send_replace(());
    }

    fn asked_wait(&self, wait: RetryAfter) -> Duration {
        let wait = match wait {
            RetryAfter::Delay(delay) => delay,
            RetryAfter::Until(instant) => instant.since(self.effects.clock.now()),
        };
        wait.min(RETRY_AFTER_MAX) / self.clock_scale
    }

    /// Tells the API what outages there are.
    fn tell(&self, inner: &Inner, now: Instant) {
        let wall = self.effects.clock.now();
        let account = inner.account.period().map(|period| (None, period));
        let senders = inner
            .senders
            .iter()
            .zip(&self.names)
            .filter_map(|(breaker, name)| Some((Some(name.clone()), breaker.period()?)));
        let outages = account
            .into_iter()
            .chain(senders)
            .map(|(sender, period)| Outage {
                sender,
                since: since(period, wall, now),
                reason: period.reason,
                probes: period.probes,
                believed_until: wall.plus(OUTAGE_BELIEVED_FOR / self.clock_scale),
            })
            .collect();
        self.outages.send_replace(outages);
    }

    /// One line when an outage begins, and one when it ends.
    fn log(&self, changes: &Changes, lane: usize, now: Instant) {
        let name = self.names.get(lane).map_or("", SenderName::as_str);
        for (change, sender) in [(changes.account, "all"), (changes.sender, name)] {
            match change {
                Some((Change::Opened, Some(period))) => tracing::warn!(
                    sender,
                    reason = %period.reason,
                    "Twilio cannot be reached or does not answer as it should; messages wait while single requests try again"
                ),
                Some((Change::Closed(period), _)) => tracing::info!(
                    sender,
                    probes = period.probes,
                    seconds = now.saturating_duration_since(period.since).as_secs(),
                    "Twilio answers again"
                ),
                Some((Change::Opened | Change::Probed, _)) | None => {}
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn since(period: OpenPeriod, wall: Timestamp, now: Instant) -> Timestamp {
    wall.minus(now.saturating_duration_since(period.since))
}

/// What one outcome changed, with the outage after it.
#[derive(Default)]
struct Changes {
    account: Option<(Change, Option<OpenPeriod>)>,
    sender: Option<(Change, Option<OpenPeriod>)>,
}

impl Changes {
    fn any(&self) -> bool {
        self.account.is_some() || self.sender.is_some()
    }
}

impl Inner {
    /// How long until a probe may start, when only time is in the way.
    fn pause(&self, lane: usize, now: Instant) -> Duration {
        let sender = self.senders.get(lane);
        let sender = sender.map_or(Duration::ZERO, |sender| sender.pause(now));
        self.account.pause(now).max(sender)
    }

    /// How many requests the breakers allow, and whether they are probes.
    fn allowed(&mut self, lane: usize, now: Instant) -> (usize, bool) {
        let probe = self.is_open(lane);
        let account = self.account.allows(lane, now);
        let sender = self.senders.get_mut(lane);
        let sender = sender.map_or(usize::MAX, |sender| sender.allows(lane, now));
        let allowed = account.min(sender);
        (if probe { allowed.min(1) } else { allowed }, probe)
    }

    fn is_open(&self, lane: usize) -> bool {
        self.account.period().is_some()
            || self
                .senders
                .get(lane)
                .is_some_and(|sender| sender.period().is_some())
    }

    /// How many more requests a lane may have open: its share of the limit among the lanes that are
    /// at work, and always one.
    fn free(&self, lane: usize) -> usize {
        let own = self.open.get(lane).copied().unwrap_or(0);
        let working = 1 + self
            .open
            .iter()
            .enumerate()
            .filter(|(other, open)| *other != lane && **open > 0)
            .count();
        let share = (self.limit.value() / working).max(1);
        let left = self.limit.value().saturating_sub(self.in_all());
        let first = usize::from(own == 0);
        share.saturating_sub(own).min(left.max(first))
    }

    fn free_for_urgent(&self, lane: usize) -> usize {
        let own = self.urgent.get(lane).copied().unwrap_or(0);
        let all: usize = self.urgent.iter().sum();
        URGENT_MAX.saturating_sub(all).max(usize::from(own == 0))
    }

    fn note_refused(&mut self, lane: usize, is_refused: bool) {
        if let Some(refused) = self.refused.get_mut(lane) {
            *refused = is_refused;
        }
    }

    /// Whether any lane was refused since the last time.
    fn take_refused(&mut self) -> bool {
        let any = self.refused.contains(&true);
        self.refused.fill(false);
        any
    }

    fn in_all(&self) -> usize {
        self.open.iter().sum()
    }

    fn permits(&mut self, lane: usize, count: usize, urgent: bool, now: Instant) -> Vec<Permit> {
        (0..count)
            .map(|_| {
                self.number += 1;
                let request = Request {
                    number: self.number,
                    lane,
                };
                self.account.started(request, now);
                if let Some(sender) = self.senders.get_mut(lane) {
                    sender.started(request, now);
                }
                let open = if urgent {
                    &mut self.urgent
                } else {
                    &mut self.open
                };
                if let Some(open) = open.get_mut(lane) {
                    *open += 1;
                }
                Permit {
                    request,
                    periods: self.periods.get(lane).copied().unwrap_or(0),
                    urgent,
                }
            })
            .collect()
    }

    fn leave(&mut self, permit: &Permit) {
        let lane = permit.request.lane;
        let open = if permit.urgent {
            &mut self.urgent
        } else if self.periods.get(lane) == Some(&permit.periods) {
            &mut self.open
        } else {
            return;
        };
        if let Some(open) = open.get_mut(lane) {
            *open = open.saturating_sub(1);
        }
    }

    fn not_made(&mut self, request: Request, now: Instant) {
        self.account.not_made(request, now);
        if let Some(sender) = self.senders.get_mut(request.lane) {
            sender.not_made(request, now);
        }
    }

    fn succeeded(&mut self, request: Request, now: Instant) -> Changes {
        let mut changes = Changes::default();
        if let Some(sender) = self.senders.get_mut(request.lane) {
            changes.sender = sender.succeeded(request, now).map(|change| (change, None));
        }
        changes.account = self
            .account
            .succeeded(request, now)
            .map(|change| (change, None));
        // Requests that still hang from before must not hold up those that get through.
        if changes.account.is_some() {
            for sender in &mut self.senders {
                sender.probe_now(request, now);
            }
            for periods in &mut self.periods {
                *periods += 1;
            }
            self.open.fill(0);
            self.limit.restart();
        } else if changes.sender.is_some()
            && let Some(periods) = self.periods.get_mut(request.lane)
            && let Some(open) = self.open.get_mut(request.lane)
        {
            *periods += 1;
            *open = 0;
        }
        changes
    }

    fn failed(&mut self, request: Request, reason: OutageReason, tick: Tick) -> Changes {
        let mut changes = Changes::default();
        // While everything fails, that a sender fails says nothing of its own.
        let whole = self.account.period().is_some();
        changes.account = self
            .account
            .failed(request, reason, tick)
            .map(|change| (change, self.account.period()));
        if let Some(sender) = self.senders.get_mut(request.lane) {
            if whole && sender.period().is_none() {
                sender.not_made(request, tick.now);
            } else {
                changes.sender = sender
                    .failed(request, reason, tick)
                    .map(|change| (change, sender.period()));
            }
        }
        changes
    }
}

/// Unknown outcomes since the last line about them.
#[derive(Default)]
struct UnknownLine {
    requests: u64,
    reason: Option<OutageReason>,
    told_at: Option<Instant>,
}

impl UnknownLine {
    fn add(&mut self, reason: OutageReason) {
        self.requests += 1;
        self.reason = Some(reason);
    }

    /// How many there were and why the last one was, when it is time for a line.
    fn due(&mut self, now: Instant) -> Option<(u64, OutageReason)> {
        let waits = self
            .told_at
            .is_some_and(|told| now.saturating_duration_since(told) < UNKNOWN_LINE_EVERY);
        if waits {
            return None;
        }
        let reason = self.reason.take()?;
        self.told_at = Some(now);
        Some((std::mem::take(&mut self.requests), reason))
    }
}

#[cfg(test)]
mod tests;
