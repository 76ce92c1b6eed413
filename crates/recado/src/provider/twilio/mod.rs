//! Twilio's Messages resource (`/2010-04-01/Accounts/{AccountSid}/Messages.json`) over HTTP/1.1.

mod answer;
mod clock;
mod connection;
mod form;
mod inbound;
mod meter;
mod retry_after;
mod settings;
mod url;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use delivery::outcome::{NotSentCause, Outcome};
use delivery::sid::Sid;
use delivery::time::{ClockDifference, Timestamp};
use http_body_util::Full;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, InvalidHeaderValue, USER_AGENT,
};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Uri};
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use self::clock::ClockMeter;
use self::connection::{Answer, Endpoint, Failure, Pool};
pub use self::settings::{TwilioSettings, TwilioSettingsError};
pub use self::url::{asks_for_too_few_tries, with_overrides};
pub use crate::config::Credentials;
use crate::effects::{BoxFuture, Clock, Effects};
use crate::provider::{
    CreateRequest, InboundListQuery, InboundPage, ListQuery, Provider, ProviderError,
    ProviderMedium, ProviderMessage,
};

/// Pages that one list call reads; nobody gets 2,000 messages in the quarter of an hour that is
/// asked for.
const LIST_PAGES_MAX: usize = 40;
const API_VERSION: &str = "2010-04-01";

/// Twilio as a [`Provider`]. Nothing below it repeats a request or follows a redirect.
pub struct Twilio {
    pool: Pool,
    account_sid: String,
    host: HeaderValue,
    authorization: HeaderValue,
    status_callback_url: Option<String>,
    base_url: String,
    clock: Arc<dyn Clock>,
    difference: ClockMeter,
}

impl Twilio {
    /// A client that trusts the certificate authorities that browsers trust.
    ///
    /// # Errors
    /// [`TwilioSettingsError`]; nothing is connected yet.
    pub fn new(settings: &TwilioSettings, effects: &Effects) -> Result<Self, TwilioSettingsError> {
        let roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        Self::with_roots(settings, effects, roots)
    }

    /// A client that trusts `roots` alone.
    ///
    /// # Errors
    /// [`TwilioSettingsError`]; nothing is connected yet.
    pub fn with_roots(
        settings: &TwilioSettings,
        effects: &Effects,
        roots: RootCertStore,
    ) -> Result<Self, TwilioSettingsError> {
        Sid::parse(&settings.account_sid, &["AC"]).map_err(|_| TwilioSettingsError::AccountSid)?;
        let (endpoint, host) = endpoint(&settings.base_url, roots)?;
        Ok(Self {
            pool: Pool::new(endpoint, settings, effects),
            account_sid: settings.account_sid.clone(),
            host,
            authorization: authorization(settings)?,
            status_callback_url: settings.status_callback_url.clone(),
            base_url: settings.base_url.clone(),
            clock: Arc::clone(&effects.clock),
            difference: ClockMeter::default(),
        })
    }

    fn messages_path(&self) -> String {
        format!("/{API_VERSION}/Accounts/{}/Messages.json", self.account_sid)
    }

    fn message_path(&self, sid: Sid) -> String {
        format!(
            "/{API_VERSION}/Accounts/{}/Messages/{sid}.json",
            self.account_sid
        )
    }

