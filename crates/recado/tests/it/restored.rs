//! A restored backup: nothing that has left leaves again, and what has not leaves in the end.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Answer, Http};
use crate::gateway::{DEADLINE, Folder, Gateway, POLL_INTERVAL, command};
use crate::server::{SENDER, TestServer, mobile, notice};

/// Messages that the original sends after the backup, and that it never sends.
const SENT: usize = 20;
const LEFT: usize = 3;

/// A server on a backup.
struct Restored {
    gateway: Gateway,
    variables: Vec<(String, String)>,
    key: String,
}

impl Restored {
    async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let headers = [
            ("authorization", format!("Bearer {}", self.key)),
            ("content-type", "application/json".to_owned()),
        ];
        let url = format!("{}{path}", self.gateway.url);
        let body = body.map(|body| body.to_string().into_bytes());
        let asked = Http::new().request(method, &url, &headers, body).await;
        asked.unwrap()
    }

    async fn concerns(&self) -> String {
        let health = self.ask("GET", "/api/v1/health", None).await.json();
        health["concerns"].to_string()
    }

    fn cli(&self, arguments: &[&str]) -> std::process::Output {
        command(arguments, &self.variables)
            .env("RECADO_URL", &self.gateway.url)
            .env("RECADO_API_KEY", &self.key)
            .output()
            .unwrap()
    }
}

/// A message of its own to each.
fn message(n: usize) -> Value {
    notice(&mobile(n), &format!("texto {n}"))
}

async fn pause(server: &TestServer, verb: &str) {
    let path = format!("/api/v1/senders/{SENDER}/{verb}");
    assert_eq!(server.post(&path, &Value::Null).await.status, 200);
}

fn copies(server: &TestServer) -> HashMap<String, usize> {
    let mut copies = HashMap::new();
    for truth in server.simulator.truth() {
        *copies.entry(truth.body).or_default() += 1;
    }
    copies
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_sends_nothing_twice_and_loses_nothing() {
    let mut server = TestServer::start().await;
    pause(&server, "pause").await;
    let mut ids = Vec::new();
    for n in 0..SENT + LEFT {
        ids.push(server.accept(message(n)).await);
    }
    let folder = Folder::new();
    let variables = server.back_up(&folder);
    let backup = rusqlite::Connection::open(folder.database()).unwrap();
    let resumed = "UPDATE sender SET paused_at = NULL, pause_reason = NULL";
    backup.execute(resumed, []).unwrap();
    drop(backup);
    // The original sends most of it, and ends before the rest.
    for id in &ids[SENT..] {
        let path = format!("/api/v1/messages/{id}/cancel");
        assert_eq!(server.post(&path, &Value::Null).await.status, 200);
    }
    pause(&server, "resume").await;
    server
        .eventually("the original has sent", async |server| {
            server.simulator.truth().len() == SENT
        })
        .await;
    server.until_idle().await;
    server.gateway.kill();

    let gateway = Gateway::start(&variables).unwrap();
    let restored = Restored {
        gateway,
        variables,
        key: server.key.clone(),
    };
    let log = restored.gateway.log();
    assert!(log.contains("its marker is missing"), "{log}");
    let concerns = restored.concerns().await;
    assert!(
        concerns.contains("recado resume --after-restore"),
        "{concerns}"
    );
    let mut later = notice(&mobile(500), "depois");
    later["delivery"] = json!("at_most_once");
    let accepted = restored.ask("POST", "/api/v1/messages", Some(&later)).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    // A look at what waits, and two rounds of the lanes.
    let queued = restored.ask("GET", "/api/v1/senders", None).await.json();
    assert_eq!(queued["senders"][0]["pause_reason"], "restored");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(server.simulator.truth().len(), SENT, "nothing by itself");

    let resumed = restored.cli(&["resume", "--after-restore", "--json"]);
    assert!(resumed.status.success(), "{resumed:?}");
    assert_eq!(resumed.stdout, b"{\"resumed\":1}\n");
    assert!(!restored.concerns().await.contains("restored"));
    // What is found is settled, what is not found is sent in the end.
    let end = Instant::now() + DEADLINE;
    loop {
        let page = restored
            .ask("GET", "/api/v1/messages?limit=200", None)
            .await;
        let page = page.json();
        let messages = page["messages"].as_array().unwrap();
        assert_eq!(messages.len(), SENT + LEFT + 1);
        let arrived = messages
            .iter()
            .filter(|message| message["provider_sid"].is_string())
            .count();
        if arrived == messages.len() {
            break;
        }
        assert!(Instant::now() < end, "{page:#}\n{}", restored.gateway.log());
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    let copies = copies(&server);
    assert_eq!(copies.len(), SENT + LEFT + 1, "{copies:?}");
    assert!(copies.values().all(|n| *n == 1), "{copies:?}");
    let marked = restored
        .ask("GET", "/api/v1/messages?limit=200", None)
        .await;
    let marked = marked.json()["messages"].to_string();
    assert!(!marked.contains("\"possible_duplicate\":true"), "{marked}");
    let verified = restored.cli(&["verify"]);
    assert!(verified.status.success(), "{verified:?}");
}
