//! Ten thousand messages through a provider that cuts every fifth request after accepting it.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use simulator::{CreateFault, Faults, Share};

use crate::house::{House, TEMPLATE, mobile};

const MESSAGES: usize = 10_000;

fn cut(share: f64) -> Vec<Share> {
    vec![Share {
        share,
        fault: CreateFault::ResetAfter { after_bytes: None },
    }]
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_requests_are_settled_and_never_sent_again() {
    let house = after_the_storm().await;
    let copies = copies(&house);
    assert!(copies.values().all(|n| *n == 1), "something was sent twice");
    let messages = house.messages("").await;
    assert!(messages.iter().all(|m| m["possible_duplicate"] == false));
}

/// A house whose messages have all come to rest, each sent at least once.
async fn after_the_storm() -> House {
    let house = House::with(
        |settings| {
            settings.time_scale = 100.0;
            settings.faults = Faults {
                create: cut(0.2),
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
    let ids = accept(&house, 0, MESSAGES, "at_most_once").await;
    at_rest(&house).await;
    let unknown = house.messages("state=unknown").await;
    assert_eq!(house.messages("").await.len(), ids.len());
    assert_eq!(copies(&house).len(), MESSAGES, "something was never sent");
    assert!(
        unknown.is_empty(),
        "{} unknown, for example {:#}",
        unknown.len(),
        unknown[0]
    );
    let cut = house
        .simulator
        .truth()
        .iter()
        .filter(|t| t.answered == "reset")
        .count();
    assert!((1_500..2_500).contains(&cut), "{cut} requests were cut");
    house.assert_verified();
    house
}

/// The same storm without any evidence: no callbacks, and a list that shows a message when it is too
/// late.
async fn house_in_the_dark(cut_share: f64) -> House {
    House::with(
        |settings| {
            settings.time_scale = 100.0;
            settings.faults = Faults {
                create: cut(cut_share),
                callback_lost: 1.0,
                list_lag_ms: 3_600_000.0,
                ..Faults::default()
            };
        },
        &[("RECADO_CLOCK_SCALE", "1000")],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_in_doubt_is_marked() {
    let house = house_in_the_dark(0.2).await;
    accept(&house, 0, MESSAGES, "at_least_once").await;
    every_attempt_closed(&house).await;
    let copies = copies(&house);
    assert_eq!(copies.len(), MESSAGES, "something was never sent");
    let mut doubles = 0;
    for message in house.messages("").await {
        let count = copies[&format!("whatsapp:{}", message["to"].as_str().unwrap())];
        doubles += usize::from(count > 1);
        assert!(
            count == 1 || message["possible_duplicate"] == true,
            "sent {count} times and not marked: {message:#}"
        );
        assert!(count <= 2, "sent {count} times: {message:#}");
    }
    assert!((1_500..2_500).contains(&doubles), "{doubles} doubles");
    house.assert_verified();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_evidence_each_policy_does_what_it_says() {
    let house = house_in_the_dark(0.3).await;
    let each = 200;
    for (place, policy) in ["at_most_once", "at_least_once", "ask"].iter().enumerate() {
        accept(&house, place * each, each, policy).await;
    }
    every_attempt_closed(&house).await;
    let copies = copies(&house);
    let mut resent = 0;
    for message in house.messages("").await {
        let whole = house.message(message["id"].as_str().unwrap()).await;
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
    house.assert_verified();
}

async fn accept(house: &House, first: usize, count: usize, delivery: &str) -> Vec<String> {
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
        let answer = house
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
async fn every_attempt_closed(house: &House) {
    house
        .eventually("every attempt closed", async |house| {
            let mut moving = 0;
            for state in ["accepted", "sending", "queued"] {
                moving += house.messages(&format!("state={state}")).await.len();
            }
            let unknown = house.messages("state=unknown").await;
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
async fn at_rest(house: &House) {
    house
        .eventually("everything settled", async |house| {
            let numbers = house.get("/api/v1/metrics/delivery").await.json();
            let states = &numbers["groups"][0]["states"];
            let moving = ["accepted", "sending", "queued", "sent", "unknown"];
            let moving: i64 = moving
                .iter()
                .filter_map(|state| states[*state].as_i64())
                .sum();
            tokio::time::sleep(Duration::from_millis(200)).await;
            moving == 0
        })
        .await;
}

/// How often the provider accepted a message to each person; everybody gets one.
fn copies(house: &House) -> HashMap<String, usize> {
    let mut copies = HashMap::new();
    for truth in house.simulator.truth() {
        *copies.entry(truth.to).or_default() += 1;
    }
    copies
}
