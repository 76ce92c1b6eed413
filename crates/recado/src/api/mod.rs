//! Room 1: callers ask. JSON over HTTP under `/api/v1`, and the health and metrics pages.
//!
//! Must not know: SQL, Twilio's words, other rooms. What it asks for is in the store when it has
//! answered.

pub mod auth;
mod bulk;
mod consent;
mod error;
mod event;
mod extract;
mod field;
mod health;
mod idempotency;
mod inbound;
mod message;
mod message_request;
mod message_view;
mod metrics;
mod openapi;
mod page;
pub mod problem;
mod prometheus;
mod sender;
mod state;

pub use self::message_request::check_message;
pub use self::state::Api;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{get, post};

use self::auth::RequiredScopes;
use self::problem::Problem;
use crate::store::KeyScope;

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
        .route("/api/v1/messages", post(message::create).get(message::list))
        .route("/api/v1/messages/{id}", get(message::show))
        .route("/api/v1/messages/{id}/cancel", post(message::cancel))
        .route("/api/v1/messages/{id}/retry", post(message::retry))
        .route("/api/v1/messages/bulk", post(bulk::create))
        .route("/api/v1/events", get(event::stream))
        .route("/api/v1/inbound", get(inbound::list))
        .route("/api/v1/metrics/delivery", get(metrics::delivery))
        .route("/api/v1/health", get(health::health))
        .route_layer(guard(send));
    let people = Router::new()
        .route("/api/v1/consent", get(consent::show).put(consent::set))
        .route("/api/v1/senders", get(sender::list))
        .route("/api/v1/senders/{name}/pause", post(sender::pause))
        .route("/api/v1/senders/{name}/resume", post(sender::resume))
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
