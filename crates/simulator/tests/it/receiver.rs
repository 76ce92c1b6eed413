//! Receives callbacks: a server that keeps what it gets and answers as it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::caller::DEADLINE;
use crate::signature;

/// Stands for an answer that never comes.
pub(crate) const NEVER: u16 = 0;

/// One received request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// The full URL of the request.
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) fields: Vec<(String, String)>,
    /// The body as it was received.
    pub(crate) body: String,
    pub(crate) came: jiff::Timestamp,
}

impl Call {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn status(&self) -> &str {
        self.field("MessageStatus").unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap().to_str().unwrap()
    }

    /// Whether the signature is right for this URL and body, and this token.
    pub(crate) fn is_signed_with(&self, token: &str) -> bool {
        signature::of(&self.url, &self.fields, token) == self.header("x-twilio-signature")
    }
}

/// A running receiver.
pub(crate) struct Receiver {
    address: std::net::SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    calls: Mutex<Vec<Call>>,
    answers: Mutex<VecDeque<u16>>,
    came: Notify,
    base: Mutex<String>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        *shared.base.lock().unwrap() = format!("http://{address}");
        let router = Router::new().fallback(take).with_state(Arc::clone(&shared));
        drop(tokio::spawn(
            async move { axum::serve(listener, router).await },
        ));
        Self { address, shared }
    }

    /// A URL of this server.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers the next requests with these statuses, and all later ones with 204.
    pub(crate) fn answer_with(&self, statuses: &[u16]) {
        self.shared.answers.lock().unwrap().extend(statuses);
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.seen().clone()
    }

    /// Waits for this many requests.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Call> {
        let enough = async {
            loop {
                let came = self.shared.came.notified();
                if self.seen().len() >= count {
                    return;
                }
                came.await;
            }
        };
        let came = tokio::time::timeout(DEADLINE, enough).await;
        assert!(
            came.is_ok(),
            "{} of {count} requests came",
            self.seen().len()
        );
        self.calls()
    }

    fn seen(&self) -> MutexGuard<'_, Vec<Call>> {
        self.shared.calls.lock().unwrap()
    }
}

async fn take(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let body = String::from_utf8(body.to_vec()).unwrap();
    let url = format!("{}{uri}", shared.base.lock().unwrap());
    let call = Call {
        method,
        url,
        headers,
        fields: decoded(&body),
        body,
        came: jiff::Timestamp::now(),
    };
    shared.calls.lock().unwrap().push(call);
    shared.came.notify_waiters();
    let status = shared.answers.lock().unwrap().pop_front().unwrap_or(204);
    if status == NEVER {
        std::future::pending::<()>().await;
    }
    StatusCode::from_u16(status).unwrap()
}

/// The fields of a form, in order.
pub(crate) fn decoded(body: &str) -> Vec<(String, String)> {
    let part = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text)
            .decode_utf8()
            .unwrap()
            .into_owned()
    };
    body.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (part(name), part(value)))
        .collect()
}
