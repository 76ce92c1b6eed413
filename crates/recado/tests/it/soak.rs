//! Ten thousand messages through a provider that cuts every fifth request, before or after it has
//! accepted the message.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use simulator::{CreateFault, Faults, Share};

use crate::server::{TEMPLATE, TestServer, mobile};

const MESSAGES: usize = 10_000;
/// How long thousands of attempts may take to be looked for.
const REST_MAX: Duration = Duration::from_secs(240);

fn cut(share: f64) -> Vec<Share> {
    vec![Share {
        share,
        fault: CreateFault::ResetAfter { after_bytes: None },
    }]
}

/// Half of the cut requests never became a message.
fn cut_before_and_after(share: f64) -> Vec<Share> {
    let mut faults = cut(share / 2.0);
    faults.push(Share {
        share: share / 2.0,
        fault: CreateFault::ResetBefore,
    });
    faults
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_requests_are_settled_and_each_message_leaves_once() {
    let server = settled_server().await;
    let copies = copies(&server);
    assert!(copies.values().all(|n| *n == 1), "something was sent twice");
    let messages = server.messages("").await;
    assert!(messages.iter().all(|m| m["possible_duplicate"] == false));
}

/// A server with the default policy whose messages have all come to rest, each sent at least once.
async fn settled_server() -> TestServer {
    let server = TestServer::with(
        |settings| {
            settings.time_scale = 100.0;
            settings.faults = Faults {
                create: cut_before_and_after(0.2),
                // Without these callbacks some must be found in the list, which lags by two
                // minutes of the gateway's time.
                callback_lost: 0.5,
                list_lag_ms: 120_000.0,
                ..Faults::default()
            };
        },
        &[],
    )
    .await;
    let ids = accept(&server, 0, MESSAGES, "once").await;
    at_rest(&server).await;
    let unknown = server.messages("state=unknown").await;
    assert_eq!(server.messages("").await.len(), ids.len());
    assert_eq!(copies(&server).len(), MESSAGES, "something was never sent");
    assert!(
        unknown.is_empty(),
        "{} unknown, for example {:#}",
        unknown.len(),
        unknown[0]
    );
    let cut = server
        .simulator
        .truth()
        .iter()
        .filter(|t| t.answered == "reset")
        .count();
    assert!((750..1_250).contains(&cut), "{cut} requests were cut");
    // One more attempt for each message that never came to be.
    let numbers = server.get("/api/v1/metrics/delivery").await.json();
    let attempts = numbers["groups"][0]["attempts"].as_u64().unwrap();
    assert!((10_750..11_250).contains(&attempts), "{attempts} attempts");
    server
}

/// The same load without any evidence: no callbacks, and a list without messages.
async fn server_without_evidence(cut_share: f64) -> TestServer {
    TestServer::with(
        |settings| {
            settings.time_scale = 100.0;
            settings.faults = Faults {
                create: cut(cut_share),
                callback_lost: 1.0,
                // A list that never shows a message.
                list_lag_ms: 360_000_000.0,
                ..Faults::default()
            };
        },
        &[("RECADO_CLOCK_SCALE", "1000")],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_in_doubt_is_marked() {
    let server = server_without_evidence(0.2).await;
    accept(&server, 0, MESSAGES, "at_least_once").await;
    every_attempt_closed(&server).await;
    let copies = copies(&server);
    assert_eq!(copies.len(), MESSAGES, "something was never sent");
    let mut doubles = 0;
    for message in server.messages("").await {
        let count = copies[&format!("whatsapp:{}", message["to"].as_str().unwrap())];
        doubles += usize::from(count > 1);
        assert!(
            count == 1 || message["possible_duplicate"] == true,
            "sent {count} times and not marked: {message:#}"
        );
        assert!(count <= 2, "sent {count} times: {message:#}");
    }
    // Whoever was cut gets a second one: 2,000 of them, give or take six times the deviation of 40.
    assert!((1_760..=2_240).contains(&doubles), "{doubles} doubles");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_evidence_each_policy_does_what_it_says() {
    let server = server_without_evidence(0.3).await;
    let each = 200;
    for (place, policy) in ["at_most_once", "at_least_once", "ask"].iter().enumerate() {
        accept(&server, place * each, each, policy).await;
    }
    every_attempt_closed(&server).await;
    let copies = copies(&server);
    let mut resent = 0;
    for message in server.messages("").await {
        let whole = server.message(message["id"].as_str().unwrap()).await;
        let to = format!("whatsapp:{}", whole["to"].as_str().unwrap());
        let count = copies.get(&to).copied().unwrap_or_default();
        let marked = whole["possible_duplicate"] == true;
        match whole["delivery"].as_str().unwrap() {
            "at_least_once" => {
                resent += usize::from(count > 1);
                assert!(
                    count <= 1 || marked,
                    "sent {count} times and not marked: {whole:#}"
                );
            }
            _ => assert!(count <= 1 && !marked, "sent {count} times: {whole:#}"),
        }
        if whole["delivery"] == "ask" && whole["attempts"][0]["outcome"] == "unknown" {
            assert_eq!(whole["state"], "held", "{whole:#}");
        }
    }
    assert!(resent > 20, "only {resent} were sent again");
}

async fn accept(server: &TestServer, first: usize, count: usize, delivery: &str) -> Vec<String> {
    let mut ids = Vec::new();
    for start in (first..first + count).step_by(1_000) {
        let messages: Vec<Value> = (start..(start + 1_000).min(first + count))
            .map(|n| {
                json!({
                    "to": mobile(n),
                    "content_sid": TEMPLATE,
                    "variables": { "1": format!("notice {n}.") },
                    "delivery": delivery,
                })
            })
            .collect();
        let answer = server
            .post("/api/v1/messages/bulk", &json!({ "messages": messages }))
            .await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        let answer = answer.json();
        let results = answer["results"].as_array().unwrap();
        ids.extend(results.iter().map(|r| r["id"].as_str().unwrap().to_owned()));
    }
    ids
}

/// Waits until every attempt is decided that time alone decides.
async fn every_attempt_closed(server: &TestServer) {
    server
        .eventually_within(REST_MAX, "every attempt closed", async |server| {
            let mut moving = 0;
            for state in ["accepted", "sending", "queued"] {
                moving += server.messages(&format!("state={state}")).await.len();
            }
            let unknown = server.messages("state=unknown").await;
            // A second attempt in doubt is the end: it is not tried a third time.
            let undecided = unknown
                .iter()
                .filter(|m| m["delivery"] != "at_most_once" && m["possible_duplicate"] == false)
                .count();
            moving + undecided == 0
        })
        .await;
}

/// Waits until nothing is queued, under way or in doubt.
async fn at_rest(server: &TestServer) {
    server
        .eventually_within(REST_MAX, "everything settled", async |server| {
            let numbers = server.get("/api/v1/metrics/delivery").await.json();
            let states = &numbers["groups"][0]["states"];
            let moving = ["accepted", "sending", "queued", "sent", "unknown"];
            let moving: i64 = moving
                .iter()
                .filter_map(|state| states[*state].as_i64())
                .sum();
            moving == 0
        })
        .await;
}

/// How often the provider accepted a message to each person; everybody gets one.
fn copies(server: &TestServer) -> HashMap<String, usize> {
    let mut copies = HashMap::new();
    for truth in server.simulator.truth() {
        *copies.entry(truth.to).or_default() += 1;
    }
    copies
}
