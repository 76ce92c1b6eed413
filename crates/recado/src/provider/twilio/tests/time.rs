//! Limits of time, under a clock that stands still while nothing happens.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::*;
use crate::effects::{Dial, DialError, Stream};

#[tokio::test(start_paused = true)]
async fn no_answer_in_time() {
    let silent = Server::start(|_, mut stream, log| async move {
        log.received(read_request(&mut stream).await.unwrap());
        let _ = stream.read_u8().await;
    })
    .await;
    let timeout = Outcome::Unknown(UnknownCause::Timeout);
    let start = tokio::time::Instant::now();
    assert_eq!(silent.twilio().create(&create_request()).await, timeout);
    assert_eq!(start.elapsed().as_secs(), 30);
    assert_eq!((silent.requests().len(), silent.connections()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_drip_is_no_answer_in_time() {
    let drip = Server::start(|_, mut stream, log| async move {
        log.received(read_request(&mut stream).await.unwrap());
        for byte in ok_answer(1) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if stream.write_u8(byte).await.is_err() {
                return;
            }
        }
    })
    .await;
    let start = tokio::time::Instant::now();
    let timeout = Outcome::Unknown(UnknownCause::Timeout);
    assert_eq!(drip.twilio().create(&create_request()).await, timeout);
    assert_eq!(start.elapsed().as_secs(), 30);
    assert_eq!(drip.requests().len(), 1);
}

/// A connection that could not be made, or one that does not work.
enum Broken {
    Dns,
    Refused,
    Hangs,
    FailsToWrite,
    NeverWrites,
}

impl Dial for Broken {
    fn dial<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>> {
        Box::pin(async move {
            match self {
                Self::Dns => Err(DialError::Dns(io::ErrorKind::NotFound.into())),
                Self::Refused => Err(DialError::Connect(io::ErrorKind::ConnectionRefused.into())),
                Self::Hangs => std::future::pending().await,
                Self::FailsToWrite => Ok(Box::new(Mute { fails: true }) as Box<dyn Stream>),
                Self::NeverWrites => Ok(Box::new(Mute { fails: false }) as Box<dyn Stream>),
            }
        })
    }
}

/// A stream that takes no byte and gives none.
struct Mute {
    fails: bool,
}

impl AsyncRead for Mute {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Mute {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        if self.fails {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        } else {
            Poll::Pending
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_byte_nothing_was_sent() {
    for (broken, cause, seconds) in [
        (Broken::Dns, NotSentCause::Dns, 0),
        (Broken::Refused, NotSentCause::Connect, 0),
        (Broken::Hangs, NotSentCause::Connect, 5),
        (Broken::FailsToWrite, NotSentCause::ConnectionLost, 0),
        (Broken::NeverWrites, NotSentCause::ConnectionLost, 30),
    ] {
        let effects = Effects {
            dial: Arc::new(broken),
            ..Effects::real()
        };
        let twilio = Twilio::new(&settings("127.0.0.1:1".parse().unwrap()), &effects).unwrap();
        let start = tokio::time::Instant::now();
        assert_eq!(twilio.create(&create_request()).await, not_sent(cause));
        assert_eq!(start.elapsed().as_secs(), seconds, "{cause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_free_connection_nothing_is_sent() {
    let server = Server::start(|_, mut stream, log| async move {
        log.received(read_request(&mut stream).await.unwrap());
        let _ = stream.read_u8().await;
    })
    .await;
    let settings = TwilioSettings {
        connections_max: 1,
        ..settings(server.address)
    };
    let twilio = Twilio::new(&settings, &Effects::real()).unwrap();
    let (first, second) = (create_request(), create_request());
    let (first, second) = tokio::join!(twilio.create(&first), twilio.create(&second));
    assert_eq!(first, Outcome::Unknown(UnknownCause::Timeout));
    assert_eq!(second, not_sent(NotSentCause::Connect));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_after_twenty_seconds() {
    let idle = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&idle);
    let (tell, told) = tokio::sync::oneshot::channel();
    let tell = std::sync::Mutex::new(Some(tell));
    let server = Server::start(move |_, mut stream, _| {
        let (seen, tell) = (Arc::clone(&seen), tell.lock().unwrap().take());
        async move {
            read_request(&mut stream).await.unwrap();
            stream.write_all(&ok_answer(1)).await.unwrap();
            let start = tokio::time::Instant::now();
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
            seen.store(
                usize::try_from(start.elapsed().as_secs()).unwrap(),
                Ordering::SeqCst,
            );
            tell.unwrap().send(()).unwrap();
        }
    })
    .await;
    let twilio = Twilio::new(&settings(server.address), &paused_effects()).unwrap();
    assert_eq!(twilio.create(&create_request()).await, sent(1));
    told.await.unwrap();
    let seconds = idle.load(Ordering::SeqCst);
    assert!((20..=21).contains(&seconds), "{seconds}");
}

/// A connection that takes three seconds to make.
struct SlowDial(std::net::SocketAddr);

impl Dial for SlowDial {
    fn dial<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(3)).await;
            let stream = tokio::net::TcpStream::connect(self.0).await.unwrap();
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_leaves_at_or_after_the_deadline_however_long_connecting_took() {
    for (seconds, leaves) in [(0, false), (2, false), (3, false), (4, true)] {
        let server = Server::answering(|_, _| ok_answer(1)).await;
        let effects = Effects {
            dial: Arc::new(SlowDial(server.address)),
            ..paused_effects()
        };
        let twilio = Twilio::new(&settings(server.address), &effects).unwrap();
        let deadline = effects.clock.now().plus(Duration::from_secs(seconds));
        let request = CreateRequest {
            expires_at: Some(deadline),
            ..create_request()
        };
        let outcome = twilio.create(&request).await;
        if leaves {
            assert_eq!(outcome, sent(1), "{seconds} s");
            let sent = String::from_utf8(server.requests().remove(0)).unwrap();
            // Less than a second is left.
            assert!(sent.contains("ValidityPeriod=1&"), "{sent}");
        } else {
            assert_eq!(outcome, super::not_sent(NotSentCause::DeadlinePassed));
            assert!(server.requests().is_empty(), "{seconds} s");
        }
    }
}

/// Effects whose clock shows tokio's time, so that a test can pause it.
fn paused_effects() -> Effects {
    struct PausedClock(tokio::time::Instant);
    impl crate::effects::Clock for PausedClock {
        fn now(&self) -> delivery::time::Timestamp {
            delivery::time::Timestamp::from_seconds(1_800_000_000).plus(self.0.elapsed())
        }
        fn monotonic(&self) -> std::time::Instant {
            tokio::time::Instant::now().into_std()
        }

        fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
            Box::pin(tokio::time::sleep(duration))
        }
    }
    let clock = Arc::new(PausedClock(tokio::time::Instant::now()));
    Effects {
        clock,
        ..Effects::real()
    }
}
