//! Connections that can be reset in the middle of a response, as real ones are.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::state::State;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1_024;

/// From one try to have the port again to the next.
const PORT_RETRY: Duration = Duration::from_millis(20);

/// Put into a response's extensions to reset the connection instead of sending the response.
#[derive(Clone, Copy)]
pub(crate) struct ResetNow;

/// Accepts connections until it is stopped; refuses them while an outage says so.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    state: Arc<State>,
    stop: CancellationToken,
) {
    let mut listener = Some(listener);
    let Some(address) = listener.as_ref().and_then(|l| l.local_addr().ok()) else {
        return;
    };
    // Keeps the port while it is closed: a socket that does not listen refuses connections.
    let mut closed: Option<TcpSocket> = None;
    loop {
        let (refused, change) = state.connections();
        if refused && listener.take().is_some() {
            closed = bound(address).ok();
        }
        if !refused && listener.is_none() {
            let socket = closed.take().map_or_else(|| bound(address), Ok);
            match socket.and_then(|socket| socket.listen(BACKLOG)) {
                Ok(again) => listener = Some(again),
                // Somebody else has the port; once it is free again, it is ours.
                Err(_) => {
                    tokio::time::sleep(PORT_RETRY).await;
                    continue;
                }
            }
        }
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            () = state.connections_changed.notified() => continue,
            () = until(change) => continue,
            accepted = accept(listener.as_ref()) => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        let stop = stop.clone();
        let router = router.clone();
        state.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = connection(stream, router) => {}
            }
        });
    }
}

/// A socket of this address that does not listen yet.
fn bound(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn accept(listener: Option<&TcpListener>) -> std::io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

async fn until(change: Option<Instant>) {
    match change {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

async fn connection(stream: TcpStream, router: Router) {
    let reset = Arc::new(AtomicBool::new(false));
    let io = TokioIo::new(ResettableStream {
        stream,
        reset: Arc::clone(&reset),
    });
    let inner = TowerToHyperService::new(router);
    let service = service_fn(move |request| {
        let answer = inner.call(request);
        let reset = Arc::clone(&reset);
        async move {
            let answer: Result<Response, Infallible> = answer.await;
            match answer {
                Ok(response) if response.extensions().get::<ResetNow>().is_some() => {
                    reset.store(true, Ordering::SeqCst);
                    Err("reset")
                }
                Ok(response) => {
                    if response.extensions().get::<ResetInBody>().is_some() {
                        reset.store(true, Ordering::SeqCst);
                    }
                    Ok(response)
                }
                Err(never) => match never {},
            }
        }
    });
    // An error here is a connection that ended early, which some of the faults cause.
    drop(http1::Builder::new().serve_connection(io, service).await);
}

/// Marks a response whose body ends with a reset.
#[derive(Clone, Copy)]
pub(crate) struct ResetInBody;

/// A response that announces all of `text` and resets the connection after this many bytes of it.
pub(crate) fn reset_after(status: u16, text: &str, bytes: usize) -> Response {
    let whole = text.as_bytes();
    let part = Bytes::copy_from_slice(whole.get(..bytes).unwrap_or(whole));
    let end = stream::once(async {
        // Lets everything before it be written: an immediate error would hold back even the head.
        tokio::task::yield_now().await;
        Err(std::io::Error::other("reset"))
    });
    let parts = stream::iter([Ok(part)]).chain(end);
    let mut response = Response::new(Body::from_stream(parts));
    *response.status_mut() = axum::http::StatusCode::from_u16(status).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert("content-length", axum::http::HeaderValue::from(text.len()));
    headers.insert(
        "content-type",
        axum::http::HeaderValue::from_static("application/json"),
    );
    response.extensions_mut().insert(ResetInBody);
    response
}

/// A stream that can be reset instead of closed.
struct ResettableStream {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for ResettableStream {
    fn drop(&mut self) {
        if self.reset.load(Ordering::SeqCst) {
            // Makes the close a reset; when that fails, the connection is merely closed.
            drop(self.stream.set_zero_linger());
        }
    }
}

impl AsyncRead for ResettableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for ResettableStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
