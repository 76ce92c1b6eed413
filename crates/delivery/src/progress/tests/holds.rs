//! What outages, pauses and holds cost a message, and what it may do to others.

use super::*;
use crate::hold::EarlierHold;

fn refused(code: u32) -> Outcome {
    Outcome::Refused {
        http_status: 400,
        code: Some(code),
    }
}

impl Course {
    /// Opens an attempt and closes it; returns what it leads to beyond the message.
    fn attempt(&mut self, outcome: &Outcome) -> (Option<Pause>, Option<NewHold>) {
        let attempt = AttemptRow(i64::from(self.progress.attempts) + 1);
        self.now = self.progress.due_at.expect("it waits").max(self.now);
        self.standing.started_at = self.now;
        self.work(|transition| transition.attempt_opened(attempt));
        let mut led_to = (None, None);
        self.work(|transition| {
            transition.outcome(attempt, outcome, Source::Dispatch);
            led_to = (transition.change.pause, transition.change.hold);
        });
        if let Some(hold) = led_to.1 {
            self.standing.hold = Some(EarlierHold {
                since: hold.since,
                until: hold.until,
                lifted_at: None,
                step: hold.step,
            });
        }
        led_to
    }
}

/// A limit of the sender that lasts for a week ends no message, costs it none of its attempts and
/// makes it no older; a failure of its own still does afterwards.
#[test]
fn holds_of_the_sender_cost_neither_attempts_nor_age() {
    let mut course = Course::new(Policy::AtMostOnce, false);
    while course.now < START.plus(Duration::from_secs(7 * 86_400)) {
        let (pause, hold) = course.attempt(&refused(21_611));
        assert_eq!(pause, None);
        assert_eq!(course.progress.due_at, hold.map(|hold| hold.until));
        assert_eq!(course.progress.state, State::Scheduled);
    }
    assert!(
        course.progress.attempts < 40,
        "the holds grow: {}",
        course.progress.attempts
    );
    assert_eq!(course.progress.spared, course.progress.attempts);
    assert_eq!(course.progress.tried_for, Duration::ZERO);
    for _ in 1..8 {
        course.attempt(&refused(20_409));
        assert_eq!(course.progress.state, State::Scheduled);
    }
    course.attempt(&refused(20_409));
    assert_eq!(course.progress.state, State::Failed);
    course.happen(Happening::RetryByOperator);
    for _ in 1..8 {
        course.attempt(&refused(20_409));
        assert_eq!(
            course.progress.state,
            State::Scheduled,
            "the operator asked for more"
        );
    }
}

/// So does a limit of the person, until it has lasted for days.
#[test]
fn holds_of_the_person_cost_nothing_and_end_after_days() {
    for code in [14_107, 30_003, 30_450, 30_453] {
        let mut course = Course::new(Policy::AtMostOnce, false);
        while course.progress.state != State::Failed {
            let progress = &course.progress;
            assert_eq!(progress.spared, progress.attempts, "{code}");
            assert_eq!(progress.tried_for, Duration::ZERO);
            assert!(course.now < START.plus(10 * DAY), "{code}: it ends");
            course.attempt(&refused(code));
        }
        assert!(course.now > START.plus(6 * DAY), "{code}");
        assert_eq!(course.progress.error.unwrap().code, Some(code));
    }
}

#[test]
fn a_limit_of_attempts_that_a_code_brings_with_it_holds_for_the_person_too() {
    let mut course = Course::new(Policy::AtMostOnce, false);
    course.attempt(&refused(63_049));
    assert_eq!(course.progress.state, State::Scheduled);
    assert_eq!(course.progress.spared, 0);
    course.attempt(&refused(63_049));
    assert_eq!(course.progress.state, State::Failed);
}

const DAY: Duration = Duration::from_secs(86_400);

fn not_sent(cause: NotSentCause) -> Outcome {
    Outcome::NotSent {
        cause,
        retry_after: None,
    }
}

fn sent() -> Outcome {
    Outcome::Sent {
        sid: sid(),
        status: ProviderStatus::Queued,
    }
}

