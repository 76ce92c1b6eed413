//! In the middle of a campaign the limit of the sender is reached for a while.

use serde_json::json;
use simulator::Rule;

use crate::api::in_seconds;
use crate::server::{SENDER, TestServer, mobile, notice};

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_the_sender_costs_a_few_requests_and_no_message() {
    const PEOPLE: usize = 800;
    let rate = [("RECADO_SENDER_RATE", "100")];
    let server = TestServer::with(|_| {}, &rate).await;
    server.simulator.set_rules(vec![Rule {
        sender: Some(SENDER.to_owned()),
        to_ms: Some(5_000.0),
        after: 100,
        fails: Some(63_018),
        ..Rule::default()
    }]);
    let messages: Vec<_> = (0..PEOPLE)
        .map(|n| {
            let mut message = notice(&mobile(n), "campanha");
            message["expires_at"] = json!(in_seconds(120));
            message
        })
        .collect();
    let body = json!({ "messages": messages });
    let answer = server.post("/api/v1/messages/bulk", &body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    server
        .eventually("everybody has got it", async |server| {
            let numbers = server.get("/api/v1/metrics/delivery").await.json();
            let states = &numbers["groups"][0]["states"];
            let count = |state: &str| states[state].as_u64().unwrap_or_default();
            let lost = ["failed", "undelivered", "expired"].map(count);
            assert_eq!(lost, [0; 3], "{states}");
            count("delivered") + count("read") == PEOPLE as u64
        })
        .await;
    let spent = server.simulator.truth().len() - PEOPLE;
    assert!(spent > 0, "the limit was reached");
    assert!(spent <= 40, "{spent} requests were spent on the limit");
}
