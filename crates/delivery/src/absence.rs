//! When it is proven that an unknown attempt created nothing.
//!
//! A list that does not show a message proves nothing by itself: it may be late. What is proven
//! here rests on bounds that decision 0017 names: a message is created within 5 minutes after its
//! request has ended, and stands in the list 5 minutes later. Then the list shows it from the
//! first reading that counts on, and the second one would have to be wrong as well.

use std::time::Duration;

use crate::limits::{
    ABSENT_AFTER, ABSENT_READING_AFTER, ABSENT_READINGS_APART, ABSENT_UNCOMPARED_AFTER,
    LIST_LAG_MAX, SETTLE_AGE_MAX, SETTLE_POLLS, SETTLE_POLLS_THEN, SETTLE_POLLS_WITHOUT_PROOF,
};
use crate::message::Policy;

/// What one look into the provider's list has shown of an unknown attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// How long after the request had ended, as a clock counts that is never set.
    pub at: Duration,
    /// Every page was read, for the sender and both forms of the number, from a minute before the
    /// attempt on, widened by the difference of the clocks.
    pub is_complete: bool,
    /// It holds a message, whatever it says, of which it is not proven that it is another's.
    pub holds_candidate: bool,
    /// How long after the request had ended the account's youngest message was created, when it was.
    pub younger: Option<Duration>,
}

/// What shows that an attempt created nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// When the list was read first, after the end of the request.
    pub first: Duration,
    /// When it was read last.
    pub last: Duration,
    /// The largest lag of the list within a day, when one was measured.
    pub lag: Option<Duration>,
    /// How long after the end of the request the account's youngest message was created.
    pub younger: Option<Duration>,
}

/// What rounds up to whole seconds.
const ALMOST_A_SECOND: Duration = Duration::from_nanos(999_999_999);

impl Proof {
    /// The figures, in whole seconds, as the log of the message tells them.
    pub fn detail(&self) -> String {
        let seconds = |time: Option<Duration>| {
            time.map_or("none".to_owned(), |time| format!("{}s", time.as_secs()))
        };
        format!(
            "readings={}s,{}s lag={} younger={}",
            self.first.as_secs(),
            self.last.as_secs(),
            // A lag of less than a second is one.
            seconds(self.lag.map(|lag| lag.saturating_add(ALMOST_A_SECOND))),
            seconds(self.younger)
        )
    }
}

/// What the readings prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The attempt created nothing.
    Absent(Proof),
    /// It is not proven, or not yet.
    Unproven(Doubt),
}

/// Why absence is not proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It is too early.
    Early,
    /// The list holds a message that could be it.
    Candidate,
    /// The provider's list was too late within the last day.
    Lag,
    /// Nothing younger shows that the list goes on, or its lag was never measured.
    Uncompared,
    /// The list could not be read.
    Unreachable,
    /// Messages to an address like this one may be listed under another.
    Address,
    /// The attempt seems to begin in the future: our clock was set since, by nobody knows how much.
    Clock,
    /// What the message must look like is damaged.
    Unreadable,
}

impl Doubt {
    /// The stable word, for the log of the message.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Early => "early",
            Self::Candidate => "candidate",
            Self::Lag => "lag",
            Self::Uncompared => "no_younger_message",
            Self::Unreachable => "unreachable",
            Self::Address => "address",
            Self::Clock => "clock",
            Self::Unreadable => "unreadable",
        }
    }
}

