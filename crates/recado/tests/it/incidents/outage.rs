//! Twilio answers nothing useful while many messages wait. Few attempts are spent on it, and
//! everything arrives when it is over.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use simulator::{CreateFault, Faults, Share};

use crate::server::{TEMPLATE, TestServer, mobile};

const MESSAGES: usize = 1_000;
/// Attempts that an outage may cost besides its probes.
const SPENT_MAX: i64 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_from_the_start_spends_few_attempts() {
    for fault in [
        CreateFault::ErrorBefore {
            status: 503,
            html: false,
        },
        // A firewall that answers in Twilio's place.
        CreateFault::ErrorBefore {
            status: 403,
            html: true,
        },
        CreateFault::ResetBefore,
    ] {
        let server = TestServer::start().await;
        server.simulator.set_faults(always(&fault));
        accept(&server).await;
        until_probes(&server, 4).await;
        assert!(server.simulator.truth().is_empty());
        let probes = probes(&server).await;
        server.simulator.set_faults(Faults::default());
        all_arrive(&server, probes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_in_the_middle_spends_few_attempts() {
    // What our senders may send at WhatsApp's usual limit.
    let server = TestServer::with(|_| {}, &[("RECADO_SENDER_RATE", "80")]).await;
    accept(&server).await;
    server
        .eventually("some have left", async |server| {
            server.simulator.truth().len() > 50
        })
        .await;
    server
        .simulator
        .set_faults(always(&CreateFault::ErrorBefore {
            status: 503,
            html: true,
        }));
    until_probes(&server, 4).await;
    let probes = probes(&server).await;
    server.simulator.set_faults(Faults::default());
    all_arrive(&server, probes).await;
}

fn always(fault: &CreateFault) -> Faults {
    Faults {
        create: vec![Share {
            share: 1.0,
            fault: fault.clone(),
        }],
        ..Faults::default()
    }
}

async fn accept(server: &TestServer) {
    let messages: Vec<Value> = (0..MESSAGES)
        .map(|n| {
            json!({
                "to": mobile(n),
                "content_sid": TEMPLATE,
                "variables": { "1": format!("notice {n}.") },
            })
        })
        .collect();
    let answer = server
        .post("/api/v1/messages/bulk", &json!({ "messages": messages }))
        .await;
    assert_eq!(answer.status, 202, "{}", answer.text);
}

async fn probes(server: &TestServer) -> i64 {
    let metrics = server.get("/metrics").await.text;
    metrics
        .lines()
        .filter(|line| line.starts_with("recado_provider_outage_probes"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .map(|probes| format!("{probes:.0}").parse::<i64>().unwrap())
        .sum()
}

async fn until_probes(server: &TestServer, wanted: i64) {
    server
        .eventually("the outage is probed", async |server| {
            probes(server).await >= wanted
        })
        .await;
    // Long enough for many more attempts than are allowed, if nothing stopped them.
    tokio::time::sleep(Duration::from_millis(300)).await;
}

/// Messages that are neither delivered nor read.
async fn waiting(server: &TestServer) -> i64 {
    let numbers = server.get("/api/v1/metrics/delivery").await.json();
    let states = numbers["groups"][0]["states"].as_object().unwrap().clone();
    states
        .iter()
        .filter(|(state, _)| !["delivered", "read"].contains(&state.as_str()))
        .filter_map(|(_, count)| count.as_i64())
        .sum()
}

/// Everything is delivered once, and the outage has cost a few attempts and its probes.
async fn all_arrive(server: &TestServer, probes_before: i64) {
    server
        .eventually("everything delivered", async |server| {
            waiting(server).await == 0
        })
        .await;
    let mut copies: HashMap<String, usize> = HashMap::new();
    for truth in server.simulator.truth() {
        *copies.entry(truth.to).or_default() += 1;
    }
    assert_eq!(copies.len(), MESSAGES);
    assert!(copies.values().all(|n| *n == 1), "something was sent twice");
    let numbers = server.get("/api/v1/metrics/delivery").await.json();
    let attempts = numbers["groups"][0]["attempts"].as_i64().unwrap();
    let spent = attempts - i64::try_from(MESSAGES).unwrap();
    // The last probes are those that were open or succeeded after the count was read.
    let most = probes_before + 3 + SPENT_MAX;
    assert!(
        spent <= most,
        "{spent} attempts spent, {probes_before} probes"
    );
    let marked = server.messages("").await;
    assert!(marked.iter().all(|m| m["possible_duplicate"] == false));
}
