//! Senders: paused, nothing leaves; resumed, what is urgent goes first.

use serde_json::{Value, json};

use super::{encoded, problem, with};
use crate::server::{SENDER, TestServer, mobile, notice};

async fn set(server: &TestServer, name: &str, verb: &str) -> crate::client::Answer {
    server
        .post(&format!("/api/v1/senders/{name}/{verb}"), &Value::Null)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_while_paused_and_urgent_goes_first_after() {
    const OTHER: &str = "+551140000001";
    let server = TestServer::with(
        |settings| settings.senders.push(OTHER.to_owned()),
        &[
            ("TWILIO_WHATSAPP_FROM", &format!("{SENDER},{OTHER}")),
            ("RECADO_SENDER_RATE", "20"),
        ],
    )
    .await;
    let one = |answer: &crate::client::Answer| answer.json()["senders"][0].clone();
    let listed = one(&server.get("/api/v1/senders").await);
    let expected = json!({ "name": SENDER, "configured": true, "paused_at": null,
        "pause_reason": null, "pause_source": null, "queued": 0, "open": 0 });
    assert_eq!(listed, expected);
    let paused = one(&set(&server, &encoded(SENDER), "pause").await);
    assert_eq!(paused["pause_reason"], "operator");
    assert!(paused["paused_at"].is_string());
    let again = one(&set(&server, &format!("whatsapp:{SENDER}"), "pause").await);
    assert_eq!(
        again["paused_at"], paused["paused_at"],
        "paused since the first time"
    );
    let mut ids = Vec::new();
    for (place, priority) in [
        "bulk", "bulk", "normal", "bulk", "normal", "urgent", "urgent",
    ]
    .into_iter()
    .enumerate()
    {
        let body = format!("{priority} {place}");
        let message = with(
            notice(&mobile(place), &body),
            json!({ "from": SENDER, "priority": priority }),
        );
        ids.push(server.accept(message).await);
    }
    let health = server.get("/api/v1/health").await.json();
    assert_eq!(health["status"], "degraded");
    assert!(
        health["concerns"][0].as_str().unwrap().contains(SENDER),
        "{health:#}"
    );
    // What wakes the lane of the other sender wakes that of the paused one as well.
    assert!(server.sent_by_now(OTHER).await.is_empty(), "nothing leaves");
    assert_eq!(one(&server.get("/api/v1/senders").await)["queued"], 7);
    let resumed = one(&set(&server, SENDER, "resume").await);
    assert_eq!(
        (&resumed["paused_at"], &resumed["pause_reason"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(server.sent_by_now(SENDER).await.len(), 7);
    // Requests may overtake each other on their way; at this rate their attempts begin one by one.
    let mut order = Vec::new();
    for (place, id) in ids.iter().enumerate() {
        let started = &server.message(id).await["attempts"][0]["started_at"];
        order.push((started.as_str().unwrap().to_owned(), place));
    }
    order.sort();
    let order: Vec<usize> = order.into_iter().map(|(_, place)| place).collect();
    assert_eq!(order, [5, 6, 2, 4, 0, 1, 3]);
    let again = set(&server, SENDER, "resume").await;
    assert_eq!(again.status, 200, "resuming twice changes nothing");
    assert_eq!(server.get("/api/v1/health").await.json()["status"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_by_hand_outlives_the_process_and_unknown_senders_are_not_found() {
    let mut server = TestServer::start().await;
    for name in ["%2B551140000009", "x", "%ff"] {
        for verb in ["pause", "resume"] {
            problem(&set(&server, name, verb).await, 404, "not_found");
        }
    }
    assert_eq!(set(&server, SENDER, "pause").await.status, 200);
    let id = server.accept(notice(&mobile(1), "oi")).await;
    assert!(server.gateway.terminate().success());
    server.restart();
    assert_eq!(server.message(&id).await["state"], "accepted");
    let senders = server.get("/api/v1/senders").await.json();
    assert_eq!(senders["senders"][0]["pause_reason"], "operator");
    assert_eq!(set(&server, SENDER, "resume").await.status, 200);
    server
        .until(&id, |message| message["sent_at"].is_string())
        .await;
}
