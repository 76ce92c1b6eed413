//! The recount: every counter, every state and every time from the log alone, compared with what is
//! shown. It shares nothing with the code that counts, except the numbers of the store. Engines feed
//! it with their rows, message by message.

use std::collections::BTreeMap;

use delivery::counter::{Metric, Stage, bucket};
use delivery::event::EventKind;
use delivery::outcome::{OutcomeKind, ProviderStatus};
use delivery::progress::{CONTRADICTS, TAKEN_BACK};
use delivery::row::{CohortRow, MessageRow};
use delivery::state::{State, state_of};
use delivery::time::Timestamp;

use super::VerifyReport;

/// Differences that are listed in words; the rest is left out.
const DIFFERENCES_MAX: usize = 100;

/// Counters by cohort, number of the metric, and code.
pub(crate) type Totals = BTreeMap<(CohortRow, i64, i64), i64>;

/// An event as it is on disk.
#[derive(Clone, Copy)]
pub(crate) struct LoggedEvent<'a> {
    /// Its key.
    pub(crate) id: i64,
    /// Its message.
    pub(crate) message: MessageRow,
    /// The key of the event before of the same message.
    pub(crate) prev: i64,
    /// When it was committed.
    pub(crate) at: Timestamp,
    /// What happened.
    pub(crate) kind: EventKind,
    /// The state after it.
    pub(crate) state: State,
    /// The provider's status.
    pub(crate) status: Option<ProviderStatus>,
    /// The provider's code.
    pub(crate) code: Option<i64>,
    /// A stable word that says more.
    pub(crate) detail: Option<&'a str>,
}

/// What is shown of a message.
pub(crate) struct Shown {
    /// The message.
    pub(crate) message: MessageRow,
    /// Where it is.
    pub(crate) state: State,
    /// What its log must agree with.
    pub(crate) recounted: Recounted,
}

/// What the log says about one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recounted {
    /// When it was accepted.
    pub(crate) accepted_at: Timestamp,
    /// The key of its last event.
    pub(crate) last_event: i64,
    /// First seen at WhatsApp.
    pub(crate) sent_at: Option<Timestamp>,
    /// First seen on the device.
    pub(crate) delivered_at: Option<Timestamp>,
    /// First seen opened.
    pub(crate) read_at: Option<Timestamp>,
    /// Attempts made.
    pub(crate) attempts: i64,
}

/// The log of one message, first to last.
#[derive(Default)]
pub(crate) struct Log {
    /// Each event with its detail.
    pub(crate) events: Vec<(LoggedEvent<'static>, Option<String>)>,
    /// What is wrong with the chain.
    pub(crate) broken: Option<String>,
}

/// A recount under way. What the log of each message tells is added, what the counters show is
/// subtracted, in any order: what is left differs. Counters that agree take no memory.
pub(crate) struct Recount {
    totals: Totals,
    report: VerifyReport,
}

impl Recount {
    /// Begins.
    pub(crate) fn new() -> Self {
        Self {
            totals: Totals::new(),
            report: VerifyReport::default(),
        }
    }

    /// Compares what is shown of a message with its log, and adds what its events up to `until`
    /// count.
    pub(crate) fn message(&mut self, cohort: CohortRow, shown: &Shown, log: &Log, until: i64) {
        self.report.messages += 1;
        let message = shown.message;
        if let Some(broken) = &log.broken {
            self.differs(broken.clone());
        }
        let known = log.events.iter().filter(|(event, _)| event.id <= until);
        self.report.events += u64::try_from(known.count()).unwrap_or(u64::MAX);
        match self.count_between(cohort, log, 0, until) {
            None if log.broken.is_none() => {
                self.differs(format!("message {message} has no event"));
            }
            Some((state, recounted)) if state != shown.state || recounted != shown.recounted => {
                self.differs(format!(
                    "message {message} shows another progress than its log tells"
                ));
            }
            _ => {}
        }
    }

    /// Adds what the events after `from` up to `until` count. Returns what the whole log tells.
    pub(crate) fn count_between(
        &mut self,
        cohort: CohortRow,
        log: &Log,
        from: i64,
        until: i64,
    ) -> Option<(State, Recounted)> {
        let mut recounted = Recounted::default();
        let (mut state, mut before, mut after) = (None, None, None);
        for (event, detail) in &log.events {
            let event = LoggedEvent {
                detail: detail.as_deref(),
                ..*event
            };
            recounted.last_event = event.id;
            state = Some(event.state);
            if event.id <= from {
                before = state;
            }
            if event.id <= until {
                after = state;
            }
            if event.id > from && event.id <= until {
                self.count(cohort, &event, &mut recounted);
            } else {
                // Only what it tells about the message is wanted.
                let totals = std::mem::take(&mut self.totals);
                self.count(cohort, &event, &mut recounted);
                self.totals = totals;
            }
        }
        if before != after {
            for (state, by) in [(before, -1), (after, 1)] {
                if let Some(state) = state {
                    self.add((cohort, Metric::State.number(), state.number()), by);
                }
            }
        }
        Some((state?, recounted))
    }

    /// Adds to what is counted of one kind.
    pub(crate) fn add(&mut self, key: (CohortRow, i64, i64), by: i64) {
        *self.totals.entry(key).or_default() += by;
    }

    /// Subtracts what a counter shows of messages that are stored.
    pub(crate) fn counter(&mut self, key: (CohortRow, i64, i64), shows: i64) {
        self.report.counters += 1;
        self.add(key, -shows);
    }

    /// Forgets what agrees.
    pub(crate) fn settle(&mut self) {
        self.totals.retain(|_, left| *left != 0);
    }

