//! The JSON of stored messages.

use delivery::address::AddressVariant;
use delivery::codes::{Codes, ErrorSource};
use delivery::hold::ends_when_lifted;
use delivery::outcome::OutcomeKind;
use serde::Serialize;

use super::error::{ErrorJson, cause_json, code_json, last_error_json};
use super::event::{HistoryJson, history_json};
use super::field::time_text;
use super::page::{List, cursor};
use crate::store::{AttemptView, MessagePage, MessageSummary, MessageView};

/// A message as it is now.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct SummaryJson {
    /// Its id.
    pub id: String,
    /// Its state.
    pub state: String,
    /// The recipient's canonical address; null when the person was erased.
    pub to: Option<String>,
    /// The sender.
    pub from: String,
    /// `utility`, `authentication`, `marketing` or `service`.
    pub kind: String,
    /// `urgent`, `normal` or `bulk`.
    pub priority: String,
    /// `once`, `at_most_once`, `at_least_once` or `ask`.
    pub delivery: String,
    /// SID of the template, if there is one.
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
    /// Not sent before this instant.
    pub send_at: Option<String>,
    /// Never sent at or after this instant.
    pub expires_at: Option<String>,
    /// When it is next due, while it waits; null while it waits for a hold to be lifted.
    pub due_at: Option<String>,
    /// When it was first seen at WhatsApp.
    pub sent_at: Option<String>,
    /// When it was first seen on the device.
    pub delivered_at: Option<String>,
    /// When it was first seen opened.
    pub read_at: Option<String>,
    /// When it failed.
    pub failed_at: Option<String>,
    /// Why it failed, or the error of its last attempt.
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
    /// The messages; fewer than `limit`, or none, when few of those looked at match.
    pub messages: Vec<SummaryJson>,
    /// Send it as `cursor` to get the next page; null on the last page.
    pub next_cursor: Option<String>,
}

/// One attempt to hand the message to Twilio.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct AttemptJson {
    /// Its number, from 1.
    pub n: u32,
    /// `open`, `not_sent`, `sent`, `unknown` or `refused`.
    pub outcome: String,
    /// Twilio's SID.
    pub provider_sid: Option<String>,
    /// How that is known: by the `answer`, a `callback` or the `list` of Twilio; `absence` when it
    /// is proven that there is no such message.
    pub settled_by: Option<String>,
    /// Whether it used the number without its ninth digit.
    pub other_form: bool,
    /// When it was opened.
    pub started_at: String,
    /// When its outcome was recorded.
    pub finished_at: Option<String>,
    /// What went wrong, as answered or as reported later.
    pub error: Option<ErrorJson>,
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
        next_cursor: page.next.map(|key| cursor(List::Messages, key)),
    }
}

fn summary_json(view: &MessageSummary, codes: &Codes) -> SummaryJson {
    // What waits for a hold to be lifted has no time of its own.
    let due_at = view.due_at.filter(|due| !ends_when_lifted(*due));
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
        due_at: due_at.map(time_text),
        sent_at: view.sent_at.map(time_text),
        delivered_at: view.delivered_at.map(time_text),
        read_at: view.read_at.map(time_text),
        failed_at: view.failed_at.map(time_text),
        error: view
            .error
            .map(|error| last_error_json(error, view.state, codes)),
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
        settled_by: view.settled_by.map(|by| by.as_str().to_owned()),
        other_form: view.variant == AddressVariant::WithoutNinthDigit,
        started_at: time_text(view.started_at),
        finished_at: view.finished_at.map(time_text),
        error,
    }
}
