//! Two notices by two templates with the same values go to one person. Twilio never had the first,
//! has the second, and answers neither. No notice ever takes the message of the other.

use std::collections::HashMap;

use serde_json::{Value, json};
use simulator::Faults;

use crate::client::Http;
use crate::server::{TestServer, mobile};

const PAIRS: usize = 20;
const CONFIRMATION: &str = "HX0000000000000000000000000000000a";
const REMINDER: &str = "HX0000000000000000000000000000000b";

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_notice_is_sent_again_and_never_takes_the_message_of_its_twin() {
    let (server, pairs) = pairs(0.0).await;
    for (lost, taken) in &pairs {
        let taken = server.until(taken, |m| m["delivered_at"].is_string()).await;
        let lost = server.until(lost, |m| m["delivered_at"].is_string()).await;
        assert_ne!(lost["provider_sid"], taken["provider_sid"]);
        assert_eq!(lost["attempts"][0]["outcome"], "absent", "{lost:#}");
        assert_eq!(lost["possible_duplicate"], false, "{lost:#}");
    }
    let bodies = bodies(&server);
    assert_eq!(bodies.len(), 2 * PAIRS, "each was accepted once");
    for (lost, taken) in &pairs {
        assert!(body(&server, &bodies, lost).await.contains("confirmado"));
        assert!(body(&server, &bodies, taken).await.contains("lembrete"));
    }
}

/// Nothing but the list tells what became of the requests. It shows whose the one message is, and
/// does not prove that it is not the other's: that one is sent to nobody twice, and people are told.
#[tokio::test(flavor = "multi_thread")]
async fn without_callbacks_a_lost_notice_stays_unknown_and_its_twin_is_found() {
    let (server, pairs) = pairs(1.0).await;
    for (lost, taken) in &pairs {
        let taken = server.until(taken, |m| m["provider_sid"].is_string()).await;
        assert_eq!(taken["attempts"][0]["settled_by"], "list", "{taken:#}");
        let told = |m: &Value| {
            let history = m["history"].as_array().unwrap();
            history.iter().any(|event| event["detail"] == "candidate")
        };
        let lost = server.until(lost, told).await;
        assert_eq!(lost["state"], "unknown", "{lost:#}");
        assert_eq!(lost["provider_sid"], Value::Null, "{lost:#}");
    }
    let bodies = bodies(&server);
    assert_eq!(bodies.len(), PAIRS, "nothing was sent twice");
    for (_, taken) in &pairs {
        assert!(body(&server, &bodies, taken).await.contains("lembrete"));
    }
}

/// With the very same values nothing but a callback tells which of the two it is.
#[tokio::test(flavor = "multi_thread")]
async fn of_twins_with_equal_values_neither_is_taken_for_the_other() {
    let (server, pairs) = pairs_with(1.0, json!({ "1": "Maria", "2": "14:00" })).await;
    for (lost, taken) in &pairs {
        let told = |m: &Value| {
            let history = m["history"].as_array().unwrap();
            history.iter().any(|event| event["detail"] == "candidate")
        };
        let lost = server.until(lost, told).await;
        assert_eq!(lost["provider_sid"], Value::Null, "{lost:#}");
        let taken = server.message(taken).await;
        if taken["provider_sid"].is_string() {
            let bodies = bodies(&server);
            let body = body(&server, &bodies, taken["id"].as_str().unwrap()).await;
            assert!(body.contains("lembrete"), "{body}");
        }
    }
    assert_eq!(bodies(&server).len(), PAIRS, "nothing was sent twice");
}

/// Pairs of notices to one person each: Twilio never had the first, and has the second.
async fn pairs(callback_lost: f64) -> (TestServer, Vec<(String, String)>) {
    let values = json!({ "1": "Maria", "2": "14:00", "3": "Rua Azul 7" });
    pairs_with(callback_lost, values).await
}

/// The same with these values of the second.
async fn pairs_with(callback_lost: f64, values: Value) -> (TestServer, Vec<(String, String)>) {
    let server = TestServer::with(
        |settings| {
            settings.faults = Faults {
                callback_lost,
                ..Faults::default()
            };
        },
        // An hour, after which people are told, is 9 s.
        &[("RECADO_CLOCK_SCALE", "400")],
    )
    .await;
    let simulator = &server.simulator;
    simulator.set_template(CONFIRMATION, "Olá {{1}}, confirmado: hoje às {{2}}.");
    simulator.set_template(REMINDER, "Olá {{1}}, lembrete: hoje às {{2}}, {{3}}.");
    let mut pairs = Vec::new();
    for n in 0..PAIRS {
        let to = mobile(n);
        script(&server, &to, &json!({ "kind": "reset_before" })).await;
        script(&server, &to, &json!({ "kind": "reset_after" })).await;
        let lost = json!({
            "to": to, "content_sid": CONFIRMATION,
            "variables": { "1": "Maria", "2": "14:00" },
        });
        let taken = json!({
            "to": to, "content_sid": REMINDER,
            "variables": values,
        });
        let lost = server.accept(lost).await;
        server
            .until(&lost, |m| m["attempts"][0]["outcome"] == "unknown")
            .await;
        pairs.push((lost, server.accept(taken).await));
    }
    (server, pairs)
}

/// The text of each message that Twilio has, by SID.
fn bodies(server: &TestServer) -> HashMap<String, String> {
    let truth = server.simulator.truth().into_iter();
    truth.map(|truth| (truth.sid, truth.body)).collect()
}

async fn body(server: &TestServer, bodies: &HashMap<String, String>, id: &str) -> String {
    let message = server.message(id).await;
    bodies[message["provider_sid"].as_str().unwrap()].clone()
}

/// What happens to the next create to a number.
async fn script(server: &TestServer, to: &str, fault: &Value) {
    let script = json!({ "to": format!("whatsapp:{to}"), "fault": fault });
    let url = format!("{}/simulator/script", server.simulator.url());
    let headers = [("content-type", "application/json".to_owned())];
    let body = Some(script.to_string().into_bytes());
    let answer = Http::new().request("POST", &url, &headers, body).await;
    assert!(answer.unwrap().status < 300);
}
