//! Senders: paused, nothing leaves; resumed, what is urgent goes first.

use serde_json::{Value, json};

use super::{encoded, problem, with};
use crate::house::{House, SENDER, mobile, notice};

async fn set(house: &House, name: &str, verb: &str) -> crate::house::Answer {
    house
        .post(&format!("/api/v1/senders/{name}/{verb}"), &Value::Null)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_while_paused_and_urgent_goes_first_after() {
    let house = House::with(|_| {}, &[("RECADO_SENDER_RATE", "20")]).await;
    let one = |answer: &crate::house::Answer| answer.json()["senders"][0].clone();
    let listed = one(&house.get("/api/v1/senders").await);
    let expected = json!({ "name": SENDER, "configured": true, "paused_at": null,
        "pause_reason": null, "queued": 0, "open": 0 });
    assert_eq!(listed, expected);
    let paused = one(&set(&house, &encoded(SENDER), "pause").await);
    assert_eq!(paused["pause_reason"], "operator");
    assert!(paused["paused_at"].is_string());
    let again = one(&set(&house, &format!("whatsapp:{SENDER}"), "pause").await);
    assert_eq!(
        again["paused_at"], paused["paused_at"],
        "paused since the first time"
    );
    let mut bodies = Vec::new();
    for (place, priority) in [
        "bulk", "bulk", "normal", "bulk", "normal", "urgent", "urgent",
    ]
    .into_iter()
    .enumerate()
    {
        let body = format!("{priority} {place}");
        house
            .accept(with(
                notice(&mobile(place), &body),
                json!({ "priority": priority }),
            ))
            .await;
        bodies.push(body);
    }
    let health = house.get("/api/v1/health").await.json();
    assert_eq!(health["status"], "degraded");
    assert!(
        health["concerns"][0].as_str().unwrap().contains(SENDER),
        "{health:#}"
    );
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(house.simulator.truth().is_empty(), "nothing leaves");
    assert_eq!(one(&house.get("/api/v1/senders").await)["queued"], 7);
    let resumed = one(&set(&house, SENDER, "resume").await);
    assert_eq!(
        (&resumed["paused_at"], &resumed["pause_reason"]),
        (&Value::Null, &Value::Null)
    );
    house
        .eventually("all sent", async |house| house.simulator.truth().len() == 7)
        .await;
    let sent: Vec<String> = house
        .simulator
        .truth()
        .iter()
        .map(|m| m.body.clone())
        .collect();
    let order = [5, 6, 2, 4, 0, 1, 3].map(|place| bodies[place].clone());
    assert_eq!(sent, order);
    let again = set(&house, SENDER, "resume").await;
    assert_eq!(again.status, 200, "resuming twice changes nothing");
    assert_eq!(house.get("/api/v1/health").await.json()["status"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_by_hand_outlives_the_process_and_unknown_senders_are_not_found() {
    let mut house = House::start().await;
    for name in ["%2B551140000009", "x", "%ff"] {
        for verb in ["pause", "resume"] {
            problem(&set(&house, name, verb).await, 404, "not_found");
        }
    }
    assert_eq!(set(&house, SENDER, "pause").await.status, 200);
    let id = house.accept(notice(&mobile(1), "oi")).await;
    assert!(house.gateway.terminate().success());
    house.restart();
    assert_eq!(house.message(&id).await["state"], "accepted");
    let senders = house.get("/api/v1/senders").await.json();
    assert_eq!(senders["senders"][0]["pause_reason"], "operator");
    assert_eq!(set(&house, SENDER, "resume").await.status, 200);
    house
        .until(&id, |message| message["sent_at"].is_string())
        .await;
}
