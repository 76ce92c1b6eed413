//! The program inside the process of the test, with a clock that is ahead: what happens after a
//! deadline is tested without waiting for it.

use std::collections::HashMap;
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
    shutdown: CancellationToken,
    running: Option<JoinHandle<Result<(), StartError>>>,
}

impl Ahead {
    /// Starts the program with these settings and waits until it listens.
    pub(crate) fn start(variables: &[(String, String)], by: Duration) -> Self {
        let config = Config::read(&Variables(variables.iter().cloned().collect())).unwrap();
        let effects = Effects {
            clock: Arc::new(ClockAhead(by)),
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
            shutdown,
            running: Some(running),
        }
    }
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
struct ClockAhead(Duration);

impl Clock for ClockAhead {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(self.0)
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
