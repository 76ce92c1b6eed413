//! What went wrong with a message, what it means, and what to do about it.

use delivery::codes::{Action, Codes, ErrorSource};
use delivery::progress::{LastError, Reason};
use delivery::state::State;
use serde::Serialize;

/// An error with its explanation.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct ErrorJson {
    /// Twilio's error code, if any.
    pub code: Option<u32>,
    /// Stable word: `provider`, `network`, `rate_limited`, `window_closed`, `attempts_max`,
    /// `age_max`, `unsettled` or `unreadable`; in an attempt also its cause, for example
    /// `timeout`.
    pub reason: String,
    /// What it means.
    pub meaning: String,
    /// What to do about it.
    pub advice: String,
}

/// The last error of a message in this state, with its explanation.
pub(super) fn last_error_json(error: LastError, state: State, codes: &Codes) -> ErrorJson {
    let mut json = explained(error, codes);
    if matches!(state, State::Failed | State::Undelivered) && is_tried_again(error, codes) {
        json.advice = NO_MORE_ATTEMPTS.to_owned();
    }
    json
}

/// An error of the provider with its explanation.
pub(super) fn code_json(code: Option<u32>, error_source: ErrorSource, codes: &Codes) -> ErrorJson {
    let rule = codes.rule(code, error_source);
    ErrorJson {
        code,
        reason: Reason::Provider.as_str().to_owned(),
        meaning: rule.meaning,
        advice: rule.action.advice().to_owned(),
    }
}

/// The cause of an attempt without an answer, with its explanation.
pub(super) fn cause_json(cause: &str) -> ErrorJson {
    ErrorJson {
        code: None,
        reason: cause.to_owned(),
        meaning: format!(
            "The request to the provider ended with: {}",
            cause.replace('_', " ")
        ),
        advice: "Nothing to do: the history shows what happened next.".to_owned(),
    }
}

/// The advice for a message that failed with an error that usually passes.
const NO_MORE_ATTEMPTS: &str = "No more attempts are made automatically. See the attempts \
                                for the cause, then request a retry or send a new message.";

/// Whether the usual advice for an error is to wait for the next attempt.
fn is_tried_again(error: LastError, codes: &Codes) -> bool {
    error.reason == Reason::Provider
        && matches!(
            codes.rule(error.code, ErrorSource::Status).action,
            Action::RetryBackoff | Action::RetryLater | Action::ReconcileThenRetry
        )
}

fn explained(error: LastError, codes: &Codes) -> ErrorJson {
    if error.reason == Reason::Provider {
        return code_json(error.code, ErrorSource::Status, codes);
    }
    let (meaning, advice) = match error.reason {
        Reason::Provider | Reason::Network => (
            "The provider could not be reached; nothing was sent",
            "Nothing to do: it is retried automatically until it is too old.",
        ),
        Reason::RateLimited => (
            "The provider asked us to slow down; nothing was sent",
            "Nothing to do: it is retried automatically.",
        ),
        Reason::WindowClosed => (
            "The 24-hour window closed before the message could be sent",
            "Send an approved template: the person has not written in the last 24 hours.",
        ),
        Reason::AttemptsMax => (
            "Every attempt failed, and no more will be made",
            "See the attempts for the cause, then send a new message.",
        ),
        Reason::AgeMax => (
            "The message is too old to be retried",
            "If it is still useful, request a retry or send a new message.",
        ),
        Reason::Unsettled => (
            "It is not known whether it was sent: the answer was lost, and neither a report nor \
             the provider's list shows the message",
            "Ask the person, or request a retry and accept that the message may arrive twice.",
        ),
        Reason::Unreadable => (
            "The stored content cannot be decrypted: wrong master key, or damaged data",
            "Ask the operator to check the master key and to run recado verify.",
        ),
    };
    ErrorJson {
        code: error.code,
        reason: error.reason.as_str().to_owned(),
        meaning: meaning.to_owned(),
        advice: advice.to_owned(),
    }
}
