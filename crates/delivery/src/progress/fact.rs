//! What attempts and reports change.

use crate::codes::ErrorSource;
use crate::counter::{Metric, Stage};
use crate::event::{EventKind, Source};
use crate::limits::{SETTLE_POLLS, SILENT_POLLS};
use crate::outcome::{
    NotSentCause, Outcome, OutcomeKind, ProviderStatus, RetryAfter, UnknownCause,
};
use crate::retry::{AttemptFailure, GiveUp};
use crate::row::AttemptRow;
use crate::state::{Fact, State, Step, state_of};
use crate::time::Timestamp;

use super::{CONTRADICTS, Event, Flags, LastError, Reason, Transition, Watch, WatchKind};

/// What a status report says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportFact<'a> {
    /// The attempt it is about.
    pub attempt: AttemptRow,
    /// Twilio's status.
    pub status: ProviderStatus,
    /// Twilio's word, when it is one that we do not know.
    pub word: Option<&'a str>,
    /// Twilio's error code.
    pub code: Option<u32>,
    /// Who told us.
    pub source: Source,
    /// Whether nobody knew until now that this attempt created anything.
    pub was_unknown: bool,
}

impl Transition<'_> {
    /// The message was stored just now.
    pub fn accepted(&mut self, due_at: Timestamp, source: Source) {
        self.count(Metric::Accepted, 0, 1);
        self.count_state(self.progress.state, 1);
        self.enqueue(due_at);
        self.event(EventKind::Accepted, source);
    }

    /// An attempt is about to start.
    pub fn attempt_opened(&mut self, attempt: AttemptRow) {
        self.step(Fact::AttemptOpened);
        let progress = &mut *self.progress;
        if progress.flags.has(Flags::RETRY_IN_DOUBT) {
            progress
                .flags
                .set(Flags::RESENT_AFTER_DOUBT | Flags::POSSIBLE_DUPLICATE);
        }
        progress
            .flags
            .clear(Flags::RETRY_WAITS | Flags::RETRY_STOPPABLE | Flags::VARIANT_NEXT);
        progress.attempts += 1;
        progress.attempt = Some(attempt);
        progress.seen = 0;
        self.dequeue();
        self.count(Metric::Attempts, 0, 1);
        self.event_about(EventKind::AttemptOpened, Source::Dispatch, Some(attempt));
    }

    /// An attempt told us something.
    pub fn outcome(&mut self, attempt: AttemptRow, outcome: &Outcome, source: Source) {
        if self.is_replaced(attempt) {
            self.outcome_of_replaced(attempt, outcome, source);
            return;
        }
        match outcome {
            Outcome::Sent { status, .. } => self.sent(attempt, *status, source),
            Outcome::NotSent { cause, retry_after } => {
                self.not_sent(attempt, *cause, *retry_after);
            }
            Outcome::Unknown(cause) => self.unknown(attempt, *cause),
            Outcome::Refused { code, .. } => self.refused(attempt, *code),
        }
    }

    /// Whether a later attempt, or the decision to make one, has taken this attempt's place. A
    /// retry in doubt, or after proof of absence, has not: evidence for the earlier attempt still
    /// counts in full.
    fn is_replaced(&self, attempt: AttemptRow) -> bool {
        let flags = self.progress.flags;
        self.progress.attempt != Some(attempt)
            || (flags.has(Flags::RETRY_WAITS) && !flags.has(Flags::RETRY_STOPPABLE))
    }

    /// What came of an attempt that no longer decides anything is kept on record all the same.
    fn outcome_of_replaced(&mut self, attempt: AttemptRow, outcome: &Outcome, source: Source) {
        let (kind, status, code) = match outcome {
            Outcome::NotSent { .. } => (EventKind::AttemptNotSent, None, None),
            Outcome::Sent { status, .. } => (sent_kind(source), Some(*status), None),
            Outcome::Unknown(_) => (EventKind::AttemptUnknown, None, None),
            Outcome::Refused { code, .. } => (EventKind::AttemptRefused, None, *code),
        };
        self.count_outcome(outcome.kind());
        if matches!(outcome, Outcome::Refused { .. }) {
            self.count_error(code);
        }
        if let Some(status) = status {
            self.reached(status);
        }
        let state = self.progress.state;
        self.push(Event {
            kind,
            source,
            state,
            attempt: Some(attempt),
            status,
            code,
            detail: None,
        });
    }

    fn sent(&mut self, attempt: AttemptRow, status: ProviderStatus, source: Source) {
        self.dequeue_if_stoppable();
        // A failure that stands in the answer only proves that the provider has the message; what
        // it leads to is decided when it is worked in as the report that it is.
        let proven = match state_of(status) {
            Some(State::Failed | State::Undelivered) => ProviderStatus::Queued,
            _ => status,
        };
        self.step(Fact::OutcomeSent(proven));
        self.reached(status);
        self.count_outcome(OutcomeKind::Sent);
        self.push(Event {
            kind: sent_kind(source),
            source,
            state: self.progress.state,
            attempt: Some(attempt),
            status: Some(status),
            code: None,
            detail: None,
        });
        self.watch_silence(attempt);
    }

    fn watch_silence(&mut self, attempt: AttemptRow) {
        if !self.progress.state.is_resting() {
            let at = self.now.plus(self.rules.wait(SILENT_POLLS[0]));
            self.change.watch = Some(Watch {
                attempt,
                at,
                kind: WatchKind::Silent,
            });
        }
    }

    fn not_sent(
        &mut self,
        attempt: AttemptRow,
        cause: NotSentCause,
        retry_after: Option<RetryAfter>,
    ) {
        let reason = match cause {
            NotSentCause::RateLimited => Some(Reason::RateLimited),
            NotSentCause::Dns
            | NotSentCause::Connect
            | NotSentCause::Tls
            | NotSentCause::ConnectionLost => Some(Reason::Network),
            NotSentCause::DeadlinePassed => None,
        };
        self.step(Fact::OutcomeNotSent);
        self.count_outcome(OutcomeKind::NotSent);
        if let Some(reason) = reason {
            self.progress.error = Some(LastError { reason, code: None });
        }
        self.push(Event {
            kind: EventKind::AttemptNotSent,
            source: Source::Dispatch,
            state: self.progress.state,
            attempt: Some(attempt),
            status: None,
            code: None,
            detail: Some(cause.as_str().to_owned()),
        });
        if self.progress.state == State::Sending {
            match cause {
                // Whatever the clock says now: it has passed.
                NotSentCause::DeadlinePassed => {
                    self.stays(GiveUp::Expires, &AttemptFailure::NotReached);
                }
                NotSentCause::Dns
                | NotSentCause::Connect
                | NotSentCause::Tls
                | NotSentCause::ConnectionLost => {
                    self.decide(&AttemptFailure::NotReached, Source::Dispatch);
                }
                NotSentCause::RateLimited => {
                    let failure = AttemptFailure::RateLimited { retry_after };
                    self.decide(&failure, Source::Dispatch);
                }
            }
        }
    }

    fn unknown(&mut self, attempt: AttemptRow, cause: UnknownCause) {
        self.step(Fact::OutcomeUnknown);
        self.count_outcome(OutcomeKind::Unknown);
        self.push(Event {
            kind: EventKind::AttemptUnknown,
            source: Source::Dispatch,
            state: self.progress.state,
            attempt: Some(attempt),
            status: None,
            code: None,
            detail: Some(cause.as_str().to_owned()),
        });
        if self.progress.state == State::Unknown {
            self.watch_unknown(attempt);
        } else {
            self.watch_silence(attempt);
        }
    }

    pub(super) fn watch_unknown(&mut self, attempt: AttemptRow) {
        let at = self.now.plus(self.rules.wait(SETTLE_POLLS[0]));
        self.change.watch = Some(Watch {
            attempt,
            at,
            kind: WatchKind::Unknown,
        });
    }

    fn refused(&mut self, attempt: AttemptRow, code: Option<u32>) {
        self.dequeue_if_stoppable();
        self.count_outcome(OutcomeKind::Refused);
        let step = self.step(Fact::Refused);
        self.count_error(code);
        self.push(Event {
            kind: EventKind::AttemptRefused,
            source: Source::Dispatch,
            state: self.progress.state,
            attempt: Some(attempt),
            status: None,
            code,
            detail: matches!(step, Step::Anomaly(_)).then(|| CONTRADICTS.to_owned()),
        });
        if matches!(step, Step::To(_)) {
            self.failed(code);
            self.after_failure(code, ErrorSource::Response, Source::Dispatch);
        }
    }

    /// The provider reported a status that was not seen on this attempt before.
    pub fn reported(&mut self, report: &ReportFact<'_>) {
        let latest = self.progress.attempt == Some(report.attempt);
        let replaced = self.is_replaced(report.attempt);
        let failure = matches!(
            state_of(report.status),
            Some(State::Failed | State::Undelivered)
        );
        // That an earlier attempt of which nobody knew exists after all stops a retry that waits:
        // the person would get the message twice.
        let exists_after_all =
            report.was_unknown && !failure && self.progress.flags.has(Flags::RETRY_WAITS);
        let fact = if replaced && !exists_after_all {
            Fact::ReportedEarlier(report.status)
        } else {
            Fact::Reported(report.status)
        };
        if latest {
            self.progress.seen |= report.status.bit();
        }
        let before = self.progress.state;
        let step = self.step(fact);
        let moved = !matches!(step, Step::Same);
        if moved && self.progress.due_at.is_some() {
            // Evidence for the earlier attempt: the retry that waits must not leave.
            self.dequeue();
            self.progress
                .flags
                .clear(Flags::RETRY_WAITS | Flags::RETRY_STOPPABLE);
        }
        self.mark_double(report, latest);
        // Its place was taken because it seemed lost.
        if report.was_unknown && !latest && !failure && !exists_after_all {
            self.progress.flags.set(Flags::POSSIBLE_DUPLICATE);
        }
        self.reached(report.status);
        if report.code.is_some() {
            self.count_error(report.code);
        }
        self.push(Event {
            kind: EventKind::Reported,
            source: report.source,
            state: self.progress.state,
            attempt: Some(report.attempt),
            status: Some(report.status),
            code: report.code,
            detail: match step {
                Step::Anomaly(_) => Some(CONTRADICTS.to_owned()),
                Step::To(_) | Step::Same => report.word.map(str::to_owned),
            },
        });
        if failure && !replaced {
            self.failure_reported(report, step);
        }
        self.suppress_if_refused_by_person(report.code);
        // An answer sets the watch for silence; here a report stands in for the answer.
        if moved && !matches!(before, State::Sending | State::Queued | State::Sent) {
            self.watch_silence(report.attempt);
        }
    }

    /// Of several failures each code decides for itself, so that their order does not matter: one
    /// that comes after another, or after a report without a code, may still lead to a retry.
    fn failure_reported(&mut self, report: &ReportFact<'_>, step: Step) {
        // The error of an earlier attempt is still shown until this one has failed.
        let has_failed = self.progress.failed_at.is_some();
        let known = self.progress.error.filter(|_| has_failed);
        let known = known.and_then(|error| error.code);
        let in_failure = matches!(self.progress.state, State::Failed | State::Undelivered);
        let says_more = match report.code {
            None => known.is_none() && !matches!(step, Step::Same),
            Some(_) => in_failure,
        };
        if !says_more {
            return;
        }
        self.failed(report.code);
        // What was stopped while nobody knew whether it had been sent stays stopped: a failure that
        // contradicts that is on record, and never leads to an attempt.
        if !self.progress.flags.has(Flags::STOPPED) {
            self.after_failure(report.code, ErrorSource::Status, report.source);
        }
        // Of several codes that end it the lowest is shown.
        if !self.progress.flags.has(Flags::RETRY_WAITS)
            && let Some(error) = &mut self.progress.error
            && let (Some(one), Some(other)) = (known, report.code)
        {
            error.code = Some(one.min(other));
        }
    }

    /// A device receipt for an earlier attempt while a later one may be under way: the person may
    /// receive it twice.
    fn mark_double(&mut self, report: &ReportFact<'_>, latest: bool) {
        let arrived = matches!(
            state_of(report.status),
            Some(State::Delivered | State::Read)
        );
        if arrived {
            self.change.variant_proven = true;
        }
        if arrived && !latest {
            self.progress.flags.set(Flags::POSSIBLE_DUPLICATE);
        }
    }

    /// A refusal whose class is `opt_out` suppresses the person whatever else it does.
    fn suppress_if_refused_by_person(&mut self, code: Option<u32>) {
        if code.is_some()
            && self.rules.codes.rule(code, ErrorSource::Status).action
                == crate::codes::Action::OptOut
        {
            self.change.suppress_person = true;
        }
    }

    fn dequeue_if_stoppable(&mut self) {
        if self.progress.flags.has(Flags::RETRY_STOPPABLE) && self.progress.due_at.is_some() {
            self.dequeue();
            self.progress
                .flags
                .clear(Flags::RETRY_WAITS | Flags::RETRY_STOPPABLE);
        }
    }

    /// Sets the times that a status proves, each only once, and counts what was reached.
    fn reached(&mut self, status: ProviderStatus) {
        let state = match state_of(status) {
            Some(state @ (State::Sent | State::Delivered | State::Read)) => state,
            _ => return,
        };
        if self.progress.sent_at.is_none() {
            self.progress.sent_at = Some(self.now);
            self.count(Metric::Sent, 0, 1);
            self.count_stage(Stage::AcceptedToSent, self.progress.accepted_at);
        }
        if state.is_at_least(State::Delivered) && self.progress.delivered_at.is_none() {
            self.progress.delivered_at = Some(self.now);
            self.count(Metric::Delivered, 0, 1);
            self.count_stage(
                Stage::SentToDelivered,
                self.progress.sent_at.unwrap_or(self.now),
            );
        }
        if state == State::Read && self.progress.read_at.is_none() {
            self.progress.read_at = Some(self.now);
            self.count(Metric::Read, 0, 1);
            self.count_stage(
                Stage::DeliveredToRead,
                self.progress.delivered_at.unwrap_or(self.now),
            );
        }
        if state.is_at_least(State::Delivered) {
            self.progress.error = None;
            self.progress.failed_at = None;
        }
    }
}

fn sent_kind(source: Source) -> EventKind {
    if source == Source::Dispatch {
        EventKind::AttemptSent
    } else {
        EventKind::Settled
    }
}
