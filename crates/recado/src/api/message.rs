//! Messages: send, show, list, cancel, retry.

use axum::Extension;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use delivery::message::Message;
use delivery::state::State as MessageState;
use delivery::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::extract::{Body, PathName, Query, read_json};
use super::field::{parse_address, parse_choice, parse_query_time, sender_name};
use super::idempotency::idempotency;
use super::message_request::MessageRequest;
use super::message_view::{MessageJson, MessagePageJson, message_json, page_json};
use super::page::{List, page_limit, parse_cursor};
use super::problem::Problem;
use super::state::Api;
use crate::store::{
    AcceptRefusal, AcceptResult, CommandResult, Idempotency, MessageCommand, MessageFilter,
    MessageId, NewMessage,
};

/// The answer to an accepted message: it is on disk.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct AcceptedJson {
    /// Its id, a UUIDv7.
    pub id: String,
    /// `accepted`, `scheduled`, or `suppressed` when the person has opted out.
    pub state: String,
    /// The recipient's canonical address.
    pub to: String,
}

/// Sends a message.
#[utoipa::path(
    post, path = "/api/v1/messages", operation_id = "send_message", tag = "messages", request_body = MessageRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Repeating a request with the same key and body gives the same answer for 7 days.")),
    responses(
        (status = 202, description = "Stored; it will be sent.", body = AcceptedJson),
        (status = 409, description = "The same content was sent to the same person a moment ago, or a newer version exists.", body = Problem),
        (status = 422, description = "A field is wrong, or the 24-hour window is closed.", body = Problem),
        (status = 503, description = "Nothing was stored; try again.", body = Problem),
    ),
)]
pub(super) async fn create(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Problem> {
    let request: MessageRequest = read_json(&headers, &body)?;
    if request.idempotency_key.is_some() {
        return Err(Problem::field(
            "idempotency_key",
            "idempotency_key_in_body",
            "For a single message, send the key in the Idempotency-Key header.",
        ));
    }
    let idempotency = match headers.get("idempotency-key") {
        Some(key) => Some(idempotency(&caller, key.as_bytes(), &body)?),
        None => None,
    };
    let now = api.effects.clock.now();
    let typed = request.to.clone().unwrap_or_default();
    let (to, result) = match request.check(now) {
        Ok(message) => {
            let to = message.to.canonical().to_owned();
            let new = new_message(&api, message, idempotency, now);
            let results = api.store.accept(vec![new]).await?;
            let Some(result) = results.into_iter().next() else {
                return Err(Problem::from(crate::store::StoreError::Closed));
            };
            (to, result)
        }
        Err(problem) => replay(&api, idempotency, &typed).await?.ok_or(problem)?,
    };
    let replayed = matches!(result, AcceptResult::Replayed { .. });
    let (id, state) = accepted(result)?;
    let answer = AcceptedJson {
        id: id.to_string(),
        state: state.as_str().to_owned(),
        to,
    };
    let location = format!("/api/v1/messages/{id}");
    let mut response =
        (StatusCode::ACCEPTED, [("location", location)], Json(answer)).into_response();
    if replayed {
        let value = axum::http::HeaderValue::from_static("true");
        response.headers_mut().insert("idempotency-replayed", value);
    }
    Ok(response)
}

/// The answer to an earlier request with the same key. A repeated request gets it even if it would
/// be refused now, for example because its deadline has passed.
pub(super) async fn replay(
    api: &Api,
    idempotency: Option<Idempotency>,
    typed: &str,
) -> Result<Option<(String, AcceptResult)>, Problem> {
    let Some(idempotency) = idempotency else {
        return Ok(None);
    };
    let Some(result) = api.store.replay(idempotency).await? else {
        return Ok(None);
    };
    let to = parse_address("to", typed.trim())?;
    Ok(Some((to.canonical().to_owned(), result)))
}

/// A checked message with everything the store needs.
pub(super) fn new_message(
    api: &Api,
    message: Message,
    idempotency: Option<Idempotency>,
    now: Timestamp,
) -> NewMessage {
    let id = crate::store::new_message_id(now, &*api.effects.random);
    NewMessage {
        id,
        message,
        idempotency,
        now,
        dedupe_window: api.dedupe_window,
    }
}

/// The id and state of an accepted message, or the problem of a refused one.
pub(super) fn accepted(result: AcceptResult) -> Result<(MessageId, MessageState), Problem> {
    match result {
        AcceptResult::Accepted { id, state } | AcceptResult::Replayed { id, state } => {
            Ok((id, state))
        }
        AcceptResult::Refused(refusal) => Err(refused(refusal)),
    }
}

fn refused(refusal: AcceptRefusal) -> Problem {
    let conflict = |code: &str, detail: &str, id: MessageId| {
        let mut problem = Problem::new(StatusCode::CONFLICT, code, detail);
        problem.message_id = Some(id.to_string());
        problem
    };
    match refusal {
        AcceptRefusal::KeyReused => Problem::field(
            "Idempotency-Key",
            "idempotency_key_reused",
            "This key was already used with a different body. Use a new key for a new message.",
        ),
        AcceptRefusal::Duplicate { first } => conflict(
            "duplicate_content",
            "The same content was sent to the same person a moment ago (message_id). If this is \
             intended, send \"dedupe\": \"allow\".",
            first,
        ),
        AcceptRefusal::Superseded { by } => conflict(
            "superseded",
            "A message with the same or a newer version of this business key already exists \
             (message_id).",
            by,
        ),
        AcceptRefusal::KeyRepeated { first } => conflict(
            "business_key_repeated",
            "Another item of this request has the same business key (message_id). Send this one in \
             a request of its own, if it is to take that one's place.",
            first,
        ),
        AcceptRefusal::WindowClosed => Problem::field(
            "body",
            "window_closed",
            "The person has not written to this sender in the last 24 hours, so WhatsApp accepts \
             only an approved template: send content_sid. If you know that the window is open, \
             send \"window\": \"assume_open\".",
        ),
        AcceptRefusal::UnknownSender => Problem::field(
            "from",
            "unknown_sender",
            "This is not one of the configured senders; GET /api/v1/senders lists them.",
        ),
    }
}

/// Shows a message with its attempts and its whole history.
#[utoipa::path(
    get, path = "/api/v1/messages/{id}", operation_id = "show_message", tag = "messages",
    params(("id" = String, Path, description = "The message's id.")),
    responses((status = 200, body = MessageJson), (status = 404, body = Problem)),
)]
pub(super) async fn show(
    State(api): State<Api>,
    PathName(id): PathName,
) -> Result<Json<MessageJson>, Problem> {
    let id = parse_id(&id)?;
    let view = api
        .store
        .message(id)
        .await?
        .ok_or_else(|| Problem::not_found("message"))?;
    Ok(Json(message_json(&view, &api.codes)))
}

