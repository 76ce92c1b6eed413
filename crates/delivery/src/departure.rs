//! The last look before anything leaves, and under which variant of the address it does.

use std::time::Duration;

use crate::address::AddressVariant;
use crate::consent::Consent;
use crate::progress::{Flags, Progress};
use crate::time::Timestamp;

/// Whether a due message may leave, but for the 24-hour window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// It may, if the window allows it.
    Leaves,
    /// Its deadline has passed.
    Expired,
    /// A newer message about the same subject has taken its place.
    Superseded,
    /// The person has opted out.
    Suppressed,
    /// The person was asked whether they want to opt out, and has not answered.
    AwaitsAnswer,
}

/// Looks at a due message for the last time before an attempt.
pub fn departure(progress: &Progress, consent: Consent, now: Timestamp) -> Departure {
    if progress.expires_at.is_some_and(|expires| now >= expires) {
        return Departure::Expired;
    }
    if progress.flags.has(Flags::SUPERSEDED) {
        return Departure::Superseded;
    }
    match consent {
        Consent::OptedOut => Departure::Suppressed,
        Consent::Asking { .. } if !progress.flags.has(Flags::OWN_QUESTION) => {
            Departure::AwaitsAnswer
        }
        Consent::Asking { .. } | Consent::Open => Departure::Leaves,
    }
}

/// Whether a message is due: it waits, and its time has come.
pub fn is_due(progress: &Progress, now: Timestamp) -> bool {
    progress.state.is_waiting() && progress.due_at.is_some_and(|due| due <= now)
}

/// When a waiting message is due after the clock was set back `by` so much: as far ahead as before,
/// but never before the time that its caller chose. `None` when nothing changes.
pub fn due_after_clock_step(
    due_at: Timestamp,
    send_at: Option<Timestamp>,
    by: Duration,
) -> Option<Timestamp> {
    let moved = due_at.minus(by);
    let moved = send_at.map_or(moved, |send_at| moved.max(send_at));
    (moved < due_at).then_some(moved)
}

/// What decides the variant of the address of the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VariantChoice {
    /// The one that is written down for the person, else the canonical one.
    AsWritten,
    /// The one under which the person was reached, else the one of the last attempt.
    ProvenOrLast,
    /// The other one than at the last attempt, which was refused as no WhatsApp number.
    OtherThanLast,
}

/// How the variant of the next attempt is chosen. Once the other one has been turned to, it stays,
/// whatever came between.
pub fn variant_choice(flags: Flags) -> VariantChoice {
    if flags.has(Flags::VARIANT_NEXT) {
        VariantChoice::OtherThanLast
    } else if flags.has(Flags::VARIANT_TRIED) {
        VariantChoice::ProvenOrLast
    } else {
        VariantChoice::AsWritten
    }
}

/// The variant that an inbound message shows: people write from the one that WhatsApp knows.
pub fn variant_written_from(sent_form: Option<&str>) -> AddressVariant {
    match sent_form {
        Some(_) => AddressVariant::WithoutNinthDigit,
        None => AddressVariant::Canonical,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    #[test]
    fn a_clock_that_is_set_back_takes_due_times_along_but_not_those_that_callers_chose() {
        let at = Timestamp::from_seconds;
        let hour = Duration::from_secs(3_600);
        for (due, send_at, expected) in [
            (at(5_000), None, Some(at(1_400))),
            (at(5_000), Some(at(5_000)), None),
            // Put off after its time had come.
            (at(5_000), Some(at(4_000)), Some(at(4_000))),
            (at(5_000), Some(at(100)), Some(at(1_400))),
        ] {
            assert_eq!(due_after_clock_step(due, send_at, hour), expected);
        }
    }
    const ASKING: Consent = Consent::Asking { since: NOW };

    fn with(flags: u32, expires_at: Option<Timestamp>) -> Progress {
        Progress {
            flags: Flags(flags),
            expires_at,
            ..Progress::empty()
        }
    }

    #[test]
    fn the_deadline_comes_first_and_our_own_question_passes_the_hold() {
        let past = Some(NOW);
        let later = Some(Timestamp::from_seconds(1_001));
        for (flags, expires, consent, expected) in [
            (0, None, Consent::Open, Departure::Leaves),
            (0, later, Consent::Open, Departure::Leaves),
            (
                Flags::SUPERSEDED,
                past,
                Consent::OptedOut,
                Departure::Expired,
            ),
            (
                Flags::SUPERSEDED,
                None,
                Consent::OptedOut,
                Departure::Superseded,
            ),
            (
                Flags::OWN_QUESTION,
                None,
                Consent::OptedOut,
                Departure::Suppressed,
            ),
            (0, None, ASKING, Departure::AwaitsAnswer),
            (Flags::OWN_QUESTION, None, ASKING, Departure::Leaves),
        ] {
            let progress = with(flags, expires);
            assert_eq!(departure(&progress, consent, NOW), expected);
        }
    }

    #[test]
    fn the_other_variant_is_turned_to_once_and_stays() {
        for (flags, expected) in [
            (0, VariantChoice::AsWritten),
            (Flags::HAS_VARIANT, VariantChoice::AsWritten),
            (
                Flags::VARIANT_TRIED | Flags::VARIANT_NEXT,
                VariantChoice::OtherThanLast,
            ),
            (Flags::VARIANT_TRIED, VariantChoice::ProvenOrLast),
        ] {
            assert_eq!(variant_choice(Flags(flags)), expected);
        }
    }
}
