//! Many messages in one request: a result for each, and one commit.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{field_problem, later, post_text, problem, well_formed, with};
use crate::server::{TestServer, mobile, notice};

async fn bulk(server: &TestServer, items: &[Value]) -> crate::client::Answer {
    server
        .post("/api/v1/messages/bulk", &json!({ "messages": items }))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_are_taken_in_order_and_more_are_refused() {
    let server = TestServer::start().await;
    // Together above the limit of other requests, and below the one of this.
    let filler = json!({ "metadata": { "filler": "x".repeat(1_200) } });
    let items: Vec<Value> = (0..1_000)
        .map(|n| with(later(&mobile(n), "oi"), filler.clone()))
        .collect();
    let mut more = items.clone();
    more.push(later(&mobile(1_000), "oi"));
    let answer = bulk(&server, &more).await;
    let found = field_problem(&answer, "messages", "messages_count");
    assert!(
        found["detail"].as_str().unwrap().contains("1000"),
        "{found:#}"
    );
    field_problem(&bulk(&server, &[]).await, "messages", "messages_count");
    assert!(server.messages("").await.is_empty());

    let answer = bulk(&server, &items).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let answer = answer.json();
    assert_eq!(
        (&answer["accepted"], &answer["refused"]),
        (&json!(1_000), &json!(0))
    );
    let results = answer["results"].as_array().unwrap();
    let mut ids = HashSet::new();
    for (place, result) in results.iter().enumerate() {
        assert_eq!(result["index"], place);
        assert_eq!(result["status"], 202);
        assert_eq!(result["state"], "scheduled");
        assert_eq!(result["to"], mobile(place));
        assert!(ids.insert(result["id"].as_str().unwrap().to_owned()));
    }
    let listed = server.messages("").await;
    assert_eq!(listed.len(), 1_000);
    // Newest first, in the order of the request.
    for (message, result) in listed.iter().rev().zip(results) {
        assert_eq!(message["id"], result["id"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_may_use_one_business_key_for_everybody() {
    let server = TestServer::start().await;
    let keyed = |n: usize, more: Value| {
        let message = with(
            notice(&mobile(n), "oi"),
            json!({ "business_key": "campaign-7" }),
        );
        with(message, more)
    };
    let items: Vec<Value> = (0..20).map(|n| keyed(n, json!({}))).collect();
    let answer = bulk(&server, &items).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    for result in answer.json()["results"].as_array().unwrap() {
        let id = result["id"].as_str().unwrap();
        server
            .until(id, |message| message["delivered_at"].is_string())
            .await;
    }
    let account = json!({ "business_scope": "account", "dedupe": "allow" });
    let items = [keyed(1, account.clone()), keyed(2, account)];
    let answer = bulk(&server, &items).await;
    assert_eq!(answer.status, 207, "{}", answer.text);
    let results = answer.json()["results"].clone();
    assert_eq!(results[1]["status"], 409);
    assert_eq!(results[1]["error"]["code"], "business_key_repeated");
    assert_eq!(results[1]["error"]["message_id"], results[0]["id"]);
    well_formed(&results[1]["error"], 409);
    let wrong = with(
        later(&mobile(1), "x"),
        json!({ "business_scope": "account" }),
    );
    let answer = server.post("/api/v1/messages", &wrong).await;
    field_problem(&answer, "business_scope", "business_scope_without_key");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_item_has_a_result_of_its_own() {
    let server = TestServer::start().await;
    let opted_out = json!({ "to": mobile(9), "consent": "opted_out" });
    assert_eq!(server.put("/api/v1/consent", &opted_out).await.status, 200);
    let key = |n: usize, key: &str| with(later(&mobile(n), "k"), json!({ "idempotency_key": key }));
    let items = [
        later(&mobile(1), "oi"),
        later("123", "oi"),
        json!(5),
        Value::Null,
        json!([]),
        with(later(&mobile(2), "oi"), json!({ "color": 1 })),
        json!({ "to": mobile(3), "body": "oi" }),
        later("85 8000-0001", "oi"),
        key(4, "a"),
        key(4, "a"),
        key(5, "a"),
        later(&mobile(9), "oi"),
        with(later(&mobile(6), "oi"), json!({ "from": "+551140000009" })),
        key(7, ""),
    ];
    let answer = bulk(&server, &items).await;
    assert_eq!(answer.status, 207, "{}", answer.text);
    let answer = answer.json();
    let results = answer["results"].as_array().unwrap();
    let expected = [
        (202, "scheduled"),
        (422, "bad_length"),
        (422, "wrong_type"),
        (422, "wrong_type"),
        (422, "wrong_type"),
        (422, "unknown_field"),
        (422, "window_closed"),
        (409, "duplicate_content"),
        (202, "scheduled"),
        (202, "scheduled"),
        (422, "idempotency_key_reused"),
        (202, "suppressed"),
        (422, "unknown_sender"),
        (422, "idempotency_key_invalid"),
    ];
    assert_eq!(results.len(), expected.len());
    for (place, ((status, word), result)) in expected.iter().zip(results).enumerate() {
        assert_eq!(result["index"], place);
        assert_eq!(result["status"], *status, "{place} {result:#}");
        if *status == 202 {
            assert_eq!(result["state"], *word, "{place} {result:#}");
            assert!(result["error"].is_null());
        } else {
            assert_eq!(result["error"]["code"], *word, "{place} {result:#}");
            well_formed(&result["error"], *status);
            assert!(result["id"].is_null() && result["state"].is_null());
        }
    }
    assert_eq!(results[7]["error"]["message_id"], results[0]["id"]);
    assert_eq!(
        results[8]["id"], results[9]["id"],
        "the same key is the same message"
    );
    assert_eq!(
        (&answer["accepted"], &answer["refused"]),
        (&json!(4), &json!(10))
    );
    assert_eq!(server.messages("").await.len(), 3);
    let nothing = bulk(&server, &[json!(1)]).await;
    assert_eq!(nothing.status, 207);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_gives_the_same_ids_and_sends_nothing_twice() {
    let server = TestServer::start().await;
    let items: Vec<Value> = (0..50)
        .map(|n| {
            with(
                notice(&mobile(n), "oi"),
                json!({ "idempotency_key": format!("k{n}") }),
            )
        })
        .collect();
    let first = bulk(&server, &items).await;
    assert_eq!(first.status, 202, "{}", first.text);
    server
        .eventually("all sent", async |server| {
            server.simulator.truth().len() >= 50
        })
        .await;
    let again = bulk(&server, &items).await;
    assert_eq!((again.status, again.json()), (202, first.json()));
    let more = with(
        notice(&mobile(90), "oi"),
        json!({ "idempotency_key": "k90" }),
    );
    let mut longer = items.clone();
    longer.insert(0, more);
    let third = bulk(&server, &longer).await.json();
    assert_eq!(third["results"][1]["id"], first.json()["results"][0]["id"]);
    server
        .eventually("the new one is sent", async |server| {
            server.simulator.truth().len() >= 51
        })
        .await;
    assert_eq!(server.messages("").await.len(), 51);
    // The key of an item and the header of a single message are the same keys.
    let single = notice(&mobile(0), "oi").to_string();
    let once = super::headers_once(&server.key, "k0");
    let answer = server
        .request("POST", "/api/v1/messages", &once, Some(single.into_bytes()))
        .await;
    field_problem(&answer, "Idempotency-Key", "idempotency_key_reused");
    assert_eq!(server.simulator.truth().len(), 51);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_stores_nothing() {
    let server = TestServer::start().await;
    let good = later(&mobile(1), "oi").to_string();
    for (text, status, code) in [
        (
            format!("{{\"messages\": [{good}, {{]}}"),
            400,
            "malformed_json",
        ),
        (format!("{{\"messages\": [{good}]"), 400, "malformed_json"),
        (
            format!("{{\"messages\": [{good}]}} x"),
            400,
            "malformed_json",
        ),
        (
            format!("{{\"messages\": [{good}], \"dry_run\": true}}"),
            422,
            "unknown_field",
        ),
        (format!("{{\"messages\": {good}}}"), 422, "wrong_type"),
        (format!("[{good}]"), 422, "wrong_type"),
        (String::new(), 400, "malformed_json"),
    ] {
        let answer = post_text(&server, "/api/v1/messages/bulk", &text).await;
        problem(&answer, status, code);
    }
    assert!(server.messages("").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_the_whole_request_holds_for_each_item() {
    let server = TestServer::start().await;
    let own = with(later(&mobile(2), "oi"), json!({ "idempotency_key": "own" }));
    let items = [
        later(&mobile(0), "oi"),
        later(&mobile(1), "oi"),
        own.clone(),
    ];
    let send = async |items: &[Value], once: &str| {
        let body = json!({ "messages": items }).to_string().into_bytes();
        let once = super::headers_once(&server.key, once);
        let path = "/api/v1/messages/bulk";
        server.request("POST", path, &once, Some(body)).await
    };
    let first = send(&items, "k").await;
    assert_eq!(first.status, 202, "{}", first.text);
    let again = send(&items, "k").await;
    assert_eq!((again.status, again.json()), (202, first.json()));
    let changed = [items[0].clone(), later(&mobile(1), "olá"), own];
    let third = send(&changed, "k").await.json();
    assert_eq!(third["results"][0]["id"], first.json()["results"][0]["id"]);
    assert_eq!(
        third["results"][1]["error"]["code"],
        "idempotency_key_reused"
    );
    assert_eq!(third["results"][2]["id"], first.json()["results"][2]["id"]);
    let fresh = send(&changed[1..2], "another").await;
    assert_eq!(fresh.status, 202, "{}", fresh.text);
    field_problem(
        &send(&items, "").await,
        "Idempotency-Key",
        "idempotency_key_invalid",
    );
    assert_eq!(server.messages("").await.len(), 4);
}
