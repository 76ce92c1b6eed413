//! Every route of the API in one table, from which the router, the check of keys and the
//! description are made.

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use utoipa::OpenApi;

use super::problem::Problem;
use super::state::Api;
use super::{
    auth, bulk, bulk_command, consent, event, health, hold, inbound, message, metrics, openapi,
    prometheus, restore, sender,
};
use crate::store::KeyScope;

/// One route.
struct Route {
    /// As axum names it: `get`, `put`, `post`.
    #[cfg_attr(not(test), expect(dead_code, reason = "compared with the description"))]
    method: &'static str,
    path: &'static str,
    /// What an API key must be allowed to do; `None` when no key is needed.
    scope: Option<KeyScope>,
    handler: MethodRouter<Api>,
    /// The description of the handler.
    description: fn() -> utoipa::openapi::OpenApi,
}

const PUBLIC: Option<KeyScope> = None;
const READ: Option<KeyScope> = Some(KeyScope::Read);
const SEND: Option<KeyScope> = Some(KeyScope::Send);
const ADMIN: Option<KeyScope> = Some(KeyScope::Admin);

/// Makes the function `routes` from a table of method, path, scope and handler.
macro_rules! routes {
    ($($method:ident $path:literal $scope:ident $($handler:ident)::+;)+) => {
        fn routes() -> Vec<Route> {
            vec![$(Route {
                method: stringify!($method),
                path: $path,
                scope: $scope,
                handler: axum::routing::$method($($handler)::+),
                description: {
                    #[derive(OpenApi)]
                    #[openapi(paths($($handler)::+))]
                    struct Description;
                    Description::openapi
                },
            }),+]
        }
    };
}

routes! {
    post "/api/v1/messages"               SEND    message::create;
    get  "/api/v1/messages"               READ    message::list;
    get  "/api/v1/messages/{id}"          READ    message::show;
    post "/api/v1/messages/{id}/cancel"   SEND    message::cancel;
    post "/api/v1/messages/{id}/retry"    SEND    message::retry;
    post "/api/v1/messages/bulk"          SEND    bulk::create;
    post "/api/v1/messages/cancel"        SEND    bulk_command::cancel;
    post "/api/v1/messages/retry"         SEND    bulk_command::retry;
    get  "/api/v1/events"                 READ    event::stream;
    get  "/api/v1/inbound"                READ    inbound::list;
    get  "/api/v1/consent"                READ    consent::show;
    put  "/api/v1/consent"                ADMIN   consent::set;
    get  "/api/v1/senders"                READ    sender::list;
    post "/api/v1/senders/{name}/pause"   ADMIN   sender::pause;
    post "/api/v1/senders/{name}/resume"  ADMIN   sender::resume;
    post "/api/v1/resume"                 ADMIN   restore::resume;
    get  "/api/v1/holds"                  READ    hold::list;
    delete "/api/v1/holds/{id}"           ADMIN   hold::lift;
    get  "/api/v1/metrics/delivery"       READ    metrics::delivery;
    get  "/api/v1/health"                 READ    health::health;
    get  "/livez"                         PUBLIC  health::live;
    get  "/readyz"                        PUBLIC  health::ready;
    get  "/metrics"                       PUBLIC  prometheus::metrics;
}

/// The router of the API.
pub fn router(api: Api) -> Router {
    let mut router = Router::new();
    for route in routes() {
        let handler = match route.scope {
            Some(scope) => {
                let state = (api.key_verifier.clone(), scope);
                let check = middleware::from_fn_with_state(state, auth::check);
                route.handler.route_layer(check)
            }
            None => route.handler,
        };
        router = router.route(route.path, handler);
    }
    router
        .route("/api/v1/openapi.json", get(description))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .with_state(api)
}

/// The answer to a method that a path does not support.
pub async fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "This path does not support that method; /api/v1/openapi.json lists all routes.",
    )
}

async fn unknown_route() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no_such_route",
        "There is nothing at this path; /api/v1/openapi.json lists all routes.",
    )
}

/// Shows the description of the API, which does not describe itself.
async fn description() -> Response {
    let operations = routes()
        .into_iter()
        .map(|route| ((route.description)(), route.scope));
    openapi::response(openapi::document(operations))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// utoipa wants method and path at each handler too.
    #[test]
    fn each_handler_describes_the_method_and_path_of_its_route() {
        for route in routes() {
            let at = format!("{} {}", route.method, route.path);
            let description = (route.description)();
            let paths: Vec<_> = description.paths.paths.iter().collect();
            let [(path, item)] = paths[..] else {
                panic!("{at}: one path")
            };
            let operations: Vec<_> = [
                ("get", &item.get),
                ("put", &item.put),
                ("post", &item.post),
                ("delete", &item.delete),
                ("patch", &item.patch),
                ("head", &item.head),
                ("options", &item.options),
            ]
            .into_iter()
            .filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
            .collect();
            let [(method, operation)] = operations[..] else {
                panic!("{at}: one operation")
            };
            assert_eq!(format!("{method} {path}"), at);
            assert!(
                operation.security.is_none(),
                "{at}: the scope is in the table"
            );
        }
    }
}
