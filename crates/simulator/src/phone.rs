//! Phones, and how each of them behaves.

use serde::{Deserialize, Serialize};

use crate::rng::Rng;

/// A phone whose behavior is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phone {
    /// E.164, for example `+5585988887777`.
    pub number: String,
    /// How it behaves.
    pub character: PhoneBehavior,
}

/// A person whom WhatsApp knows by a user id as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// E.164.
    pub number: String,
    /// The business-scoped user id (`BR.…`); messages to it reach the same phone.
    pub user_id: String,
    /// The id within the parent business, if there is one.
    #[serde(default)]
    pub parent_user_id: Option<String>,
    /// Whether the person hides the number: their messages come from the user id.
    #[serde(default)]
    pub hides_number: bool,
}

/// How a phone behaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhoneBehavior {
    /// Receives the message and opens it at once.
    ReadsAtOnce,
    /// Receives the message and opens it some time later.
    ReadsLater,
    /// Receives the message and never opens it, or has read receipts turned off.
    NeverReads,
    /// Off: the message stays `sent`.
    Off,
    /// Off for a while, then on.
    OffThenOn,
    /// Not on WhatsApp: 63024.
    NotOnWhatsapp,
    /// Known to WhatsApp only without the ninth digit: 63024 for the number with it.
    OnlyWithoutNinthDigit,
    /// Blocked the business: 63014.
    Blocked,
    /// Opted out at Twilio: 21610, reported after acceptance.
    OptedOut,
    /// Opted out of marketing: 63050.
    MarketingOptedOut,
    /// Fails once with 63018, then works.
    LimitedOnce,
    /// Always fails with this code.
    Fails(u32),
    /// Receives nothing: the message is `sent`, and then `undelivered` with this code.
    Undelivered(u32),
    /// Cannot be sent to: each create is refused with 400 and this code.
    Refused(u32),
    /// Receives the message and answers with this text.
    Answers(String),
}

impl PhoneBehavior {
    /// Draws the behavior of a phone that is not in the settings.
    pub(crate) fn drawn(rng: &mut Rng) -> Self {
        match rng.fraction() {
            f if f < 0.45 => Self::ReadsAtOnce,
            f if f < 0.80 => Self::ReadsLater,
            _ => Self::NeverReads,
        }
    }
}

/// What happens to a message.
pub(crate) struct PhoneScript {
    /// Milliseconds after acceptance, status, error code.
    pub(crate) statuses: Vec<(f64, &'static str, Option<u32>)>,
    /// What the person answers.
    pub(crate) answer: Option<String>,
}

/// Decides what happens to a message on a phone that behaves like this.
pub(crate) fn phone_script(
    behavior: &PhoneBehavior,
    has_ninth_digit: bool,
    first_time: bool,
    rng: &mut Rng,
) -> PhoneScript {
    let sent = rng.between(150.0, 450.0);
    let delivered = sent + rng.between(300.0, 1_800.0);
    let soon = delivered + rng.between(500.0, 4_000.0);
    let later = delivered + rng.between(5_000.0, 60_000.0);
    let fails = |code| vec![(sent, "failed", Some(code))];
    let arrives = |read: Option<f64>| {
        let mut statuses = vec![(sent, "sent", None), (delivered, "delivered", None)];
        statuses.extend(read.map(|at| (at, "read", None)));
        statuses
    };
    let statuses = match behavior {
        PhoneBehavior::ReadsAtOnce | PhoneBehavior::Answers(_) => arrives(Some(soon)),
        PhoneBehavior::ReadsLater => arrives(Some(later)),
        PhoneBehavior::NeverReads => arrives(None),
        PhoneBehavior::Off => vec![(sent, "sent", None)],
        PhoneBehavior::OffThenOn => {
            vec![
                (sent, "sent", None),
                (sent + rng.between(60_000.0, 600_000.0), "delivered", None),
            ]
        }
        PhoneBehavior::NotOnWhatsapp => fails(63_024),
        PhoneBehavior::OnlyWithoutNinthDigit if has_ninth_digit => fails(63_024),
        PhoneBehavior::OnlyWithoutNinthDigit => arrives(Some(soon)),
        PhoneBehavior::Blocked => fails(63_014),
        PhoneBehavior::OptedOut => fails(21_610),
        PhoneBehavior::MarketingOptedOut => fails(63_050),
        PhoneBehavior::LimitedOnce if first_time => fails(63_018),
        PhoneBehavior::LimitedOnce => arrives(Some(soon)),
        PhoneBehavior::Fails(code) | PhoneBehavior::Refused(code) => fails(*code),
        PhoneBehavior::Undelivered(code) => {
            vec![
                (sent, "sent", None),
                (delivered, "undelivered", Some(*code)),
            ]
        }
    };
    let answer = match behavior {
        PhoneBehavior::Answers(text) => Some(text.clone()),
        _ => None,
    };
    PhoneScript { statuses, answer }
}
