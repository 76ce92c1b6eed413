//! What we decide ourselves: stop, hold, release, retry, give up.

use crate::absence::{Doubt, Proof};
use crate::codes::{ErrorSource, Scope, is_unknown_number};
use crate::counter::{Metric, Stage, bucket};
use crate::event::{EventKind, Source};
use crate::hold::{self, Holding, NewHold};
use crate::outcome::OutcomeKind;
use crate::retry::{self, AttemptFailure, Decision, GiveUp, RetryInput};
use crate::row::AttemptRow;
use crate::state::{Fact, State, Step};
use crate::time::Timestamp;
use std::time::Duration;

use super::{Flags, LastError, Pause, PauseSource, Reason, TAKEN_BACK, Transition};

impl Transition<'_> {
    /// The time for evidence about an unknown attempt is over.
    /// `doubt` says why absence is not proven, when that was tried. It is said once.
    pub fn horizon_passed(&mut self, attempt: AttemptRow, doubt: Option<Doubt>) {
        let was_said = self
            .progress
            .error
            .is_some_and(|error| error.reason == Reason::Unsettled);
        if self.progress.state != State::Unknown
            || self.progress.attempt != Some(attempt)
            || was_said
        {
            return;
        }
        self.progress.error = Some(LastError {
            reason: Reason::Unsettled,
            code: None,
        });
        self.event_about(EventKind::HorizonPassed, Source::Poll, Some(attempt));
        if let Some(event) = self.change.events.last_mut() {
            event.detail = doubt.map(|doubt| doubt.as_str().to_owned());
        }
        self.decide(&AttemptFailure::Unsettled, Source::Poll);
    }

    /// It is proven that an unknown attempt created nothing. `false` when it decides nothing any
    /// more: a later attempt has taken its place, or somebody has decided.
    pub fn proven_absent(&mut self, attempt: AttemptRow, proof: &Proof) -> bool {
        if self.progress.state != State::Unknown || self.progress.attempt != Some(attempt) {
            return false;
        }
        self.progress.error = None;
        self.count_outcome(OutcomeKind::Absent);
        self.event_about(EventKind::AttemptAbsent, Source::Poll, Some(attempt));
        if let Some(event) = self.change.events.last_mut() {
            event.detail = Some(proof.detail());
        }
        self.decide(&AttemptFailure::Absent, Source::Poll);
        if self.progress.flags.has(Flags::RETRY_WAITS) {
            self.progress.flags.set(Flags::RETRY_AFTER_ABSENCE);
        }
        true
    }

    /// Stronger evidence has given the provider's message, which was attached to this attempt by
    /// circumstances, to another one. Unless an earlier attempt may have reached the person, nobody
    /// knows again what became of the message, and everything that was concluded is taken back.
    pub fn evidence_withdrawn(&mut self, attempt: AttemptRow, source: Source) {
        let alone = !self.progress.flags.has(Flags::POSSIBLE_DUPLICATE);
        let latest = self.progress.attempt == Some(attempt);
        let follows = self.progress.due_at.is_none() || self.progress.flags.has(Flags::RETRY_WAITS);
        self.count(Metric::Outcomes, OutcomeKind::Sent.number(), -1);
        if latest {
            self.progress.seen = 0;
        } else {
            // It was sent again because of what another's message had told.
            self.progress.flags.set(Flags::POSSIBLE_DUPLICATE);
        }
        let taken_back =
            latest && alone && follows && matches!(self.step(Fact::EvidenceWithdrawn), Step::To(_));
        if taken_back {
            self.dequeue();
            self.progress
                .flags
                .clear(Flags::RETRY_WAITS | Flags::RETRY_STOPPABLE | Flags::VARIANT_NEXT);
            self.take_times_back();
            self.progress.failed_at = None;
            self.progress.error = None;
        }
        if latest && self.progress.state == State::Unknown {
            self.watch_unknown(attempt);
        }
        self.event_about(EventKind::EvidenceWithdrawn, source, Some(attempt));
        if let Some(event) = self.change.events.last_mut().filter(|_| taken_back) {
            event.detail = Some(TAKEN_BACK.to_owned());
        }
    }

    /// What [`reached`](Self::reached) has counted for the times that are shown.
    fn take_times_back(&mut self) {
        let progress = &mut *self.progress;
        let (sent, delivered) = (progress.sent_at.take(), progress.delivered_at.take());
        let read = progress.read_at.take();
        let accepted = Some(progress.accepted_at);
        for (at, metric, stage, from) in [
            (sent, Metric::Sent, Stage::AcceptedToSent, accepted),
            (delivered, Metric::Delivered, Stage::SentToDelivered, sent),
            (read, Metric::Read, Stage::DeliveredToRead, delivered),
        ] {
            if let Some(at) = at {
                self.count(metric, 0, -1);
                let took = at.since(from.unwrap_or(at));
                self.count(stage.metric(), bucket(took), -1);
            }
        }
    }

    /// The caller cancels. `false` when it is too late.
    pub fn cancel(&mut self, kind: EventKind, source: Source) -> bool {
        self.stop(Fact::CancelDecided, kind, source)
    }

    /// A newer notice takes its place. What is under way cannot be called back, but may still
    /// come back: then it stays here.
    pub fn supersede(&mut self, source: Source) {
        self.progress.flags.set(Flags::SUPERSEDED);
        self.cancel(EventKind::Superseded, source);
    }

    /// The deadline has passed. `false` when it does not apply any more.
    pub fn expire(&mut self) -> bool {
        self.stop(Fact::ExpiryPassed, EventKind::Expired, Source::Dispatch)
    }

    /// The person has opted out. `false` when the message no longer waits.
    pub fn suppress(&mut self, source: Source) -> bool {
        self.stop(Fact::OptedOut, EventKind::Suppressed, source)
    }

    /// The message is held. `false` when it no longer waits.
    pub fn hold(&mut self, source: Source) -> bool {
        self.stop(Fact::HoldDecided, EventKind::Held, source)
    }

    /// The person wrote a word that may mean opt-out: the message is held until they answer.
    pub fn hold_for_answer(&mut self, source: Source) -> bool {
        if self.progress.flags.has(Flags::OWN_QUESTION) || !self.hold(source) {
            return false;
        }
        self.progress.flags.set(Flags::HELD_FOR_ANSWER);
        true
    }

    /// The person meant something else: what was held for their answer is free.
    pub fn release_after_answer(&mut self, send_at: Option<Timestamp>, source: Source) -> bool {
        self.progress.flags.has(Flags::HELD_FOR_ANSWER) && self.release(send_at, source)
    }

    /// The hold is over: it is due at once, or at the caller's `send_at` when that is yet to
    /// come. `false` when it was not held.
    pub fn release(&mut self, send_at: Option<Timestamp>, source: Source) -> bool {
        if !matches!(self.step(Fact::ReleaseDecided), Step::To(_)) {
            return false;
        }
        self.progress.flags.clear(Flags::HELD_FOR_ANSWER);
        self.enqueue(send_at.map_or(self.now, |at| at.max(self.now)));
        self.event(EventKind::Released, source);
        true
    }

    /// The operator asks for another attempt. `false` when the state does not allow one.
    /// One that was held before its first attempt keeps the caller's `send_at`.
    pub fn retry_by_operator(&mut self, send_at: Option<Timestamp>) -> bool {
        let doubt = matches!(self.progress.state, State::Unknown)
            || self
                .progress
                .error
                .is_some_and(|error| error.reason == Reason::Unsettled);
        let waits_already = matches!(self.progress.state, State::Sending | State::Scheduled);
        if waits_already {
            return false;
        }
        if self.progress.state == State::Held && self.progress.attempts == 0 {
            return self.release(send_at, Source::Operator);
        }
        if !self.retry_at(self.now, doubt, Source::Operator) {
            return false;
        }
        // Who asks for more wants more than the one attempt that may be left.
        self.progress.spared = self.progress.attempts;
        self.progress.tried_for = Duration::ZERO;
        true
    }

    /// Its turn has not come, or it is held: it is due later. Nothing happened to the message, so
    /// nothing is logged.
    pub fn defer(&mut self, at: Timestamp) {
        if self.progress.due_at.is_some() {
            self.enqueue(at);
        }
    }

    /// A rule at dispatch ends it before an attempt was opened.
    pub fn give_up(&mut self, reason: Reason) {
        if !matches!(self.step(Fact::Refused), Step::To(_)) {
            return;
        }
        self.dequeue();
        self.progress.failed_at = Some(self.now);
        self.progress.error = Some(LastError { reason, code: None });
        self.push_detail(EventKind::GivenUp, Source::Dispatch, reason.as_str());
    }

    fn stop(&mut self, fact: Fact, kind: EventKind, source: Source) -> bool {
        if !matches!(self.step(fact), Step::To(_)) {
            return false;
        }
        self.dequeue();
        self.event(kind, source);
        true
    }

    pub(super) fn failed(&mut self, code: Option<u32>) {
        self.progress.failed_at = Some(self.now);
        self.progress.error = Some(LastError {
            reason: Reason::Provider,
            code,
        });
    }

    pub(super) fn after_failure(
        &mut self,
        code: Option<u32>,
        error_source: ErrorSource,
        source: Source,
    ) {
        let tried = self.progress.flags.has(Flags::VARIANT_TRIED);
        if is_unknown_number(code) && self.variant_untried && !tried {
            self.progress
                .flags
                .set(Flags::VARIANT_TRIED | Flags::VARIANT_NEXT);
            self.retry_at(self.now, false, source);
            return;
        }
        let rule = self.rules.codes.rule(code, error_source);
        self.decide(&AttemptFailure::Coded(rule), source);
    }

    pub(super) fn decide(&mut self, failure: &AttemptFailure, source: Source) {
        let progress = &*self.progress;
        let input = RetryInput {
            attempts: progress.attempts.saturating_sub(progress.spared),
            attempts_in_all: progress.attempts,
            tried_for: progress.tried_for,
            expires_at: progress.expires_at,
            policy: progress.policy,
            resent_after_doubt: progress.flags.has(Flags::RESENT_AFTER_DOUBT),
            standing: self.standing,
            now: self.now,
            random: self.random,
        };
        match retry::decide(&input, failure, &self.rules.retry_policy) {
            Decision::Retry {
                at,
                possible_duplicate,
            } => {
                let in_doubt = possible_duplicate && !input.resent_after_doubt;
                let wait = at.since(self.now);
                let at = self.now.plus(self.rules.wait(wait));
                if self.retry_at(at, in_doubt, source) {
                    self.charge(failure, wait);
                }
            }
            Decision::RetryWhenResumed { scope } => self.pause(scope, source),
            Decision::RetryAfterHold(holding) => self.wait_for_hold(holding, source),
            Decision::RetryAsEvidence { at } => {
                let at = self.now.plus(self.rules.wait(at.since(self.now)));
                self.change.evidence = self.code();
                self.retry_at(at, false, source);
            }
            Decision::GiveUp(reason) => self.stays(reason, failure),
            Decision::Suppress => self.change.suppress_person = true,
            Decision::Hold => {
                self.hold(source);
            }
        }
    }

    /// What another attempt after `wait` costs the message.
    fn charge(&mut self, failure: &AttemptFailure, wait: Duration) {
        match failure {
            AttemptFailure::NotReached => self.spare(),
            // One that fails again and again while the provider is well must end some day.
            AttemptFailure::Absent => {
                self.spare();
                self.grow_older(wait);
            }
            AttemptFailure::RateLimited { .. }
            | AttemptFailure::Coded(_)
            | AttemptFailure::Unsettled => self.grow_older(wait),
        }
    }

    /// The latest attempt does not count.
    fn spare(&mut self) {
        self.progress.spared += 1;
    }

    fn grow_older(&mut self, wait: Duration) {
        let tried_for = self.progress.tried_for;
        self.progress.tried_for = tried_for.saturating_add(wait);
    }

    /// The message waits for the operator's word, and others with it. What was refused by that costs
    /// it no attempt.
    fn pause(&mut self, scope: Scope, source: Source) {
        let code = self.code();
        self.change.pause = Some(Pause {
            scope,
            code,
            source: if source == Source::Dispatch {
                PauseSource::Answer
            } else {
                PauseSource::Report
            },
        });
        self.change.evidence = code;
        if self.retry_at(self.now, false, source) {
            self.spare();
        }
    }

    /// The message waits for the end of a hold, and others with it.
    fn wait_for_hold(&mut self, holding: Holding, source: Source) {
        let cap = self.rules.retry_policy.later_cap;
        let scale = self.rules.clock_scale;
        let held = hold::hold(holding, &self.standing, self.now, cap, scale);
        let is_one_too_many = |hold: NewHold| {
            let max = holding.in_a_row_max;
            max.is_some_and(|max| hold.step >= max)
        };
        if held.begins.is_some_and(is_one_too_many) {
            return;
        }
        self.change.hold = held.begins;
        if holding.is_evidence {
            self.change.evidence = self.code();
        }
        if self.retry_at(held.until, false, source) && holding.spares {
            self.spare();
        }
    }

    fn code(&self) -> Option<u32> {
        self.progress.error.and_then(|error| error.code)
    }

    pub(super) fn stays(&mut self, give_up: GiveUp, failure: &AttemptFailure) {
        if !matches!(
            failure,
            AttemptFailure::NotReached
                | AttemptFailure::RateLimited { .. }
                | AttemptFailure::Absent
        ) || give_up == GiveUp::Policy
        {
            return;
        }
        if give_up == GiveUp::Expires {
            self.retry_at(self.now, false, Source::Dispatch);
            self.expire();
            return;
        }
        let reason = match give_up {
            GiveUp::AgeMax => Reason::AgeMax,
            GiveUp::AttemptsMax | GiveUp::Permanent | GiveUp::Expires | GiveUp::Policy => {
                Reason::AttemptsMax
            }
        };
        self.give_up(reason);
    }

    fn retry_at(&mut self, at: Timestamp, in_doubt: bool, source: Source) -> bool {
        if self.progress.flags.has(Flags::STOPPED) && source != Source::Operator {
            return false;
        }
        if !matches!(self.step(Fact::RetryDecided), Step::To(_)) {
            return false;
        }
        if source == Source::Operator {
            self.progress
                .flags
                .clear(Flags::STOPPED | Flags::SUPERSEDED);
        }
        self.progress.flags.set(Flags::RETRY_WAITS);
        if in_doubt {
            self.progress.flags.set(Flags::RETRY_IN_DOUBT);
        }
        self.progress.failed_at = None;
        self.enqueue(at);
        self.count(Metric::Retries, 0, 1);
        self.event(EventKind::RetryDecided, source);
        true
    }
}
