//! Tables of decisions, and the bounds that every wait keeps.

use proptest::prelude::*;

use super::*;
use crate::codes::{Codes, Met};

fn case() -> Case {
    Case {
        attempts: 1,
        accepted_at: Timestamp::from_seconds(1_000_000),
        expires_at: None,
        policy: Policy::AtMostOnce,
        resent_after_doubt: false,
        now: Timestamp::from_seconds(1_000_010),
        random: u64::MAX,
    }
}

fn coded(code: u32) -> Trouble {
    Trouble::Coded(Codes::builtin().rule(Some(code), Met::OnMessage))
}

#[test]
fn every_listed_code_leads_to_the_decision_of_its_class() {
    for (code, rule) in Codes::builtin().listed() {
        let decision = decide(&case(), &Trouble::Coded(rule.clone()), &Patience::default());
        let fits = match rule.action {
            Action::RetryBackoff | Action::RetryLater => match decision {
                Decision::Retry { .. } => true,
                Decision::GiveUp(GiveUp::AttemptsMax) => rule.attempts_max == Some(1),
                _ => false,
            },
            Action::ReconcileThenRetry => decision == Decision::GiveUp(GiveUp::Policy),
            Action::OptOut => decision == Decision::Suppress,
            Action::ConfigAlert => match rule.scope {
                Scope::Sender | Scope::Account => {
                    decision == Decision::RetryWhenResumed { scope: rule.scope }
                }
                _ => decision == Decision::GiveUp(GiveUp::Permanent),
            },
            _ => decision == Decision::GiveUp(GiveUp::Permanent),
        };
        assert!(fits, "{code}: {decision:?}");
    }
}

#[test]
fn doubt_follows_the_policy_and_resends_once() {
    let patience = Patience::default();
    let at_least = Case {
        policy: Policy::AtLeastOnce,
        ..case()
    };
    assert_eq!(
        decide(&at_least, &Trouble::Unsettled, &patience),
        Decision::Retry {
            at: case().now,
            possible_duplicate: true
        }
    );
    let again = Case {
        resent_after_doubt: true,
        ..at_least
    };
    assert_eq!(
        decide(&again, &Trouble::Unsettled, &patience),
        Decision::GiveUp(GiveUp::Policy)
    );
    let ask = Case {
        policy: Policy::Ask,
        ..case()
    };
    assert_eq!(decide(&ask, &coded(30_008), &patience), Decision::Hold);
}

#[test]
fn retry_after_is_honoured_within_what_is_believed() {
    let patience = Patience::default();
    let at = |retry_after| match decide(&case(), &Trouble::NotSent { retry_after }, &patience) {
        Decision::Retry { at, .. } => at.since(case().now).as_secs(),
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
    let patience = Patience::default();
    let trouble = Trouble::NotSent { retry_after: None };
    let used_up = Case {
        attempts: patience.attempts_max,
        ..case()
    };
    assert_eq!(
        decide(&used_up, &trouble, &patience),
        Decision::GiveUp(GiveUp::AttemptsMax)
    );
    let old = Case {
        now: case().accepted_at.plus(Duration::from_secs(90_000)),
        ..case()
    };
    assert_eq!(
        decide(&old, &trouble, &patience),
        Decision::GiveUp(GiveUp::AgeMax)
    );
    let late = Case {
        expires_at: Some(case().now),
        ..case()
    };
    assert_eq!(
        decide(&late, &trouble, &patience),
        Decision::GiveUp(GiveUp::Expires)
    );
    let once_more = Case {
        attempts: 2,
        ..case()
    };
    assert_eq!(
        decide(&once_more, &coded(63_023), &patience),
        Decision::GiveUp(GiveUp::AttemptsMax)
    );
}

proptest! {
    /// A wait never exceeds its step, and the steps double up to the cap.
    #[test]
    fn waits_stay_below_their_step(attempts in 1u32..8, random in any::<u64>()) {
        let patience = Patience::default();
        let case = Case { attempts, random, ..case() };
        let full = patience.backoff_first.saturating_mul(1 << (attempts - 1)).min(patience.backoff_cap);
        if let Decision::Retry { at, .. } = decide(&case, &Trouble::NotSent { retry_after: None }, &patience) {
            prop_assert!(at.since(case.now) <= full);
        } else {
            prop_assert!(attempts >= patience.attempts_max);
        }
    }
}
