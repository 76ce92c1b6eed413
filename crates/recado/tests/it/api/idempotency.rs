//! The same command twice is one message: idempotency keys, repeated content, business keys.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{field_problem, headers_once, in_seconds, later, problem, with};
use crate::client::Answer;
use crate::server::{TestServer, mobile, notice};

async fn post_once(server: &TestServer, key: &str, once: &str, message: &Value) -> Answer {
    let body = Some(message.to_string().into_bytes());
    server
        .request("POST", "/api/v1/messages", &headers_once(key, once), body)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_at_once_with_the_same_key_are_one_message() {
    let mut server = TestServer::start().await;
    let message = notice(&mobile(1), "oi");
    let answers = join_all((0..20).map(|_| post_once(&server, &server.key, "k-1", &message))).await;
    let first = answers[0].json();
    for answer in &answers {
        assert_eq!(answer.status, 202, "{}", answer.text);
        assert_eq!(answer.json(), first);
    }
    let replayed = answers
        .iter()
        .filter(|a| a.header("idempotency-replayed") == Some("true"));
    assert_eq!(replayed.count(), 19);
    let id = first["id"].as_str().unwrap().to_owned();
    server
        .until(&id, |message| message["delivered_at"].is_string())
        .await;
    // The answer stays as it was, whatever became of the message, also in another process.
    assert!(server.gateway.terminate().success());
    server.restart();
    let again = post_once(&server, &server.key, "k-1", &message).await;
    assert_eq!((again.status, again.json()), (202, first));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(server.messages("").await.len(), 1);
    assert_eq!(server.simulator.truth().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_belongs_to_one_body_and_one_caller() {
    let server = TestServer::start().await;
    let message = later(&mobile(1), "oi");
    let first = post_once(&server, &server.key, "k", &message).await;
    assert_eq!(first.status, 202);
    for other in [
        later(&mobile(2), "oi"),
        later(&mobile(1), "olá"),
        with(message.clone(), json!({ "priority": "urgent" })),
    ] {
        let answer = post_once(&server, &server.key, "k", &other).await;
        field_problem(&answer, "Idempotency-Key", "idempotency_key_reused");
    }
    let stranger = server.new_key("send");
    let other = with(message.clone(), json!({ "dedupe": "allow" }));
    let answer = post_once(&server, &stranger, "k", &other).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    assert_ne!(answer.json()["id"], first.json()["id"]);
    // A refused request leaves its key unused.
    let bad = with(message.clone(), json!({ "to": "123" }));
    assert_eq!(
        post_once(&server, &server.key, "fresh", &bad).await.status,
        422
    );
    let good = with(message, json!({ "to": mobile(5) }));
    assert_eq!(
        post_once(&server, &server.key, "fresh", &good).await.status,
        202
    );
    for once in [String::new(), "k".repeat(256)] {
        let answer = post_once(&server, &server.key, &once, &good).await;
        field_problem(&answer, "Idempotency-Key", "idempotency_key_invalid");
    }
    assert_eq!(server.messages("").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_after_the_deadline_gets_the_first_answer() {
    let mut server = TestServer::start().await;
    let message = with(
        notice(&mobile(1), "oi"),
        json!({ "expires_at": in_seconds(60) }),
    );
    let first = post_once(&server, &server.key, "k", &message).await;
    assert_eq!(first.status, 202, "{}", first.text);
    let own = json!({ "to": mobile(2), "idempotency_key": "own" });
    let items = [
        with(message.clone(), own),
        with(message.clone(), json!({ "to": mobile(3) })),
    ];
    let bulk = json!({ "messages": items }).to_string().into_bytes();
    let send_bulk = async |server: &TestServer| {
        let headers = headers_once(&server.key, "bulk");
        let path = "/api/v1/messages/bulk";
        server
            .request("POST", path, &headers, Some(bulk.clone()))
            .await
    };
    let both = send_bulk(&server).await;
    assert_eq!(both.status, 202, "{}", both.text);
    server.restart_ahead(Duration::from_secs(61));
    let again = post_once(&server, &server.key, "k", &message).await;
    assert_eq!(
        (again.status, again.json()),
        (202, first.json()),
        "{}",
        again.text
    );
    let again = send_bulk(&server).await;
    assert_eq!(
        (again.status, again.json()),
        (202, both.json()),
        "{}",
        again.text
    );
    // What is new is still refused.
    let other = post_once(&server, &server.key, "k2", &message).await;
    field_problem(&other, "expires_at", "expires_at_past");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_content_to_the_same_person_is_refused_unless_it_is_meant() {
    let server = TestServer::start().await;
    let first = server.accept(later("(85) 98000-0001", "oi")).await;
    for form in ["+5585980000001", "85 8000-0001", "whatsapp:+558580000001"] {
        let answer = server.post("/api/v1/messages", &notice(form, "oi")).await;
        let found = problem(&answer, 409, "duplicate_content");
        assert_eq!(found["message_id"], first, "{found:#}");
        assert!(
            found["detail"]
                .as_str()
                .unwrap()
                .contains("\"dedupe\": \"allow\"")
        );
    }
    let allowed = with(later(&mobile(1), "oi"), json!({ "dedupe": "allow" }));
    assert_ne!(server.accept(allowed).await, first);
    server.accept(later(&mobile(2), "oi")).await;
    server.accept(later(&mobile(1), "olá")).await;
    let text = json!({ "to": mobile(3), "body": "oi", "window": "assume_open",
        "send_at": in_seconds(60) });
    server.accept(text.clone()).await;
    problem(
        &server.post("/api/v1/messages", &text).await,
        409,
        "duplicate_content",
    );
    // What was canceled never reached the person.
    let canceled = server.accept(later(&mobile(4), "oi")).await;
    server
        .post(&format!("/api/v1/messages/{canceled}/cancel"), &json!({}))
        .await;
    server.accept(later(&mobile(4), "oi")).await;
    let at_once = join_all((0..10).map(|_| async {
        server
            .post("/api/v1/messages", &later(&mobile(5), "oi"))
            .await
            .status
    }))
    .await;
    assert_eq!(at_once.iter().filter(|status| **status == 202).count(), 1);
    assert_eq!(at_once.iter().filter(|status| **status == 409).count(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_in_which_content_counts_as_repeated_is_a_setting() {
    let server = TestServer::with(|_| {}, &[("RECADO_DEDUPE_SECONDS", "0")]).await;
    server.accept(later(&mobile(1), "oi")).await;
    server.accept(later(&mobile(1), "oi")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_notice_takes_the_place_of_an_unsent_older_one() {
    let server = TestServer::start().await;
    let notice_of =
        |key: &str, text: &str| with(later(&mobile(1), text), json!({ "business_key": key }));
    let first = server
        .accept(notice_of("interview:42:v1", "às 14:00"))
        .await;
    let other = server.accept(notice_of("interview:43:v1", "às 9:00")).await;
    let second = server
        .accept(notice_of("interview:42:v2", "às 15:00"))
        .await;
    let message = server.message(&first).await;
    assert_eq!(message["state"], "canceled");
    let last = message["history"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert_eq!(last["event"], "message.superseded");
    assert_eq!(server.message(&other).await["state"], "scheduled");
    for late in ["interview:42:v1", "interview:42:v2"] {
        let answer = server.post("/api/v1/messages", &notice_of(late, "x")).await;
        let found = problem(&answer, 409, "superseded");
        assert_eq!(found["message_id"], second);
    }
    assert_eq!(server.message(&second).await["state"], "scheduled");
    let plain = server.accept(notice_of("lunch", "a")).await;
    server.accept(notice_of("lunch", "b")).await;
    assert_eq!(server.message(&plain).await["state"], "canceled");
    // What has left stays as it is.
    let sent = with(notice(&mobile(2), "a"), json!({ "business_key": "x:v1" }));
    let sent = server.accept(sent).await;
    server
        .until(&sent, |message| message["sent_at"].is_string())
        .await;
    let newer = with(notice(&mobile(2), "b"), json!({ "business_key": "x:v2" }));
    let newer = server.accept(newer).await;
    server
        .until(&newer, |message| message["sent_at"].is_string())
        .await;
    assert_ne!(server.message(&sent).await["state"], "canceled");
    assert_eq!(server.simulator.truth().len(), 2);
}
