//! Fields that several requests and answers have: addresses, senders, instants.

use delivery::address::{Address, Context};
use delivery::message::SenderName;
use delivery::time::Timestamp;

use super::problem::Problem;

/// Reads an address in a field. A plus that was not percent-encoded arrives as a space.
pub(super) fn parse_address(field: &str, text: &str) -> Result<Address, Problem> {
    let text = match text.strip_prefix(' ') {
        Some(rest) => format!("+{rest}"),
        None => text.to_owned(),
    };
    let context = if text.starts_with("whatsapp:") {
        Context::Inbound
    } else {
        Context::Typed
    };
    match Address::parse(&text, context) {
        Ok(parsed) => Ok(parsed.address),
        Err(rejection) => Err(Problem::field(
            field,
            rejection.reason.as_str(),
            rejection.reason.explain(),
        )),
    }
}

/// Senders are named as configured; Twilio's prefix is tolerated.
pub(super) fn sender_name(text: &str) -> SenderName {
    SenderName::new(text.trim().strip_prefix("whatsapp:").unwrap_or(text.trim()))
}

/// Reads an RFC 3339 instant.
pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    let parsed: jiff::Timestamp = text.trim().parse().ok()?;
    Some(Timestamp::from_micros(parsed.as_microsecond()))
}

/// The same in a query, where the plus of an offset that was not percent-encoded arrives as a
/// space.
pub(super) fn parse_query_time(text: &str) -> Option<Timestamp> {
    match text.rsplit_once(' ') {
        Some((at, offset)) if at.contains(['T', 't']) => parse_time(&format!("{at}+{offset}")),
        _ => parse_time(text),
    }
}

/// An instant in RFC 3339, UTC, to the microsecond.
pub(super) fn time_text(time: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(time.micros())
        .map_or_else(|_| String::new(), |time| format!("{time:.6}"))
}