/// What the readings of one unknown attempt prove, oldest first. `lag` is the largest lag of the
/// list within [`LIST_LAG_KEPT`](crate::limits::LIST_LAG_KEPT); `None` when none was measured.
pub fn judge(readings: &[Reading], lag: Option<Duration>) -> Verdict {
    let complete = readings.iter().filter(|reading| reading.is_complete);
    let Some(last) = complete.clone().next_back() else {
        return Verdict::Unproven(Doubt::Unreachable);
    };
    if last.holds_candidate {
        return Verdict::Unproven(Doubt::Candidate);
    }
    if lag.is_some_and(|lag| lag > LIST_LAG_MAX) {
        return Verdict::Unproven(Doubt::Lag);
    }
    // Only what was read since a candidate was last seen counts.
    let since_candidate = complete
        .rev()
        .take_while(|reading| !reading.holds_candidate);
    let mut doubt = Doubt::Early;
    for first in since_candidate {
        let counts = first.at >= ABSENT_READING_AFTER
            && last.at.saturating_sub(first.at) >= ABSENT_READINGS_APART;
        if !counts || last.at < ABSENT_AFTER {
            continue;
        }
        let is_compared = first.younger.is_some() && last.younger.is_some() && lag.is_some();
        if is_compared || last.at >= ABSENT_UNCOMPARED_AFTER {
            return Verdict::Absent(Proof {
                first: first.at,
                last: last.at,
                lag,
                younger: last.younger,
            });
        }
        doubt = Doubt::Uncompared;
    }
    Verdict::Unproven(doubt)
}

/// When an unknown attempt is looked for after `looks` of them, counted from when it became
/// unknown; `None` when no more.
pub fn next_look(looks: usize, policy: Policy) -> Option<Duration> {
    let wants_proof = policy == Policy::Once;
    if !wants_proof && looks >= SETTLE_POLLS_WITHOUT_PROOF {
        return None;
    }
    if let Some(at) = SETTLE_POLLS.get(looks) {
        return Some(*at);
    }
    let more = u32::try_from(looks - SETTLE_POLLS.len() + 1).unwrap_or(u32::MAX);
    let at = SETTLE_POLLS
        .last()?
        .saturating_add(SETTLE_POLLS_THEN.saturating_mul(more));
    (at <= SETTLE_AGE_MAX).then_some(at)
}

/// Whether the time is over within which evidence usually comes, so that it is said that there is
/// none, after `looks` of them.
pub fn is_horizon(looks: usize, policy: Policy) -> bool {
    match policy {
        Policy::Once => looks >= SETTLE_POLLS.len(),
        Policy::AtMostOnce | Policy::AtLeastOnce | Policy::Ask => {
            looks >= SETTLE_POLLS_WITHOUT_PROOF
        }
    }
}

