//! What the number of stored messages costs: the same work at databases of several sizes, and its
//! ratio to the first one. The sizes take turns within each run.

mod build;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use delivery::row::AttemptRow;
use delivery::sid::Sid;
use delivery::state::State;
use recado::effects::Effects;
use recado::store::{AttemptId, Restores, ResumeAfter, Senders};
use rusqlite::Connection;

use super::load::{self, Run};
use super::sending;
use super::setup::{Folder, Running, SENDER, StubProvider, api_key, median, open_store};

/// The newest messages, to which nearly all callbacks belong.
const NEWEST: usize = 100_000;
/// A database up to this size is copied for each run: it has too few messages for all of them.
const COPIED_MAX: usize = 200_000;
/// Statuses that one message is told of.
const STATUSES: [&str; 3] = ["sent", "delivered", "read"];
const CONNECTIONS: usize = 128;
const READERS: usize = 4;

/// What to measure.
pub(crate) struct GrowthPlan {
    pub(crate) sizes: Vec<usize>,
    /// Where databases are kept; nowhere when there is none.
    pub(crate) folder: Option<PathBuf>,
    /// Requests of one run that write.
    pub(crate) requests: usize,
    pub(crate) runs: usize,
}

/// What is measured, in this order.
#[derive(Clone, Copy)]
enum Step {
    Callbacks(Which, By),
    /// A page, by the path and the query of its filter.
    Read(&'static str),
    Accept,
    /// Of what was accepted before.
    Drain,
}

const STEPS: [(&str, Step); 12] = {
    use By::{CorrelationId, SidAlone};
    use Step::{Accept, Callbacks, Drain, Read};
    use Which::{Newest, Random};
    [
        (
            "callbacks, newest, correlation id",
            Callbacks(Newest, CorrelationId),
        ),
        ("callbacks, newest, SID only", Callbacks(Newest, SidAlone)),
        (
            "callbacks, random, correlation id",
            Callbacks(Random, CorrelationId),
        ),
        ("callbacks, random, SID only", Callbacks(Random, SidAlone)),
        ("list, newest", Read("/api/v1/messages?limit=50")),
        (
            "list by state, failed",
            Read("/api/v1/messages?limit=50&state=failed"),
        ),
        (
            "list by state, read",
            Read("/api/v1/messages?limit=50&state=read"),
        ),
        (
            "list by person",
            Read("/api/v1/messages?limit=50&to=%2B5585970000001"),
        ),
        (
            "list by code",
            Read("/api/v1/messages?limit=50&error=63024"),
        ),
        ("metrics", Read("/metrics")),
        ("accept, one a request", Accept),
        ("drain, start-up included", Drain),
    ]
};

pub(crate) async fn measure(plan: &GrowthPlan) {
    let temporary = Folder::new();
    let folder = plan.folder.as_ref().unwrap_or(&temporary.path);
    let least = plan.sizes.iter().copied().min().unwrap();
    let mut databases = Vec::new();
    for &size in &plan.sizes {
        let stored = build::database(folder, size, least).await;
        let bytes = std::fs::metadata(stored.database()).unwrap().len();
        println!(
            "{size} messages stored, {:.0} MB, {} bytes a message",
            bytes as f64 / 1e6,
            bytes / size as u64
        );
        databases.push(Database {
            stored,
            folder,
            size,
            copy: None,
            accepted: 0,
        });
    }
    // Accepting goes with draining, run by run; all sizes meet the same moods of the machine.
    let (before, last) = STEPS.split_at(STEPS.len() - 2);
    for steps in before.chunks(1).chain([last]) {
        let mut all: Vec<Vec<Vec<Measured>>> = steps.iter().map(|_| Vec::new()).collect();
        for _ in 0..plan.runs {
            for runs in &mut all {
                runs.push(Vec::new());
            }
            for database in &mut databases {
                for ((_, step), runs) in steps.iter().zip(&mut all) {
                    let measured = database.step(*step, plan.requests).await;
                    runs.last_mut().unwrap().push(measured);
                }
            }
        }
        for ((what, _), runs) in steps.iter().zip(&all) {
            print(what, &plan.sizes, runs);
        }
    }
}

/// A table of one step: medians of the runs, and of the ratios in each.
fn print(what: &str, sizes: &[usize], runs: &[Vec<Measured>]) {
    println!("{what}");
    for (at, size) in sizes.iter().enumerate() {
        let of =
            |part: fn(&Measured) -> f64| median(runs.iter().map(|run| part(&run[at])).collect());
        let ratios = runs
            .iter()
            .map(|run| run[at].run.per_second / run[0].run.per_second)
            .collect();
        println!(
            "  {size:>9} stored: {:>6.0}/s, ratio {:.2}, p50 {:>6.2} ms, p99 {:>6.2} ms, \
             disk for each: {:.1} KiB read, {:.1} KiB written",
            of(|measured| measured.run.per_second),
            median(ratios),
            of(|measured| measured.run.p50_ms),
            of(|measured| measured.run.p99_ms),
            of(|measured| measured.read),
            of(|measured| measured.written),
        );
    }
}

/// One size.
struct Database<'a> {
    stored: Folder,
    folder: &'a Path,
    size: usize,
    /// The copy that is worked on.
    copy: Option<Folder>,
    /// Messages accepted so far.
    accepted: usize,
}

