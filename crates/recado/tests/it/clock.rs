//! A clock that is set back: everything goes on.

use std::time::Duration;

use delivery::time::Timestamp;
use recado::effects::{Clock, SystemClock};
use serde_json::{Value, json};
use simulator::CreateFault;

use crate::server::{SENDER, TestServer, mobile, notice};

const HOUR: Duration = Duration::from_secs(3_600);

fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.micros())
        .unwrap()
        .to_string()
}

async fn accept_some(server: &TestServer, from: usize, priority: &str) -> Vec<String> {
    let mut ids = Vec::new();
    for n in from..from + 15 {
        let mut message = notice(&mobile(n), "hoje");
        message["priority"] = json!(priority);
        ids.push(server.accept(message).await);
    }
    ids
}

/// A message that its caller wants to leave half an hour from now, as time really is.
fn scheduled() -> Value {
    let mut message = notice(&mobile(900), "mais tarde");
    let at = SystemClock.now().plus(HOUR / 2);
    message["send_at"] = json!(rfc3339(at));
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_stops_nobody() {
    let rate = [("RECADO_SENDER_RATE", "5")];
    let mut server = TestServer::with(|_| {}, &rate).await;
    let later = server.accept(scheduled()).await;
    let paused = format!("/api/v1/senders/{SENDER}/pause");
    assert_eq!(server.post(&paused, &json!({})).await.status, 200);
    server.restart_ahead(HOUR / 4);
    let before = accept_some(&server, 0, "normal").await;
    // By the clock as it is set now, these are due in a quarter of an hour.
    server.set_ahead(Duration::ZERO);
    let resume = paused.replace("pause", "resume");
    assert_eq!(server.post(&resume, &json!({})).await.status, 200);
    let after = accept_some(&server, 100, "bulk").await;
    for id in before.iter().chain(&after) {
        server.until(id, |m| m["sent_at"].is_string()).await;
    }
    let message = server.message(&later).await;
    assert_eq!(message["attempts"], json!([]), "{message:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_left_whose_clock_was_ahead_leaves_too() {
    let mut server = TestServer::start().await;
    let paused = format!("/api/v1/senders/{SENDER}/pause");
    server.restart_ahead(HOUR);
    assert_eq!(server.post(&paused, &json!({})).await.status, 200);
    let ids = accept_some(&server, 0, "normal").await;
    server.restart_in_present();
    let later = server.accept(scheduled()).await;
    let resume = paused.replace("pause", "resume");
    assert_eq!(server.post(&resume, &json!({})).await.status, 200);
    for id in &ids {
        server.until(id, |m| m["sent_at"].is_string()).await;
    }
    let log = server.gateway.log();
    assert_eq!(log.matches("the clock was set back").count(), 1, "{log}");
    let message = server.message(&later).await;
    assert_eq!(message["attempts"], json!([]), "{message:#}");
}

/// The last message that was answered is from the future then: nobody measures the list by it.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_from_the_future_does_not_make_the_list_late() {
    let mut server = TestServer::with(|_| {}, &[("RECADO_CLOCK_SCALE", "1000")]).await;
    server.restart_ahead(HOUR);
    let before = server.accept(notice(&mobile(1), "hoje")).await;
    server.until(&before, |m| m["sent_at"].is_string()).await;
    server.restart_in_present();
    let lost = mobile(2);
    let address = format!("whatsapp:{lost}");
    server
        .simulator
        .script(&address, 1, CreateFault::ResetBefore);
    let lost = server.accept(notice(&lost, "hoje")).await;
    let lost = server.until(&lost, |m| m["sent_at"].is_string()).await;
    assert_eq!(lost["attempts"][0]["outcome"], "absent", "{lost:#}");
}
