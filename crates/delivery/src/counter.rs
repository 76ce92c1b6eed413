//! Counters: what is counted, and the buckets of the latency histograms.

use std::time::Duration;

use crate::row::CohortRow;

/// A change of one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Whose messages: hour of acceptance, sender, kind, template, area code.
    pub cohort: CohortRow,
    /// What is counted.
    pub metric: Metric,
    /// The state's number, the error code, the outcome's number or the bucket; else 0.
    pub code: i64,
    /// By how much.
    pub by: i64,
}

crate::stored! {
    /// What is counted.
    Metric {
        /// Messages accepted.
        Accepted = 0 "accepted",
        /// Messages that were seen at WhatsApp.
        Sent = 1 "sent",
        /// Messages that were seen on the device.
        Delivered = 2 "delivered",
        /// Messages that were seen opened.
        Read = 3 "read",
        /// Messages that are in a state now; the code is the state's number.
        State = 10 "state",
        /// Error codes, each time one was received; 0 for an error without code.
        Errors = 11 "errors",
        /// Attempts opened.
        Attempts = 12 "attempts",
        /// Outcomes of attempts; the code is the number of the outcome's kind.
        Outcomes = 13 "outcomes",
        /// Retries decided.
        Retries = 14 "retries",
        /// Facts that contradicted what was known.
        Anomalies = 15 "anomalies",
        /// Histogram of the time from accepted to sent.
        AcceptedToSent = 20 "accepted_to_sent",
        /// Histogram of the time from sent to delivered.
        SentToDelivered = 21 "sent_to_delivered",
        /// Histogram of the time from delivered to read.
        DeliveredToRead = 22 "delivered_to_read",
    }
}

/// The three parts of a message's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// From being accepted here to WhatsApp.
    AcceptedToSent,
    /// From WhatsApp to the device.
    SentToDelivered,
    /// From the device to the eyes.
    DeliveredToRead,
}

impl Stage {
    /// Its counter.
    pub fn metric(self) -> Metric {
        match self {
            Self::AcceptedToSent => Metric::AcceptedToSent,
            Self::SentToDelivered => Metric::SentToDelivered,
            Self::DeliveredToRead => Metric::DeliveredToRead,
        }
    }
}

/// Sub-buckets of each power of two: a bucket is at most a quarter of a power of two wide, so a
/// percentile read from it is at most 25 % too high.
const BUCKETS_IN_OCTAVE: u32 = 4;

/// The bucket of a duration: 0 below one millisecond, then four for each power of two.
pub fn bucket(duration: Duration) -> i64 {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return 0;
    }
    let octave = millis.ilog2();
    let base = 1u64 << octave;
    let within = ((millis - base) * u64::from(BUCKETS_IN_OCTAVE)) >> octave;
    i64::from(octave * BUCKETS_IN_OCTAVE) + i64::try_from(within).unwrap_or(0) + 1
}

/// The upper edge of a bucket: every duration in it is shorter.
pub fn bucket_edge(bucket: i64) -> Duration {
    let Ok(place) = u32::try_from(bucket.saturating_sub(1)) else {
        return Duration::from_millis(1);
    };
    if bucket <= 0 {
        return Duration::from_millis(1);
    }
    let (octave, within) = (place / BUCKETS_IN_OCTAVE, place % BUCKETS_IN_OCTAVE);
    let base = 1u64.checked_shl(octave).unwrap_or(u64::MAX / 2);
    let width = base
        .saturating_mul(u64::from(within + 1))
        .div_ceil(u64::from(BUCKETS_IN_OCTAVE));
    Duration::from_millis(base.saturating_add(width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_lies_below_the_edge_of_its_bucket_and_not_below_the_one_before() {
        let mut millis = 0u64;
        while millis < 3_000_000_000 {
            let duration = Duration::from_millis(millis);
            let at = bucket(duration);
            assert!(duration < bucket_edge(at), "{millis} in {at}");
            assert!(
                at == 0 || duration >= bucket_edge(at - 1),
                "{millis} in {at}"
            );
            millis += 1 + millis / 7;
        }
    }
}
