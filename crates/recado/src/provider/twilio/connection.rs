//! Connections to Twilio: dialing, TLS, reuse, and exactly one try for each request.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use delivery::outcome::NotSentCause;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use super::meter::{Meter, Metered};
use super::settings::TwilioSettings;
use crate::effects::{BoxFuture, Clock, DialError, Effects, Stream};

/// How long a connection waits for its next request. Servers close idle connections too, and the
/// shorter we wait, the rarer both happen at once.
const IDLE_MAX: Duration = Duration::from_secs(20);
/// Bytes of an answer's head, or of one piece of its body.
const READ_BUFFER_BYTES_MAX: usize = 64 * 1024;

type Connected = http1::Connection<TokioIo<Metered>, Full<Bytes>>;

/// Where the provider listens.
pub(super) struct Endpoint {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// A complete answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// `None` when it is longer than the bound.
    pub(super) body: Option<Bytes>,
}

/// Why there is no complete answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No byte of the request was written, and none will be.
    NotSent(NotSentCause),
    /// Bytes may have left; the answer was not complete in time.
    TimedOut,
    /// Bytes may have left; the connection broke before the end of the answer.
    Lost,
    /// Bytes may have left; what was received is not HTTP.
    NotHttp,
}

/// Sends requests, each alone on its connection for as long as it takes.
pub(super) struct Pool {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    effects: Effects,
    connect_timeout: Duration,
    answer_timeout: Duration,
    answer_bytes_max: usize,
    in_flight: Semaphore,
    connection_ids: AtomicU64,
}

/// What the tasks that drive connections see of the pool.
struct Shared {
    idle: Mutex<Vec<Idle>>,
    clock: Arc<dyn Clock>,
}

/// A connection that can take a request now.
pub(super) struct Ready<'a> {
    connection: Connection,
    _permit: SemaphorePermit<'a>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

struct Connection {
    id: u64,
    requests: http1::SendRequest<Full<Bytes>>,
    meter: Arc<Meter>,
    driver: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Pool {
    pub(super) fn new(endpoint: Endpoint, settings: &TwilioSettings, effects: &Effects) -> Self {
        Self {
            shared: Arc::new(Shared {
                idle: Mutex::default(),
                clock: Arc::clone(&effects.clock),
            }),
            endpoint,
            effects: effects.clone(),
            connect_timeout: settings.connect_timeout,
            answer_timeout: settings.answer_timeout,
            answer_bytes_max: settings.answer_bytes_max,
            in_flight: Semaphore::new(settings.connections_max.clamp(1, Semaphore::MAX_PERMITS)),
            connection_ids: AtomicU64::new(0),
        }
    }

    /// Sends a request once and reads its answer.
    ///
    /// # Errors
    /// [`Failure`], of which only [`Failure::NotSent`] says that nothing left.
    pub(super) async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let ready = self.ready().await.map_err(Failure::NotSent)?;
        self.exchange_over(ready, request).await
    }