    /// What is left, and is forgotten here.
    pub(crate) fn take_totals(&mut self) -> Totals {
        std::mem::take(&mut self.totals)
    }

    /// Leaves out a cohort whose messages were being removed.
    pub(crate) fn skip(&mut self, cohort: CohortRow) {
        self.totals.retain(|(of, _, _), _| *of != cohort);
        self.report.skipped += 1;
    }

    /// Names the counters that differ. Everything was added and subtracted.
    pub(crate) fn compare(&mut self) {
        for ((cohort, metric, code), by) in self.take_totals() {
            if by != 0 {
                let name = Metric::from_number(metric).map_or("?", Metric::as_str);
                self.differs(format!(
                    "counter {name} {code} of cohort {cohort} shows {by} less than the log tells"
                ));
            }
        }
    }

    /// How many events were counted.
    pub(crate) fn events(&self) -> u64 {
        self.report.events
    }

    fn count(&mut self, cohort: CohortRow, event: &LoggedEvent<'_>, recounted: &mut Recounted) {
        let mut add = |metric: Metric, code: i64| {
            *self
                .totals
                .entry((cohort, metric.number(), code))
                .or_default() += 1;
        };
        if event.detail == Some(CONTRADICTS) {
            add(Metric::Anomalies, 0);
        }
        match event.kind {
            EventKind::Accepted => {
                recounted.accepted_at = event.at;
                add(Metric::Accepted, 0);
            }
            EventKind::AttemptOpened => {
                recounted.attempts += 1;
                add(Metric::Attempts, 0);
            }
            EventKind::AttemptNotSent => add(Metric::Outcomes, OutcomeKind::NotSent.number()),
            EventKind::AttemptSent | EventKind::Settled => {
                add(Metric::Outcomes, OutcomeKind::Sent.number());
            }
            EventKind::AttemptUnknown => add(Metric::Outcomes, OutcomeKind::Unknown.number()),
            EventKind::AttemptRefused => {
                add(Metric::Outcomes, OutcomeKind::Refused.number());
                add(Metric::Errors, event.code.unwrap_or(0));
            }
            EventKind::Reported => {
                if let Some(code) = event.code {
                    add(Metric::Errors, code);
                }
            }
            EventKind::RetryDecided => add(Metric::Retries, 0),
            EventKind::AttemptAbsent => add(Metric::Outcomes, OutcomeKind::Absent.number()),
            EventKind::EvidenceWithdrawn => self.withdrawn(cohort, event, recounted),
            EventKind::HorizonPassed
            | EventKind::GivenUp
            | EventKind::Canceled
            | EventKind::Superseded
            | EventKind::Expired
            | EventKind::Suppressed
            | EventKind::Held
            | EventKind::Released => {}
        }
        let reaches = matches!(
            event.kind,
            EventKind::Reported | EventKind::AttemptSent | EventKind::Settled
        );
        if reaches && let Some(state) = event.status.and_then(state_of) {
            self.reached(cohort, state, event.at, recounted);
        }
    }

    /// A settlement is taken back; with it the times that the message showed, when it says so.
    fn withdrawn(&mut self, cohort: CohortRow, event: &LoggedEvent<'_>, shown: &mut Recounted) {
        let mut less = |metric: Metric, code: i64| {
            let key = (cohort, metric.number(), code);
            *self.totals.entry(key).or_default() -= 1;
        };
        less(Metric::Outcomes, OutcomeKind::Sent.number());
        if event.detail != Some(TAKEN_BACK) {
            return;
        }
        let (sent, delivered, read) = (
            shown.sent_at.take(),
            shown.delivered_at.take(),
            shown.read_at.take(),
        );
        let accepted = Some(shown.accepted_at);
        for (at, metric, stage, from) in [
            (sent, Metric::Sent, Stage::AcceptedToSent, accepted),
            (delivered, Metric::Delivered, Stage::SentToDelivered, sent),
            (read, Metric::Read, Stage::DeliveredToRead, delivered),
        ] {
            if let Some(at) = at {
                less(metric, 0);
                less(stage.metric(), bucket(at.since(from.unwrap_or(at))));
            }
        }
    }

    fn reached(
        &mut self,
        cohort: CohortRow,
        state: State,
        at: Timestamp,
        recounted: &mut Recounted,
    ) {
        let totals = &mut self.totals;
        let mut first = |time: &mut Option<Timestamp>, metric: Metric, stage: Stage, from| {
            if time.is_none() {
                *time = Some(at);
                *totals.entry((cohort, metric.number(), 0)).or_default() += 1;
                let key = (cohort, stage.metric().number(), bucket(at.since(from)));
                *totals.entry(key).or_default() += 1;
            }
        };
        let arrived = matches!(state, State::Delivered | State::Read);
        if arrived || state == State::Sent {
            let from = recounted.accepted_at;
            first(
                &mut recounted.sent_at,
                Metric::Sent,
                Stage::AcceptedToSent,
                from,
            );
        }
        if arrived {
            let from = recounted.sent_at.unwrap_or(at);
            first(
                &mut recounted.delivered_at,
                Metric::Delivered,
                Stage::SentToDelivered,
                from,
            );
        }
        if state == State::Read {
            let from = recounted.delivered_at.unwrap_or(at);
            first(
                &mut recounted.read_at,
                Metric::Read,
                Stage::DeliveredToRead,
                from,
            );
        }
    }

    /// Notes a difference that the engine found by itself.
    pub(crate) fn differs(&mut self, text: String) {
        if self.report.differences.len() < DIFFERENCES_MAX {
            self.report.differences.push(text);
        }
    }

    /// What was found.
    pub(crate) fn report(self) -> VerifyReport {
        self.report
    }
}
