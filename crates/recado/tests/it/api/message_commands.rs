//! Cancel, retry, schedule, expire.

use std::time::Duration;

use serde_json::{Value, json};
use simulator::{Phone, PhoneBehavior};

use super::{in_seconds, later, problem, with};
use crate::client::Answer;
use crate::server::{SENDER, TestServer, mobile, notice};

async fn command(server: &TestServer, id: &str, verb: &str) -> Answer {
    server
        .post(&format!("/api/v1/messages/{id}/{verb}"), &Value::Null)
        .await
}

async fn pause(server: &TestServer, verb: &str) {
    let answer = server
        .post(&format!("/api/v1/senders/{SENDER}/{verb}"), &Value::Null)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_left_can_be_canceled_once_and_for_all() {
    let server = TestServer::start().await;
    pause(&server, "pause").await;
    let accepted = server.accept(notice(&mobile(1), "a")).await;
    let scheduled = server.accept(later(&mobile(2), "b")).await;
    for id in [&accepted, &scheduled] {
        for changed in [true, false, false] {
            let answer = command(&server, id, "cancel").await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            let expected = json!({ "id": id, "state": "canceled", "changed": changed });
            assert_eq!(answer.json(), expected);
        }
        let message = server.message(id).await;
        assert_eq!(message["state"], "canceled");
        assert_eq!(message["due_at"], Value::Null);
        let history = message["history"].as_array().unwrap();
        let canceled = history
            .iter()
            .filter(|entry| entry["event"] == "message.canceled");
        assert_eq!(canceled.count(), 1);
        problem(&command(&server, id, "retry").await, 409, "cannot_retry");
    }
    pause(&server, "resume").await;
    let sent = server.accept(notice(&mobile(3), "c")).await;
    server
        .until(&sent, |message| message["delivered_at"].is_string())
        .await;
    let found = problem(
        &command(&server, &sent, "cancel").await,
        409,
        "cannot_cancel",
    );
    let detail = found["detail"].as_str().unwrap();
    assert!(
        detail.contains("delivered") || detail.contains("read"),
        "{detail}"
    );
    assert_eq!(
        server.sent_by_now(SENDER).await.len(),
        1,
        "what was canceled never left"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_one_new_attempt_however_often_it_is_asked_for() {
    let server = TestServer::with(
        |settings| {
            let (number, character) = (mobile(1), PhoneBehavior::Fails(63_013));
            settings.phones = vec![Phone { number, character }];
        },
        &[],
    )
    .await;
    let id = server.accept(notice(&mobile(1), "a")).await;
    server.until_state(&id, "failed").await;
    pause(&server, "pause").await;
    server.simulator.set_phones(vec![Phone {
        number: mobile(1),
        character: PhoneBehavior::ReadsAtOnce,
    }]);
    for changed in [true, false, false] {
        let answer = command(&server, &id, "retry").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let expected = json!({ "id": id, "state": "scheduled", "changed": changed });
        assert_eq!(answer.json(), expected);
    }
    pause(&server, "resume").await;
    let message = server.until_state(&id, "read").await;
    assert_eq!(
        message["attempts"].as_array().unwrap().len(),
        2,
        "{message:#}"
    );
    assert_eq!(message["possible_duplicate"], false);
    assert_eq!(message["failed_at"], Value::Null);
    assert_eq!(message["error"], Value::Null, "{message:#}");
    let answer = command(&server, &id, "retry").await.json();
    assert_eq!(
        (&answer["state"], &answer["changed"]),
        (&json!("read"), &json!(false))
    );
    assert_eq!(server.simulator.truth().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_leaves_at_its_time_and_not_before() {
    let server = TestServer::start().await;
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_millis(1_200);
    let soon = with(
        notice(&mobile(1), "a"),
        json!({ "send_at": format!("{at:.6}") }),
    );
    let past = with(
        notice(&mobile(2), "b"),
        json!({ "send_at": in_seconds(-86_400) }),
    );
    let soon = server.accept(soon).await;
    let message = server.message(&soon).await;
    assert_eq!(message["state"], "scheduled");
    assert_eq!(message["attempts"], json!([]));
    // A time that has passed means at once.
    let past = server.accept(past).await;
    let message = server
        .until(&past, |message| message["sent_at"].is_string())
        .await;
    assert_eq!(message["send_at"], Value::Null);
    let message = server
        .until(&soon, |message| message["sent_at"].is_string())
        .await;
    let started: jiff::Timestamp = message["attempts"][0]["started_at"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(started >= at, "{started} {at}");
    assert!(
        started < at + jiff::SignedDuration::from_secs(5),
        "{started} {at}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_expires_while_it_waits_is_never_sent() {
    let mut server = TestServer::start().await;
    pause(&server, "pause").await;
    let deadline = json!({ "expires_at": in_seconds(60) });
    let short = server.accept(with(notice(&mobile(1), "a"), deadline)).await;
    let long = json!({ "expires_at": in_seconds(3_600) });
    let long = server.accept(with(notice(&mobile(2), "b"), long)).await;
    server.restart_ahead(Duration::from_secs(61));
    let message = server.until_state(&short, "expired").await;
    assert_eq!(message["attempts"], json!([]));
    assert_eq!(
        message["history"].as_array().unwrap().last().unwrap()["event"],
        "message.expired"
    );
    problem(
        &command(&server, &short, "cancel").await,
        409,
        "cannot_cancel",
    );
    problem(
        &command(&server, &short, "retry").await,
        409,
        "cannot_retry",
    );
    pause(&server, "resume").await;
    server
        .until(&long, |message| message["sent_at"].is_string())
        .await;
    let sent = server.sent_by_now(SENDER).await;
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].body, "b");
}
