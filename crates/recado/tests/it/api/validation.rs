//! Every reason for which a message is refused, each with its field and its code.

use serde_json::{Value, json};

use super::{field_problem, fields, in_seconds, later, post_text, problem, with};
use crate::server::{SENDER, TEMPLATE, TestServer, mobile};

type Row = (Value, &'static str, &'static str);

/// A good message with some fields changed.
fn changed(fields: Value) -> Value {
    with(later(&mobile(1), "oi"), fields)
}

/// A good free-form message with some fields changed.
fn text(fields: Value) -> Value {
    let base = json!({ "to": mobile(1), "body": "oi", "window": "assume_open" });
    with(base, fields)
}

fn types() -> Vec<Row> {
    let mut rows: Vec<Row> = vec![
        (changed(json!({ "color": "red" })), "color", "unknown_field"),
        (changed(json!({ "To": "x" })), "To", "unknown_field"),
        (
            changed(json!({ "variables": { "1": 14 } })),
            "variables.1",
            "wrong_type",
        ),
        (
            changed(json!({ "variables": ["a"] })),
            "variables",
            "wrong_type",
        ),
        (
            changed(json!({ "metadata": "x" })),
            "metadata",
            "wrong_type",
        ),
        (
            changed(json!({ "metadata": [1] })),
            "metadata",
            "wrong_type",
        ),
    ];
    for field in [
        "to",
        "body",
        "content_sid",
        "media_url",
        "persistent_action",
        "from",
        "kind",
        "priority",
        "send_at",
        "expires_at",
        "delivery",
        "window",
        "business_key",
        "business_scope",
        "dedupe",
    ] {
        for value in [json!(5), json!(true), json!(["x"]), json!({ "x": 1 })] {
            rows.push((changed(json!({ field: value })), field, "wrong_type"));
        }
    }
    for (field, code) in [
        ("kind", "kind_unknown"),
        ("priority", "priority_unknown"),
        ("delivery", "delivery_unknown"),
        ("window", "window_unknown"),
        ("dedupe", "dedupe_unknown"),
        ("business_scope", "business_scope_unknown"),
    ] {
        for word in ["", "URGENT", "none"] {
            rows.push((changed(json!({ field: word })), field, code));
        }
    }
    rows
}

/// Any content to a person whose window counts as open.
fn to(content: Value) -> Value {
    with(content, json!({ "to": mobile(1), "window": "assume_open" }))
}

fn contents() -> Vec<Row> {
    let mut rows: Vec<Row> = vec![
        (to(json!({})), "body", "content_missing"),
        (
            to(json!({ "content_sid": TEMPLATE, "body": "x" })),
            "content_sid",
            "content_not_single",
        ),
        (
            to(json!({ "content_sid": TEMPLATE, "media_url": "https://h.example/a" })),
            "content_sid",
            "content_not_single",
        ),
        (
            text(json!({ "variables": { "1": "x" } })),
            "variables",
            "variables_without_template",
        ),
        (text(json!({ "body": "" })), "body", "body_empty"),
        (text(json!({ "body": " \n\t" })), "body", "body_empty"),
        (
            text(json!({ "body": "é".repeat(1_601) })),
            "body",
            "body_too_long",
        ),
        (
            to(json!({ "media_url": "https://h.example/a", "body": "😀".repeat(1_601) })),
            "body",
            "body_too_long",
        ),
    ];
    let long = format!("https://h.example/{}", "a".repeat(2_048));
    for url in [
        "",
        "h.example/a",
        "ftp://h.example/a",
        "https://",
        "https:///a",
        "https://u:p@h.example/a",
        "https://h.example/a#b",
        "https://h.example/a b",
        "file:///etc/passwd",
        &long,
    ] {
        rows.push((
            to(json!({ "media_url": url })),
            "media_url",
            "media_url_invalid",
        ));
    }
    for place in [
        "",
        "-3.7,-38.5",
        "geo:",
        "geo:1",
        "geo:91,0",
        "geo:0,181",
        "geo:a,b",
        "geo:NaN,0",
    ] {
        rows.push((
            text(json!({ "persistent_action": place })),
            "persistent_action",
            "persistent_action_invalid",
        ));
    }
    rows.push((
        changed(json!({ "persistent_action": "geo:1,2" })),
        "persistent_action",
        "persistent_action_not_allowed",
    ));
    rows
}