#[derive(Clone, Copy)]
enum Which {
    Newest,
    Random,
}

#[derive(Clone, Copy)]
enum By {
    CorrelationId,
    SidAlone,
}

/// A message to report about.
struct Target {
    message: i64,
    correlation: String,
    sid: String,
}

impl Database<'_> {
    async fn step(&mut self, step: Step, requests: usize) -> Measured {
        match step {
            Step::Callbacks(which, by) => self.callbacks(requests, which, by).await,
            Step::Read(path) => self.read(path, (requests / 30).clamp(20, 1_000)).await,
            Step::Accept => self.accept(requests).await,
            Step::Drain => self.drain(requests).await,
        }
    }

    /// A copy to work on, and a new one where the last is used up.
    async fn copy(&mut self) -> &Folder {
        if self.size <= COPIED_MAX || self.copy.is_none() {
            // The old one goes first: two large ones may not fit.
            self.copy = None;
            let copy = self.stored.copy_into(Folder::within(self.folder));
            let now = Effects::real().clock.now();
            let store = open_store(&copy);
            // It is not where it was made, and says so.
            store.resume_after(ResumeAfter::Move, now).await.unwrap();
            self.copy = Some(copy);
        }
        self.copy.as_ref().unwrap()
    }

    /// Three statuses of each message, in random order.
    async fn callbacks(&mut self, requests: usize, which: Which, by: By) -> Measured {
        let size = self.size;
        let copy = self.copy().await;
        let wanted = requests.div_ceil(STATUSES.len());
        let targets = targets(&copy.database(), size, which, wanted);
        let mut order: Vec<_> = targets
            .iter()
            .flat_map(|target| STATUSES.map(|status| (target, status)))
            .collect();
        shuffle(&mut order);
        let provider = StubProvider::start().await;
        let server = Running::start(copy, provider.address).await;
        let requests: Vec<_> = order
            .iter()
            .map(|(target, status)| {
                let correlation = match by {
                    By::CorrelationId => Some(target.correlation.as_str()),
                    By::SidAlone => None,
                };
                load::callback(server.address, correlation, &target.sid, status)
            })
            .collect();
        let run = Measured::load(server.address, CONNECTIONS, &requests).await;
        server.stop().await;
        check_read(&copy.database(), &targets);
        run
    }

    /// New people, while nothing leaves.
    async fn accept(&mut self, requests: usize) -> Measured {
        let first = self.size + self.accepted;
        self.accepted += requests;
        let copy = self.copy().await;
        let key = {
            let store = open_store(copy);
            pause(&store, true).await;
            api_key(&store).await
        };
        let provider = StubProvider::start().await;
        let server = Running::start(copy, provider.address).await;
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str())];
        let requests: Vec<_> = (first..first + requests)
            .map(|n| {
                let text = sending::body(n, "14:00");
                let path = "/api/v1/messages";
                load::post(server.address, path, "application/json", &headers, &text)
            })
            .collect();
        let run = Measured::load(server.address, CONNECTIONS, &requests).await;
        server.stop().await;
        run
    }

    /// What was accepted leaves.
    async fn drain(&mut self, count: usize) -> Measured {
        let copy = self.copy.as_ref().unwrap();
        pause(&open_store(copy), false).await;
        // After a pause messages leave slowly at first; that is another matter.
        let db = Connection::open(copy.database()).unwrap();
        db.execute("UPDATE sender SET resumed_at = NULL", [])
            .unwrap();
        drop(db);
        let provider = StubProvider::start().await;
        let before = disk();
        let start = Instant::now();
        let server = Running::start(copy, provider.address).await;
        while provider.received.load(Ordering::Relaxed) < count as u64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let seconds = start.elapsed().as_secs_f64();
        let run = Run {
            per_second: count as f64 / seconds,
            p50_ms: 0.0,
            p99_ms: 0.0,
            cpu_ms: 0.0,
        };
        let run = Measured::new(run, before, count);
        server.stop().await;
        run
    }

    async fn read(&mut self, path: &str, count: usize) -> Measured {
        let copy = self.copy().await;
        let key = api_key(&open_store(copy)).await;
        let provider = StubProvider::start().await;
        let server = Running::start(copy, provider.address).await;
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str())];
        let requests = vec![load::get(server.address, path, &headers); count];
        let run = Measured::load(server.address, READERS, &requests).await;
        server.stop().await;
        run
    }
}

