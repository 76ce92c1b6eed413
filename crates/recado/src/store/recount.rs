//! The recount: every counter, every state and every time from the log alone, compared with what is
//! shown. It shares nothing with the code that counts, except the numbers of the store. Engines feed
//! it with their rows.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use delivery::counter::{Metric, Stage, bucket};
use delivery::event::EventKind;
use delivery::outcome::{OutcomeKind, ProviderStatus};
use delivery::progress::CONTRADICTS;
use delivery::row::{CohortRow, MessageRow};
use delivery::state::{State, state_of};
use delivery::time::Timestamp;

use super::VerifyReport;

/// Differences that are listed in words; the rest is left out.
const DIFFERENCES_MAX: usize = 100;

/// Counters by cohort, number of the metric, and code.
pub(crate) type Totals = BTreeMap<(CohortRow, i64, i64), i64>;

/// An event as it is on disk.
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

/// A recount under way: events first, oldest first, then what is shown of each message, then the
/// counters.
pub(crate) struct Recount {
    cohorts: HashMap<MessageRow, CohortRow>,
    messages: HashMap<MessageRow, (State, Recounted)>,
    totals: Totals,
    report: VerifyReport,
}

impl Recount {
    /// Begins with the cohort of each message.
    pub(crate) fn new(cohorts: HashMap<MessageRow, CohortRow>) -> Self {
        Self {
            cohorts,
            messages: HashMap::new(),
            totals: Totals::new(),
            report: VerifyReport::default(),
        }
    }

    /// Counts one event.
    pub(crate) fn event(&mut self, event: &LoggedEvent<'_>) {
        self.report.events += 1;
        let Some(&cohort) = self.cohorts.get(&event.message) else {
            self.differs(format!("event {} is about no message", event.id));
            return;
        };
        let mut recounted = self
            .messages
            .get(&event.message)
            .map(|(_, recounted)| *recounted)
            .unwrap_or_default();
        if event.prev != recounted.last_event {
            self.differs(format!(
                "event {} does not follow the event before it",
                event.id
            ));
        }
        recounted.last_event = event.id;
        self.count(cohort, event, &mut recounted);
        self.messages
            .insert(event.message, (event.state, recounted));
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

    /// Compares what is shown of a message with its log.
    pub(crate) fn message(&mut self, shown: &Shown) {
        self.report.messages += 1;
        let message = shown.message;
        let Some((state, recounted)) = self.messages.get(&message).copied() else {
            self.differs(format!("message {message} has no event"));
            return;
        };
        if state != shown.state || recounted != shown.recounted {
            self.differs(format!(
                "message {message} shows another progress than its log tells"
            ));
        }
        if let Some(&cohort) = self.cohorts.get(&message) {
            let key = (cohort, Metric::State.number(), state.number());
            *self.totals.entry(key).or_default() += 1;
        }
    }

    /// Compares the counters.
    pub(crate) fn counters(&mut self, shown: &Totals) {
        self.report.counters = u64::try_from(shown.len()).unwrap_or(u64::MAX);
        let totals = std::mem::take(&mut self.totals);
        let keys: BTreeSet<_> = totals.keys().chain(shown.keys()).collect();
        for key in keys {
            let counted = shown.get(key).copied().unwrap_or(0);
            let recounted = totals.get(key).copied().unwrap_or(0);
            if counted != recounted {
                let (cohort, metric, code) = key;
                let name = Metric::from_number(*metric).map_or("?", Metric::as_str);
                self.differs(format!(
                    "counter {name} {code} of cohort {cohort} shows {counted}, the log {recounted}"
                ));
            }
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
