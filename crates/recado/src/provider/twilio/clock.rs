//! How far Twilio's clock is from ours, from the `Date` header of its answers.

use std::sync::{Mutex, PoisonError};

use delivery::time::{ClockDifference, Timestamp};
use hyper::HeaderMap;
use hyper::header::{DATE, HeaderValue};

use super::answer;

/// The header has whole seconds: its second began at most this many microseconds before.
const SECOND: i64 = 1_000_000;

/// The widest difference of all answers so far. A step of our clock widens it, because what was
/// written before the step was written by the clock as it was.
#[derive(Default)]
pub(super) struct ClockMeter(Mutex<Measured>);

#[derive(Default)]
struct Measured {
    difference: Option<ClockDifference>,
    /// The last header: most answers of a second carry the same, and tell nothing new.
    last: Option<HeaderValue>,
}

impl ClockMeter {
    /// Compares the clocks: the answer was written between `sent` and `received`.
    pub(super) fn compare(&self, headers: &HeaderMap, sent: Timestamp, received: Timestamp) {
        let Some(date) = headers.get(DATE) else {
            return;
        };
        let mut measured = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if measured.last.as_ref() == Some(date) {
            return;
        }
        let theirs = date.to_str().ok().and_then(answer::timestamp);
        let Some(theirs) = theirs.map(Timestamp::micros) else {
            return;
        };
        let least = theirs.saturating_sub(received.micros());
        let most = theirs.saturating_add(SECOND).saturating_sub(sent.micros());
        let difference = ClockDifference::between(least, most);
        measured.last = Some(date.clone());
        measured.difference = Some(match measured.difference {
            Some(known) => known.or(difference),
            None => difference,
        });
    }

    /// The widest difference so far.
    pub(super) fn difference(&self) -> ClockDifference {
        let measured = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        measured.difference.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_difference_counts() {
        let meter = ClockMeter::default();
        assert_eq!(meter.difference(), ClockDifference::NONE);
        let answer = |date: &'static str, sent: i64, received: i64| {
            let headers = HeaderMap::from_iter([(DATE, HeaderValue::from_static(date))]);
            let at = Timestamp::from_seconds;
            meter.compare(&headers, at(sent), at(received));
        };
        // 1,700,000,000 s since 1970.
        answer(
            "Tue, 14 Nov 2023 22:13:20 GMT",
            1_700_000_000,
            1_700_000_002,
        );
        assert_eq!(meter.difference().bounds(), (-2_000_000, 1_000_000));
        answer("garbage", 0, 0);
        assert_eq!(meter.difference().bounds(), (-2_000_000, 1_000_000));
        // Ours is set back by an hour.
        answer(
            "Tue, 14 Nov 2023 22:13:21 GMT",
            1_699_996_400,
            1_699_996_401,
        );
        assert_eq!(meter.difference().bounds(), (-2_000_000, 3_602_000_000));
    }
}
