//! The description of the API, generated from the code.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Recado",
        description = "WhatsApp delivery through Twilio: accepts a message, sends it once, and keeps its whole life on record.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        super::messages::create,
        super::messages::show,
        super::messages::list,
        super::messages::cancel,
        super::messages::retry,
        super::bulk::create,
        super::events::stream,
        super::numbers::delivery,
        super::people::consent,
        super::people::set_consent,
        super::people::senders,
        super::people::pause,
        super::people::resume,
        super::people::inbound,
        super::health::health,
        super::health::live,
        super::health::ready,
        super::prometheus::metrics,
    ),
    modifiers(&KeyScheme),
)]
struct Description;

struct KeyScheme;

impl utoipa::Modify for KeyScheme {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("key", scheme);
    }
}

/// The description as text.
pub(super) fn text() -> String {
    Description::openapi().to_pretty_json().unwrap_or_default()
}

/// Shows the description.
pub(super) async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text()).into_response()
}
