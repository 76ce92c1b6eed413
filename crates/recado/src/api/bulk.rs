//! Many messages in one request and one commit, each with a result of its own.

use axum::Extension;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::auth::Caller;
use super::messages::{accepted, idempotency, new_message};
use super::problem::Problem;
use super::request::{MessageRequest, parse_json, read_json};
use super::{Api, BULK_ITEMS_MAX};
use crate::store::NewMessage;

/// A bulk request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BulkRequest<'a> {
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
}

/// A bulk request, as the description shows it.
#[derive(utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "only describes the shape; items are read one by one"
)]
pub(super) struct BulkRequestSchema {
    /// 1 to 1,000 messages; each may carry its own `idempotency_key`.
    messages: Vec<MessageRequest>,
}

/// What became of each item.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct BulkJson {
    /// Items stored, now or by an earlier request with the same key.
    pub accepted: usize,
    /// Items refused.
    pub refused: usize,
    /// One result for each item, in the order of the request.
    pub results: Vec<BulkResult>,
}

/// What became of one item.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct BulkResult {
    /// The item's place in the request, from 0.
    pub index: usize,
    /// The status that the item would have had alone.
    pub status: u16,
    /// Its id, when it was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its state, when it was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The recipient's canonical address, when it was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}

/// Sends up to 1,000 messages with one commit.
#[utoipa::path(
    post, path = "/api/v1/messages/bulk", tag = "messages", request_body = BulkRequestSchema,
    responses(
        (status = 202, description = "Every item was stored.", body = BulkJson),
        (status = 207, description = "At least one item was refused.", body = BulkJson),
        (status = 422, body = Problem),
    ),
    security(("key" = ["send"]))
)]
pub(super) async fn create(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
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
    body: &Bytes,
) -> Result<BulkJson, Problem> {
    let request: BulkRequest<'_> = read_borrowed(headers, body)?;
    if request.messages.is_empty() || request.messages.len() > BULK_ITEMS_MAX {
        let detail = format!("Send 1 to {BULK_ITEMS_MAX} messages in one request.");
        return Err(Problem::field("messages", "messages_count", detail));
    }
    let mut results: Vec<BulkResult> = Vec::with_capacity(request.messages.len());
    let mut batch = Vec::with_capacity(request.messages.len());
    let mut places = Vec::with_capacity(request.messages.len());
    for (index, item) in request.messages.iter().enumerate() {
        match read_item(api, caller, item.get()) {
            Ok(new) => {
                results.push(BulkResult {
                    index,
                    status: StatusCode::ACCEPTED.as_u16(),
                    id: None,
                    state: None,
                    to: Some(new.message.to.canonical().to_owned()),
                    error: None,
                });
                places.push(index);
                batch.push(new);
            }
            Err(problem) => results.push(refusal(index, problem)),
        }
    }
    if !batch.is_empty() {
        for (index, result) in places.into_iter().zip(api.store.accept(batch).await?) {
            let Some(place) = results.get_mut(index) else {
                continue;
            };
            match accepted(result) {
                Ok((id, state)) => {
                    place.id = Some(id.to_string());
                    place.state = Some(state.word().to_owned());
                }
                Err(problem) => *place = refusal(index, problem),
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

fn read_borrowed<'a>(headers: &HeaderMap, body: &'a Bytes) -> Result<BulkRequest<'a>, Problem> {
    // The borrowed form does not pass through the reader that owns; on any mistake the body is
    // read again by the one that explains it.
    if let Ok(request) = serde_json::from_slice::<BulkRequest<'a>>(body) {
        return Ok(request);
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Explained {
        #[expect(dead_code, reason = "read only for its errors")]
        messages: Vec<serde_json::Value>,
    }
    read_json::<Explained>(headers, body)?;
    Err(Problem::new(
        StatusCode::BAD_REQUEST,
        "malformed_json",
        "The body is not JSON.",
    ))
}

fn read_item(api: &Api, caller: &Caller, text: &str) -> Result<NewMessage, Problem> {
    let mut request: MessageRequest = parse_json(text.as_bytes())?;
    let idempotency = match request.idempotency_key.take() {
        Some(key) => Some(idempotency(caller, key.as_bytes(), text.as_bytes())?),
        None => None,
    };
    let now = api.effects.clock.now();
    Ok(new_message(api, request.check(now)?, idempotency, now))
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
