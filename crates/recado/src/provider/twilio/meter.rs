//! The proof whether bytes of a request were sent: a stream that counts what is written to it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::effects::Stream;

/// A stream, above TLS, whose writes are counted.
pub(super) struct Metered {
    inner: Box<dyn Stream>,
    meter: Arc<Meter>,
}

/// The count of one stream.
pub(super) struct Meter {
    count: Mutex<Count>,
    /// A failed write to TLS may have put part of its bytes on the wire already. A failed write
    /// to TCP put none of them.
    failed_writes_count: bool,
}

#[derive(Default)]
struct Count {
    written: u64,
    sealed: bool,
}

impl Metered {
    pub(super) fn new(inner: Box<dyn Stream>, is_tls: bool) -> (Self, Arc<Meter>) {
        let meter = Arc::new(Meter {
            count: Mutex::default(),
            failed_writes_count: is_tls,
        });
        (
            Self {
                inner,
                meter: Arc::clone(&meter),
            },
            meter,
        )
    }
}

impl Meter {
    /// Bytes written so far.
    pub(super) fn written(&self) -> u64 {
        self.count
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .written
    }

    /// Bytes written ever: from now on each write fails. Without this, the task that drives the
    /// connection could write between our look at the count and its end.
    pub(super) fn seal(&self) -> u64 {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        count.sealed = true;
        count.written
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

// Vectored writes are left out on purpose: a request is small, and one copy makes it one write.
impl AsyncWrite for Metered {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut count = this
            .meter
            .count
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if count.sealed {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let result = Pin::new(&mut this.inner).poll_write(cx, bytes);
        let left = match &result {
            Poll::Ready(Ok(written)) => *written,
            Poll::Ready(Err(_)) if this.meter.failed_writes_count => bytes.len(),
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        };
        count.written = count
            .written
            .saturating_add(u64::try_from(left).unwrap_or(u64::MAX));
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
