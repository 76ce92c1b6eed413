//! What handlers read of a request: its body, the name in its path, its query.

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{self, FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// Characters of an unknown name that a problem repeats.
const NAME_CHARACTERS_SHOWN_MAX: usize = 64;
/// Bytes of a request body, unless its handler takes more.
const BODY_BYTES_MAX: usize = 1 << 20;

/// The bytes of a request body, at most `BYTES_MAX`.
pub(super) struct Body<const BYTES_MAX: usize = BODY_BYTES_MAX>(pub(super) Bytes);

impl<const BYTES_MAX: usize, S: Send + Sync> FromRequest<S> for Body<BYTES_MAX> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        match Limited::new(request.into_body(), BYTES_MAX).collect().await {
            Ok(body) => Ok(Self(body.to_bytes())),
            Err(error) if error.is::<LengthLimitError>() => Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!(
                    "The body is larger than {} MiB. Split it into several requests.",
                    BYTES_MAX >> 20
                ),
            )),
            Err(_) => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "body_unreadable",
                "The body was cut off. Send it again.",
            )),
        }
    }
}

/// The name or id in a path. Nothing has one that is not UTF-8.
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

/// The fields of a query, or a problem that names the wrong one.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match extract::Query::from_request_parts(parts, state).await {
            Ok(extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(query_problem(&rejection)),
        }
    }
}

/// Reads a JSON body, and says which field is wrong or unknown.
pub(super) fn read_json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: &[u8],
) -> Result<T, Problem> {
    expect_json(headers)?;
    parse_json(body)
}

/// Refuses a body whose content type is not JSON.
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
        "Content-Type must be application/json.",
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

/// Refuses everything but an object: serde would also take a list with the fields in order.
pub(super) fn expect_object(text: &[u8]) -> Result<(), Problem> {
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    if first == Some(&b'{') || serde_json::from_slice::<serde::de::IgnoredAny>(text).is_err() {
        return Ok(());
    }
    Err(Problem::field(
        "the body",
        "wrong_type",
        "The body has the wrong type: send a JSON object.",
    ))
}

/// Explains what serde could not read. Its texts name the field and what was expected; values of
/// the caller, which may be personal, are left out.
fn json_problem(path: &str, error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    if let Some(rest) = text.strip_prefix("unknown field `")
        && let Some((name, _)) = rest.split_once('`')
    {
        let name: String = name.chars().take(NAME_CHARACTERS_SHOWN_MAX).collect();
        let detail = format!("There is no field {name}; /api/v1/openapi.json lists all fields.");
        return Problem::field(&name, "unknown_field", detail);
    }
    for (start, code, what) in [
        ("missing field `", "field_missing", "is required"),
        (
            "duplicate field `",
            "duplicate_field",
            "appears twice; keep one",
        ),
    ] {
        if let Some(rest) = text.strip_prefix(start)
            && let Some((name, _)) = rest.split_once('`')
        {
            return Problem::field(name, code, format!("The field {name} {what}."));
        }
    }
    if error.is_data() {
        let (place, subject) = match path {
            "." => ("the body", "The body"),
            path => (path, path),
        };
        let wanted = text
            .rsplit_once("expected ")
            .map_or("another type", |(_, wanted)| wanted);
        let wanted = wanted.split(" at line").next().unwrap_or(wanted);
        let detail = format!("{subject} has the wrong type: expected {wanted}.");
        return Problem::field(place, "wrong_type", detail);
    }
    Problem::new(
        StatusCode::BAD_REQUEST,
        "malformed_json",
        format!(
            "The body is not valid JSON: error at line {}, column {}.",
            error.line(),
            error.column()
        ),
    )
}

fn query_problem(rejection: &QueryRejection) -> Problem {
    let text = rejection.body_text();
    let detail = text
        .strip_prefix("Failed to deserialize query string: ")
        .unwrap_or(&text);
    if let Some((field, why)) = detail.split_once(": ")
        && (why.contains("digit found") || why.starts_with("number too"))
    {
        return Problem::field(
            field,
            "invalid_query",
            format!("The query parameter {field} must be a whole number, and not too large."),
        );
    }
    let unknown = detail
        .split_once("unknown field `")
        .and_then(|(_, rest)| rest.split_once("`, "));
    let detail = match unknown {
        Some((name, expected)) => {
            let name: String = name.chars().take(NAME_CHARACTERS_SHOWN_MAX).collect();
            format!("There is no query parameter {name}; {expected}.")
        }
        None => format!("The query cannot be read: {detail}."),
    };
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_query", detail)
}
