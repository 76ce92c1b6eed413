//! The HTTP API as its callers meet it.

mod auth;
mod bulk;
mod bulk_commands;
mod consent;
mod events;
mod holds;
mod idempotency;
mod limits;
mod list;
mod message_commands;
mod messages;
mod metrics;
mod openapi;
mod prometheus;
mod routes;
mod senders;
mod timeouts;
mod validation;

use serde_json::{Value, json};

use crate::client::Answer;
use crate::server::TestServer;

/// An instant this many seconds from now, as callers write it.
pub(crate) fn in_seconds(seconds: i64) -> String {
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    format!("{at:.0}")
}

/// The headers of a caller with a key and JSON.
pub(super) fn headers(key: &str) -> Vec<(&'static str, String)> {
    vec![
        ("authorization", format!("Bearer {key}")),
        ("content-type", "application/json".to_owned()),
    ]
}

/// The same with an idempotency key.
pub(super) fn headers_once(key: &str, once: &str) -> Vec<(&'static str, String)> {
    let mut headers = headers(key);
    headers.push(("idempotency-key", once.to_owned()));
    headers
}

/// Sends text as it is, with the server's key.
pub(super) async fn post_text(server: &TestServer, path: &str, text: &str) -> Answer {
    let body = Some(text.as_bytes().to_vec());
    server
        .request("POST", path, &headers(&server.key), body)
        .await
}

/// Asserts that an answer is a problem as every problem must be, and gives it.
#[track_caller]
pub(super) fn problem(answer: &Answer, status: u16, code: &str) -> Value {
    assert_eq!(answer.status, status, "{code}: {}", answer.text);
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json"),
        "{code}: {}",
        answer.text
    );
    let problem = answer.json();
    assert_eq!(problem["code"], code, "{problem:#}");
    well_formed(&problem, status);
    problem
}

/// Asserts what holds for every problem, also for the ones inside a bulk answer.
#[track_caller]
pub(super) fn well_formed(problem: &Value, status: u16) {
    assert_eq!(problem["status"], status, "{problem:#}");
    let code = problem["code"].as_str().unwrap();
    assert_eq!(problem["type"], format!("urn:recado:problem:{code}"));
    assert!(problem["title"].as_str().unwrap().len() > 3, "{problem:#}");
    says_something(&problem["detail"]);
    for error in problem["errors"].as_array().unwrap_or(&Vec::new()) {
        assert!(!error["field"].as_str().unwrap().is_empty(), "{problem:#}");
        assert!(!error["code"].as_str().unwrap().is_empty(), "{problem:#}");
        says_something(&error["detail"]);
    }
}

/// A detail is a sentence: several words, and an end.
#[track_caller]
fn says_something(detail: &Value) {
    let text = detail.as_str().unwrap();
    assert!(text.split(' ').count() >= 4, "{text}");
    assert!(text.ends_with('.') || text.ends_with(')'), "{text}");
}

/// Asserts that an answer is a problem with exactly one field.
#[track_caller]
pub(super) fn field_problem(answer: &Answer, field: &str, code: &str) -> Value {
    let problem = problem(answer, 422, code);
    assert_eq!(fields(&problem), [field], "{problem:#}");
    problem
}

/// The fields that a problem names.
pub(super) fn fields(problem: &Value) -> Vec<String> {
    problem["errors"]
        .as_array()
        .unwrap_or(&Vec::new())
        .iter()
        .map(|error| error["field"].as_str().unwrap().to_owned())
        .collect()
}

/// A template message that waits for an hour before it leaves.
pub(super) fn later(to: &str, text: &str) -> Value {
    with(
        crate::server::notice(to, text),
        json!({ "send_at": in_seconds(3_600) }),
    )
}

/// An object with the fields of another one in place of the ones it had.
#[track_caller]
pub(super) fn with(mut object: Value, fields: Value) -> Value {
    let Value::Object(fields) = fields else {
        panic!("an object is needed")
    };
    object.as_object_mut().unwrap().extend(fields);
    object
}

/// Text in a query.
pub(super) fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
