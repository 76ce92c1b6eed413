//! What a look at an unknown attempt finds, and when it is believed that there is nothing.

use delivery::absence::Doubt;
use delivery::outcome::SettledBy;

use super::*;
use crate::reconcile::unknown::look_for;

/// What one look finds at a minute.
async fn look(world: &Surroundings, process: &Context, watch: &DueWatch, minute: u32) -> Finding {
    settle(world, process, watch, minute).await.finding
}

async fn settle(
    world: &Surroundings,
    process: &Context,
    watch: &DueWatch,
    minute: u32,
) -> Settlement {
    world.until(MINUTE * minute).await;
    let due = DueWatch {
        sid: None,
        ..copy(watch)
    };
    let mut settled = look_for(process, &[due]).await;
    assert_eq!(settled.len(), 1);
    settled.remove(0)
}

fn copy(watch: &DueWatch) -> DueWatch {
    DueWatch { ..*watch }
}

/// The list was never late: so says the day before.
fn punctual(world: &Surroundings) {
    world.known().noted.push(ListLag {
        at: NOON,
        lag: Some(2 * SECOND),
        clock: ClockDifference::NONE,
    });
}

/// Somebody else gets a message, which the list shows at once.
async fn younger(world: &Surroundings) {
    tokio::time::sleep(MINUTE).await;
    world.create(900, "+5585977776666", "b", Duration::ZERO);
}

/// Everything that a proof needs.
async fn proof(world: &Surroundings, process: &Context, watch: &DueWatch) -> Finding {
    look(world, process, watch, 0).await;
    younger(world).await;
    look(world, process, watch, 10).await;
    look(world, process, watch, 15).await
}

/// The looks of an hour and a half, and what came of the last.
async fn last_of_many(world: &Surroundings, process: &Context, watch: &DueWatch) -> Finding {
    for minute in [0, 10, 15, 20, 30, 45, 60, 75] {
        look(world, process, watch, minute).await;
    }
    let polls = 20;
    let watch = DueWatch {
        polls,
        ..copy(watch)
    };
    look(world, process, &watch, 90).await
}

