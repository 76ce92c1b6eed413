//! How the list's lag is measured.

use super::*;
use crate::reconcile::lag_probe::measure;

const TO: &str = "+5585977776666";

/// A process that measures until the test ends.
fn measuring(world: &Arc<Surroundings>) -> (Arc<Context>, tokio_util::sync::DropGuard) {
    let context = Arc::new(world.process());
    let shutdown = CancellationToken::new();
    tokio::spawn(measure(Arc::clone(&context), shutdown.clone()));
    (context, shutdown.drop_guard())
}

async fn lag(world: &Surroundings, context: &Context) -> Option<Duration> {
    context.lag.known(world, world).await.unwrap().0
}

fn fail(world: &Surroundings, fails: bool) {
    world.known().failure = fails.then_some(ProviderError::RateLimited);
}

#[tokio::test(start_paused = true)]
async fn what_the_list_shows_soon_is_no_lag_to_speak_of() {
    let world = Surroundings::new();
    let (context, _guard) = measuring(&world);
    world.until(50 * SECOND).await;
    world.answered(1, TO, 12 * SECOND);
    world.until(3 * MINUTE).await;
    let lag = lag(&world, &context).await.unwrap();
    assert!((12 * SECOND..30 * SECOND).contains(&lag), "{lag:?}");
}

/// One question that fails makes a late list no better, nor does a restart.
#[tokio::test(start_paused = true)]
async fn a_late_list_stays_late_whatever_fails_meanwhile() {
    let world = Surroundings::new();
    let (context, guard) = measuring(&world);
    world.until(50 * SECOND).await;
    world.answered(1, TO, 20 * MINUTE);
    world.until(14 * MINUTE).await;
    assert!(lag(&world, &context).await > Some(13 * MINUTE));
    fail(&world, true);
    world.until(16 * MINUTE).await;
    assert!(lag(&world, &context).await > Some(13 * MINUTE));
    drop(guard);
    let (context, _guard) = measuring(&world);
    assert!(lag(&world, &context).await > Some(5 * MINUTE));
    fail(&world, false);
    world.until(60 * MINUTE).await;
    assert!(lag(&world, &context).await > Some(12 * MINUTE));
}

/// It was not late for long when the process ended, and nothing is sent afterwards.
#[tokio::test(start_paused = true)]
async fn what_the_last_process_waited_for_is_waited_for() {
    let world = Surroundings::new();
    let (_, guard) = measuring(&world);
    world.until(50 * SECOND).await;
    world.answered(1, TO, 20 * MINUTE);
    world.until(4 * MINUTE).await;
    drop(guard);
    let (context, _guard) = measuring(&world);
    world.until(12 * MINUTE).await;
    assert!(lag(&world, &context).await > Some(5 * MINUTE));
}

/// What was answered long ago and is shown at the first look says nothing about the lag.
#[tokio::test(start_paused = true)]
async fn what_is_listed_when_the_process_begins_is_not_late() {
    let world = Surroundings::new();
    world.answered(1, TO, SECOND);
    world.until(30 * MINUTE).await;
    let (context, _guard) = measuring(&world);
    world.until(40 * MINUTE).await;
    assert_eq!(lag(&world, &context).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_cannot_be_read_is_not_late() {
    let world = Surroundings::new();
    let (context, _guard) = measuring(&world);
    world.until(59 * SECOND).await;
    world.answered(1, TO, 3 * SECOND);
    world.until(62 * SECOND).await;
    fail(&world, true);
    world.until(30 * MINUTE).await;
    fail(&world, false);
    world.until(35 * MINUTE).await;
    assert!(lag(&world, &context).await < Some(10 * SECOND));
    let noted = world
        .known()
        .noted
        .iter()
        .filter_map(|noted| noted.lag)
        .max();
    assert!(noted < Some(10 * SECOND), "{noted:?}");
}

/// It is listed under the form of the number that was not used.
#[tokio::test(start_paused = true)]
async fn both_forms_of_a_number_are_looked_for() {
    let world = Surroundings::new();
    let (context, _guard) = measuring(&world);
    world.until(50 * SECOND).await;
    world.answered(1, OTHER_FORM, SECOND);
    let other_form = evidence(NUMBER, Some(OTHER_FORM), "a");
    world.known().answered.as_mut().unwrap().evidence = other_form;
    world.until(20 * MINUTE).await;
    let lag = lag(&world, &context).await.unwrap();
    assert!(lag < 15 * SECOND, "{lag:?}");
}

/// Our clock is set: that is written down soon, even while a message is waited for.
#[tokio::test(start_paused = true)]
async fn a_step_of_the_clock_is_noted_soon() {
    let world = Surroundings::new();
    let (_, _guard) = measuring(&world);
    world.until(50 * SECOND).await;
    world.answered(1, TO, HOUR);
    world.until(10 * MINUTE).await;
    let hour = i64::try_from(HOUR.as_micros()).unwrap();
    let stepped = ClockDifference::between(-hour, 0);
    world.known().clock = stepped;
    world.until(10 * MINUTE + 3 * SECOND).await;
    let all = world.list_lag(NOON).await.unwrap();
    assert_eq!(all.clock, stepped);
}
