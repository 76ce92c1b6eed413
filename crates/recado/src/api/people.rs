//! Consent by the operator's word, our senders, and what people wrote to us.

use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use delivery::consent::Consent;
use serde::{Deserialize, Serialize};

use super::messages::{bad_query, page_limit, parse_address, parse_cursor};
use super::problem::Problem;
use super::request::{Body, PathName, read_json, sender_name};
use super::show::{cursor, time_text};
use super::state::Api;
use crate::store::{ConsentView, InboundQuery, InboundView, wait_until_idle};

/// How long the answer to an opt-out waits for open requests to that person.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);

/// Whose consent.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ConsentQuery {
    /// The person, in any form of the address.
    to: String,
}

/// What a person said about receiving messages.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct ConsentJson {
    /// The person's canonical address.
    pub to: String,
    /// `open`, `asking` (they wrote a word that may mean opt-out, and were asked) or `opted_out`.
    pub consent: String,
    /// Since when; null when they never said anything.
    pub since: Option<String>,
    /// Who told us: `recipient`, `callback` (the provider refused for them) or `operator`.
    pub source: Option<String>,
    /// Waiting messages that this change stopped or freed.
    pub affected: u64,
}

/// Shows what a person said about receiving messages.
#[utoipa::path(
    get, path = "/api/v1/consent", operation_id = "show_consent", tag = "people", params(ConsentQuery),
    responses((status = 200, body = ConsentJson), (status = 422, body = Problem)),
    security(("key" = ["read"]))
)]
pub(super) async fn consent(
    State(api): State<Api>,
    query: Result<Query<ConsentQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<ConsentJson>, Problem> {
    let Query(query) = query.map_err(|rejection| bad_query(&rejection))?;
    let address = parse_address("to", &query.to)?;
    let to = address.canonical().to_owned();
    let nobody = ConsentView {
        person: 0,
        consent: Consent::Open,
        since: None,
        source: None,
        affected: 0,
    };
    let view = api.store.consent(address).await?.unwrap_or(nobody);
    Ok(Json(consent_json(to, view)))
}

/// A change of consent by the operator.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsentRequest {
    /// The person, in any form of the address.
    to: String,
    /// `opted_out` or `open`.
    consent: String,
}

/// Opts a person out or back in, for example after a call.
#[utoipa::path(
    put, path = "/api/v1/consent", operation_id = "set_consent", tag = "people", request_body = ConsentRequest,
    responses((status = 200, body = ConsentJson), (status = 422, body = Problem)),
    security(("key" = ["admin"]))
)]
pub(super) async fn set_consent(
    State(api): State<Api>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Json<ConsentJson>, Problem> {
    let request: ConsentRequest = read_json(&headers, &body)?;
    let address = parse_address("to", &request.to)?;
    let to = address.canonical().to_owned();
    let opted_out = match request.consent.as_str() {
        "opted_out" => true,
        "open" => false,
        _ => {
            return Err(Problem::field(
                "consent",
                "consent_unknown",
                "Write opted_out or open.",
            ));
        }
    };
    let view = api
        .store
        .set_consent(address, opted_out, api.effects.clock.now())
        .await?;
    if opted_out {
        let clock = &*api.effects.clock;
        wait_until_idle(
            &*api.store,
            api.closed.clone(),
            clock,
            view.person,
            ANSWER_WAIT_MAX,
        )
        .await;
    }
    Ok(Json(consent_json(to, view)))
}

fn consent_json(to: String, view: ConsentView) -> ConsentJson {
    let consent = match view.consent {
        Consent::Open => "open",
        Consent::Asking { .. } => "asking",
        Consent::OptedOut => "opted_out",
    };
    ConsentJson {
        to,
        consent: consent.to_owned(),
        since: view.since.map(time_text),
        source: view.source.map(|source| source.as_str().to_owned()),
        affected: view.affected,
    }
}

/// Our senders.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct SendersJson {
    /// Each sender.
    pub senders: Vec<SenderJson>,
}

/// One of our senders.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct SenderJson {
    /// `+E164`, or the SID of a Messaging Service.
    pub name: String,
    /// Whether the configuration names it.
    pub configured: bool,
    /// Since when it is paused; null when it is not.
    pub paused_at: Option<String>,
    /// `operator`, or the error code that paused it.
    pub pause_reason: Option<String>,
    /// Messages waiting.
    pub queued: u64,
    /// Requests open.
    pub open: u64,
}

