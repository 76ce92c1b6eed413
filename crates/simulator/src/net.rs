//! Connections that can be cut off in the middle, as real ones are.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

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
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Put into an answer's extensions to cut the connection instead of answering.
#[derive(Clone, Copy)]
pub(crate) struct Cut;

/// Accepts connections until it is stopped.
pub(crate) async fn serve(
    listener: TcpListener,
    doors: Router,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        let stop = stop.clone();
        let doors = doors.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = connection(stream, doors) => {}
            }
        });
    }
}

async fn connection(stream: TcpStream, doors: Router) {
    let cut = Arc::new(AtomicBool::new(false));
    let io = TokioIo::new(Cuttable {
        stream,
        cut: Arc::clone(&cut),
    });
    let inner = TowerToHyperService::new(doors);
    let service = service_fn(move |request| {
        let answer = inner.call(request);
        let cut = Arc::clone(&cut);
        async move {
            let answer: Result<Response, Infallible> = answer.await;
            match answer {
                Ok(response) if response.extensions().get::<Cut>().is_some() => {
                    cut.store(true, Ordering::SeqCst);
                    Err("cut")
                }
                Ok(response) => {
                    if response.extensions().get::<CutBody>().is_some() {
                        cut.store(true, Ordering::SeqCst);
                    }
                    Ok(response)
                }
                Err(never) => match never {},
            }
        }
    });
    // A connection that ends early is what some of the faults are for.
    drop(http1::Builder::new().serve_connection(io, service).await);
}

/// Marks an answer whose body ends with an error.
#[derive(Clone, Copy)]
pub(crate) struct CutBody;

/// An answer that promises all of `text` and breaks off after some of it.
pub(crate) fn broken(status: u16, text: &str, after: usize) -> Response {
    let part = Bytes::copy_from_slice(&text.as_bytes()[..after.min(text.len())]);
    let cut = stream::once(async {
        // Until everything before is written: an error at once would keep even the head back.
        tokio::task::yield_now().await;
        Err(std::io::Error::other("cut"))
    });
    let parts = stream::iter([Ok(part)]).chain(cut);
    let mut response = Response::new(Body::from_stream(parts));
    *response.status_mut() = axum::http::StatusCode::from_u16(status).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert("content-length", axum::http::HeaderValue::from(text.len()));
    headers.insert(
        "content-type",
        axum::http::HeaderValue::from_static("application/json"),
    );
    response.extensions_mut().insert(CutBody);
    response
}

/// A stream that is reset, not closed, when it was cut.
struct Cuttable {
    stream: TcpStream,
    cut: Arc<AtomicBool>,
}

impl Drop for Cuttable {
    fn drop(&mut self) {
        if self.cut.load(Ordering::SeqCst) {
            // A reset instead of an orderly end; without it the end is still an end.
            drop(self.stream.set_zero_linger());
        }
    }
}

impl AsyncRead for Cuttable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Cuttable {
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
