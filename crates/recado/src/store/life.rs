//! What a fact does to a message, as a value: the events to append, the counters to move, the
//! queue row to put or take, the watch to set. Engines load a [`Life`], call one of the functions
//! here, and write the [`Change`]; so the logic stands once, and engines hold SQL only.

#[cfg(test)]
mod tests;

use std::time::Duration;

use delivery::codes::{Codes, Met, Scope};
use delivery::event::{EventKind, Source};
use delivery::limits::{ATTEMPTS_MAX, SETTLE_POLLS, SILENT_POLLS};
use delivery::message::{Policy, Priority};
use delivery::outcome::{NotSentCause, Outcome, ProviderStatus, UnknownCause};
use delivery::retry::{self, Case, Decision, GiveUp, Patience, Trouble};
use delivery::state::{Fact, State, Step, advance, state_of};
use delivery::time::Timestamp;

use super::count::{Count, Leg, What};

/// The rules that transactions need.
#[derive(Clone)]
pub struct Rules {
    /// Error codes and what to do about them.
    pub codes: Codes,
    /// How patient retries are.
    pub patience: Patience,
    /// Waits of retry and reconcile are divided by this; 1 except in tests and demonstrations.
    pub clock_scale: u32,
}

impl Rules {
    /// A wait, divided by the clock scale.
    pub fn wait(&self, duration: Duration) -> Duration {
        duration / self.clock_scale.max(1)
    }
}

/// Everything of a message that decides what happens to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Key of the message.
    pub message: i64,
    /// Key of the counters' cohort: hour of acceptance, sender, kind, template, area code.
    pub cohort: i64,
    /// Key of the person.
    pub person: i64,
    /// Key of the sender.
    pub sender: i64,
    /// Where it is.
    pub state: State,
    /// Attempts made.
    pub attempts: u32,
    /// Key of the latest attempt.
    pub attempt: Option<i64>,
    /// One bit for each provider status seen on the latest attempt.
    pub seen: u32,
    /// See the constants of [`Flags`].
    pub flags: Flags,
    /// What may overtake what.
    pub priority: Priority,
    /// What may happen in doubt.
    pub policy: Policy,
    /// When it was stored.
    pub accepted_at: Timestamp,
    /// Never sent at or after this.
    pub expires_at: Option<Timestamp>,
    /// When it is due; `Some` exactly while it stands in the queue.
    pub due_at: Option<Timestamp>,
    /// First seen at WhatsApp.
    pub sent_at: Option<Timestamp>,
    /// First seen on the device.
    pub delivered_at: Option<Timestamp>,
    /// First seen opened.
    pub read_at: Option<Timestamp>,
    /// When it failed; cleared when a new attempt is decided.
    pub failed_at: Option<Timestamp>,
    /// Why it failed, or what its last attempt said.
    pub error: Option<Failing>,
    /// Key of the last event; events point back to the one before.
    pub last_event: i64,
}

/// Why a message is where it is: a stable reason, and the provider's code when it gave one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Failing {
    /// The reason.
    pub reason: Reason,
    /// Twilio's error code.
    pub code: Option<u32>,
}

/// Stable reasons for failures. The numbers of the store are the places in [`Reason::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The provider refused it or reported a failure.
    Provider,
    /// The provider could not be reached.
    Network,
    /// The provider asked us to slow down.
    RateLimited,
    /// Free-form content outside the 24-hour window.
    WindowClosed,
    /// Attempts are used up.
    AttemptsMax,
    /// The message became too old.
    AgeMax,
    /// Nobody can say whether it was sent.
    Unsettled,
    /// The sealed content cannot be opened.
    Unreadable,
}

impl Reason {
    /// Every reason, in the order of their numbers in the store.
    pub const ALL: [Self; 8] = [
        Self::Provider,
        Self::Network,
        Self::RateLimited,
        Self::WindowClosed,
        Self::AttemptsMax,
        Self::AgeMax,
        Self::Unsettled,
        Self::Unreadable,
    ];

    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Network => "network",
            Self::RateLimited => "rate_limited",
            Self::WindowClosed => "window_closed",
            Self::AttemptsMax => "attempts_max",
            Self::AgeMax => "age_max",
            Self::Unsettled => "unsettled",
            Self::Unreadable => "unreadable",
        }
    }
}

/// The detail of an event whose fact contradicts what was known.
pub const CONTRADICTS: &str = "contradicts";

