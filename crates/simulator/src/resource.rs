//! Twilio's Messages resource.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{self, DefaultBodyLimit, Path, Request};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::answer::{ApiError, inbound_message, json_answer, message};
use crate::create::{create, met, reset};
use crate::dates::{http_date, rfc2822};
use crate::form::Form;
use crate::list::{Listed, list};
use crate::outages::Affected;
use crate::rng::{Rng, key};
use crate::schedule::set_status;
use crate::state::{Entry, Inner, State};

/// Larger requests are refused.
const BODY_MAX: usize = 256 * 1_024;

type Shared = extract::State<Arc<State>>;

/// Twilio's paths.
pub(crate) fn router(state: Arc<State>) -> Router {
    let one = "/2010-04-01/Accounts/{account}/Messages/{sid}";
    Router::new()
        .route(
            "/2010-04-01/Accounts/{account}/Messages.json",
            any(messages),
        )
        .route(one, any(one_message))
        .route(&format!("{one}/Media.json"), any(media))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&state),
            authenticated,
        ))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .fallback(|| async { not_found("") })
        .with_state(state)
}

/// Resets connections that stand in an outage, checks the credentials, and adds Twilio's headers to every response.
async fn authenticated(extract::State(state): Shared, request: Request, next: Next) -> Response {
    if state.connections().0 {
        return reset();
    }
    let started = Instant::now();
    let concurrent = state.concurrent.fetch_add(1, Ordering::SeqCst) + 1;
    let _request = OpenRequest(&state);
    let number = state.requests.fetch_add(1, Ordering::SeqCst);
    let mut response = match check_credentials(&state, request.headers(), request.uri().path()) {
        Ok(()) => next.run(request).await,
        Err(error) => {
            let mut response = error.into_response();
            let realm = HeaderValue::from_static("Basic realm=\"Twilio API\"");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, realm);
            response
        }
    };
    let id = Rng::of_part(state.settings.seed, key("request"), number).hex();
    let seconds = started.elapsed().as_secs_f64();
    let headers = response.headers_mut();
    let values = [
        ("date", http_date(state.now())),
        ("twilio-request-id", format!("RQ{id}")),
        ("twilio-concurrent-requests", concurrent.to_string()),
        ("twilio-request-duration", format!("{seconds:.3}")),
    ];
    for (name, value) in values {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    response
}

/// A request that is counted as concurrent until it ends or is dropped.
struct OpenRequest<'a>(&'a State);

impl Drop for OpenRequest<'_> {
    fn drop(&mut self) {
        self.0.concurrent.fetch_sub(1, Ordering::SeqCst);
    }
}

