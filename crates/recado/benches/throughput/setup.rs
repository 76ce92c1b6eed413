//! What every measurement needs: a server with its database, a stub of the provider, numbers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use delivery::address::Address;
use delivery::message::{
    Content, DedupeChoice, Kind, Message, Policy, Priority, SenderName, WindowChoice,
};
use delivery::outcome::{Outcome, ProviderStatus};
use delivery::progress::Rules;
use delivery::sid::Sid;
use delivery::time::Timestamp;
use recado::api::auth::create_key;
use recado::config::{Config, Environment};
use recado::effects::{Effects, Random};
use recado::secrets::MasterKey;
use recado::server::Server;
use recado::store::sqlite::{OpenMode, Options, SqliteStore};
use recado::store::{
    AcceptResult, ApiKeys, CloseRequest, DueQuery, KeyScope, Messages, NewMessage, OpenRequest,
    OpenResult, Queue, Senders, Stamp, new_message_id,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
pub(crate) const SENDER: &str = "+551140000000";

/// The provider's ids given so far.
static SIDS: AtomicU64 = AtomicU64::new(0);

/// How much to do.
pub(crate) struct Plan {
    /// Messages stored before callbacks are measured.
    pub(crate) messages: usize,
    /// Requests of one run.
    pub(crate) requests: usize,
    /// Runs of each measurement; the median is reported.
    pub(crate) runs: usize,
    /// How many connections send callbacks at once.
    pub(crate) connections: Vec<usize>,
}

/// A folder for a database.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    /// Goes with it.
    temporary: Option<tempfile::TempDir>,
}

impl Folder {
    pub(crate) fn new() -> Self {
        // Beside the sources: a memory file system would make every commit free.
        Self::within(&target())
    }

    /// A new folder within another one.
    pub(crate) fn within(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let temporary = tempfile::Builder::new()
            .prefix("bench")
            .tempdir_in(folder)
            .unwrap();
        Self {
            path: temporary.path().to_owned(),
            temporary: Some(temporary),
        }
    }

    /// Stays, under another name.
    pub(crate) fn keep(mut self, path: PathBuf) -> Self {
        let unfinished = self.temporary.take().unwrap().keep();
        std::fs::rename(unfinished, &path).unwrap();
        Self::kept(path)
    }

    /// A folder that stays.
    pub(crate) fn kept(path: PathBuf) -> Self {
        std::fs::create_dir_all(&path).unwrap();
        Self {
            path,
            temporary: None,
        }
    }

    /// Another folder with the same database.
    pub(crate) fn copy(&self) -> Self {
        self.copy_into(Self::new())
    }

    /// The same database in another folder.
    pub(crate) fn copy_into(&self, copy: Self) -> Self {
        for entry in std::fs::read_dir(&self.path).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, copy.path.join(path.file_name().unwrap())).unwrap();
        }
        copy
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path.join("recado.db")
    }
}

/// Where things are built that need not be kept.
pub(crate) fn target() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target")
}