    /// Sends a request once, and compares the clocks by its answer.
    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let sent = self.clock.now();
        let answer = self.pool.exchange(request).await?;
        self.difference
            .compare(&answer.headers, sent, self.clock.now());
        Ok(answer)
    }

    fn get(&self, path: &PathAndQuery) -> Request<Full<Bytes>> {
        self.request(Method::GET, path, Full::default())
    }

    fn post(&self, path: &PathAndQuery, form: String) -> Request<Full<Bytes>> {
        let mut request = self.request(Method::POST, path, Full::new(form.into()));
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(CONTENT_TYPE, form);
        request
    }

    fn request(
        &self,
        method: Method,
        path: &PathAndQuery,
        body: Full<Bytes>,
    ) -> Request<Full<Bytes>> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from(path.clone());
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(AUTHORIZATION, self.authorization.clone());
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let agent = concat!("recado/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        request
    }

    async fn list_all(&self, query: &ListQuery) -> Result<Vec<ProviderMessage>, ProviderError> {
        let messages_path = self.messages_path();
        // Creation times have whole seconds: a message of the same second counts as later.
        let since = query.created_since.minus(Duration::from_secs(1));
        let mut found = Vec::new();
        let mut next = Some(format!("{messages_path}?{}", form::list_query(query)));
        for _ in 0..LIST_PAGES_MAX {
            let Some(uri) = next else { return Ok(found) };
            let path = page_path(&uri, &messages_path).ok_or(ProviderError::Garbage)?;
            let page = answer::page(self.exchange(self.get(&path)).await)?;
            let is_old = |message: &ProviderMessage| {
                message
                    .created_at
                    .is_some_and(|created_at| created_at <= since)
            };
            // The list is ordered by the date of sending. One message that is older than it should
            // be says nothing about those behind it; a whole page does.
            let all_old = !page.messages.is_empty() && page.messages.iter().all(is_old);
            found.extend(page.messages.into_iter().filter(|message| !is_old(message)));
            if all_old {
                return Ok(found);
            }
            next = page.next_page_uri;
        }
        // A partial list must not be taken for the whole: what is missing in it counts as evidence.
        if next.is_none() {
            Ok(found)
        } else {
            Err(ProviderError::Garbage)
        }
    }

    async fn inbound_page(&self, query: &InboundListQuery) -> Result<InboundPage, ProviderError> {
        let messages_path = self.messages_path();
        let uri = match &query.page {
            Some(page) => page.clone(),
            None => format!("{messages_path}?{}", form::inbound_query(&query.recipient)),
        };
        let path = page_path(&uri, &messages_path).ok_or(ProviderError::Garbage)?;
        let page = inbound::page(self.exchange(self.get(&path)).await, &query.recipient)?;
        // A page that leads nowhere else would be read for ever.
        if page.next.as_ref().is_some_and(|next| *next == uri) {
            return Err(ProviderError::Garbage);
        }
        Ok(page)
    }
}

impl Provider for Twilio {
    fn create<'a>(&'a self, request: &'a CreateRequest) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let late = || request.expires_at.is_some_and(|at| self.clock.now() >= at);
            if late() {
                return not_sent(NotSentCause::DeadlinePassed);
            }
            let ready = match self.pool.ready().await {
                Ok(ready) => ready,
                Err(cause) => return not_sent(cause),
            };
            // Waiting for a connection takes up to 5 seconds.
            if late() {
                self.pool.give_back(ready);
                return not_sent(NotSentCause::DeadlinePassed);
            }
            let path = static_path(self.messages_path());
            let url = self.status_callback_url.as_deref();
            let form = form::create_form(request, self.clock.now(), url);
            let sent = self.clock.now();
            let result = self.pool.exchange_over(ready, self.post(&path, form)).await;
            if let Ok(answer) = &result {
                let received = self.clock.now();
                self.difference.compare(&answer.headers, sent, received);
            }
            answer::outcome(result, &self.account_sid)
        })
    }

    fn fetch(&self, sid: Sid) -> BoxFuture<'_, Result<ProviderMessage, ProviderError>> {
        Box::pin(async move {
            let path = static_path(self.message_path(sid));
            answer::message(self.exchange(self.get(&path)).await, sid)
        })
    }

    fn list<'a>(
        &'a self,
        query: &'a ListQuery,
    ) -> BoxFuture<'a, Result<Vec<ProviderMessage>, ProviderError>> {
        Box::pin(self.list_all(query))
    }

    fn youngest(&self) -> BoxFuture<'_, Result<Option<Timestamp>, ProviderError>> {
        Box::pin(async move {
            let uri = format!("{}?{}", self.messages_path(), form::youngest_query());
            let path = page_path(&uri, &self.messages_path()).ok_or(ProviderError::Garbage)?;
            let page = answer::page(self.exchange(self.get(&path)).await)?;
            let created = page.messages.iter().map(|message| message.created_at);
            Ok(created.max().flatten())
        })
    }

    fn clock_difference(&self) -> ClockDifference {
        self.difference.difference()
    }

    fn list_inbound<'a>(
        &'a self,
        query: &'a InboundListQuery,
    ) -> BoxFuture<'a, Result<InboundPage, ProviderError>> {
        Box::pin(self.inbound_page(query))
    }

    fn media(&self, sid: Sid) -> BoxFuture<'_, Result<Vec<ProviderMedium>, ProviderError>> {
        Box::pin(async move {
            let resource = format!(
                "/{API_VERSION}/Accounts/{}/Messages/{sid}/Media",
                self.account_sid
            );
            let path = static_path(format!("{resource}.json"));
            let answer = self.exchange(self.get(&path)).await;
            inbound::media(answer, &format!("{}{resource}", self.base_url))
        })
    }
}

