//! A whole server for a test: the real program as its own process, and a simulated Twilio. At
//! the end of each test it is stopped, its database recounted and its log looked through.

mod tests;

use std::io::Write;
use std::net::TcpStream;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simulator::{Simulator, TruthMessage};

use crate::ahead::Ahead;
use crate::client::{Answer, Http};
use crate::gateway::{DEADLINE, Folder, Gateway, POLL_INTERVAL, POLL_INTERVAL_MAX, command};

/// Our sender in every test.
pub(crate) const SENDER: &str = "+551140000000";
/// A key for tests; nothing real is sealed with it.
pub(crate) const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// A template that the simulator does not know; it shows the values alone.
pub(crate) const TEMPLATE: &str = "HX00000000000000000000000000000001";

// An async function does not know who called it, so the checking ones among these are functions
// that note it and give a future.

/// A running gateway, its database, and the simulated Twilio that it sends through.
pub(crate) struct TestServer {
    pub(crate) simulator: Simulator,
    pub(crate) gateway: Gateway,
    pub(crate) key: String,
    http: Http,
    /// Serves in place of the gateway, with a clock that is ahead.
    ahead: Option<Ahead>,
    folder: Folder,
    variables: Vec<(String, String)>,
    /// What gateways wrote that were ended and started again.
    earlier_log: String,
    expected_errors: Vec<String>,
    /// Why the database is not recounted at the end.
    recount_skipped: Option<&'static str>,
}

