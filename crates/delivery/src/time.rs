//! Instants, as the rules see them: microseconds since 1970-01-01T00:00:00Z, never a local time.

use std::time::Duration;

/// An instant in UTC, in microseconds since the Unix epoch. Zones exist only at the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant `micros` microseconds after the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The instant `seconds` seconds after the Unix epoch.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since the Unix epoch, rounded down.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// The number of whole hours since the Unix epoch: the key of an hourly counter.
    pub const fn hour(self) -> i64 {
        self.0.div_euclid(3_600_000_000)
    }

    /// This instant moved into the future; stops at the end of time instead of wrapping.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros_of(duration)))
    }

    /// This instant moved into the past; stops at the beginning of time instead of wrapping.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros_of(duration)))
    }

    /// How long after `earlier` this instant is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        let micros = self.0.saturating_sub(earlier.0).max(0);
        Duration::from_micros(micros.unsigned_abs())
    }
}

/// How far another clock is ahead of ours, at least and at most; behind ours when negative. One that
/// was never compared counts as equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockDifference {
    least: i64,
    most: i64,
}

impl ClockDifference {
    /// Both clocks show the same.
    pub const NONE: Self = Self { least: 0, most: 0 };

    /// From the bounds of the difference, theirs less ours, in microseconds.
    pub fn between(least: i64, most: i64) -> Self {
        Self {
            least: least.min(most),
            most: most.max(least),
        }
    }

    /// The least and the greatest difference, in microseconds.
    pub const fn bounds(self) -> (i64, i64) {
        (self.least, self.most)
    }

    /// What holds whichever of the two is true.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            least: self.least.min(other.least),
            most: self.most.max(other.most),
        }
    }

    /// The earliest that the other clock may have shown at our instant.
    pub fn earliest(self, at: Timestamp) -> Timestamp {
        Timestamp(at.0.saturating_add(self.least))
    }

    /// The latest that the other clock may have shown at our instant.
    pub fn latest(self, at: Timestamp) -> Timestamp {
        Timestamp(at.0.saturating_add(self.most))
    }
}

fn micros_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_and_hours_round_down() {
        let end = Timestamp::from_micros(i64::MAX);
        assert_eq!(end.plus(Duration::from_secs(1)), end);
        assert_eq!(Timestamp::from_seconds(-1).hour(), -1);
        assert_eq!(Timestamp::from_seconds(7_199).hour(), 1);
        let (a, b) = (Timestamp::from_seconds(5), Timestamp::from_seconds(8));
        assert_eq!(b.since(a), Duration::from_secs(3));
        assert_eq!(a.since(b), Duration::ZERO);
        assert_eq!(b.minus(Duration::from_secs(3)), a);
    }
}