    /// A connection that can take a request now.
    ///
    /// # Errors
    /// Why there is none; nothing was sent.
    pub(super) async fn ready(&self) -> Result<Ready<'_>, NotSentCause> {
        let mut connect_end = self.effects.clock.sleep(self.connect_timeout);
        let permit = before(&mut connect_end, self.in_flight.acquire()).await;
        // The semaphore is never closed, so it either gives a permit or the time is over.
        let Some(Ok(permit)) = permit else {
            return Err(NotSentCause::Connect);
        };
        let connection = match self.shared.take_idle().await {
            Some(connection) => connection,
            None => self.open(&mut connect_end).await?,
        };
        Ok(Ready {
            connection,
            _permit: permit,
        })
    }

    /// Sends a request once over a connection and reads its answer.
    ///
    /// # Errors
    /// As [`Pool::exchange`].
    pub(super) async fn exchange_over(
        &self,
        mut ready: Ready<'_>,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, Failure> {
        let answer = self.send(&mut ready.connection, request).await?;
        if answer.body.is_some() {
            self.give_back(ready);
        }
        Ok(answer)
    }

    /// Keeps a connection for the next request.
    pub(super) fn give_back(&self, ready: Ready<'_>) {
        self.shared.keep(ready.connection);
    }

    async fn open(&self, end: &mut BoxFuture<'static, ()>) -> Result<Connection, NotSentCause> {
        let Endpoint { host, port, tls } = &self.endpoint;
        let stream = match before(end, self.effects.dial.dial(host, *port)).await {
            Some(Ok(stream)) => stream,
            Some(Err(DialError::Dns(_))) => return Err(NotSentCause::Dns),
            Some(Err(DialError::Connect(_))) | None => return Err(NotSentCause::Connect),
        };
        let stream: Box<dyn Stream> = match tls {
            Some((connector, name)) => {
                match before(end, connector.connect(name.clone(), stream)).await {
                    Some(Ok(stream)) => Box::new(stream),
                    Some(Err(_)) | None => return Err(NotSentCause::Tls),
                }
            }
            None => stream,
        };
        let (stream, meter) = Metered::new(stream, tls.is_some());
        let (requests, connected) = http1::Builder::new()
            .max_buf_size(READ_BUFFER_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| NotSentCause::ConnectionLost)?;
        let id = self.connection_ids.fetch_add(1, Ordering::Relaxed);
        let driver = tokio::spawn(drive(connected, id, Arc::downgrade(&self.shared)));
        Ok(Connection {
            id,
            requests,
            meter,
            driver: driver.abort_handle(),
        })
    }

    async fn send(
        &self,
        connection: &mut Connection,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, Failure> {
        let written_before = connection.meter.written();
        let mut answer_end = self.effects.clock.sleep(self.answer_timeout);
        let answer = read_answer(&mut connection.requests, request, self.answer_bytes_max);
        let result = match before(&mut answer_end, answer).await {
            // What was received before anything was written is not the answer to this request.
            Some(Ok(answer)) if connection.meter.written() > written_before => return Ok(answer),
            Some(Ok(_)) => Failure::Lost,
            Some(Err(error)) if error.is_parse() => Failure::NotHttp,
            Some(Err(_)) => Failure::Lost,
            None => Failure::TimedOut,
        };
        if connection.meter.seal() == written_before {
            return Err(Failure::NotSent(NotSentCause::ConnectionLost));
        }
        Err(result)
    }
}

impl Shared {
    /// A connection that can take a request now, of those that wait the one used last.
    async fn take_idle(&self) -> Option<Connection> {
        if self.lock().is_empty() {
            return None;
        }
        // Gives the runtime a turn to see that the other side has closed, so that the request
        // goes to a fresh connection instead of being lost on a dead one.
        tokio::task::yield_now().await;
        let now = self.clock.monotonic();
        let mut idle = self.lock();
        while let Some(Idle { connection, since }) = idle.pop() {
            if connection.requests.is_ready() && now.saturating_duration_since(since) < IDLE_MAX {
                return Some(connection);
            }
        }
        None
    }

    fn keep(&self, connection: Connection) {
        let since = self.clock.monotonic();
        if !connection.requests.is_closed() {
            self.lock().push(Idle { connection, since });
        }
    }

    /// How long until it is time to look at a connection again; `None` when it has waited long
    /// enough and is no longer among those that wait.
    fn retire(&self, id: u64) -> Option<Duration> {
        let now = self.clock.monotonic();
        let mut idle = self.lock();
        let Some(at) = idle.iter().position(|idle| idle.connection.id == id) else {
            return Some(IDLE_MAX);
        };
        let age = idle
            .get(at)
            .map(|idle| now.saturating_duration_since(idle.since))?;
        if age >= IDLE_MAX {
            idle.remove(at);
            return None;
        }
        Some(IDLE_MAX - age)
    }

    fn forget(&self, id: u64) {
        self.lock().retain(|idle| idle.connection.id != id);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves bytes for one connection until it ends, is dropped, or has been idle too long.
async fn drive(connected: Connected, id: u64, shared: Weak<Shared>) {
    let mut connected = pin!(connected);
    let mut wait = IDLE_MAX;
    loop {
        let Some(clock) = shared.upgrade().map(|shared| Arc::clone(&shared.clock)) else {
            return;
        };
        tokio::select! {
            // An error reaches the task that waits for the answer; nobody else needs it.
            _ = &mut connected => break,
            () = clock.sleep(wait) => {}
        }
        match shared.upgrade().and_then(|shared| shared.retire(id)) {
            Some(left) => wait = left,
            None => return,
        }
    }
    if let Some(shared) = shared.upgrade() {
        shared.forget(id);
    }
}

async fn read_answer(
    requests: &mut http1::SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
    bytes_max: usize,
) -> hyper::Result<Answer> {
    let (head, mut body) = requests.send_request(request).await?.into_parts();
    let (status, headers) = (head.status.as_u16(), head.headers);
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > bytes_max {
            return Ok(Answer {
                status,
                headers,
                body: None,
            });
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Answer {
        status,
        headers,
        body: Some(bytes.into()),
    })
}

/// What `work` gives, or `None` when `end` comes first.
async fn before<T>(end: &mut BoxFuture<'static, ()>, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = end => None,
    }
}