/// Small yes-or-no facts of a message, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    /// A later attempt was made although an earlier one may have reached the person.
    pub const POSSIBLE_DUPLICATE: u32 = 1;
    /// The one resend after doubt was made.
    pub const RESENT_AFTER_DOUBT: u32 = 2;
    /// The other ninth-digit form was tried.
    pub const OTHER_FORM_TRIED: u32 = 4;
    /// The next attempt uses the other ninth-digit form.
    pub const OTHER_FORM_NEXT: u32 = 8;
    /// The recipient is a Brazilian mobile, so another form exists.
    pub const HAS_OTHER_FORM: u32 = 16;
    /// A retry was decided and its attempt is not open yet.
    pub const RETRY_WAITS: u32 = 32;
    /// The retry was decided because of doubt, so evidence for the earlier attempt stops it.
    pub const RETRY_IN_DOUBT: u32 = 64;
    /// The message is one of our own questions and passes a hold on the person.
    pub const OWN_QUESTION: u32 = 128;
    /// Held until the person answers our question about consent.
    pub const HELD_FOR_ANSWER: u32 = 256;

    /// Whether a bit is set.
    pub fn has(self, bit: u32) -> bool {
        self.0 & bit != 0
    }

    /// Sets a bit.
    pub fn set(&mut self, bit: u32) {
        self.0 |= bit;
    }

    /// Clears a bit.
    pub fn clear(&mut self, bit: u32) {
        self.0 &= !bit;
    }
}

/// One row of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// Who told us.
    pub source: Source,
    /// The state after it.
    pub state: State,
    /// The attempt it is about.
    pub attempt: Option<i64>,
    /// The provider's status.
    pub status: Option<ProviderStatus>,
    /// The provider's error code.
    pub code: Option<u32>,
    /// A stable word that says more: a cause, a reason, an unknown status.
    pub detail: Option<String>,
}

/// What happens to the queue row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueChange {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is put, or moved, to this time.
    Put(Timestamp),
    /// It is taken away.
    Take,
}

/// A watch to set on an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The attempt.
    pub attempt: i64,
    /// When to look.
    pub at: Timestamp,
    /// What to look for.
    pub kind: WatchKind,
}

/// What a watch looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchKind {
    /// Whether the provider has a message that nobody knows of.
    Unknown,
    /// What became of a message that nobody reports about.
    Silent,
}

/// Everything that one fact changes besides the life itself.
#[derive(Debug, Default)]
pub struct Change {
    /// Events to append, in order.
    pub events: Vec<Event>,
    /// Counters to move.
    pub counts: Vec<Count>,
    /// What happens to the queue row.
    pub queue: QueueChange,
    /// A watch to set.
    pub watch: Option<Watch>,
    /// The person must be suppressed.
    pub suppress_person: bool,
    /// The sender or the account must be paused, because of this code.
    pub pause: Option<(Scope, Option<u32>)>,
    /// The address form of the reported attempt has been proven by a delivery.
    pub form_proven: bool,
    /// The fact contradicts what we knew.
    pub anomaly: bool,
}

impl Change {
    /// Empties it for the next message, keeping its memory.
    pub fn clear(&mut self) {
        self.events.clear();
        self.counts.clear();
        self.queue = QueueChange::Keep;
        self.watch = None;
        self.suppress_person = false;
        self.pause = None;
        self.form_proven = false;
        self.anomaly = false;
    }
}

/// One fact being worked into one life.
pub struct Ledger<'a> {
    /// The message.
    pub life: &'a mut Life,
    /// What changes besides.
    pub change: &'a mut Change,
    /// The rules.
    pub rules: &'a Rules,
    /// Now: the time of every event of this commit.
    pub now: Timestamp,
    /// 64 random bits, for jitter.
    pub random: u64,
    /// Whether the person's other address form may be tried: it exists and none is proven.
    pub other_form_open: bool,
}

/// What a status report says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportFact<'a> {
    /// The attempt it is about.
    pub attempt: i64,
    /// Twilio's status.
    pub status: ProviderStatus,
    /// Twilio's word, when it is one that we do not know.
    pub word: Option<&'a str>,
    /// Twilio's error code.
    pub code: Option<u32>,
    /// Who told us.
    pub source: Source,
}

