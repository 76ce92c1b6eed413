//! Twilio answers nothing useful while many messages wait. Few attempts are spent on it, and
//! everything arrives when it is over.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use simulator::{Affected, CreateFault, Faults, Outage, Share};

use crate::gateway::DEADLINE;
use crate::server::{SENDER, TEMPLATE, TestServer, mobile, notice};

const OTHER: &str = "+551140000001";
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

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_two_senders_spends_few_attempts() {
    let html = |status| CreateFault::ErrorBefore { status, html: true };
    for outage in [
        creates_meet(html(403)),
        creates_meet(html(401)),
        creates_meet(CreateFault::Redirect),
        nobody_connects(),
    ] {
        let server = two_senders(&[("RECADO_SENDER_RATE", "40")]).await;
        accept(&server).await;
        server
            .eventually("some have left", async |server| {
                server.simulator.truth().len() > 50
            })
            .await;
        server.simulator.set_outages(vec![outage]);
        until_probes(&server, 4).await;
        let probes = probes(&server).await;
        server.simulator.set_outages(Vec::new());
        all_arrive(&server, probes).await;
    }
}

/// Nobody knows of it for half a minute, and few requests are open meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_never_answered_are_few() {
    let server = two_senders(&[("RECADO_SENDER_RATE", "40")]).await;
    accept(&server).await;
    server
        .eventually("some have left", async |server| {
            server.simulator.truth().len() > 50
        })
        .await;
    let outage = creates_meet(CreateFault::HangBefore);
    server.simulator.set_outages(vec![outage]);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let left = server.simulator.truth().len();
    let hanging = open_attempts(&server).await;
    assert!((1..=10).contains(&hanging), "{hanging} are open");
    server.simulator.set_outages(Vec::new());
    server
        .eventually("it is over", async |server| {
            server.simulator.truth().len() > left
        })
        .await;
    all_arrive(&server, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_whose_requests_hang_holds_up_no_other() {
    let server = two_senders(&[("RECADO_DRAIN_SECONDS", "0")]).await;
    server.simulator.set_outages(vec![Outage {
        sender: Some(SENDER.to_owned()),
        ..creates_meet(CreateFault::HangBefore)
    }]);
    let from = |sender: &str, n| {
        let mut message = notice(&mobile(n), "hoje");
        message["from"] = json!(sender);
        message
    };
    for n in 0..20 {
        server.accept(from(SENDER, n)).await;
    }
    server
        .eventually("they hang", async |server| open_attempts(server).await >= 6)
        .await;
    let id = server.accept(from(OTHER, 100)).await;
    server.until(&id, is_delivered).await;
    for message in server.messages("sender=%2B551140000000").await {
        let message = server.message(message["id"].as_str().unwrap()).await;
        assert!(message["attempts"][0]["finished_at"].is_null(), "{message}");
    }
}

/// Each probe is the one message that waits: in a day of real pauses there are some 600.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_waits_alone_outlasts_any_outage() {
    let server = TestServer::with(|_| {}, &[("RECADO_CLOCK_SCALE", "10000")]).await;
    // The lanes open when it is known what people wrote before.
    let before = server.accept(notice(&mobile(0), "ontem")).await;
    server.until(&before, is_delivered).await;
    server.simulator.set_outages(vec![nobody_connects()]);
    // By then nothing is under way any more that could give its connection back.
    server
        .eventually("no list can be read", async |server| {
            let health = server.get("/api/v1/health").await.json();
            health["concerns"].to_string().contains("cannot be listed")
        })
        .await;
    // What leaves over a connection that still stood is in doubt, and no probe any more.
    let mut n = 0;
    let id = loop {
        n += 1;
        let id = server.accept(notice(&mobile(n), "hoje")).await;
        let ended = |message: &Value| message["attempts"][0]["outcome"].is_string();
        let message = server.until(&id, ended).await;
        if message["attempts"][0]["outcome"] == "not_sent" {
            break id;
        }
    };
    server
        .eventually_within(DEADLINE * 4, "a day and more of probes", async |server| {
            let numbers = server.get("/api/v1/metrics/delivery").await.json();
            numbers["groups"][0]["attempts"].as_i64() > Some(650)
        })
        .await;
    server.simulator.set_outages(Vec::new());
    let message = server.until(&id, is_delivered).await;
    assert_eq!(message["error"], Value::Null);
    let to = format!("whatsapp:{}", mobile(n));
    let truth = server.simulator.truth();
    assert_eq!(truth.iter().filter(|truth| truth.to == to).count(), 1);
}

/// Answers that suddenly take 5 s hold few requests, whatever was open before.
#[tokio::test(flavor = "multi_thread")]
async fn slow_answers_hold_few_requests() {
    let server = TestServer::with(|_| {}, &[("RECADO_DRAIN_SECONDS", "0")]).await;
    accept(&server).await;
    server
        .eventually("some have left", async |server| {
            server.simulator.truth().len() > 50
        })
        .await;
    server.simulator.set_faults(always(&CreateFault::Slow {
        ms: 5_000.0,
        accepted_first: false,
    }));
    accept_from(&server, MESSAGES).await;
    let mut most = 0;
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        most = most.max(open_attempts(&server).await);
    }
    assert!(most >= 4, "{most}: it is slow, and not out of order");
    assert!(most <= 128, "{most} requests were open");
    let now = open_attempts(&server).await;
    assert!(now <= 30, "{now} requests are open");
}

async fn two_senders(variables: &[(&str, &str)]) -> TestServer {
    let both = format!("{SENDER},{OTHER}");
    let mut all = vec![("TWILIO_WHATSAPP_FROM", both.as_str())];
    all.extend(variables);
    let senders = vec![SENDER.to_owned(), OTHER.to_owned()];
    TestServer::with(|settings| settings.senders = senders, &all).await
}

fn creates_meet(fault: CreateFault) -> Outage {
    Outage {
        fault: Some(fault),
        ..Outage::default()
    }
}

fn nobody_connects() -> Outage {
    Outage {
        affects: vec![Affected::Connections],
        ..Outage::default()
    }
}

fn is_delivered(message: &Value) -> bool {
    message["delivered_at"].is_string()
}

async fn open_attempts(server: &TestServer) -> u64 {
    let health = server.get("/api/v1/health").await.json();
    health["open_attempts"].as_u64().unwrap()
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
    accept_from(server, 0).await;
}

async fn accept_from(server: &TestServer, first: usize) {
    let messages: Vec<Value> = (first..first + MESSAGES)
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

/// Those of the outage that concerns most.
async fn probes(server: &TestServer) -> i64 {
    let metrics = server.get("/metrics").await.text;
    metrics
        .lines()
        .filter(|line| line.starts_with("recado_provider_outage_probes"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .map(|probes| format!("{probes:.0}").parse::<i64>().unwrap())
        .max()
        .unwrap_or_default()
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
    // What is unknown waits for the proof that nobody got it.
    server
        .eventually_within(DEADLINE * 2, "everything delivered", async |server| {
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
