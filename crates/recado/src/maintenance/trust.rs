//! Whether the clock is trusted with what nobody could bring back: a clock that was set forward makes
//! everything old at once.

use std::time::{Duration, Instant};

use delivery::time::Timestamp;

use crate::effects::Clock;

/// By how much the clock may differ from what it should show. The shortest time that anything is kept
/// is a day, and clocks that are kept right by small steps never come near.
const APART_MAX: Duration = Duration::from_secs(15 * 60);
/// For how long it must have been right after a step, so that somebody notices a wrong one.
const RIGHT_FOR: Duration = Duration::from_secs(24 * 3_600);
/// Two readings that are no further apart are taken for one.
const MOMENT: Duration = Duration::from_secs(60);
/// A server that starts longer than this after the last event cannot tell a stop from a step.
const AWAY_MAX: Duration = Duration::from_secs(24 * 3_600);

/// What `/api/v1/health` and the log say while the clock is doubted.
pub(super) const CONCERN: &str = "nothing old is removed and no question about consent is closed, \
     until the clock has been right for a day: it was set, or the server was off for longer than a \
     day. Check the clock of this machine";

/// What was known when the server started, before it did anything.
#[derive(Clone, Copy)]
pub struct Start {
    /// When it was, by the clock that people set and by the other.
    pub at: (Timestamp, Instant),
    /// The time of the newest event.
    pub newest_event_at: Option<Timestamp>,
    /// Whether an earlier server doubted the clock when it ended.
    pub doubted_before: bool,
}

impl Start {
    /// Now, with nothing known.
    pub fn new(clock: &dyn Clock) -> Self {
        Self {
            at: both(clock),
            newest_event_at: None,
            doubted_before: false,
        }
    }
}

/// Compares the clock that people set with the one that nobody sets.
pub(super) struct ClockTrust {
    /// Since when both have agreed.
    agree: (Timestamp, Instant),
    doubted: bool,
}

impl ClockTrust {
    /// Begins to compare. An event that is far from now, or a doubt that an earlier server had, is
    /// reason enough for another day.
    pub(super) fn new(start: &Start) -> Self {
        let newest = start.newest_event_at;
        let is_far = newest.is_some_and(|newest| apart(start.at.0, newest) > AWAY_MAX);
        Self {
            agree: start.at,
            doubted: start.doubted_before || is_far,
        }
    }

    /// Looks at both clocks; whether the one that people set is doubted now.
    pub(super) fn look(&mut self, clock: &dyn Clock) -> bool {
        let now = both(clock);
        let passed = now.1.saturating_duration_since(self.agree.1);
        if apart(now.0, self.agree.0.plus(passed)) >= APART_MAX {
            self.doubted = true;
            self.agree = now;
        } else if passed >= RIGHT_FOR {
            self.doubted = false;
            self.agree = now;
        }
        self.doubted
    }
}

/// Both clocks at one moment: a machine may sleep between two readings.
pub(super) fn both(clock: &dyn Clock) -> (Timestamp, Instant) {
    loop {
        let before = clock.monotonic();
        let now = clock.now();
        let after = clock.monotonic();
        if after.saturating_duration_since(before) < MOMENT {
            return (now, after);
        }
    }
}

fn apart(a: Timestamp, b: Timestamp) -> Duration {
    a.since(b).max(b.since(a))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::effects::BoxFuture;

    const HOUR: Duration = Duration::from_secs(3_600);
    const DAY: Duration = Duration::from_secs(24 * 3_600);

    /// A clock of both kinds that stands until it is moved.
    struct Hands(Mutex<(Timestamp, Instant)>);

    impl Hands {
        fn new() -> Self {
            let noon = Timestamp::from_seconds(1_800_000_000);
            Self(Mutex::new((noon, Instant::now())))
        }

        fn pass(&self, time: Duration) {
            let mut hands = self.0.lock().unwrap();
            *hands = (hands.0.plus(time), hands.1 + time);
        }

        fn set_forward(&self, by: Duration) {
            let mut hands = self.0.lock().unwrap();
            hands.0 = hands.0.plus(by);
        }

        fn set_back(&self, by: Duration) {
            let mut hands = self.0.lock().unwrap();
            hands.0 = hands.0.minus(by);
        }
    }

    impl Clock for Hands {
        fn now(&self) -> Timestamp {
            self.0.lock().unwrap().0
        }

        fn monotonic(&self) -> Instant {
            self.0.lock().unwrap().1
        }

        fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
            unreachable!("nobody sleeps")
        }
    }

    fn start(clock: &Hands, newest: Option<Timestamp>, doubted_before: bool) -> Start {
        Start {
            newest_event_at: newest,
            doubted_before,
            ..Start::new(clock)
        }
    }

    #[test]
    fn a_step_is_doubted_for_a_day_and_a_correction_is_none() {
        let clock = Hands::new();
        let mut trust = ClockTrust::new(&start(&clock, Some(clock.now()), false));
        assert!(!trust.look(&clock));
        // A clock that is kept right by a little each hour, for weeks.
        for _ in 0..24 * 30 {
            clock.pass(HOUR);
            clock.set_forward(Duration::from_secs(2));
            assert!(!trust.look(&clock));
        }
        for step in [Hands::set_forward, Hands::set_back] {
            step(&clock, 400 * DAY);
            assert!(trust.look(&clock));
            for _ in 0..23 {
                clock.pass(HOUR);
                assert!(trust.look(&clock));
            }
            // Set right again: that is a step too, and the day begins again.
            step(&clock, HOUR);
            clock.pass(HOUR);
            assert!(trust.look(&clock));
            clock.pass(DAY);
            assert!(!trust.look(&clock));
        }
    }

    #[test]
    fn many_small_steps_are_one_large_one() {
        let clock = Hands::new();
        let mut trust = ClockTrust::new(&start(&clock, None, false));
        for n in 0..60 {
            clock.pass(Duration::from_secs(1));
            clock.set_forward(Duration::from_secs(60));
            assert_eq!(trust.look(&clock), n >= 14, "{n}");
        }
    }

    #[test]
    fn a_start_after_days_recovers_by_itself_after_one() {
        let clock = Hands::new();
        let newest = Some(clock.now());
        clock.pass(HOUR);
        assert!(!ClockTrust::new(&start(&clock, newest, false)).look(&clock));
        assert!(ClockTrust::new(&start(&clock, newest, true)).look(&clock));
        clock.pass(3 * DAY);
        let mut trust = ClockTrust::new(&start(&clock, newest, false));
        assert!(trust.look(&clock));
        clock.pass(DAY);
        assert!(!trust.look(&clock));
        clock.set_back(10 * DAY);
        assert!(
            ClockTrust::new(&start(&clock, newest, false)).look(&clock),
            "from the future"
        );
        assert!(
            !ClockTrust::new(&start(&clock, None, false)).look(&clock),
            "nothing is stored"
        );
    }
}
