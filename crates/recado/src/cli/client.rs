//! A client of a running server's API.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use futures_util::StreamExt;
use http_body_util::{BodyExt, BodyStream, Full};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, StatusCode};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::exit::Failure;
use super::text::encoded;

/// From the request to the end of its answer.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Items asked for at once: the most that the server gives.
const PAGE: usize = 200;

/// Where the server is, and the key.
#[derive(Args, Clone)]
pub(super) struct Server {
    /// The URL of the server
    #[arg(
        long,
        env = "RECADO_URL",
        default_value = "http://127.0.0.1:8080",
        global = true
    )]
    pub(super) url: String,
    /// An API key; create one with `recado keys create`
    #[arg(long, env = "RECADO_API_KEY", hide_env_values = true, global = true)]
    pub(super) api_key: Option<String>,
}

/// A client of a running server's API.
#[derive(Clone)]
pub(super) struct Client {
    http: HyperClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: String,
    key: String,
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

impl Client {
    pub(super) fn new(server: &Server) -> Result<Self, Failure> {
        let Some(key) = server.api_key.clone().filter(|key| !key.trim().is_empty()) else {
            return Err(Failure::Usage(vec![
                "no API key: set RECADO_API_KEY or give --api-key; create one with `recado keys \
                 create --name cli --scope send`"
                    .to_owned(),
            ]));
        };
        let mut problems = Vec::new();
        let url = server.url.trim_end_matches('/');
        if !url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
            problems.push(format!(
                "--url: `{url}` is not a URL such as http://127.0.0.1:8080"
            ));
        }
        if !key.trim().bytes().all(|byte| byte.is_ascii_graphic()) {
            problems.push("--api-key: it contains characters that no API key contains".to_owned());
        }
        if !problems.is_empty() {
            return Err(Failure::Usage(problems));
        }
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .build();
        let http = HyperClient::builder(TokioExecutor::new()).build(connector);
        Ok(Self {
            http,
            url: url.to_owned(),
            key: key.trim().to_owned(),
        })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.call(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, path: &str, body: Option<&Value>) -> Result<Answer, Failure> {
        self.call(Method::POST, path, body).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Answer, Failure> {
        self.call(Method::DELETE, path, None).await
    }

    /// Reads `/api/v1/{name}` page by page, newest first, until `limit` items or the last; `filters`
    /// without a value are left out. `each` gets a page's before the next page is asked for.
    pub(super) async fn list(
        &self,
        name: &str,
        filters: &[(&str, Option<&str>)],
        limit: usize,
        mut each: impl FnMut(&Value),
    ) -> Result<(), Failure> {
        let mut left = limit;
        let mut cursor: Option<String> = None;
        while left > 0 {
            let mut path = format!("/api/v1/{name}?limit={}", left.min(PAGE));
            for &(filter, value) in filters.iter().chain(&[("cursor", cursor.as_deref())]) {
                if let Some(value) = value {
                    path.push_str(&format!("&{filter}={}", encoded(value)));
                }
            }
            let page = self.get(&path).await?.good()?;
            let items = page.get(name).and_then(Value::as_array);
            for item in items.into_iter().flatten() {
                each(item);
                left = left.saturating_sub(1);
            }
            cursor = match page.get("next_cursor").and_then(Value::as_str) {
                Some(cursor) => Some(cursor.to_owned()),
                None => break,
            };
        }
        Ok(())
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Failure> {
        let request = self.request(method, path, body)?;
        let answered = tokio::time::timeout(TIMEOUT, async {
            let response = self
                .http
                .request(request)
                .await
                .map_err(|e| self.unreachable(&e))?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            Ok::<_, Failure>(Answer { status, body })
        });
        match answered.await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::Other(anyhow::anyhow!(
                "{} did not answer in time",
                self.url
            ))),
        }
    }

    /// Follows the live stream; each event goes to `each`, which says whether to go on.
    pub(super) async fn follow(
        &self,
        path: &str,
        mut each: impl FnMut(Value) -> bool,
    ) -> Result<(), Failure> {
        let request = self.request(Method::GET, path, None)?;
        let response = self
            .http
            .request(request)
            .await
            .map_err(|e| self.unreachable(&e))?;
        if !response.status().is_success() {
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            return Err(Answer { status, body }.failure());
        }
        let mut frames = BodyStream::new(response.into_body());
        let mut bytes: Vec<u8> = Vec::new();
        while let Some(frame) = frames.next().await {
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            bytes.extend_from_slice(&data);
            while let Some(end) = memchr::memmem::find(&bytes, b"\n\n") {
                let event: Vec<u8> = bytes.drain(..end + 2).collect();
                let event = String::from_utf8_lossy(&event);
                let data = event.lines().find_map(|line| line.strip_prefix("data: "));
                let go_on = data
                    .and_then(|data| serde_json::from_str(data).ok())
                    .is_none_or(&mut each);
                if !go_on {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let bytes = body
            .map(serde_json::to_vec)
            .transpose()?
            .unwrap_or_default();
        Ok(Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(AUTHORIZATION, format!("Bearer {}", self.key))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(bytes)))?)
    }

    fn unreachable(&self, error: &hyper_util::client::legacy::Error) -> Failure {
        Failure::Other(anyhow::anyhow!(
            "{} cannot be reached ({error}); is the server running?",
            self.url
        ))
    }
}

impl Answer {
    /// The body, or the server's problem as a failure.
    pub(super) fn good(self) -> Result<Value, Failure> {
        if self.status.is_success() {
            Ok(self.body)
        } else {
            Err(self.failure())
        }
    }

    /// The problem, with every wrong field and the message that it is about.
    fn failure(&self) -> Failure {
        let word = |value: &Value, name: &str| {
            let word = value.get(name).and_then(Value::as_str);
            word.map(str::to_owned)
        };
        let mut detail = word(&self.body, "detail").unwrap_or_else(|| "no explanation".to_owned());
        if let Some(message) = word(&self.body, "message_id") {
            detail.push_str(&format!(" (message_id: {message})"));
        }
        let errors = self.body.get("errors").and_then(Value::as_array);
        for error in errors.into_iter().flatten() {
            let field = word(error, "field").unwrap_or_default();
            let why = word(error, "detail").unwrap_or_default();
            detail.push_str(&format!("\n  {field}: {why}"));
        }
        Failure::Other(anyhow::anyhow!(
            "the server answered {}: {detail}",
            self.status.as_u16()
        ))
    }
}
