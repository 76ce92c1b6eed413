//! Many messages in one request and one commit, each with its own result.

use axum::Extension;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::auth::Caller;
use super::extract::{Body, expect_json, expect_object, parse_json};
use super::idempotency::{idempotency, item_idempotency};
use super::message::{accepted, new_message, replay};
use super::message_request::MessageRequest;
use super::problem::Problem;
use super::state::Api;
use crate::store::{AcceptResult, Idempotency, NewMessage};

/// Bytes of a body.
const BODY_BYTES_MAX: usize = 8 << 20;
/// Items of a request.
const ITEMS_MAX: usize = 1_000;

/// A bulk request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BulkRequest<'a> {
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
}

/// A bulk request as the description shows it.
#[derive(utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "only describes the shape; items are read one by one"
)]
pub(super) struct BulkRequestSchema {
    /// 1 to 1,000 messages; each may carry its own `idempotency_key`.
    messages: Vec<MessageRequest>,
}

/// The result of a bulk request.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct BulkJson {
    /// Items stored, now or by an earlier request with the same key.
    pub accepted: usize,
    /// Items that were refused.
    pub refused: usize,
    /// One result for each item, in the order of the request.
    pub results: Vec<BulkResult>,
}

/// The result of one item.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct BulkResult {
    /// The item's position in the request, from 0.
    pub index: usize,
    /// The HTTP status that the item would have had on its own.
    pub status: u16,
    /// The message's id, when it was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The message's state, when it was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The recipient's canonical address, when it was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}

/// Sends up to 1,000 messages in one commit.
#[utoipa::path(
    post, path = "/api/v1/messages/bulk", operation_id = "send_messages", tag = "messages", request_body = BulkRequestSchema,
    params(("Idempotency-Key" = Option<String>, Header, description = "Used, together with the item's position, for each item without its own `idempotency_key`.")),
    responses(
        (status = 202, description = "Every item was stored.", body = BulkJson),
        (status = 207, description = "At least one item was refused.", body = BulkJson),
        (status = 422, body = Problem),
    ),
)]
pub(super) async fn create(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Body(body): Body<BODY_BYTES_MAX>,
) -> Result<Response, Problem> {
    let json = answer(&api, &caller, &headers, &body).await?;
    let status = if json.refused == 0 {
        StatusCode::ACCEPTED
    } else {
        StatusCode::MULTI_STATUS
    };
    Ok((status, Json(json)).into_response())
}

async fn answer(
    api: &Api,
    caller: &Caller,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<BulkJson, Problem> {
    expect_json(headers)?;
    let request: BulkRequest<'_> = read_borrowed(body)?;
    let request_key = headers.get("idempotency-key").map(HeaderValue::as_bytes);
    if let Some(key) = request_key {
        // Checked here, so that an invalid key is one problem and not one for each item.
        idempotency(caller, key, &[])?;
    }
    if request.messages.is_empty() || request.messages.len() > ITEMS_MAX {
        let detail = format!("Send 1 to {ITEMS_MAX} messages in one request.");
        return Err(Problem::field("messages", "messages_count", detail));
    }
    let mut results: Vec<BulkResult> = Vec::with_capacity(request.messages.len());
    let mut batch = Vec::with_capacity(request.messages.len());
    let mut positions = Vec::with_capacity(request.messages.len());
    for (index, item) in request.messages.iter().enumerate() {
        match read_item(api, caller, request_key.map(|key| (key, index)), item.get()) {
            Ok(new) => {
                results.push(pending(index, new.message.to.canonical().to_owned()));
                positions.push(index);
                batch.push(new);
            }
            Err(bad) => results.push(match replay(api, bad.idempotency, &bad.typed).await? {
                Some((to, result)) => completed(pending(index, to), result),
                None => refusal(index, bad.problem),
            }),
        }
    }
    if !batch.is_empty() {
        for (index, accepted) in positions.into_iter().zip(api.store.accept(batch).await?) {
            if let Some(result) = results.get_mut(index) {
                let so_far = pending(index, result.to.take().unwrap_or_default());
                *result = completed(so_far, accepted);
            }
        }
    }
    let refused = results
        .iter()
        .filter(|result| result.error.is_some())
        .count();
    Ok(BulkJson {
        accepted: results.len() - refused,
        refused,
        results,
    })
}

fn read_borrowed(body: &[u8]) -> Result<BulkRequest<'_>, Problem> {
    expect_object(body)?;
    // Borrowing avoids a copy of every item, but its errors do not name the field. After any error
    // the body is read again by the reader that does.
    if let Ok(request) = serde_json::from_slice::<BulkRequest<'_>>(body) {
        return Ok(request);
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Explained {
        #[expect(dead_code, reason = "read only for its errors")]
        messages: Vec<serde_json::Value>,
    }
    parse_json::<Explained>(body)?;
    Err(Problem::new(
        StatusCode::BAD_REQUEST,
        "malformed_json",
        "The body is not valid JSON.",
    ))
}

/// An item that cannot be accepted, unless an earlier request with the same key was.
struct BadItem {
    problem: Problem,
    idempotency: Option<Idempotency>,
    typed: String,
}

/// Reads an item. One without its own key uses the key of the whole request and its position.
fn read_item(
    api: &Api,
    caller: &Caller,
    request_key: Option<(&[u8], usize)>,
    text: &str,
) -> Result<NewMessage, BadItem> {
    let bad = |problem| BadItem {
        problem,
        idempotency: None,
        typed: String::new(),
    };
    let mut request: MessageRequest = parse_json(text.as_bytes()).map_err(bad)?;
    let idempotency = match (request.idempotency_key.take(), request_key) {
        (Some(key), _) => Some(idempotency(caller, key.as_bytes(), text.as_bytes()).map_err(bad)?),
        (None, Some((key, index))) => Some(item_idempotency(caller, key, index, text)),
        (None, None) => None,
    };
    let now = api.effects.clock.now();
    let typed = request.to.clone().unwrap_or_default();
    match request.check(now) {
        Ok(message) => Ok(new_message(api, message, idempotency, now)),
        Err(problem) => Err(BadItem {
            problem,
            idempotency,
            typed,
        }),
    }
}

/// A result whose message has no id yet.
fn pending(index: usize, to: String) -> BulkResult {
    BulkResult {
        index,
        status: StatusCode::ACCEPTED.as_u16(),
        id: None,
        state: None,
        to: Some(to),
        error: None,
    }
}

fn completed(so_far: BulkResult, result: AcceptResult) -> BulkResult {
    match accepted(result) {
        Ok((id, state)) => BulkResult {
            id: Some(id.to_string()),
            state: Some(state.as_str().to_owned()),
            ..so_far
        },
        Err(problem) => refusal(so_far.index, problem),
    }
}

fn refusal(index: usize, problem: Problem) -> BulkResult {
    BulkResult {
        index,
        status: problem.status,
        id: None,
        state: None,
        to: None,
        error: Some(problem),
    }
}
