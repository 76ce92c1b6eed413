//! Signed requests to the customer's server, retried as their URL asks.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
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

use crate::dates::rfc3339;
use crate::form::encode;
use crate::truth::TruthTry;

/// How many requests may be open at once.
const OPEN_MAX: usize = 64;

type Http = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Sends signed requests.
pub(crate) struct Caller {
    /// One client for each limit of connecting, of which there are few.
    clients: Mutex<HashMap<Duration, Http>>,
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

/// A call as it goes over the network.
struct Written<'a> {
    url: &'a str,
    body: String,
    signature: String,
    idempotency: &'a str,
}

impl Caller {
    pub(crate) fn new() -> Self {
        Self {
            clients: Mutex::default(),
            open: Semaphore::new(OPEN_MAX),
        }
    }

    /// The client that gives up connecting after this time.
    fn client(&self, connect: Duration) -> Http {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let client = clients.entry(connect).or_insert_with(|| {
            let mut connector = HttpConnector::new();
            connector.enforce_http(false);
            connector.set_nodelay(true);
            connector.set_connect_timeout(Some(connect));
            let connector = hyper_rustls::HttpsConnectorBuilder::new()
                .with_webpki_roots()
                .https_or_http()
                .enable_http1()
                .wrap_connector(connector);
            Client::builder(TokioExecutor::new()).build(connector)
        });
        client.clone()
    }

    /// Sends a request, and retries it as its URL asks; returns each try.
    pub(crate) async fn send(&self, call: &Call<'_>) -> Vec<TruthTry> {
        let (url, overrides) = overrides(call.url);
        let written = Written {
            url,
            body: encode(&call.fields),
            signature: sign(url, &call.fields, call.token),
            idempotency: &call.idempotency,
        };
        let http = self.client(overrides.connect);
        let retries = usize::try_from(overrides.retries).unwrap_or_default();
        let mut tries = Vec::with_capacity(1);
        // The time begins when the first request may be sent: that few are open at once is a limit
        // of the simulator, not of Twilio.
        let mut permit = self.open.acquire().await;
        let until = tokio::time::Instant::now() + overrides.total;
        while tries.len() <= retries && tokio::time::Instant::now() < until {
            let at = rfc3339(jiff::Timestamp::now());
            // All attempts share the total time, including one that gets no answer.
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            let outcome = once(&http, &written, overrides.read.min(left)).await;
            drop(permit);
            tries.push(TruthTry {
                at,
                answered: outcome.ok(),
                failed: outcome.err().map(CallError::word),
            });
            let again = match outcome {
                Ok(status) if status >= 500 => overrides.on_5xx,
                Ok(status) if status >= 400 => overrides.on_4xx,
                Ok(_) => false,
                Err(CallError::Connect) => overrides.on_connect,
                Err(CallError::Read) => overrides.on_read,
            };
            if !again || tries.len() > retries {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100 << tries.len().min(5))).await;
            permit = self.open.acquire().await;
        }
        tries
    }
}

async fn once(http: &Http, call: &Written<'_>, limit: Duration) -> Result<u16, CallError> {
    let request = Request::post(call.url)
        .header(
            "content-type",
            "application/x-www-form-urlencoded; charset=UTF-8",
        )
        .header("x-twilio-signature", &call.signature)
        .header("i-twilio-idempotency-token", call.idempotency)
        .header("user-agent", "TwilioProxy/1.1")
        .header("accept", "*/*")
        .body(Full::new(Bytes::from(call.body.clone())))
        .map_err(|_| CallError::Connect)?;
    let answered = tokio::time::timeout(limit, async {
        let response = http.request(request).await.map_err(|error| {
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

#[derive(Clone, Copy)]
enum CallError {
    /// No connection could be made.
    Connect,
    /// It was made, and no answer came over it.
    Read,
}

impl CallError {
    /// Its name in the truth log.
    fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Read => "read",
        }
    }
}

/// Twilio's connection overrides (twilio.com/docs/usage/webhooks/webhooks-connection-overrides):
/// by default one retry, and only when the connection could not be made.
struct Overrides {
    retries: u32,
    connect: Duration,
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
        connect: Duration::from_secs(5),
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
            "ct" => overrides.connect = millis(100, 10_000).unwrap_or(overrides.connect),
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
