//! kill -9 at random moments of load: what was answered exists, comes to rest, and went out once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use simulator::{CreateFault, Faults, Share};
use tokio::sync::Mutex;

use crate::client::Http;
use crate::rng::Rng;
use crate::server::{TEMPLATE, TestServer, mobile};

/// Runs on one database before a new one is begun.
const RUNS_PER_SERVER: usize = 10;
const WRITERS: usize = 6;
/// How long what is unknown may take to be proven absent, and sent.
const REST_MAX: Duration = Duration::from_secs(240);

/// What a caller knows about a message: its own words, and the id when it was told one.
#[derive(Clone)]
struct Request {
    text: String,
    delivery: &'static str,
    /// Sent alone, with its key in the header.
    alone: bool,
    id: Option<String>,
}

/// How many times to kill: `RECADO_CRASH_RUNS`, 20 by default.
fn runs() -> usize {
    std::env::var("RECADO_CRASH_RUNS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(20)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_outlives_every_crash() {
    let total = runs();
    let mut done = 0;
    while done < total {
        let runs = RUNS_PER_SERVER.min(total - done);
        let seed = u64::try_from(done).unwrap();
        let asked = crash_often(seed, runs).await;
        done += runs;
        eprintln!("{done} of {total} crashes, {asked} messages in the last server: all at rest");
    }
}

/// One server, killed `runs` times.
async fn crash_often(seed: u64, runs: usize) -> usize {
    // A list that is 3 s late is not believed for a day; at a larger scale a busy machine is.
    let scale = [("RECADO_CLOCK_SCALE", "100")];
    let mut server = TestServer::with(
        |settings| {
            settings.seed = seed;
            settings.faults = Faults {
                latency_ms: (0.0, 15.0),
                create: vec![
                    Share {
                        share: 0.1,
                        fault: CreateFault::ResetBefore,
                    },
                    Share {
                        share: 0.1,
                        fault: CreateFault::ResetAfter { after_bytes: None },
                    },
                ],
                callback_lost: 0.05,
                ..Faults::default()
            };
        },
        &scale,
    )
    .await;
    let rng = Rng::new(seed + 77);
    let asked: Arc<Mutex<HashMap<String, Request>>> = Arc::default();
    for run in 0..runs {
        let killed = Arc::new(AtomicBool::new(false));
        let load: Vec<_> = (0..WRITERS)
            .map(|writer| load(&server, &asked, &killed, run * WRITERS + writer))
            .collect();
        let load: Vec<_> = load.into_iter().map(tokio::spawn).collect();
        // Time alone chooses the moment: a signal would tie it to something that the program does.
        let moment = 20 + u64::try_from(rng.below(600)).unwrap();
        tokio::time::sleep(Duration::from_millis(moment)).await;
        server.kill_and_restart();
        killed.store(true, Ordering::Relaxed);
        for task in load {
            task.await.unwrap();
        }
        server.assert_verified();
    }
    ask_again(&server, &asked).await;
    let asked = asked.lock().await.clone();
    rest(&server, &asked).await;
    no_doubles(&server, &asked).await;
    asked.len()
}

/// Sends until the gateway is gone; every message has its own words and its own key. Whoever did
/// not notice, because the next gateway was there before the next request, is told.
fn load(
    server: &TestServer,
    asked: &Arc<Mutex<HashMap<String, Request>>>,
    killed: &Arc<AtomicBool>,
    writer: usize,
) -> impl Future<Output = ()> + Send + 'static {
    let (url, key) = (server.gateway.url.clone(), server.key.clone());
    let (asked, killed) = (Arc::clone(asked), Arc::clone(killed));
    async move {
        let http = Http::new();
        for number in (0..).take_while(|_| !killed.load(Ordering::Relaxed)) {
            let single = number % 3 != 2;
            let size = if single { 1 } else { 20 };
            let items: Vec<Request> = (0..size)
                .map(|item| Request {
                    text: format!("{writer}.{number}.{item}"),
                    delivery: if item % 4 == 3 {
                        "at_least_once"
                    } else {
                        "once"
                    },
                    alone: single,
                    id: None,
                })
                .collect();
            {
                let mut asked = asked.lock().await;
                asked.extend(items.iter().map(|item| (item.text.clone(), item.clone())));
            }
            let Some(ids) = ask(&http, &url, &key, &items).await else {
                return;
            };
            let mut asked = asked.lock().await;
            for (item, id) in items.iter().zip(ids) {
                asked.get_mut(&item.text).unwrap().id = Some(id);
            }
        }
    }
}

