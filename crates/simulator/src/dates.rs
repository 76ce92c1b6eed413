//! Dates as Twilio and the truth log write them.

/// `Thu, 24 Aug 2023 05:01:45 +0000`.
pub(crate) fn rfc2822(time: jiff::Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// `Thu, 24 Aug 2023 05:01:45 GMT`, as in headers.
pub(crate) fn http_date(time: jiff::Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// RFC 3339 to the microsecond.
pub(crate) fn rfc3339(time: jiff::Timestamp) -> String {
    format!("{time:.6}")
}
