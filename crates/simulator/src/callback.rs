//! Signed requests to the customer's server, retried as their URL asks.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use sha1::Sha1;
use tokio::sync::Semaphore;

use crate::form::encode;
use crate::truth::TruthCallback;

/// How many requests may be open at once.
const OPEN_MAX: usize = 64;

/// Sends signed requests.
pub(crate) struct Caller {
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    open: Semaphore,
}

/// One signed request.
pub(crate) struct Call<'a> {
    /// The URL with its fragment.
    pub(crate) url: &'a str,
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) token: &'a str,
    /// Twilio's idempotency token: the same for every attempt.
    pub(crate) idempotency: String,
}

impl Caller {
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let http = Client::builder(TokioExecutor::new()).build(connector);
        Self {
            http,
            open: Semaphore::new(OPEN_MAX),
        }
    }

    /// Sends a request, and retries it as its URL asks.
    pub(crate) async fn send(&self, call: &Call<'_>) -> TruthCallback {
        let (url, overrides) = overrides(call.url);
        let body = encode(&call.fields);
        let signature = sign(url, &call.fields, call.token);
        let mut result = TruthCallback::default();
        let until = tokio::time::Instant::now() + overrides.total;
        while result.tries <= overrides.retries && tokio::time::Instant::now() < until {
            result.tries += 1;
            // All attempts share the total time, including one that gets no answer.
            let limit = overrides
                .read
                .min(until.saturating_duration_since(tokio::time::Instant::now()));
            let outcome = self.once(url, &body, &signature, call, limit).await;
            result.answered = outcome.ok();
            let again = match outcome {
                Ok(status) if status >= 500 => overrides.on_5xx,
                Ok(status) if status >= 400 => overrides.on_4xx,
                Ok(_) => false,
                Err(CallError::Connect) => overrides.on_connect,
                Err(CallError::Read) => overrides.on_read,
            };
            if !again || result.tries > overrides.retries {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100 << result.tries.min(5))).await;
        }
        result
    }

    async fn once(
        &self,
        url: &str,
        body: &str,
        signature: &str,
        call: &Call<'_>,
        limit: Duration,
    ) -> Result<u16, CallError> {
        let _permit = self.open.acquire().await;
        let request = Request::post(url)
            .header(
                "content-type",
                "application/x-www-form-urlencoded; charset=UTF-8",
            )
            .header("x-twilio-signature", signature)
            .header("i-twilio-idempotency-token", &call.idempotency)
            .header("user-agent", "TwilioProxy/1.1")
            .header("accept", "*/*")
            .body(Full::new(Bytes::from(body.to_owned())))
            .map_err(|_| CallError::Connect)?;
        let answered = tokio::time::timeout(limit, async {
            let response = self.http.request(request).await.map_err(|error| {
                if error.is_connect() {
                    CallError::Connect
                } else {
                    CallError::Read
                }
            })?;
            let status = response.status().as_u16();
            response
                .into_body()
                .collect()
                .await
                .map_err(|_| CallError::Read)?;
            Ok(status)
        });
        answered.await.unwrap_or(Err(CallError::Read))
    }
}

#[derive(Clone, Copy)]
enum CallError {
    Connect,
    Read,
}

/// Twilio's connection overrides (twilio.com/docs/usage/webhooks/webhooks-connection-overrides):
/// by default one retry, and only when the connection could not be made.
struct Overrides {
    retries: u32,
    read: Duration,
    total: Duration,
    on_4xx: bool,
    on_5xx: bool,
    on_connect: bool,
    on_read: bool,
}

fn overrides(url: &str) -> (&str, Overrides) {
    let (url, fragment) = url.split_once('#').unwrap_or((url, ""));
    let mut overrides = Overrides {
        retries: 1,
        read: Duration::from_secs(15),
        total: Duration::from_secs(15),
        on_4xx: false,
        on_5xx: false,
        on_connect: true,
        on_read: false,
    };
    for (name, value) in fragment.split('&').filter_map(|pair| pair.split_once('=')) {
        let millis = |low: u64, high: u64| {
            value
                .parse()
                .ok()
                .map(|ms: u64| Duration::from_millis(ms.clamp(low, high)))
        };
        match name {
            "rc" => overrides.retries = value.parse().unwrap_or(1).min(5),
            "rt" => overrides.read = millis(100, 15_000).unwrap_or(overrides.read),
            "tt" => overrides.total = millis(100, 15_000).unwrap_or(overrides.total),
            "rp" => {
                let has = |word| value.split(',').any(|w| w == word || w == "all");
                overrides.on_4xx = has("4xx");
                overrides.on_5xx = has("5xx");
                overrides.on_connect = has("ct");
                overrides.on_read = has("rt");
            }
            _ => {}
        }
    }
    (url, overrides)
}

/// `X-Twilio-Signature` of a form: HMAC-SHA1 of the URL and the sorted fields.
pub(crate) fn sign(url: &str, fields: &[(&str, String)], token: &str) -> String {
    let url = url.split('#').next().unwrap_or(url);
    let mut sorted: Vec<_> = fields.iter().collect();
    sorted.sort();
    let mut text = url.to_owned();
    for (name, value) in sorted {
        text.push_str(name);
        text.push_str(value);
    }
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(token.as_bytes()) else {
        return String::new();
    };
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}
