//! The HTTP server: it accepts connections within limits, and lets open ones end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::api::problem::Problem;

/// From the opening of a connection, or the end of the request before, to the end of the headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// From the end of the headers to the beginning of the answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of the headers of a request.
const HEADER_BYTES_MAX: usize = 64 << 10;
/// How long after a failed accept the next one is tried: there may be no file handles left.
const ACCEPT_WAIT: Duration = Duration::from_millis(100);

/// Accepts connections until shutdown, at most `connections_max` at once, then lets open ones end.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    connections_max: usize,
    drain: Duration,
    shutdown: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &permits) => accepted,
        };
        let Some((stream, permit)) = accepted else {
            continue;
        };
        let router = TowerToHyperService::new(router.clone());
        let service = service_fn(move |request| in_time(router.call(request)));
        let watcher = graceful.watcher();
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            let _permit = permit;
            // A connection without a request need not be waited for.
            let begins = tokio::select! {
                begins = begins_in_time(&stream) => begins,
                () = shutdown.cancelled() => false,
            };
            if !begins {
                return;
            }
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_buf_size(HEADER_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(drain, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("connections were cut off at the end of the drain");
    }
}

/// A request that is not answered in time is answered with 503; what it asked for may still be
/// committed, which is what idempotency keys are for.
async fn in_time(
    answer: impl Future<Output = Result<Response, Infallible>>,
) -> Result<Response, Infallible> {
    match tokio::time::timeout(REQUEST_TIMEOUT, answer).await {
        Ok(response) => response,
        Err(_) => Ok(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "timeout",
            "The request took too long. Send it again with the same Idempotency-Key.",
        )
        .after(1)
        .into_response()),
    }
}

type Accepted = (TcpStream, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> Option<Accepted> {
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // Small answers must not wait for more to come.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection ended before it began");
            }
            Some((stream, permit))
        }
        Err(error) => {
            tracing::warn!(%error, "a connection cannot be accepted now");
            tokio::time::sleep(ACCEPT_WAIT).await;
            None
        }
    }
}

/// hyper's own limit begins with the first byte of a request, so a connection on which nothing is
/// ever sent needs this one.
async fn begins_in_time(stream: &TcpStream) -> bool {
    let mut first = [0u8; 1];
    matches!(
        tokio::time::timeout(HEADER_TIMEOUT, stream.peek(&mut first)).await,
        Ok(Ok(1))
    )
}
