//! The program inside the process of the test, with a clock that is ahead: what happens after a
//! deadline is tested without waiting for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use delivery::time::Timestamp;
use recado::config::{Config, Environment};
use recado::effects::{BoxFuture, Clock, Effects, SystemClock};
use recado::server::{Server, StartError};
use tokio_util::sync::CancellationToken;

use crate::gateway::DEADLINE;

/// How soon a sleeper sees that time has passed.
const GLANCE: Duration = Duration::from_millis(20);

/// A server on its own thread, which outlives no test.
pub(crate) struct Ahead {
    pub(crate) url: String,
    hands: Arc<Hands>,
    shutdown: CancellationToken,
    running: Option<JoinHandle<Result<(), StartError>>>,
}

impl Ahead {
    /// Starts the program with these settings and waits until it listens.
    pub(crate) fn start(variables: &[(String, String)], by: Duration) -> Self {
        let config = Config::read(&Variables(variables.iter().cloned().collect())).unwrap();
        let hands = Arc::new(Hands {
            ahead: AtomicI64::new(micros(by)),
            passed: AtomicI64::new(0),
        });
        let effects = Effects {
            clock: Arc::new(ClockAhead(Arc::clone(&hands))),
            ..Effects::real()
        };
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let (listens, listening) = mpsc::channel();
        let running = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let server = Server::start(config, effects).await?;
                listens.send(server.address()).unwrap();
                server.run(stop).await
            })
        });
        let address = listening.recv_timeout(DEADLINE).expect("it starts");
        Self {
            url: format!("http://{address}"),
            hands,
            shutdown,
            running: Some(running),
        }
    }
}

impl Ahead {
    /// Sets its clock, back or forward.
    pub(crate) fn set(&self, by: Duration) {
        self.hands.ahead.store(micros(by), Ordering::SeqCst);
    }

    /// Lets time pass, by every clock: whoever sleeps wakes when it is over.
    pub(crate) fn pass(&self, time: Duration) {
        self.hands.passed.fetch_add(micros(time), Ordering::SeqCst);
    }
}

fn micros(by: Duration) -> i64 {
    i64::try_from(by.as_micros()).unwrap()
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.shutdown.cancel();
        let ended = self.running.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.unwrap().unwrap().unwrap();
        }
    }
}

/// What makes the clock of the program differ from that of the system, in microseconds.
struct Hands {
    /// By how much the clock that people set is ahead.
    ahead: AtomicI64,
    /// How much time has passed for the program alone.
    passed: AtomicI64,
}

impl Hands {
    fn passed(&self) -> Duration {
        Duration::from_micros(self.passed.load(Ordering::SeqCst).unsigned_abs())
    }

    fn monotonic(&self) -> Instant {
        SystemClock.monotonic() + self.passed()
    }
}

/// The clock of the system with hands of its own.
struct ClockAhead(Arc<Hands>);

impl Clock for ClockAhead {
    fn now(&self) -> Timestamp {
        let by = self.0.ahead.load(Ordering::SeqCst).unsigned_abs();
        SystemClock
            .now()
            .plus(Duration::from_micros(by))
            .plus(self.0.passed())
    }

    fn monotonic(&self) -> Instant {
        self.0.monotonic()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let hands = Arc::clone(&self.0);
        let end = hands.monotonic() + duration;
        Box::pin(async move {
            loop {
                let rest = end.saturating_duration_since(hands.monotonic());
                if rest.is_zero() {
                    return;
                }
                SystemClock.sleep(rest.min(GLANCE)).await;
            }
        })
    }
}

/// Settings that stand in no environment.
struct Variables(HashMap<String, String>);

impl Environment for Variables {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn file(&self, path: &str) -> std::io::Result<String> {
        std::fs::read_to_string(path)
    }
}
