//! Whether the clock is trusted with what nobody could bring back: a clock that was set forward makes
//! everything old at once.

use std::time::{Duration, Instant};

use delivery::time::Timestamp;

use crate::effects::Clock;
use crate::store::ClockNote;

/// By how much the clock may differ from what it should show. The shortest time that anything is kept
/// is a day, and clocks that are kept right by small steps never come near.
const APART_MAX: Duration = Duration::from_secs(15 * 60);
/// For how long it must have been right after a step, so that somebody notices a wrong one.
const RIGHT_FOR: Duration = Duration::from_secs(24 * 3_600);
/// Two readings that are no further apart are taken for one.
const MOMENT: Duration = Duration::from_secs(60);
/// A server that starts longer than this after the last one ran cannot tell a stop from a step.
const AWAY_MAX: Duration = Duration::from_secs(24 * 3_600);
/// How often the time is noted, so that the next start knows until when a server ran.
const NOTED_EVERY: Duration = Duration::from_secs(3_600);

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
    /// What an earlier server noted of the clock.
    pub noted: Option<ClockNote>,
}

impl Start {
    /// Now, with nothing known.
    pub fn new(clock: &dyn Clock) -> Self {
        Self {
            at: both(clock),
            newest_event_at: None,
            noted: None,
        }
    }
}

/// Compares the clock that people set with the one that nobody sets.
pub(super) struct ClockTrust {
    /// Since when both have agreed.
    agree: (Timestamp, Instant),
    /// For how long before that the clock was right already, as earlier servers have noted.
    right_before: Duration,
    doubted: bool,
}

impl ClockTrust {
    /// Begins to compare. When the last server ran at a time that is far from now, that is reason
    /// enough for a day of doubt. A doubt that it had goes on, and so does its day: or who starts
    /// every few hours would doubt for ever. Time that ran back does not count.
    pub(super) fn new(start: &Start) -> Self {
        let now = start.at.0;
        let last = start.noted.map(|noted| noted.at).or(start.newest_event_at);
        let is_far = last.is_some_and(|last| apart(now, last) > AWAY_MAX);
        let ran_back = last.is_some_and(|last| last.since(now) >= APART_MAX);
        let right_since = start.noted.and_then(|noted| noted.right_since);
        Self {
            agree: start.at,
            right_before: match right_since {
                Some(since) if !is_far && !ran_back => now.since(since),
                Some(_) | None => Duration::ZERO,
            },
            doubted: right_since.is_some() || is_far,
        }
    }

    /// Looks at both clocks: what is known now of the one that people set.
    pub(super) fn look(&mut self, clock: &dyn Clock) -> ClockNote {
        let now = both(clock);
        let passed = now.1.saturating_duration_since(self.agree.1);
        let is_apart = apart(now.0, self.agree.0.plus(passed)) >= APART_MAX;
        if is_apart || self.right_before.saturating_add(passed) >= RIGHT_FOR {
            self.doubted = is_apart;
            self.agree = now;
            self.right_before = Duration::ZERO;
        }
        ClockNote {
            at: now.0,
            right_since: self.doubted.then(|| self.agree.0.minus(self.right_before)),
        }
    }
}

