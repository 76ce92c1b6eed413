//! Room 1: callers ask. JSON over HTTP under `/api/v1`, and the health and metrics pages.
//!
//! Must not know: SQL, Twilio's words, other rooms. What it asks for is in the store when it has
//! answered.

pub mod auth;
mod bulk;
mod events;
mod health;
mod messages;
mod numbers;
mod openapi;
mod people;
pub mod problem;
mod prometheus;
mod request;
mod show;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{get, post};
use delivery::time::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::auth::{KeyVerifier, RequiredScopes};
use self::problem::Problem;
use crate::effects::Effects;
use crate::store::{KeyScope, Store};

/// Bytes of a request body.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Bytes of a bulk request's body.
pub const BULK_BODY_BYTES_MAX: usize = 8 << 20;
/// Items of a bulk request.
pub const BULK_ITEMS_MAX: usize = 1_000;

/// What the room needs.
#[derive(Clone)]
pub struct Api {
    /// The memory.
    pub store: Arc<dyn Store>,
    /// Clock and randomness.
    pub effects: Effects,
    /// Keys and their rates.
    pub key_verifier: Arc<KeyVerifier>,
    /// The key of the last event on disk.
    pub last_event: watch::Receiver<i64>,
    /// Changes whenever an attempt was closed.
    pub closed: watch::Receiver<u64>,
    /// Since when the provider cannot be reached.
    pub unreachable_since: watch::Receiver<Option<Timestamp>>,
    /// Within how long the same content to the same person is refused.
    pub dedupe_window: Duration,
    /// What to do about error codes, for the explanations.
    pub codes: Arc<delivery::codes::Codes>,
    /// Ends the live streams.
    pub shutdown: CancellationToken,
}

/// Checks a message as the door would, without asking the memory: for tools that judge a sheet
/// before it is sent.
///
/// # Errors
/// The problem that the door would answer.
pub fn check_message(json: &str, now: Timestamp) -> Result<(), Problem> {
    let mut request: request::MessageRequest = request::parse_json(json.as_bytes())?;
    request.idempotency_key = None;
    request.check(now).map(|_| ())
}

/// Every route of the room.
pub fn router(api: Api) -> Router {
    let send = RequiredScopes {
        read: KeyScope::Read,
        write: KeyScope::Send,
    };
    let admin = RequiredScopes {
        read: KeyScope::Read,
        write: KeyScope::Admin,
    };
    let guard = |needed| middleware::from_fn_with_state((api.clone(), needed), auth::check);
    let messages = Router::new()
        .route(
            "/api/v1/messages",
            post(messages::create).get(messages::list),
        )
        .route("/api/v1/messages/{id}", get(messages::show))
        .route("/api/v1/messages/{id}/cancel", post(messages::cancel))
        .route("/api/v1/messages/{id}/retry", post(messages::retry))
        .route(
            "/api/v1/messages/bulk",
            post(bulk::create).layer(DefaultBodyLimit::max(BULK_BODY_BYTES_MAX)),
        )
        .route("/api/v1/events", get(events::stream))
        .route("/api/v1/inbound", get(people::inbound))
        .route("/api/v1/metrics/delivery", get(numbers::delivery))
        .route("/api/v1/health", get(health::health))
        .route_layer(guard(send));
    let people = Router::new()
        .route(
            "/api/v1/consent",
            get(people::consent).put(people::set_consent),
        )
        .route("/api/v1/senders", get(people::senders))
        .route("/api/v1/senders/{name}/pause", post(people::pause))
        .route("/api/v1/senders/{name}/resume", post(people::resume))
        .route_layer(guard(admin));
    Router::new()
        .merge(messages)
        .merge(people)
        .route("/api/v1/openapi.json", get(openapi::document))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(prometheus::metrics))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(api)
}

async fn unknown_route() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no_such_route",
        "There is nothing at this path; /api/v1/openapi.json lists what there is.",
    )
}

/// The answer to a method that a path does not take.
pub async fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "This path does not take that method; /api/v1/openapi.json lists what there is.",
    )
}
