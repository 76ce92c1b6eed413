//! How a sender begins again after a pause or a hold: with one message a second, and twice as many
//! every two seconds. What was wrong may still be, and reports that say so take a second or two.

use std::time::{Duration, Instant};

use delivery::time::Timestamp;

/// How long each rate lasts.
const STEP: Duration = Duration::from_secs(2);
/// After this many steps, with a thousand messages a second, other limits are enough.
const STEPS: u32 = 10;
/// A hold that ended this long before the lane's first look concerns it no more.
const RECENT: Duration = Duration::from_secs(60);

/// Where one lane is on its way back.
pub(super) struct Ramp {
    clock_scale: u32,
    /// The end of the pause or hold that it follows.
    of: Option<Timestamp>,
    looked: bool,
    /// When the first message after it was due, and how many have left since; `None` when the way
    /// back is over.
    way: Option<(Instant, u64)>,
}

impl Ramp {
    pub(super) fn new(clock_scale: u32) -> Self {
        Self {
            clock_scale: clock_scale.max(1),
            of: None,
            looked: false,
            way: None,
        }
    }

    /// How many of `wanted` messages may leave now. `ended` is when the last pause or hold ended.
    pub(super) fn allowed(
        &mut self,
        ended: Option<Timestamp>,
        now: Timestamp,
        monotonic: Instant,
        wanted: usize,
    ) -> usize {
        let first_look = !std::mem::replace(&mut self.looked, true);
        if ended != self.of {
            self.of = ended;
            let is_old = |ended| first_look && now.since(ended) > RECENT;
            self.way = ended
                .filter(|ended| !is_old(*ended))
                .map(|_| (monotonic, 0));
        }
        let Some((began, left)) = self.way else {
            return wanted;
        };
        let (step, within) = self.step(began, monotonic);
        if step >= STEPS {
            self.way = None;
            return wanted;
        }
        let rate = 1_u64 << step;
        let before = 1 + (rate - 1) * STEP.as_secs();
        let within = u64::try_from(within.as_micros()).unwrap_or(u64::MAX);
        let all = before + rate.saturating_mul(within) / 1_000_000;
        wanted.min(usize::try_from(all.saturating_sub(left)).unwrap_or(usize::MAX))
    }

    /// Notes that messages leave.
    pub(super) fn take(&mut self, messages: usize) {
        if let Some((_, left)) = &mut self.way {
            *left = left.saturating_add(u64::try_from(messages).unwrap_or(u64::MAX));
        }
    }

    /// How long until another message may leave, when none may now.
    pub(super) fn wait(&self, monotonic: Instant) -> Duration {
        let Some((began, _)) = self.way else {
            return Duration::ZERO;
        };
        let (step, _) = self.step(began, monotonic);
        Duration::from_secs(1) / (1 << step.min(STEPS)) / self.clock_scale
    }

    /// The step that the way back is in, and for how long.
    fn step(&self, began: Instant, monotonic: Instant) -> (u32, Duration) {
        let passed = monotonic
            .saturating_duration_since(began)
            .saturating_mul(self.clock_scale);
        let steps = passed.as_secs() / STEP.as_secs();
        let step = u32::try_from(steps).unwrap_or(u32::MAX);
        (step, passed.saturating_sub(STEP.saturating_mul(step)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_000_000);

    /// What leaves in each second when 200 messages are due at every look.
    fn seconds(scale: u32) -> Vec<usize> {
        let mut ramp = Ramp::new(scale);
        let began = Instant::now();
        assert_eq!(ramp.allowed(None, NOW, began, 200), 200, "nothing was held");
        let mut left = Vec::new();
        for second in 0..24 {
            let mut in_second = 0;
            for part in 0..100 {
                let passed = Duration::from_millis(second * 1_000 + part * 10) / scale;
                let n = ramp.allowed(Some(NOW), NOW, began + passed, 200);
                ramp.take(n);
                in_second += n;
            }
            left.push(in_second);
        }
        left
    }

    #[test]
    fn it_begins_with_one_and_doubles_every_two_seconds() {
        let left = seconds(1);
        assert_eq!(left[..2], [1, 1]);
        for (second, n) in left.iter().enumerate().take(20) {
            let rate = 1 << (second / 2);
            assert!(
                (rate - 1 - rate / 64..=2 * rate).contains(n),
                "{second}: {n}"
            );
        }
        assert_eq!(left[22], 20_000, "it ends");
        // A faster clock has the same steps, but for what is cut off from its waits.
        for (faster, n) in seconds(60).iter().zip(&left).take(20) {
            assert!(faster.abs_diff(*n) <= 1 + n / 64, "{faster} for {n}");
        }
    }

    #[test]
    fn a_look_too_early_waits_for_the_next_message() {
        let mut ramp = Ramp::new(1);
        let began = Instant::now();
        assert_eq!(ramp.allowed(Some(NOW), NOW, began, 5), 1);
        ramp.take(1);
        assert_eq!(ramp.allowed(Some(NOW), NOW, began, 5), 0);
        let next = began + ramp.wait(began);
        assert_eq!(ramp.allowed(Some(NOW), NOW, next, 5), 1);
        ramp.take(1);
        let held_again = Some(NOW.plus(Duration::from_secs(9)));
        let later = next + Duration::from_secs(60);
        assert_eq!(
            ramp.allowed(held_again, NOW, later, 5),
            1,
            "from the beginning"
        );
    }

    #[test]
    fn what_ended_long_before_the_first_look_is_over() {
        let long_ago = Some(NOW.minus(Duration::from_secs(61)));
        let mut ramp = Ramp::new(1);
        assert_eq!(ramp.allowed(long_ago, NOW, Instant::now(), 9), 9);
        let mut ramp = Ramp::new(1);
        let just_now = Some(NOW.minus(Duration::from_secs(5)));
        assert_eq!(ramp.allowed(just_now, NOW, Instant::now(), 9), 1);
    }
}
