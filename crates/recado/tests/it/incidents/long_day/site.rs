//! The program and the simulated provider of a long day, and what is done to them.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simulator::{Faults, Settings, Simulator};

use crate::ahead::Ahead;
use crate::client::Http;
use crate::gateway::{Folder, Gateway, command};
use crate::server::{MASTER_KEY, SENDER, mobile, notice};

/// Callers who write all day.
pub(super) const WRITERS: usize = 3;
/// From one message of a caller to the next.
const WRITER_INTERVAL: Duration = Duration::from_millis(50);
/// A caller without an answer asks again after this.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How long everything may take to come to rest: a message that clock steps have made old is asked
/// about once a day, which is 14 minutes here.
const REST_MAX: Duration = Duration::from_secs(960);

pub(super) struct Site {
    pub(super) simulator: Simulator,
    gateway: Option<Gateway>,
    folder: Folder,
    variables: Vec<(String, String)>,
    url: String,
    key: String,
    log: String,
    memory_kib_most: u64,
    restarts: usize,
    full_disks: usize,
    clocks: usize,
}

impl Site {
    pub(super) async fn start(seed: u64) -> Self {
        let simulator = Simulator::start(Settings {
            senders: vec![SENDER.to_owned()],
            time_scale: 50.0,
            window_enforced: false,
            seed,
            faults: Faults {
                latency_ms: (0.0, 10.0),
                ..Faults::default()
            },
            ..Settings::default()
        });
        let simulator = simulator.await.unwrap();
        let folder = Folder::new();
        let database = format!("sqlite:{}", folder.database().display());
        let mut variables: Vec<(String, String)> = [
            ("DATABASE_URL", database),
            ("RECADO_MASTER_KEY", MASTER_KEY.to_owned()),
            ("TWILIO_API_BASE_URL", simulator.url()),
            ("TWILIO_ACCOUNT_SID", simulator.account_sid().to_owned()),
            ("TWILIO_AUTH_TOKEN", simulator.auth_token().to_owned()),
            ("TWILIO_WHATSAPP_FROM", SENDER.to_owned()),
            ("PORT", "0".to_owned()),
            ("RECADO_PERSON_SECONDS", "0".to_owned()),
            ("RECADO_SENDER_RATE", "0".to_owned()),
            // An hour takes 36 s, and a list may lag by 3 s.
            ("RECADO_CLOCK_SCALE", "100".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec();
        let gateway = Gateway::start_with_limited_disk(&variables).unwrap();
        let url = gateway.url.clone();
        let port = url.rsplit(':').next().unwrap().to_owned();
        variables.retain(|(name, _)| name != "PORT");
        variables.push(("PORT".to_owned(), port));
        let webhook = format!("{url}/api/v1/whatsapp/webhook#rc=5&rp=5xx,ct,rt");
        simulator.set_inbound_url(webhook);
        let mut site = Self {
            simulator,
            gateway: Some(gateway),
            folder,
            variables,
            url,
            key: String::new(),
            log: String::new(),
            memory_kib_most: 0,
            restarts: 0,
            full_disks: 0,
            clocks: 0,
        };
        site.key = site.new_key();
        site
    }

    fn new_key(&self) -> String {
        let make = [
            "keys", "create", "--name", "test", "--scope", "admin", "--json",
        ];
        let made = command(&make, &self.variables).output().unwrap();
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        made["key"].as_str().unwrap().to_owned()
    }

    fn gateway(&mut self) -> &mut Gateway {
        self.gateway.as_mut().expect("it runs")
    }

    pub(super) async fn kill_and_restart(&mut self) {
        self.note_memory();
        self.gateway().kill();
        self.restart().await;
    }

    pub(super) async fn terminate_and_restart(&mut self) {
        self.terminate();
        self.restart().await;
    }

    fn terminate(&mut self) {
        self.note_memory();
        assert!(self.gateway().terminate().success());
        self.keep_log();
    }

    async fn restart(&mut self) {
        self.restarts += 1;
        self.keep_log();
        let end = Instant::now() + REST_MAX;
        loop {
            match Gateway::start_with_limited_disk(&self.variables) {
                Ok(gateway) => {
                    self.gateway = Some(gateway);
                    return;
                }
                Err(why) => assert!(Instant::now() < end, "{why}"),
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    fn keep_log(&mut self) {
        if let Some(gateway) = self.gateway.take() {
            self.log += &gateway.log();
        }
    }

    /// Serves with a clock that is ahead by this while something happens, and then with the right
    /// one again.
    pub(super) async fn serve_ahead(&mut self, by: Duration, happens: impl AsyncFnOnce(&Ahead)) {
        self.clocks += 1;
        self.terminate();
        let variables = self.variables.clone();
        let ahead = tokio::task::spawn_blocking(move || Ahead::start(&variables, by));
        let ahead = ahead.await.unwrap();
        happens(&ahead).await;
        tokio::task::spawn_blocking(move || drop(ahead))
            .await
            .unwrap();
        self.restart().await;
    }

    /// For so long no file can grow beyond a few pages.
    pub(super) async fn full_disk(&mut self, lasts: Duration) {
        self.full_disks += 1;
        self.limit_files("4096:unlimited");
        tokio::time::sleep(lasts).await;
        self.limit_files("unlimited:unlimited");
    }

    fn limit_files(&mut self, limit: &str) {
        let id = self.gateway().id().to_string();
        let limit = format!("--fsize={limit}");
        let set = Command::new("prlimit")
            .args([&limit, "--pid", &id])
            .status();
        assert!(set.unwrap().success());
    }

    /// Waits until nothing waits, is under way or is in doubt.
    pub(super) async fn at_rest(&self) {
        let moving = ["accepted", "sending", "queued", "unknown"];
        let end = Instant::now() + REST_MAX;
        loop {
            let mut left = Vec::new();
            for state in moving {
                left.extend(self.list(&format!("state={state}")).await);
            }
            let health = self.get("/api/v1/health").await;
            if health["open_attempts"] == 0 && left.is_empty() {
                // A page shows what it finds among the newest; all of them take longer.
                let all = self.messages().await;
                left.extend(all.into_iter().filter(|message| {
                    let state = message["state"].as_str();
                    state.is_some_and(|state| moving.contains(&state))
                }));
                if left.is_empty() {
                    return;
                }
            }
            if Instant::now() >= end {
                let first = left.first().and_then(|message| message["id"].as_str());
                let path = first.map(|id| format!("/api/v1/messages/{id}"));
                let first = self.get(path.as_deref().unwrap_or("/api/v1/health")).await;
                let log = self.gateway.as_ref().map(Gateway::log).unwrap_or_default();
                panic!("{} left, such as {first:#}\n{health:#}\n{log}", left.len());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn get(&self, path: &str) -> Value {
        let headers = [("authorization", format!("Bearer {}", self.key))];
        let url = format!("{}{path}", self.url);
        let answer = Http::new().request("GET", &url, &headers, None).await;
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }

    /// The newest messages of this kind.
    async fn list(&self, query: &str) -> Vec<Value> {
        let page = self
            .get(&format!("/api/v1/messages?limit=50&{query}"))
            .await;
        page["messages"].as_array().unwrap().clone()
    }

    /// Every message.
    pub(super) async fn messages(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self
                .get(&format!("/api/v1/messages?limit=200{cursor}"))
                .await;
            all.extend(page["messages"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }

    /// Asserts that a message to this person is stopped.
    pub(super) async fn is_out(&self, person: &str, number: usize) {
        let key = format!("out {number}");
        let id = ask(&self.url, &self.key, person, &key).await;
        let id = id.expect("it is accepted");
        let end = Instant::now() + REST_MAX;
        loop {
            let message = self.get(&format!("/api/v1/messages/{id}")).await;
            if message["state"] == "suppressed" {
                return;
            }
            assert!(message["sent_at"].is_null(), "{message:#}");
            assert!(Instant::now() < end, "{message:#}");
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    pub(super) fn assert_verified(&self) {
        let verified = command(&["verify", "--json"], &self.variables).output();
        let verified = verified.unwrap();
        let text = String::from_utf8_lossy(&verified.stdout);
        assert!(verified.status.success(), "{text}");
    }

    /// How many files and connections the process has open.
    pub(super) fn handles(&self) -> usize {
        let id = self.gateway.as_ref().expect("it runs").id();
        std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count()
    }

    /// The most memory that any of the processes has held, in KiB.
    pub(super) fn memory_kib_most(&mut self) -> u64 {
        self.note_memory();
        self.memory_kib_most
    }

    fn note_memory(&mut self) {
        let id = self.gateway().id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        let kib = kib.unwrap().parse().unwrap();
        self.memory_kib_most = self.memory_kib_most.max(kib);
    }

    pub(super) fn assert_nothing_panicked(&self) {
        let now = self.gateway.as_ref().map(Gateway::log).unwrap_or_default();
        for line in self.log.lines().chain(now.lines()) {
            assert!(!line.contains("panicked at"), "{line}");
        }
    }

    pub(super) fn summary(&self) -> String {
        let (restarts, disks, clocks) = (self.restarts, self.full_disks, self.clocks);
        let (memory, handles) = (self.memory_kib_most, self.handles());
        let size = std::fs::metadata(self.folder.database()).map_or(0, |data| data.len());
        format!(
            "{restarts} restarts, {disks} full disks, {clocks} wrong clocks; \
             {memory} KiB of memory, {handles} handles, {size} bytes of database"
        )
    }
}

/// A caller who writes to one person after the other until the day is over, and asks again until
/// each message is accepted.
pub(super) fn write(
    site: &Site,
    writer: usize,
    over: &Arc<AtomicBool>,
    accepted: &Arc<AtomicUsize>,
) -> impl Future<Output = ()> + Send + 'static {
    let (url, key) = (site.url.clone(), site.key.clone());
    let (over, accepted) = (Arc::clone(over), Arc::clone(accepted));
    async move {
        for number in (writer..).step_by(WRITERS) {
            if over.load(Ordering::Relaxed) {
                return;
            }
            let person = mobile(number);
            let end = Instant::now() + REST_MAX;
            while ask(&url, &key, &person, &number.to_string())
                .await
                .is_none()
            {
                assert!(Instant::now() < end, "{person} was never accepted");
                tokio::time::sleep(ASK_AGAIN).await;
            }
            accepted.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(WRITER_INTERVAL).await;
        }
    }
}

/// Asks for one message with a key of its own; its id, or nothing when there is no good answer.
async fn ask(url: &str, key: &str, person: &str, idempotency: &str) -> Option<String> {
    let headers = [
        ("authorization", format!("Bearer {key}")),
        ("content-type", "application/json".to_owned()),
        ("idempotency-key", idempotency.to_owned()),
    ];
    let body = notice(person, &format!("notice {idempotency}"));
    let body = json!(body).to_string().into_bytes();
    let url = format!("{url}/api/v1/messages");
    let answer = Http::new()
        .request("POST", &url, &headers, Some(body))
        .await;
    let answer = answer.ok()?;
    if answer.status == 503 {
        return None;
    }
    assert_eq!(answer.status, 202, "{}", answer.text);
    Some(answer.json()["id"].as_str().unwrap().to_owned())
}
