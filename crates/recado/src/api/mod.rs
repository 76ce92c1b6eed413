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
mod state;

pub use self::state::Api;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{get, post};
use delivery::time::Timestamp;

use self::auth::RequiredScopes;
use self::problem::Problem;
use self::state::{BODY_BYTES_MAX, BULK_BODY_BYTES_MAX};
use crate::store::KeyScope;

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
    let guard = |required| {
        middleware::from_fn_with_state((api.key_verifier.clone(), required), auth::check)
    };
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
