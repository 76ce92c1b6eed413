//! What went wrong with a message, what it means, and what to do about it.

use delivery::codes::{Action, Codes, ErrorSource};
use delivery::progress::{LastError, Reason};
use delivery::state::State;
use serde::Serialize;

/// An error with its explanation.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct ErrorJson {
    /// Twilio's error code, when it gave one.
    pub code: Option<u32>,
    /// Stable word: `provider`, `network`, `rate_limited`, `window_closed`, `attempts_max`,
    /// `age_max`, `unsettled` or `unreadable`.
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

/// The cause for which an attempt had no answer, with its explanation.
pub(super) fn cause_json(cause: &str) -> ErrorJson {
    ErrorJson {
        code: None,
        reason: cause.to_owned(),
        meaning: format!("The request ended with: {}", cause.replace('_', " ")),
        advice: "Nothing to do: what happens next is in the history.".to_owned(),
    }
}

/// The advice for a message that failed with an error that usually passes.
const NO_MORE_ATTEMPTS: &str = "No more attempts are made by themselves. Find out why in the \
                                attempts, then ask for a retry or send a new message.";

/// Whether the general advice for an error is to wait for the next attempt.
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
            "Nothing to do: it is tried again by itself until it is too old.",
        ),
        Reason::RateLimited => (
            "The provider asked us to slow down; nothing was sent",
            "Nothing to do: it is tried again by itself.",
        ),
        Reason::WindowClosed => (
            "The 24-hour window closed before the message could leave",
            "Send an approved template: the person has not written within 24 hours.",
        ),
        Reason::AttemptsMax => (
            "Every attempt failed and no more are made",
            "Find out why in the attempts, then send a new message.",
        ),
        Reason::AgeMax => (
            "The message became too old to be tried again",
            "If it is still useful, ask for a retry or send a new message.",
        ),
        Reason::Unsettled => (
            "Nobody can say whether it was sent: the answer was lost, and neither a report nor \
             the provider's list shows it",
            "Ask the person, or ask for a retry and accept that it may arrive twice.",
        ),
        Reason::Unreadable => (
            "The stored content cannot be opened: wrong master key, or damaged data",
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
