//! The reference: a server of the same framework that parses the form, verifies the signature,
//! and answers 204 without storing anything.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::serve::ListenerExt;
use recado::callbacks::signature::Verifier;
use recado::callbacks::status::StatusCallback;
use recado::secrets::Secret;

use super::setup::TOKEN;

pub(crate) async fn start() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("http://{address}/api/v1/whatsapp/status");
    let verifier = Arc::new(Verifier::new(&[&url], &[Secret::new(TOKEN.to_owned())]).unwrap());
    let app = Router::new()
        .route("/api/v1/whatsapp/status", post(receive))
        .with_state(verifier);
    // As our own server does.
    let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

async fn receive(
    State(verifier): State<Arc<Verifier>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let signature = headers
        .get("x-twilio-signature")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    match verifier.verify_form(query.as_deref(), &body, signature) {
        Ok(form) if StatusCallback::read(&form, query.as_deref()).is_some() => {
            StatusCode::NO_CONTENT
        }
        _ => StatusCode::FORBIDDEN,
    }
}
