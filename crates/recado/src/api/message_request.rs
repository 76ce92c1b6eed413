//! The JSON of a message to send, and how it becomes a checked message.

use std::collections::BTreeMap;

use delivery::message::{
    BusinessScope, DedupeChoice, Draft, DraftError, Kind, Message, Policy, Priority, WindowChoice,
};
use delivery::time::Timestamp;
use serde::Deserialize;

use super::extract::parse_json;
use super::field::{parse_choice, parse_time, sender_name};
use super::problem::{FieldProblem, Problem};

/// A message to send. Give one of `body`, `content_sid` (with `variables`) or `media_url`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MessageRequest {
    /// The recipient as people type numbers (`(85) 98888-7777`), in E.164, or as Twilio writes
    /// addresses (`whatsapp:+5585988887777`, `whatsapp:BR.123`).
    pub to: Option<String>,
    /// Free-form text, 1 to 1,600 characters; only within 24 hours of the person's last message.
    /// With `media_url` it is the caption.
    pub body: Option<String>,
    /// SID of an approved template: `HX` and 32 hexadecimal digits.
    pub content_sid: Option<String>,
    /// Values of the template's placeholders.
    pub variables: Option<BTreeMap<String, String>>,
    /// Public URL of one media file.
    pub media_url: Option<String>,
    /// A location, `geo:LAT,LON` or `geo:LAT,LON|Label`; `body` is then its name.
    pub persistent_action: Option<String>,
    /// One of the configured senders. Default: the one that the person knows.
    pub from: Option<String>,
    /// `utility` (default for templates), `authentication`, `marketing` or `service` (default for
    /// free-form content).
    pub kind: Option<String>,
    /// `urgent`, `normal` (default) or `bulk`.
    pub priority: Option<String>,
    /// Not before this instant (RFC 3339 with offset).
    pub send_at: Option<String>,
    /// Never at or after this instant (RFC 3339 with offset).
    pub expires_at: Option<String>,
    /// What to do when it is not known whether the message was sent: `once` (default),
    /// `at_most_once`, `at_least_once` or `ask`.
    pub delivery: Option<String>,
    /// `enforce` (default) or `assume_open`.
    pub window: Option<String>,
    /// What the message is about, for example `interview:42:reminder:v3`: a newer version
    /// replaces an older one that has not been sent.
    pub business_key: Option<String>,
    /// Whose subject `business_key` names: `person` (default), so that the same key to somebody else
    /// is another subject, or `account`, one subject for everybody.
    pub business_scope: Option<String>,
    /// `refuse` (default) or `allow` the same content to the same person within ten minutes.
    pub dedupe: Option<String>,
    /// Your own data, an object of at most 4,096 bytes; returned as given.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
    /// In bulk requests: the item's own idempotency key.
    pub idempotency_key: Option<String>,
}

impl MessageRequest {
    /// Checks everything.
    ///
    /// # Errors
    /// A problem that names every wrong field.
    pub(super) fn check(self, now: Timestamp) -> Result<Message, Problem> {
        let mut errors = Vec::new();
        let draft = Draft {
            kind: parse(self.kind, &mut errors, |text| {
                parse_choice("kind", text, Kind::ALL, Kind::as_str)
            }),
            priority: parse(self.priority, &mut errors, |text| {
                parse_choice("priority", text, Priority::ALL, Priority::as_str)
            }),
            policy: parse(self.delivery, &mut errors, |text| {
                parse_choice("delivery", text, Policy::ALL, Policy::as_str)
            }),
            window: parse(self.window, &mut errors, |text| {
                parse_choice("window", text, WindowChoice::ALL, WindowChoice::as_str)
            }),
            dedupe: parse(self.dedupe, &mut errors, |text| {
                parse_choice("dedupe", text, DedupeChoice::ALL, DedupeChoice::as_str)
            }),
            business_scope: parse(self.business_scope, &mut errors, |text| {
                parse_choice(
                    "business_scope",
                    text,
                    BusinessScope::ALL,
                    BusinessScope::as_str,
                )
            }),
            send_at: parse(self.send_at, &mut errors, |text| {
                parse_time("send_at", text)
            }),
            expires_at: parse(self.expires_at, &mut errors, |text| {
                parse_time("expires_at", text)
            }),
            to: self.to,
            body: self.body,
            content_sid: self.content_sid,
            variables: self.variables.unwrap_or_default().into_iter().collect(),
            media_url: self.media_url,
            persistent_action: self.persistent_action,
            from: self.from.map(|from| sender_name(&from)),
            business_key: self.business_key,
            metadata: self
                .metadata
                .map(|metadata| serde_json::Value::Object(metadata).to_string()),
        };
        match draft.check(now) {
            Ok(message) if errors.is_empty() => Ok(message),
            Ok(_) => Err(Problem::fields(errors)),
            Err(DraftError { problems }) => {
                errors.extend(
                    problems.into_iter().map(|problem| {
                        FieldProblem::new(problem.field, problem.code, problem.detail)
                    }),
                );
                Err(Problem::fields(errors))
            }
        }
    }
}

/// Checks a message as the API would, without asking the store: for tools that check a spreadsheet
/// before it is sent.
///
/// # Errors
/// The problem that the API would answer.
pub fn check_message(json: &str, now: Timestamp) -> Result<(), Problem> {
    let mut request: MessageRequest = parse_json(json.as_bytes())?;
    request.idempotency_key = None;
    request.check(now).map(|_| ())
}

/// Reads a field that may be left out; when it is wrong, that is added to `errors`.
fn parse<T>(
    text: Option<String>,
    errors: &mut Vec<FieldProblem>,
    read: impl FnOnce(&str) -> Result<T, FieldProblem>,
) -> Option<T> {
    match read(&text?) {
        Ok(value) => Some(value),
        Err(error) => {
            errors.push(error);
            None
        }
    }
}
