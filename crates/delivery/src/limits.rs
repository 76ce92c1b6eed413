//! Every bound of the rules, named with its unit. Bounds of the rooms stand with their settings.

use std::time::Duration;

/// Characters of a free-form text (Twilio 21617 above it).
pub const BODY_CHARACTERS_MAX: usize = 1_600;
/// Characters of a template's values together; WhatsApp refuses template and values above 1,024
/// (63021), and the template has at least some fixed words.
pub const TEMPLATE_VALUES_CHARACTERS_MAX: usize = 1_024;
/// Variables of one template.
pub const TEMPLATE_VARIABLES_MAX: usize = 100;
/// Characters of a variable's name.
pub const VARIABLE_NAME_CHARACTERS_MAX: usize = 16;
/// Spaces in a row inside a variable's value (63013 above it).
pub const VARIABLE_SPACES_IN_A_ROW_MAX: usize = 4;
/// Bytes of a media URL.
pub const MEDIA_URL_BYTES_MAX: usize = 2_048;
/// Bytes of the caller's metadata as compact JSON.
pub const METADATA_BYTES_MAX: usize = 4_096;
/// Bytes of a business key.
pub const BUSINESS_KEY_BYTES_MAX: usize = 200;
/// How far ahead a message may be scheduled.
pub const SEND_AHEAD_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);

/// WhatsApp's customer-service window after a person's last message.
pub const WINDOW: Duration = Duration::from_secs(24 * 3_600);
/// The window is treated as closed this long before it closes, because WhatsApp looks when the
/// message leaves the provider's queue, not when we hand it over.
pub const WINDOW_MARGIN: Duration = Duration::from_secs(5 * 60);

/// Attempts of one message that the provider answered with 429. A day of them, with a request every
/// five minutes, needs about 300.
pub const RATE_LIMITED_ATTEMPTS_MAX: u32 = 400;

/// For how long an outage is believed in without another request that fails. What waits asks at least
/// every six minutes, so after this nothing waits, and nobody knows.
pub const OUTAGE_BELIEVED_FOR: Duration = Duration::from_secs(10 * 60);

/// Within this time, messages to two different people that met the same code show that it is not
/// about the recipient.
pub const EVIDENCE_WINDOW: Duration = Duration::from_secs(10 * 60);
/// How long a message waits that met a code which may be about its recipient.
pub const EVIDENCE_WAIT: Duration = Duration::from_secs(60);
/// A hold that begins this soon after the end of the last one, or within its length, is the next in
/// a row.
pub const HOLDS_IN_A_ROW_WITHIN: Duration = Duration::from_secs(3_600);
/// Holds of one person in a row after which what meets their code fails. From a first one of a minute,
/// with the longest of 6 h, they last for six days.
pub const PERSON_HOLDS_IN_A_ROW_MAX: u32 = 32;

/// When an unknown attempt is looked for, counted from when it became unknown.
pub const SETTLE_POLLS: [Duration; 11] = [
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(45),
    Duration::from_secs(2 * 60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(15 * 60),
    Duration::from_secs(20 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(45 * 60),
    Duration::from_secs(60 * 60),
];
/// The looks after which a policy decides that acts without proof.
pub const SETTLE_POLLS_WITHOUT_PROOF: usize = 7;
/// The time between looks after those of [`SETTLE_POLLS`], for attempts of which a proof is wanted.
pub const SETTLE_POLLS_THEN: Duration = Duration::from_secs(15 * 60);
/// When an unknown attempt is no longer looked for.
pub const SETTLE_AGE_MAX: Duration = Duration::from_secs(24 * 3_600);

/// How long after its request had ended an attempt can be proven absent at the earliest.
pub const ABSENT_AFTER: Duration = Duration::from_secs(15 * 60);
/// How long after the end of the request a reading of the list begins to count.
pub const ABSENT_READING_AFTER: Duration = Duration::from_secs(10 * 60);
/// How far apart the two readings must be that prove absence.
pub const ABSENT_READINGS_APART: Duration = Duration::from_secs(5 * 60);
/// From when absence is proven although the account has no message that is younger than the
/// request, and no lag was measured.
pub const ABSENT_UNCOMPARED_AFTER: Duration = Duration::from_secs(60 * 60);
/// The largest lag of the provider's list within a day with which absence is believed: a third of
/// [`ABSENT_AFTER`].
pub const LIST_LAG_MAX: Duration = Duration::from_secs(5 * 60);
/// For how long a measured lag counts.
pub const LIST_LAG_KEPT: Duration = Duration::from_secs(24 * 3_600);
/// How far before an attempt's start its message may carry a creation time: the provider's clock
/// counts whole seconds and may differ from ours.
pub const SETTLE_BEFORE: Duration = Duration::from_secs(60);
/// How far after an attempt's start its message may have been created.
pub const SETTLE_AFTER: Duration = Duration::from_secs(15 * 60);
/// Unknown attempts to one person, and free messages that could be theirs, that are matched at
/// once. With more, none is attached.
pub const SETTLE_MATCHES_MAX: usize = 48;

/// Waits between looks at a message nobody reports about, the first one counted from when it was
/// sent; the last one repeats until [`SILENT_AGE_MAX`] and [`SILENT_POLLS_MIN`] are reached.
pub const SILENT_POLLS: [Duration; 4] = [
    Duration::from_secs(15 * 60),
    Duration::from_secs(3_600),
    Duration::from_secs(12 * 3_600),
    Duration::from_secs(24 * 3_600),
];
/// When a silent message is left alone: a phone that is off for a week is ordinary.
pub const SILENT_AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// As many looks as fit into that time. With fewer, the server was away, or its clock was wrong for a
/// while, and the message is asked about on.
pub const SILENT_POLLS_MIN: u32 = 9;

/// How long an ambiguous keyword waits for the person's answer before it counts as an opt-out.
pub const CONSENT_ANSWER_MAX: Duration = Duration::from_secs(24 * 3_600);
/// How far the provider's clock and ours may differ where their times are compared.
pub const CLOCK_DIFFERENCE_MAX: Duration = Duration::from_secs(5 * 60);

const _: () = {
    assert!(EVIDENCE_WAIT.as_secs() < EVIDENCE_WINDOW.as_secs());
    assert!(WINDOW_MARGIN.as_secs() < WINDOW.as_secs());
    assert!(SETTLE_POLLS[SETTLE_POLLS_WITHOUT_PROOF - 1].as_secs() >= SETTLE_AFTER.as_secs());
    assert!(
        ABSENT_READING_AFTER.as_secs() + ABSENT_READINGS_APART.as_secs() <= ABSENT_AFTER.as_secs()
    );
    assert!(LIST_LAG_MAX.as_secs() * 3 <= ABSENT_AFTER.as_secs());
    assert!(SETTLE_POLLS[10].as_secs() >= ABSENT_UNCOMPARED_AFTER.as_secs());
    let ladder = SILENT_POLLS[0].as_secs() + SILENT_POLLS[1].as_secs() + SILENT_POLLS[2].as_secs();
    let repeated = (SILENT_AGE_MAX.as_secs() - ladder) / SILENT_POLLS[3].as_secs();
    assert!(SILENT_POLLS_MIN as u64 == 3 + repeated);
};
