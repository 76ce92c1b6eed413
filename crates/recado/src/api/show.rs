//! Messages as JSON.

use delivery::address::AddressVariant;
use delivery::codes::{Action, Codes, ErrorSource};
use delivery::event::EventKind;
use delivery::outcome::OutcomeKind;
use delivery::state::State;
use delivery::time::Timestamp;
use serde::Serialize;

use crate::store::{AttemptView, HistoryView, MessagePage, MessageSummary, MessageView};
use delivery::progress::{LastError, Reason};

/// A message as it is now.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct SummaryJson {
    /// Its id.
    pub id: String,
    /// Where it is.
    pub state: String,
    /// The recipient's canonical address; null when the person was erased.
    pub to: Option<String>,
    /// The sender.
    pub from: String,
    /// What it is for.
    pub kind: String,
    /// What may overtake what.
    pub priority: String,
    /// What may happen in doubt.
    pub delivery: String,
    /// The template, when it is one.
    pub content_sid: Option<String>,
    /// The business key as given.
    pub business_key: Option<String>,
    /// Your own data as given.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<serde_json::Value>,
    /// Twilio's SID of the latest attempt that has one.
    pub provider_sid: Option<String>,
    /// When it was stored.
    pub accepted_at: String,
    /// Not before.
    pub send_at: Option<String>,
    /// Never at or after.
    pub expires_at: Option<String>,
    /// When it is due next, while it waits.
    pub due_at: Option<String>,
    /// First seen at WhatsApp.
    pub sent_at: Option<String>,
    /// First seen on the device.
    pub delivered_at: Option<String>,
    /// First seen opened.
    pub read_at: Option<String>,
    /// When it failed.
    pub failed_at: Option<String>,
    /// Why it failed, or what its last attempt said.
    pub error: Option<ErrorJson>,
    /// Whether the person may have received it twice.
    pub possible_duplicate: bool,
}

/// A message with its attempts and its history.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct MessageJson {
    /// The message.
    #[serde(flatten)]
    pub summary: SummaryJson,
    /// Its attempts, first to last.
    pub attempts: Vec<AttemptJson>,
    /// Everything that happened, first to last.
    pub history: Vec<HistoryJson>,
}

/// A page of messages, newest first.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct MessagePageJson {
    /// The messages.
    pub messages: Vec<SummaryJson>,
    /// Give it as `cursor` for the next page; null at the end.
    pub next_cursor: Option<String>,
}

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

/// One try to hand the message to Twilio.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct AttemptJson {
    /// Its number, from 1.
    pub n: u32,
    /// `open`, `not_sent`, `sent`, `unknown` or `refused`.
    pub outcome: String,
    /// Twilio's SID.
    pub provider_sid: Option<String>,
    /// Whether it used the other ninth-digit form of the number.
    pub other_form: bool,
    /// When it was opened.
    pub started_at: String,
    /// When its outcome was recorded.
    pub finished_at: Option<String>,
    /// What went wrong, in its answer or reported later.
    pub error: Option<ErrorJson>,
}

/// One thing that happened.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct HistoryJson {
    /// What happened, for example `message.accepted` or `message.reported`.
    pub event: String,
    /// The state after it.
    pub state: String,
    /// Who told us: `api`, `dispatch`, `callback`, `poll`, `operator` or `recipient`.
    pub source: String,
    /// When it was committed.
    pub at: String,
    /// The number of the attempt it is about.
    pub attempt: Option<u32>,
    /// Twilio's status word.
    pub provider_status: Option<String>,
    /// The error it carried.
    pub error: Option<ErrorJson>,
    /// A stable word that says more.
    pub detail: Option<String>,
}

/// A message with its attempts and history as JSON.
pub(super) fn message_json(view: &MessageView, codes: &Codes) -> MessageJson {
    MessageJson {
        summary: summary_json(&view.summary, codes),
        attempts: view
            .attempts
            .iter()
            .map(|attempt| attempt_json(attempt, codes))
            .collect(),
        history: view
            .history
            .iter()
            .map(|entry| history_json(entry, codes))
            .collect(),
    }
}

/// A page as JSON.
pub(super) fn page_json(page: &MessagePage, codes: &Codes) -> MessagePageJson {
    MessagePageJson {
        messages: page
            .messages
            .iter()
            .map(|summary| summary_json(summary, codes))
            .collect(),
        next_cursor: page.next.map(cursor),
    }
}

/// A key as a cursor: callers need not know what it is. Its last part only shows that it is one.
pub(super) fn cursor(key: i64) -> String {
    let mut digits = Vec::new();
    let key = key.unsigned_abs();
    let mut rest = u128::from(key) * u128::from(CURSOR_SIGN) + u128::from(cursor_sign(key));
    loop {
        digits.push(char::from_digit(u32::try_from(rest % 36).unwrap_or(0), 36).unwrap_or('0'));
        rest /= 36;
        if rest == 0 {
            break;
        }
    }
    digits.iter().rev().collect()
}

