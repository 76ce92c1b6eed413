//! Numbers of other countries: libphonenumber decides, two countries need more.
//!
//! * **Mexico.** WhatsApp ids carry a 1 after 52 that the numbering plan does not have. Without it
//!   is canonical.
//! * **Argentina.** Mobiles have a 9 after 54 from abroad and a 15 before the subscriber's number
//!   at home. With the 9 is canonical. A number with neither mark is a landline by the plan and
//!   stays one: giving it the 9 would make it somebody's mobile.

use std::collections::HashMap;
use std::sync::LazyLock;

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberFormat, Region};

use super::flag::{Flag, Flags};
use super::rejection::Reason;

/// Reads a number with its plus and gives its canonical form.
pub(super) fn read(written: &str, flags: &mut Flags) -> Result<String, Reason> {
    if let Some(without_1) = without_mexican_1(written) {
        let canonical = valid(&without_1).ok_or(Reason::ForeignInvalid)?;
        flags.add(Flag::Mx1Removed);
        return Ok(canonical);
    }
    let canonical = match written.strip_prefix("+54") {
        Some(national) => argentine(national, written).ok_or(Reason::ForeignInvalid)?,
        None => valid(written).ok_or(Reason::ForeignInvalid)?,
    };
    if canonical.starts_with("+549") && canonical != written {
        flags.add(Flag::Ar15To9);
    }
    // The library knows a few service numbers outside these bounds.
    let has_shape = canonical.strip_prefix('+').is_some_and(is_canonical);
    has_shape.then_some(canonical).ok_or(Reason::ForeignInvalid)
}

/// Whether digits with a plus in front would be a foreign number.
pub(super) fn is_valid(digits: &[u8]) -> bool {
    let written: String = "+"
        .chars()
        .chain(digits.iter().copied().map(char::from))
        .collect();
    !written.starts_with("+55") && read(&written, &mut Flags::default()).is_ok()
}

/// Whether digits after a plus have the shape of what [`read`] gives: 7 to 15 of them. ITU-T E.164
/// sets the upper bound; the shortest numbers of people have four digits after three of a country.
pub(super) fn is_canonical(digits: &str) -> bool {
    matches!(digits.len(), 7..=15)
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0')
        && !is_mexican_with_1(digits)
}

/// The ISO code of the country of a canonical number.
pub(super) fn region(canonical: &str) -> Option<&'static str> {
    static CODES: LazyLock<HashMap<Region, String>> = LazyLock::new(|| {
        let regions = PHONE_NUMBER_UTIL.get_supported_regions();
        regions.map(|region| (region, region.to_string())).collect()
    });
    let number = PHONE_NUMBER_UTIL.parse(canonical, None).ok()?;
    CODES.get(&number.get_region_code()?).map(String::as_str)
}

/// The number of digits of the country code that the digits begin with (ITU-T E.164 list of
/// assigned codes: zones 1 and 7 have one digit, these have two, all others three).
pub(super) fn country_code_digits(digits: &str) -> usize {
    const TWO: [&str; 44] = [
        "20", "27", "30", "31", "32", "33", "34", "36", "39", "40", "41", "43", "44", "45", "46",
        "47", "48", "49", "51", "52", "53", "54", "55", "56", "57", "58", "60", "61", "62", "63",
        "64", "65", "66", "81", "82", "84", "86", "90", "91", "92", "93", "94", "95", "98",
    ];
    if digits.starts_with(['1', '7']) {
        1
    } else if TWO.iter().any(|code| digits.starts_with(code)) {
        2
    } else {
        3
    }
}

fn argentine(national: &str, written: &str) -> Option<String> {
    // Both marks at once: the library converts the 15 only where the 9 is missing.
    let without_9 = || valid(&format!("+54{}", national.strip_prefix('9')?));
    valid(written).or_else(|| without_9().filter(|canonical| canonical.starts_with("+549")))
}

fn without_mexican_1(written: &str) -> Option<String> {
    let digits = written
        .strip_prefix('+')
        .filter(|digits| is_mexican_with_1(digits))?;
    Some(format!("+52{}", digits.strip_prefix("521")?))
}

fn is_mexican_with_1(digits: &str) -> bool {
    digits.starts_with("521") && digits.len() == 13
}

fn valid(written: &str) -> Option<String> {
    let number: PhoneNumber = PHONE_NUMBER_UTIL.parse(written, None).ok()?;
    number
        .is_valid()
        .then(|| number.format_as(PhoneNumberFormat::E164).into_owned())
}