struct Variables(Vec<(&'static str, String)>);

impl Environment for Variables {
    fn variable(&self, name: &str) -> Option<String> {
        self.0
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.clone())
    }

    fn file(&self, _: &str) -> std::io::Result<String> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

/// A running server.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(folder: &Folder, provider: SocketAddr) -> Self {
        let config = Config::read(&Variables(vec![
            (
                "DATABASE_URL",
                format!("sqlite:{}", folder.database().display()),
            ),
            ("RECADO_MASTER_KEY", MASTER_KEY.to_owned()),
            (
                "TWILIO_ACCOUNT_SID",
                "AC00000000000000000000000000000001".to_owned(),
            ),
            ("TWILIO_AUTH_TOKEN", TOKEN.to_owned()),
            ("TWILIO_WHATSAPP_FROM", SENDER.to_owned()),
            ("TWILIO_API_BASE_URL", format!("http://{provider}")),
            ("RECADO_SENDER_RATE", "0".to_owned()),
            ("RECADO_API_RATE", "0".to_owned()),
            ("PORT", "0".to_owned()),
        ]))
        .unwrap();
        let server = Server::start(config, Effects::real()).await.unwrap();
        let address = server.address();
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let task = tokio::spawn(async move { server.run(stop).await.unwrap() });
        Self {
            address,
            shutdown,
            task,
        }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

/// Opens the database as the server would, for filling.
pub(crate) fn open_store(folder: &Folder) -> SqliteStore {
    let effects = Effects::real();
    open_store_with(folder, effects.random, &[SENDER], effects.clock.now())
}

/// Opens the database as the server would, with random bits, senders and a time of the caller's.
pub(crate) fn open_store_with(
    folder: &Folder,
    random: Arc<dyn Random>,
    senders: &[&str],
    now: Timestamp,
) -> SqliteStore {
    SqliteStore::open(Options {
        path: folder.database(),
        mode: OpenMode::Server,
        master_key: MasterKey::parse(MASTER_KEY).unwrap(),
        random,
        rules: Rules::default(),
        senders: senders.iter().copied().map(SenderName::new).collect(),
        provider_account: None,
        machine: None,
        now,
    })
    .unwrap()
}

/// Makes a key of the API.
pub(crate) async fn api_key(store: &SqliteStore) -> String {
    let effects = Effects::real();
    let (key, text) = create_key(
        &*effects.random,
        "bench",
        KeyScope::Send,
        effects.clock.now(),
    );
    store.create_key(key).await.unwrap();
    text
}

/// Made-up mobiles, all different, in an area code of Ceará.
pub(crate) fn number(n: usize) -> String {
    format!("+55859{:08}", 70_000_000 + n % 29_999_999)
}

pub(crate) fn message(n: usize) -> Message {
    Message {
        to: Address::from_canonical(&number(n)).unwrap(),
        sender: None,
        content: Content::Template {
            content_sid: Sid::parse("HX0123456789abcdef0123456789abcdef", &["HX"]).unwrap(),
            variables: vec![
                ("1".into(), format!("Pessoa {n}")),
                ("2".into(), "14:00".into()),
            ],
        },
        kind: Kind::Utility,
        priority: Priority::Normal,
        policy: Policy::AtMostOnce,
        window: WindowChoice::Enforce,
        send_at: None,
        expires_at: None,
        business_key: None,
        metadata: None,
        dedupe: DedupeChoice::Refuse,
    }
}

/// Stores messages; they wait in the queue.
pub(crate) async fn accept_messages(store: &SqliteStore, count: usize) {
    let effects = Effects::real();
    for start in (0..count).step_by(1_000) {
        let now = effects.clock.now();
        let batch = (start..count.min(start + 1_000))
            .map(|n| NewMessage {
                id: new_message_id(now, &*effects.random),
                message: message(n),
                idempotency: None,
                now,
                dedupe_window: Duration::from_secs(600),
            })
            .collect();
        let results = store.accept(batch).await.unwrap();
        assert!(
            results
                .iter()
                .all(|result| matches!(result, AcceptResult::Accepted { .. }))
        );
    }
}

/// Sends everything that waits, without a provider: the correlation id and SID of each.
pub(crate) async fn send_messages(store: &SqliteStore) -> Vec<(String, String)> {
    let effects = Effects::real();
    let sender = store.senders().await.unwrap()[0].row;
    let mut sent = Vec::new();
    loop {
        let now = effects.clock.now();
        let query = DueQuery {
            sender,
            now,
            limit: 1_000,
            urgent_only: false,
        };
        let due = store.due(query).await.unwrap().due;
        if due.is_empty() {
            return sent;
        }
        let requests = due
            .iter()
            .map(|due| OpenRequest {
                message: due.message,
                stamp: Stamp {
                    now,
                    random: effects.random.next_u64(),
                },
            })
            .collect();
        let mut closes = Vec::new();
        for result in store.open_attempts(requests).await.unwrap() {
            let OpenResult::Open(attempt) = result else {
                panic!("every attempt opens")
            };
            let sid = random_sid(&*effects.random);
            sent.push((attempt.attempt.to_string(), sid.to_string()));
            closes.push(CloseRequest {
                attempt: attempt.attempt.row,
                outcome: Outcome::Sent {
                    sid,
                    status: ProviderStatus::Queued,
                },
                stamp: Stamp { now, random: 0 },
            });
        }
        store.close_attempts(closes).await.unwrap();
    }
}

/// A provider's id that was not used before.
pub(crate) fn random_sid(random: &dyn Random) -> Sid {
    let text = format!("SM{:016x}{:016x}", random.next_u64(), random.next_u64());
    Sid::parse_message(&text).unwrap()
}

/// A provider that says yes: what it takes is only counted and timed.
pub(crate) struct StubProvider {
    pub(crate) address: SocketAddr,
    pub(crate) received: Arc<AtomicU64>,
    /// Arrival times, in microseconds since `start`, by the variable `2` of the message.
    pub(crate) arrivals: Arc<std::sync::Mutex<Vec<(u64, u64)>>>,
    pub(crate) start: Instant,
}

impl StubProvider {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(AtomicU64::new(0));
        let arrivals = Arc::new(std::sync::Mutex::new(Vec::new()));
        let start = Instant::now();
        let (count, times) = (Arc::clone(&received), Arc::clone(&arrivals));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                tokio::spawn(answer(
                    stream,
                    Arc::clone(&count),
                    Arc::clone(&times),
                    start,
                ));
            }
        });
        Self {
            address,
            received,
            arrivals,
            start,
        }
    }
}