/// The key in a cursor; `None` when it is none of ours.
pub(super) fn key_of_cursor(text: &str) -> Option<i64> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
    let whole = u128::from_str_radix(text, 36).ok().filter(|_| plain)?;
    let key = u64::try_from(whole / u128::from(CURSOR_SIGN)).ok()?;
    let sign = u64::try_from(whole % u128::from(CURSOR_SIGN)).ok()?;
    i64::try_from(key).ok().filter(|_| sign == cursor_sign(key))
}

const CURSOR_SIGN: u64 = 36 * 36 * 36;

fn cursor_sign(key: u64) -> u64 {
    key.wrapping_mul(7_919).wrapping_add(20_011) % CURSOR_SIGN
}

/// An instant in RFC 3339, UTC, to the microsecond.
pub(super) fn time_text(time: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(time.micros())
        .map_or_else(|_| String::new(), |time| format!("{time:.6}"))
}

fn summary_json(view: &MessageSummary, codes: &Codes) -> SummaryJson {
    SummaryJson {
        id: view.id.to_string(),
        state: view.state.as_str().to_owned(),
        to: view
            .to
            .as_ref()
            .map(|address| address.canonical().to_owned()),
        from: view.from.clone(),
        kind: view.kind.as_str().to_owned(),
        priority: view.priority.as_str().to_owned(),
        delivery: view.policy.as_str().to_owned(),
        content_sid: view.content_sid.map(|sid| sid.to_string()),
        business_key: view.business_key.clone(),
        metadata: view
            .metadata
            .as_ref()
            .and_then(|text| serde_json::from_str(text).ok()),
        provider_sid: view.provider_sid.map(|sid| sid.to_string()),
        accepted_at: time_text(view.accepted_at),
        send_at: view.send_at.map(time_text),
        expires_at: view.expires_at.map(time_text),
        due_at: view.due_at.map(time_text),
        sent_at: view.sent_at.map(time_text),
        delivered_at: view.delivered_at.map(time_text),
        read_at: view.read_at.map(time_text),
        failed_at: view.failed_at.map(time_text),
        error: view.error.map(|error| {
            let mut shown = failing_json(error, codes);
            if matches!(view.state, State::Failed | State::Undelivered)
                && is_tried_again(error, codes)
            {
                shown.advice = NO_MORE_ATTEMPTS.to_owned();
            }
            shown
        }),
        possible_duplicate: view.possible_duplicate,
    }
}

fn attempt_json(view: &AttemptView, codes: &Codes) -> AttemptJson {
    let error = match (view.code, view.outcome, view.cause.as_deref()) {
        (Some(code), outcome, _) => {
            let error_source = if outcome == Some(OutcomeKind::Refused) {
                ErrorSource::Response
            } else {
                ErrorSource::Status
            };
            Some(code_json(Some(code), error_source, codes))
        }
        (None, Some(OutcomeKind::Refused), _) => {
            Some(code_json(None, ErrorSource::Response, codes))
        }
        (None, _, Some(cause)) => Some(cause_json(cause)),
        (None, _, None) => None,
    };
    AttemptJson {
        n: view.n,
        outcome: view.outcome.map_or("open", OutcomeKind::as_str).to_owned(),
        provider_sid: view.sid.map(|sid| sid.to_string()),
        other_form: view.variant == AddressVariant::WithoutNinthDigit,
        started_at: time_text(view.started_at),
        finished_at: view.finished_at.map(time_text),
        error,
    }
}

/// One entry of a history as JSON.
pub(super) fn history_json(view: &HistoryView, codes: &Codes) -> HistoryJson {
    let refused = view.kind == EventKind::AttemptRefused;
    let error = if view.code.is_some() || refused {
        let error_source = if refused {
            ErrorSource::Response
        } else {
            ErrorSource::Status
        };
        Some(code_json(view.code, error_source, codes))
    } else {
        None
    };
    HistoryJson {
        event: format!("message.{}", view.kind.as_str()),
        state: view.state.as_str().to_owned(),
        source: view.source.as_str().to_owned(),
        at: time_text(view.at),
        attempt: view.attempt,
        provider_status: view.status.map(|status| status.as_str().to_owned()),
        error,
        detail: view.detail.clone(),
    }
}

/// The advice for a message whose trouble usually passes, and for which it did not in time.
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

fn failing_json(error: LastError, codes: &Codes) -> ErrorJson {
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

fn code_json(code: Option<u32>, error_source: ErrorSource, codes: &Codes) -> ErrorJson {
    let rule = codes.rule(code, error_source);
    ErrorJson {
        code,
        reason: Reason::Provider.as_str().to_owned(),
        meaning: rule.meaning,
        advice: rule.action.advice().to_owned(),
    }
}

fn cause_json(cause: &str) -> ErrorJson {
    ErrorJson {
        code: None,
        reason: cause.to_owned(),
        meaning: format!("The request ended with: {}", cause.replace('_', " ")),
        advice: "Nothing to do: what happens next is in the history.".to_owned(),
    }
}