/// Which messages to list. A message must match every filter.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Only in this state.
    state: Option<String>,
    /// Only to this person; the address may have any form.
    to: Option<String>,
    /// Only from this sender.
    sender: Option<String>,
    /// Only with this error code.
    error: Option<u32>,
    /// Accepted at or after this instant (RFC 3339).
    since: Option<String>,
    /// Accepted before this instant (RFC 3339).
    until: Option<String>,
    /// `next_cursor` from the previous page.
    cursor: Option<String>,
    /// 1 to 200; default 50.
    limit: Option<usize>,
}

/// Lists messages, newest first.
#[utoipa::path(
    get, path = "/api/v1/messages", operation_id = "list_messages", tag = "messages", params(ListQuery),
    responses((status = 200, body = MessagePageJson), (status = 422, body = Problem)),
)]
pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<ListQuery>,
) -> Result<Json<MessagePageJson>, Problem> {
    let filter = filter(query)?;
    let page = api.store.messages(filter).await?;
    Ok(Json(page_json(&page, &api.codes)))
}

fn filter(query: ListQuery) -> Result<MessageFilter, Problem> {
    let parse_state = |text| parse_choice("state", text, MessageState::ALL, MessageState::as_str);
    let parse_before = |cursor| parse_cursor(List::Messages, cursor);
    let parse_to = |to| parse_address("to", to);
    let parse_since = |text| parse_query_time("since", text);
    let parse_until = |text| parse_query_time("until", text);
    Ok(MessageFilter {
        state: query.state.as_deref().map(parse_state).transpose()?,
        before: query.cursor.as_deref().map(parse_before).transpose()?,
        to: query.to.as_deref().map(parse_to).transpose()?,
        sender: query
            .sender
            .map(|name| sender_name(&name).as_str().to_owned()),
        error: query.error,
        template: None,
        since: query.since.as_deref().map(parse_since).transpose()?,
        until: query.until.as_deref().map(parse_until).transpose()?,
        limit: page_limit(query.limit)?,
    })
}