#[tokio::test(start_paused = true)]
async fn two_readings_and_something_younger_prove_that_there_is_nothing() {
    let world = Surroundings::new();
    punctual(&world);
    let watch = world.lose(1, "a");
    let process = world.process();
    assert_eq!(look(&world, &process, &watch, 0).await, Finding::Nothing);
    younger(&world).await;
    assert_eq!(look(&world, &process, &watch, 10).await, Finding::Nothing);
    let found = look(&world, &process, &watch, 15).await;
    assert!(matches!(found, Finding::Absent(_)), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn without_anything_younger_it_takes_an_hour() {
    let world = Surroundings::new();
    punctual(&world);
    let watch = world.lose(1, "a");
    let process = world.process();
    for minute in [0, 10, 15, 20, 45] {
        let found = look(&world, &process, &watch, minute).await;
        assert_eq!(found, Finding::Nothing, "{minute}");
    }
    let found = look(&world, &process, &watch, 60).await;
    assert!(matches!(found, Finding::Absent(_)), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn both_forms_of_the_number_are_looked_for() {
    let world = Surroundings::new();
    punctual(&world);
    let watch = world.lose(1, "a");
    let sid = world.create(1, OTHER_FORM, "a", Duration::ZERO);
    let process = world.process();
    let found = look(&world, &process, &watch, 0).await;
    assert!(matches!(found, Finding::Found { sid: shown, .. } if shown == sid));
}

#[tokio::test(start_paused = true)]
async fn whatever_could_be_it_is_in_doubt() {
    let world = Surroundings::new();
    punctual(&world);
    let watch = world.lose(1, "a");
    // It says something else; only what is proven to be another's is not it.
    let sid = world.create(1, OTHER_FORM, "b", Duration::ZERO);
    let process = world.process();
    let found = last_of_many(&world, &process, &watch).await;
    assert_eq!(found, Finding::HorizonPassed(Some(Doubt::Candidate)));
    world.known().holders.push(Holder {
        sid,
        attempt: AttemptRow(2),
        settled_by: SettledBy::Answer,
        content_index: [2; 16],
    });
    look(&world, &process, &watch, 100).await;
    younger(&world).await;
    let found = look(&world, &process, &watch, 105).await;
    assert!(matches!(found, Finding::Absent(_)), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_was_late_is_not_believed() {
    let world = Surroundings::new();
    punctual(&world);
    let watch = world.lose(1, "a");
    let process = world.process();
    world.known().noted.push(ListLag {
        at: NOON,
        lag: Some(6 * MINUTE),
        clock: ClockDifference::NONE,
    });
    let found = last_of_many(&world, &process, &watch).await;
    assert_eq!(found, Finding::HorizonPassed(Some(Doubt::Lag)));
    // A day later it was punctual for a day.
    let later = 24 * 60 + 61;
    let found = look(&world, &process, &watch, later).await;
    assert!(matches!(found, Finding::Absent(_)), "{found:?}");
}

/// Our clock was an hour ahead, and the provider's answers told so.
#[tokio::test(start_paused = true)]
async fn what_was_created_while_our_clock_was_wrong_is_seen() {
    let world = Surroundings::new();
    punctual(&world);
    world.known().ahead = HOUR;
    let watch = world.lose(1, "a");
    world.create(1, NUMBER, "b", Duration::ZERO);
    let hour = i64::try_from(HOUR.as_micros()).unwrap();
    {
        let mut known = world.known();
        known.ahead = Duration::ZERO;
        known.clock = ClockDifference::between(-hour, 0);
    }
    let found = last_of_many(&world, &world.process(), &watch).await;
    assert_eq!(found, Finding::HorizonPassed(Some(Doubt::Candidate)));
    // A process that starts later knows it from the store.
    {
        let mut known = world.known();
        let clock = std::mem::take(&mut known.clock);
        let at = NOON.plus(90 * MINUTE);
        known.noted.push(ListLag {
            at,
            lag: None,
            clock,
        });
    }
    let process = world.process();
    for minute in [100, 110, 115] {
        look(&world, &process, &watch, minute).await;
    }
    let found = look(&world, &process, &watch, 180).await;
    assert_eq!(found, Finding::Nothing);
}

/// The same, and nobody has noted it: what is to have begun in the future is in doubt.
#[tokio::test(start_paused = true)]
async fn what_began_in_the_future_is_not_judged() {
    let world = Surroundings::new();
    punctual(&world);
    world.known().ahead = 3 * HOUR;
    let watch = world.lose(1, "a");
    world.create(1, NUMBER, "a", Duration::ZERO);
    world.known().ahead = Duration::ZERO;
    let found = last_of_many(&world, &world.process(), &watch).await;
    assert_eq!(found, Finding::HorizonPassed(Some(Doubt::Clock)));
}

#[tokio::test(start_paused = true)]
async fn readings_begin_again_after_a_restart() {
    let world = Surroundings::new();
    punctual(&world);
    let watch = world.lose(1, "a");
    let process = world.process();
    look(&world, &process, &watch, 0).await;
    younger(&world).await;
    look(&world, &process, &watch, 10).await;
    let process = world.process();
    for minute in [15, 20, 25] {
        let found = look(&world, &process, &watch, minute).await;
        assert_eq!(found, Finding::Nothing, "{minute}");
    }
    let found = look(&world, &process, &watch, 30).await;
    assert!(matches!(found, Finding::Absent(_)), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reading_that_failed_proves_nothing() {
    let world = Surroundings::new();
    punctual(&world);
    let watch = world.lose(1, "a");
    let process = world.process();
    look(&world, &process, &watch, 0).await;
    younger(&world).await;
    world.known().failure = Some(ProviderError::RateLimited);
    let failed = settle(&world, &process, &watch, 10).await;
    assert_eq!(failed.finding, Finding::Nothing);
    assert_eq!(failed.next.unwrap().polls, watch.polls, "it does not count");
    world.known().failure = None;
    for minute in [12, 15, 16] {
        let found = look(&world, &process, &watch, minute).await;
        assert_eq!(found, Finding::Nothing, "{minute}");
    }
    let found = look(&world, &process, &watch, 17).await;
    assert!(matches!(found, Finding::Absent(_)), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_judged_while_a_request_is_open() {
    let world = Surroundings::new();
    punctual(&world);
    let watch = world.lose(1, "a");
    let process = world.process();
    look(&world, &process, &watch, 0).await;
    younger(&world).await;
    look(&world, &process, &watch, 10).await;
    world.lose(2, "a");
    world.known().unknown[1].is_open = true;
    let found = look(&world, &process, &watch, 15).await;
    assert_eq!(found, Finding::Nothing);
}

/// A list that cannot be read for hours: whatever the policy, people are told after an hour.
#[tokio::test(start_paused = true)]
async fn of_a_list_that_always_fails_everybody_is_told() {
    for policy in [
        Policy::Once,
        Policy::AtMostOnce,
        Policy::AtLeastOnce,
        Policy::Ask,
    ] {
        let world = Surroundings::new();
        let watch = DueWatch {
            policy,
            ..world.lose(1, "a")
        };
        let refused = ProviderError::Unauthorized {
            http_status: 403,
            code: None,
        };
        world.known().failure = Some(refused);
        let process = world.process();
        for minute in [1, 15, 59] {
            let failed = settle(&world, &process, &watch, minute).await;
            assert_eq!(failed.finding, Finding::Nothing, "{policy:?} {minute}");
            assert!(failed.next.is_some());
        }
        let failed = settle(&world, &process, &watch, 60).await;
        let doubt = Some(Doubt::Unreachable);
        assert_eq!(failed.finding, Finding::HorizonPassed(doubt), "{policy:?}");
        // Evidence that comes when it can be read again still counts.
        assert!(failed.next.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn of_what_cannot_be_read_everybody_is_told() {
    for policy in [
        Policy::Once,
        Policy::AtMostOnce,
        Policy::AtLeastOnce,
        Policy::Ask,
    ] {
        let world = Surroundings::new();
        let watch = DueWatch {
            policy,
            ..world.lose(1, "a")
        };
        {
            let mut known = world.known();
            known.unknown[0].is_unreadable = true;
            known.unknown[0].evidence = None;
        }
        let process = world.process();
        let early = settle(&world, &process, &watch, 0).await;
        assert_eq!(early.finding, Finding::Nothing, "{policy:?}");
        let next = early.next.unwrap();
        assert_eq!(next.at, NOON.plus(60 * MINUTE));
        let late = settle(&world, &process, &watch, 60).await;
        let doubt = Some(Doubt::Unreadable);
        assert_eq!(late.finding, Finding::HorizonPassed(doubt), "{policy:?}");
        assert!(late.next.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_beside_something_unreadable_is_not_found_in_its_message() {
    let world = Surroundings::new();
    punctual(&world);
    let watch = world.lose(1, "a");
    world.lose(2, "a");
    world.create(1, NUMBER, "a", Duration::ZERO);
    world.known().unknown[1].is_unreadable = true;
    let found = last_of_many(&world, &world.process(), &watch).await;
    assert_eq!(found, Finding::HorizonPassed(Some(Doubt::Candidate)));
}

#[tokio::test(start_paused = true)]
async fn what_goes_to_a_user_id_is_not_proven_absent() {
    let world = Surroundings::new();
    punctual(&world);
    let watch = world.lose(1, "a");
    world.known().unknown[0].evidence = Some(evidence(USER_ID, None, "a"));
    let found = proof(&world, &world.process(), &watch).await;
    assert_eq!(found, Finding::Nothing);
}
