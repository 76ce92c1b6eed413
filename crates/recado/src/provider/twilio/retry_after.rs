//! The `Retry-After` header (RFC 9110, sections 5.6.7 and 10.2.3).

use std::time::Duration;

use delivery::outcome::RetryAfter;
use delivery::time::Timestamp;
use hyper::HeaderMap;
use hyper::header::RETRY_AFTER;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;

/// The date of today's senders and the two that recipients must still understand.
const DATE_FORMS: [&str; 3] = [
    "%a, %d %b %Y %H:%M:%S GMT",
    "%A, %d-%b-%y %H:%M:%S GMT",
    "%a %b %e %H:%M:%S %Y",
];

/// Reads the first `Retry-After` header; `None` when there is none that can be read. Which
/// waits are reasonable is not decided here.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<RetryAfter> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    // Plain digits: a number parser alone would also take a sign.
    if !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit()) {
        return text
            .parse()
            .ok()
            .map(|seconds| RetryAfter::Delay(Duration::from_secs(seconds)));
    }
    http_date(text).map(RetryAfter::Until)
}

/// Reads a date of HTTP (RFC 9110, section 5.6.7).
pub(super) fn http_date(text: &str) -> Option<Timestamp> {
    DATE_FORMS.iter().find_map(|form| date(form, text))
}

fn date(form: &str, text: &str) -> Option<Timestamp> {
    let time = BrokenDownTime::parse(form, text).ok()?.to_datetime().ok()?;
    let instant = time.to_zoned(TimeZone::UTC).ok()?.timestamp();
    Some(Timestamp::from_micros(instant.as_microsecond()))
}

#[cfg(test)]
mod tests;
