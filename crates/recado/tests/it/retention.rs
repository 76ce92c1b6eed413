//! Old messages go from a server that runs, and what belongs to people stays; a clock that is wrong
//! removes nothing.

use std::time::Duration;

use serde_json::{Value, json};
use simulator::Inbound;

use crate::server::{SENDER, TestServer, mobile, notice};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// More than two steps of a removal.
const MANY: usize = 450;

async fn keeping() -> TestServer {
    TestServer::with(|_| {}, &[("RECADO_KEEP_DAYS", "8")]).await
}

async fn writes(server: &TestServer, person: usize, body: &str) {
    let inbound = Inbound {
        from: mobile(person),
        body: Some(body.to_owned()),
        ..Inbound::default()
    };
    let result = server.simulator.inbound(inbound).await;
    assert!(matches!(result.answered, Some(200..300)), "{result:?}");
}

async fn post_with_key(server: &TestServer, key: &str, message: &Value) -> String {
    let headers = [
        ("authorization", format!("Bearer {}", server.key)),
        ("content-type", "application/json".to_owned()),
        ("idempotency-key", key.to_owned()),
    ];
    let body = Some(message.to_string().into_bytes());
    let answer = server
        .request("POST", "/api/v1/messages", &headers, body)
        .await;
    assert!(matches!(answer.status, 200 | 202), "{}", answer.text);
    answer.json()["id"].as_str().unwrap().to_owned()
}

async fn is_there(server: &TestServer, id: &str) -> bool {
    let status = server.get(&format!("/api/v1/messages/{id}")).await.status;
    assert!(matches!(status, 200 | 404), "{status}");
    status == 200
}

async fn concerns(server: &TestServer) -> String {
    server.get("/api/v1/health").await.json()["concerns"].to_string()
}

