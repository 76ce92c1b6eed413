//! A clock that people set: when it is set back, the times at which messages and polls are due must
//! follow, or they would wait for as long as the step.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use delivery::time::Timestamp;

use crate::effects::Clock;
use crate::store::{ClockStep, ClockStepCursor, Maintenance};

/// Smaller steps delay nothing that anybody would notice, and clocks are often corrected by a little.
const STEP_MIN: Duration = Duration::from_millis(500);

/// Compares the clock that people set with the one that nobody sets.
pub(super) struct ClockSteps {
    seen: (Timestamp, Instant),
    /// Steps back that times still have to follow, the oldest first.
    pending: VecDeque<Pending>,
}

struct Pending {
    by: Duration,
    from: ClockStepCursor,
    moved: u64,
}

/// What the clock did since the last look.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// It was set back.
    Back(Duration),
    /// It was set forward.
    Forward(Duration),
}

impl ClockSteps {
    /// Begins to compare. An event from the future shows that the clock was set back while no server ran.
    pub(super) fn new(clock: &dyn Clock, newest_event_at: Option<Timestamp>) -> Self {
        let seen = (clock.now(), clock.monotonic());
        let mut steps = Self {
            seen,
            pending: VecDeque::new(),
        };
        let ahead = newest_event_at.map_or(Duration::ZERO, |newest| newest.since(seen.0));
        if ahead >= STEP_MIN {
            steps.set_back(ahead);
        }
        steps
    }

    /// Looks at both clocks, and moves some of what has to follow. Returns whether there is more to
    /// do at once.
    pub(super) async fn follow(&mut self, clock: &dyn Clock, store: &dyn Maintenance) -> bool {
        match self.step((clock.now(), clock.monotonic())) {
            Some(Step::Back(by)) => self.set_back(by),
            Some(Step::Forward(by)) => tracing::warn!(
                seconds = by.as_secs(),
                "the clock was set forward; what became due by that leaves now"
            ),
            None => {}
        }
        let Some(pending) = self.pending.front_mut() else {
            return false;
        };
        let step = ClockStep {
            now: self.seen.0,
            by: pending.by,
            from: pending.from,
        };
        match store.follow_clock(step).await {
            Ok(result) => {
                pending.moved += result.moved;
                if let Some(next) = result.next {
                    pending.from = next;
                } else {
                    tracing::info!(
                        moved = pending.moved,
                        "times of waiting messages and polls have followed the clock"
                    );
                    self.pending.pop_front();
                }
                !self.pending.is_empty()
            }
            Err(error) => {
                tracing::error!(%error, "times cannot follow the clock yet; it is retried automatically");
                false
            }
        }
    }

    fn set_back(&mut self, by: Duration) {
        tracing::warn!(
            seconds = by.as_secs(),
            "the clock was set back; times of waiting messages and polls follow it"
        );
        self.pending.push_back(Pending {
            by,
            from: ClockStepCursor::default(),
            moved: 0,
        });
    }

    fn step(&mut self, now: (Timestamp, Instant)) -> Option<Step> {
        let (wall, monotonic) = std::mem::replace(&mut self.seen, now);
        let expected = wall.plus(now.1.saturating_duration_since(monotonic));
        let (back, forward) = (expected.since(now.0), now.0.since(expected));
        if back >= STEP_MIN {
            Some(Step::Back(back))
        } else if forward >= STEP_MIN {
            Some(Step::Forward(forward))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn only_what_the_other_clock_does_not_show_is_a_step() {
        let start = Instant::now();
        let noon = Timestamp::from_seconds(1_800_000_000);
        let mut steps = ClockSteps {
            seen: (noon, start),
            pending: VecDeque::new(),
        };
        let hour = SECOND * 3_600;
        let mut wall = noon;
        for (n, change, expected) in [
            (1, 0_i32, None),
            (2, -3_600, Some(Step::Back(hour))),
            (3, 0, None),
            (4, 3_600, Some(Step::Forward(hour))),
            (5, 0, None),
        ] {
            wall = wall.plus(SECOND);
            wall = if change < 0 {
                wall.minus(hour)
            } else {
                wall.plus(SECOND * change.unsigned_abs())
            };
            assert_eq!(steps.step((wall, start + SECOND * n)), expected, "{n}");
        }
        let little = wall.plus(SECOND).minus(SECOND / 10);
        assert_eq!(steps.step((little, start + SECOND * 6)), None);
    }
}
