//! Tables of decisions, and the bounds that every wait keeps.

use proptest::prelude::*;

use super::*;
use crate::codes::{Codes, ErrorSource};

fn input() -> RetryInput {
    RetryInput {
        attempts: 1,
        attempts_in_all: 1,
        tried_for: Duration::ZERO,
        expires_at: None,
        policy: Policy::AtMostOnce,
        resent_after_doubt: false,
        standing: Standing::default(),
        now: Timestamp::from_seconds(1_000_010),
        random: u64::MAX,
    }
}

fn coded(code: u32) -> AttemptFailure {
    AttemptFailure::Coded(Codes::builtin().rule(Some(code), ErrorSource::Status))
}

#[test]
fn every_listed_code_leads_to_the_decision_of_its_class() {
    for (code, rule) in Codes::builtin().listed() {
        let decision = decide(
            &input(),
            &AttemptFailure::Coded(rule.clone()),
            &RetryPolicy::default(),
        );
        let fits = match rule.action {
            _ if hold::scope_of(rule, true) == Some(HoldScope::Template) => {
                decision == Decision::GiveUp(GiveUp::Permanent)
            }
            _ if hold::scope_of(rule, true).is_some() => {
                matches!(decision, Decision::RetryAfterHold(holding) if holding.wait.is_some())
            }
            Action::RetryBackoff | Action::RetryLater => match decision {
                Decision::Retry { .. } => true,
                Decision::GiveUp(GiveUp::AttemptsMax) => rule.attempts_max == Some(1),
                _ => false,
            },
            Action::ReconcileThenRetry => decision == Decision::GiveUp(GiveUp::Policy),
            Action::OptOut => decision == Decision::Suppress,
            Action::ConfigAlert => match rule.scope {
                Scope::Sender | Scope::Account => match rule.evidence {
                    Evidence::One => decision == Decision::RetryWhenResumed { scope: rule.scope },
                    Evidence::TwoPeople => matches!(decision, Decision::RetryAsEvidence { .. }),
                    Evidence::Message => decision == Decision::GiveUp(GiveUp::Permanent),
                },
                _ => decision == Decision::GiveUp(GiveUp::Permanent),
            },
            _ => decision == Decision::GiveUp(GiveUp::Permanent),
        };
        assert!(fits, "{code}: {decision:?}");
    }
}

#[test]
fn doubt_follows_the_policy_and_resends_once() {
    let policy = RetryPolicy::default();
    let at_least = RetryInput {
        policy: Policy::AtLeastOnce,
        ..input()
    };
    assert_eq!(
        decide(&at_least, &AttemptFailure::Unsettled, &policy),
        Decision::Retry {
            at: input().now,
            possible_duplicate: true
        }
    );
    let again = RetryInput {
        resent_after_doubt: true,
        ..at_least
    };
    assert_eq!(
        decide(&again, &AttemptFailure::Unsettled, &policy),
        Decision::GiveUp(GiveUp::Policy)
    );
    let ask = RetryInput {
        policy: Policy::Ask,
        ..input()
    };
    assert_eq!(decide(&ask, &coded(30_008), &policy), Decision::Hold);
}

#[test]
fn retry_after_is_honoured_within_what_is_believed() {
    let policy = RetryPolicy::default();
    let at = |retry_after| match decide(
        &input(),
        &AttemptFailure::RateLimited { retry_after },
        &policy,
    ) {
        Decision::Retry { at, .. } => at.since(input().now).as_secs(),
        other => panic!("{other:?}"),
    };
    assert!(at(None) <= 1);
    assert!((30..=31).contains(&at(Some(RetryAfter::Delay(Duration::from_secs(30))))));
    assert!(
        (50..=51).contains(&at(Some(RetryAfter::Until(Timestamp::from_seconds(
            1_000_060
        )))))
    );
    assert!(at(Some(RetryAfter::Until(Timestamp::from_seconds(5)))) <= 1);
    assert!(at(Some(RetryAfter::Delay(Duration::from_secs(1_000_000_000)))) <= 3_601);
}

#[test]
fn attempts_age_and_deadline_end_it() {
    let policy = RetryPolicy::default();
    let failure = AttemptFailure::RateLimited { retry_after: None };
    let used_up = RetryInput {
        attempts: RATE_LIMITED_ATTEMPTS_MAX,
        ..input()
    };
    assert_eq!(
        decide(&used_up, &failure, &policy),
        Decision::GiveUp(GiveUp::AttemptsMax)
    );
    let old = RetryInput {
        tried_for: Duration::from_secs(86_400),
        ..input()
    };
    assert_eq!(
        decide(&old, &failure, &policy),
        Decision::GiveUp(GiveUp::AgeMax)
    );
    let late = RetryInput {
        expires_at: Some(input().now),
        ..input()
    };
    assert_eq!(
        decide(&late, &failure, &policy),
        Decision::GiveUp(GiveUp::Expires)
    );
    let late_in_outage = RetryInput {
        attempts_in_all: 5_000,
        tried_for: Duration::from_secs(86_400),
        ..late
    };
    assert_eq!(
        decide(&late_in_outage, &AttemptFailure::NotReached, &policy),
        Decision::GiveUp(GiveUp::Expires)
    );
    let once_more = RetryInput {
        attempts: 2,
        ..input()
    };
    assert_eq!(
        decide(&once_more, &coded(63_023), &policy),
        Decision::GiveUp(GiveUp::AttemptsMax)
    );
}

