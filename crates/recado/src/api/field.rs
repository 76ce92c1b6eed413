//! Fields that several requests and answers have: addresses, senders, instants, fixed choices.

use delivery::address::{Address, Context, without_channel};
use delivery::message::SenderName;
use delivery::time::Timestamp;

use super::problem::FieldProblem;

/// Reads an address. A plus that was not percent-encoded in a query arrives as a space.
pub(super) fn parse_address(field: &str, text: &str) -> Result<Address, FieldProblem> {
    let text = match text.strip_prefix(' ') {
        Some(rest) => format!("+{rest}"),
        None => text.to_owned(),
    };
    match Address::parse(&text, Context::of_field(&text)) {
        Ok(parsed) => Ok(parsed.address),
        Err(rejection) => Err(FieldProblem::new(
            field,
            rejection.reason.as_str(),
            rejection.reason.explain(),
        )),
    }
}

/// Reads the name of a sender: as configured, or with Twilio's prefix before it.
pub(super) fn sender_name(text: &str) -> SenderName {
    SenderName::new(without_channel(text.trim()))
}

/// Reads one of a few words.
pub(super) fn parse_choice<T: Copy>(
    field: &str,
    text: &str,
    all: &[T],
    as_str: fn(T) -> &'static str,
) -> Result<T, FieldProblem> {
    let found = all.iter().copied().find(|value| as_str(*value) == text);
    found.ok_or_else(|| {
        let words: Vec<_> = all.iter().map(|value| as_str(*value)).collect();
        FieldProblem::new(
            field,
            format!("{field}_unknown"),
            format!("Must be one of {}.", words.join(", ")),
        )
    })
}

/// Reads an instant in RFC 3339.
pub(super) fn parse_time(field: &str, text: &str) -> Result<Timestamp, FieldProblem> {
    match text.trim().parse::<jiff::Timestamp>() {
        Ok(parsed) => Ok(Timestamp::from_micros(parsed.as_microsecond())),
        Err(_) => Err(FieldProblem::new(
            field,
            "time_invalid",
            "Must be an RFC 3339 date and time with its UTC offset, for example \
             2026-12-01T14:00:00-03:00.",
        )),
    }
}

/// The same in a query, where the plus of an offset that was not percent-encoded arrives as a
/// space.
pub(super) fn parse_query_time(field: &str, text: &str) -> Result<Timestamp, FieldProblem> {
    match text.rsplit_once(' ') {
        Some((at, offset)) if at.contains(['T', 't']) => {
            parse_time(field, &format!("{at}+{offset}"))
        }
        _ => parse_time(field, text),
    }
}

/// An instant in RFC 3339, UTC, to the microsecond.
pub(super) fn time_text(time: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(time.micros())
        .map_or_else(|_| String::new(), |time| format!("{time:.6}"))
}