fn templates() -> Vec<Row> {
    let variables =
        |variables: Value| to(json!({ "content_sid": TEMPLATE, "variables": variables }));
    let many: serde_json::Map<String, Value> =
        (0..101).map(|n| (n.to_string(), json!("x"))).collect();
    let mut rows: Vec<Row> = vec![
        (variables(json!({ "1": "" })), "variables", "variable_empty"),
        (
            variables(json!({ "1": "a\nb" })),
            "variables",
            "variable_characters",
        ),
        (
            variables(json!({ "1": "a\tb" })),
            "variables",
            "variable_characters",
        ),
        (
            variables(json!({ "1": "a     b" })),
            "variables",
            "variable_characters",
        ),
        (
            variables(json!({ "": "a" })),
            "variables",
            "variable_name_invalid",
        ),
        (
            variables(json!({ "a b": "a" })),
            "variables",
            "variable_name_invalid",
        ),
        (
            variables(json!({ "x".repeat(17): "a" })),
            "variables",
            "variable_name_invalid",
        ),
        (
            variables(Value::Object(many)),
            "variables",
            "variables_too_many",
        ),
        (
            variables(json!({ "1": "x".repeat(1_025) })),
            "variables",
            "variables_too_long",
        ),
    ];
    for sid in [
        "",
        "HX",
        "hx00000000000000000000000000000001",
        "HX0000000000000000000000000000000g",
    ] {
        rows.push((
            to(json!({ "content_sid": sid })),
            "content_sid",
            "content_sid_invalid",
        ));
    }
    rows
}

