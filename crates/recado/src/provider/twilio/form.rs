//! What we ask: the form of a create request and the query of a list request.

use std::time::Duration;

use delivery::message::Content;
use delivery::time::Timestamp;
use serde::Serializer as _;
use url::form_urlencoded::Serializer;

use super::url::status_callback;
use crate::provider::{CreateRequest, InboundRecipient, ListQuery};

/// Bounds of `ValidityPeriod` (`message_create` in Twilio's API description).
const VALIDITY_SECONDS: (u64, u64) = (1, 36_000);
/// Messages on one page. With more, the longest texts, each character escaped, could exceed the
/// bound on an answer's bytes.
const PAGE_SIZE: &str = "50";

/// The body of a create request that leaves `now`, which is before its deadline; Twilio reports to
/// `status_callback_url`.
pub(super) fn create_form(
    request: &CreateRequest,
    now: Timestamp,
    status_callback_url: Option<&str>,
) -> String {
    let mut form = Serializer::new(String::with_capacity(1024));
    form.append_pair("To", &whatsapp(&request.to));
    if request.from.is_messaging_service() {
        form.append_pair("MessagingServiceSid", request.from.as_str());
    } else {
        form.append_pair("From", &whatsapp(request.from.as_str()));
        if let Some(service) = request.messaging_service {
            form.append_pair("MessagingServiceSid", &service.to_string());
        }
    }
    append_content(&mut form, &request.content);
    if let Some(expires_at) = request.expires_at {
        let seconds = validity_seconds(expires_at.since(now));
        form.append_pair("ValidityPeriod", &seconds.to_string());
    }
    if let Some(url) = status_callback_url {
        form.append_pair(
            "StatusCallback",
            &status_callback(url, &request.correlation_id),
        );
    }
    form.finish()
}

/// The query of a list request, newest first. There is no filter by date: it would look at the
/// date of sending, which is empty before a message is sent.
pub(super) fn list_query(query: &ListQuery) -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("To", &whatsapp(&query.to));
    if let Some(from) = &query.from {
        form.append_pair("From", &whatsapp(from));
    }
    form.append_pair("PageSize", PAGE_SIZE);
    form.finish()
}

/// The query of the first page of what people wrote, newest first.
pub(super) fn inbound_query(recipient: &InboundRecipient) -> String {
    let mut form = Serializer::new(String::new());
    if let InboundRecipient::Number(number) = recipient {
        form.append_pair("To", &whatsapp(number));
    }
    form.append_pair("PageSize", PAGE_SIZE);
    form.finish()
}

/// The query for the youngest messages of the account.
pub(super) fn youngest_query() -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("PageSize", PAGE_SIZE);
    form.finish()
}

fn append_content(form: &mut Serializer<'_, String>, content: &Content) {
    match content {
        Content::Text {
            body,
            persistent_action,
        } => {
            form.append_pair("Body", body);
            if let Some(action) = persistent_action {
                form.append_pair("PersistentAction", action);
            }
        }
        Content::Template {
            content_sid,
            variables,
        } => {
            form.append_pair("ContentSid", &content_sid.to_string());
            if !variables.is_empty() {
                form.append_pair("ContentVariables", &json_object(variables));
            }
        }
        Content::Media { url, caption } => {
            form.append_pair("MediaUrl", url);
            if let Some(caption) = caption {
                form.append_pair("Body", caption);
            }
        }
    }
}

#[expect(
    clippy::expect_used,
    reason = "maps of texts have no value that JSON lacks"
)]
fn json_object(pairs: &[(String, String)]) -> String {
    let mut json = Vec::new();
    serde_json::Serializer::new(&mut json)
        .collect_map(pairs.iter().map(|(name, value)| (name, value)))
        .expect("texts in memory are always JSON");
    String::from_utf8(json).expect("JSON is UTF-8")
}

/// A number or user id as Twilio writes it.
fn whatsapp(address: &str) -> String {
    format!("whatsapp:{address}")
}

/// Whole seconds, rounded down: a message must not outlive its deadline.
fn validity_seconds(validity: Duration) -> u64 {
    let (min, max) = VALIDITY_SECONDS;
    validity.as_secs().clamp(min, max)
}

#[cfg(test)]
mod tests;
