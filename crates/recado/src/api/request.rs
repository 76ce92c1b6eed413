//! The JSON of a message as callers write it, and its way to a checked message.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use delivery::message::{
    DedupeChoice, Draft, DraftError, Kind, Message, Policy, Priority, SenderName, WindowChoice,
};
use delivery::time::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

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
    /// Public URL of one medium.
    pub media_url: Option<String>,
    /// A place, `geo:LAT,LON` or `geo:LAT,LON|Label`; `body` then names it.
    pub persistent_action: Option<String>,
    /// One of the configured senders; left out, the one the person knows.
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
    /// What may happen when nobody can say whether it was sent: `at_most_once` (default),
    /// `at_least_once` or `ask`.
    pub delivery: Option<String>,
    /// `enforce` (default) or `assume_open`.
    pub window: Option<String>,
    /// What the message is about, for example `interview:42:reminder:v3`: a newer version takes
    /// the place of an unsent older one.
    pub business_key: Option<String>,
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
            kind: word("kind", self.kind, Kind::ALL, Kind::as_str, &mut errors),
            priority: word(
                "priority",
                self.priority,
                Priority::ALL,
                Priority::as_str,
                &mut errors,
            ),
            policy: word(
                "delivery",
                self.delivery,
                Policy::ALL,
                Policy::as_str,
                &mut errors,
            ),
            window: word(
                "window",
                self.window,
                WindowChoice::ALL,
                WindowChoice::as_str,
                &mut errors,
            ),
            dedupe: word(
                "dedupe",
                self.dedupe,
                DedupeChoice::ALL,
                DedupeChoice::as_str,
                &mut errors,
            ),
            send_at: time("send_at", self.send_at, &mut errors),
            expires_at: time("expires_at", self.expires_at, &mut errors),
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
                errors.extend(problems.into_iter().map(|problem| FieldProblem {
                    field: problem.field.to_owned(),
                    code: problem.code.to_owned(),
                    detail: problem.detail,
                }));
                Err(Problem::fields(errors))
            }
        }
    }
}

/// Senders are named as configured; Twilio's prefix is tolerated.
pub(super) fn sender_name(text: &str) -> SenderName {
    SenderName::new(text.trim().strip_prefix("whatsapp:").unwrap_or(text.trim()))
}

fn word<T: Copy>(
    field: &str,
    text: Option<String>,
    all: &[T],
    word: fn(T) -> &'static str,
    errors: &mut Vec<FieldProblem>,
) -> Option<T> {
    let text = text?;
    let found = all.iter().copied().find(|value| word(*value) == text);
    if found.is_none() {
        let words: Vec<_> = all.iter().map(|value| word(*value)).collect();
        errors.push(FieldProblem {
            field: field.to_owned(),
            code: format!("{field}_unknown"),
            detail: format!("Write one of {}.", words.join(", ")),
        });
    }
    found
}

fn time(field: &str, text: Option<String>, errors: &mut Vec<FieldProblem>) -> Option<Timestamp> {
    let text = text?;
    match parse_time(&text) {
        Some(time) => Some(time),
        None => {
            errors.push(FieldProblem {
                field: field.to_owned(),
                code: "time_invalid".to_owned(),
                detail: "Write an instant in RFC 3339 with its offset, for example \
                         2026-12-01T14:00:00-03:00."
                    .to_owned(),
            });
            None
        }
    }
}

/// Reads an RFC 3339 instant.
pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    let parsed: jiff::Timestamp = text.trim().parse().ok()?;
    Some(Timestamp::from_micros(parsed.as_microsecond()))
}

/// The same in a query, where the plus of an offset that was not percent-encoded arrives as a
/// space.
pub(super) fn parse_query_time(text: &str) -> Option<Timestamp> {
    match text.rsplit_once(' ') {
        Some((at, offset)) if at.contains(['T', 't']) => parse_time(&format!("{at}+{offset}")),
        _ => parse_time(text),
    }
}

/// The bytes of a request, or a problem when there are too many.
pub(super) struct Body(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let rejection = match Bytes::from_request(request, state).await {
            Ok(bytes) => return Ok(Self(bytes)),
            Err(rejection) => rejection,
        };
        Err(match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "The body is too large: a request has at most 1 MiB, and one to \
                 /api/v1/messages/bulk at most 8 MiB. Send less at once.",
            ),
            status => Problem::new(
                status,
                "body_unreadable",
                "The body ended before it was whole. Send it again.",
            ),
        })
    }
}

/// The name or id in a path; one that is no text is the name of nothing.
pub(super) struct PathName(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for PathName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let named = Path::<String>::from_request_parts(parts, state).await;
        named
            .map(|Path(name)| Self(name))
            .map_err(|_| Problem::not_found("name"))
    }
}

/// Reads a JSON body whose type is checked, and says which field is wrong or unknown.
pub(super) fn read_json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: &[u8],
) -> Result<T, Problem> {
    expect_json(headers)?;
    parse_json(body)
}

/// Refuses a body that does not call itself JSON.
pub(super) fn expect_json(headers: &HeaderMap) -> Result<(), Problem> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let is_json = content_type.is_some_and(|value| {
        let media = value
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        media == "application/json" || media.ends_with("+json")
    });
    if is_json {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "not_json",
        "Send JSON with `Content-Type: application/json`.",
    ))
}

/// Reads JSON text.
pub(super) fn parse_json<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    expect_object(text)?;
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        json_problem(&path, error.inner())
    })?;
    reader.end().map_err(|error| json_problem(".", &error))?;
    Ok(value)
}

/// serde would also take a list, with the fields by their place.
pub(super) fn expect_object(text: &[u8]) -> Result<(), Problem> {
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    if first == Some(&b'{') || serde_json::from_slice::<serde::de::IgnoredAny>(text).is_err() {
        return Ok(());
    }
    Err(Problem::field(
        "the body",
        "wrong_type",
        "The body has the wrong type: send a JSON object, with the fields by name.",
    ))
}

/// serde's words name the field and what was expected, and never repeat strings of the caller
/// except the names of unknown fields; values are left out.
fn json_problem(path: &str, error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    if let Some(rest) = text.strip_prefix("unknown field `")
        && let Some((name, _)) = rest.split_once('`')
    {
        let name: String = name.chars().take(64).collect();
        let detail =
            format!("There is no field {name}; check its spelling against /api/v1/openapi.json.");
        return Problem::field(&name, "unknown_field", detail);
    }
    for (start, code, what) in [
        ("missing field `", "field_missing", "is missing; add it"),
        (
            "duplicate field `",
            "duplicate_field",
            "comes twice; keep one",
        ),
    ] {
        if let Some(rest) = text.strip_prefix(start)
            && let Some((name, _)) = rest.split_once('`')
        {
            return Problem::field(name, code, format!("The field {name} {what}."));
        }
    }
    if error.is_data() {
        let place = if path == "." { "the body" } else { path };
        let wanted = text
            .rsplit_once("expected ")
            .map_or("another type", |(_, wanted)| wanted);
        let wanted = wanted.split(" at line").next().unwrap_or(wanted);
        let detail = format!("{place} has the wrong type: expected {wanted}.");
        return Problem::field(place, "wrong_type", detail);
    }
    Problem::new(
        StatusCode::BAD_REQUEST,
        "malformed_json",
        format!(
            "The body is not JSON: error at line {}, column {}.",
            error.line(),
            error.column()
        ),
    )
}
