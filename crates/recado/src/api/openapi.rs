//! The description of the API, generated from the code.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{self, Content, Ref, RefOr, ResponseBuilder};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Recado",
        description = "WhatsApp delivery through Twilio: accepts a message, sends it once, and keeps its whole life on record.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        super::message::create,
        super::message::show,
        super::message::list,
        super::message::cancel,
        super::message::retry,
        super::bulk::create,
        super::event::stream,
        super::metrics::delivery,
        super::consent::show,
        super::consent::set,
        super::sender::list,
        super::sender::pause,
        super::sender::resume,
        super::inbound::list,
        super::health::health,
        super::health::live,
        super::health::ready,
        super::prometheus::metrics,
    ),
    modifiers(&KeyScheme, &Problems),
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

/// Says of every operation which problems it may answer with, in the media type that they have.
struct Problems;

impl utoipa::Modify for Problems {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for item in document.paths.paths.values_mut() {
            for operation in [&mut item.get, &mut item.put, &mut item.post]
                .into_iter()
                .flatten()
            {
                let statuses = problems_of(operation);
                let responses = &mut operation.responses.responses;
                for status in statuses {
                    let problem = RefOr::T(ResponseBuilder::new().build());
                    responses.entry(status.to_owned()).or_insert(problem);
                }
                for (status, response) in responses {
                    if let RefOr::T(response) = response {
                        complete(status, response);
                    }
                }
            }
        }
    }
}

/// What every operation of its kind may answer with.
fn problems_of(operation: &Operation) -> Vec<&'static str> {
    let mut statuses = Vec::new();
    if operation.security.is_some() {
        statuses.extend(["401", "403", "429", "503"]);
    }
    if operation.request_body.is_some() {
        statuses.extend(["400", "413", "415", "422"]);
    }
    let parameters = operation.parameters.as_deref().unwrap_or_default();
    let in_query = |parameter: &RefOr<Parameter>| match parameter {
        RefOr::T(parameter) => parameter.parameter_in == ParameterIn::Query,
        RefOr::Ref(_) => false,
    };
    if parameters.iter().any(in_query) {
        statuses.push("422");
    }
    statuses
}

fn complete(status: &str, response: &mut openapi::Response) {
    if response.description.is_empty() {
        let known = status
            .parse()
            .ok()
            .and_then(|code| StatusCode::from_u16(code).ok());
        let reason = known.and_then(|status| status.canonical_reason());
        response.description = match status {
            "401" => "The API key is missing, wrong or revoked.",
            "403" => "The key's scope is too small.",
            "422" => "Something in the request is wrong; the problem names it.",
            "429" => "The key makes too many requests.",
            "400" => "The body is not JSON.",
            "413" => "The body is too large.",
            "415" => "The body does not call itself JSON.",
            "503" => "The server cannot do it now; try again.",
            _ => reason.unwrap_or_default(),
        }
        .to_owned();
    }
    if status.starts_with(['4', '5']) {
        let problem = Content::new(Some(Ref::from_schema_name("Problem")));
        response.content.clear();
        response
            .content
            .insert("application/problem+json".to_owned(), RefOr::T(problem));
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
