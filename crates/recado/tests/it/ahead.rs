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

/// A server on its own thread, which outlives no test.
pub(crate) struct Ahead {
    pub(crate) url: String,
    /// By how many microseconds its clock is ahead.
    by: Arc<AtomicI64>,
    shutdown: CancellationToken,
    running: Option<JoinHandle<Result<(), StartError>>>,
}

impl Ahead {
    /// Starts the program with these settings and waits until it listens.
    pub(crate) fn start(variables: &[(String, String)], by: Duration) -> Self {
        let config = Config::read(&Variables(variables.iter().cloned().collect())).unwrap();
        let by = Arc::new(AtomicI64::new(micros(by)));
        let effects = Effects {
            clock: Arc::new(ClockAhead(Arc::clone(&by))),
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
            by,
            shutdown,
            running: Some(running),
        }
    }
}

impl Ahead {
    /// Sets its clock, back or forward.
    pub(crate) fn set(&self, by: Duration) {
        self.by.store(micros(by), Ordering::SeqCst);
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

/// The clock of the system, ahead by this.
struct ClockAhead(Arc<AtomicI64>);

impl Clock for ClockAhead {
    fn now(&self) -> Timestamp {
        let by = self.0.load(Ordering::SeqCst).unsigned_abs();
        SystemClock.now().plus(Duration::from_micros(by))
    }

    fn monotonic(&self) -> Instant {
        SystemClock.monotonic()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        SystemClock.sleep(duration)
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
