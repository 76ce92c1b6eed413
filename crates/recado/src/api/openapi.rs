//! The description of the API, generated from the code.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{self, Content, OpenApi as OpenApiDocument, Ref, RefOr, ResponseBuilder};

use crate::store::KeyScope;

/// What describes the API as a whole; the operations come from its routes.
#[derive(OpenApi)]
#[openapi(info(
    title = "Recado",
    description = "WhatsApp delivery through Twilio: accepts a message, sends it once, and keeps its whole life on record.",
    license(name = "Apache-2.0", identifier = "Apache-2.0"),
))]
struct Description;

/// The name of the scheme of API keys.
const KEY_SCHEME: &str = "key";

/// The description of these operations, each with the scope that a key needs for it.
pub(super) fn document(
    operations: impl Iterator<Item = (OpenApiDocument, Option<KeyScope>)>,
) -> String {
    let mut document = Description::openapi();
    for (mut described, scope) in operations {
        for operation in operations_of(&mut described) {
            require_scope(operation, scope);
            add_problems(operation);
        }
        document.merge(described);
    }
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    document
        .components
        .get_or_insert_default()
        .add_security_scheme(KEY_SCHEME, scheme);
    document.to_pretty_json().unwrap_or_default()
}

/// Shows a description.
pub(super) fn response(document: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document).into_response()
}

fn operations_of(document: &mut OpenApiDocument) -> impl Iterator<Item = &mut Operation> {
    document.paths.paths.values_mut().flat_map(|item| {
        let methods = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
            &mut item.patch,
        ];
        methods.into_iter().flatten()
    })
}

fn require_scope(operation: &mut Operation, scope: Option<KeyScope>) {
    if let Some(scope) = scope {
        let requirement = SecurityRequirement::new(KEY_SCHEME, [scope.as_str()]);
        operation.security = Some(vec![requirement]);
    }
}

/// Says which problems an operation may answer with, in the media type that they have.
fn add_problems(operation: &mut Operation) {
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
            "403" => "The key does not have the required scope.",
            "422" => "A part of the request is wrong; the problem names it.",
            "429" => "The key has made too many requests.",
            "400" => "The body is not valid JSON.",
            "413" => "The body is too large.",
            "415" => "Content-Type must be application/json.",
            "503" => "The server cannot do this now; try again.",
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