/// Lets an hour pass, again and again, until a message is gone.
async fn until_gone(server: &TestServer, id: &str) {
    server
        .eventually("the old message goes", async |server| {
            server.pass(HOUR);
            tokio::time::sleep(Duration::from_millis(200)).await;
            !is_there(server, id).await
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_messages_go_while_everything_goes_on() {
    let mut server = keeping().await;
    let about = |version: u32| {
        let mut message = notice(&mobile(1), "entrevista");
        message["business_key"] = json!(format!("interview:1:v{version}"));
        message
    };
    let delivered = post_with_key(&server, "first", &about(2)).await;
    server.until_state(&delivered, "read").await;
    writes(&server, 2, "oi").await;
    writes(&server, 3, "SAIR").await;
    let consent = format!("/api/v1/consent?to={}", mobile(3).replace('+', "%2B"));
    let opted_out = server.get(&consent).await.json();
    assert_eq!(opted_out["consent"], "opted_out", "{opted_out:#}");
    // Many that rest without having been sent.
    let pause = format!("/api/v1/senders/{SENDER}/pause");
    assert_eq!(server.post(&pause, &Value::Null).await.status, 200);
    let many: Vec<Value> = (0..MANY).map(|n| notice(&mobile(1_000 + n), "a")).collect();
    let bulk = server
        .post("/api/v1/messages/bulk", &json!({ "messages": many }))
        .await;
    assert_eq!(bulk.status, 202, "{}", bulk.text);
    let since = jiff::Timestamp::now() - HOUR;
    let waiting = json!({ "state": "accepted", "since": since.to_string() });
    let canceled = server.post("/api/v1/messages/cancel", &waiting).await;
    assert_eq!(canceled.status, 200, "{}", canceled.text);
    let last = bulk.json()["results"][MANY - 1]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let scheduled = {
        let mut message = notice(&mobile(4), "depois");
        let at = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 60);
        message["send_at"] = json!(at.to_string());
        server.accept(message).await
    };
    let now = jiff::Timestamp::now();
    let (from, to) = (now - 24 * HOUR, now + 24 * HOUR);
    let numbers_url = format!("/api/v1/metrics/delivery?from={from}&to={to}");
    let numbers = server.get(&numbers_url).await;
    assert_eq!(numbers.status, 200, "{}", numbers.text);

    server.restart_ahead(Duration::ZERO);
    server.pass(9 * DAY);
    server.assert_verified();
    until_gone(&server, &delivered).await;
    // More than one step, and a recount between them.
    server.assert_verified();
    until_gone(&server, &last).await;
    server.assert_verified();
    assert!(is_there(&server, &scheduled).await, "it waits");
    let counted = server.get(&numbers_url).await;
    assert_eq!(counted.text, numbers.text, "what was counted stays");

    // Late callbacks about what is gone, with its key and by its SID alone.
    let truth = server.simulator.truth().remove(0);
    for url in [truth.status_callback.unwrap(), server.status_url()] {
        for status in ["delivered", "read", "failed"] {
            let answer = server.report(&url, &truth.sid, status).await;
            assert_eq!(answer.status, 204, "{status} {}", answer.text);
        }
    }
    // Neither the key of the request nor the version of the subject is known any more.
    let again = post_with_key(&server, "first", &about(1)).await;
    assert_ne!(again, delivered);
    let superseded = server.message(&again).await;
    assert_ne!(superseded["state"], "canceled", "{superseded:#}");
    // What people said stays.
    assert_eq!(server.get(&consent).await.json()["consent"], "opted_out");
    let refused = server.accept(notice(&mobile(3), "a")).await;
    server.until_state(&refused, "suppressed").await;
    server.assert_verified();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_forward_removes_nothing_for_a_day() {
    let mut server = keeping().await;
    server.restart_ahead(Duration::ZERO);
    let message = notice(&mobile(1), "a");
    let first = post_with_key(&server, "first", &message).await;
    let other = server.accept(notice(&mobile(2), "a")).await;
    // What is reported after the clock was set is not old.
    server.until_state(&first, "read").await;
    server
        .until(&other, |m| m["delivered_at"].is_string())
        .await;
    writes(&server, 3, "CANCELAR").await;
    assert!(!concerns(&server).await.contains("clock"));

    server.set_ahead(400 * DAY);
    server
        .eventually("the clock is doubted", async |server| {
            concerns(server).await.contains("Check the clock")
        })
        .await;
    // Nobody has forgotten the request, and no question has become an answer.
    assert_eq!(post_with_key(&server, "first", &message).await, first);
    let consent = format!("/api/v1/consent?to={}", mobile(3).replace('+', "%2B"));
    assert_eq!(server.get(&consent).await.json()["consent"], "asking");
    for _ in 0..5 {
        server.pass(HOUR);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(is_there(&server, &first).await);
    // Events of the wrong time are the newest now; a restart believes them no more than before.
    server.accept(notice(&mobile(4), "a")).await;
    server.restart_ahead(400 * DAY);
    server
        .eventually("the clock is still doubted", async |server| {
            concerns(server).await.contains("Check the clock")
        })
        .await;
    assert_eq!(post_with_key(&server, "first", &message).await, first);
    // Nobody has objected for a day, in which servers came and went.
    let mut ahead = 400 * DAY;
    for _ in 0..3 {
        server.pass(6 * HOUR);
        ahead += 6 * HOUR;
        server.restart_ahead(ahead);
    }
    server.pass(7 * HOUR);
    server
        .eventually("the clock is trusted", async |server| {
            !concerns(server).await.contains("Check the clock")
        })
        .await;
    until_gone(&server, &first).await;
    assert!(!concerns(&server).await.contains("Check the clock"));
    server.assert_verified();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_had_nothing_to_do_was_not_off() {
    let mut server = keeping().await;
    let id = server.accept(notice(&mobile(1), "a")).await;
    server.until_state(&id, "read").await;
    server.restart_ahead(Duration::ZERO);
    let mut ahead = Duration::ZERO;
    // A long weekend.
    for _ in 0..12 {
        server.pass(6 * HOUR);
        ahead += 6 * HOUR;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.restart_ahead(ahead + HOUR);
    let id = server.accept(notice(&mobile(2), "a")).await;
    server.until(&id, |m| m["delivered_at"].is_string()).await;
    assert!(!concerns(&server).await.contains("Check the clock"));
}
