//! Clock, randomness and dialing: what a test or a simulation replaces. Nothing else in the
//! program reads a clock, draws a random number or connects to another host.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use delivery::time::Timestamp;
use rand::rngs::SysRng;
use rand::{Rng, TryRng};
use tokio::io::{AsyncRead, AsyncWrite};

/// A future whose type is not written out, as trait objects need it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The clock, randomness and connections that the program uses.
#[derive(Clone)]
pub struct Effects {
    /// The current time.
    pub clock: Arc<dyn Clock>,
    /// The source of random bits.
    pub random: Arc<dyn Random>,
    /// How connections to other hosts are made.
    pub dial: Arc<dyn Dial>,
}

impl Effects {
    /// The operating system's clock, randomness and network.
    pub fn real() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            dial: Arc::new(TcpDial),
        }
    }
}

/// The current time.
pub trait Clock: Send + Sync {
    /// The present instant in UTC. It may be set back or forward at any time.
    fn now(&self) -> Timestamp;

    /// The reading of a stopwatch that nobody sets: for rates, pauses, and how long something takes.
    fn monotonic(&self) -> Instant;

    /// Returns after `duration` of this clock's time.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// The source of random bits.
pub trait Random: Send + Sync {
    /// Fills `bytes` with bits that nobody can guess: for nonces and ids.
    fn fill(&self, bytes: &mut [u8]);

    /// Fills a key with bits from the strongest source there is, however slow.
    fn fill_key(&self, key: &mut [u8]);

    /// 64 bits that nobody can guess.
    fn next_u64(&self) -> u64 {
        let mut bytes = [0u8; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

/// A connection in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Why a connection could not be made.
#[derive(Debug)]
pub enum DialError {
    /// The name did not resolve.
    Dns(io::Error),
    /// It resolved, but no address could be connected to.
    Connect(io::Error),
}

/// How connections to other hosts are made.
pub trait Dial: Send + Sync {
    /// Opens a TCP connection without delay (`TCP_NODELAY`).
    ///
    /// # Errors
    /// [`DialError`], before any byte was sent.
    fn dial<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>>;
}

/// The operating system's clock.
#[derive(Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock"
    )]
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now()
            .duration_since(std::time::SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Instant {
        Instant::now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// The operating system's random number generator for keys. Nonces and ids come from one in the
/// process (`rand`'s `ChaCha`, one for each thread), which the system seeds, and seeds again after
/// each 64 KiB: asking the system is a system call, and accepting a message would need several.
#[derive(Debug)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }

    #[expect(
        clippy::expect_used,
        reason = "without random bits no key is safe: going on would be worse"
    )]
    fn fill_key(&self, key: &mut [u8]) {
        SysRng
            .try_fill_bytes(key)
            .expect("the operating system gives random bits");
    }
}

/// Plain TCP through the operating system's resolver.
#[derive(Debug)]
pub struct TcpDial;

impl Dial for TcpDial {
    fn dial<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>> {
        Box::pin(async move {
            let addresses: Vec<_> = tokio::net::lookup_host((host, port))
                .await
                .map_err(DialError::Dns)?
                .collect();
            let stream = tokio::net::TcpStream::connect(&addresses[..])
                .await
                .map_err(DialError::Connect)?;
            stream.set_nodelay(true).map_err(DialError::Connect)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}
