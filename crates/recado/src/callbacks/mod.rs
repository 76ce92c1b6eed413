//! Room 3: the provider reports. Verifies the signature on the raw body, reads the fields, stores,
//! and only then answers.
//!
//! Must not know: SQL, other rooms. Twilio's words end here.

pub mod form;
pub mod inbound;
pub mod signature;
pub mod status;

mod answer;
mod handles;

pub use self::handles::Callbacks;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http_body_util::{BodyExt, Collected, LengthLimitError, Limited};

use self::answer::refused;
use self::form::Form;
use self::signature::Verifier;

/// Bytes of a callback's body.
pub const BODY_BYTES_MAX: usize = 64 << 10;

/// The two routes that Twilio calls.
pub fn router(callbacks: Callbacks) -> Router {
    Router::new()
        .route("/api/v1/whatsapp/status", post(status_route).get(reachable))
        .route(
            "/api/v1/whatsapp/webhook",
            post(webhook_route).get(reachable),
        )
        .with_state(Arc::new(callbacks))
}

/// For people and monitors that check whether the URL can be reached.
async fn reachable() -> &'static str {
    "Recado receives Twilio's callbacks here.\n"
}

async fn status_route(State(callbacks): State<Arc<Callbacks>>, request: Request) -> Response {
    receive(&callbacks, &callbacks.status, request).await
}

async fn webhook_route(State(callbacks): State<Arc<Callbacks>>, request: Request) -> Response {
    receive(&callbacks, &callbacks.webhook, request).await
}

/// Verifies, then reads by what the body is and not by which URL it came to: both URLs are easily
/// swapped in Twilio's console, and nothing may be lost by that.
///
/// Takes the request as it is: extractors would copy its headers, for every callback.
async fn receive(callbacks: &Callbacks, verifier: &Verifier, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = match read_body(body).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let query = head.uri.query();
    let signature = head
        .headers
        .get("x-twilio-signature")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if query.is_some_and(|query| query.contains("bodySHA256=")) {
        return match verifier.verify_json(query, &body, signature) {
            Ok(()) => {
                tracing::warn!("a signed JSON callback came; Twilio sends none for messages");
                StatusCode::NO_CONTENT.into_response()
            }
            Err(_) => refused(),
        };
    }
    let Ok(form) = verifier.verify_form(query, &body, signature) else {
        return refused();
    };
    if status::is_status_callback(&form) {
        return status::receive(callbacks, query, &form).await;
    }
    if form.get("MessageSid").or(form.get("SmsSid")).is_some() {
        return inbound::receive(callbacks, &form).await;
    }
    notice(&form)
}

async fn read_body(body: Body) -> Result<Bytes, Response> {
    let read = Limited::new(body, BODY_BYTES_MAX).collect().await;
    read.map(Collected::to_bytes).map_err(|error| {
        if error.is::<LengthLimitError>() {
            (StatusCode::PAYLOAD_TOO_LARGE, "The body is too large.\n").into_response()
        } else {
            (StatusCode::BAD_REQUEST, "The body could not be read.\n").into_response()
        }
    })
}

/// Twilio's debugger posts what went wrong between it and us.
fn notice(form: &Form) -> Response {
    let payload = form.get("Payload");
    let code = payload
        .and_then(|payload| serde_json::from_str::<serde_json::Value>(payload).ok())
        .and_then(|payload| payload.get("error_code").cloned());
    tracing::warn!(
        code = code.as_ref().map(ToString::to_string),
        "a signed callback without a message came; Twilio's debugger may be set to this URL"
    );
    StatusCode::NO_CONTENT.into_response()
}