impl Ledger<'_> {
    /// The message was stored just now.
    pub fn accepted(&mut self, due_at: Timestamp, source: Source) {
        self.count(What::Accepted, 0, 1);
        self.count_state(self.life.state, 1);
        self.put(due_at);
        self.event(EventKind::Accepted, source);
    }

    /// An attempt is about to start.
    pub fn attempt_opened(&mut self, attempt: i64) {
        self.step(Fact::AttemptOpened);
        let life = &mut *self.life;
        if life.flags.has(Flags::RETRY_IN_DOUBT) {
            life.flags
                .set(Flags::RESENT_AFTER_DOUBT | Flags::POSSIBLE_DUPLICATE);
        }
        life.flags
            .clear(Flags::RETRY_WAITS | Flags::RETRY_IN_DOUBT | Flags::OTHER_FORM_NEXT);
        life.attempts += 1;
        life.attempt = Some(attempt);
        life.seen = 0;
        self.take();
        self.count(What::Attempts, 0, 1);
        self.event_about(EventKind::AttemptOpened, Source::Dispatch, Some(attempt));
    }

    /// An attempt told us something.
    pub fn outcome(&mut self, attempt: i64, outcome: &Outcome, source: Source) {
        if self.is_replaced(attempt) {
            self.outcome_of_replaced(attempt, outcome, source);
            return;
        }
        match outcome {
            Outcome::Sent { status, .. } => self.sent(attempt, *status, source),
            Outcome::NotSent { cause, retry_after } => {
                self.not_sent(
                    attempt,
                    *cause,
                    Trouble::NotSent {
                        retry_after: *retry_after,
                    },
                );
            }
            Outcome::Unknown(cause) => self.unknown(attempt, *cause),
            Outcome::Refused { code, .. } => self.refused(attempt, *code),
        }
    }

    /// Whether a later attempt, or the decision to make one, has taken this attempt's place. A
    /// retry in doubt has not: evidence for the earlier attempt still counts in full.
    fn is_replaced(&self, attempt: i64) -> bool {
        let flags = self.life.flags;
        self.life.attempt != Some(attempt)
            || (flags.has(Flags::RETRY_WAITS) && !flags.has(Flags::RETRY_IN_DOUBT))
    }

    /// What came of an attempt that no longer decides anything is kept on record all the same.
    fn outcome_of_replaced(&mut self, attempt: i64, outcome: &Outcome, source: Source) {
        let (kind, number, status, code) = match outcome {
            Outcome::NotSent { .. } => (EventKind::AttemptNotSent, 0, None, None),
            Outcome::Sent { status, .. } => (sent_kind(source), 1, Some(*status), None),
            Outcome::Unknown(_) => (EventKind::AttemptUnknown, 2, None, None),
            Outcome::Refused { code, .. } => (EventKind::AttemptRefused, 3, None, *code),
        };
        self.count(What::Outcomes, number, 1);
        if matches!(outcome, Outcome::Refused { .. }) {
            self.count_error(code);
        }
        let state = self.life.state;
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

    fn sent(&mut self, attempt: i64, status: ProviderStatus, source: Source) {
        self.take_if_in_doubt();
        self.step(Fact::OutcomeSent(status));
        self.reached(status);
        self.count(What::Outcomes, 1, 1);
        self.push(Event {
            kind: sent_kind(source),
            source,
            state: self.life.state,
            attempt: Some(attempt),
            status: Some(status),
            code: None,
            detail: None,
        });
        self.watch_silence(attempt);
    }

    fn watch_silence(&mut self, attempt: i64) {
        if !self.life.state.is_resting() {
            let at = self.now.plus(self.rules.wait(SILENT_POLLS[0]));
            self.change.watch = Some(Watch {
                attempt,
                at,
                kind: WatchKind::Silent,
            });
        }
    }

    fn not_sent(&mut self, attempt: i64, cause: NotSentCause, trouble: Trouble) {
        let reason = match cause {
            NotSentCause::RateLimited => Reason::RateLimited,
            NotSentCause::Dns
            | NotSentCause::Connect
            | NotSentCause::Tls
            | NotSentCause::ConnectionLost => Reason::Network,
        };
        self.step(Fact::OutcomeNotSent);
        self.count(What::Outcomes, 0, 1);
        self.life.error = Some(Failing { reason, code: None });
        self.push(Event {
            kind: EventKind::AttemptNotSent,
            source: Source::Dispatch,
            state: self.life.state,
            attempt: Some(attempt),
            status: None,
            code: None,
            detail: Some(cause.word().to_owned()),
        });
        if self.life.state == State::Sending {
            self.decide(&trouble, Source::Dispatch);
        }
    }

    fn unknown(&mut self, attempt: i64, cause: UnknownCause) {
        self.step(Fact::OutcomeUnknown);
        self.count(What::Outcomes, 2, 1);
        self.push(Event {
            kind: EventKind::AttemptUnknown,
            source: Source::Dispatch,
            state: self.life.state,
            attempt: Some(attempt),
            status: None,
            code: None,
            detail: Some(cause.word().to_owned()),
        });
        if self.life.state == State::Unknown {
            let at = self.now.plus(self.rules.wait(SETTLE_POLLS[0]));
            self.change.watch = Some(Watch {
                attempt,
                at,
                kind: WatchKind::Unknown,
            });
        } else {
            self.watch_silence(attempt);
        }
    }

    fn refused(&mut self, attempt: i64, code: Option<u32>) {
        self.count(What::Outcomes, 3, 1);
        let step = self.step(Fact::Refused);
        self.count_error(code);
        self.push(Event {
            kind: EventKind::AttemptRefused,
            source: Source::Dispatch,
            state: self.life.state,
            attempt: Some(attempt),
            status: None,
            code,
            detail: matches!(step, Step::Anomaly(_)).then(|| CONTRADICTS.to_owned()),
        });
        if matches!(step, Step::To(_)) {
            self.failed(code);
            self.after_failure(code, Met::InAnswer, Source::Dispatch);
        }
    }

    /// The provider reported a status that was not seen on this attempt before.
    pub fn reported(&mut self, report: &ReportFact<'_>) {
        let latest = self.life.attempt == Some(report.attempt);
        let replaced = self.is_replaced(report.attempt);
        let fact = if replaced {
            Fact::ReportedEarlier(report.status)
        } else {
            Fact::Reported(report.status)
        };
        if latest {
            self.life.seen |= bit(report.status);
        }
        let step = self.step(fact);
        let moved = !matches!(step, Step::Same);
        if moved && self.life.due_at.is_some() {
            // Evidence for the earlier attempt: the retry that waits must not leave.
            self.take();
            self.life
                .flags
                .clear(Flags::RETRY_WAITS | Flags::RETRY_IN_DOUBT);
        }
        self.mark_double(report, latest, moved);
        self.reached(report.status);
        if report.code.is_some() {
            self.count_error(report.code);
        }
        self.push(Event {
            kind: EventKind::Reported,
            source: report.source,
            state: self.life.state,
            attempt: Some(report.attempt),
            status: Some(report.status),
            code: report.code,
            detail: match step {
                Step::Anomaly(_) => Some(CONTRADICTS.to_owned()),
                Step::To(_) | Step::Same => report.word.map(str::to_owned),
            },
        });
        let failure = matches!(
            state_of(report.status),
            Some(State::Failed | State::Undelivered)
        );
        if failure && moved && !replaced {
            self.failed(report.code);
            self.after_failure(report.code, Met::OnMessage, report.source);
        }
        self.suppress_if_refused_by_person(report.code);
    }

    /// A device receipt for an earlier attempt while a later one may be under way: the person may
    /// receive it twice.
    fn mark_double(&mut self, report: &ReportFact<'_>, latest: bool, moved: bool) {
        let arrived = matches!(
            state_of(report.status),
            Some(State::Delivered | State::Read)
        );
        if arrived {
            self.change.form_proven = true;
        }
        if arrived && !latest && moved {
            self.life.flags.set(Flags::POSSIBLE_DUPLICATE);
        }
    }

    /// A refusal whose class is `opt_out` suppresses the person whatever else it does.
    fn suppress_if_refused_by_person(&mut self, code: Option<u32>) {
        if code.is_some()
            && self.rules.codes.rule(code, Met::OnMessage).action == delivery::codes::Action::OptOut
        {
            self.change.suppress_person = true;
        }
    }

    /// The time for evidence about an unknown attempt is over.
    pub fn horizon_passed(&mut self, attempt: i64) {
        if self.life.state != State::Unknown || self.life.attempt != Some(attempt) {
            return;
        }
        self.life.error = Some(Failing {
            reason: Reason::Unsettled,
            code: None,
        });
        self.event_about(EventKind::HorizonPassed, Source::Poll, Some(attempt));
        self.decide(&Trouble::Unsettled, Source::Poll);
    }

    /// The caller cancels, or a newer notice supersedes. `false` when it is too late.
    pub fn cancel(&mut self, kind: EventKind, source: Source) -> bool {
        self.stop(Fact::CancelDecided, kind, source)
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
        if self.life.flags.has(Flags::OWN_QUESTION) || !self.hold(source) {
            return false;
        }
        self.life.flags.set(Flags::HELD_FOR_ANSWER);
        true
    }

    /// The person meant something else: what was held for their answer is free.
    pub fn release_after_answer(&mut self, source: Source) -> bool {
        self.life.flags.has(Flags::HELD_FOR_ANSWER) && self.release(source)
    }

    /// The hold is over. `false` when it was not held.
    pub fn release(&mut self, source: Source) -> bool {
        if !matches!(self.step(Fact::ReleaseDecided), Step::To(_)) {
            return false;
        }
        self.life.flags.clear(Flags::HELD_FOR_ANSWER);
        self.put(self.now);
        self.event(EventKind::Released, source);
        true
    }

    /// The operator asks for another attempt. `false` when the state does not allow one.
    pub fn retry_by_operator(&mut self) -> bool {
        let doubt = matches!(self.life.state, State::Unknown)
            || self
                .life
                .error
                .is_some_and(|error| error.reason == Reason::Unsettled);
        let waits_already = matches!(self.life.state, State::Sending | State::Scheduled);
        if waits_already || self.life.attempts >= ATTEMPTS_MAX {
            return false;
        }
        if self.life.state == State::Held && self.life.attempts == 0 {
            return self.release(Source::Operator);
        }
        self.retry_at(self.now, doubt, Source::Operator)
    }

    /// Its turn has not come: it is due later. Nothing happened to the message, so nothing is
    /// logged.
    pub fn defer(&mut self, at: Timestamp) {
        if self.life.due_at.is_some() {
            self.put(at);
        }
    }

    /// A rule at dispatch ends it before an attempt was opened.
    pub fn give_up(&mut self, reason: Reason) {
        if !matches!(self.step(Fact::Refused), Step::To(_)) {
            return;
        }
        self.take();
        self.life.failed_at = Some(self.now);
        self.life.error = Some(Failing { reason, code: None });
        self.push_detail(EventKind::GivenUp, Source::Dispatch, reason.word());
    }

    fn stop(&mut self, fact: Fact, kind: EventKind, source: Source) -> bool {
        if !matches!(self.step(fact), Step::To(_)) {
            return false;
        }
        self.take();
        self.event(kind, source);
        true
    }

    fn failed(&mut self, code: Option<u32>) {
        self.life.failed_at = Some(self.now);
        self.life.error = Some(Failing {
            reason: Reason::Provider,
            code,
        });
    }

    fn after_failure(&mut self, code: Option<u32>, met: Met, source: Source) {
        let tried = self.life.flags.has(Flags::OTHER_FORM_TRIED);
        let unknown_number = matches!(code, Some(63_024 | 63_003));
        if unknown_number && self.other_form_open && !tried {
            self.life
                .flags
                .set(Flags::OTHER_FORM_TRIED | Flags::OTHER_FORM_NEXT);
            self.retry_at(self.now, false, source);
            return;
        }
        let rule = self.rules.codes.rule(code, met);
        self.decide(&Trouble::Coded(rule), source);
    }

    fn decide(&mut self, trouble: &Trouble, source: Source) {
        let case = Case {
            attempts: self.life.attempts,
            accepted_at: self.life.accepted_at,
            expires_at: self.life.expires_at,
            policy: self.life.policy,
            resent_after_doubt: self.life.flags.has(Flags::RESENT_AFTER_DOUBT),
            now: self.now,
            random: self.random,
        };
        // Trouble with the network says nothing about the message: only its age ends it.
        let mut patience = self.rules.patience;
        if matches!(trouble, Trouble::NotSent { .. }) {
            patience.attempts_max = ATTEMPTS_MAX;
        }
        match retry::decide(&case, trouble, &patience) {
            Decision::Retry {
                at,
                possible_duplicate,
            } => {
                let in_doubt = possible_duplicate && !case.resent_after_doubt;
                let at = self.now.plus(self.rules.wait(at.since(self.now)));
                self.retry_at(at, in_doubt, source);
            }
            Decision::RetryWhenResumed { scope } => {
                let code = self.life.error.and_then(|error| error.code);
                self.change.pause = Some((scope, code));
                self.retry_at(self.now, false, source);
            }
            Decision::GiveUp(reason) => self.stays(reason, trouble),
            Decision::Suppress => self.change.suppress_person = true,
            Decision::Hold => {
                self.hold(source);
            }
        }
    }

    fn stays(&mut self, give_up: GiveUp, trouble: &Trouble) {
        if !matches!(trouble, Trouble::NotSent { .. }) {
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
        if !matches!(self.step(Fact::RetryDecided), Step::To(_)) {
            return false;
        }
        self.life.flags.set(Flags::RETRY_WAITS);
        if in_doubt {
            self.life.flags.set(Flags::RETRY_IN_DOUBT);
        }
        self.life.failed_at = None;
        self.put(at);
        self.count(What::Retries, 0, 1);
        self.event(EventKind::RetryDecided, source);
        true
    }

    fn take_if_in_doubt(&mut self) {
        if self.life.flags.has(Flags::RETRY_IN_DOUBT) && self.life.due_at.is_some() {
            self.take();
            self.life
                .flags
                .clear(Flags::RETRY_WAITS | Flags::RETRY_IN_DOUBT);
        }
    }

    /// Sets the times that a status proves, each only once, and counts what was reached.
    fn reached(&mut self, status: ProviderStatus) {
        let state = match state_of(status) {
            Some(state @ (State::Sent | State::Delivered | State::Read)) => state,
            _ => return,
        };
        if self.life.sent_at.is_none() {
            self.life.sent_at = Some(self.now);
            self.count(What::Sent, 0, 1);
            self.count_leg(Leg::AcceptedToSent, self.life.accepted_at);
        }
        if state >= State::Delivered && self.life.delivered_at.is_none() {
            self.life.delivered_at = Some(self.now);
            self.count(What::Delivered, 0, 1);
            self.count_leg(Leg::SentToDelivered, self.life.sent_at.unwrap_or(self.now));
        }
        if state == State::Read && self.life.read_at.is_none() {
            self.life.read_at = Some(self.now);
            self.count(What::Read, 0, 1);
            self.count_leg(
                Leg::DeliveredToRead,
                self.life.delivered_at.unwrap_or(self.now),
            );
        }
        if state >= State::Delivered {
            self.life.error = None;
            self.life.failed_at = None;
        }
    }

    fn step(&mut self, fact: Fact) -> Step {
        let before = self.life.state;
        let step = advance(before, fact);
        let after = step.state(before);
        if matches!(step, Step::Anomaly(_)) {
            self.change.anomaly = true;
            self.count(What::Anomalies, 0, 1);
        }
        if after != before {
            self.count_state(before, -1);
            self.count_state(after, 1);
            self.life.state = after;
        }
        step
    }

    fn put(&mut self, at: Timestamp) {
        self.life.due_at = Some(at);
        self.change.queue = QueueChange::Put(at);
    }

    fn take(&mut self) {
        if self.life.due_at.take().is_some() || matches!(self.change.queue, QueueChange::Put(_)) {
            self.change.queue = QueueChange::Take;
        }
    }

    fn event(&mut self, kind: EventKind, source: Source) {
        self.event_about(kind, source, None);
    }

    fn event_about(&mut self, kind: EventKind, source: Source, attempt: Option<i64>) {
        let state = self.life.state;
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

    fn push_detail(&mut self, kind: EventKind, source: Source, detail: &str) {
        self.event_about(kind, source, None);
        if let Some(event) = self.change.events.last_mut() {
            event.detail = Some(detail.to_owned());
        }
    }

    fn push(&mut self, event: Event) {
        self.change.events.push(event);
    }

    fn count(&mut self, what: What, code: i64, by: i64) {
        self.change.counts.push(Count {
            cohort: self.life.cohort,
            what,
            code,
            by,
        });
    }

    fn count_state(&mut self, state: State, by: i64) {
        self.count(What::State, super::count::state_number(state), by);
    }

    fn count_error(&mut self, code: Option<u32>) {
        self.count(What::Errors, i64::from(code.unwrap_or(0)), 1);
    }

    fn count_leg(&mut self, leg: Leg, from: Timestamp) {
        let bucket = super::count::bucket(self.now.since(from));
        self.count(leg.what(), bucket, 1);
    }
}

fn sent_kind(source: Source) -> EventKind {
    if source == Source::Dispatch {
        EventKind::AttemptSent
    } else {
        EventKind::Settled
    }
}

/// The bit of a status in [`Life::seen`].
pub fn bit(status: ProviderStatus) -> u32 {
    let place = ProviderStatus::ALL
        .iter()
        .position(|known| *known == status);
    1 << place.unwrap_or(ProviderStatus::ALL.len())
}
