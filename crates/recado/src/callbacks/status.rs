//! Status callbacks.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use delivery::event::Source;

use super::form::Form;
use super::report::StatusCallback;
use super::{Callbacks, not_stored};
use crate::store::{AttemptId, Report, ReportResult};

pub(super) async fn receive(room: &Callbacks, query: Option<&str>, form: &Form) -> Response {
    let Some(callback) = StatusCallback::read(form, query) else {
        return StatusCode::NO_CONTENT.into_response();
    };
    let attempt = callback.correlation.and_then(AttemptId::from_bytes);
    if attempt.is_none() && callback.message_sid.is_none() {
        tracing::warn!("a signed status callback names no message; it is ignored");
        return StatusCode::NO_CONTENT.into_response();
    }
    let word = callback.unknown_word.map(plain_word);
    if let Some(word) = &word {
        tracing::warn!(
            status = word,
            "Twilio reported a status that this version does not know"
        );
    }
    let report = Report {
        attempt,
        sid: callback.message_sid,
        status: callback.status,
        word,
        code: callback.error_code,
        source: Source::Callback,
        now: room.effects.clock.now(),
        random: room.effects.random.next_u64(),
    };
    match room.reports.report(vec![report]).await {
        Ok(results) => {
            if results.contains(&ReportResult::Parked) {
                tracing::info!("a report about a message that nobody knows is kept for a day");
            }
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => not_stored(&error),
    }
}

/// A word from outside, cut to what may stand in a log: letters, digits and underscores.
fn plain_word(word: &str) -> String {
    word.chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
        .take(32)
        .collect()
}