fn rest() -> Vec<Row> {
    let mut rows: Vec<Row> = vec![
        (
            changed(json!({ "send_at": in_seconds(367 * 86_400) })),
            "send_at",
            "send_at_too_far",
        ),
        (
            changed(json!({ "expires_at": in_seconds(-1) })),
            "expires_at",
            "expires_at_past",
        ),
        (
            changed(json!({ "expires_at": in_seconds(0) })),
            "expires_at",
            "expires_at_past",
        ),
        (
            changed(json!({ "expires_at": in_seconds(60) })),
            "expires_at",
            "expires_before_send",
        ),
        (
            changed(json!({ "business_key": "" })),
            "business_key",
            "business_key_invalid",
        ),
        (
            changed(json!({ "business_key": "a\nb" })),
            "business_key",
            "business_key_invalid",
        ),
        (
            changed(json!({ "business_key": "é".repeat(101) })),
            "business_key",
            "business_key_invalid",
        ),
        (
            changed(json!({ "metadata": { "a": "x".repeat(4_089) } })),
            "metadata",
            "metadata_too_long",
        ),
        (
            changed(json!({ "from": "+551140000009" })),
            "from",
            "unknown_sender",
        ),
        (changed(json!({ "from": "" })), "from", "unknown_sender"),
        (
            changed(json!({ "from": "x'; DROP TABLE message" })),
            "from",
            "unknown_sender",
        ),
        (
            changed(json!({ "idempotency_key": "k" })),
            "idempotency_key",
            "idempotency_key_in_body",
        ),
        (
            changed(json!({ "to": "whatsapp:BR.1234567890", "kind": "authentication" })),
            "kind",
            "authentication_needs_phone",
        ),
        (changed(json!({ "to": null })), "to", "to_missing"),
        (changed(json!({ "to": "" })), "to", "empty"),
        (
            changed(json!({ "to": "x".repeat(100_000) })),
            "to",
            "letters",
        ),
        (
            json!({ "to": mobile(1), "body": "oi" }),
            "body",
            "window_closed",
        ),
    ];
    for field in ["send_at", "expires_at"] {
        for time in [
            "",
            "tomorrow",
            "2026-12-01",
            "14:00",
            "2026-12-01T14:00:00",
            "2026-13-01T14:00:00Z",
            "1796133600",
            "2026-02-30T00:00:00Z",
        ] {
            rows.push((changed(json!({ field: time })), field, "time_invalid"));
        }
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_names_its_field_and_what_to_do() {
    let server = TestServer::start().await;
    let rows = [types(), contents(), templates(), rest()].concat();
    assert!(rows.len() > 120);
    let mut wrong = Vec::new();
    for (message, field, code) in &rows {
        let answer = server.post("/api/v1/messages", message).await;
        let found = answer.json();
        let named = fields(&found);
        if answer.status != 422 || found["code"] != *code || named != [*field] {
            let short: String = message.to_string().chars().take(200).collect();
            wrong.push(format!(
                "{short}\n  wanted {field} {code}\n  got {}",
                answer.text
            ));
            continue;
        }
        field_problem(&answer, field, code);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(server.messages("").await.is_empty(), "nothing was stored");
    let sent = server.sent_by_now(SENDER).await;
    assert!(sent.is_empty(), "nothing was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn just_within_the_bounds_is_taken() {
    let server = TestServer::start().await;
    let many: serde_json::Map<String, Value> =
        (0..100).map(|n| (n.to_string(), json!("x"))).collect();
    let media = format!("https://h.example/{}", "a".repeat(2_048 - 18));
    for (place, fields) in [
        json!({ "metadata": { "a": "x".repeat(4_088) } }),
        json!({ "business_key": "é".repeat(100) }),
        json!({ "variables": many }),
        json!({ "variables": { "1": "é".repeat(1_024) } }),
        json!({ "variables": { "x".repeat(16): "a    b" } }),
        json!({ "send_at": in_seconds(366 * 86_400 - 60) }),
        json!({ "expires_at": in_seconds(3_660) }),
        json!({ "send_at": "2025-12-01T14:00:00-03:00" }),
        json!({ "send_at": null, "expires_at": null, "metadata": null, "kind": null }),
        json!({ "content_sid": null, "variables": null, "media_url": media, "window": "assume_open" }),
    ]
    .into_iter()
    .enumerate()
    {
        let message = with(later(&mobile(place), "oi"), fields);
        let answer = server.post("/api/v1/messages", &message).await;
        assert_eq!(answer.status, 202, "{message} {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_mistakes_are_named_at_once() {
    let server = TestServer::start().await;
    let bad = json!({
        "to": "123", "content_sid": "HX", "kind": "x", "priority": "x", "delivery": "x",
        "window": "x", "dedupe": "x", "send_at": "x", "expires_at": in_seconds(-5),
        "business_key": "", "metadata": { "a": "x".repeat(5_000) },
    });
    let answer = server.post("/api/v1/messages", &bad).await;
    let found = problem(&answer, 422, "invalid_request");
    let mut named = fields(&found);
    named.sort();
    let expected = [
        "business_key",
        "content_sid",
        "dedupe",
        "delivery",
        "expires_at",
        "kind",
        "metadata",
        "priority",
        "send_at",
        "to",
        "window",
    ];
    assert_eq!(named, expected, "{found:#}");
    let answer = server.post("/api/v1/messages", &json!({})).await;
    let found = problem(&answer, 422, "invalid_request");
    assert_eq!(fields(&found), ["to", "body"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_another_shape_are_explained() {
    let server = TestServer::start().await;
    // A list in which each field stands at its place is no message either.
    let listed = format!("[\"{}\", \"olá\"{}]", mobile(1), ", null".repeat(15));
    for text in ["[]", "null", "1", "\"x\"", "true", &listed] {
        for path in ["/api/v1/messages", "/api/v1/messages/bulk"] {
            let answer = post_text(&server, path, text).await;
            let found = field_problem(&answer, "the body", "wrong_type");
            assert!(!answer.text.contains("struct"), "{found:#}");
        }
        let bulk = format!("{{\"messages\": [{text}]}}");
        let answer = post_text(&server, "/api/v1/messages/bulk", &bulk).await;
        assert_eq!(answer.json()["results"][0]["error"]["code"], "wrong_type");
    }
    let twice = format!(
        "{{\"to\": \"{0}\", \"to\": \"{0}\", \"body\": \"x\"}}",
        mobile(1)
    );
    let answer = post_text(&server, "/api/v1/messages", &twice).await;
    let found = field_problem(&answer, "to", "duplicate_field");
    assert!(
        found["detail"].as_str().unwrap().contains("to"),
        "{found:#}"
    );
    for path in ["/api/v1/messages/bulk", "/api/v1/consent"] {
        let method = if path.ends_with("bulk") {
            "POST"
        } else {
            "PUT"
        };
        let body = Some(b"{}".to_vec());
        let answer = server
            .request(method, path, &super::headers(&server.key), body)
            .await;
        let field = if method == "POST" { "messages" } else { "to" };
        let found = field_problem(&answer, field, "field_missing");
        assert!(
            found["detail"].as_str().unwrap().contains(field),
            "{found:#}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_big_is_refused_and_the_server_goes_on() {
    let server = TestServer::start().await;
    for (path, bytes) in [
        ("/api/v1/messages", 1_048_577),
        ("/api/v1/messages/bulk", 8 * 1_048_576 + 1),
    ] {
        let padding = bytes - 18;
        let body = format!("{{\"to\": \"{}\", \"x\": 1}}", "x".repeat(padding));
        assert!(body.len() >= bytes);
        let answer = post_text(&server, path, &body).await;
        let found = problem(&answer, 413, "body_too_large");
        assert!(
            found["detail"].as_str().unwrap().contains("MiB"),
            "{found:#}"
        );
    }
    let fits = format!("{{\"metadata\": {{}}{}}}", " ".repeat(1_048_576 - 16));
    let answer = post_text(&server, "/api/v1/messages", &fits).await;
    problem(&answer, 422, "invalid_request");
    assert!(server.messages("").await.is_empty());
}