/// Asks for messages; their ids, or nothing when there was no answer.
async fn ask(http: &Http, url: &str, key: &str, items: &[Request]) -> Option<Vec<String>> {
    let messages: Vec<Value> = items.iter().map(message).collect();
    let headers = [
        ("authorization", format!("Bearer {key}")),
        ("content-type", "application/json".to_owned()),
    ];
    let (path, body) = match messages.as_slice() {
        [one] => ("/api/v1/messages", one.clone()),
        many => ("/api/v1/messages/bulk", json!({ "messages": many })),
    };
    let mut headers = headers.to_vec();
    let mut body = body;
    if items[0].alone {
        // A single message carries its key in the header.
        headers.push(("idempotency-key", items[0].text.clone()));
        body.as_object_mut().unwrap().remove("idempotency_key");
    }
    let body = body.to_string().into_bytes();
    let answer = http
        .request("POST", &format!("{url}{path}"), &headers, Some(body))
        .await
        .ok()?;
    if answer.status == 503 {
        return None;
    }
    assert_eq!(answer.status, 202, "{}", answer.text);
    let answer = answer.json();
    let id = |value: &Value| value["id"].as_str().unwrap().to_owned();
    Some(match answer["results"].as_array() {
        Some(results) => results.iter().map(id).collect(),
        None => vec![id(&answer)],
    })
}

fn message(asked: &Request) -> Value {
    let person = asked
        .text
        .bytes()
        .fold(7usize, |n, b| (n * 31 + usize::from(b)) % 9_000_000);
    json!({
        "to": mobile(person),
        "content_sid": TEMPLATE,
        "variables": { "1": asked.text },
        "delivery": asked.delivery,
        "dedupe": "allow",
        "idempotency_key": asked.text,
    })
}

/// A caller without an answer asks again with the same key.
async fn ask_again(server: &TestServer, asked: &Mutex<HashMap<String, Request>>) {
    let open: Vec<Request> = asked
        .lock()
        .await
        .values()
        .filter(|asked| asked.id.is_none())
        .cloned()
        .collect();
    let http = Http::new();
    for item in open {
        let items = [item.clone()];
        let ids = if item.alone {
            ask(&http, &server.gateway.url, &server.key, &items).await
        } else {
            // It was in a bulk request, whose items have their own keys.
            let body = json!({ "messages": [message(&item)] });
            let answer = server.post("/api/v1/messages/bulk", &body).await.json();
            answer["results"][0]["id"]
                .as_str()
                .map(|id| vec![id.to_owned()])
        };
        let id = ids.and_then(|mut ids| ids.pop()).unwrap();
        asked.lock().await.get_mut(&item.text).unwrap().id = Some(id);
    }
}

/// Everything that was answered exists and comes to rest.
async fn rest(server: &TestServer, asked: &HashMap<String, Request>) {
    let moving = [
        "accepted",
        "scheduled",
        "sending",
        "queued",
        "sent",
        "unknown",
    ];
    server
        .eventually_within(REST_MAX, "everything at rest", async |server| {
            for state in moving {
                let page = server
                    .get(&format!("/api/v1/messages?limit=1&state={state}"))
                    .await;
                if page.json()["messages"]
                    .as_array()
                    .is_none_or(|m| !m.is_empty())
                {
                    return false;
                }
            }
            // What is unknown is looked for, and may be sent again, until its time is over.
            let metrics = server.get("/metrics").await.text;
            metrics
                .lines()
                .any(|line| line == "recado_attempts_unknown 0")
        })
        .await;
    let known: HashMap<String, Value> = server
        .messages("")
        .await
        .into_iter()
        .map(|message| (message["id"].as_str().unwrap().to_owned(), message))
        .collect();
    for item in asked.values() {
        let id = item.id.as_ref().unwrap();
        assert!(
            known.contains_key(id),
            "{} was accepted as {id} and is gone",
            item.text
        );
    }
    assert_eq!(
        known.len(),
        asked.len(),
        "more messages than were asked for"
    );
}

/// The provider accepted nothing twice, unless it is allowed and marked.
async fn no_doubles(server: &TestServer, asked: &HashMap<String, Request>) {
    let mut copies: HashMap<String, usize> = HashMap::new();
    for truth in server.simulator.truth() {
        *copies.entry(truth.body).or_default() += 1;
    }
    for (text, count) in &copies {
        let item = &asked[text];
        if *count > 1 {
            let message = server.message(item.id.as_ref().unwrap()).await;
            assert_eq!(
                item.delivery, "at_least_once",
                "{text} went out {count} times: {message:#}"
            );
            assert_eq!(message["possible_duplicate"], true, "{message:#}");
        }
    }
    for item in asked.values().filter(|item| item.delivery == "once") {
        let count = copies.get(&item.text).copied().unwrap_or_default();
        assert_eq!(count, 1, "{} went out {count} times", item.text);
    }
    let by_id: HashMap<&str, &Request> = asked
        .values()
        .map(|item| (item.id.as_deref().unwrap(), item))
        .collect();
    let mut arrived = 0;
    for state in ["delivered", "read"] {
        for message in server.messages(&format!("state={state}")).await {
            let id = message["id"].as_str().unwrap();
            let item = by_id[id];
            let whole = server.message(id).await;
            assert!(
                copies.contains_key(&item.text),
                "{} was never sent: {whole:#}",
                item.text
            );
            arrived += 1;
        }
    }
    assert_eq!(server.messages("state=failed").await.len(), 0);
    assert!(arrived > 0, "nothing was sent at all");
}