#[test]
fn a_deadline_shortens_the_waits_of_an_outage_and_ends_nothing_before_it_comes() {
    let policy = RetryPolicy::default();
    for failure in [AttemptFailure::NotReached, AttemptFailure::Absent] {
        for (left, expected) in [
            (3_600_000, Some(300_000)),
            (300_000, Some(150_000)),
            (10_000, Some(5_000)),
            (1_000, Some(500)),
            (999, None),
        ] {
            let input = RetryInput {
                attempts_in_all: 40,
                policy: Policy::Once,
                expires_at: Some(input().now.plus(Duration::from_millis(left))),
                ..input()
            };
            let wait = match decide(&input, &failure, &policy) {
                // The draw is the largest, less than a microsecond below the step.
                Decision::Retry { at, .. } => {
                    Some((at.since(input.now) + Duration::from_micros(1)).as_millis())
                }
                Decision::GiveUp(GiveUp::Expires) => None,
                other => panic!("{other:?}"),
            };
            assert_eq!(wait, expected, "{failure:?} with {left} ms left");
        }
    }
}

/// What one message may do to others, by what is known about its code.
#[test]
fn others_are_stopped_only_by_evidence_and_by_each_message_once() {
    let known = |met_before, stopped_others_before, others_met_it| Standing {
        met_before,
        stopped_others_before,
        others_met_it,
        has_template: true,
        ..Standing::default()
    };
    let wait = Decision::RetryAsEvidence {
        at: input().now.plus(EVIDENCE_WAIT),
    };
    let pause = |scope| Decision::RetryWhenResumed { scope };
    let fail = Decision::GiveUp(GiveUp::Permanent);
    for (code, standing, expected) in [
        (21_608, known(false, false, false), fail.clone()),
        (21_608, known(false, false, true), fail.clone()),
        (21_612, known(false, false, true), fail.clone()),
        (21_606, known(false, false, false), wait),
        (21_606, known(false, false, true), pause(Scope::Sender)),
        (21_606, known(true, false, true), pause(Scope::Sender)),
        (21_606, known(true, false, false), fail.clone()),
        (21_606, known(true, true, true), fail.clone()),
        (63_007, known(false, false, false), pause(Scope::Sender)),
        (20_003, known(true, false, true), pause(Scope::Account)),
        (20_003, known(true, true, true), fail.clone()),
        (63_042, known(true, true, false), fail),
    ] {
        let input = RetryInput {
            standing,
            ..input()
        };
        let decision = decide(&input, &coded(code), &RetryPolicy::default());
        assert_eq!(decision, expected, "{code} {standing:?}");
    }
}

/// A limit that holds what it names ends nobody's message, however often it is met, unless its code
/// brings a number of attempts with it.
#[test]
fn a_limit_that_holds_uses_up_no_attempts() {
    let often = RetryInput {
        attempts: 300,
        tried_for: Duration::from_secs(7 * 86_400),
        standing: Standing {
            has_template: true,
            ..Standing::default()
        },
        ..input()
    };
    let decide = |code| decide(&often, &coded(code), &RetryPolicy::default());
    for code in [63_018, 63_038, 30_001, 21_611, 63_041, 30_450, 30_003] {
        assert!(
            matches!(decide(code), Decision::RetryAfterHold(_)),
            "{code}"
        );
    }
    for code in [63_049, 63_029] {
        assert_eq!(
            decide(code),
            Decision::GiveUp(GiveUp::AttemptsMax),
            "{code}"
        );
    }
}

proptest! {
    /// A wait never exceeds its step, and the steps double up to the cap.
    #[test]
    fn waits_stay_below_their_step(attempts in 1u32..500, random in any::<u64>()) {
        let policy = RetryPolicy::default();
        let input = RetryInput { attempts, random, ..input() };
        let full = policy.backoff_first.saturating_mul(1 << (attempts - 1).min(31)).min(policy.backoff_cap);
        if let Decision::Retry { at, .. } = decide(&input, &AttemptFailure::RateLimited { retry_after: None }, &policy) {
            prop_assert!(at.since(input.now) <= full);
        } else {
            prop_assert!(attempts >= RATE_LIMITED_ATTEMPTS_MAX);
        }
    }
}
