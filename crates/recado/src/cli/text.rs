//! What the API answers, as text for a terminal.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// A field as text; empty when it is missing or null.
pub(super) fn text(value: &Value, field: &str) -> String {
    match value.get(field) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The error of a message or event: its code and what it means.
pub(super) fn error_text(value: &Value) -> String {
    let Some(error) = value.get("error").filter(|error| !error.is_null()) else {
        return String::new();
    };
    match error.get("code").and_then(Value::as_u64) {
        Some(code) => format!("{code} {}", text(error, "meaning")),
        None => text(error, "meaning"),
    }
}

/// An address of which a few digits are shown.
pub(super) fn masked(address: &str) -> String {
    delivery::address::Address::from_canonical(address)
        .map_or_else(String::new, |address| address.masked().to_string())
}

/// A text as a part of a URL.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
