//! The doors for tests and people: the truth, faults, phones, inbound messages.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Json;
use axum::routing::{get, post, put};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::faults::{Faults, Script};
use crate::inbound::{Inbound, InboundResult, deliver};
use crate::phone::Phone;
use crate::world::World;

const PAGE: usize = 1_000;
const PAGE_MAX: usize = 10_000;

type Shared = State<Arc<World>>;

/// The paths under `/simulator`.
pub(crate) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/simulator/truth", get(truth))
        .route("/simulator/state", get(state))
        .route("/simulator/phones", put(phones))
        .route("/simulator/faults", put(faults).get(current_faults))
        .route("/simulator/script", post(script))
        .route("/simulator/webhook", put(webhook))
        .route("/simulator/inbound", post(inbound))
        .route("/simulator/templates/{sid}", put(template))
        .route("/simulator/reset", post(reset))
        .with_state(world)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(default)]
    cursor: usize,
    limit: Option<usize>,
}

async fn truth(State(world): Shared, Query(page): Query<Page>) -> Json<Value> {
    let limit = page.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let messages = world.truth(page.cursor, limit);
    let reached = page.cursor + messages.len();
    let more = world.inner().records.len() > reached;
    Json(json!({ "messages": messages, "next_cursor": more.then_some(reached) }))
}

async fn state(State(world): Shared) -> Json<Value> {
    let pending = world.pending();
    let inner = world.inner();
    Json(json!({
        "creates": inner.creates,
        "accepted": inner.records.len(),
        "inbound": inner.inbound_count,
        "phones": inner.phones.len(),
        "pending": pending,
    }))
}

async fn phones(State(world): Shared, Json(phones): Json<Vec<Phone>>) -> StatusCode {
    world.inner().set_phones(phones);
    StatusCode::NO_CONTENT
}

async fn current_faults(State(world): Shared) -> Json<Faults> {
    Json(world.inner().faults.clone())
}

async fn faults(State(world): Shared, Json(faults): Json<Faults>) -> StatusCode {
    world.inner().faults = faults;
    StatusCode::NO_CONTENT
}

async fn script(State(world): Shared, Json(script): Json<Script>) -> StatusCode {
    world.inner().scripts.push_back(script);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Webhook {
    inbound_url: Option<String>,
}

async fn webhook(State(world): Shared, Json(webhook): Json<Webhook>) -> StatusCode {
    world.inner().inbound_url = webhook.inbound_url;
    StatusCode::NO_CONTENT
}

async fn inbound(State(world): Shared, Json(asked): Json<Inbound>) -> Json<InboundResult> {
    Json(deliver(&world, asked).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Template {
    body: String,
}

async fn template(
    State(world): Shared,
    Path(sid): Path<String>,
    Json(template): Json<Template>,
) -> StatusCode {
    world.inner().templates.insert(sid, template.body);
    StatusCode::NO_CONTENT
}

async fn reset(State(world): Shared) -> StatusCode {
    world.reset();
    StatusCode::NO_CONTENT
}
