//! One fact being worked into one progress, and the steps that every fact is made of: move the
//! state, enqueue and dequeue, append an event, count.

use crate::counter::{Count, Metric, Stage, bucket};
use crate::event::{EventKind, Source};
use crate::hold::Standing;
use crate::outcome::OutcomeKind;
use crate::row::AttemptRow;
use crate::state::{Fact, State, Step, advance};
use crate::time::Timestamp;

use super::{Event, Flags, Progress, ProgressChange, QueueChange, Rules};

/// One fact being worked into one progress.
pub struct Transition<'a> {
    /// The message.
    pub progress: &'a mut Progress,
    /// What changes besides.
    pub change: &'a mut ProgressChange,
    /// The rules.
    pub rules: &'a Rules,
    /// Now: the time of every event of this commit.
    pub now: Timestamp,
    /// 64 random bits, for jitter.
    pub random: u64,
    /// Whether the person's other address variant may be tried: it exists and none is proven.
    pub variant_untried: bool,
    /// What is known about the code of this fact, where it matters.
    pub standing: Standing,
}

impl Transition<'_> {
    pub(super) fn step(&mut self, fact: Fact) -> Step {
        let before = self.progress.state;
        let step = advance(before, fact);
        let after = step.state(before);
        if matches!(step, Step::Anomaly(_)) {
            self.change.anomaly = true;
            self.count(Metric::Anomalies, 0, 1);
        }
        if after != before {
            self.count_state(before, -1);
            self.count_state(after, 1);
            self.progress.state = after;
        }
        // An attempt may still turn out to be under way, and to fail: that leads to no other.
        if matches!(after, State::Canceled | State::Expired | State::Suppressed) {
            self.progress.flags.set(Flags::STOPPED);
        }
        step
    }

    pub(super) fn enqueue(&mut self, at: Timestamp) {
        self.progress.due_at = Some(at);
        self.change.queue = QueueChange::Enqueue(at);
    }

    pub(super) fn dequeue(&mut self) {
        if self.progress.due_at.take().is_some()
            || matches!(self.change.queue, QueueChange::Enqueue(_))
        {
            self.change.queue = QueueChange::Dequeue;
        }
    }

    pub(super) fn event(&mut self, kind: EventKind, source: Source) {
        self.event_about(kind, source, None);
    }

    pub(super) fn event_about(
        &mut self,
        kind: EventKind,
        source: Source,
        attempt: Option<AttemptRow>,
    ) {
        let state = self.progress.state;
        self.push(Event {
            kind,
            source,
            state,
            attempt,
            status: None,
            code: None,
            detail: None,
        });
    }

    pub(super) fn push_detail(&mut self, kind: EventKind, source: Source, detail: &str) {
        self.event_about(kind, source, None);
        if let Some(event) = self.change.events.last_mut() {
            event.detail = Some(detail.to_owned());
        }
    }

    pub(super) fn push(&mut self, event: Event) {
        self.change.events.push(event);
    }

    pub(super) fn count(&mut self, metric: Metric, code: i64, by: i64) {
        self.change.counts.push(Count {
            cohort: self.progress.cohort,
            metric,
            code,
            by,
        });
    }

    pub(super) fn count_state(&mut self, state: State, by: i64) {
        self.count(Metric::State, state.number(), by);
    }

    pub(super) fn count_outcome(&mut self, kind: OutcomeKind) {
        self.count(Metric::Outcomes, kind.number(), 1);
    }

    pub(super) fn count_error(&mut self, code: Option<u32>) {
        self.count(Metric::Errors, i64::from(code.unwrap_or(0)), 1);
    }

    pub(super) fn count_stage(&mut self, stage: Stage, from: Timestamp) {
        let bucket = bucket(self.now.since(from));
        self.count(stage.metric(), bucket, 1);
    }
}
