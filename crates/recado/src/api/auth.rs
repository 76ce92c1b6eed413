//! Who may call: API keys in `Authorization: Bearer rk_…`, checked in constant time, and a rate
//! for each key.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use delivery::time::Timestamp;
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::problem::Problem;
use crate::effects::{Effects, Random};
use crate::store::{ApiKeyView, ApiKeys, KeyScope, NewApiKey, StoreError};

/// How long a key is kept before it is read again: a revoked one works no longer than this.
const KEY_CACHE_TTL: Duration = Duration::from_secs(1);
/// Keys that are kept.
const KEYS_MAX: usize = 10_000;

type Limiter = RateLimiter<
    String,
    DashMapStateStore<String>,
    governor::clock::DefaultClock,
    StateInformationMiddleware,
>;

/// Checks keys and limits their rates.
pub struct KeyVerifier {
    keys: Arc<dyn ApiKeys>,
    effects: Effects,
    known: Mutex<HashMap<String, (ApiKeyView, Timestamp)>>,
    limiter: Option<(Limiter, u32)>,
}

/// A caller whose key was accepted.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// The key's id.
    pub key: String,
}

impl KeyVerifier {
    /// Lets each key make `rate` requests a second; 0 for no limit.
    pub fn new(keys: Arc<dyn ApiKeys>, effects: Effects, rate: u32) -> Self {
        let limiter = NonZeroU32::new(rate).map(|rate| {
            let quota = Quota::per_second(rate);
            (RateLimiter::dashmap(quota).with_middleware(), rate.get())
        });
        Self {
            keys,
            effects,
            known: Mutex::default(),
            limiter,
        }
    }
}

/// Creates a key: what the store keeps, and the text that is shown once.
pub fn create_key(
    random: &dyn Random,
    name: &str,
    scope: KeyScope,
    now: Timestamp,
) -> (NewApiKey, String) {
    let mut bytes = [0u8; 41];
    random.fill_key(&mut bytes);
    let (id, secret) = bytes.split_at(9);
    let id: String = URL_SAFE_NO_PAD.encode(id).replace(['-', '_'], "x");
    let secret = URL_SAFE_NO_PAD.encode(secret);
    let key = NewApiKey {
        id: id.clone(),
        name: name.to_owned(),
        scope,
        hash: Sha256::digest(secret.as_bytes()).into(),
        now,
    };
    (key, format!("rk_{id}_{secret}"))
}

/// Lets a request through when its key is valid, has the scope that the route needs, and is within
/// its rate.
pub(super) async fn check(
    State((verifier, scope)): State<(Arc<KeyVerifier>, KeyScope)>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = match verifier.caller(request.headers(), scope).await {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let headers = match verifier.rate(&caller.key) {
        Ok(headers) => headers,
        Err(problem) => return *problem,
    };
    request.extensions_mut().insert(caller);
    let mut response = next.run(request).await;
    if let Some((policy, state)) = headers {
        response.headers_mut().insert(POLICY, policy);
        response.headers_mut().insert(STATE, state);
    }
    response
}

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

impl KeyVerifier {
    /// The caller whose key is in the headers, when the key includes `scope`.
    async fn caller(&self, headers: &HeaderMap, scope: KeyScope) -> Result<Caller, Problem> {
        let unauthorized =
            |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
        let Some(text) = headers.get(header::AUTHORIZATION) else {
            return Err(unauthorized(
                "Send `Authorization: Bearer rk_…` with an API key of this server.",
            ));
        };
        let wrong = || unauthorized("The API key is wrong or was revoked.");
        let text = text.to_str().map_err(|_| wrong())?;
        // The scheme has no case (RFC 9110, section 11.1).
        let key = match text.split_once(' ') {
            Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => key.trim(),
            _ => return Err(wrong()),
        };
        let (id, secret) = key
            .strip_prefix("rk_")
            .and_then(|key| key.split_once('_'))
            .ok_or_else(wrong)?;
        let found = self.key(id).await?;
        let hash: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
        // A key that does not exist takes as long to refuse as a wrong one.
        let stored = found.as_ref().map_or([0u8; 32], |key| key.hash);
        let same = bool::from(hash.ct_eq(&stored));
        let Some(key) = found.filter(|key| same && key.revoked_at.is_none()) else {
            return Err(wrong());
        };
        if !key.scope.includes(scope) {
            let detail = format!(
                "This key has the scope {}, but this request needs {}. Ask the operator for another key.",
                key.scope.as_str(),
                scope.as_str()
            );
            return Err(Problem::new(StatusCode::FORBIDDEN, "scope_missing", detail));
        }
        Ok(Caller { key: key.id })
    }

    /// A key by its public id, from memory while it is fresh.
    async fn key(&self, id: &str) -> Result<Option<ApiKeyView>, StoreError> {
        let now = self.effects.clock.now();
        if let Some((key, read_at)) = self.known().get(id)
            && now.since(*read_at) < KEY_CACHE_TTL
            && *read_at <= now
        {
            return Ok(Some(key.clone()));
        }
        let found = self.keys.key(id.to_owned()).await?;
        let mut known = self.known();
        match &found {
            Some(key) => {
                if known.len() >= KEYS_MAX {
                    known.clear();
                }
                known.insert(id.to_owned(), (key.clone(), now));
            }
            None => {
                known.remove(id);
            }
        }
        Ok(found)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, (ApiKeyView, Timestamp)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fields of draft-ietf-httpapi-ratelimit-headers, or the answer to one request too many.
    fn rate(&self, key: &str) -> Result<Option<(HeaderValue, HeaderValue)>, Box<Response>> {
        let Some((limiter, rate)) = &self.limiter else {
            return Ok(None);
        };
        let field = |text: String| {
            HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
        };
        let policy = field(format!("\"key\";q={rate};w=1"));
        match limiter.check_key(&key.to_owned()) {
            Ok(snapshot) => {
                let left = snapshot.remaining_burst_capacity();
                Ok(Some((policy, field(format!("\"key\";r={left};t=1")))))
            }
            Err(_) => {
                let mut response = Problem::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "rate_limited",
                    format!(
                        "This key may make {rate} requests per second. Slow down and try again."
                    ),
                )
                .after(1)
                .into_response();
                response.headers_mut().insert(POLICY, policy);
                response
                    .headers_mut()
                    .insert(STATE, HeaderValue::from_static("\"key\";r=0;t=1"));
                Err(Box::new(response))
            }
        }
    }
}
