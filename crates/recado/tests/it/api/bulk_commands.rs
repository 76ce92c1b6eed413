//! One command for many messages: counted first, changed step by step, never more than the filter says.

use serde_json::{Value, json};
use simulator::{Phone, PhoneBehavior};

use super::{field_problem, fields, in_seconds, later, problem, with};
use crate::client::Answer;
use crate::server::{SENDER, TEMPLATE, TestServer, mobile, notice};

async fn ask(server: &TestServer, verb: &str, filter: &Value) -> Answer {
    let path = format!("/api/v1/messages/{verb}");
    server.post(&path, filter).await
}

async fn good(server: &TestServer, verb: &str, filter: &Value) -> Value {
    let answer = ask(server, verb, filter).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

/// `matched`, `affected` and `skipped`.
#[track_caller]
fn numbers(answer: &Value) -> [u64; 3] {
    ["matched", "affected", "skipped"].map(|name| answer[name].as_u64().unwrap())
}

async fn states(server: &TestServer, ids: &[String]) -> Vec<String> {
    let mut states = Vec::new();
    for id in ids {
        let message = server.message(id).await;
        states.push(message["state"].as_str().unwrap().to_owned());
    }
    states
}

/// A server that is paused: messages 1 and 2 failed with one code, 3 with another, 4 waits.
async fn four_messages() -> (TestServer, Vec<String>) {
    let codes = [(1, 63_013), (2, 63_013), (3, 63_019)];
    let server = TestServer::with(
        |settings| {
            let phone = |(n, code)| Phone {
                number: mobile(n),
                character: PhoneBehavior::Fails(code),
            };
            settings.phones = codes.map(phone).to_vec();
        },
        &[],
    )
    .await;
    let mut ids = Vec::new();
    for (n, _) in codes {
        let id = server.accept(notice(&mobile(n), "a")).await;
        server.until_state(&id, "failed").await;
        ids.push(id);
    }
    let path = format!("/api/v1/senders/{SENDER}/pause");
    assert_eq!(server.post(&path, &Value::Null).await.status, 200);
    ids.push(server.accept(later(&mobile(4), "a")).await);
    (server, ids)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_counts_and_changes_nothing() {
    let (server, ids) = four_messages().await;
    let before = states(&server, &ids).await;
    let counted = good(
        &server,
        "retry",
        &json!({ "state": "failed", "dry_run": true }),
    )
    .await;
    assert_eq!(numbers(&counted), [3, 0, 0], "{counted:#}");
    assert_eq!(counted["dry_run"], true);
    assert_eq!(counted["by_state"], json!({ "failed": 3 }));
    assert_eq!(counted["by_code"], json!({ "63013": 2, "63019": 1 }));
    assert_eq!(counted["by_sender"], json!({ SENDER: 3 }));
    assert_eq!(counted["next_cursor"], Value::Null);
    let since = in_seconds(-600);
    let waits = json!({ "state": "scheduled", "since": since, "dry_run": true });
    let waits = good(&server, "cancel", &waits).await;
    assert_eq!(numbers(&waits), [1, 0, 0]);
    assert_eq!(waits["by_code"], json!({ "none": 1 }));
    assert_eq!(states(&server, &ids).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_filter_says_is_changed_and_only_once() {
    let (server, ids) = four_messages().await;
    let other_template = format!("HX{}", "a".repeat(32));
    for nothing in [
        json!({ "sender": "+551149999999" }),
        json!({ "template": other_template }),
        json!({ "error_code": 63_003 }),
        json!({ "until": in_seconds(-600) }),
        json!({ "state": "undelivered" }),
    ] {
        let filter = with(json!({ "state": "failed" }), nothing);
        let answer = good(&server, "retry", &filter).await;
        assert_eq!(numbers(&answer), [0, 0, 0], "{filter}");
    }
    let filter = json!({
        "state": "failed", "error_code": 63_013, "since": in_seconds(-600),
        "sender": format!("whatsapp:{SENDER}"), "template": TEMPLATE,
    });
    let answer = good(&server, "retry", &filter).await;
    assert_eq!(numbers(&answer), [2, 2, 0], "{answer:#}");
    let expected = ["scheduled", "scheduled", "failed", "scheduled"];
    assert_eq!(states(&server, &ids).await, expected);
    assert_eq!(numbers(&good(&server, "retry", &filter).await), [0, 0, 0]);
    for id in ids.iter().take(2) {
        let message = server.message(id).await;
        let history = message["history"].as_array().unwrap();
        let decided = history
            .iter()
            .filter(|entry| entry["event"] == "message.retry_decided");
        assert_eq!(decided.count(), 1, "{message:#}");
    }
    let filter = json!({ "state": "scheduled", "since": in_seconds(-600) });
    assert_eq!(numbers(&good(&server, "cancel", &filter).await), [3, 3, 0]);
    assert_eq!(numbers(&good(&server, "cancel", &filter).await), [0, 0, 0]);
    let expected = ["canceled", "canceled", "failed", "canceled"];
    assert_eq!(states(&server, &ids).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_changed_in_steps_and_what_is_accepted_meanwhile_is_not() {
    let server = TestServer::start().await;
    for part in 0..3 {
        let items: Vec<Value> = (0..900)
            .map(|n| later(&mobile(part * 900 + n), "a"))
            .collect();
        let items = json!({ "messages": items });
        let answer = server.post("/api/v1/messages/bulk", &items).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
    let mut filter = json!({ "state": "scheduled", "since": in_seconds(-600) });
    let counted = with(filter.clone(), json!({ "dry_run": true }));
    let counted = good(&server, "cancel", &counted).await;
    assert_eq!(numbers(&counted), [2_700, 0, 0]);
    filter["until"] = counted["until"].clone();
    let meanwhile = server.accept(later(&mobile(9_999), "a")).await;
    filter["limit"] = json!(100);
    let mut steps = Vec::new();
    loop {
        let answer = good(&server, "cancel", &filter).await;
        steps.push(numbers(&answer)[1]);
        filter["limit"] = json!(1_000);
        match &answer["next_cursor"] {
            Value::Null => break,
            next => filter["cursor"] = next.clone(),
        }
    }
    assert_eq!(steps, [100, 1_000, 1_000, 600]);
    let waiting = server.messages("state=scheduled").await;
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0]["id"], meanwhile.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_cannot_be_served_is_refused_with_the_reason() {
    let server = TestServer::start().await;
    for (verb, state) in [("cancel", "accepted"), ("cancel", "scheduled")] {
        let answer = ask(&server, verb, &json!({ "state": state })).await;
        let found = field_problem(&answer, "since", "filter_not_indexed");
        assert!(found["detail"].as_str().unwrap().contains(state));
        let by_code = json!({ "state": state, "error_code": 63_013 });
        good(&server, verb, &by_code).await;
    }
    for (verb, states) in [
        (
            "retry",
            &["accepted", "scheduled", "sending", "read", "canceled"][..],
        ),
        ("cancel", &["failed", "sending", "unknown", "expired"]),
    ] {
        for state in states {
            let filter = json!({ "state": state, "since": in_seconds(-60) });
            let answer = ask(&server, verb, &filter).await;
            let found = field_problem(&answer, "state", "state_unsuitable");
            assert!(found["detail"].as_str().unwrap().contains("held"));
        }
    }
    let all_cursor = server.get("/api/v1/messages?limit=1").await.json();
    assert_eq!(all_cursor["next_cursor"], Value::Null);
    for (more, field, code) in [
        (json!({ "since": "yesterday" }), "since", "time_invalid"),
        (json!({ "until": "today" }), "until", "time_invalid"),
        (json!({ "since": in_seconds(60) }), "since", "range_invalid"),
        (json!({ "template": "HX1" }), "template", "template_invalid"),
        (json!({ "cursor": "x" }), "cursor", "cursor_invalid"),
        (json!({ "limit": 1_001 }), "limit", "limit_invalid"),
        (json!({ "limit": 0 }), "limit", "limit_invalid"),
        (json!({ "state": "flying" }), "state", "state_unknown"),
        (json!({ "status": "failed" }), "status", "unknown_field"),
    ] {
        let filter = with(json!({ "state": "failed" }), more);
        field_problem(&ask(&server, "retry", &filter).await, field, code);
    }
    field_problem(
        &ask(&server, "retry", &json!({})).await,
        "state",
        "field_missing",
    );
    let wrong = json!({ "state": "flying", "limit": 0, "since": "x" });
    let wrong = ask(&server, "cancel", &wrong).await;
    let found = problem(&wrong, 422, "invalid_request");
    assert_eq!(fields(&found), ["state", "since", "limit"]);
}