async fn pause(store: &recado::store::sqlite::SqliteStore, paused: bool) {
    let now = Effects::real().clock.now();
    let known = store.pause_sender(SENDER.into(), paused, now).await;
    assert!(known.unwrap());
}

/// One run, and what the disk did meanwhile for each request, in KiB.
struct Measured {
    run: Run,
    read: f64,
    written: f64,
}

impl Measured {
    async fn load(address: SocketAddr, connections: usize, requests: &[Vec<u8>]) -> Self {
        let before = disk();
        let run = load::run(address, connections, requests).await;
        Self::new(run, before, requests.len())
    }

    fn new(run: Run, before: (u64, u64), requests: usize) -> Self {
        let after = disk();
        let each = |bytes: u64| bytes as f64 / 1_024.0 / requests as f64;
        Self {
            run,
            read: each(after.0 - before.0),
            written: each(after.1 - before.1),
        }
    }
}

/// Bytes that this process had read from the disk and written to it, so far.
fn disk() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/self/io").unwrap();
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().parse().unwrap()
    };
    (of("read_bytes:"), of("write_bytes:"))
}

/// Messages of which only the provider's answer is known: correlation id and SID.
fn targets(database: &Path, size: usize, which: Which, wanted: usize) -> Vec<Target> {
    let db = Connection::open(database).unwrap();
    let last: i64 = db
        .query_row("SELECT max(message_id) FROM progress", [], |row| row.get(0))
        .unwrap();
    let size = i64::try_from(size).unwrap();
    let newest = i64::try_from(NEWEST).unwrap().min(size);
    // Later ones were accepted by this benchmark.
    assert!(last >= size);
    let range = match which {
        Which::Newest => size - newest + 1..=size,
        // The newest are taken by others, unless each run has a copy of its own.
        Which::Random if size > i64::try_from(COPIED_MAX).unwrap() => 1..=size - newest,
        Which::Random => 1..=size,
    };
    let mut one = db
        .prepare(
            "SELECT attempt.id, attempt.nonce, attempt.sid FROM progress \
             JOIN attempt ON attempt.id = progress.attempt_id \
             WHERE progress.message_id = ?1 AND progress.state = ?2 AND attempt.sid IS NOT NULL",
        )
        .unwrap();
    let mut messages: Vec<i64> = range.collect();
    shuffle(&mut messages);
    let mut found = Vec::new();
    let mut rest = messages.into_iter();
    while found.len() < wanted {
        let Some(message) = rest.next() else { break };
        let target = one.query_row([message, State::Queued.number()], |row| {
            let attempt = AttemptId {
                row: AttemptRow(row.get(0)?),
                nonce: row.get::<_, i64>(1)?.cast_unsigned(),
            };
            let sid = Sid::from_bytes(row.get_ref(2)?.as_blob()?).unwrap();
            Ok(Target {
                message,
                correlation: attempt.to_string(),
                sid: sid.to_string(),
            })
        });
        match target {
            Ok(target) => found.push(target),
            Err(rusqlite::Error::QueryReturnedNoRows) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(!found.is_empty(), "no message is left");
    found
}

/// Every message got to its last status: nothing was parked or taken for known.
fn check_read(database: &Path, targets: &[Target]) {
    let db = Connection::open(database).unwrap();
    let mut state = db
        .prepare("SELECT state FROM progress WHERE message_id = ?1")
        .unwrap();
    for target in targets {
        let state: i64 = state.query_row([target.message], |row| row.get(0)).unwrap();
        assert_eq!(State::from_number(state), Some(State::Read));
    }
}

/// Another order, the same each time.
fn shuffle<T>(all: &mut [T]) {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for at in (1..all.len()).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        all.swap(at, (random % (at as u64 + 1)) as usize);
    }
}