fn not_sent(cause: NotSentCause) -> Outcome {
    Outcome::NotSent {
        cause,
        retry_after: None,
    }
}

/// A path of letters, digits and slashes: both SIDs in it were parsed.
#[expect(clippy::expect_used, reason = "both SIDs were parsed")]
fn static_path(path: String) -> PathAndQuery {
    PathAndQuery::try_from(path).expect("a path made of parsed SIDs is a path")
}

/// Path and query of a page of the message list, whatever host the provider wrote before it: our
/// credentials go nowhere but to our own base URL, and to no other resource.
fn page_path(uri: &str, messages_path: &str) -> Option<PathAndQuery> {
    let uri: Uri = uri.parse().ok()?;
    let path = uri.path_and_query()?;
    (path.path() == messages_path).then(|| path.clone())
}

fn endpoint(
    base_url: &str,
    roots: RootCertStore,
) -> Result<(Endpoint, HeaderValue), TwilioSettingsError> {
    let uri: Uri = base_url.parse().map_err(|_| TwilioSettingsError::BaseUrl)?;
    let authority = uri.authority().ok_or(TwilioSettingsError::BaseUrl)?;
    if authority.as_str().contains('@') || uri.path() != "/" || uri.query().is_some() {
        return Err(TwilioSettingsError::BaseUrl);
    }
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let (port, tls) = match uri.scheme_str() {
        Some("https") => {
            let name = ServerName::try_from(host.clone());
            let name = name.map_err(|_| TwilioSettingsError::BaseUrl)?;
            (443, Some((tls_connector(roots)?, name)))
        }
        Some("http") => (80, None),
        _ => return Err(TwilioSettingsError::BaseUrl),
    };
    let port = match authority.port_u16() {
        Some(port) => port,
        // What follows the host is not a port.
        None if authority.as_str() != authority.host() => return Err(TwilioSettingsError::BaseUrl),
        None => port,
    };
    let header = HeaderValue::from_str(authority.as_str());
    let header = header.map_err(|_: InvalidHeaderValue| TwilioSettingsError::BaseUrl)?;
    Ok((Endpoint { host, port, tls }, header))
}

fn tls_connector(roots: RootCertStore) -> Result<TlsConnector, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// HTTP Basic (RFC 7617) with the account or the key as user. Kept in memory that is cleared when
/// the client is dropped; copies in write buffers are not.
#[expect(clippy::expect_used, reason = "base64 has only printable ASCII")]
fn authorization(settings: &TwilioSettings) -> Result<HeaderValue, TwilioSettingsError> {
    let (user, password) = match &settings.credentials {
        Credentials::AuthToken(token) => (&settings.account_sid, token),
        Credentials::ApiKey { sid, secret } => {
            Sid::parse(sid, &["SK"]).map_err(|_| TwilioSettingsError::ApiKeySid)?;
            (sid, secret)
        }
    };
    let pair = Zeroizing::new(format!("{user}:{}", password.expose()));
    let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
    let header = Zeroizing::new([b"Basic ", encoded.as_bytes()].concat());
    let mut header = HeaderValue::from_maybe_shared(Bytes::from_owner(header))
        .expect("base64 is fit for a header");
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests;