/// Whether proof of absence changes anything for a message of this policy.
pub fn wants_absence(policy: Policy) -> bool {
    match policy {
        Policy::Once | Policy::AtLeastOnce => true,
        Policy::AtMostOnce | Policy::Ask => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const LAG: Option<Duration> = Some(Duration::from_secs(2));

    fn reading(minutes: u32) -> Reading {
        Reading {
            at: MINUTE * minutes,
            is_complete: true,
            holds_candidate: false,
            younger: Some(MINUTE),
        }
    }

    fn unproven(readings: &[Reading], lag: Option<Duration>) -> Doubt {
        match judge(readings, lag) {
            Verdict::Absent(_) => panic!("proven: {readings:?} {lag:?}"),
            Verdict::Unproven(doubt) => doubt,
        }
    }

    fn is_absent(readings: &[Reading], lag: Option<Duration>) -> bool {
        matches!(judge(readings, lag), Verdict::Absent(_))
    }

    #[test]
    fn the_proof_tells_its_figures() {
        let told = |readings: &[Reading], lag| match judge(readings, lag) {
            Verdict::Absent(proof) => proof.detail(),
            Verdict::Unproven(doubt) => panic!("{doubt:?}"),
        };
        let found = told(&[reading(10), reading(12), reading(15)], LAG);
        assert_eq!(found, "readings=600s,900s lag=2s younger=60s");
        let short = Some(Duration::from_millis(1));
        let found = told(&[reading(10), reading(15)], short);
        assert_eq!(found, "readings=600s,900s lag=1s younger=60s");
        let quiet = Reading {
            younger: None,
            ..reading(60)
        };
        let found = told(&[reading(10), quiet], None);
        assert_eq!(found, "readings=600s,3600s lag=none younger=none");
    }

    #[test]
    fn two_readings_prove_it_and_nothing_less() {
        assert!(is_absent(&[reading(10), reading(15)], LAG));
        assert_eq!(unproven(&[], LAG), Doubt::Unreachable);
        assert_eq!(unproven(&[reading(15)], LAG), Doubt::Early);
        assert_eq!(unproven(&[reading(9), reading(15)], LAG), Doubt::Early);
        assert_eq!(unproven(&[reading(10), reading(14)], LAG), Doubt::Early);
        assert_eq!(unproven(&[reading(11), reading(15)], LAG), Doubt::Early);
        assert!(is_absent(&[reading(11), reading(16)], LAG));
    }

    #[test]
    fn a_reading_that_failed_is_none() {
        let failed = Reading {
            is_complete: false,
            ..reading(10)
        };
        assert_eq!(unproven(&[failed, reading(15)], LAG), Doubt::Early);
        assert_eq!(unproven(&[failed], LAG), Doubt::Unreachable);
        let all = [reading(10), failed, reading(15)];
        assert!(is_absent(&all, LAG));
    }

    #[test]
    fn what_could_be_it_begins_the_count_again() {
        let candidate = |minutes| Reading {
            holds_candidate: true,
            ..reading(minutes)
        };
        let last = [reading(10), candidate(15)];
        assert_eq!(unproven(&last, LAG), Doubt::Candidate);
        let between = [reading(10), candidate(12), reading(15)];
        assert_eq!(unproven(&between, LAG), Doubt::Early);
        let after = [candidate(10), reading(15), reading(20)];
        assert!(is_absent(&after, LAG));
    }

    #[test]
    fn without_anything_younger_or_a_measured_lag_it_takes_an_hour() {
        let quiet = |minutes| Reading {
            younger: None,
            ..reading(minutes)
        };
        for first in [quiet(10), reading(10)] {
            assert_eq!(unproven(&[first, quiet(20)], LAG), Doubt::Uncompared);
            assert!(is_absent(&[first, quiet(60)], LAG));
        }
        assert_eq!(unproven(&[quiet(10), reading(20)], LAG), Doubt::Uncompared);
        let measured_never = [reading(10), reading(45)];
        assert_eq!(unproven(&measured_never, None), Doubt::Uncompared);
        assert!(is_absent(&[reading(10), reading(60)], None));
    }

    #[test]
    fn a_late_list_is_not_believed_at_any_time() {
        let late = Some(LIST_LAG_MAX + Duration::from_millis(1));
        for last in [15, 60, 24 * 60] {
            assert_eq!(unproven(&[reading(10), reading(last)], late), Doubt::Lag);
        }
        assert!(is_absent(&[reading(10), reading(15)], Some(LIST_LAG_MAX)));
    }

    #[test]
    fn looks_go_on_for_a_day_when_a_proof_is_wanted() {
        let all = |policy| {
            (0..)
                .map_while(move |looks| next_look(looks, policy))
                .collect::<Vec<_>>()
        };
        let once = all(Policy::Once);
        assert_eq!(once.last(), Some(&SETTLE_AGE_MAX));
        assert!(once.windows(2).all(|two| two[0] < two[1]));
        assert!(once.contains(&ABSENT_READING_AFTER) && once.contains(&ABSENT_AFTER));
        for policy in [Policy::AtMostOnce, Policy::AtLeastOnce, Policy::Ask] {
            assert_eq!(all(policy).last(), Some(&ABSENT_AFTER));
            assert!(!is_horizon(6, policy) && is_horizon(7, policy));
        }
        assert!(!is_horizon(10, Policy::Once) && is_horizon(11, Policy::Once));
    }
}
