//! Many messages in one request and one commit, each with a result of its own.

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
    post, path = "/api/v1/messages/bulk", operation_id = "send_messages", tag = "messages", request_body = BulkRequestSchema,
    params(("Idempotency-Key" = Option<String>, Header, description = "Holds, together with its place, for each item that has no `idempotency_key` of its own.")),
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
    let once = headers.get("idempotency-key").map(HeaderValue::as_bytes);
    if let Some(once) = once {
        // Checked once, so that a bad one does not fail item by item.
        idempotency(caller, once, &[])?;
    }
    if request.messages.is_empty() || request.messages.len() > ITEMS_MAX {
        let detail = format!("Send 1 to {ITEMS_MAX} messages in one request.");
        return Err(Problem::field("messages", "messages_count", detail));
    }
    let mut results: Vec<BulkResult> = Vec::with_capacity(request.messages.len());
    let mut batch = Vec::with_capacity(request.messages.len());
    let mut places = Vec::with_capacity(request.messages.len());
    for (index, item) in request.messages.iter().enumerate() {
        match read_item(api, caller, once.map(|once| (once, index)), item.get()) {
            Ok(new) => {
                results.push(taken(index, new.message.to.canonical().to_owned()));
                places.push(index);
                batch.push(new);
            }
            Err(bad) => results.push(match replay(api, bad.idempotency, &bad.typed).await? {
                Some((to, result)) => completed(taken(index, to), result),
                None => refusal(index, bad.problem),
            }),
        }
    }
    if !batch.is_empty() {
        for (index, result) in places.into_iter().zip(api.store.accept(batch).await?) {
            if let Some(place) = results.get_mut(index) {
                let so_far = taken(index, place.to.take().unwrap_or_default());
                *place = completed(so_far, result);
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
    // The borrowed form does not pass through the reader that owns; on any mistake the body is
    // read again by the one that explains it.
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
        "The body is not JSON.",
    ))
}

/// An item that cannot be taken, unless it was before.
struct BadItem {
    problem: Problem,
    idempotency: Option<Idempotency>,
    typed: String,
}

/// An item without a key of its own takes the one of the whole request, with its place.
fn read_item(
    api: &Api,
    caller: &Caller,
    once: Option<(&[u8], usize)>,
    text: &str,
) -> Result<NewMessage, BadItem> {
    let bad = |problem| BadItem {
        problem,
        idempotency: None,
        typed: String::new(),
    };
    let mut request: MessageRequest = parse_json(text.as_bytes()).map_err(bad)?;
    let idempotency = match (request.idempotency_key.take(), once) {
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
fn taken(index: usize, to: String) -> BulkResult {
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