/// The message is the only one that waits, so each probe is its own. The first answer after the
/// outage is none that takes it.
#[test]
fn no_outage_of_the_connection_makes_a_message_old() {
    for cause in [
        NotSentCause::Dns,
        NotSentCause::Connect,
        NotSentCause::Tls,
        NotSentCause::ConnectionLost,
    ] {
        let mut course = Course::new(Policy::AtMostOnce, false);
        course.random = u64::MAX / 2;
        let mut longest = Duration::ZERO;
        while course.now < START.plus(4 * DAY) {
            let due = course.progress.due_at.unwrap_or(START);
            longest = longest.max(due.since(course.now));
            course.attempt(&not_sent(cause));
            assert_eq!(course.progress.state, State::Scheduled, "{cause:?}");
        }
        let attempts = course.progress.attempts;
        assert!((2_000..2_500).contains(&attempts), "{attempts} attempts");
        assert!(longest <= Duration::from_secs(5 * 60), "{longest:?}");
        assert_eq!(course.progress.spared, attempts);
        assert_eq!(course.progress.tried_for, Duration::ZERO);
        course.attempt(&not_sent(NotSentCause::RateLimited));
        for _ in 0..6 {
            course.attempt(&refused(20_409));
            assert_eq!(course.progress.state, State::Scheduled);
        }
        course.attempt(&sent());
        assert_eq!(course.progress.state, State::Queued);
    }
}

/// Twilio answers 503 for days while its list says that nothing was created.
#[test]
fn no_outage_with_lost_answers_uses_up_attempts() {
    let mut course = Course::new(Policy::Once, false);
    course.random = u64::MAX / 2;
    while course.now < START.plus(4 * DAY) {
        course.attempt(&Outcome::Unknown(UnknownCause::ServerError(503)));
        assert_eq!(course.progress.state, State::Unknown);
        course.now = course.now.plus(crate::limits::ABSENT_AFTER);
        course.happen(Happening::Absent);
        assert_eq!(course.progress.state, State::Scheduled);
    }
    assert!(course.progress.attempts > 300);
    for _ in 0..7 {
        course.attempt(&refused(20_409));
        assert_eq!(course.progress.state, State::Scheduled);
    }
    course.attempt(&sent());
    assert_eq!(course.progress.state, State::Queued);
}

/// The provider is well, and answers nothing good to one message alone.
#[test]
fn what_is_lost_again_and_again_ends_after_weeks() {
    let mut course = Course::new(Policy::Once, false);
    course.random = u64::MAX / 2;
    while course.progress.state != State::Failed {
        course.attempt(&Outcome::Unknown(UnknownCause::ServerError(500)));
        course.now = course.now.plus(crate::limits::ABSENT_AFTER);
        course.happen(Happening::Absent);
        assert!(course.now < START.plus(21 * DAY), "it ends");
    }
    assert!(course.now > START.plus(6 * DAY));
    assert_eq!(course.progress.error.unwrap().reason, Reason::AgeMax);
}

/// A message that waited in the queue for days is as young as before; one whose waits between
/// refusals come to a day is not.
#[test]
fn only_waits_between_attempts_make_a_message_old() {
    let not_sent = Outcome::NotSent {
        cause: NotSentCause::RateLimited,
        retry_after: Some(crate::outcome::RetryAfter::Delay(Duration::from_secs(
            3_600,
        ))),
    };
    let mut course = Course::new(Policy::AtMostOnce, false);
    for _ in 0..20 {
        course.now = course.now.plus(Duration::from_secs(3 * 86_400));
        course.attempt(&not_sent);
        assert_eq!(course.progress.state, State::Scheduled);
    }
    assert_eq!(course.progress.tried_for, Duration::from_secs(20 * 3_600));
    for _ in 0..5 {
        if course.progress.state == State::Scheduled {
            course.attempt(&not_sent);
        }
    }
    assert_eq!(course.progress.error.unwrap().reason, Reason::AgeMax);
}

#[test]
fn a_message_pauses_others_once_and_then_fails_with_its_code() {
    let mut course = Course::new(Policy::AtMostOnce, false);
    let (pause, _) = course.attempt(&refused(63_007));
    let expected = Pause {
        scope: Scope::Sender,
        code: Some(63_007),
        source: PauseSource::Answer,
    };
    assert_eq!(pause, Some(expected));
    assert_eq!(course.progress.state, State::Scheduled);
    course.standing.met_before = true;
    course.standing.stopped_others_before = true;
    assert_eq!(course.attempt(&refused(63_007)), (None, None));
    assert_eq!(course.progress.state, State::Failed);
    assert_eq!(course.progress.error.unwrap().code, Some(63_007));
}

#[test]
fn a_reported_code_pauses_for_longer_than_an_answered_one() {
    let mut course = Course::new(Policy::AtMostOnce, false);
    course.happen(Happening::Open);
    course.happen(Happening::Sent(ProviderStatus::Queued));
    let report = ReportFact {
        attempt: AttemptRow(1),
        status: ProviderStatus::Failed,
        word: None,
        code: Some(63_051),
        source: Source::Callback,
        was_unknown: false,
    };
    let mut pause = None;
    course.work(|transition| {
        transition.reported(&report);
        pause = transition.change.pause;
    });
    assert_eq!(pause.unwrap().source, PauseSource::Report);
    assert_eq!(course.progress.state, State::Scheduled);
}
