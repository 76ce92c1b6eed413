//! The answers to a callback that is refused, or that cannot be stored.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::store::StoreError;

/// Nothing is stored, and the answer does not say why: the sender is not Twilio, or a URL or token
/// differs from what Twilio has.
pub(super) fn refused() -> Response {
    tracing::warn!(
        "a callback with a wrong signature was refused; if Twilio sent it, compare WEBHOOK_URL, \
         STATUS_CALLBACK_URL and TWILIO_AUTH_TOKEN with the console"
    );
    (StatusCode::FORBIDDEN, "The signature is wrong.\n").into_response()
}

/// Twilio retries after a 5xx, because the overrides in our URL ask for it.
pub(super) fn not_stored(error: &StoreError) -> Response {
    tracing::error!(%error, "a callback could not be stored; Twilio is asked to repeat it");
    let mut response =
        (StatusCode::SERVICE_UNAVAILABLE, "It could not be stored.\n").into_response();
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