fn check_credentials(state: &State, headers: &HeaderMap, path: &str) -> Result<(), ApiError> {
    let settings = &state.settings;
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Basic "))
        .and_then(|value| STANDARD.decode(value).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let account = path.split('/').nth(3).unwrap_or_default();
    let known = given
        .as_deref()
        .and_then(|given| given.split_once(':'))
        .is_some_and(|pair| {
            pair == (settings.account_sid.as_str(), settings.auth_token.as_str())
                || settings
                    .api_keys
                    .iter()
                    .any(|(sid, secret)| pair == (sid.as_str(), secret.as_str()))
        });
    if known && account == settings.account_sid {
        return Ok(());
    }
    Err(ApiError::new(401, 20_003, "Authenticate"))
}

async fn messages(
    extract::State(state): Shared,
    method: Method,
    request: axum::http::Uri,
    body: Bytes,
) -> Response {
    if method == Method::POST {
        return create(&state, &Form::parse(&String::from_utf8_lossy(&body))).await;
    }
    if method == Method::GET {
        let form = Form::parse(request.query().unwrap_or_default());
        let named: Vec<&str> = ["From", "To"]
            .into_iter()
            .filter_map(|name| form.filled(name))
            .collect();
        if let Some(response) = in_outage(&state, Affected::List, &named).await {
            return response;
        }
        return match list(&state, &form) {
            Ok(page) => json_answer(200, &page),
            Err(error) => error.into_response(),
        };
    }
    wrong_method()
}

/// The response to a request that meets an outage.
async fn in_outage(state: &State, affected: Affected, senders: &[&str]) -> Option<Response> {
    met(&state.outage(affected, senders)?).await
}

/// The same for a request about one message.
async fn fetch_in_outage(state: &State, sid: &str) -> Option<Response> {
    let sender = {
        let inner = state.inner();
        let listed = inner.by_sid.get(sid).and_then(|at| inner.entry(*at));
        match listed {
            Some(Listed::Outbound(record)) => record.truth.from.clone(),
            Some(Listed::Inbound(record)) => Some(record.truth.to.clone()),
            None => None,
        }
    };
    let sender: Vec<&str> = sender.as_deref().into_iter().collect();
    in_outage(state, Affected::Fetch, &sender).await
}

async fn one_message(
    extract::State(state): Shared,
    Path((_, sid)): Path<(String, String)>,
    method: Method,
    body: Bytes,
) -> Response {
    let Some(sid) = sid.strip_suffix(".json") else {
        return not_found(&sid);
    };
    if let Some(response) = fetch_in_outage(&state, sid).await {
        return response;
    }
    let mut inner = state.inner();
    let inner = &mut *inner;
    let entry = inner.by_sid.get(sid).copied();
    let form = Form::parse(&String::from_utf8_lossy(&body));
    let answered = match (entry, method) {
        (Some(Entry::Outbound(index)), method) => outbound(&state, inner, index, &method, &form),
        (Some(Entry::Inbound(index)), method) => inbound(&state, inner, index, &method, &form),
        (None, _) => None,
    };
    answered.unwrap_or_else(|| not_found(sid))
}

/// Answers a request about a message of ours, unless it was deleted.
fn outbound(
    state: &State,
    inner: &mut Inner,
    index: usize,
    method: &Method,
    form: &Form,
) -> Option<Response> {
    if *method == Method::POST
        && let Err(error) = update(state, inner, index, form)
    {
        return Some(error.into_response());
    }
    let bodies = inner.faults.bodies;
    let record = inner.records.get_mut(index).filter(|r| !r.deleted)?;
    Some(match *method {
        Method::GET | Method::POST => json_answer(200, &message(&state.settings, record, bodies)),
        Method::DELETE if is_final(record.status) => {
            record.deleted = true;
            StatusCode::NO_CONTENT.into_response()
        }
        Method::DELETE => {
            let text = "Cannot delete message because delivery has not been completed.";
            ApiError::new(409, 20_009, text).into_response()
        }
        _ => wrong_method(),
    })
}

/// Answers a request about a message of a person, unless it was deleted: it can be fetched, and
/// since it is received, also redacted and deleted.
fn inbound(
    state: &State,
    inner: &mut Inner,
    index: usize,
    method: &Method,
    form: &Form,
) -> Option<Response> {
    let bodies = inner.faults.bodies;
    let record = inner.inbound.get_mut(index).filter(|r| !r.deleted)?;
    Some(match *method {
        Method::POST if form.filled("Status").is_some() => {
            ApiError::new(409, 30_409, "This message cannot be canceled").into_response()
        }
        Method::POST if form.filled("Body").is_some() => {
            ApiError::new(400, 20_001, "Body can only be emptied").into_response()
        }
        Method::GET | Method::POST => {
            record.redacted |= *method == Method::POST && form.get("Body").is_some();
            json_answer(200, &inbound_message(&state.settings, record, bodies))
        }
        Method::DELETE => {
            record.deleted = true;
            StatusCode::NO_CONTENT.into_response()
        }
        _ => wrong_method(),
    })
}

/// Cancels or redacts a message.
fn update(state: &State, inner: &mut Inner, index: usize, form: &Form) -> Result<(), ApiError> {
    let Some(record) = inner.records.get_mut(index).filter(|r| !r.deleted) else {
        return Ok(());
    };
    match form.filled("Status") {
        Some("canceled") if record.status == "scheduled" => {
            inner.cancel_scheduled(index);
            set_status(state, inner, index, "canceled", None);
            state.changed.notify_waiters();
            return Ok(());
        }
        Some("canceled") => {
            return Err(ApiError::new(
                409,
                30_409,
                "This message cannot be canceled",
            ));
        }
        Some(_) => return Err(ApiError::new(400, 20_001, "Invalid 'Status'")),
        None => {}
    }
    match form.get("Body") {
        Some("") if is_final(record.status) => {
            record.redacted = true;
            record.updated = state.now();
            Ok(())
        }
        Some("") => {
            let text = "Cannot redact message because delivery has not been completed.";
            Err(ApiError::new(409, 20_009, text))
        }
        Some(_) => Err(ApiError::new(400, 20_001, "Body can only be emptied")),
        None => Ok(()),
    }
}

fn is_final(status: &str) -> bool {
    matches!(
        status,
        "delivered" | "read" | "undelivered" | "failed" | "canceled" | "sent"
    )
}

async fn media(
    extract::State(state): Shared,
    Path((account, sid)): Path<(String, String)>,
    method: Method,
) -> Response {
    if method != Method::GET {
        return wrong_method();
    }
    if let Some(response) = fetch_in_outage(&state, &sid).await {
        return response;
    }
    let inner = state.inner();
    let entry = inner.by_sid.get(&sid).copied();
    let Some(media) = entry.and_then(|entry| inner.entry(entry)?.media()) else {
        return not_found(&sid);
    };
    let base = format!("/2010-04-01/Accounts/{account}/Messages/{sid}/Media");
    let items: Vec<Value> = media
        .kinds
        .iter()
        .enumerate()
        .map(|(index, kind)| {
            let part = 100 + u64::try_from(index).unwrap_or_default();
            let id = Rng::of_part(state.settings.seed, media.key, part).hex();
            let id = format!("ME{id}");
            json!({
                "sid": id,
                "account_sid": account,
                "parent_sid": sid,
                "content_type": kind,
                "date_created": rfc2822(media.created),
                "date_updated": rfc2822(media.created),
                "uri": format!("{base}/{id}.json"),
            })
        })
        .collect();
    let first = format!("{base}.json?PageSize=50&Page=0");
    let end = items.len().saturating_sub(1);
    json_answer(
        200,
        &json!({
            "media_list": items,
            "page": 0,
            "page_size": 50,
            "start": 0,
            "end": end,
            "uri": first,
            "first_page_uri": first,
            "next_page_uri": null,
            "previous_page_uri": null,
        }),
    )
}

fn not_found(what: &str) -> Response {
    let text = format!("The requested resource {what} was not found");
    ApiError::new(404, 20_404, text).into_response()
}

fn wrong_method() -> Response {
    ApiError::new(405, 20_004, "Method not allowed").into_response()
}