impl TestServer {
    /// A server in which everything is quick and nothing goes wrong.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}, &[]).await
    }

    /// A server with the simulator changed and more settings of the gateway.
    pub(crate) async fn with(
        change: impl FnOnce(&mut simulator::Settings),
        variables: &[(&str, &str)],
    ) -> Self {
        let mut settings = simulator::Settings {
            senders: vec![SENDER.to_owned()],
            time_scale: 50.0,
            window_enforced: false,
            ..simulator::Settings::default()
        };
        change(&mut settings);
        let simulator = Simulator::start(settings).await.unwrap();
        let folder = Folder::new();
        let mut all: Vec<(String, String)> = [
            (
                "DATABASE_URL",
                format!("sqlite:{}", folder.database().display()),
            ),
            ("RECADO_MASTER_KEY", MASTER_KEY.to_owned()),
            ("TWILIO_API_BASE_URL", simulator.url()),
            ("TWILIO_ACCOUNT_SID", simulator.account_sid().to_owned()),
            ("TWILIO_AUTH_TOKEN", simulator.auth_token().to_owned()),
            ("TWILIO_WHATSAPP_FROM", SENDER.to_owned()),
            ("PORT", "0".to_owned()),
            ("RECADO_SENDER_RATE", "0".to_owned()),
            ("RECADO_PERSON_SECONDS", "0".to_owned()),
            ("RECADO_CLOCK_SCALE", "100".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec();
        for (name, value) in variables {
            all.retain(|(known, _)| known != name);
            all.push(((*name).to_owned(), (*value).to_owned()));
        }
        let gateway = Gateway::start(&all).unwrap();
        simulator.set_inbound_url(format!("{}/api/v1/whatsapp/webhook", gateway.url));
        let mut server = Self {
            simulator,
            gateway,
            key: String::new(),
            http: Http::new(),
            ahead: None,
            folder,
            variables: all,
            earlier_log: String::new(),
            expected_errors: Vec::new(),
            recount_skipped: None,
        };
        server.key = server.new_key("admin");
        server
    }

    /// A plain connection to the gateway, for what no client would send.
    #[track_caller]
    pub(crate) fn connect(&self, text: &str, read_timeout: Duration) -> TcpStream {
        let address = self.gateway.url.strip_prefix("http://").unwrap();
        let mut connection = TcpStream::connect(address).unwrap();
        connection.set_read_timeout(Some(read_timeout)).unwrap();
        connection.write_all(text.as_bytes()).unwrap();
        connection
    }

    /// Makes an API key beside the running gateway.
    #[track_caller]
    pub(crate) fn new_key(&self, scope: &str) -> String {
        let made = self.cli(&[
            "keys", "create", "--name", "test", "--scope", scope, "--json",
        ]);
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        made["key"].as_str().unwrap().to_owned()
    }

    /// Runs a command beside the gateway, with its settings.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        command(arguments, &self.variables)
            .env("RECADO_URL", self.url())
            .env("RECADO_API_KEY", &self.key)
            .output()
            .unwrap()
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.database()
    }

    /// Makes a backup of the database in another folder; gives the settings of a server on it.
    pub(crate) fn back_up(&self, to: &Folder) -> Vec<(String, String)> {
        let database = rusqlite::Connection::open(self.database()).unwrap();
        let copy = to.database().display().to_string();
        database.execute("VACUUM INTO ?1", [&copy]).unwrap();
        let mut variables = self.variables.clone();
        variables.retain(|(name, _)| name != "DATABASE_URL");
        variables.push(("DATABASE_URL".to_owned(), format!("sqlite:{copy}")));
        variables
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.0.path()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &self.bearer(), None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.request(
            "POST",
            path,
            &self.bearer(),
            Some(body.to_string().into_bytes()),
        )
        .await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.request(
            "PUT",
            path,
            &self.bearer(),
            Some(body.to_string().into_bytes()),
        )
        .await
    }

    fn url(&self) -> &str {
        match &self.ahead {
            Some(ahead) => &ahead.url,
            None => &self.gateway.url,
        }
    }

    fn bearer(&self) -> Vec<(&'static str, String)> {
        vec![
            ("authorization", format!("Bearer {}", self.key)),
            ("content-type", "application/json".to_owned()),
        ]
    }

    /// Any request, with nothing added.
    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&'static str, String)],
        body: Option<Vec<u8>>,
    ) -> Answer {
        let url = format!("{}{path}", self.url());
        self.http
            .request(method, &url, headers, body)
            .await
            .unwrap()
    }

    /// Accepts one message and gives its id.
    #[track_caller]
    pub(crate) fn accept(&self, message: Value) -> impl Future<Output = String> {
        let caller = Location::caller();
        async move {
            let answer = self.post("/api/v1/messages", &message).await;
            assert_eq!(answer.status, 202, "{caller}: {}", answer.text);
            answer.json()["id"].as_str().unwrap().to_owned()
        }
    }

    #[track_caller]
    pub(crate) fn message(&self, id: &str) -> impl Future<Output = Value> {
        let caller = Location::caller();
        async move {
            let answer = self.get(&format!("/api/v1/messages/{id}")).await;
            assert_eq!(answer.status, 200, "{caller}: {id} {}", answer.text);
            answer.json()
        }
    }

    /// Waits until a message is as wanted.
    #[track_caller]
    pub(crate) fn until(
        &self,
        id: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> impl Future<Output = Value> {
        let caller = Location::caller();
        async move {
            let end = Instant::now() + DEADLINE;
            loop {
                let message = self.message(id).await;
                if wanted(&message) {
                    return message;
                }
                assert!(
                    Instant::now() < end,
                    "{caller}: not as wanted in time: {message:#}"
                );
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
    }

    #[track_caller]
    pub(crate) fn until_state(&self, id: &str, state: &str) -> impl Future<Output = Value> {
        self.until(id, move |message| message["state"] == state)
    }

    /// Waits until something is so. What takes long is looked at less and less often.
    pub(crate) async fn eventually(&self, what: &str, so: impl AsyncFnMut(&Self) -> bool) {
        self.eventually_within(DEADLINE, what, so).await;
    }

    /// The same for what takes long by its nature: thousands of looks at the provider.
    pub(crate) async fn eventually_within(
        &self,
        deadline: Duration,
        what: &str,
        mut so: impl AsyncFnMut(&Self) -> bool,
    ) {
        let end = Instant::now() + deadline;
        let mut interval = POLL_INTERVAL;
        while !so(self).await {
            if Instant::now() > end {
                let numbers = self.get("/api/v1/metrics/delivery").await.json();
                let states = &numbers["groups"][0]["states"];
                panic!("not in time: {what}; {states}\n{}", self.gateway.log());
            }
            tokio::time::sleep(interval).await;
            interval = (interval * 5 / 4).min(POLL_INTERVAL_MAX);
        }
    }

    /// Waits until no request to the provider is open.
    pub(crate) async fn until_idle(&self) {
        self.eventually("no attempt is open", async |server| {
            server.get("/api/v1/health").await.json()["open_attempts"] == 0
        })
        .await;
    }

    /// Waits for the signal that whatever was due by a sender has left: a message of the lowest
    /// priority to somebody else, asked for now, has left after it, and no request is open any
    /// more. Gives what the provider has accepted besides.
    pub(crate) async fn sent_by_now(&self, sender: &str) -> Vec<TruthMessage> {
        let last = mobile(9_999_999);
        let mut message = notice(&last, "whatever was due has left");
        message["from"] = json!(sender);
        message["priority"] = json!("bulk");
        message["dedupe"] = json!("allow");
        let id = self.accept(message).await;
        self.until(&id, |m| m["attempts"][0]["outcome"] == "sent")
            .await;
        self.until_idle().await;
        let mut sent = self.simulator.truth();
        sent.retain(|truth| truth.to != format!("whatsapp:{last}"));
        sent
    }

    /// Every message, by all pages.
    pub(crate) async fn messages(&self, query: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/api/v1/messages?limit=200&{query}{cursor}");
            let page = self.get(&path).await;
            assert_eq!(page.status, 200, "{}", page.text);
            let page = page.json();
            all.extend(page["messages"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }

    /// Asserts that a recount of the log finds nothing different.
    #[track_caller]
    pub(crate) fn assert_verified(&self) {
        let verified = self.cli(&["verify", "--json"]);
        let text = String::from_utf8_lossy(&verified.stdout).into_owned();
        assert!(verified.status.success(), "{text}");
    }

    /// Announces a failure: a line of the log with this part must come, and is none of those that
    /// fail the test.
    pub(crate) fn expect_error(&mut self, part: &str) {
        self.expected_errors.push(part.to_owned());
    }

    /// Leaves out the recount at the end, for a database that the test itself has damaged.
    pub(crate) fn without_recount(&mut self, reason: &'static str) {
        self.recount_skipped = Some(reason);
    }

    /// Asserts that the log holds the failures that were announced, and no others.
    fn assert_errors_as_expected(&self) {
        let log = self.earlier_log.clone() + &self.gateway.log();
        let errors: Vec<&str> = log.lines().filter(|line| is_error(line)).collect();
        let announced = |line: &str| self.expected_errors.iter().any(|part| line.contains(part));
        let unexpected: Vec<_> = errors.iter().filter(|line| !announced(line)).collect();
        assert!(unexpected.is_empty(), "not expected: {unexpected:#?}");
        for part in &self.expected_errors {
            let came = errors.iter().any(|line| line.contains(part));
            assert!(came, "an expected error never came: {part}\n{log}");
        }
    }

    /// Changes a setting for the next start.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Ends the gateway as a power cut would, and starts it again on the same port.
    #[track_caller]
    pub(crate) fn kill_and_restart(&mut self) {
        self.gateway.kill();
        self.restart();
    }

    /// Starts the gateway again, on the same port, so that the provider finds it.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.keep_port();
        let end = Instant::now() + DEADLINE;
        loop {
            match Gateway::start(&self.variables) {
                Ok(gateway) => {
                    self.earlier_log += &self.gateway.log();
                    self.gateway = gateway;
                    self.http = Http::new();
                    return;
                }
                Err(why) => assert!(Instant::now() < end, "{why}"),
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Ends the gateway in order, and serves from the same database as if this much time had passed.
    #[track_caller]
    pub(crate) fn restart_ahead(&mut self, by: Duration) {
        if self.ahead.take().is_none() {
            assert!(self.gateway.terminate().success());
        }
        self.keep_port();
        self.ahead = Some(Ahead::start(&self.variables, by));
        self.http = Http::new();
    }

    /// Sets the clock of the program that was started again by
    /// [`restart_ahead`](Self::restart_ahead).
    #[track_caller]
    pub(crate) fn set_ahead(&self, by: Duration) {
        self.ahead.as_ref().expect("it was restarted").set(by);
    }

    /// Lets time pass for the program that was started again by
    /// [`restart_ahead`](Self::restart_ahead).
    #[track_caller]
    pub(crate) fn pass(&self, time: Duration) {
        self.ahead.as_ref().expect("it was restarted").pass(time);
    }

    /// Ends the program whose clock was ahead in order, and starts the gateway again in present time.
    #[track_caller]
    pub(crate) fn restart_in_present(&mut self) {
        self.ahead = None;
        self.restart();
    }

    fn keep_port(&mut self) {
        let port = self.gateway.url.rsplit(':').next().unwrap().to_owned();
        self.variables.retain(|(name, _)| name != "PORT");
        self.variables.push(("PORT".to_owned(), port));
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // The test has failed and says why; a second panic would end all the others as well.
        if std::thread::panicking() {
            return;
        }
        self.ahead = None;
        if self.gateway.is_running() {
            let status = self.gateway.terminate();
            assert!(status.success(), "{status}\n{}", self.gateway.log());
        }
        self.assert_errors_as_expected();
        match self.recount_skipped {
            None => self.assert_verified(),
            Some(reason) => eprintln!("not recounted: {reason}"),
        }
    }
}

/// Whether a line of the log says that something failed which must not.
fn is_error(line: &str) -> bool {
    line.split_whitespace().nth(1) == Some("ERROR") || line.contains("panicked at")
}

/// A message by template to a person.
pub(crate) fn notice(to: &str, text: &str) -> Value {
    json!({ "to": to, "content_sid": TEMPLATE, "variables": { "1": text } })
}

/// A made-up mobile number, different for each number below 10,000,000.
pub(crate) fn mobile(number: usize) -> String {
    format!("+55859{:08}", 80_000_000 + number)
}