/// Whether something has changed since the last note, or it is old: an idle server writes little.
pub(super) fn is_news(note: ClockNote, noted: Option<ClockNote>) -> bool {
    noted.is_none_or(|noted| {
        noted.right_since != note.right_since || apart(noted.at, note.at) >= NOTED_EVERY
    })
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

    fn start(clock: &Hands, newest: Option<Timestamp>) -> Start {
        Start {
            newest_event_at: newest,
            ..Start::new(clock)
        }
    }

    /// Starts after a server that noted this.
    fn after(clock: &Hands, noted: ClockNote) -> ClockTrust {
        let long_ago = Some(noted.at.minus(100 * DAY));
        ClockTrust::new(&Start {
            noted: Some(noted),
            ..start(clock, long_ago)
        })
    }

    fn doubts(trust: &mut ClockTrust, clock: &Hands) -> bool {
        trust.look(clock).right_since.is_some()
    }

    #[test]
    fn a_step_is_doubted_for_a_day_and_a_correction_is_none() {
        let clock = Hands::new();
        let mut trust = ClockTrust::new(&start(&clock, Some(clock.now())));
        assert!(!doubts(&mut trust, &clock));
        // A clock that is kept right by a little each hour, for weeks.
        for _ in 0..24 * 30 {
            clock.pass(HOUR);
            clock.set_forward(Duration::from_secs(2));
            assert!(!doubts(&mut trust, &clock));
        }
        for step in [Hands::set_forward, Hands::set_back] {
            step(&clock, 400 * DAY);
            assert!(doubts(&mut trust, &clock));
            for _ in 0..23 {
                clock.pass(HOUR);
                assert!(doubts(&mut trust, &clock));
            }
            // Set right again: that is a step too, and the day begins again.
            step(&clock, HOUR);
            clock.pass(HOUR);
            assert!(doubts(&mut trust, &clock));
            clock.pass(DAY);
            assert!(!doubts(&mut trust, &clock));
        }
    }

    #[test]
    fn many_small_steps_are_one_large_one() {
        let clock = Hands::new();
        let mut trust = ClockTrust::new(&start(&clock, None));
        for n in 0..60 {
            clock.pass(Duration::from_secs(1));
            clock.set_forward(Duration::from_secs(60));
            assert_eq!(doubts(&mut trust, &clock), n >= 14, "{n}");
        }
    }

    #[test]
    fn a_start_after_days_recovers_by_itself_after_one() {
        let clock = Hands::new();
        let noted = ClockTrust::new(&start(&clock, None)).look(&clock);
        assert_eq!(noted.right_since, None, "nothing is stored");
        let newest = Some(noted.at);
        clock.pass(23 * HOUR);
        assert!(!doubts(&mut after(&clock, noted), &clock));
        assert!(!doubts(
            &mut ClockTrust::new(&start(&clock, newest)),
            &clock
        ));
        clock.pass(2 * HOUR);
        for mut trust in [
            after(&clock, noted),
            ClockTrust::new(&start(&clock, newest)),
        ] {
            assert!(doubts(&mut trust, &clock));
        }
        let mut trust = after(&clock, noted);
        clock.pass(DAY);
        assert!(!doubts(&mut trust, &clock));
        clock.set_back(10 * DAY);
        assert!(doubts(&mut after(&clock, noted), &clock), "from the future");
    }

    #[test]
    fn a_quiet_server_was_not_off() {
        let clock = Hands::new();
        let mut trust = ClockTrust::new(&start(&clock, Some(clock.now())));
        let mut noted = None;
        let mut notes = 0;
        for _ in 0..3 * 24 * 60 {
            clock.pass(Duration::from_secs(60));
            let note = trust.look(&clock);
            if is_news(note, noted) {
                noted = Some(note);
                notes += 1;
            }
        }
        assert_eq!(notes, 3 * 24, "once an hour");
        clock.pass(HOUR);
        assert!(!doubts(&mut after(&clock, noted.unwrap()), &clock));
    }

    #[test]
    fn a_doubt_ends_however_often_a_server_starts() {
        let clock = Hands::new();
        let mut trust = ClockTrust::new(&start(&clock, None));
        let before = trust.look(&clock);
        clock.set_forward(400 * DAY);
        let mut noted = trust.look(&clock);
        let right_since = Some(clock.now());
        assert_eq!(noted.right_since, right_since);
        assert!(is_news(noted, Some(before)));
        // Each server runs for seven hours, and the next one starts soon.
        for _ in 0..3 {
            clock.pass(7 * HOUR);
            noted = trust.look(&clock);
            assert_eq!(noted.right_since, right_since);
            clock.pass(Duration::from_secs(600));
            trust = after(&clock, noted);
            assert_eq!(trust.look(&clock).right_since, right_since);
        }
        clock.pass(2 * HOUR);
        assert!(doubts(&mut trust, &clock));
        clock.pass(HOUR);
        assert!(!doubts(&mut trust, &clock));
        assert!(!doubts(&mut after(&clock, trust.look(&clock)), &clock));
    }

    #[test]
    fn no_time_counts_in_which_the_clock_may_have_been_set() {
        let clock = Hands::new();
        let back = Hands::set_back as fn(&Hands, Duration);
        let steps = [
            (back, HOUR),
            (back, 25 * HOUR),
            (Hands::set_forward, 25 * HOUR),
        ];
        for (step, by) in steps {
            let right_since = Some(clock.now().minus(20 * HOUR));
            let at = clock.now();
            step(&clock, by);
            let mut trust = after(&clock, ClockNote { at, right_since });
            assert_eq!(trust.look(&clock).right_since, Some(clock.now()), "{by:?}");
            clock.pass(23 * HOUR);
            assert!(doubts(&mut trust, &clock));
            clock.pass(HOUR);
            assert!(!doubts(&mut trust, &clock));
        }
    }
}
