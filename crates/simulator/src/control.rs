//! Routes for tests and people: the truth log, faults, phones, inbound messages.

use std::sync::Arc;

use axum::Router;
use axum::extract::{self, Path, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post, put};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::faults::{Faults, Script};
use crate::inbound::{InboundResult, deliver};
use crate::inbound_record::Inbound;
use crate::outages::{Affected, Outage};
use crate::phone::{Phone, User};
use crate::rules::Rule;
use crate::state::State;

const PAGE: usize = 1_000;
const PAGE_MAX: usize = 10_000;

type Shared = extract::State<Arc<State>>;

/// The routes under `/simulator`.
pub(crate) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/simulator/truth", get(truth))
        .route("/simulator/state", get(counts))
        .route("/simulator/phones", put(phones))
        .route("/simulator/users", put(users))
        .route("/simulator/faults", put(faults).get(current_faults))
        .route("/simulator/script", post(script))
        .route("/simulator/outages", put(outages).get(current_outages))
        .route("/simulator/rules", put(rules).get(current_rules))
        .route("/simulator/clock", put(clock))
        .route("/simulator/webhook", put(webhook))
        .route("/simulator/inbound", post(inbound).get(truth_of_inbound))
        .route("/simulator/templates/{sid}", put(template))
        .route("/simulator/reset", post(reset))
        .with_state(state)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(default)]
    cursor: usize,
    limit: Option<usize>,
}

async fn truth(extract::State(state): Shared, Query(page): Query<Page>) -> Json<Value> {
    let limit = page.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let messages = state.truth(page.cursor, limit);
    let reached = page.cursor + messages.len();
    let more = state.inner().records.len() > reached;
    Json(json!({ "messages": messages, "next_cursor": more.then_some(reached) }))
}

async fn truth_of_inbound(extract::State(state): Shared, Query(page): Query<Page>) -> Json<Value> {
    let limit = page.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let messages = state.truth_of_inbound(page.cursor, limit);
    let reached = page.cursor + messages.len();
    let more = state.inner().inbound.len() > reached;
    Json(json!({ "inbound": messages, "next_cursor": more.then_some(reached) }))
}

async fn counts(extract::State(state): Shared) -> Json<Value> {
    let pending = state.pending();
    let inner = state.inner();
    Json(json!({
        "creates": inner.creates,
        "accepted": inner.records.len(),
        "inbound": inner.inbound_count,
        "phones": inner.phones.len(),
        "pending": pending,
    }))
}

async fn phones(extract::State(state): Shared, Json(phones): Json<Vec<Phone>>) -> StatusCode {
    state.inner().set_phones(phones);
    StatusCode::NO_CONTENT
}

async fn users(extract::State(state): Shared, Json(users): Json<Vec<User>>) -> StatusCode {
    state.inner().users = users;
    StatusCode::NO_CONTENT
}

async fn current_faults(extract::State(state): Shared) -> Json<Faults> {
    Json(state.inner().faults.clone())
}

async fn faults(extract::State(state): Shared, Json(faults): Json<Faults>) -> StatusCode {
    state.inner().faults = faults;
    StatusCode::NO_CONTENT
}

async fn script(extract::State(state): Shared, Json(script): Json<Script>) -> StatusCode {
    state.inner().scripts.push_back(script);
    StatusCode::NO_CONTENT
}

async fn current_outages(extract::State(state): Shared) -> Json<Vec<Outage>> {
    let inner = state.inner();
    Json(inner.outages.iter().map(|o| o.what.clone()).collect())
}

async fn outages(extract::State(state): Shared, Json(outages): Json<Vec<Outage>>) -> Response {
    let endless = outages
        .iter()
        .any(|o| o.to_ms.is_none() && o.affects.contains(&Affected::Connections));
    let endless = endless.then_some("an outage of connections needs to_ms: none could end it");
    let problem = outages.iter().find_map(Outage::problem).or(endless);
    if let Some(problem) = problem {
        return (StatusCode::UNPROCESSABLE_ENTITY, problem).into_response();
    }
    state.set_outages(outages);
    StatusCode::NO_CONTENT.into_response()
}

async fn current_rules(extract::State(state): Shared) -> Json<Vec<Rule>> {
    Json(state.inner().current_rules())
}

async fn rules(extract::State(state): Shared, Json(rules): Json<Vec<Rule>>) -> Response {
    if let Some(problem) = rules.iter().find_map(Rule::problem) {
        return (StatusCode::UNPROCESSABLE_ENTITY, problem).into_response();
    }
    state.inner().set_rules(rules);
    StatusCode::NO_CONTENT.into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Clock {
    offset_ms: i64,
}

async fn clock(extract::State(state): Shared, Json(clock): Json<Clock>) -> StatusCode {
    state.set_clock_offset(clock.offset_ms);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Webhook {
    inbound_url: Option<String>,
}

async fn webhook(extract::State(state): Shared, Json(webhook): Json<Webhook>) -> StatusCode {
    state.inner().inbound_url = webhook.inbound_url;
    StatusCode::NO_CONTENT
}

async fn inbound(
    extract::State(state): Shared,
    Json(message): Json<Inbound>,
) -> Json<InboundResult> {
    Json(deliver(&state, message).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Template {
    body: String,
}

async fn template(
    extract::State(state): Shared,
    Path(sid): Path<String>,
    Json(template): Json<Template>,
) -> StatusCode {
    state.inner().templates.insert(sid, template.body);
    StatusCode::NO_CONTENT
}

async fn reset(extract::State(state): Shared) -> StatusCode {
    state.reset();
    StatusCode::NO_CONTENT
}
