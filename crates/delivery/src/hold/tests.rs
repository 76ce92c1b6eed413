//! One hold after another, and what reports from before them change.

use proptest::prelude::*;

use super::*;
use crate::codes::{Codes, ErrorSource};

const NOW: Timestamp = Timestamp::from_seconds(1_000_000);
const CAP: Duration = Duration::from_secs(6 * 3_600);

fn sender(wait: u64) -> Holding {
    Holding {
        scope: HoldScope::Sender,
        kind: None,
        wait: Some(Duration::from_secs(wait)),
        spares: true,
        in_a_row_max: None,
        is_evidence: false,
    }
}

fn at(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

fn after(hold: NewHold, started_at: Timestamp) -> Standing {
    Standing {
        started_at,
        hold: Some(EarlierHold {
            since: hold.since,
            until: hold.until,
            lifted_at: None,
            step: hold.step,
        }),
        ..Standing::default()
    }
}

#[test]
fn holds_in_a_row_double_up_to_the_cap() {
    let mut now = NOW;
    let mut standing = Standing::default();
    let mut waits = Vec::new();
    for _ in 0..12 {
        let begins = hold(sender(60), &standing, now, CAP, 1).begins.unwrap();
        waits.push(begins.until.since(begins.since).as_secs());
        // The first one that leaves after it fails a second later.
        now = begins.until.plus(Duration::from_secs(1));
        standing = after(begins, begins.until);
    }
    assert_eq!(
        waits,
        [
            60, 120, 240, 480, 960, 1_920, 3_840, 7_680, 15_360, 21_600, 21_600, 21_600
        ]
    );
}

#[test]
fn what_left_before_a_hold_does_not_prolong_it() {
    let first = hold(sender(60), &Standing::default(), NOW, CAP, 1)
        .begins
        .unwrap();
    let during = hold(sender(60), &after(first, NOW), at(30), CAP, 1);
    assert_eq!((during.until, during.begins), (first.until, None));
    let too_late = hold(sender(60), &after(first, NOW), at(61), CAP, 1);
    assert_eq!((too_late.until, too_late.begins), (at(61), None));
    let new = hold(sender(60), &after(first, at(60)), at(61), CAP, 1);
    assert_eq!(new.begins.unwrap().step, 1);
}

#[test]
fn a_hold_long_after_another_or_after_a_lifted_one_is_a_first_one() {
    let first = hold(sender(60), &Standing::default(), NOW, CAP, 1)
        .begins
        .unwrap();
    let next_day = hold(sender(60), &after(first, at(86_400)), at(86_401), CAP, 1);
    assert_eq!(next_day.begins.unwrap().step, 0);
    let mut lifted = after(first, at(20));
    lifted.hold = lifted.hold.map(|earlier| EarlierHold {
        lifted_at: Some(at(10)),
        ..earlier
    });
    let again = hold(sender(60), &lifted, at(21), CAP, 1).begins.unwrap();
    assert_eq!((again.step, again.until), (0, at(81)));
    lifted.started_at = NOW;
    let from_before = hold(sender(60), &lifted, at(21), CAP, 1);
    assert_eq!((from_before.until, from_before.begins), (at(21), None));
}

/// The time of a fact is when it was received; it may be worked in after a lift that came later.
#[test]
fn a_lifted_hold_is_over_for_facts_from_before_the_lift() {
    let disabled = Holding {
        wait: None,
        ..sender(60)
    };
    let first = hold(disabled, &Standing::default(), NOW, CAP, 1)
        .begins
        .unwrap();
    let mut lifted = after(first, NOW);
    lifted.hold = lifted.hold.map(|earlier| EarlierHold {
        lifted_at: Some(at(10)),
        ..earlier
    });
    for holding in [disabled, sender(60)] {
        let held = hold(holding, &lifted, at(9), CAP, 1);
        assert_eq!((held.until, held.begins), (at(9), None));
    }
}

#[test]
fn a_hold_that_must_be_lifted_takes_the_place_of_one_that_ends_by_itself() {
    let paused = Holding {
        scope: HoldScope::Template,
        ..sender(10_800)
    };
    let disabled = Holding {
        wait: None,
        ..paused
    };
    let first = hold(paused, &Standing::default(), NOW, CAP, 1)
        .begins
        .unwrap();
    let second = hold(disabled, &after(first, NOW), at(5), CAP, 1)
        .begins
        .unwrap();
    assert!(ends_when_lifted(second.until));
    let third = hold(paused, &after(second, NOW), at(6), CAP, 1);
    assert_eq!((third.until, third.begins), (second.until, None));
    let other = hold(disabled, &Standing::default(), at(6), CAP, 1);
    assert_ne!(other.until, second.until, "each is found by its end");
}

#[test]
fn the_rule_of_a_code_names_what_is_held() {
    let codes = Codes::builtin();
    for (code, expected) in [
        (63_018, Some(HoldScope::Sender)),
        (21_611, Some(HoldScope::Sender)),
        (63_038, Some(HoldScope::Account)),
        (63_049, Some(HoldScope::Recipient)),
        (63_041, Some(HoldScope::Template)),
        (63_042, Some(HoldScope::Template)),
        (21_655, None),
        (63_029, None),
        (63_007, None),
        (63_024, None),
    ] {
        let rule = codes.rule(Some(code), ErrorSource::Status);
        assert_eq!(scope_of(&rule, true), expected, "{code}");
    }
    let speed = codes.rule(Some(63_018), ErrorSource::Status);
    assert_eq!(scope_of(&speed, false), Some(HoldScope::Recipient));
    let full = codes.rule(Some(21_611), ErrorSource::Status);
    assert_eq!(scope_of(&full, false), Some(HoldScope::Sender));
}

proptest! {
    /// A message never waits longer than the hold that is in effect or the one that it makes, and a
    /// wait of its own rule longer than the cap is kept.
    #[test]
    fn a_wait_is_one_of_the_ladder(
        wait in 1u64..200_000,
        earlier in prop::option::of((0u64..100_000, 1u64..100_000, 0u32..40)),
        started in 0u64..300_000,
        passed in 0u64..300_000,
        scale in 1u32..1_000,
    ) {
        let now = at(passed);
        let standing = Standing {
            started_at: at(started.min(passed)),
            hold: earlier.map(|(since, length, step)| EarlierHold {
                since: at(since),
                until: at(since + length),
                lifted_at: None,
                step,
            }),
            ..Standing::default()
        };
        let held = hold(sender(wait), &standing, now, CAP, scale);
        let longest = Duration::from_secs(wait).max(CAP) / scale;
        match held.begins {
            Some(begins) => {
                prop_assert_eq!(begins.until, held.until);
                prop_assert!(held.until > now);
                prop_assert!(held.until.since(now) <= longest);
            }
            None => {
                let known = standing.hold.unwrap();
                prop_assert!(held.until == now || held.until == known.until);
            }
        }
    }
}