async fn answer(
    mut stream: tokio::net::TcpStream,
    count: Arc<AtomicU64>,
    times: Arc<std::sync::Mutex<Vec<(u64, u64)>>>,
    start: Instant,
) {
    let mut buffer = Vec::with_capacity(4_096);
    loop {
        let Some((head, length)) = request_length(&buffer) else {
            let mut chunk = [0u8; 4_096];
            match stream.read(&mut chunk).await {
                Ok(read) if read > 0 => buffer.extend_from_slice(&chunk[..read]),
                _ => return,
            }
            continue;
        };
        let body = String::from_utf8_lossy(&buffer[head..head + length]).into_owned();
        let asks = buffer.starts_with(b"GET ");
        buffer.drain(..head + length);
        if asks {
            // Nobody has written while the server was away.
            let nothing = "{\"messages\":[]}";
            let text = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{nothing}",
                nothing.len()
            );
            if stream.write_all(text.as_bytes()).await.is_err() {
                return;
            }
            continue;
        }
        count.fetch_add(1, Ordering::Relaxed);
        if let Some(mark) = body.split("mark").nth(1) {
            let mark: String = mark.chars().take_while(char::is_ascii_digit).collect();
            let at = u64::try_from(start.elapsed().as_micros()).unwrap();
            times.lock().unwrap().push((mark.parse().unwrap_or(0), at));
        }
        // Other numbers in each stub: a message has an id of its own for ever.
        let n = SIDS.fetch_add(1, Ordering::Relaxed);
        let json = format!("{{\"sid\":\"SM{n:032x}\",\"status\":\"queued\"}}");
        let text = format!(
            "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{json}",
            json.len()
        );
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Where the body of the first complete request begins and how long it is.
fn request_length(buffer: &[u8]) -> Option<(usize, usize)> {
    let head = memchr::memmem::find(buffer, b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&buffer[..head])
        .ok()?
        .to_ascii_lowercase();
    let length = text.split("content-length: ").nth(1).map_or(0, |rest| {
        rest.split("\r\n").next().unwrap().trim().parse().unwrap()
    });
    (buffer.len() >= head + length).then_some((head, length))
}

/// CPU time of this process so far, all threads, user and system.
pub(crate) fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// Resident memory of this process, in bytes.
pub(crate) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1_024
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