/// The result of a command.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct CommandJson {
    /// The message's id.
    pub id: String,
    /// Its state now.
    pub state: String,
    /// Whether this request changed it; `false` when there was nothing to change.
    pub changed: bool,
}

/// Cancels a message that has not been sent yet.
#[utoipa::path(
    post, path = "/api/v1/messages/{id}/cancel", operation_id = "cancel_message", tag = "messages",
    params(("id" = String, Path, description = "The message's id.")),
    responses(
        (status = 200, body = CommandJson), (status = 404, body = Problem),
        (status = 409, description = "It can no longer be canceled.", body = Problem),
    ),
)]
pub(super) async fn cancel(
    State(api): State<Api>,
    PathName(id): PathName,
) -> Result<Json<CommandJson>, Problem> {
    command(&api, &id, MessageCommand::Cancel).await
}

/// Retries a failed, undelivered, unknown or held message. Repeating the request changes nothing.
#[utoipa::path(
    post, path = "/api/v1/messages/{id}/retry", operation_id = "retry_message", tag = "messages",
    params(("id" = String, Path, description = "The message's id.")),
    responses(
        (status = 200, body = CommandJson), (status = 404, body = Problem),
        (status = 409, description = "Its state does not allow another attempt.", body = Problem),
    ),
)]
pub(super) async fn retry(
    State(api): State<Api>,
    PathName(id): PathName,
) -> Result<Json<CommandJson>, Problem> {
    command(&api, &id, MessageCommand::Retry).await
}

async fn command(
    api: &Api,
    id: &str,
    command: MessageCommand,
) -> Result<Json<CommandJson>, Problem> {
    let id = parse_id(id)?;
    let results = api
        .store
        .command(vec![(id, command)], api.effects.clock.now())
        .await?;
    let json = |state: MessageState, changed| {
        Json(CommandJson {
            id: id.to_string(),
            state: state.as_str().to_owned(),
            changed,
        })
    };
    match results.first() {
        Some(CommandResult::Done(state)) => Ok(json(*state, true)),
        Some(CommandResult::Already(state)) => Ok(json(*state, false)),
        Some(CommandResult::TooLate(state)) => {
            let (code, verb) = match command {
                MessageCommand::Cancel => ("cannot_cancel", "canceled"),
                MessageCommand::Retry => ("cannot_retry", "retried"),
            };
            let detail = format!("The message is {} and cannot be {verb}.", state.as_str());
            Err(Problem::new(StatusCode::CONFLICT, code, detail))
        }
        Some(CommandResult::NotFound) | None => Err(Problem::not_found("message")),
    }
}

fn parse_id(id: &str) -> Result<MessageId, Problem> {
    MessageId::parse(id).ok_or_else(|| Problem::not_found("message"))
}