/// Lists our senders.
#[utoipa::path(
    get, path = "/api/v1/senders", operation_id = "list_senders", tag = "senders",
    responses((status = 200, body = SendersJson)), security(("key" = ["read"]))
)]
pub(super) async fn senders(State(api): State<Api>) -> Result<Json<SendersJson>, Problem> {
    let senders = api.store.senders().await?;
    let senders = senders
        .into_iter()
        .map(|view| SenderJson {
            name: view.name,
            configured: view.configured,
            paused_at: view.paused_at.map(time_text),
            pause_reason: view.pause_reason,
            queued: view.queued,
            open: view.open,
        })
        .collect();
    Ok(Json(SendersJson { senders }))
}

/// Pauses a sender: its messages wait.
#[utoipa::path(
    post, path = "/api/v1/senders/{name}/pause", operation_id = "pause_sender", tag = "senders",
    params(("name" = String, Path, description = "The sender as `GET /api/v1/senders` names it.")),
    responses((status = 200, body = SendersJson), (status = 404, body = Problem)),
    security(("key" = ["admin"]))
)]
pub(super) async fn pause(
    State(api): State<Api>,
    PathName(name): PathName,
) -> Result<Json<SendersJson>, Problem> {
    set_pause(api, &name, true).await
}

/// Resumes a sender.
#[utoipa::path(
    post, path = "/api/v1/senders/{name}/resume", operation_id = "resume_sender", tag = "senders",
    params(("name" = String, Path, description = "The sender as `GET /api/v1/senders` names it.")),
    responses((status = 200, body = SendersJson), (status = 404, body = Problem)),
    security(("key" = ["admin"]))
)]
pub(super) async fn resume(
    State(api): State<Api>,
    PathName(name): PathName,
) -> Result<Json<SendersJson>, Problem> {
    set_pause(api, &name, false).await
}

async fn set_pause(api: Api, name: &str, paused: bool) -> Result<Json<SendersJson>, Problem> {
    let name = sender_name(name).as_str().to_owned();
    let now = api.effects.clock.now();
    if !api.store.pause_sender(name, paused, now).await? {
        return Err(Problem::not_found("sender"));
    }
    senders(State(api)).await
}

/// Which inbound messages to list.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct InboundListQuery {
    /// Only from this person, in any form of the address.
    from: Option<String>,
    /// From `next_cursor` of the page before.
    cursor: Option<String>,
    /// 1 to 200; default 50.
    limit: Option<usize>,
}

/// Inbound messages, newest first.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct InboundPageJson {
    /// The messages.
    pub messages: Vec<InboundJson>,
    /// Give it as `cursor` for the next page; null at the end.
    pub next_cursor: Option<String>,
}

/// What a person wrote to us.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct InboundJson {
    /// Twilio's SID.
    pub provider_sid: String,
    /// The person's canonical address; null when they were erased.
    pub from: Option<String>,
    /// The sender they wrote to.
    pub to: Option<String>,
    /// `text`, `image`, `location`, `button` …
    pub message_type: String,
    /// Everything readable: text, media, place, button, list.
    #[schema(value_type = Option<Object>)]
    pub content: Option<serde_json::Value>,
    /// Our message that it replies to.
    pub reply_to: Option<String>,
    /// When it was stored.
    pub received_at: String,
}

/// Lists what people wrote to us.
#[utoipa::path(
    get, path = "/api/v1/inbound", operation_id = "list_inbound", tag = "people", params(InboundListQuery),
    responses((status = 200, body = InboundPageJson)), security(("key" = ["read"]))
)]
pub(super) async fn inbound(
    State(api): State<Api>,
    query: Result<Query<InboundListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<InboundPageJson>, Problem> {
    let Query(query) = query.map_err(|rejection| bad_query(&rejection))?;
    let before = query.cursor.as_deref().map(parse_cursor).transpose()?;
    let limit = page_limit(query.limit)?;
    let from = query
        .from
        .as_deref()
        .map(|from| parse_address("from", from))
        .transpose()?;
    let views = api
        .store
        .inbound_messages(InboundQuery {
            from,
            before,
            limit,
        })
        .await?;
    let next = (views.len() == limit)
        .then(|| views.last().map(|view| cursor(view.key)))
        .flatten();
    Ok(Json(InboundPageJson {
        messages: views.into_iter().map(inbound_json).collect(),
        next_cursor: next,
    }))
}

fn inbound_json(view: InboundView) -> InboundJson {
    InboundJson {
        provider_sid: view.sid.to_string(),
        from: view
            .from
            .as_ref()
            .map(|address| address.canonical().to_owned()),
        to: view.to,
        message_type: view.message_type,
        content: view
            .payload
            .as_ref()
            .and_then(|text| serde_json::from_str(text).ok()),
        reply_to: view.reply_to.map(|id| id.to_string()),
        received_at: time_text(view.received_at),
    }
}
